"""Local APIC: one body, hardware and software."""

import random

import pytest

from rtl.isa.apic import FIRST_VECTOR, ApicReg, Delivery, divide_shift
from tests.rtl.dev.twin import TWINS
from tests.rtl.irq.apic_twin import run_local

FIXED, NMI, EXTINT = int(Delivery.FIXED), int(Delivery.NMI), int(Delivery.EXTINT)
ALL = 0xFF
PERIODIC = 1 << 17
MASKED = 1 << 16


async def send(apic, vector, level=False):
    await apic.message(vector, FIXED, level, 0, False)


@TWINS
def test_power_on_is_virtual_wire_mode(kind):
    async def body(apic):
        values = {reg.name: await apic.read(reg) for reg in ApicReg}
        assert values == {
            "ID": 0, "VERSION": 0x50014, "TPR": 0, "APR": 0, "PPR": 0, "EOI": 0, "LDR": 0, "DFR": 0xFFFFFFFF,
            "SVR": 0x1FF, "ISR": 0, "TMR": 0, "IRR": 0, "ESR": 0, "ICR_LOW": 0, "ICR_HIGH": 0, "LVT_TIMER": 0x10000,
            "LVT_THERMAL": 0x10000, "LVT_PERF": 0x10000, "LVT_LINT0": 0x8700, "LVT_LINT1": 0x8400,
            "LVT_ERROR": 0x10000, "TIMER_INITIAL": 0, "TIMER_CURRENT": 0, "TIMER_DIVIDE": 0}
        assert apic.lines() == (0, 0)
        await apic.pin(0, 1)
        assert apic.lines() == (0, 1), "the 8259A pair passes through"
        assert await apic.ack() == 0xFF, "no request of its own: the spurious vector"
        await apic.pin(1, 1)
        assert await apic.take_events() == ["nmi"]
    run_local(kind, body)


@TWINS
def test_priorities_and_end_of_interrupt(kind):
    async def body(apic):
        for vector in (0x31, 0x55, 0x52):
            await send(apic, vector)
        assert await apic.read(ApicReg.IRR + 0x20) == 1 << 0x15 | 1 << 0x12
        assert await apic.ack() == 0x55
        assert apic.lines()[0] == 0, "52h is of the same class"
        assert await apic.read(ApicReg.PPR) == 0x50
        await send(apic, 0x60)
        assert await apic.ack() == 0x60
        assert await apic.read(ApicReg.ISR + 0x30) == 1 and await apic.read(ApicReg.ISR + 0x20) == 1 << 0x15
        await apic.write(ApicReg.EOI, 0)
        assert apic.lines()[0] == 0
        await apic.write(ApicReg.EOI, 0)
        assert await apic.ack() == 0x52
        await apic.write(ApicReg.EOI, 0)
        assert await apic.ack() == 0x31
        await apic.write(ApicReg.EOI, 0)
        await apic.write(ApicReg.EOI, 0)
        assert await apic.read(ApicReg.PPR) == 0 and apic.ended == []
    run_local(kind, body)


@TWINS
def test_task_priority_holds_back(kind):
    async def body(apic):
        await send(apic, 0x41)
        await apic.write(ApicReg.TPR, 0x4F)
        assert await apic.read(ApicReg.PPR) == 0x4F and apic.lines()[0] == 0
        assert await apic.read(ApicReg.APR) == 0x4F
        assert await apic.ack() == 0xFF, "spurious: nothing goes in service"
        assert await apic.read(ApicReg.ISR + 0x20) == 0
        await apic.write(ApicReg.TPR, 0x3F)
        assert await apic.read(ApicReg.APR) == 0x40
        assert await apic.ack() == 0x41
        await apic.write(ApicReg.TPR, 0x45)
        assert await apic.read(ApicReg.PPR) == 0x45
    run_local(kind, body)


@TWINS
def test_spurious_vector_is_chosen(kind):
    async def body(apic):
        await apic.write(ApicReg.SVR, 0x12F)
        assert await apic.ack() == 0x2F
    run_local(kind, body)


