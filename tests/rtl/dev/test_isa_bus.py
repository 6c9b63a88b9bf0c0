"""The devices together: decoding, clocks and interrupts, against the software platform."""

import random

from amaranth.hdl import Fragment
from amaranth.hdl._mem import MemoryInstance

from rtl.dev.isa_bus import IsaBus
from rtl.devboard import DeviceBoard
from rtl.isa.devices import DeviceConfig
from rtl.isa.platform import PORT, PORTS
from tests.rtl.simulation import simulate
from vmm.devices.platform import PcPlatform


class Ports:
    """I/O instructions of one cycle."""

    def __init__(self, ctx, isa):
        self.ctx = ctx
        self.bus = isa.bus

    async def read(self, port):
        self.ctx.set(self.bus.addr, port)
        self.ctx.set(self.bus.r_stb, 1)
        value = self.ctx.get(self.bus.r_data)
        await self.ctx.tick()
        self.ctx.set(self.bus.r_stb, 0)
        return value

    async def write(self, port, value):
        self.ctx.set(self.bus.addr, port)
        self.ctx.set(self.bus.w_data, value)
        self.ctx.set(self.bus.w_stb, 1)
        await self.ctx.tick()
        self.ctx.set(self.bus.w_stb, 0)


def run(isa, body):
    async def testbench(ctx):
        await body(ctx, Ports(ctx, isa))

    simulate(isa, testbench)


def test_every_port_of_the_map_is_decoded_and_no_other():
    isa, platform = IsaBus(), PcPlatform()

    async def body(ctx, ports):
        claimed = {port for entry in PORTS if entry.present for port in range(entry.base, entry.end)}
        for port in sorted(claimed | {port ^ bit for port in claimed for bit in (1, 4, 0x10, 0x400, 0x8000)}):
            value = await ports.read(port)
            if port not in claimed:
                assert value == 0xFF, f"port {port:X}h"
            assert value == platform.read(port, 1), f"port {port:X}h"

    run(isa, body)


def test_host_side():
    isa = IsaBus()

    async def body(ctx, ports):
        await ports.write(PORT["UART"].base, 0x41)
        assert (ctx.get(isa.uart_tx_valid), ctx.get(isa.uart_tx_data)) == (1, 0x41)
        await ports.write(PORT["DEBUGCON"].base, 0x42)
        assert (ctx.get(isa.debug_valid), ctx.get(isa.debug_data)) == (1, 0x42)
        await ports.write(PORT["POST"].base, 0x43)
        assert ctx.get(isa.post_code) == 0x43
        ctx.set(isa.bus.addr, PORT["EXIT"].base)
        ctx.set(isa.bus.w_data, 0x44)
        ctx.set(isa.bus.w_stb, 1)
        assert ctx.get(isa.exit_valid) == 1
        await ctx.tick()
        ctx.set(isa.bus.w_stb, 0)
        assert (ctx.get(isa.exit_valid), ctx.get(isa.exit_value)) == (0, 0x44)
        await ports.write(PORT["SYSTEM_CONTROL_A"].base, 1)
        assert (ctx.get(isa.reset_request), ctx.get(isa.a20)) == (1, 1)
        await ports.write(PORT["I8042_COMMAND"].base, 0xDD)
        assert (ctx.get(isa.reset_request), ctx.get(isa.a20)) == (0, 0)
        await ports.write(PORT["I8042_COMMAND"].base, 0xFE)
        assert ctx.get(isa.reset_request) == 1
        ctx.set(isa.nmi_request, 1)
        assert ctx.get(isa.nmi) == 1
        await ports.write(PORT["CMOS"].base, 0x80)
        assert ctx.get(isa.nmi) == 0
        ctx.set(isa.uart_rx_valid, 1)
        ctx.set(isa.uart_rx_data, 0x45)
        assert ctx.get(isa.uart_rx_ready) == 1
        await ctx.tick()
        ctx.set(isa.uart_rx_valid, 0)
        assert ctx.get(isa.uart_rx_ready) == 0
        assert await ports.read(PORT["UART"].base) == 0x45
        ctx.set(isa.irq, 1 << 5)
        await ports.write(PORT["PIC_MASTER"].base + 1, 0xDF)
        assert (ctx.get(isa.intr), ctx.get(isa.vector)) == (1, 0x0D)

    run(isa, body)


def test_timer_period_in_cycles():
    isa = IsaBus(DeviceConfig(pit_divider=28))

    async def body(ctx, ports):
        await ports.write(0x43, 0x34)
        await ports.write(0x40, 3)
        await ports.write(0x40, 0)
        await ports.write(0x21, 0xFE)
        times = []
        for _ in range(4):
            cycles = 0
            while not ctx.get(isa.intr):
                await ctx.tick()
                cycles += 1
            ctx.set(isa.ack, 1)
            assert ctx.get(isa.vector) == 0x08
            await ctx.tick()
            ctx.set(isa.ack, 0)
            await ports.write(0x20, 0x20)
            times.append(cycles + 2)
        assert times[2:] == [3 * 28] * 2

    run(isa, body)


def test_clock_tick_of_the_rtc_is_exact_on_average():
    isa = IsaBus(DeviceConfig(pit_divider=1))

    async def body(ctx, ports):
        await ports.write(0x70, 0x0A)
        await ports.write(0x71, 0x23)  # 4 periods of 32.768 kHz
        await ports.write(0x70, 0x0C)
        flags, last = [], 0
        for cycle in range(1200):
            if await ports.read(0x71) & 0x40:
                flags.append(cycle - last)
                last = cycle
        # 4 x 1193182 / 32768 = 145.65 timer ticks
        assert set(flags[1:]) == {145, 146}

    run(isa, body)


