"""16550A UART."""

from amaranth import Array, C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort
from rtl.isa.devices import UART_FIFO_DEPTH, UART_FIRMWARE_MCR, UART_LINES, UART_TRIGGERS, UartIir, UartReg

__all__ = ["Uart16550"]


class Uart16550(wiring.Component):
    """A 16550A whose wire is ideal: bytes are exact and in order, and only the time they take is modelled.

    1. A byte written to THR leaves on ``tx`` in the next cycle, whatever the line control says, and never gets lost.
       The shift register still keeps it for the time of a character, and THRE, TEMT and the interrupts follow that
       time. In loopback the byte goes to the receiver instead.
    2. A received byte is taken in a cycle with ``rx_valid`` and ``rx_ready`` high. ``rx_ready`` is low while the
       receiver is full and in loopback, so that only loopback can overrun.
    3. A character takes divisor x 16 x (start + data + parity + stop bits) baud ticks. Divisor 0 counts as 65536.
    4. RBR keeps the last character; an empty FIFO reads as 0.
    5. The interrupt line is gated by OUT2 (MCR bit 3), as on a PC.
    6. Parity, framing and break errors do not happen. CTS, DSR and DCD of the host's side are on, RI is off.
    7. Power-on state is what firmware leaves: divisor 1, OUT2 on, and everything else as after master reset.

    NS PC16550D datasheet, sections 6 to 8.

    Members
    -------
    bus : ``In(RegisterPort(3))``
        Registers.
    baud_tick : ``In(1)``
        One clock of the baud rate generator.
    irq : ``Out(1)``
        Interrupt request, level.
    tx_valid, tx_data : ``Out(1)``, ``Out(8)``
        A byte for the host in each cycle of ``tx_valid``.
    rx_valid, rx_ready, rx_data : ``In(1)``, ``Out(1)``, ``In(8)``
        Bytes from the host.
    active : ``Out(1)``
        The baud rate generator runs; otherwise its clock changes nothing.
    """

    bus: In(RegisterPort(3))
    baud_tick: In(1)
    irq: Out(1)
    tx_valid: Out(1)
    tx_data: Out(8)
    rx_valid: In(1)
    rx_ready: Out(1)
    rx_data: In(8)
    active: Out(1)

    def elaborate(self, platform):
        m = Module()
        bus = self.bus

        ier = Signal(4)
        fifo_enable = Signal()
        trigger = Signal(2)
        lcr = Signal(8)
        mcr = Signal(5, init=UART_FIRMWARE_MCR)
        scr = Signal(8)
        divisor = Signal(16, init=1)
        overrun = Signal()
        delta = Signal(4)
        thre_pending = Signal()

        tx_count = Signal(range(UART_FIFO_DEPTH + 1))
        tx_busy = Signal()
        tx_timer = Signal(8)
        rx_count = Signal(range(UART_FIFO_DEPTH + 1))
        rx_head = Signal(range(UART_FIFO_DEPTH))
        rx_timing = Signal()
        rx_timeout = Signal()
        rx_timer = Signal(10)
        prescaler = Signal(16)

        m.submodules.rx_fifo = rx_fifo = Memory(shape=8, depth=UART_FIFO_DEPTH, init=[])
        rx_write = rx_fifo.write_port()
        rx_read = rx_fifo.read_port(domain="comb")

        dlab = lcr[7]
        loopback = mcr[4]
        write = Array(Signal(name=f"write_{reg.name.lower()}") for reg in UartReg)
        for reg in UartReg:
            m.d.comb += write[reg].eq(bus.w_stb & (bus.addr == reg))
        write_thr = Signal()
        write_ier = Signal()
        read_rbr = Signal()
        m.d.comb += [
            write_thr.eq(write[UartReg.DATA] & ~dlab),
            write_ier.eq(write[UartReg.IER] & ~dlab),
            read_rbr.eq(bus.r_stb & (bus.addr == UartReg.DATA) & ~dlab),
        ]

        fifo_change = Signal()
        rx_reset = Signal()
        tx_reset = Signal()
        write_fcr = write[UartReg.IIR]
        m.d.comb += [
            fifo_change.eq(write_fcr & (bus.w_data[0] != fifo_enable)),
            rx_reset.eq(fifo_change | (write_fcr & bus.w_data[0] & bus.w_data[1])),
            tx_reset.eq(fifo_change | (write_fcr & bus.w_data[0] & bus.w_data[2])),
        ]

        # Sixteenths of a bit; the generator stands still when nothing waits for it.
        active = self.active
        sixteenth = Signal()
        char_time = Signal(8)
        m.d.comb += [
            active.eq(tx_busy | (tx_count != 0) | rx_timing),
            sixteenth.eq(self.baud_tick & active & (prescaler == 0)),
            char_time.eq(Cat(C(0, 4), lcr[0:2] + 7 + lcr[3]) + Mux(lcr[2], Mux(lcr[0:2] == 0, 8, 16), 0)),
        ]
        with m.If(sixteenth):
            m.d.sync += prescaler.eq(divisor - 1)
        with m.Elif(self.baud_tick & active):
            m.d.sync += prescaler.eq(prescaler - 1)

        # Transmitter.
        tx_push = Signal()
        tx_pop = Signal()
        m.d.comb += [
            tx_push.eq(write_thr & (tx_count != Mux(fifo_enable, UART_FIFO_DEPTH, 1))),
            tx_pop.eq(sixteenth & (tx_count != 0) & (~tx_busy | (tx_timer == 0))),
        ]
        m.d.sync += self.tx_valid.eq(write_thr & ~loopback)
        with m.If(write_thr):
            m.d.sync += self.tx_data.eq(bus.w_data)
        with m.If(sixteenth):
            with m.If(tx_pop):
                m.d.sync += [tx_busy.eq(1), tx_timer.eq(char_time - 1)]
            with m.Elif(tx_timer == 0):
                m.d.sync += tx_busy.eq(0)
            with m.Else():
                m.d.sync += tx_timer.eq(tx_timer - 1)
        with m.If(tx_push & ~tx_pop):
            m.d.sync += tx_count.eq(tx_count + 1)
        with m.Elif(tx_pop & ~tx_push):
            m.d.sync += tx_count.eq(tx_count - 1)

        # Receiver.
        rx_full = Signal()
        rx_host = Signal()
        rx_loop = Signal()
        rx_push = Signal()
        rx_pop = Signal()
        m.d.comb += [
            rx_full.eq(rx_count == Mux(fifo_enable, UART_FIFO_DEPTH, 1)),
            self.rx_ready.eq(~rx_full & ~loopback & ~rx_reset),
            rx_host.eq(self.rx_valid & self.rx_ready),
            rx_loop.eq(write_thr & loopback),
            rx_push.eq(rx_host | (rx_loop & ~rx_full)),
            rx_pop.eq(read_rbr & (rx_count != 0)),
            rx_read.addr.eq(rx_head),
            # Without the FIFO a character that overruns replaces the one in RBR.
            rx_write.addr.eq(rx_head + Mux(fifo_enable, rx_count[0:4], 0)),
            rx_write.data.eq(Mux(rx_loop, bus.w_data, self.rx_data)),
            rx_write.en.eq(rx_push | (rx_loop & ~fifo_enable)),
        ]
        with m.If(rx_push & ~rx_pop):
            m.d.sync += rx_count.eq(rx_count + 1)
        with m.Elif(rx_pop & ~rx_push):
            m.d.sync += rx_count.eq(rx_count - 1)
        with m.If(rx_pop & fifo_enable):
            m.d.sync += rx_head.eq(rx_head + 1)
        with m.If(sixteenth & rx_timing):
            m.d.sync += rx_timer.eq(rx_timer - 1)
            with m.If(rx_timer == 0):
                m.d.sync += [rx_timing.eq(0), rx_timeout.eq(1)]
        with m.If(rx_pop):
            m.d.sync += rx_timeout.eq(0)
        with m.If(rx_push | rx_pop):
            # The timeout starts again with every character that comes or goes while one waits.
            m.d.sync += [
                rx_timing.eq(fifo_enable & (rx_push | (rx_count != 1))),
                rx_timer.eq(Cat(C(0, 2), char_time) - 1),
            ]

        # Register reads.
        rx_ready_irq = Signal()
        iir = Signal(4)
        lines = Signal(4)
        msr_lines = Signal(4)
        m.d.comb += [
            rx_ready_irq.eq(Mux(fifo_enable, rx_count >= Array(UART_TRIGGERS)[trigger], rx_count != 0)),
            lines.eq(Cat(mcr[1], mcr[0], mcr[2], mcr[3])),
            msr_lines.eq(Mux(loopback, lines, UART_LINES)),
        ]
        with m.If(ier[2] & overrun):
            m.d.comb += iir.eq(UartIir.LINE)
        with m.Elif(ier[0] & rx_ready_irq):
            m.d.comb += iir.eq(UartIir.RX)
        with m.Elif(ier[0] & rx_timeout):
            m.d.comb += iir.eq(UartIir.TIMEOUT)
        with m.Elif(ier[1] & thre_pending):
            m.d.comb += iir.eq(UartIir.THRE)
        with m.Elif(ier[3] & delta.any()):
            m.d.comb += iir.eq(UartIir.MODEM)
        with m.Else():
            m.d.comb += iir.eq(UartIir.NONE)
        m.d.comb += self.irq.eq(~iir[0] & mcr[3])

        with m.Switch(bus.addr):
            with m.Case(UartReg.DATA):
                m.d.comb += bus.r_data.eq(Mux(dlab, divisor[0:8], Mux(fifo_enable & (rx_count == 0), 0, rx_read.data)))
            with m.Case(UartReg.IER):
                m.d.comb += bus.r_data.eq(Mux(dlab, divisor[8:16], ier))
            with m.Case(UartReg.IIR):
                m.d.comb += bus.r_data.eq(Cat(iir, C(0, 2), fifo_enable.replicate(2)))
            with m.Case(UartReg.LCR):
                m.d.comb += bus.r_data.eq(lcr)
            with m.Case(UartReg.MCR):
                m.d.comb += bus.r_data.eq(mcr)
            with m.Case(UartReg.LSR):
                thre = tx_count == 0
                m.d.comb += bus.r_data.eq(Cat(rx_count != 0, overrun, C(0, 3), thre, thre & ~tx_busy))
            with m.Case(UartReg.MSR):
                m.d.comb += bus.r_data.eq(Cat(delta, msr_lines))
            with m.Case(UartReg.SCR):
                m.d.comb += bus.r_data.eq(scr)

        # Flags: an event of the wire comes before the access of the same cycle, and is cleared by it.
        with m.If(tx_pop & ~tx_push & (tx_count == 1)):
            m.d.sync += thre_pending.eq(1)
        with m.If(bus.r_stb):
            with m.If((bus.addr == UartReg.IIR) & (iir == UartIir.THRE)):
                m.d.sync += thre_pending.eq(0)
            with m.If(bus.addr == UartReg.LSR):
                m.d.sync += overrun.eq(0)
            with m.If(bus.addr == UartReg.MSR):
                m.d.sync += delta.eq(0)

        # Register writes.
        with m.If(write_thr):
            m.d.sync += thre_pending.eq(0)
            with m.If(rx_loop & rx_full):
                m.d.sync += overrun.eq(1)
        with m.If(write_ier):
            m.d.sync += ier.eq(bus.w_data)
            with m.If(bus.w_data[1] & ~ier[1] & (tx_count == 0)):
                m.d.sync += thre_pending.eq(1)
        with m.If(dlab & (write[UartReg.DATA] | write[UartReg.IER])):
            m.d.sync += [divisor.word_select(bus.addr[0], 8).eq(bus.w_data), prescaler.eq(0)]
        with m.If(write_fcr):
            m.d.sync += fifo_enable.eq(bus.w_data[0])
            with m.If(bus.w_data[0]):
                m.d.sync += trigger.eq(bus.w_data[6:8])
        with m.If(rx_reset):
            m.d.sync += [rx_count.eq(0), rx_timing.eq(0), rx_timeout.eq(0)]
        with m.If(tx_reset):
            m.d.sync += tx_count.eq(0)
            with m.If(tx_count != 0):
                m.d.sync += thre_pending.eq(1)
        with m.If(write[UartReg.LCR]):
            m.d.sync += lcr.eq(bus.w_data)
        with m.If(write[UartReg.MCR]):
            new_lines = Mux(bus.w_data[4], Cat(bus.w_data[1], bus.w_data[0], bus.w_data[2], bus.w_data[3]), UART_LINES)
            changed = (msr_lines ^ new_lines) & ~Cat(C(0, 2), new_lines[2], C(0, 1))  # RI: trailing edge only
            m.d.sync += [mcr.eq(bus.w_data), delta.eq(delta | changed)]
        with m.If(write[UartReg.SCR]):
            m.d.sync += scr.eq(bus.w_data)
        return m
