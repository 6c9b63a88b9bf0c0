"""Cycles per second of the native engine and of its peers, on the whole computer and one guest, in one run.

Each peer first executes the beginning of the guest, and must retire what the native engine retires there, cycle by
cycle. Then all are timed in turns, so that whatever else the machine does disturbs them alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sim.engines import EngineError
from sim.image import Image
from sim.rtlmachine import RtlMachine

from .figures import Figure, median, skipped
from .runners import EngineRunner, Mismatch, Runner, VerilatorRunner

NATIVE = "native"
#: A guest that does not end while it is measured.
COMMAND_LINE = "iterations=100000000"


@dataclass(frozen=True)
class Effort:
    """How many cycles each peer runs per round; ``peers`` lists those wanted beside the native engine."""

    cycles: dict[str, int]
    rounds: int
    warm: int
    peers: tuple[str, ...] = ("verilator", "cxxrtl", "pysim")


FULL = Effort({NATIVE: 1_000_000, "verilator": 400_000, "cxxrtl": 200_000, "pysim": 500}, rounds=5, warm=20_000)
QUICK = Effort({NATIVE: 20_000}, rounds=3, warm=5_000, peers=())
#: pysim executes so few cycles from the start before its retirements are compared.
PYSIM_DIGEST = 400


def measure(machine: RtlMachine, image: Path, effort: Effort, verilator_compiler: str,
            say: Callable[[str], None]) -> list[Figure]:
    """Figures of the native engine, of each peer, and of the native engine over each peer."""
    machine.reset()
    fresh = machine.engine.save()
    machine.load(Image.load(image), COMMAND_LINE)
    state = machine.engine.save()

    makers: dict[str, Callable[[], Runner]] = {
        "verilator": lambda: VerilatorRunner(fresh, state, verilator_compiler),
        "cxxrtl": lambda: EngineRunner.built("cxxrtl", state, "clang++"),
        "pysim": lambda: EngineRunner.built("pysim", state),
    }
    native = EngineRunner(NATIVE, machine.engine)
    runners: dict[str, Runner] = {NATIVE: native}
    reasons: dict[str, str] = {name: "not part of this run" for name in makers}
    try:
        early = native.digest(PYSIM_DIGEST)
        native.engine.load(state)
        whole = native.digest(effort.warm)
        warm = native.engine.save()
        for name in effort.peers:
            say(f"building {name}")
            try:
                runner = runners[name] = makers[name]()
                if name == "pysim":
                    _compare(name, runner.digest(PYSIM_DIGEST), early)
                    assert isinstance(runner, EngineRunner)
                    runner.engine.load(warm)
                else:
                    _compare(name, runner.digest(effort.warm), whole)
            except Mismatch:
                raise
            except EngineError as error:
                reasons[name] = str(error)
        rates: dict[str, list[float]] = {name: [] for name in runners}
        for number in range(effort.rounds):
            say(f"timing {', '.join(runners)}: round {number + 1} of {effort.rounds}")
            for name, runner in runners.items():
                rates[name].append(effort.cycles[name] / runner.seconds(effort.cycles[name]))
    finally:
        for runner in runners.values():
            runner.close()
    return _figures(rates, runners, reasons)


def _compare(name: str, digest: int, expected: int) -> None:
    if digest != expected:
        raise Mismatch(f"{name} does not retire what the native engine retires, so there is nothing to compare")


def _figures(rates: dict[str, list[float]], runners: dict[str, Runner], reasons: dict[str, str]) -> list[Figure]:
    own = rates[NATIVE]
    figures = [median("native engine", "cycles/s", own)]
    for name in reasons:
        if name not in rates:
            figures.append(skipped(f"native / {name}", "", reasons[name]))
            continue
        figures += [median(name, "cycles/s", rates[name]),
                    Figure(f"native / {name}", "", statistics.median(own) / statistics.median(rates[name]),
                           tuple(mine / theirs for mine, theirs in zip(own, rates[name], strict=True))),
                    Figure(f"build of {name}", "s", runners[name].build_seconds)]
    return figures
