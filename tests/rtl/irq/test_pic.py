"""8259A pair: one body, hardware and software."""

import random

from rtl.irq.pic import PicPair
from tests.rtl.dev.twin import TWINS, RtlTwin, SoftwareTwin, run_rtl, run_software
from vmm.devices.pic import PicPair as SoftwarePair

MASTER, SLAVE, ELCR = "master", "slave", "elcr"
EOI, READ_IRR, READ_ISR, POLL = 0x20, 0x0A, 0x0B, 0x0C


class RtlPair(RtlTwin):
    lines = 0

    async def line(self, number, level):
        self.lines = self.lines & ~(1 << number) | level << number
        await self.set_pin("irq", self.lines)

    async def ack(self):
        self.ctx.set(self.component.ack, 1)
        vector = self.pin("vector")
        await self.ctx.tick()
        self.ctx.set(self.component.ack, 0)
        await self.idle(self.settle)
        return vector


class SoftPair(SoftwareTwin):
    async def line(self, number, level):
        self.device.set_irq(number, level)

    async def ack(self):
        return self.device.ack()


def run(kind, body):
    # A slave's line takes two cycles to the processor; the pulse after an acknowledge two more.
    if kind == "rtl":
        return run_rtl(PicPair(), body, settle=5, twin=RtlPair)
    return run_software(SoftwarePair(), body, twin=SoftPair)


async def initialize(pic, icw1=0x11, icw4=(0x01, 0x01)):
    for port, base, icw3, last in ((MASTER, 0x20, 0x04, icw4[0]), (SLAVE, 0x28, 0x02, icw4[1])):
        await pic.write(0, icw1, port)
        await pic.write(1, base, port)
        if not icw1 & 2:
            await pic.write(1, icw3, port)
        if icw1 & 1:
            await pic.write(1, last, port)


async def pulse(pic, *lines):
    for line in lines:
        await pic.line(line, 0)
        await pic.line(line, 1)


async def registers(pic, port=MASTER):
    await pic.write(0, READ_IRR, port)
    irr = await pic.read(0, port)
    await pic.write(0, READ_ISR, port)
    return irr, await pic.read(0, port), await pic.read(1, port)


@TWINS
def test_power_on_is_masked(kind):
    async def body(pic):
        await pulse(pic, 0, 9)
        assert await registers(pic) == (1, 0, 0xFF)
        assert await registers(pic, SLAVE) == (2, 0, 0xFF)
        assert not pic.pin("intr")
        await pic.write(1, 0xFE, MASTER)
        assert pic.pin("intr")
        assert await pic.ack() == 0x08
    run(kind, body)


@TWINS
def test_initialization_clears_and_masks_nothing(kind):
    async def body(pic):
        await pulse(pic, 3)
        await initialize(pic)
        assert await registers(pic) == (0, 0, 0)
        assert not pic.pin("intr"), "a line that is high needs a new edge"
        await pulse(pic, 3)
        assert pic.pin("intr")
        assert await pic.ack() == 0x23
        assert await registers(pic) == (0, 8, 0)
    run(kind, body)


@TWINS
def test_fully_nested_priority_and_eoi(kind):
    async def body(pic):
        await initialize(pic)
        await pulse(pic, 5, 3)
        assert await pic.ack() == 0x23
        assert not pic.pin("intr"), "5 is below 3"
        await pulse(pic, 1)
        assert await pic.ack() == 0x21
        assert await registers(pic) == (0x20, 0x0A, 0)
        await pic.write(0, EOI, MASTER)
        assert (await registers(pic))[1] == 0x08
        assert not pic.pin("intr")
        await pic.write(0, EOI, MASTER)
        assert await pic.ack() == 0x25
        await pic.write(0, 0x65, MASTER)
        assert await registers(pic) == (0, 0, 0)
    run(kind, body)


