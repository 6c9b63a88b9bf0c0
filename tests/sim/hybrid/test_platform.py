"""The devices of the board under an emulated processor's time are equal to their software twins, to the cycle."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rtl.isa.apic import ApicReg
from rtl.isa.devices import DeviceConfig
from sim.hybrid.platform import RtlPlatform
from tests.rtl.dev.test_isa_bus import TRANSIENT, random_accesses
from tests.rtl.irq.apic_accesses import IO, LOCAL, with_apics
from vmm.devices.platform import PcPlatform
from vmm.devices.protocol import Platform

Make = Callable[..., Platform]


@pytest.fixture(params=["software", "native", "pysim"])
def make(request: pytest.FixtureRequest) -> Make:
    """A platform of a kind, by its configuration."""
    if request.param == "software":
        return PcPlatform
    return lambda config=None: RtlPlatform(config, engine=request.param)


def initialize_pic(platform: Platform, mask: int) -> None:
    for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0xA0, 0x11), (0xA1, 0x28), (0xA1, 2),
                        (0xA1, 1), (0x21, mask & 0xFF), (0xA1, mask >> 8)):
        platform.write(port, 1, value)


def end_interrupt(platform: Platform) -> None:
    platform.write(0xA0, 1, 0x20)
    platform.write(0x20, 1, 0x20)


def start_timer(platform: Platform, count: int) -> None:
    platform.write(0x43, 1, 0x34)
    platform.write(0x40, 1, count & 0xFF)
    platform.write(0x40, 1, count >> 8)


def run_to_interrupt(platform: Platform) -> None:
    while not platform.intr:
        wait = platform.next_event()
        assert wait is not None
        platform.advance(wait)


def test_timer_interrupts_to_the_cycle(make: Make) -> None:
    platform = make()
    initialize_pic(platform, 0xFFFE)
    start_timer(platform, 100)
    times = []
    for _ in range(3):
        run_to_interrupt(platform)
        assert platform.ack() == 0x20
        end_interrupt(platform)
        times.append(platform.cycles)
    assert times == [2828, 5628, 8428]


def test_console_exit_and_lines(make: Make) -> None:
    platform = make()
    for byte in b"hi\n":
        while not platform.read(0x3FD, 1) & 0x20:
            platform.advance(10)
        platform.write(0x3F8, 1, byte)
        if byte == ord("i"):
            platform.write(0xE9, 2, 0x2121)
    assert (bytes(platform.console_out), platform.exit_value) == (b"hi!\n", None)
    platform.write(0xF4, 4, 0x10)
    assert platform.exit_value == 0x10 and not platform.reset_requested
    platform.write(0x64, 1, 0xFE)
    assert platform.reset_requested and platform.a20 and not platform.nmi_masked
    platform.write(0x92, 1, 0)
    platform.write(0x64, 1, 0xDD)
    platform.write(0x70, 1, 0x80)
    assert not platform.a20 and platform.nmi_masked
    assert platform.read(0xE9, 1) == 0xE9 and platform.read(0xE8, 4) == 0xFFFFE9FF
    assert platform.receive(0x41) and not platform.receive(0x42)
    assert platform.read(0x3F8, 1) == 0x41


def test_nothing_wakes_a_computer_whose_lines_are_masked(make: Make) -> None:
    platform = make()
    assert platform.next_event() is None
    platform.write(0x21, 1, 0xFE)
    assert platform.next_event() is not None
    platform.write(0x21, 1, 0xFB)
    assert platform.next_event() is None
    platform.write(0xA1, 1, 0xFE)
    platform.write(0x70, 1, 0x0B)
    platform.write(0x71, 1, 0x42)
    assert platform.next_event() is not None


def test_a_computer_without_local_apic_has_the_pair_alone(make: Make) -> None:
    platform = make()
    initialize_pic(platform, 0xFFFE)
    platform.write_memory(LOCAL + ApicReg.LVT_LINT0, 4, 0x10700)
    start_timer(platform, 100)
    platform.advance(3000)
    assert not platform.intr, "LINT0 is masked"
    platform.enable_apic(False)
    assert platform.intr and platform.ack() == 0x20
    assert platform.read_memory(LOCAL + ApicReg.ID, 4) == 0xFFFF_FFFF == platform.read_memory(LOCAL + 0x80, 4)
    platform.write_memory(LOCAL + ApicReg.TPR, 4, 0x20)
    platform.enable_apic(True)
    assert platform.read_memory(LOCAL + ApicReg.TPR, 4) == platform.read_memory(LOCAL + ApicReg.ID, 4) == 0
    assert platform.read_memory(LOCAL + ApicReg.LVT_LINT0, 4) == 0x10700


def test_messages_and_local_timer(make: Make) -> None:
    platform = make()
    for reg, value in ((ApicReg.LVT_TIMER, 0x20061), (ApicReg.TIMER_DIVIDE, 0xB), (ApicReg.TIMER_INITIAL, 1000)):
        platform.write_memory(LOCAL + reg, 4, value)
    times = []
    for _ in range(3):
        run_to_interrupt(platform)
        assert platform.ack() == 0x61
        platform.write_memory(LOCAL + ApicReg.EOI, 4, 0)
        times.append(platform.cycles)
    assert times == [1000, 2000, 3000]
    platform.write_memory(LOCAL + ApicReg.LVT_TIMER, 4, 0x30061)
    assert platform.next_event() is None and not platform.take_nmi()
    platform.write_memory(LOCAL + ApicReg.ICR_LOW, 4, 0x4400)
    assert platform.take_nmi() and not platform.take_nmi() and not platform.take_init()
    platform.write_memory(LOCAL + ApicReg.ICR_LOW, 4, 0x4500)
    assert platform.take_init() and not platform.take_init() and not platform.take_nmi()
    assert not platform.reset_requested
    platform.write_memory(IO, 4, 1)
    assert platform.read_memory(IO + 0x10, 4) == 0x170011 and platform.read_memory(IO + 0x12, 1) == 0x17
    assert platform.read_memory(IO + 0x1000, 4) == 0xFFFF_FFFF


def drive(platform: Platform, seed: int, count: int, apics: bool = False) -> list[object]:
    """Random accesses at random times; everything that can be seen of it."""
    generator = random.Random(seed)
    seen: list[object] = []
    operations = random_accesses(seed, count)
    for name, *arguments in with_apics(operations, seed) if apics else operations:
        wait = generator.choice((0, 1, 2, 3, 11, 28, 160, 700))
        if generator.random() < 0.5:
            end = platform.cycles + wait
            while platform.cycles < end and not platform.intr:
                event = platform.next_event()
                platform.advance(min(event or wait, end - platform.cycles))
            seen.append(platform.cycles)
        else:
            platform.advance(wait)
        seen.append(platform.intr)
        if name == "read":
            seen.append(platform.read(arguments[0], generator.choice((1, 1, 2, 4))))
        elif name == "write":
            platform.write(arguments[0], 1, arguments[1])
        elif name == "load":
            seen.append(platform.read_memory(*(arguments[0], 4) if generator.random() < 0.9 else (arguments[0] + 1, 2)))
        elif name == "store":
            platform.write_memory(arguments[0], 4, arguments[1])
        elif name == "receive":
            seen.append(platform.receive(arguments[0]))
        elif platform.intr:
            seen.append(platform.ack())
    seen.append(platform.take_nmi())
    return [*seen, bytes(platform.console_out), platform.cycles]


def visible(platform: Platform) -> dict[str, object]:
    """State that both kinds have."""
    return {name: list(value) if isinstance(value, bytes | bytearray) else value
            for name, value in platform.save().items() if name.rpartition(".")[2] not in TRANSIENT}


CONFIGS = [DeviceConfig(), DeviceConfig(pit_divider=1, uart_divider=1), DeviceConfig(pit_divider=5, uart_divider=3)]


@pytest.mark.parametrize("apics", [False, True])
@pytest.mark.parametrize("config", CONFIGS, ids=["board", "fast timer", "divided UART"])
def test_random_accesses_are_equal_to_the_software_devices(config: DeviceConfig, apics: bool) -> None:
    for seed in range(4):
        hardware, software = RtlPlatform(config), PcPlatform(config)
        mine, theirs = drive(hardware, seed, 700, apics), drive(software, seed, 700, apics)
        assert mine == theirs, next(index for index in range(len(mine)) if mine[index] != theirs[index])
        assert visible(hardware) == visible(software) | {
            name: value for name, value in visible(hardware).items() if name not in software.save()}
