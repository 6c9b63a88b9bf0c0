"""From micro-benchmarks to costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rtl.board import BoardConfig
from rtl.cache.config import LINE_BYTES, WAYS
from sim.bench.stage import RAM
from sim.rtlmachine import RtlMachine
from vmm.timing.costs import Costs, Geometry

from .bench import measure, measure_interrupt
from .probes import EVENT_PROBES, INSTRUCTION_PROBES, INTERRUPT_PROBE, STRING_PROBES

__all__ = ["calibrate", "configuration_of", "geometry_of"]

_STRINGS = ("movs", "cmps", "stos", "lods", "scas", "ins", "outs")
PROBES = INSTRUCTION_PROBES + STRING_PROBES + EVENT_PROBES


def configuration_of(config: BoardConfig) -> dict[str, Any]:
    """What costs depend on, as JSON has it; devices have a clock of their own."""
    return {name: value for name, value in asdict(config).items() if name != "devices"}


def geometry_of(config: BoardConfig) -> Geometry:
    core = config.core
    return Geometry(
        core.cache.dcache_bytes // (LINE_BYTES * WAYS), core.cache.icache_bytes // (LINE_BYTES * WAYS),
        core.mmu.dtlb_entries // 2, core.mmu.itlb_entries // 2, core.mmu.large_entries, core.mmu.walk_cache_entries,
        core.predictor.counters, core.predictor.returns, core.predictor.targets)


def calibrate(config: BoardConfig | None = None, engine: str = "native",
              say: Callable[[str, int, int], None] = lambda _name, _done, _all: None) -> Costs:
    """Run all micro-benchmarks on the RTL of a configuration.

    Raises
    ------
    CalibrationError
        One of them did not come to its end.
    EngineError
        The engine cannot be built.
    """
    config = config or BoardConfig()
    machine = RtlMachine(engine=engine, ram_bytes=RAM, config=config)
    raw = {}
    for number, probe in enumerate(PROBES):
        say(probe.name, number, len(PROBES) + 1)
        raw[probe.name] = measure(machine, probe)
    say(INTERRUPT_PROBE.name, len(PROBES), len(PROBES) + 1)
    raw[INTERRUPT_PROBE.name] = measure_interrupt(machine, INTERRUPT_PROBE)
    return Costs(configuration_of(config), geometry_of(config), costs_from(raw))


def costs_from(raw: dict[str, int]) -> dict[str, int]:
    """Costs by class and event from what the probes took."""
    cycles = {probe.name: raw[probe.name] for probe in INSTRUCTION_PROBES}
    for name in _STRINGS:
        cycles[name] = raw[name]
        cycles[f"rep_{name}"] = raw[f"rep_{name}_0"]
        cycles[f"each_{name}"] = round((raw[f"rep_{name}_16"] - raw[f"rep_{name}_0"]) / 16)
    cycles["taken"] = raw["jump"]
    cycles["mispredicted"] = raw["branch"]
    cycles["across"] = raw["across"]
    cycles["exception"] = raw["ud"]
    cycles["outer_event"] = raw["ud_outer"] - raw["ud"]
    cycles["error_code"] = max(raw["gp_outer"] - raw["ud_outer"], 0)
    cycles["page_fault"] = max(raw["pf"] - raw["ud"] - cycles["error_code"], 0)
    cycles["interrupt"] = max(raw["interrupt"] - raw["ud"], 0)
    cycles["outer_return"] = raw["iret_outer"] - raw["iret"]
    cycles["task_switch"] = max((raw["task"] - raw["call_far"] - raw["iret"]) // 2, 0)
    cycles["load_miss"] = raw["load_miss"]
    cycles["store_miss"] = raw["store_miss"]
    cycles["fill"] = raw["load_period"]
    cycles["write_back"] = max(raw["store_period"] - raw["load_period"], 0)
    cycles["uncached_load"] = raw["uncached_load"]
    cycles["uncached_store"] = raw["uncached_store"]
    cycles["walk"] = raw["walk"]
    cycles["walk_directory"] = max(raw["walk_directory"] - raw["walk"], 0)
    taken = cycles["taken"]
    cycles["code_walk"] = raw["code_walk"] - taken
    cycles["code_fill"] = raw["code_fill"] - taken
    cycles["code_fill_cached"] = raw["code_fill_cached"] - taken
    cycles["code_next"] = max((raw["code_long"] - raw["code_fill"]) // 2, 0)
    cycles["code_next_cached"] = max((raw["code_long_cached"] - raw["code_fill_cached"]) // 2, 0)
    # These have the code translated anew, which is counted where it happens.
    for name in ("write_cr3", "write_cr4", "invlpg"):
        cycles[name] = max(cycles[name] - cycles["code_walk"], 1)
    return cycles
