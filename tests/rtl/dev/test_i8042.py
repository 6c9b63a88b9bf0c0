"""8042 keyboard controller: one body, hardware and software."""

import random

from rtl.dev.i8042 import Kbc8042
from tests.rtl.dev.twin import TWINS, RtlTwin, SoftwareTwin, run_rtl, run_software
from vmm.devices.i8042 import Kbc8042 as SoftwareKbc

DATA, COMMAND = 0, 4
OBF = 1


class Events:
    """Counts rising edges of the interrupt line, and resets."""

    def __init__(self, *args):
        super().__init__(*args)
        self.irqs = self.resets = 0

    async def ask(self, command, *data):
        """Send a command and its data; return what the output buffer gives."""
        await self.write(COMMAND, command)
        for byte in data:
            await self.write(DATA, byte)
        return await self.answers()

    async def answers(self):
        received = []
        while await self.read(COMMAND) & OBF:
            received.append(await self.read(DATA))
        return received


class RtlKbc(Events, RtlTwin):
    last_irq = 0

    async def idle(self, cycles):
        for _ in range(cycles):
            self.watch()
            await self.ctx.tick()
        self.watch()

    def watch(self):
        irq = self.pin("irq")
        self.irqs += irq and not self.last_irq
        self.last_irq = irq
        self.resets += self.pin("reset_request")


class SoftKbc(Events, SoftwareTwin):
    def __init__(self, device):
        super().__init__(device)
        device.on_irq = self.count_irq
        device.on_reset = self.count_reset

    def count_irq(self, level):
        self.irqs += level

    def count_reset(self, level):
        self.resets += level


def run(kind, body):
    if kind == "rtl":
        return run_rtl(Kbc8042(), body, settle=2, twin=RtlKbc)
    return run_software(SoftwareKbc(), body, twin=SoftKbc)


@TWINS
def test_controller_commands(kind):
    async def body(kbc):
        assert await kbc.read(COMMAND) == 0x14
        assert await kbc.ask(0xAA) == [0x55]
        assert await kbc.ask(0xAB) == [0x00]
        assert await kbc.ask(0xA9) == [0x01], "no auxiliary port"
        assert await kbc.ask(0x20) == [0x65]
        assert await kbc.ask(0x60, 0x47) == []
        assert await kbc.ask(0x20) == [0x47]
        assert await kbc.ask(0xAD) == []
        assert await kbc.ask(0xA7) == []
        assert await kbc.ask(0x20) == [0x77]
        assert await kbc.ask(0xAE) == []
        assert await kbc.ask(0x20) == [0x67]
        assert await kbc.ask(0x25) == [0]
        assert await kbc.ask(0x65, 0xFF) == [], "lost, not sent to the keyboard"
        assert await kbc.ask(0xC0) == [0x80]
        assert await kbc.ask(0xD2, 0x5A) == [0x5A]
        assert await kbc.ask(0xD3, 0xA5) == [0xA5]
        assert await kbc.ask(0xD4, 0xF4) == [0xFE]
        assert await kbc.read(COMMAND) == 0x14, "last written: data"
        await kbc.write(COMMAND, 0xAA)
        assert await kbc.read(COMMAND) == 0x1D
        assert await kbc.read(1) == 0xFF
    run(kind, body)


@TWINS
def test_a20_and_reset(kind):
    async def body(kbc):
        assert kbc.pin("a20") == 1
        assert await kbc.ask(0xD0) == [0xCF]
        await kbc.ask(0xDD)
        assert kbc.pin("a20") == 0
        assert await kbc.ask(0xD0) == [0xCD]
        await kbc.ask(0xD1, 0xDF)
        assert kbc.pin("a20") == 1
        await kbc.ask(0xD1, 0xDD)
        assert kbc.pin("a20") == 0
        await kbc.ask(0xDF)
        assert kbc.pin("a20") == 1
        await kbc.ask(0xFF)
        assert kbc.resets == 0
        await kbc.ask(0xFE)
        assert kbc.resets == 1
        await kbc.ask(0xD1, 0xDE)
        assert kbc.resets == 2
    run(kind, body)


@TWINS
def test_keyboard_answers_with_an_interrupt_each(kind):
    async def body(kbc):
        await kbc.write(DATA, 0xFF)
        assert await kbc.answers() == [0xFA, 0xAA]
        assert kbc.irqs == 2
        await kbc.write(DATA, 0xF2)
        assert await kbc.answers() == [0xFA, 0xAB, 0x41]
        assert await kbc.ask(0x60, 0x05) == [], "translation off"
        await kbc.write(DATA, 0xF2)
        assert await kbc.answers() == [0xFA, 0xAB, 0x83]
        for command in (0xED, 0xF3, 0xF0):
            await kbc.write(DATA, command)
            assert await kbc.answers() == [0xFA]
            await kbc.write(DATA, 0xFF)
            assert await kbc.answers() == [0xFA], "an argument, not a reset"
        await kbc.write(DATA, 0xEE)
        assert await kbc.answers() == [0xEE]
        await kbc.write(DATA, 0x12)
        assert await kbc.answers() == [0xFE]
        count = kbc.irqs
        await kbc.ask(0x60, 0x44)
        await kbc.write(DATA, 0xF4)
        assert await kbc.answers() == [0xFA]
        assert kbc.irqs == count
    run(kind, body)


@TWINS
def test_keyboard_waits_while_it_is_off(kind):
    async def body(kbc):
        await kbc.write(DATA, 0xF2)
        await kbc.write(COMMAND, 0xAD)
        assert await kbc.answers() == [0xFA]
        await kbc.write(COMMAND, 0xAE)
        assert await kbc.answers() == [0xAB, 0x41]
    run(kind, body)


def test_random_operations_are_equal():
    generator = random.Random(7)
    commands = bytes.fromhex("20 60 61 a7 a8 a9 aa ab ad ae d0 d1 d2 d4 dd df f0 fe")
    data = (0xED, 0xEE, 0xF0, 0xF2, 0xF3, 0xF4, 0xFF, 0x00, 0x45, 0x55, 0x47, 0xDE, 0xDF)
    operations = [generator.choice((("read", DATA), ("read", DATA), ("read", COMMAND), ("read", COMMAND),
                                    ("write", DATA, generator.choice(data)),
                                    ("write", COMMAND, generator.choice(commands)))) for _ in range(3000)]

    async def body(kbc):
        log = []
        for name, *arguments in operations:
            log.append((await getattr(kbc, name)(*arguments), kbc.pin("irq"), kbc.pin("a20"), kbc.irqs, kbc.resets))
        return log

    hardware, software = run("rtl", body), run("software", body)
    for index, (left, right) in enumerate(zip(hardware, software, strict=True)):
        assert left == right, f"operation {index}: {operations[index]}"
    assert hardware[-1][3] > 100 and hardware[-1][4] > 20
