"""The costs that come with the package are those of the RTL, and estimates by them are close to it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from rtl.board import BoardConfig
from rtl.cache.config import CacheConfig
from rtl.cpu.core import CoreConfig
from rtl.isa.decoder import Insn, decode
from sim.bench.stage import DATA, row_start
from sim.calibration.bench import FIRST, CalibrationError, Probe, measure, measure_interrupt
from sim.calibration.calibrate import PROBES, calibrate, configuration_of, geometry_of
from sim.calibration.probes import INTERRUPT_PROBE
from sim.calibration.workloads import Estimate, estimates, markdown
from sim.rtlmachine import RtlMachine
from vmm.timing.costs import default_costs, identity
from vmm.timing.machine import Timing
from vmm.timing.pipeline import run_cost


def test_default_costs_are_what_the_rtl_takes() -> None:
    told = []
    found = calibrate(say=lambda name, done, all_: told.append((name, done, all_)))
    assert found == default_costs()
    assert [done for _name, done, _all in told] == list(range(len(PROBES) + 1))
    assert {all_ for _name, _done, all_ in told} == {len(PROBES) + 1}


def test_configurations_that_cost_otherwise_have_another_identity() -> None:
    usual = BoardConfig()
    small = replace(usual, core=CoreConfig(cache=CacheConfig(dcache_bytes=1024)))
    assert identity(configuration_of(usual)) == default_costs().identity
    assert identity(configuration_of(small)) != default_costs().identity
    assert geometry_of(small).data_sets == 16
    devices = replace(usual, devices=replace(usual.devices, ram_bytes=1 << 20))
    assert configuration_of(devices) == configuration_of(usual)


def test_a_micro_benchmark_that_fails_says_so(rtl: RtlMachine) -> None:
    with pytest.raises(CalibrationError, match="The micro-benchmark 'halt' ended with: "):
        measure(rtl, Probe("halt", b"\xFA\xF4"))
    with pytest.raises(CalibrationError, match="No interrupt came in the micro-benchmark 'quiet'"):
        measure_interrupt(rtl, replace(INTERRUPT_PROBE, name="quiet", setup=b""))


#: Registers, loads and stores around EBX and EBP, pushes and pops, multiplications, parts of registers, prefixes. EBX,
#: EBP and ESI keep their values.
POOL = ("01c8", "83c102", "b878563412", "8b4304", "8b4b08", "894310", "89530c", "8d4b04", "0fafc1", "6601c8", "b001",
        "8a4304", "0fb6c1", "40", "014318", "ff431c", "50", "59", "85c9", "c1e005", "0f94c0", "c7431412345678",
        "8b4d00", "894dfc", "8d7600", "8b0b", "8d9b00000000", "81e9f0ffffff", "8b84b300000000", "87ca")


@pytest.mark.parametrize("seed", range(40))
def test_straight_runs_take_what_the_pipeline_says(rtl: RtlMachine, seed: int) -> None:
    """Each copy is jumped to, and so is one run with the jump that ends it."""
    rng = random.Random(seed)
    code, jump = bytes.fromhex("".join(rng.choice(POOL) for _ in range(rng.randrange(4, 24)))), b"\xEB\x00"
    setup = bytes.fromhex("31f6") + b"\xBB" + DATA.to_bytes(4, "little")
    insns: list[Insn] = []
    at = 0
    while at < len(code):
        insns.append(decode(code, at))
        at += insns[-1].length
    probe = Probe("run", code, 0, jump, 1, b"", setup=setup)
    start = row_start(setup) + len(jump)
    runs = [run_cost(default_costs(), [*insns, decode(jump)], start + copy * (len(code) + len(jump)))
            for copy in range(FIRST + 1, probe.copies)]
    assert measure(rtl, probe) == min(run.before[len(insns)] + run.bubble for run in runs)


def test_estimates_are_close(image_folder: Path) -> None:
    rows = estimates(image_folder, Timing(default_costs()), {"dhry": 20, "selfmod": 50, "syscalls": 20})
    assert max(abs(row.error) for row in rows) < 0.05
    without = estimates(image_folder, Timing(default_costs(), caches=False), {"selfmod": 50})
    assert without[0].error < -0.1


def test_a_table_of_errors() -> None:
    text = markdown([Estimate("a", "iterations=1", 50, 100, 110), Estimate("b", "", 50, 1000, 980)])
    assert text.splitlines()[2:] == [
        "| a, iterations=1 | 50 | 100 | 110 | +10.00% |", "| b,  | 50 | 1,000 | 980 | -2.00% |",
        "| mean of the absolute errors | | | | 6.00% |"]
