"""Local APIC: the interrupts of one processor."""

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.mmio import MmioSignature
from rtl.irq.apic_timer import ApicTimer
from rtl.irq.message import EndSignature, MessageSignature
from rtl.irq.vectors import WORDS, Vectors
from rtl.isa.apic import (
    APIC_ID,
    APIC_SVR_FIRMWARE,
    APIC_VERSION,
    FIRST_VECTOR,
    ICR_WRITABLE,
    LVT_FIRMWARE,
    LVT_WRITABLE,
    SVR_ENABLE,
    ApicReg,
    Delivery,
    EsrBits,
    IrqBits,
    Shorthand,
)

__all__ = ["LocalApic"]

_MASKED, _PERIODIC, _ACTIVE_LOW, _REMOTE_IRR, _LEVEL = (
    int(bit).bit_length() - 1 for bit in (
        IrqBits.MASKED, IrqBits.PERIODIC, IrqBits.ACTIVE_LOW, IrqBits.REMOTE_IRR, IrqBits.LEVEL))
_ENABLE = SVR_ENABLE.bit_length() - 1
_ERROR = {bit: bit.bit_length() - 1 for bit in EsrBits}


class LocalApic(wiring.Component):
    """The xAPIC of a processor: registers, local vectors, inter-processor interrupts, and how interrupts come in.

    Priorities are those of `rtl.irq.vectors.Vectors`, the timer is `rtl.irq.apic_timer.ApicTimer`.

    1. Registers are 32 bits at multiples of 16, written as a whole: other writes are lost. A read gives all four
       bytes whatever is wanted. Where there is no register a read gives 0, and either is error 80h.
    2. ``vector`` is the one whose turn it is while ``request`` is high, and goes in service in a cycle of ``ack``;
       without a request it is the spurious vector and nothing goes in service. Software can disable requests.
    3. An interrupt reaches the request register one cycle after its cause: the write of the command register, the end
       of the timer's count, the change of a pin, an error; later if several come at once. A message does so at the end
       of the cycle in which it is taken. Lowest-priority delivery is fixed delivery: there is one processor.
    4. A pin in mode ExtINT is passed on as the level ``external``, and in mode NMI by its edges as ``nmi``. In fixed
       mode it counts by edges; LINT0 also by level, with a remote IRR that is cleared by the end of interrupt.
    5. The end of a level-triggered interrupt is broadcast; the write waits until ``end`` takes it.
    6. While disabled by software all local vectors are masked, fixed interrupts are lost, and those that wait stay.
    7. The first error after a write of the error status register raises the error vector. Remote reads, SMI and
       start-up messages have no effect. INIT and NMI are pulses for the processor. Shorthands that include the sender
       are for fixed interrupts alone.

    At power-on the APIC is as firmware leaves it: enabled, in virtual wire mode.

    Intel SDM vol. 3A, chapter 11; AMD64 APM vol. 2, chapter 16.

    Parameters
    ----------
    span : shape of ``elapse``.
    apic_id : int

    Members
    -------
    bus : In(MmioSignature())
    message : In(MessageSignature()); end : Out(EndSignature())
        From and to the I/O APICs.
    lint : In(2)
        LINT0 and LINT1.
    query_dest : In(8), query_logical : In(1), query_meant : Out(1)
        Whether a destination includes this APIC.
    request, vector, ack : Out(1), Out(8), In(1)
    external : Out(1)
    nmi, init : Out(1)
    elapse : In, until_tick : Out, settled : Out(1)
        As on `rtl.dev.isa_bus.IsaBus`.
    """

    def __init__(self, span=range(2), apic_id=APIC_ID):
        self._apic_id = apic_id
        self._span = span
        super().__init__({
            "bus": In(MmioSignature()), "message": In(MessageSignature()), "end": Out(EndSignature()),
            "lint": In(2), "query_dest": In(8), "query_logical": In(1), "query_meant": Out(1),
            "request": Out(1), "vector": Out(8), "ack": In(1), "external": Out(1), "nmi": Out(1), "init": Out(1),
            "elapse": In(span, init=1), "until_tick": Out(span), "settled": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.vectors = self._vectors = Vectors()
        m.submodules.timer = self._timer = ApicTimer(self._span)
        self._ldr, self._dfr = Signal(8, name="ldr"), Signal(4, name="dfr", init=0xF)
        self._svr = Signal(9, name="svr", init=APIC_SVR_FIRMWARE)
        self._esr, self._errors = Signal(8, name="esr"), Signal(8, name="errors")
        self._icr, self._icr_dest = Signal(20, name="icr"), Signal(8, name="icr_dest")
        self._lvt = {reg: Signal(18, name=reg.name.lower(), init=LVT_FIRMWARE[reg]) for reg in LVT_WRITABLE}
        self._remote = Signal(name="lint0_remote")
        # Causes on their way to the request register.
        self._command_due, self._timer_due, self._error_due = (
            Signal(name=f"{name}_due") for name in ("command", "timer", "error"))
        self._lint_due = [Signal(name=f"lint{pin}_due") for pin in range(2)]
        self._new_errors, self._report = Signal(8, name="new_errors"), Signal(name="report")

        self._connect_parts(m)
        self._watch_pins(m)
        self._registers(m)
        self._deliver(m)
        self._collect_errors(m)
        m.d.comb += [
            self.query_meant.eq(self._meant(self.query_dest, self.query_logical)),
            self.settled.eq(~(self._command_due | self._timer_due | self._error_due | Cat(self._lint_due).any()
                              | self._pin_news)),
        ]
        return m

    def _connect_parts(self, m):
        vectors, timer, bus = self._vectors, self._timer, self.bus
        m.d.comb += [
            vectors.enable.eq(self._svr[_ENABLE]), vectors.ack.eq(self.ack),
            self.request.eq(vectors.request), self.vector.eq(Mux(self.request, vectors.waiting, self._svr[:8])),
            vectors.new_tpr.eq(bus.wdata), vectors.read.eq(bus.valid), vectors.addr.eq(bus.addr),
            timer.periodic.eq(self._lvt[ApicReg.LVT_TIMER][_PERIODIC]), timer.elapse.eq(self.elapse),
            self.until_tick.eq(timer.until_tick), timer.data.eq(bus.wdata), timer.read.eq(bus.valid),
        ]
        with m.If(timer.fires):
            m.d.sync += self._timer_due.eq(1)

    def _meant(self, dest, logical):
        flat = (dest & self._ldr).any()
        cluster = ((dest[4:] == self._ldr[4:]) | dest[4:].all()) & (dest[:4] & self._ldr[:4]).any()
        return Mux(logical, Mux(self._dfr.all(), flat, cluster), (dest == self._apic_id) | dest.all())

    # Causes.

    def _watch_pins(self, m):
        last = Signal(2, name="lint_last")
        news = []
        external = []
        for pin, reg in enumerate((ApicReg.LVT_LINT0, ApicReg.LVT_LINT1)):
            lvt = self._lvt[reg]
            active = Signal(name=f"lint{pin}_active")
            mode = lvt[8:11]
            by_level = (mode == Delivery.FIXED) & lvt[_LEVEL] if pin == 0 else C(0)
            m.d.comb += active.eq((self.lint[pin] ^ lvt[_ACTIVE_LOW]) & ~lvt[_MASKED])
            external.append(active & (mode == Delivery.EXTINT))
            edge = active & (self.lint[pin] != last[pin])
            news.append(Mux(by_level, active & ~self._remote, edge & (mode != Delivery.EXTINT)))
            with m.If(news[pin]):
                m.d.sync += self._lint_due[pin].eq(1)
                if pin == 0:
                    m.d.sync += self._remote.eq(by_level)
        self._pin_news = Cat(news).any() | (last != self.lint)
        m.d.sync += last.eq(self.lint)
        m.d.comb += self.external.eq(Cat(external).any())

    def _deliver(self, m):
        """One cause in each cycle, none in that of an acknowledge: the request register has one way in."""
        vectors = self._vectors
        valid, level, vector = Signal(name="deliver_valid"), vectors.accept_level, vectors.accept_vector
        mode = Signal(3, name="deliver_mode")
        icr = self._icr
        m.d.comb += self.message.ready.eq(~self.ack)
        with m.If(self.message.valid & ~self.ack):
            m.d.comb += [
                valid.eq(self._meant(self.message.dest, self.message.logical)), vector.eq(self.message.vector),
                mode.eq(self.message.mode), level.eq(self.message.level),
            ]
        with m.Elif(self._command_due & ~self.ack):
            m.d.sync += self._command_due.eq(0)
            illegal = (icr[9:11] == 0) & (icr[:8] < FIRST_VECTOR)
            for_self = (icr[18:20] != Shorthand.OTHERS) & (icr[8:11] == Delivery.FIXED)
            meant = Mux(icr[18:20] == Shorthand.NONE, self._meant(self._icr_dest, icr[11]), for_self)
            m.d.comb += [
                self._new_errors[_ERROR[EsrBits.SEND_ILLEGAL_VECTOR]].eq(illegal),
                valid.eq(meant & ~illegal & ((icr[8:11] != Delivery.INIT) | icr[14])),
                vector.eq(icr[:8]), mode.eq(icr[8:11]),
            ]
        for due, reg in ((self._timer_due, ApicReg.LVT_TIMER), (self._lint_due[0], ApicReg.LVT_LINT0),
                         (self._lint_due[1], ApicReg.LVT_LINT1), (self._error_due, ApicReg.LVT_ERROR)):
            lvt = self._lvt[reg]
            with m.Elif(due & ~self.ack):
                m.d.sync += due.eq(0)
                m.d.comb += [valid.eq(~lvt[_MASKED]), vector.eq(lvt[:8]), mode.eq(lvt[8:11])]
                if reg == ApicReg.LVT_LINT0:
                    m.d.comb += level.eq(lvt[_LEVEL] & (lvt[8:11] == Delivery.FIXED))
        with m.If(valid):
            with m.Switch(mode):
                with m.Case(Delivery.FIXED, Delivery.LOWEST):
                    with m.If(vector < FIRST_VECTOR):
                        m.d.comb += self._new_errors[_ERROR[EsrBits.RECEIVED_ILLEGAL_VECTOR]].eq(1)
                    with m.Elif(self._svr[_ENABLE]):
                        m.d.comb += vectors.accept.eq(1)
                with m.Case(Delivery.NMI):
                    m.d.comb += self.nmi.eq(1)
                with m.Case(Delivery.INIT):
                    m.d.comb += self.init.eq(1)

    def _collect_errors(self, m):
        with m.If(self._new_errors.any()):
            before = Mux(self._report, 0, self._errors)
            m.d.sync += self._errors.eq(before | self._new_errors)
            with m.If(~before.any()):
                m.d.sync += self._error_due.eq(1)

    # Registers.

    def _registers(self, m):
        bus, lvt, vectors, timer = self.bus, self._lvt, self._vectors, self._timer
        data = bus.wdata
        m.d.comb += bus.ready.eq(1)
        readable = {
            ApicReg.ID: C(self._apic_id << 24, 32), ApicReg.VERSION: C(APIC_VERSION, 32), ApicReg.TPR: vectors.tpr,
            ApicReg.APR: vectors.apr, ApicReg.PPR: vectors.ppr, ApicReg.EOI: C(0, 32),
            ApicReg.LDR: Cat(C(0, 24), self._ldr), ApicReg.DFR: Cat(C(0xFFF_FFFF, 28), self._dfr),
            ApicReg.SVR: self._svr, ApicReg.ESR: self._esr, ApicReg.ICR_LOW: self._icr,
            ApicReg.ICR_HIGH: Cat(C(0, 24), self._icr_dest), **lvt,
            ApicReg.LVT_LINT0: lvt[ApicReg.LVT_LINT0] | (self._remote << _REMOTE_IRR),
            ApicReg.TIMER_INITIAL: timer.initial, ApicReg.TIMER_CURRENT: timer.current,
            ApicReg.TIMER_DIVIDE: timer.divide,
            **{base + 0x10 * index: vectors.word for base in (ApicReg.ISR, ApicReg.TMR, ApicReg.IRR)
               for index in range(WORDS)},
        }
        with m.If(bus.valid):
            with m.Switch(bus.addr[2:12]):
                for offset, value in readable.items():
                    with m.Case(offset >> 2):
                        m.d.comb += bus.rdata.eq(value)
                with m.Default():
                    m.d.comb += self._new_errors[_ERROR[EsrBits.ILLEGAL_REGISTER]].eq(~bus.write | bus.mask.all())
        with m.If(bus.valid & bus.write & bus.mask.all()):
            with m.Switch(bus.addr[2:12]):
                for reg, signal in lvt.items():
                    with m.Case(reg >> 2):
                        m.d.sync += signal.eq((data | (~self._svr[_ENABLE] << _MASKED)) & LVT_WRITABLE[reg])
                        if reg == ApicReg.LVT_LINT0:
                            with m.If((data[8:11] != Delivery.FIXED) | ~data[_LEVEL]):
                                m.d.sync += self._remote.eq(0)
                for reg, signal, low in ((ApicReg.LDR, self._ldr, 24), (ApicReg.DFR, self._dfr, 28),
                                         (ApicReg.ICR_HIGH, self._icr_dest, 24)):
                    with m.Case(reg >> 2):
                        m.d.sync += signal.eq(data[low:])
                with m.Case(ApicReg.SVR >> 2):
                    m.d.sync += self._svr.eq(data)
                    with m.If(~data[_ENABLE]):
                        m.d.sync += [signal[_MASKED].eq(1) for signal in lvt.values()]
                with m.Case(ApicReg.ESR >> 2):
                    m.d.comb += self._report.eq(1)
                    m.d.sync += [self._esr.eq(self._errors), self._errors.eq(0)]
                with m.Case(ApicReg.ICR_LOW >> 2):
                    m.d.sync += [self._icr.eq(data & ICR_WRITABLE), self._command_due.eq(1)]
                for reg, strobe in ((ApicReg.TPR, vectors.set_tpr), (ApicReg.TIMER_INITIAL, timer.set_initial),
                                    (ApicReg.TIMER_DIVIDE, timer.set_divide)):
                    with m.Case(reg >> 2):
                        m.d.comb += strobe.eq(1)
                with m.Case(ApicReg.EOI >> 2):
                    self._end_of_interrupt(m)

    def _end_of_interrupt(self, m):
        bus, end, vectors, lint0 = self.bus, self.end, self._vectors, self._lvt[ApicReg.LVT_LINT0]
        with m.If(vectors.serves):
            level = vectors.serving_level
            m.d.comb += [
                end.valid.eq(level & ~self.ack), end.vector.eq(vectors.serving),
                bus.ready.eq((~level | end.ready) & ~self.ack), vectors.end.eq(bus.ready),
            ]
            with m.If(bus.ready & level & (lint0[:8] == vectors.serving)):
                m.d.sync += self._remote.eq(0)
