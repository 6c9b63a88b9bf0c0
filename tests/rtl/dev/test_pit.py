"""8254: one body, hardware and software."""

import copy
import random

import pytest

from rtl.dev.pit import Pit8254
from rtl.isa.devices import PitMode
from tests.rtl.dev.twin import TWINS, RtlTwin, SoftwareTwin, run_rtl, run_software
from vmm.devices.pit import Pit8254 as SoftwarePit

CONTROL = 3
LSB, MSB, BOTH = 0x10, 0x20, 0x30


class RtlPit(RtlTwin):
    def out(self, channel):
        return self.pin("out") >> channel & 1


class SoftPit(SoftwareTwin):
    def out(self, channel):
        return self.device.channels[channel].out


def run(kind, body):
    if kind == "rtl":
        return run_rtl(Pit8254(), body, settle=1, tick="tick", twin=RtlPit)
    return run_software(SoftwarePit(), body, twin=SoftPit)


async def program(pit, channel, mode, count, bcd=0):
    await pit.write(CONTROL, channel << 6 | BOTH | mode << 1 | bcd)
    await pit.write(channel, count & 0xFF)
    await pit.write(channel, count >> 8)


async def read_count(pit, channel):
    await pit.write(CONTROL, channel << 6)
    return await pit.read(channel) | await pit.read(channel) << 8


async def waveform(pit, channel, ticks):
    levels = ""
    for _ in range(ticks):
        await pit.advance(1)
        levels += str(pit.out(channel))
    return levels


# Output after each tick, the first being the one that loads the count: datasheet, "mode definitions".
WAVEFORMS = [
    (PitMode.TERMINAL_COUNT, 4, "0000" + "1111111"),
    (PitMode.RATE, 3, "1" + "101101101"[0:9]),
    (PitMode.RATE, 4, "1" + "110111011101"),
    (PitMode.SQUARE, 4, "1" + "100110011001"),
    (PitMode.SQUARE, 5, "1" + "110011100111001"),
    (PitMode.SQUARE, 2, "1" + "01010101"),
    (PitMode.SOFTWARE_STROBE, 3, "1" + "1101111111"),
]


@TWINS
@pytest.mark.parametrize("mode, count, expected", WAVEFORMS)
def test_waveform(kind, mode, count, expected):
    async def body(pit):
        await program(pit, 0, mode, count)
        assert pit.out(0) == (mode != PitMode.TERMINAL_COUNT)
        assert await waveform(pit, 0, len(expected)) == expected
    run(kind, body)


@TWINS
def test_gate_of_channel_2(kind):
    async def body(pit):
        await program(pit, 2, PitMode.TERMINAL_COUNT, 3)
        await pit.advance(1)
        assert await read_count(pit, 2) == 3, "loaded with the gate low"
        await pit.advance(5)
        assert await read_count(pit, 2) == 3, "not counted"
        await pit.set_pin("gate2", 1)
        assert await waveform(pit, 2, 4) == "0011"
        await program(pit, 2, PitMode.RATE, 3)
        assert await waveform(pit, 2, 3) == "110"
        await pit.set_pin("gate2", 0)
        assert pit.out(2) == 1, "a low gate raises the output at once"
        assert await waveform(pit, 2, 4) == "1111"
        await pit.set_pin("gate2", 1)
        assert await waveform(pit, 2, 4) == "1101", "and starts over"
    run(kind, body)


@TWINS
def test_triggered_modes(kind):
    async def body(pit):
        await program(pit, 2, PitMode.ONE_SHOT, 3)
        assert await waveform(pit, 2, 4) == "1111"
        await pit.set_pin("gate2", 1)
        assert await waveform(pit, 2, 6) == "000111"
        await pit.set_pin("gate2", 0)
        await pit.set_pin("gate2", 1)
        assert await waveform(pit, 2, 2) == "00"
        await pit.set_pin("gate2", 0)
        await pit.set_pin("gate2", 1)
        assert await waveform(pit, 2, 5) == "00011", "retriggered"
        await program(pit, 2, PitMode.HARDWARE_STROBE, 2)
        await pit.set_pin("gate2", 0)
        await pit.set_pin("gate2", 1)
        assert await waveform(pit, 2, 5) == "11011"
    run(kind, body)


@TWINS
def test_new_count_takes_effect_at_the_end_of_the_period(kind):
    async def body(pit):
        await program(pit, 0, PitMode.RATE, 4)
        assert await waveform(pit, 0, 2) == "11"
        await pit.write(0, 2)
        await pit.write(0, 0)
        assert await waveform(pit, 0, 7) == "1010101"
    run(kind, body)


@TWINS
def test_count_of_zero_is_65536(kind):
    async def body(pit):
        await program(pit, 0, PitMode.RATE, 0)
        await pit.advance(1)
        assert await read_count(pit, 0) == 0
        await pit.advance(1)
        assert await read_count(pit, 0) == 0xFFFF
    run(kind, body)


@TWINS
def test_decimal_counting(kind):
    async def body(pit):
        await program(pit, 0, PitMode.TERMINAL_COUNT, 0x1001, bcd=1)
        await pit.advance(1)
        assert await read_count(pit, 0) == 0x1001
        await pit.advance(2)
        assert await read_count(pit, 0) == 0x0999
        await pit.advance(998)
        assert (await read_count(pit, 0), pit.out(0)) == (1, 0)
        await pit.advance(1)
        assert (await read_count(pit, 0), pit.out(0)) == (0, 1)
        await pit.advance(1)
        assert await read_count(pit, 0) == 0x9999
    run(kind, body)


