"""Whole guests on RTL devices: the same run as on the software devices, to the step and to the last register."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firmware.expectation import expectation
from rtl.isa.devices import DeviceConfig
from sim.hybrid.platform import RtlPlatform
from tests.sim.hybrid.test_platform import visible
from tests.vmm.engine.boot import boot
from vmm.devices.platform import PcPlatform
from vmm.devices.protocol import Platform
from vmm.engine.emulate import EmulatedMachine, StopInfo, StopReason
from vmm.timing.costs import default_costs
from vmm.timing.machine import TimedMachine, Timing

_LIMIT = 8_000_000


def machine_with(platform: Platform, memory: int = 16) -> EmulatedMachine:
    return EmulatedMachine(memory << 20, platform=platform)


def config(memory: int) -> DeviceConfig:
    return DeviceConfig(ram_bytes=memory << 20)


@pytest.mark.parametrize("name", ["timer", "tests/devices", "tests/boundaries", "tests/rep"])
def test_a_guest_does_not_see_what_its_devices_are_made_of(name: str, built: dict[str, Path]) -> None:
    expected = expectation(name)
    machines = [boot(built[name], expected.append, expected.memory,
                     machine=machine_with(kind(config(expected.memory)), expected.memory))
                for kind in (PcPlatform, RtlPlatform)]
    for machine in machines:
        assert machine.run(_LIMIT) == StopInfo(StopReason.GUEST_EXIT, expected.status)
    software, hardware = machines
    assert hardware.platform.cycles == software.platform.cycles
    assert hardware.cpu.state.to_dict() == software.cpu.state.to_dict()
    assert hardware.memory.blob(0, expected.memory << 20) == software.memory.blob(0, expected.memory << 20)
    assert hardware.platform.console_out == software.platform.console_out
    assert hardware.platform.console_out.decode() == expected.output
    registers = visible(software.platform)
    assert {name: visible(hardware.platform)[name] for name in registers} == registers


def test_time_may_be_that_of_the_timing_model(built: dict[str, Path]) -> None:
    runs = []
    for kind in (PcPlatform, RtlPlatform):
        machine = boot(built["timer"], machine=TimedMachine(16 << 20, Timing(default_costs()),
                                                               platform=kind(config(16))))
        assert machine.run(_LIMIT) == StopInfo(StopReason.GUEST_EXIT, 0)
        runs.append((machine.platform.cycles, machine.cpu.state.to_dict()))
    assert runs[0] == runs[1]


def test_clocks_may_be_skipped(built: dict[str, Path]) -> None:
    runs = []
    for skip in (True, False):
        hardware = RtlPlatform(config(16), skip=skip)
        machine = boot(built["timer"], machine=machine_with(hardware))
        assert machine.run(_LIMIT).value == 0
        runs.append((machine.cpu.state.to_dict(), visible(hardware)))
        assert (hardware.engine.cycle < hardware.cycles / 10) == skip
    assert runs[0] == runs[1]


@pytest.mark.parametrize(("first", "second"), [
    (RtlPlatform, PcPlatform), (PcPlatform, RtlPlatform), (RtlPlatform, RtlPlatform)])
@pytest.mark.parametrize("instructions", [400, 30_000])
def test_a_run_goes_on_with_other_devices(first: type[Platform], second: type[Platform], instructions: int,
                                          built: dict[str, Path]) -> None:
    whole = boot(built["timer"], machine=machine_with(PcPlatform(config(16))))
    whole.run(_LIMIT)
    begun = boot(built["timer"], machine=machine_with(first(config(16))))
    assert begun.run(instructions).reason is StopReason.LIMIT
    ended = EmulatedMachine(begun.memory.ram, platform=second())
    ended.load(json.loads(json.dumps(begun.save(), default=list)))
    assert ended.run(_LIMIT) == StopInfo(StopReason.GUEST_EXIT, 0)
    assert ended.cpu.state.to_dict() == whole.cpu.state.to_dict()
    assert begun.platform.console_out + ended.platform.console_out == whole.platform.console_out
    registers = visible(whole.platform)
    assert {name: visible(ended.platform)[name] for name in registers} == registers
