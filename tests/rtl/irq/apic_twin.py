"""Drives an APIC, hardware or software, through its registers, pins, messages and time."""


from rtl.irq.ioapic import IoApic
from rtl.irq.lapic import LocalApic
from tests.rtl.dev.twin import run_software
from tests.rtl.simulation import simulate
from vmm.devices.ioapic import IoApic as SoftwareIoApic
from vmm.devices.lapic import LocalApic as SoftwareLocalApic

SPAN = range(29)
#: Cycles in which everything that happened has arrived.
_SETTLE = 8


class _Registers:
    """Registers on an MMIO port."""

    async def read(self, offset):
        bus = self.apic.bus
        self.ctx.set(bus.addr, offset)
        self.ctx.set(bus.mask, 0xF)
        self.ctx.set(bus.valid, 1)
        value = self.ctx.get(bus.rdata)
        assert self.ctx.get(bus.ready)
        await self.ctx.tick()
        self.ctx.set(bus.valid, 0)
        await self.settle()
        return value

    async def write(self, offset, value, mask=0xF):
        bus = self.apic.bus
        for name, what in (("addr", offset), ("wdata", value), ("mask", mask), ("write", 1), ("valid", 1)):
            self.ctx.set(getattr(bus, name), what)
        while not self.ctx.get(bus.ready):
            await self.tick()
        await self.tick()
        self.ctx.set(bus.valid, 0)
        self.ctx.set(bus.write, 0)
        await self.settle()

    async def settle(self):
        for _ in range(_SETTLE):
            await self.tick()
        assert self.ctx.get(self.apic.settled)


class RtlLocal(_Registers):
    def __init__(self, ctx, apic):
        self.ctx, self.apic = ctx, apic
        self.ended, self.events = [], []
        ctx.set(apic.end.ready, 1)
        ctx.set(apic.elapse, 0)

    async def tick(self):
        get, apic = self.ctx.get, self.apic
        if get(apic.end.valid):
            self.ended.append(get(apic.end.vector))
        self.events += [name for name in ("nmi", "init") if get(getattr(apic, name))]
        await self.ctx.tick()

    async def message(self, vector, mode, level, dest, logical):
        for name, value in (("vector", vector), ("mode", mode), ("level", level), ("dest", dest), ("logical", logical),
                            ("valid", 1)):
            self.ctx.set(getattr(self.apic.message, name), int(value))
        assert self.ctx.get(self.apic.message.ready)
        await self.tick()
        self.ctx.set(self.apic.message.valid, 0)
        await self.settle()

    async def pin(self, number, level):
        self.ctx.set(self.apic.lint[number], level)
        await self.settle()

    async def advance(self, cycles):
        while cycles:
            step = min(cycles, self.ctx.get(self.apic.until_tick))
            self.ctx.set(self.apic.elapse, step)
            await self.tick()
            self.ctx.set(self.apic.elapse, 0)
            if not self.ctx.get(self.apic.settled):
                await self.settle()
            cycles -= step

    async def ack(self):
        self.ctx.set(self.apic.ack, 1)
        vector = self.ctx.get(self.apic.vector)
        await self.tick()
        self.ctx.set(self.apic.ack, 0)
        await self.settle()
        return vector

    def lines(self):
        return self.ctx.get(self.apic.request), self.ctx.get(self.apic.external)

    async def take_events(self):
        events, self.events = self.events, []
        return events


class SoftLocal:
    def __init__(self, apic):
        self.apic = apic
        self.ended = []
        apic._on_end = self.ended.append

    async def read(self, offset):
        return self.apic.read(offset)

    async def write(self, offset, value, mask=0xF):
        if mask == 0xF:
            self.apic.write(offset, value)

    async def message(self, *message):
        self.apic.message(*message)

    async def pin(self, number, level):
        self.apic.set_pin(number, level)

    async def advance(self, cycles):
        self.apic.advance(cycles)

    async def ack(self):
        return self.apic.acknowledge()

    def lines(self):
        return int(self.apic.request), int(self.apic.external)

    async def take_events(self):
        events = [name for name in ("nmi", "init") if getattr(self.apic, name)]
        self.apic.nmi = self.apic.init = 0
        return events


class RtlIo(_Registers):
    def __init__(self, ctx, apic):
        self.ctx, self.apic = ctx, apic
        self.sent = []
        self.levels = 0
        ctx.set(apic.message.ready, 1)

    async def tick(self):
        get, message = self.ctx.get, self.apic.message
        if get(message.valid):
            self.sent.append(tuple(
                get(getattr(message, name)) for name in ("vector", "mode", "level", "dest", "logical")))
        await self.ctx.tick()

    async def settle(self):
        for _ in range(40):
            await self.tick()
            if self.ctx.get(self.apic.settled):
                return
        raise AssertionError("it does not settle")

    async def pin(self, number, level):
        self.levels = self.levels & ~(1 << number) | level << number
        self.ctx.set(self.apic.irq, self.levels)
        await self.tick()
        await self.settle()

    async def end(self, vector):
        self.ctx.set(self.apic.end.vector, vector)
        self.ctx.set(self.apic.end.valid, 1)
        assert self.ctx.get(self.apic.end.ready)
        await self.tick()
        self.ctx.set(self.apic.end.valid, 0)
        await self.settle()

    def external(self):
        get, apic = self.ctx.get, self.apic
        return (get(apic.external_dest), get(apic.external_logical)) if get(apic.external) else None


class SoftIo:
    def __init__(self, apic):
        self.apic = apic
        self.sent = []
        apic._send = lambda *message: self.sent.append(tuple(map(int, message)))

    async def read(self, offset):
        return self.apic.read(offset)

    async def write(self, offset, value, mask=0xF):
        if mask == 0xF:
            self.apic.write(offset, value)

    async def pin(self, number, level):
        self.apic.set_pin(number, level)

    async def end(self, vector):
        self.apic.end(vector)

    def external(self):
        asked = []
        self.apic.external(lambda dest, logical: bool(asked.append((dest, int(logical)))))
        return asked[0] if asked else None


def _simulate(component, twin, body):
    result = []

    async def testbench(ctx):
        result.append(await body(twin(ctx, component)))

    simulate(component, testbench)
    return result[0]


def run_local(kind, body):
    """Run a body on a local APIC and return its result."""
    if kind == "rtl":
        return _simulate(LocalApic(SPAN), RtlLocal, body)
    return run_software(SoftwareLocalApic(), body, twin=SoftLocal)


def run_io(kind, body):
    """Run a body on an I/O APIC and return its result."""
    if kind == "rtl":
        return _simulate(IoApic(), RtlIo, body)
    return run_software(SoftwareIoApic(lambda *message: None), body, twin=SoftIo)