@TWINS
def test_cascade(kind):
    async def body(pic):
        await initialize(pic)
        await pulse(pic, 12)
        assert await pic.ack() == 0x2C
        assert await registers(pic) == (0, 4, 0)
        assert await registers(pic, SLAVE) == (0, 0x10, 0)
        await pulse(pic, 9, 14)
        assert not pic.pin("intr"), "the master still serves its line 2"
        await pic.write(0, EOI, SLAVE)
        await pic.write(0, EOI, MASTER)
        assert await pic.ack() == 0x29
        await pic.write(0, EOI, SLAVE)
        await pic.write(0, EOI, MASTER)
        assert await pic.ack() == 0x2E
        await pulse(pic, 1)
        assert await pic.ack() == 0x21, "lines 0 and 1 are above the slave"
    run(kind, body)


@TWINS
def test_special_fully_nested_mode_lets_the_slave_in(kind):
    async def body(pic):
        await initialize(pic, icw4=(0x11, 0x01))
        await pulse(pic, 12)
        assert await pic.ack() == 0x2C
        await pulse(pic, 9)
        assert await pic.ack() == 0x29
        await pulse(pic, 5, 13)
        assert not pic.pin("intr")
        assert await registers(pic, SLAVE) == (0x20, 0x12, 0)
    run(kind, body)


@TWINS
def test_spurious_interrupts(kind):
    async def body(pic):
        await initialize(pic)
        await pulse(pic, 4)
        await pic.line(4, 0)
        assert not pic.pin("intr"), "an edge that does not stay is no request"
        assert await pic.ack() == 0x27
        assert await registers(pic) == (0, 0, 0)
    run(kind, body)


def test_spurious_slave_interrupt():
    """The slave's line falls in the cycle in which the processor takes the interrupt: IRQ 15, in service in the master
    only."""
    async def body(pic):
        await initialize(pic)
        await pulse(pic, 10)
        pic.ctx.set(pic.component.irq, 0)
        await pic.ctx.tick()
        assert pic.pin("intr")
        assert await pic.ack() == 0x2F
        assert await registers(pic) == (0, 4, 0)
        assert await registers(pic, SLAVE) == (0, 0, 0)
    run_rtl(PicPair(), body, settle=5, twin=RtlPair)


@TWINS
def test_level_triggered_lines(kind):
    async def body(pic):
        await pic.write(0, 0xFF, ELCR)
        await pic.write(1, 0xFF, ELCR)
        assert (await pic.read(0, ELCR), await pic.read(1, ELCR)) == (0xF8, 0xDE)
        await initialize(pic)
        await pic.line(11, 1)
        assert await pic.ack() == 0x2B
        await pic.write(0, EOI, SLAVE)
        await pic.write(0, EOI, MASTER)
        assert pic.pin("intr"), "still high"
        await pic.line(11, 0)
        assert not pic.pin("intr")
        await pic.write(0, 0, ELCR)
        await pic.write(1, 0, ELCR)
        await pic.line(0, 0)  # the timer's, high at power-on
        await initialize(pic, icw1=0x19)
        await pic.line(1, 1)
        assert await pic.ack() == 0x21
        await pic.write(0, EOI, MASTER)
        assert await pic.ack() == 0x21
    run(kind, body)


@TWINS
def test_automatic_eoi(kind):
    async def body(pic):
        await initialize(pic, icw4=(0x03, 0x03))
        await pulse(pic, 10, 13, 6)
        assert [await pic.ack() for _ in range(3)] == [0x2A, 0x2D, 0x26]
        assert not pic.pin("intr")
        assert await registers(pic) == (0, 0, 0)
        await pic.write(0, 0x80, MASTER)  # rotate
        await pulse(pic, 0, 1)
        assert await pic.ack() == 0x20
        await pulse(pic, 0)
        assert await pic.ack() == 0x21, "0 is now the lowest"
        await pic.write(0, 0x00, MASTER)
        assert await pic.ack() == 0x20
        await pulse(pic, 0, 2, 3)
        assert await pic.ack() == 0x23, "no rotation any more: 1 stays the lowest"
    run(kind, body)


@TWINS
def test_rotation(kind):
    async def body(pic):
        await initialize(pic)
        await pulse(pic, 3, 4)
        assert await pic.ack() == 0x23
        await pic.write(0, 0xA0, MASTER)  # rotate on non-specific EOI
        await pulse(pic, 3)
        assert await pic.ack() == 0x24
        await pic.write(0, 0xE4, MASTER)  # rotate on specific EOI
        await pulse(pic, 4)
        await pic.write(0, 0xC7, MASTER)  # set priority: 7 lowest
        assert await pic.ack() == 0x23
        await pic.write(0, 0x40, MASTER)  # no operation
        assert await registers(pic) == (0x10, 0x08, 0)
    run(kind, body)


