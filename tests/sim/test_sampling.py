"""Estimates from windows of a run against the whole run."""

from __future__ import annotations

import math
import os
import signal
import threading

import numpy as np
import pytest

from sim.machine import MachineError
from sim.rtlmachine import RtlMachine
from sim.sampling import Estimate, Sample, SamplePlan, Sampler, estimate, parse_plan
from sim.stop import Reason
from tests.sim import guests
from vmm.cli.emulated import Emulated

_PHASE = guests.count(500) + b"\xB9\x2C\x01\0\0" + b"\x31\xD2\xF7\xF1" * 3 + b"\x49\x75\xF1"
#: Five times a phase of additions and one of divisions: MOV EBX, 5; again: ...; DEC EBX; JNZ again
PHASES = (b"\xBB\x05\0\0\0" + _PHASE + b"\x4B\x0F\x85" + (-(len(_PHASE) + 7)).to_bytes(4, "little", signed=True)
          + guests.leave(0))


def sampler(rtl: RtlMachine, code: bytes, plan: SamplePlan, seed: int = 0) -> tuple[Sampler, bytearray]:
    heard = bytearray()
    rtl.reset()
    software = Emulated(ram=rtl.engine.ram, console=heard.extend)
    rtl.console = heard.extend
    software.load(guests.image(code))
    return Sampler(software, rtl, plan, seed), heard


def test_plans() -> None:
    assert parse_plan("10k/10M") == SamplePlan(10_000, 10_000_000)
    assert parse_plan("1000/1e6", 500) == SamplePlan(1000, 1_000_000, 500)
    for text in ("", "1000", "1/2/3", "a/b", "0/1000", "1000/"):
        with pytest.raises(MachineError, match=rf"^'{text}' is not a sampling plan N/M: N cycles of every M "
                                               r"instructions, as 10k/10M$"):
            parse_plan(text)
    with pytest.raises(MachineError, match="^1000 cycles after 500 of warm-up do not fit in every 1400 instructions: "
                                           "take at least 1500$"):
        SamplePlan(1000, 1400, 500)


def test_estimates() -> None:
    def sample(cycles: int, halted: int = 0) -> Sample:
        return Sample(0, {"cycles": cycles, "halted": halted, "instructions": 100})

    assert estimate([], 1000) is None
    assert estimate([sample(250)], 1000) == Estimate(1, 1000, 2.5, math.inf)
    found = estimate([sample(100), sample(1300, halted=1000)], 1000)
    assert found is not None and (found.cpi, found.cycles) == (2.0, 2000.0)
    assert found.relative_error == pytest.approx(12.7062 / 2, abs=1e-4)


def test_the_guest_does_what_it_does_alone(rtl: RtlMachine) -> None:
    code = guests.say("a") + guests.count(2000) + guests.say("b") + guests.leave(5)
    whole, said = sampler(rtl, code, SamplePlan(1, 1, 0))
    expected = whole.software.run()
    memory = whole.software.memory_image()
    sampled, heard = sampler(rtl, code, SamplePlan(200, 1000, 100))
    stop = sampled.run()
    assert (stop.reason, stop.value, stop.instructions) == (Reason.GUEST_EXIT, 5, expected.instructions)
    assert stop.state == expected.state | {"tsc_offset": stop.state["tsc_offset"]}
    assert heard == said == b"ab"
    assert np.array_equal(sampled.current.memory_image(), memory)
    assert 5 <= len(sampled.samples) <= 9
    assert 5 * 200 < sampled.rtl_cycles < 9 * 700


def test_the_interval_holds_the_exact_figure(rtl: RtlMachine) -> None:
    rtl.load(guests.image(PHASES))
    assert rtl.run(400_000).reason is Reason.GUEST_EXIT
    counters = rtl.counters()
    exact = counters["cycles"] / counters["instructions"]
    held = 0
    for seed in range(8):
        sampled, _heard = sampler(rtl, PHASES, SamplePlan(300, 700, 400), seed)
        stop = sampled.run()
        found = estimate(sampled.samples, stop.instructions)
        assert found is not None and found.samples > 28
        assert found.cpi == pytest.approx(exact, rel=0.25)
        held += abs(found.cpi - exact) <= found.cpi_error
    assert held >= 6


def test_runs_are_repeated_exactly(rtl: RtlMachine) -> None:
    def run(seed: int) -> list[Sample]:
        sampled, _heard = sampler(rtl, PHASES, SamplePlan(100, 5000, 100), seed)
        sampled.run()
        return sampled.samples

    assert run(1) == run(1) != run(2)


def test_a_limit_and_going_on(rtl: RtlMachine) -> None:
    sampled, _heard = sampler(rtl, guests.FOREVER, SamplePlan(100, 1000, 100))
    assert sampled.run(2500).reason is Reason.CYCLE_LIMIT
    assert 2500 <= sampled.instructions < 2500 + 700
    before = sampled.instructions
    sampled.run(5000)
    assert sampled.instructions >= before + 5000 and len(sampled.samples) >= 6


def test_ctrl_c(rtl: RtlMachine) -> None:
    sampled, _heard = sampler(rtl, guests.FOREVER, SamplePlan(2000, 20_000, 2000))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    stop = sampled.run()
    timer.join()
    assert (stop.reason, stop.eip) == (Reason.USER_INTERRUPT, guests.START)
    assert sampled.current.save().cpu["eip"] == guests.START
