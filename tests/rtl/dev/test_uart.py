"""16550A: one body, hardware and software."""

import random

from rtl.dev.uart import Uart16550
from rtl.isa.devices import UartIer, UartIir, UartLsr, UartReg
from tests.rtl.dev.twin import TWINS, RtlTwin, SoftwareTwin, run_rtl, run_software
from vmm.devices.uart import Uart16550 as SoftwareUart

DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR = UartReg
CHAR_8N1 = 160


class RtlUart(RtlTwin):
    def __init__(self, *args):
        super().__init__(*args)
        self.sent = []

    async def idle(self, cycles):
        for _ in range(cycles):
            if self.pin("tx_valid"):
                self.sent.append(self.pin("tx_data"))
            await self.ctx.tick()

    async def receive(self, byte):
        self.ctx.set(self.component.rx_valid, 1)
        self.ctx.set(self.component.rx_data, byte)
        taken = bool(self.pin("rx_ready"))
        await self.ctx.tick()
        self.ctx.set(self.component.rx_valid, 0)
        await self.idle(self.settle)
        return taken


class SoftUart(SoftwareTwin):
    def __init__(self, device):
        super().__init__(device)
        self.sent = []
        device.on_tx = self.sent.append

    async def receive(self, byte):
        return self.device.receive(byte)


def run(kind, body):
    if kind == "rtl":
        return run_rtl(Uart16550(), body, settle=1, tick="baud_tick", twin=RtlUart)
    return run_software(SoftwareUart(), body, twin=SoftUart)


@TWINS
def test_power_on_state_and_scratch(kind):
    async def body(uart):
        assert [await uart.read(register) for register in (IER, IIR, LCR, MCR, LSR, MSR)] == [0, 1, 0, 8, 0x60, 0xB0]
        await uart.write(SCR, 0x5A)
        assert await uart.read(SCR) == 0x5A
        await uart.write(LCR, 0x83)
        assert (await uart.read(DATA), await uart.read(IER)) == (1, 0)
        await uart.write(DATA, 0x34)
        await uart.write(IER, 0x12)
        assert (await uart.read(DATA), await uart.read(IER)) == (0x34, 0x12)
        await uart.write(LCR, 0x03)
        assert await uart.read(IER) == 0
        assert uart.sent == []
    run(kind, body)


@TWINS
def test_transmit_takes_the_time_of_a_character(kind):
    async def body(uart):
        await uart.write(LCR, 3)
        await uart.write(DATA, 0x41)
        assert uart.sent == [0x41]
        assert await uart.read(LSR) == 0
        await uart.advance(1)
        assert await uart.read(LSR) == UartLsr.THRE
        await uart.advance(CHAR_8N1 - 1)
        assert await uart.read(LSR) == UartLsr.THRE
        await uart.advance(1)
        assert await uart.read(LSR) == UartLsr.THRE | UartLsr.TEMT
    run(kind, body)


@TWINS
def test_divisor_and_format_set_the_character_time(kind):
    async def body(uart):
        async def character_time(lcr, divisor):
            await uart.write(LCR, 0x80 | lcr)
            await uart.write(DATA, divisor)
            await uart.write(LCR, lcr)
            await uart.write(DATA, 0)
            ticks = 0
            while not await uart.read(LSR) & UartLsr.TEMT:
                await uart.advance(1)
                ticks += 1
            return ticks - 1  # the first tick takes the byte from the holding register
        assert await character_time(0x03, 1) == 16 * 10
        assert await character_time(0x03, 3) == 3 * 16 * 10
        assert await character_time(0x1F, 1) == 16 * 12  # 8 bits, even parity, 2 stop bits
        assert await character_time(0x04, 1) == 16 * 7 + 8  # 5 bits, 1.5 stop bits
    run(kind, body)