@TWINS
def test_level_triggered_interrupts_broadcast_their_end(kind):
    async def body(apic):
        await send(apic, 0x80, level=True)
        await send(apic, 0x90)
        assert await apic.read(ApicReg.TMR + 0x40) == 1
        assert [await apic.ack(), apic.ended] == [0x90, []]
        await apic.write(ApicReg.EOI, 0)
        assert [await apic.ack(), apic.ended] == [0x80, []]
        await apic.write(ApicReg.EOI, 0)
        assert apic.ended == [0x80]
        await send(apic, 0x80)
        assert await apic.read(ApicReg.TMR + 0x40) == 0
    run_local(kind, body)


@TWINS
@pytest.mark.parametrize(("dfr", "ldr", "dest", "logical", "meant"), [
    (0xF, 0, 0, 0, True), (0xF, 0, ALL, 0, True), (0xF, 0, 1, 0, False),
    (0xF, 0x01, 0x03, 1, True), (0xF, 0x01, 0xFE, 1, False), (0xF, 0, ALL, 1, False),
    (0, 0x21, 0x21, 1, True), (0, 0x21, 0x23, 1, True), (0, 0x21, 0x22, 1, False), (0, 0x21, 0x31, 1, False),
    (0, 0x21, 0xF1, 1, True),
])
def test_destinations(kind, dfr, ldr, dest, logical, meant):
    async def body(apic):
        await apic.write(ApicReg.DFR, dfr << 28)
        await apic.write(ApicReg.LDR, ldr << 24)
        await apic.message(0x40, FIXED, False, dest, bool(logical))
        assert apic.lines()[0] == meant
        if meant:
            await apic.ack()
        await apic.write(ApicReg.ICR_HIGH, dest << 24)
        await apic.write(ApicReg.ICR_LOW, logical << 11 | 0x61)
        assert apic.lines()[0] == meant
        assert await apic.read(ApicReg.LDR) == ldr << 24 and await apic.read(ApicReg.DFR) == dfr << 28 | 0xFFFFFFF
    run_local(kind, body)


@TWINS
def test_commands(kind):
    async def body(apic):
        await apic.write(ApicReg.ICR_HIGH, 5 << 24)
        for command, expected in ((0x000C4071, 0), (0x00044072, 1), (0x00084073, 1), (0x00004074, 0)):
            await apic.write(ApicReg.ICR_LOW, command)
            assert await apic.read(ApicReg.ICR_LOW) == command, "and the delivery status is idle"
            assert apic.lines()[0] == expected
            if expected:
                assert await apic.ack() == command & 0xFF
                await apic.write(ApicReg.EOI, 0)
        await apic.write(ApicReg.ICR_HIGH, 0)
        for command, events in ((0x4400, ["nmi"]), (0x4500, ["init"]), (0x8500, []), (0x4608, []), (0x4200, []),
                                (0x44400, [])):
            await apic.write(ApicReg.ICR_LOW, command)
            assert await apic.take_events() == events, f"{command:X}h"
        assert apic.lines()[0] == 0 and await apic.read(ApicReg.ICR_LOW) == 0x44400
        await apic.write(ApicReg.ICR_LOW, 0x0041AA, mask=3)
        assert apic.lines()[0] == 0, "part of a register is not written"
    run_local(kind, body)


@TWINS
def test_one_shot_timer(kind):
    async def body(apic):
        await apic.write(ApicReg.LVT_TIMER, 0x50)
        await apic.write(ApicReg.TIMER_DIVIDE, 0)
        await apic.write(ApicReg.TIMER_INITIAL, 100)
        await apic.advance(1)
        assert await apic.read(ApicReg.TIMER_CURRENT) == 100, "its first unit is not over"
        await apic.advance(1)
        assert await apic.read(ApicReg.TIMER_CURRENT) == 99
        await apic.advance(197)
        assert await apic.read(ApicReg.TIMER_CURRENT) == 1 and apic.lines()[0] == 0
        await apic.advance(1)
        assert await apic.read(ApicReg.TIMER_CURRENT) == 0 and await apic.ack() == 0x50
        await apic.advance(1000)
        assert await apic.read(ApicReg.TIMER_CURRENT) == 0 and apic.lines()[0] == 0
        assert await apic.read(ApicReg.TIMER_INITIAL) == 100
    run_local(kind, body)