@TWINS
def test_special_mask_mode(kind):
    async def body(pic):
        await initialize(pic)
        await pulse(pic, 3)
        await pic.ack()
        await pulse(pic, 6)
        await pic.write(1, 0x08, MASTER)
        assert not pic.pin("intr")
        await pic.write(0, 0x68, MASTER)
        assert await pic.ack() == 0x26, "3 is in service but masked"
        await pic.write(0, EOI, MASTER)
        await pic.write(0, EOI, MASTER)
        assert (await registers(pic))[1] == 0x08, "a masked service is not ended by non-specific EOI"
        await pic.write(0, 0x08, MASTER)  # ESMM is off: no change
        await pulse(pic, 6)
        assert pic.pin("intr")
        await pic.write(0, 0x48, MASTER)
        assert not pic.pin("intr")
    run(kind, body)


@TWINS
def test_poll(kind):
    async def body(pic):
        await initialize(pic)
        await pic.write(0, POLL, MASTER)
        assert await pic.read(0, MASTER) == 0
        await pulse(pic, 5, 9, 14)
        await pic.write(0, POLL, MASTER)
        assert await pic.read(0, MASTER) == 0x82
        await pic.write(0, POLL, SLAVE)
        assert await pic.read(1, SLAVE) == 0x81
        assert await registers(pic) == (0x20, 4, 0)
        assert await registers(pic, SLAVE) == (0x40, 2, 0)
        assert not pic.pin("intr")
    run(kind, body)


@TWINS
def test_single_chip_and_wrong_slave(kind):
    async def body(pic):
        await initialize(pic, icw1=0x13)
        await pulse(pic, 9)
        assert await pic.ack() == 0x22, "no cascade: the line of the slave is a line like any other"
        await initialize(pic)
        for value in (0x11, 0x28, 0x03, 0x01):
            await pic.write(int(value != 0x11), value, SLAVE)
        await pulse(pic, 9)
        assert await pic.ack() == 0xFF, "a slave that believes to be on line 3 does not answer"
    run(kind, body)


def random_operations(seed, count):
    generator = random.Random(seed)
    operations = []
    for _ in range(count):
        port = generator.choice((MASTER, SLAVE))
        match generator.choices(("line", "ack", "ocw2", "ocw3", "imr", "init", "read", "elcr"),
                                (10, 5, 4, 3, 1, 0.4, 4, 0.3))[0]:
            case "line":
                operations.append(("line", generator.randrange(16), generator.randrange(2)))
            case "ack":
                operations.append(("ack",))
            case "ocw2":
                operations.append(("write", 0, generator.choice((0x20, generator.randrange(256) & 0xE7)), port))
            case "ocw3":
                operations.append(("write", 0, generator.choice((0x0A, 0x0B, 0x0C, 0x68, 0x48)), port))
            case "imr":
                operations.append(("write", 1, generator.randrange(256) & generator.randrange(256), port))
            case "elcr":
                operations.append(("write", generator.randrange(2), generator.randrange(256), ELCR))
            case "read":
                operations.append(("read", generator.randrange(2), port))
            case "init":
                icw1 = 0x10 | generator.choice((1, 1, 1, 9, 3, 0))
                operations += [("write", 0, icw1, port), ("write", 1, generator.randrange(256), port)]
                if not icw1 & 2:
                    operations.append(("write", 1, 4 if port == MASTER else 2, port))
                if icw1 & 1:
                    operations.append(("write", 1, generator.choice((1, 1, 3, 0x11, 0x13)), port))
    return operations


def test_random_operations_are_equal():
    operations = random_operations(5, 4000)

    async def body(pic):
        log = []
        for operation, *arguments in operations:
            log.append((await getattr(pic, operation)(*arguments), pic.pin("intr")))
        return log

    hardware, software = run("rtl", body), run("software", body)
    for index, (left, right) in enumerate(zip(hardware, software, strict=True)):
        assert left == right, f"operation {index}: {operations[index]}"
    assert sum(intr for _, intr in hardware) > 300