@TWINS
def test_thre_interrupt(kind):
    async def body(uart):
        await uart.write(LCR, 3)
        await uart.write(MCR, 8)
        await uart.write(IER, UartIer.THRE)
        assert uart.pin("irq") == 1, "enabling it with THR empty raises it"
        assert await uart.read(IIR) == UartIir.THRE
        assert uart.pin("irq") == 0, "reading it as the cause clears it"
        assert await uart.read(IIR) == UartIir.NONE
        await uart.write(DATA, 1)
        await uart.write(DATA, 2)
        await uart.advance(1)
        assert uart.pin("irq") == 1
        await uart.write(DATA, 3)
        assert uart.pin("irq") == 0, "a byte in THR clears it"
        await uart.advance(CHAR_8N1)
        assert uart.pin("irq") == 1
        await uart.write(MCR, 0)
        assert uart.pin("irq") == 0, "OUT2 gates the line"
        assert await uart.read(IIR) == UartIir.THRE
        assert uart.sent == [1, 2, 3]
    run(kind, body)


@TWINS
def test_transmit_fifo_holds_sixteen(kind):
    async def body(uart):
        await uart.write(LCR, 3)
        await uart.write(IIR, 1)
        await uart.write(IER, UartIer.THRE)
        assert await uart.read(IIR) == 0xC0 | UartIir.THRE
        for byte in range(16):
            await uart.write(DATA, byte)
        assert await uart.read(LSR) == 0
        await uart.advance(1 + 14 * CHAR_8N1)
        assert await uart.read(LSR) == 0, "fifteen left for the shift register"
        await uart.advance(CHAR_8N1)
        assert await uart.read(LSR) == UartLsr.THRE
        assert await uart.read(IIR) == 0xC0 | UartIir.THRE
        await uart.advance(CHAR_8N1)
        assert await uart.read(LSR) == UartLsr.THRE | UartLsr.TEMT
        assert uart.sent == list(range(16))
    run(kind, body)


@TWINS
def test_receive_without_fifo(kind):
    async def body(uart):
        await uart.write(MCR, 8)
        await uart.write(IER, UartIer.RX)
        assert await uart.receive(0x61)
        assert not await uart.receive(0x62), "the host waits"
        assert uart.pin("irq") == 1
        assert await uart.read(IIR) == UartIir.RX
        assert await uart.read(LSR) == 0x61
        assert await uart.read(DATA) == 0x61
        assert uart.pin("irq") == 0
        assert await uart.read(LSR) == 0x60
        assert await uart.read(DATA) == 0x61
    run(kind, body)


@TWINS
def test_receive_trigger_and_timeout(kind):
    async def body(uart):
        await uart.write(LCR, 3)
        await uart.write(IIR, 0x41)
        await uart.write(IER, UartIer.RX)
        for byte in (1, 2, 3):
            await uart.receive(byte)
        assert await uart.read(IIR) == 0xC0 | UartIir.NONE
        await uart.advance(4 * CHAR_8N1 - 1)
        assert await uart.read(IIR) == 0xC0 | UartIir.NONE
        await uart.advance(1)
        assert await uart.read(IIR) == 0xC0 | UartIir.TIMEOUT
        assert await uart.read(DATA) == 1
        assert await uart.read(IIR) == 0xC0 | UartIir.NONE
        await uart.receive(4)
        assert await uart.read(IIR) == 0xC0 | UartIir.NONE
        await uart.receive(5)
        assert await uart.read(IIR) == 0xC0 | UartIir.RX
        assert [await uart.read(DATA) for _ in range(5)] == [2, 3, 4, 5, 0]
        await uart.advance(5 * CHAR_8N1)
        assert await uart.read(IIR) == 0xC0 | UartIir.NONE, "no timeout of an empty FIFO"
        for byte in range(16):
            assert await uart.receive(byte)
        assert not await uart.receive(16)
        await uart.write(IIR, 0x43)
        assert await uart.read(LSR) == 0x60, "receiver reset"
    run(kind, body)