def random_accesses(seed, count):
    """Port operations with sense: the setup of each device is likely, and interrupts get acknowledged."""
    generator = random.Random(seed)
    entries = [entry for entry in PORTS if entry.present and entry.name not in ("EXIT", "SYSTEM_CONTROL_A")]
    operations = [("write", port, value) for port, value in (
        (0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0xA0, 0x11), (0xA1, 0x28), (0xA1, 2), (0xA1, 1), (0x3FB, 3),
        (0x3FC, 8), (0x3F9, 7))]
    for _ in range(count):
        entry = generator.choice(entries)
        port = entry.base + generator.randrange(entry.size)
        match generator.choices(("read", "write", "ack", "eoi", "send", "timer", "receive"),
                                (8, 3, 5, 5, 2, 1, 1))[0]:
            case "read":
                operations.append(("read", port))
            case "write" if entry.name == "PIC_MASTER" or entry.name == "PIC_SLAVE":
                operations.append(("write", entry.base + 1, generator.randrange(256) & generator.randrange(64) & ~1))
            case "write" if entry.name == "CMOS":
                operations += [("write", 0x70, generator.choice((0x0A, 0x0B, 0x0C, 0x33))),
                               ("write", 0x71, generator.choice((0x23, 0x24, 0x42)))]
            case "write":
                operations.append(("write", port, generator.choice((generator.randrange(256), 3, 1, 8))))
            case "send":
                operations.append(("write", 0x3F8, generator.randrange(256)))
            case "eoi":
                operations += [("write", 0xA0, 0x20), ("write", 0x20, 0x20)]
            case "ack":
                operations.append(("ack",))
            case "timer":
                operations += [("write", 0x43, 0x34), ("write", 0x40, 5), ("write", 0x40, 0)]
            case "receive":
                operations.append(("receive", generator.randrange(256)))
    return operations


def test_random_accesses_are_equal_to_the_software_platform():
    config = DeviceConfig(pit_divider=32, uart_divider=8)
    isa, platform = IsaBus(config), PcPlatform(config)
    operations = random_accesses(8, 450)
    generator = random.Random(9)
    vectors, sent = [], bytearray()

    async def body(ctx, ports):
        cycle = 0

        async def tick():
            nonlocal cycle
            if ctx.get(isa.uart_tx_valid):
                sent.append(ctx.get(isa.uart_tx_data))
            if ctx.get(isa.debug_valid):
                sent.append(ctx.get(isa.debug_data))
            await ctx.tick()
            cycle += 1

        for index, (name, *arguments) in enumerate(operations):
            # Away from the device clocks, so that the order of clock and access is the same for both, and long enough
            # after them for interrupts to arrive.
            for _ in range(8 * generator.choice((1, 1, 1, 5)) - cycle % 8 + 5):
                await tick()
            where = f"operation {index}: {name} {arguments}"
            platform.advance(cycle - platform.cycles)
            assert ctx.get(isa.intr) == platform.intr, where
            if name == "read":
                assert await ports.read(*arguments) == platform.read(arguments[0], 1), where
                cycle += 1
            elif name == "write":
                await ports.write(*arguments)
                cycle += 1
                platform.write(arguments[0], 1, arguments[1])
            elif name == "receive":
                ctx.set(isa.uart_rx_valid, 1)
                ctx.set(isa.uart_rx_data, arguments[0])
                assert ctx.get(isa.uart_rx_ready) == platform.receive(arguments[0]), where
                await tick()
                ctx.set(isa.uart_rx_valid, 0)
            elif platform.intr:
                vectors.append(ctx.get(isa.vector))
                ctx.set(isa.ack, 1)
                assert vectors[-1] == platform.ack(), where
                await tick()
                ctx.set(isa.ack, 0)
        await tick()

    run(isa, body)
    assert sent == platform.console_out and len(sent) > 20
    assert {0x20, 0x24} <= set(vectors) and len(vectors) > 20


TRANSIENT = {
    "tx_valid", "tx_data", "valid", "data", "reset_request",  # outputs of one cycle
    "acknowledged",  # in the middle of an acknowledge
    "updating", "fsm_state", "month_days", "time", "alarm",  # in the middle of an RTC update
    "command_due", "timer_due", "error_due", "lint0_due", "lint1_due", "requests", "scan", "ended",  # not yet arrived
}


def registers_of(fragment, prefix=""):
    """Names of the registers and memories of an elaborated design."""
    for statement in fragment.statements.get("sync", ()):
        for signal in statement._lhs_signals():
            yield prefix + signal.name
    for child, name, _ in fragment.subfragments:
        if isinstance(child, MemoryInstance):
            yield prefix + name
        else:
            yield from registers_of(child, f"{prefix}{name}.")


def test_software_state_has_the_names_of_the_hardware_registers():
    registers = registers_of(Fragment.get(DeviceBoard(DeviceConfig(uart_divider=2)), None))
    registers = {name.removeprefix("isa.") for name in registers
                 if name.startswith(("isa.", "apics.")) and name.rpartition(".")[2] not in TRANSIENT}
    assert registers == set(PcPlatform().save()) - {"cycles"}
