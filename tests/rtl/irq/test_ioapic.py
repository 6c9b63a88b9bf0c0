"""I/O APIC: one body, hardware and software."""

import random

import pytest

from rtl.isa.apic import IO_APIC_INPUTS, IoApicIndex, IoApicReg
from tests.rtl.dev.twin import TWINS
from tests.rtl.irq.apic_twin import run_io

MASKED, LEVEL, LOW, LOGICAL = 1 << 16, 1 << 15, 1 << 13, 1 << 11
REMOTE_IRR = 1 << 14


async def get(apic, index):
    await apic.write(IoApicReg.SELECT, index)
    return await apic.read(IoApicReg.WINDOW)


async def put(apic, index, value):
    await apic.write(IoApicReg.SELECT, index)
    await apic.write(IoApicReg.WINDOW, value)


async def entry(apic, pin, low, dest=0):
    await put(apic, IoApicIndex.ENTRY + 2 * pin + 1, dest << 24)
    await put(apic, IoApicIndex.ENTRY + 2 * pin, low)


def low_half(pin):
    return IoApicIndex.ENTRY + 2 * pin


@TWINS
def test_registers(kind):
    async def body(apic):
        assert await get(apic, IoApicIndex.VERSION) == 0x170011
        assert await get(apic, IoApicIndex.ID) == 1 << 24
        for pin in (0, IO_APIC_INPUTS - 1):
            assert await get(apic, low_half(pin)) == MASKED and await get(apic, low_half(pin) + 1) == 0
            await entry(apic, pin, 0xFFFFFFFF, 0xA5)
            assert await get(apic, low_half(pin)) == 0x1AFFF, "status bits are not written"
            assert await get(apic, low_half(pin) + 1) == 0xA5000000
        await put(apic, IoApicIndex.ID, 0xFFFFFFFF)
        assert await get(apic, IoApicIndex.ID) == await get(apic, IoApicIndex.ARBITRATION) == 0xF000000
        for index in (3, 0xF, low_half(IO_APIC_INPUTS), 0xFF):
            await put(apic, index, 0xFFFFFFFF)
            assert await get(apic, index) == 0
        await apic.write(IoApicReg.SELECT, 0x111)
        assert await apic.read(IoApicReg.SELECT) == 0x11
        await apic.write(IoApicReg.SELECT, 1, mask=1)
        assert await apic.read(IoApicReg.SELECT) == 0x11, "part of a register is not written"
        assert await apic.read(0x20) == 0
    run_io(kind, body)


@TWINS
def test_edges(kind):
    async def body(apic):
        await apic.pin(3, 1)
        await entry(apic, 3, 0x43, 9)
        assert apic.sent == [], "an edge on a masked input is lost"
        await apic.pin(3, 0)
        await apic.pin(3, 1)
        assert apic.sent == [(0x43, 0, 0, 9, 0)]
        await apic.pin(3, 0)
        await entry(apic, 3, 0x43 | LOW | LOGICAL | 0x100, 2)
        await apic.pin(3, 1)
        assert len(apic.sent) == 1
        await apic.pin(3, 0)
        assert apic.sent[1:] == [(0x43, 1, 0, 2, 1)], "active low, lowest priority, logical"
        await entry(apic, 4, 0x400 | LEVEL)
        await apic.pin(4, 1)
        assert apic.sent[2:] == [(0, 4, 0, 0, 0)], "NMI is an edge"
        assert not await get(apic, low_half(4)) & REMOTE_IRR
    run_io(kind, body)


@TWINS
def test_levels(kind):
    async def body(apic):
        await apic.pin(9, 1)
        await entry(apic, 9, 0x49 | LEVEL)
        assert apic.sent == [(0x49, 0, 1, 0, 0)], "a level that is there counts"
        assert await get(apic, low_half(9)) == 0x49 | LEVEL | REMOTE_IRR
        await apic.end(0x48)
        assert len(apic.sent) == 1
        await apic.end(0x49)
        assert len(apic.sent) == 2, "and again while it stays"
        await apic.pin(9, 0)
        await apic.end(0x49)
        assert len(apic.sent) == 2 and await get(apic, low_half(9)) == 0x49 | LEVEL
        await apic.pin(9, 1)
        await apic.pin(9, 0)
        await apic.pin(9, 1)
        assert len(apic.sent) == 3, "not before the end of interrupt"
        await entry(apic, 9, 0x49 | MASKED)
        assert await get(apic, low_half(9)) == 0x49 | MASKED, "remote IRR goes with the level mode"
    run_io(kind, body)


@TWINS
def test_one_end_for_several_entries(kind):
    async def body(apic):
        for pin in (5, 11, 23):
            await entry(apic, pin, 0x50 + (pin == 11) | LEVEL)
            await apic.pin(pin, 1)
        for pin in (5, 11, 23):
            await apic.pin(pin, 0)
        await apic.end(0x50)
        assert [bool(await get(apic, low_half(pin)) & REMOTE_IRR) for pin in (5, 11, 23)] == [False, True, False]
    run_io(kind, body)


@TWINS
def test_extint(kind):
    async def body(apic):
        await entry(apic, 0, 0x700, 7)
        assert apic.external() is None
        await apic.pin(0, 1)
        assert apic.external() == (7, 0) and apic.sent == []
        await entry(apic, 0, 0x700 | LOGICAL, 8)
        assert apic.external() == (8, 1)
        await entry(apic, 0, 0x700 | MASKED)
        assert apic.external() is None
    run_io(kind, body)


@pytest.mark.parametrize("seed", range(2))
def test_random_operations_are_equal(seed):
    generator = random.Random(seed)
    operations = []
    for _ in range(500):
        pin = generator.randrange(5) * 5 % IO_APIC_INPUTS
        match generator.choices(("pin", "entry", "read", "end"), (10, 2, 2, 5))[0]:
            case "pin":
                operations.append(("pin", pin, generator.randrange(2)))
            case "entry":
                low = sum(map(generator.choice, (
                    (0x41, 0x42, 0x43), (0, 0, LEVEL), (0, LOW), (0, 0, 0x100, 0x400, 0x700),
                    (0, 0, 0, 0, MASKED, LOGICAL))))
                operations += [("write", IoApicReg.SELECT, low_half(pin)), ("write", IoApicReg.WINDOW, low)]
            case "read":
                index = generator.choice((0, 1, 2, low_half(pin), low_half(pin) + 1))
                operations += [("write", IoApicReg.SELECT, index), ("read", IoApicReg.WINDOW)]
            case "end":
                operations.append(("end", generator.choice((0x41, 0x42, 0x43))))

    async def body(apic):
        log = []
        for name, *arguments in operations:
            value = await getattr(apic, name)(*arguments)
            log.append((name, arguments, value, sorted(apic.sent), apic.external()))
            apic.sent.clear()
        return log

    hardware, software = run_io("rtl", body), run_io("software", body)
    for index, (one, other) in enumerate(zip(hardware, software, strict=True)):
        assert one == other, index
    assert sum(len(entry[3]) for entry in hardware) > 40 and any(entry[4] for entry in hardware)
