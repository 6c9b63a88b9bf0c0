"""Real-time clock and CMOS RAM: one body, hardware and software."""

import gc
import random
import warnings
from datetime import datetime, timedelta

import pytest
from amaranth.hdl import UnusedElaboratable

from rtl.dev.cmos import CmosRtc
from rtl.isa.devices import DeviceConfig, RtcReg, cmos_image
from tests.rtl.dev.twin import TWINS, RtlTwin, SoftwareTwin, run_rtl, run_software
from vmm.devices.cmos import CmosRtc as SoftwareRtc

A, B, C, D = RtcReg.A, RtcReg.B, RtcReg.C, RtcReg.D
SECOND = 64
"""Ticks in a second of these tests."""
UPDATE_CYCLES = 24


class Clock:
    """Registers by index."""

    async def get(self, index):
        await self.write(0, index)
        return await self.read(1)

    async def put(self, index, value):
        await self.write(0, index)
        await self.write(1, value)

    async def time(self):
        return [await self.get(index) for index in (RtcReg.CENTURY, RtcReg.YEAR, RtcReg.MONTH, RtcReg.DAY,
                                                    RtcReg.HOUR, RtcReg.MINUTE, RtcReg.SECOND)]

    async def set_time(self, *values):
        for index, value in zip((RtcReg.CENTURY, RtcReg.YEAR, RtcReg.MONTH, RtcReg.DAY, RtcReg.HOUR, RtcReg.MINUTE,
                                 RtcReg.SECOND), values, strict=True):
            await self.put(index, value)


class RtlClock(RtlTwin, Clock):
    async def advance(self, ticks):
        await super().advance(ticks)
        await self.idle(UPDATE_CYCLES)


class SoftClock(SoftwareTwin, Clock):
    pass


def run(kind, body, config=None):
    image = cmos_image(config or DeviceConfig())
    if kind == "rtl":
        return run_rtl(CmosRtc(image, SECOND), body, settle=0, tick="tick", twin=RtlClock)
    return run_software(SoftwareRtc(image, second=SECOND), body, twin=SoftClock)


@TWINS
def test_start_date_and_memory_size(kind):
    async def body(rtc):
        assert await rtc.time() == [0x20, 0x26, 0x03, 0x31, 0x23, 0x58, 0x07]
        assert await rtc.get(RtcReg.WEEKDAY) == 3, "a Tuesday"
        assert [await rtc.get(index) for index in (A, B, C, D)] == [0x26, 0x02, 0, 0x80]
        assert await rtc.get(0x17) | await rtc.get(0x18) << 8 == 31 * 1024
        assert await rtc.get(0x34) | await rtc.get(0x35) << 8 == 256
        assert sum([await rtc.get(index) for index in range(0x10, 0x2E)]) == await rtc.get(0x2E) << 8 | await rtc.get(
            0x2F)
        await rtc.put(0x7F, 0x99)
        assert await rtc.get(0x7F) == 0x99
        assert await rtc.read(0) == 0xFF
        assert rtc.pin("nmi_mask") == 0
        await rtc.write(0, 0x80)
        assert rtc.pin("nmi_mask") == 1
    run(kind, body, DeviceConfig(start=datetime(2026, 3, 31, 23, 58, 7), ram_bytes=32 << 20))


@TWINS
def test_seconds_and_update_in_progress(kind):
    async def body(rtc):
        await rtc.advance(SECOND - 9)
        assert await rtc.get(A) == 0x26
        await rtc.advance(1)
        assert await rtc.get(A) == 0xA6
        await rtc.advance(7)
        assert (await rtc.get(A), await rtc.get(RtcReg.SECOND)) == (0xA6, 0)
        await rtc.advance(1)
        assert (await rtc.get(A), await rtc.get(RtcReg.SECOND)) == (0x26, 1)
        await rtc.put(B, 0x82)
        await rtc.advance(3 * SECOND - 1)
        assert (await rtc.get(A), await rtc.get(RtcReg.SECOND)) == (0x26, 1), "SET holds the time"
    run(kind, body)