@TWINS
def test_periodic_timer(kind):
    async def body(apic):
        await apic.write(ApicReg.LVT_TIMER, PERIODIC | 0x50)
        await apic.write(ApicReg.TIMER_DIVIDE, 0xB)
        await apic.write(ApicReg.TIMER_INITIAL, 100)
        await apic.advance(99)
        assert apic.lines()[0] == 0
        await apic.advance(1)
        assert await apic.ack() == 0x50 and await apic.read(ApicReg.TIMER_CURRENT) == 100
        await apic.write(ApicReg.EOI, 0)
        await apic.advance(330)
        assert await apic.read(ApicReg.TIMER_CURRENT) == 70
        assert await apic.ack() == 0x50 and await apic.ack() == 0xFF, "three ends are one request"
        await apic.write(ApicReg.LVT_TIMER, PERIODIC | MASKED | 0x50)
        await apic.write(ApicReg.EOI, 0)
        await apic.advance(100)
        assert apic.lines()[0] == 0 and await apic.read(ApicReg.TIMER_CURRENT) == 70
        await apic.write(ApicReg.TIMER_INITIAL, 0)
        await apic.advance(100)
        assert await apic.read(ApicReg.TIMER_CURRENT) == 0
    run_local(kind, body)


@TWINS
@pytest.mark.parametrize(("divide", "divisor"), [
    (0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)])
def test_divisors(kind, divide, divisor):
    assert 1 << divide_shift(divide) == divisor

    async def body(apic):
        await apic.write(ApicReg.TIMER_DIVIDE, divide | 4)
        assert await apic.read(ApicReg.TIMER_DIVIDE) == divide
        await apic.write(ApicReg.TIMER_INITIAL, 3)
        await apic.advance(2 * divisor)
        assert await apic.read(ApicReg.TIMER_CURRENT) == 1
        await apic.write(ApicReg.TIMER_DIVIDE, 3)
        await apic.advance(15)
        assert await apic.read(ApicReg.TIMER_CURRENT) == 1
        await apic.advance(1)
        assert await apic.read(ApicReg.TIMER_CURRENT) == 0
    run_local(kind, body)


@TWINS
def test_pins_in_fixed_mode(kind):
    async def body(apic):
        await apic.write(ApicReg.LVT_LINT1, 0x61)
        await apic.pin(1, 1)
        assert await apic.ack() == 0x61
        await apic.write(ApicReg.EOI, 0)
        await apic.pin(1, 0)
        assert apic.lines() == (0, 0)
        await apic.write(ApicReg.LVT_LINT1, 0x2061)
        await apic.pin(1, 1)
        assert apic.lines() == (0, 0)
        await apic.pin(1, 0)
        assert await apic.ack() == 0x61, "active low"
        await apic.write(ApicReg.EOI, 0)
        await apic.write(ApicReg.LVT_LINT0, 0x8062)
        await apic.pin(0, 1)
        assert await apic.read(ApicReg.LVT_LINT0) == 0xC062, "remote IRR"
        assert await apic.ack() == 0x62
        await apic.write(ApicReg.EOI, 0)
        assert apic.lines() == (1, 0) and await apic.ack() == 0x62, "the level is still there"
        await apic.pin(0, 0)
        await apic.write(ApicReg.EOI, 0)
        assert apic.lines() == (0, 0) and await apic.read(ApicReg.LVT_LINT0) == 0x8062
        assert apic.ended == [0x62, 0x62]
    run_local(kind, body)


@TWINS
def test_disabled_by_software(kind):
    async def body(apic):
        await send(apic, 0x70)
        await apic.write(ApicReg.SVR, 0xFF)
        assert apic.lines()[0] == 0 and await apic.read(ApicReg.IRR + 0x30) == 1 << 0x10, "it stays"
        await send(apic, 0x71)
        await apic.write(ApicReg.LVT_TIMER, 0x50)
        assert [await apic.read(reg) for reg in (ApicReg.LVT_TIMER, ApicReg.LVT_LINT0, ApicReg.LVT_ERROR)] == [
            0x10050, 0x18700, 0x10000]
        await apic.pin(0, 1)
        assert apic.lines() == (0, 0)
        await apic.write(ApicReg.SVR, 0x1FF)
        assert await apic.ack() == 0x70 and apic.lines() == (0, 0)
        assert await apic.read(ApicReg.LVT_TIMER) == 0x10050, "the masks stay"
    run_local(kind, body)