@TWINS
def test_software_strobe_does_not_repeat(kind):
    async def body(pit):
        await program(pit, 0, PitMode.SOFTWARE_STROBE, 2, bcd=1)
        assert await waveform(pit, 0, 5) == "11011"
        await pit.advance(9_995)
        assert await waveform(pit, 0, 6) == "111111", "the counter goes round, the output does not fall again"
        assert await read_count(pit, 0) == 0x9997
    run(kind, body)


@TWINS
def test_latch_holds_until_it_is_read(kind):
    async def body(pit):
        await program(pit, 0, PitMode.RATE, 0x1234)
        await pit.advance(1)
        await pit.write(CONTROL, 0)
        await pit.advance(0x40)
        await pit.write(CONTROL, 0)  # ignored
        assert (await pit.read(0), await pit.read(0)) == (0x34, 0x12)
        assert (await pit.read(0), await pit.read(0)) == (0xF4, 0x11)
    run(kind, body)


@TWINS
def test_single_byte_access(kind):
    async def body(pit):
        await pit.write(CONTROL, LSB | PitMode.RATE << 1)
        await pit.write(0, 0x30)
        await pit.advance(2)
        assert (await pit.read(0), await pit.read(0)) == (0x2F, 0x2F)
        await pit.write(CONTROL, MSB | PitMode.RATE << 1)
        await pit.write(0, 0x30)
        await pit.advance(2)
        assert (await pit.read(0), await pit.read(0)) == (0x2F, 0x2F)
    run(kind, body)


@TWINS
def test_read_back(kind):
    async def body(pit):
        await pit.write(CONTROL, 2 << 6 | BOTH | PitMode.SQUARE << 1)
        await pit.write(CONTROL, 0xE8)
        assert await pit.read(2) == 0xF6, "output high, null count"
        await program(pit, 0, PitMode.TERMINAL_COUNT, 0x0102)
        await pit.write(CONTROL, 0xE2)
        assert await pit.read(0) == 0x70, "null count until it is loaded"
        await pit.advance(1)
        await pit.write(CONTROL, 0xC2)
        await pit.advance(5)
        await pit.write(CONTROL, 0xC2)  # both are latched already
        assert [await pit.read(0) for _ in range(3)] == [0x30, 0x02, 0x01]
        assert await pit.read(CONTROL) == 0xFF
    run(kind, body)


@TWINS
def test_power_on_refresh_and_tick(kind):
    async def body(pit):
        levels = await waveform(pit, 1, 54)
        assert levels.count("01") == 3 and levels.index("0") == 16
        assert await read_count(pit, 0) == 0x10000 - 54
    run(kind, body)


def random_operations(seed, count):
    generator = random.Random(seed)
    operations = []
    for _ in range(count):
        kind = generator.choices(("read", "count", "control", "latch", "advance", "gate"), (3, 4, 1, 1, 6, 1))[0]
        channel = generator.randrange(3)
        if kind == "control":
            value = channel << 6 | generator.choice((LSB, MSB, BOTH)) | generator.randrange(8) << 1
            operations += [("write", CONTROL, value)]
            operations += [("write", channel, generator.randrange(8)) for _ in range(generator.randrange(3))]
        elif kind == "latch":
            operations.append(("write", CONTROL, generator.choice((channel << 6, 0xC0 | generator.randrange(64)))))
        elif kind == "count":
            operations.append(("write", channel, generator.choice((0, 0, 2, 3, 4, 5, 7, 0x21, 0xFF))))
        elif kind == "advance":
            operations.append(("advance", 0, generator.choice((1, 1, 2, 3, 7, 40, 300, 520))))
        elif kind == "gate":
            operations.append(("gate", 0, generator.randrange(2)))
        else:
            operations.append(("read", channel, 0))
    return operations


@pytest.mark.parametrize("bcd", [0, 1])
def test_random_operations_are_equal(bcd):
    operations = random_operations(3 + bcd, 800)

    async def body(pit):
        log = []
        for kind, offset, value in operations:
            if kind == "read":
                log.append(await pit.read(offset))
            elif kind == "write" and bcd and offset == CONTROL and value >> 6 != 3 and value & BOTH:
                await pit.write(offset, value | 1)
            elif kind == "write":
                decimal = offset != CONTROL and bcd
                await pit.write(offset, {0x21: 0x21, 0xFF: 0x99}.get(value, value) if decimal else value)
            elif kind == "advance":
                await pit.advance(value)
            else:
                await pit.set_pin("gate2", value)
            log.append([pit.out(channel) for channel in range(3)])
        return log

    hardware, software = run("rtl", body), run("software", body)
    for index, (left, right) in enumerate(zip(hardware, software, strict=True)):
        assert left == right, f"item {index}"


def ticks_until_rise(channel, limit):
    """By trying."""
    twin, edges = copy.copy(channel), []
    twin.on_out = edges.append
    for tick in range(1, limit + 1):
        twin.tick()
        if 1 in edges:
            return tick
    return None


def test_software_finds_the_next_rising_edge():
    generator = random.Random(4)
    rises = 0
    for _ in range(300):
        channel = SoftwarePit().channels[2]
        for _ in range(8):
            match generator.choice(("program", "count", "advance", "advance", "gate")):
                case "program":
                    channel.write_control(LSB | generator.randrange(6) << 1)
                    channel.write_count(generator.randrange(2, 40))
                case "count" if channel.control & BOTH == LSB:
                    channel.write_count(generator.randrange(2, 40))
                case "advance":
                    channel.advance(generator.randrange(60))
                case "gate":
                    channel.set_gate(generator.randrange(2))
            wait = channel.ticks_to_rise()
            if wait is None or wait < 100:
                assert wait == ticks_until_rise(channel, 100)
            rises += wait is not None
    assert rises > 200
