"""One test body for a device and its software twin.

A body is a coroutine over a `Twin`: registers, time and pins. The hardware runs under pysim; in software nothing waits,
so the coroutine runs straight through.
"""

import pytest

from tests.rtl.simulation import simulate

TWINS = pytest.mark.parametrize("kind", ["rtl", "software"])


class RtlTwin:
    """Drives a component. `settle` idle cycles follow each operation, time enough for its effects to get everywhere."""

    def __init__(self, ctx, component, settle, tick_name):
        self.ctx = ctx
        self.component = component
        self.settle = settle
        self.tick_input = getattr(component, tick_name) if tick_name else None

    def pin(self, name):
        return self.ctx.get(getattr(self.component, name))

    async def set_pin(self, name, value):
        self.ctx.set(getattr(self.component, name), value)
        await self.idle(max(self.settle, 1))

    async def idle(self, cycles):
        for _ in range(cycles):
            await self.ctx.tick()

    async def read(self, offset, port="bus"):
        bus = getattr(self.component, port)
        self.ctx.set(bus.addr, offset)
        self.ctx.set(bus.r_stb, 1)
        value = self.ctx.get(bus.r_data)
        await self.ctx.tick()
        self.ctx.set(bus.r_stb, 0)
        await self.idle(self.settle)
        return value

    async def write(self, offset, value, port="bus"):
        bus = getattr(self.component, port)
        self.ctx.set(bus.addr, offset)
        self.ctx.set(bus.w_data, value)
        self.ctx.set(bus.w_stb, 1)
        await self.ctx.tick()
        self.ctx.set(bus.w_stb, 0)
        await self.idle(self.settle)

    async def advance(self, ticks):
        self.ctx.set(self.tick_input, 1)
        await self.idle(ticks)
        self.ctx.set(self.tick_input, 0)
        await self.idle(self.settle)


class SoftwareTwin:
    """Drives a software device. Pins are attributes, or `set_NAME` methods for inputs."""

    def __init__(self, device):
        self.device = device

    def pin(self, name):
        return int(getattr(self.device, name))

    async def set_pin(self, name, value):
        getattr(self.device, f"set_{name}")(value)

    async def read(self, offset, port=None):
        return int((getattr(self.device, port) if port else self.device).read(offset))

    async def write(self, offset, value, port=None):
        (getattr(self.device, port) if port else self.device).write(offset, value)

    async def advance(self, ticks):
        self.device.advance(ticks)


def run_rtl(component, body, *, settle=1, tick=None, twin=RtlTwin):
    """Run `body` on hardware and return its result."""
    result = []

    async def testbench(ctx):
        result.append(await body(twin(ctx, component, settle, tick)))

    simulate(component, testbench)
    return result[0]


def run_software(device, body, *, twin=SoftwareTwin):
    """Run `body` on software and return its result."""
    coroutine = body(twin(device))
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("A software twin has nothing to wait for")