@TWINS
def test_errors(kind):
    async def body(apic):
        await apic.write(ApicReg.LVT_ERROR, 0xE0)
        await apic.write(ApicReg.ICR_LOW, 0x40000 | FIRST_VECTOR - 1)
        assert await apic.read(ApicReg.ESR) == 0, "a write brings it"
        assert await apic.ack() == 0xE0
        await apic.write(ApicReg.EOI, 0)
        await send(apic, 3)
        assert apic.lines()[0] == 0, "the first one only"
        await apic.read(0x40)
        await apic.write(0x3F0, 0)
        await apic.write(ApicReg.ESR, 0)
        assert await apic.read(ApicReg.ESR) == 0xE0
        await apic.write(ApicReg.ESR, 0)
        assert await apic.read(ApicReg.ESR) == 0
        await apic.write(0x24, 0)
        assert await apic.ack() == 0xE0
        await apic.write(ApicReg.EOI, 0)
        await apic.write(ApicReg.ID, 0x01000000)
        await apic.write(ApicReg.ESR, 0)
        assert await apic.read(ApicReg.ID) == 0 and await apic.read(ApicReg.ESR) == 0x80
    run_local(kind, body)


def _random_operations(seed, count):
    generator = random.Random(seed)
    vectors = (0x0E, 0x31, 0x3A, 0x52, 0x9F, 0xFE)
    registers = [*ApicReg, *(bank + 0x10 * word for bank in (0x100, 0x180, 0x200) for word in range(8)), 0x40, 0x84]
    modes = (0, 0, 0, 0, 0x8000, 0x8000, 0x400, 0x700, 0x2000, 0xA000, 0x10000, 0x100, 0x500)
    for _ in range(count):
        vector = generator.choice(vectors)
        match generator.choices(("read", "write", "ack", "eoi", "message", "pin", "advance", "timer"),
                                (8, 3, 9, 6, 7, 4, 6, 2))[0]:
            case "read":
                yield "read", generator.choice(registers)
            case "write":
                reg = generator.choice([*ApicReg, 0x40])
                value = generator.getrandbits(32) if generator.random() < 0.3 else vector | generator.choice(modes)
                if reg == ApicReg.SVR:
                    value |= 0x100 * (generator.random() < 0.9)
                elif reg == ApicReg.TPR:
                    value &= 0x3F
                elif reg == ApicReg.TIMER_INITIAL:
                    value &= 0x7F
                elif reg == ApicReg.ICR_LOW:
                    value = vector | generator.choice((0x40000, 0x80000, 0, 0x800, 0x4400, 0x4500, 0xC0000))
                yield "write", reg, value
            case "ack":
                yield ("ack",)
            case "eoi":
                yield "write", ApicReg.EOI, 0
            case "message":
                yield ("message", vector, generator.choice((0, 0, 1, 2, 4, 5, 6)), generator.random() < 0.4,
                       generator.choice((0, 0, ALL, 7)), generator.random() < 0.2)
            case "pin":
                yield "pin", generator.randrange(2), generator.randrange(2)
            case "advance":
                yield "advance", generator.choice((1, 2, 17, 100, 1000))
            case "timer":
                yield "write", ApicReg.LVT_TIMER, vector | generator.choice((0, PERIODIC))


@pytest.mark.parametrize("seed", range(3))
def test_random_operations_are_equal(seed):
    operations = list(_random_operations(seed, 600))

    async def body(apic):
        log = []
        for name, *arguments in operations:
            log.append((name, arguments, await getattr(apic, name)(*arguments), apic.lines(), list(apic.ended),
                        sorted(set(await apic.take_events()))))
            apic.ended.clear()
        return log

    hardware, software = run_local("rtl", body), run_local("software", body)
    for index, (one, other) in enumerate(zip(hardware, software, strict=True)):
        assert one == other, index
    assert any(entry[3] == (1, 0) for entry in hardware) and any(entry[4] for entry in hardware)
