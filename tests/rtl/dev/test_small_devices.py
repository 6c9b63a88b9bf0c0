"""Debug console, exit port, doorbell, POST code, VGA registers, system control ports: one body, twice executed."""

import pytest
from amaranth.sim import Simulator

from rtl.dev.debugcon import DebugConsole
from rtl.dev.doorbell import Doorbell
from rtl.dev.exit import ExitPort
from rtl.dev.postcode import PostCode
from rtl.dev.sysctl import SystemControlA, SystemControlB
from rtl.dev.vga import VgaRegisters
from tests.rtl.dev.twin import TWINS, run_rtl, run_software
from tests.rtl.simulation import simulate
from vmm.devices import misc


def run(kind, component, device, body):
    if kind == "rtl":
        return run_rtl(component(), body, settle=1)
    return run_software(device(), body)


@TWINS
def test_debug_console(kind):
    async def body(console):
        assert await console.read(0) == 0xE9
    run(kind, DebugConsole, misc.DebugConsole, body)


def test_debug_console_bytes():
    async def body(console):
        console.settle = 0
        for byte in b"ok":
            await console.write(0, byte)
            assert (console.pin("valid"), console.pin("data")) == (1, byte)
        await console.idle(1)
        assert console.pin("valid") == 0
    run_rtl(DebugConsole(), body)
    received = bytearray()
    device = misc.DebugConsole(received.append)
    for byte in b"ok":
        device.write(0, byte)
    assert received == b"ok"


@TWINS
def test_exit_port(kind):
    async def body(port):
        assert [await port.read(offset) for offset in range(4)] == [0xFF] * 4
        await port.write(0, 0x31)
        assert port.pin("value") == 0x31
        await port.write(1, 0x77)
        assert port.pin("value") == 0x31
    run(kind, ExitPort, misc.ExitPort, body)


@pytest.mark.parametrize("enable", (0, 1))
def test_doorbell(enable):
    """It rings in the cycle of the write; without a monitor it is a port of nobody."""
    bell = Doorbell()

    async def testbench(ctx):
        ctx.set(bell.enable, enable)
        assert ctx.get(bell.bus.r_data) == 0xFF
        for offset, strobe, rings in ((0, 0, 0), (1, 1, 0), (0, 1, enable)):
            ctx.set(bell.bus.addr, offset)
            ctx.set(bell.bus.w_stb, strobe)
            assert ctx.get(bell.valid) == rings

    simulator = Simulator(bell)
    simulator.add_testbench(testbench)
    simulator.run()


def test_exit_request_is_in_the_cycle_of_the_write():
    port = ExitPort()

    async def testbench(ctx):
        ctx.set(port.bus.w_data, 5)
        for offset, valid, value in ((1, 0, 0), (0, 1, 5)):
            ctx.set(port.bus.addr, offset)
            ctx.set(port.bus.w_stb, 1)
            assert ctx.get(port.valid) == valid
            await ctx.tick()
            ctx.set(port.bus.w_stb, 0)
            assert (ctx.get(port.valid), ctx.get(port.value)) == (0, value)

    simulate(port, testbench)


@TWINS
def test_post_code(kind):
    async def body(port):
        assert await port.read(0) == 0
        await port.write(0, 0xA5)
        assert (await port.read(0), port.pin("code")) == (0xA5, 0xA5)
    run(kind, PostCode, misc.PostCode, body)


@TWINS
def test_vga_registers(kind):
    async def body(vga):
        await vga.write(4, 0x0E)
        assert await vga.read(4) == 0x0E
        await vga.write(5, 0x12)
        await vga.write(4, 0x0F)
        await vga.write(5, 0x34)
        assert await vga.read(5) == 0x34
        await vga.write(4, 0x0E)
        assert await vga.read(5) == 0x12
        await vga.write(4, 1)
        assert await vga.read(5) == 79, "columns less one"
        assert [await vga.read(10) for _ in range(4)] == [0, 9, 0, 9]
        assert await vga.read(0) == 0xFF
    run(kind, VgaRegisters, misc.VgaRegisters, body)


@TWINS
def test_system_control_a(kind):
    async def body(port):
        assert (await port.read(0), port.pin("a20")) == (0, 0)
        await port.write(0, 0xFE)
        assert (await port.read(0), port.pin("a20")) == (2, 1)
    run(kind, SystemControlA, misc.SystemControlA, body)


@pytest.mark.parametrize("value, reset", [(0, 0), (1, 1), (2, 0), (3, 1)])
def test_fast_reset(value, reset):
    async def body(port):
        port.settle = 0
        await port.write(0, value)
        seen = [port.pin("reset_request")]
        await port.idle(1)
        return [*seen, port.pin("reset_request")]
    assert run_rtl(SystemControlA(), body) == [reset, 0]
    requests = []
    misc.SystemControlA(requests.append).write(0, value)
    assert len(requests) == reset


def test_system_control_b():
    async def body(port):
        log = [await port.read(0)]
        await port.write(0, 0xFF)
        log.append(await port.read(0))
        for level in (0, 1, 0, 1):
            if hasattr(port, "ctx"):
                await port.set_pin("refresh", level)
            else:
                port.device.refresh(level)
            log.append(await port.read(0))
        await port.set_pin("out2", 0)
        log.append(await port.read(0))
        return log

    async def from_power_on(port):
        await port.set_pin("refresh", 1)
        await port.set_pin("out2", 1)
        return await body(port)

    expected = [0x20, 0x2F, 0x2F, 0x3F, 0x3F, 0x2F, 0x0F]
    assert run_software(misc.SystemControlB(), body) == expected
    assert run_rtl(SystemControlB(), from_power_on) == expected