@TWINS
def test_loopback_carries_data_and_modem_lines(kind):
    async def body(uart):
        await uart.write(LCR, 3)
        await uart.write(IER, UartIer.LINE)
        await uart.write(MCR, 0x10)
        assert await uart.read(MSR) == 0x0B, "CTS, DSR and DCD went off"
        assert await uart.read(MSR) == 0
        await uart.write(MCR, 0x1A)
        assert await uart.read(MSR) == 0x99
        await uart.write(MCR, 0x14)
        assert await uart.read(MSR) == 0x49
        await uart.write(MCR, 0x10)
        assert await uart.read(MSR) == 0x04, "trailing edge of RI"
        await uart.write(DATA, 0x77)
        assert await uart.read(LSR) & UartLsr.DR
        await uart.write(DATA, 0x78)
        assert await uart.read(IIR) == UartIir.LINE
        assert await uart.read(LSR) & (UartLsr.DR | UartLsr.OE) == UartLsr.DR | UartLsr.OE
        assert await uart.read(LSR) & UartLsr.OE == 0
        assert await uart.read(DATA) == 0x78, "without a FIFO the last one stays"
        assert not await uart.receive(1)
        assert uart.sent == []
    run(kind, body)


@TWINS
def test_interrupt_priority(kind):
    async def body(uart):
        await uart.write(IER, 0xF)
        await uart.write(MCR, 0x10)
        await uart.write(DATA, 1)
        await uart.write(DATA, 2)
        await uart.advance(1)
        seen = []
        for register in (LSR, DATA, None, MSR):
            seen.append(await uart.read(IIR))
            if register is not None:
                await uart.read(register)
        assert seen == [UartIir.LINE, UartIir.RX, UartIir.THRE, UartIir.MODEM]
        assert await uart.read(IIR) == UartIir.NONE
    run(kind, body)


def random_operations(seed, count):
    generator = random.Random(seed)
    operations = []
    for _ in range(count):
        kind = generator.choices(("read", "write", "advance", "receive"), (4, 4, 3, 2))[0]
        register = generator.randrange(8)
        value = generator.randrange(256)
        if register == LCR:
            value &= 0x9F if generator.random() < 0.3 else 0x1F
        if register == IIR:
            value |= generator.random() < 0.8
        if register == MCR:
            value &= generator.choice((0xFF, 0xEF))
        if register in (DATA, IER):
            value = generator.choice((value, value & 3))
        operations.append((kind, register, value, generator.choice((1, 2, 16, 100, 700))))
    return operations


def test_random_operations_are_equal():
    operations = random_operations(1, 1500)

    async def body(uart):
        log = []
        for kind, register, value, ticks in operations:
            if kind == "read":
                log.append((register.__index__(), await uart.read(register)))
            elif kind == "write":
                await uart.write(register, value)
            elif kind == "advance":
                await uart.advance(ticks)
            else:
                log.append(await uart.receive(value))
            log.append(uart.pin("irq"))
        return log, uart.sent

    hardware = run("rtl", body)
    software = run("software", body)
    assert len(hardware[1]) > 20
    assert hardware == software


def test_software_tells_when_the_line_could_rise():
    generator = random.Random(2)
    rises = 0
    for _ in range(200):
        uart = SoftwareUart()
        uart.write(LCR, 3)
        uart.write(MCR, 8)
        uart.write(IIR, generator.choice((0, 0xC1)))
        uart.write(IER, generator.choice((1, 2, 3)))
        uart.read(IIR)
        for _ in range(generator.randrange(4)):
            uart.write(DATA, 0)
        if generator.random() < 0.5:
            uart.receive(1)
        uart.advance(generator.randrange(400))
        wait = uart.ticks_to_irq()
        if uart.irq:
            continue
        if wait is None:
            uart.advance(5000)
            assert not uart.irq
        else:
            uart.advance(wait - 1)
            assert not uart.irq
            uart.advance(1)
            assert uart.irq
            rises += 1
    assert rises > 20
