"""The software platform: time, events, state. Its registers are tested with the hardware, in `tests/rtl`."""

import random

import pytest

from rtl.isa.devices import DeviceConfig
from tests.rtl.dev.test_isa_bus import random_accesses
from vmm.devices.platform import PcPlatform


def initialize_pic(platform, mask):
    for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0xA0, 0x11), (0xA1, 0x28), (0xA1, 2),
                        (0xA1, 1), (0x21, mask & 0xFF), (0xA1, mask >> 8)):
        platform.write(port, 1, value)


def end_interrupt(platform):
    platform.write(0xA0, 1, 0x20)
    platform.write(0x20, 1, 0x20)


def test_timer_interrupts_by_next_event():
    platform = PcPlatform()
    initialize_pic(platform, 0xFFFE)
    platform.write(0x43, 1, 0x34)
    platform.write(0x40, 1, 100)
    platform.write(0x40, 1, 0)
    times = []
    for _ in range(5):
        platform.advance(platform.next_event())
        assert platform.intr
        assert platform.ack() == 0x20
        end_interrupt(platform)
        times.append(platform.cycles)
    assert [later - sooner for sooner, later in zip(times, times[1:], strict=False)] == [2800] * 4


def test_no_event_when_all_is_masked():
    platform = PcPlatform()
    assert platform.next_event() is None
    platform.write(0x21, 1, 0xFE)
    assert platform.next_event() is not None


def test_no_event_when_nothing_can_interrupt():
    """A line that is masked, or whose service has not ended, raises nothing, however often its output rises."""
    platform = PcPlatform()
    initialize_pic(platform, 0xFFFE)
    platform.advance(platform.next_event())
    assert platform.next_event() is None, "INTR is high"
    platform.ack()
    assert platform.next_event() is None, "in service"
    platform.advance(10 * 28 * 65536)
    assert platform.next_event() is None and not platform.intr
    platform.write(0x21, 1, 0xFF)
    platform.write(0x20, 1, 0x20)
    assert platform.next_event() is None and not platform.intr
    platform.write(0x21, 1, 0xFE)
    assert platform.next_event() is None and platform.intr, "latched all the time"
    platform.ack()
    platform.write(0x20, 1, 0x20)
    assert platform.next_event() is not None


@pytest.mark.parametrize("config", [DeviceConfig(pit_divider=2), DeviceConfig(pit_divider=3, uart_divider=5)])
def test_devices_that_are_looked_at_late_are_equal_to_those_looked_at_in_each_cycle(config):
    generator = random.Random(13)
    late, steady = PcPlatform(config), PcPlatform(config)
    vectors, silent = [], 0
    for name, *arguments in random_accesses(14, 900):
        event, quiet = late.next_event(), not late.intr
        cycles = generator.choice((0, 1, 2, 3, 11, 28, 160))
        for cycle in range(1, cycles + 1):
            steady.advance(1)
            if generator.random() < 0.1:
                steady.save()
            if quiet and (event is None or cycle < event):
                assert not steady.intr
                silent += event is None
        late.advance(cycles)
        assert late.intr == steady.intr
        if name == "read":
            assert late.read(arguments[0], 1) == steady.read(arguments[0], 1)
        elif name == "write":
            late.write(arguments[0], 1, arguments[1])
            steady.write(arguments[0], 1, arguments[1])
        elif name == "receive":
            assert late.receive(arguments[0]) == steady.receive(arguments[0])
        elif late.intr:
            vectors.append(late.ack())
            assert vectors[-1] == steady.ack()
    assert late.save() == steady.save()
    assert {0x20, 0x24} <= set(vectors) and silent > 1000


def test_a_received_byte_times_out_without_an_access():
    platform = PcPlatform()
    initialize_pic(platform, 0xFFEF)
    platform.write(0x3FA, 1, 0xC1)  # interrupt at 14 bytes
    platform.write(0x3F9, 1, 1)
    assert platform.next_event() is None
    platform.receive(0x41)
    wait = platform.next_event()
    platform.advance(wait - 1)
    assert not platform.intr
    platform.advance(1)
    assert platform.intr and platform.read(0x3FA, 1) == 0xCC


def test_what_is_steady_does_not_ask_for_the_time():
    """The APIC ID and the like give their value at once; what time or interrupts change says that it must be asked."""
    platform = PcPlatform()
    assert platform.steady(0xFEE0_0020, 4) == 0 and platform.steady(0xFEE0_0030, 4) == 0x50014
    for address, size in ((0xFEE0_0390, 4), (0xFEE0_0350, 4), (0xFEE0_0200, 4), (0xFEE0_0030, 2), (0xFEC0_0000, 4)):
        assert platform.steady(address, size) is None
    platform.write_memory(0xFEE0_0080, 4, 0x30)
    assert platform.steady(0xFEE0_0080, 4) == 0x30
    platform.enable_apic(False)
    assert platform.steady(0xFEE0_0020, 4) is None and platform.read_memory(0xFEE0_0020, 4) == 0xFFFF_FFFF