CARRIES = [
    (0x02, (0x20, 0x26, 0x12, 0x31, 0x23, 0x59, 0x59), (0x20, 0x27, 0x01, 0x01, 0x00, 0x00, 0x00)),
    (0x02, (0x20, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59), (0x21, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00)),
    (0x02, (0x20, 0x28, 0x02, 0x28, 0x23, 0x59, 0x59), (0x20, 0x28, 0x02, 0x29, 0x00, 0x00, 0x00)),
    (0x02, (0x20, 0x26, 0x02, 0x28, 0x23, 0x59, 0x59), (0x20, 0x26, 0x03, 0x01, 0x00, 0x00, 0x00)),
    (0x02, (0x20, 0x32, 0x02, 0x29, 0x23, 0x59, 0x59), (0x20, 0x32, 0x03, 0x01, 0x00, 0x00, 0x00)),
    (0x02, (0x20, 0x26, 0x09, 0x30, 0x09, 0x09, 0x09), (0x20, 0x26, 0x09, 0x30, 0x09, 0x09, 0x10)),
    (0x02, (0x20, 0x26, 0x09, 0x30, 0x19, 0x59, 0x59), (0x20, 0x26, 0x09, 0x30, 0x20, 0x00, 0x00)),
    (0x06, (20, 26, 11, 30, 23, 59, 59), (20, 26, 12, 1, 0, 0, 0)),
    (0x06, (20, 24, 2, 28, 23, 59, 59), (20, 24, 2, 29, 0, 0, 0)),
    (0x00, (0x20, 0x26, 0x01, 0x01, 0x11, 0x59, 0x59), (0x20, 0x26, 0x01, 0x01, 0x92, 0x00, 0x00)),
    (0x00, (0x20, 0x26, 0x01, 0x01, 0x92, 0x59, 0x59), (0x20, 0x26, 0x01, 0x01, 0x81, 0x00, 0x00)),
    (0x00, (0x20, 0x26, 0x01, 0x01, 0x91, 0x59, 0x59), (0x20, 0x26, 0x01, 0x02, 0x12, 0x00, 0x00)),
    (0x04, (20, 26, 1, 1, 0x0B, 59, 59), (20, 26, 1, 1, 0x8C, 0, 0)),
    (0x04, (20, 26, 1, 1, 0x8B, 59, 59), (20, 26, 1, 2, 0x0C, 0, 0)),
    (0x04, (20, 26, 1, 1, 0x0C, 59, 59), (20, 26, 1, 1, 0x01, 0, 0)),
]


@TWINS
def test_carries_in_every_format(kind):
    async def body(rtc):
        for mode, before, after in CARRIES:
            await rtc.put(B, mode)
            await rtc.set_time(*before)
            await rtc.advance(SECOND)
            assert await rtc.time() == list(after), f"after {before}"
    run(kind, body)


@TWINS
def test_interrupts(kind):
    async def body(rtc):
        await rtc.put(A, 0x23)  # every 4 ticks
        await rtc.advance(3)
        assert await rtc.get(C) == 0
        await rtc.advance(1)
        assert rtc.pin("irq") == 0
        assert await rtc.get(C) == 0x40, "a flag without its enable is no interrupt"
        await rtc.put(B, 0x42)
        await rtc.advance(4)
        assert rtc.pin("irq") == 1
        assert await rtc.get(C) == 0xC0
        assert (rtc.pin("irq"), await rtc.get(C)) == (0, 0)
        await rtc.put(A, 0x20)
        await rtc.put(B, 0x12)
        await rtc.advance(SECOND)
        assert rtc.pin("irq") == 1
        assert await rtc.get(C) == 0x90
        await rtc.put(B, 0x92)
        assert await rtc.get(B) == 0x82, "SET clears UIE"
        for index, value in ((1, 3), (3, 0xFF), (5, 0xC0)):
            await rtc.put(index, value)
        await rtc.put(B, 0x22)
        flags = []
        for _ in range(4):
            await rtc.advance(SECOND)
            flags.append(await rtc.get(C))
        assert flags == [0x10, 0xB0, 0x10, 0x10]
    run(kind, body)