def test_serial_console_and_exit():
    platform = PcPlatform()
    for byte in b"hi\n":
        while not platform.read(0x3FD, 1) & 0x20:
            platform.advance(10)
        platform.write(0x3F8, 1, byte)
        if byte == ord("i"):
            platform.write(0xE9, 1, ord("!"))
    assert (bytes(platform.console_out), platform.exit_value) == (b"hi!\n", None)
    platform.write(0xF4, 4, 0x10)
    assert platform.exit_value == 0x10
    assert not platform.reset_requested
    platform.write(0x64, 1, 0xFE)
    assert platform.reset_requested
    assert platform.a20 and not platform.nmi_masked


def busy_platform(generator, config):
    """A platform with its timers, clock and UART at work."""
    platform = PcPlatform(config)
    initialize_pic(platform, generator.choice((0, 0, 0xFFEF, 0xFEFB, 0xFFFE)))
    platform.write(0x43, 1, 0x30 | generator.choice((0, 2, 3, 4)) << 1)
    platform.write(0x40, 1, generator.randrange(5, 200))
    platform.write(0x40, 1, generator.randrange(2))
    platform.write(0x70, 1, 0x0A)
    platform.write(0x71, 1, 0x20 | generator.choice((0, 3, 4, 5)))
    platform.write(0x70, 1, 0x0B)
    platform.write(0x71, 1, generator.choice((0x02, 0x42, 0x12)))
    platform.write(0x3FB, 1, 3)
    platform.write(0x3FC, 1, 8)
    platform.write(0x3FA, 1, generator.choice((0, 0xC1)))
    platform.write(0x3F9, 1, generator.choice((0, 1, 2, 3)))
    platform.read(0x3FA, 1)
    for _ in range(generator.randrange(3)):
        platform.write(0x3F8, 1, 0x41)
    if generator.random() < 0.5:
        platform.receive(0x42)
    platform.advance(generator.randrange(3000))
    while platform.intr:
        platform.ack()
        end_interrupt(platform)
        platform.read(0x3FA, 1)
        platform.read(0x3F8, 1)
    return platform


@pytest.mark.parametrize("config", [DeviceConfig(), DeviceConfig(pit_divider=3, uart_divider=5)])
def test_no_interrupt_before_the_next_event(config):
    generator = random.Random(10)
    on_time = 0
    for _ in range(60):
        platform = busy_platform(generator, config)
        wait = platform.next_event()
        limit = 20_000 if wait is None else wait - 1
        platform.advance(limit // 2)
        platform.advance(limit - limit // 2)
        assert not platform.intr
        if wait is not None:
            platform.advance(1)
            on_time += platform.intr
    assert on_time > 20


def test_bursts_do_not_change_the_course():
    """Ten thousand cycles in one piece, in small pieces and cycle by cycle end in the same state."""
    generator = random.Random(11)
    for seed in range(20):
        config = DeviceConfig(uart_divider=generator.choice((1, 3)))
        states = []
        for piece in (10_000, 37, 1):
            platform = busy_platform(random.Random(seed), config)
            left = 10_000 if seed < 3 else 1_000
            while left:
                platform.advance(min(piece, left))
                left -= min(piece, left)
            states.append(platform.save())
        assert states[0] == states[1] == states[2]


def test_state_moves_to_another_platform():
    generator = random.Random(12)
    for _ in range(20):
        first = busy_platform(generator, DeviceConfig())
        second = PcPlatform()
        second.load(first.save())
        assert second.save() == first.save()
        for platform in (first, second):
            platform.write(0x61, 1, 3)
            platform.advance(50_000)
        assert second.save() == first.save()
        assert second.intr == first.intr
        assert second.next_event() == first.next_event()


def test_missing_state_is_an_error():
    state = PcPlatform().save()
    del state["uart.ier"]
    with pytest.raises(KeyError, match="ier"):
        PcPlatform().load(state)


def test_memories_of_the_hardware_are_lists():
    """A platform that went on from an RTL state could not be saved: its CMOS had become a list."""
    platform = busy_platform(random.Random(3), DeviceConfig())
    image = platform.save()
    other = PcPlatform()
    other.load({name: list(value) if isinstance(value, bytes) else value for name, value in image.items()})
    assert other.save() == image