@TWINS
def test_divider_reset_restarts_the_second(kind):
    async def body(rtc):
        await rtc.advance(10)
        await rtc.put(A, 0x70)
        await rtc.advance(5 * SECOND)
        await rtc.put(A, 0x20)
        await rtc.advance(SECOND // 2 - 1)
        assert await rtc.get(RtcReg.SECOND) == 0
        await rtc.advance(1)
        assert await rtc.get(RtcReg.SECOND) == 1
    run(kind, body)


def random_operations(seed, count):
    generator = random.Random(seed)
    operations = []
    for _ in range(count):
        match generator.choices(("put", "get", "advance", "mode"), (3, 4, 4, 1))[0]:
            case "put":
                index = generator.choice((*range(10), 0x32, 0x40))
                value = generator.choice((generator.randrange(256), 0x59, 0x11, 0x12, 0x31, 0x23, 0xFF))
                operations.append(("put", index, value))
            case "mode":
                # Periods of more than a second do not exist with the short second of these tests.
                divider = generator.choice((0x20, 0x20, 0x20, 0x70)) | generator.choice((0, 3, 4, 5, 6, 7))
                operations.append(generator.choice((("put", A, divider), ("put", B, generator.randrange(256)))))
            case "get":
                operations.append(("get", generator.choice((*range(14), C, 0x32, 0x40))))
            case "advance":
                operations.append(("advance", generator.choice((1, 3, 7, 20, SECOND, 150))))
    return operations


def test_random_operations_are_equal():
    operations = random_operations(6, 1500)

    async def body(rtc):
        log = []
        for name, *arguments in operations:
            log.append((await getattr(rtc, name)(*arguments), rtc.pin("irq")))
        return log

    hardware, software = run("rtl", body), run("software", body)
    for index, (left, right) in enumerate(zip(hardware, software, strict=True)):
        assert left == right, f"operation {index}: {operations[index]}"
    assert 50 < sum(irq for _, irq in hardware) < 1450


def test_calendar_of_a_century_and_a_half():
    """Every midnight from 1950 to 2099, in software: the days follow the calendar (1900 and 2100 would not)."""
    rtc = SoftwareRtc(cmos_image(DeviceConfig(start=datetime(1950, 1, 1, 23, 59, 59))), second=SECOND)
    day = datetime(1950, 1, 1)
    while day.year < 2099:
        rtc.advance(SECOND)
        day += timedelta(days=1)
        image = cmos_image(DeviceConfig(start=day))
        for register in (RtcReg.CENTURY, RtcReg.YEAR, RtcReg.MONTH, RtcReg.DAY, RtcReg.WEEKDAY, RtcReg.HOUR):
            assert rtc.ram[register] == image[register], f"{register.name} of {day}"
        for register, value in ((RtcReg.HOUR, 0x23), (RtcReg.MINUTE, 0x59), (RtcReg.SECOND, 0x59)):
            rtc.ram[register] = value


def test_software_tells_when_the_line_could_rise():
    rtc = SoftwareRtc(cmos_image(DeviceConfig()), second=SECOND)
    assert rtc.ticks_to_irq() is None
    rtc.advance(5)
    rtc.write(0, B)
    rtc.write(1, 0x12)
    assert rtc.ticks_to_irq() == SECOND - 5
    rtc.write(0, A)
    rtc.write(1, 0x24)
    rtc.write(0, B)
    rtc.write(1, 0x52)
    assert rtc.ticks_to_irq() == 3
    rtc.advance(3)
    assert rtc.irq and rtc.ticks_to_irq() is None


@pytest.mark.parametrize("arguments, message", [
    ((bytes(64),), "CMOS RAM is 128 bytes, not 64"),
    ((bytes(128), 100), "A second is a power of two of ticks above 8, not 100"),
])
def test_bad_parameters(arguments, message):
    with warnings.catch_warnings():
        # The half-made component is never elaborated.
        warnings.simplefilter("ignore", UnusedElaboratable)
        with pytest.raises(ValueError) as error:
            CmosRtc(*arguments)
        assert str(error.value) == message
        del error
        gc.collect()
