"""Local APIC: the interrupts of one processor."""

from amaranth import Array, C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.mmio import MmioSignature
from rtl.irq.message import EndSignature, MessageSignature
from rtl.isa.apic import (
    APIC_ID,
    APIC_SVR_FIRMWARE,
    APIC_TIMER_BITS,
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

WORDS = 8
_MASKED, _PERIODIC, _ACTIVE_LOW, _REMOTE_IRR, _LEVEL = (
    int(bit).bit_length() - 1 for bit in (
        IrqBits.MASKED, IrqBits.PERIODIC, IrqBits.ACTIVE_LOW, IrqBits.REMOTE_IRR, IrqBits.LEVEL))
_ENABLE = SVR_ENABLE.bit_length() - 1
_ERROR = {bit: bit.bit_length() - 1 for bit in EsrBits}


class LocalApic(wiring.Component):
    """The xAPIC of a processor: registers, local vectors, timer, inter-processor interrupts, priorities.

    1. Registers are 32 bits at multiples of 16, written as a whole: other writes are lost. A read gives all four
       bytes whatever is wanted. Where there is no register a read gives 0, and either is error 80h.
    2. ``request`` is high while the highest requested vector is of a higher class than the processor priority and the
       APIC is enabled by software; ``vector`` is that vector. In a cycle of ``ack`` it goes in service; without a
       request ``vector`` is the spurious vector and nothing goes in service.
    3. An interrupt reaches the request register one cycle after its cause: the write of the command register, the end
       of the timer's count, the change of a pin, an error; later if several come at once. A message does so at the end
       of the cycle in which it is taken. Lowest-priority delivery is fixed delivery: there is one processor.
    4. The timer counts cycles of this clock, divided as its configuration says. A new initial count starts it; one of 0
       stops it. Writing the divide configuration keeps the count and begins its present unit anew.
    5. A pin in mode ExtINT is passed on as the level ``external``, and in mode NMI by its edges as ``nmi``. In fixed
       mode it counts by edges; LINT0 also by level, with a remote IRR that is cleared by the end of interrupt.
    6. The end of a level-triggered interrupt is broadcast; the write waits until ``end`` takes it.
    7. While disabled by software all local vectors are masked, fixed interrupts are lost, and those that wait stay.
    8. The first error after a write of the error status register raises the error vector. Remote reads, SMI and
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
        self._longest = max(span)
        super().__init__({
            "bus": In(MmioSignature()), "message": In(MessageSignature()), "end": Out(EndSignature()),
            "lint": In(2), "query_dest": In(8), "query_logical": In(1), "query_meant": Out(1),
            "request": Out(1), "vector": Out(8), "ack": In(1), "external": Out(1), "nmi": Out(1), "init": Out(1),
            "elapse": In(span, init=1), "until_tick": Out(span), "settled": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        self._tpr, self._ldr, self._dfr = Signal(8, name="tpr"), Signal(8, name="ldr"), Signal(4, name="dfr", init=0xF)
        self._svr = Signal(9, name="svr", init=APIC_SVR_FIRMWARE)
        self._isr, self._tmr, self._irr = (
            [Signal(32, name=f"{bank}{word}") for word in range(WORDS)] for bank in ("isr", "tmr", "irr"))
        self._esr, self._errors = Signal(8, name="esr"), Signal(8, name="errors")
        self._icr, self._icr_dest = Signal(20, name="icr"), Signal(8, name="icr_dest")
        self._lvt = {reg: Signal(18, name=reg.name.lower(), init=LVT_FIRMWARE[reg]) for reg in LVT_WRITABLE}
        self._remote = Signal(name="lint0_remote")
        # Causes on their way to the request register.
        self._command_due, self._timer_due, self._error_due = (
            Signal(name=f"{name}_due") for name in ("command", "timer", "error"))
        self._lint_due = [Signal(name=f"lint{pin}_due") for pin in range(2)]
        self._accept, self._accept_level = Signal(name="accept"), Signal(name="accept_level")
        self._accept_vector, self._end_service = Signal(8, name="accept_vector"), Signal(name="end_service")
        self._new_errors, self._report = Signal(8, name="new_errors"), Signal(name="report")

        self._resolve(m)
        self._count(m)
        self._watch_pins(m)
        self._registers(m)
        self._deliver(m)
        self._keep_vectors(m)
        self._collect_errors(m)
        m.d.comb += [
            self.query_meant.eq(self._meant(self.query_dest, self.query_logical)),
            self.settled.eq(~(self._command_due | self._timer_due | self._error_due | Cat(self._lint_due).any()
                              | self._pin_news)),
        ]
        return m

    # Vectors.

    def _highest(self, m, words, name):
        """Whether any bit of a bank is set, and the highest."""
        found, top = Signal(name=f"{name}_any"), Signal(8, name=f"{name}_top")
        used = Cat(word.any() for word in words)
        chosen = Signal(32, name=f"{name}_word")
        m.d.comb += found.eq(used.any())
        # Nearly always there is nothing to resolve; saying so spares a simulator the work.
        with m.If(found):
            for index, word in enumerate(words):
                with m.If(used[index]):
                    m.d.comb += [chosen.eq(word), top[5:].eq(index)]
            for bit in range(32):
                with m.If(chosen[bit]):
                    m.d.comb += top[:5].eq(bit)
        return found, top

    def _word(self, words, vector):
        return Array(words)[vector[5:8]]

    def _change(self, m, words, vector, value):
        """Set or clear the bit of a vector: one word is written, so that a simulator passes over the others."""
        old, mask = self._word(words, vector), 1 << vector[0:5]
        new = Signal(32)
        m.d.comb += new.eq(Mux(value, old | mask, old & ~mask))
        with m.Switch(vector[5:8]):
            for index, word in enumerate(words):
                with m.Case(index):
                    m.d.sync += word.eq(new)

    def _resolve(self, m):
        self._waits, self._waiting = self._highest(m, self._irr, "irr")
        self._serves, self._serving = self._highest(m, self._isr, "isr")
        self._ppr = Signal(8, name="ppr")
        service = self._serving[4:]
        m.d.comb += [
            self._ppr.eq(Mux(self._tpr[4:] >= service, self._tpr, Cat(C(0, 4), service))),
            self.request.eq(self._svr[_ENABLE] & self._waits & (self._waiting[4:] > self._ppr[4:])),
            self.vector.eq(Mux(self.request, self._waiting, self._svr[:8])),
        ]

    def _meant(self, dest, logical):
        flat = (dest & self._ldr).any()
        cluster = ((dest[4:] == self._ldr[4:]) | dest[4:].all()) & (dest[:4] & self._ldr[:4]).any()
        return Mux(logical, Mux(self._dfr.all(), flat, cluster), (dest == self._apic_id) | dest.all())

    # Causes.

    def _count(self, m):
        """The timer counts what is left in cycles, so that nothing runs but this one counter."""
        self._initial, self._divide = Signal(APIC_TIMER_BITS, name="initial"), Signal(4, name="divide")
        self._left = left = Signal(APIC_TIMER_BITS + 7, name="left")
        self._shift = Signal(3, name="shift")
        self._current = Signal(APIC_TIMER_BITS, name="current")
        m.d.comb += [
            self._shift.eq(Cat(self._divide[:2], self._divide[3]) + 1),
            self.until_tick.eq(self._longest),
        ]
        with m.If(self.bus.valid):
            m.d.comb += self._current.eq((left + ((1 << self._shift) - 1)) >> self._shift)
        with m.If(left.any()):
            with m.If(left < self._longest):
                m.d.comb += self.until_tick.eq(left)
            with m.If(left <= self.elapse):
                m.d.sync += [
                    self._timer_due.eq(1),
                    left.eq(Mux(self._lvt[ApicReg.LVT_TIMER][_PERIODIC], self._initial << self._shift, 0)),
                ]
            with m.Else():
                m.d.sync += left.eq(left - self.elapse)

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
        valid, level, vector = Signal(name="deliver_valid"), self._accept_level, self._accept_vector
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
                        m.d.comb += self._accept.eq(1)
                with m.Case(Delivery.NMI):
                    m.d.comb += self.nmi.eq(1)
                with m.Case(Delivery.INIT):
                    m.d.comb += self.init.eq(1)

    def _keep_vectors(self, m):
        taken = Signal(name="taken")
        m.d.comb += taken.eq(self.ack & self.request)
        with m.If(taken | self._accept):
            self._change(m, self._irr, Mux(taken, self._waiting, self._accept_vector), ~taken)
        with m.If(self._accept):
            self._change(m, self._tmr, self._accept_vector, self._accept_level)
        with m.If(taken | self._end_service):
            self._change(m, self._isr, Mux(taken, self._waiting, self._serving), taken)

    def _collect_errors(self, m):
        with m.If(self._new_errors.any()):
            before = Mux(self._report, 0, self._errors)
            m.d.sync += self._errors.eq(before | self._new_errors)
            with m.If(~before.any()):
                m.d.sync += self._error_due.eq(1)

    # Registers.

    def _registers(self, m):
        bus, lvt = self.bus, self._lvt
        data = bus.wdata
        m.d.comb += bus.ready.eq(1)
        readable = {
            ApicReg.ID: C(self._apic_id << 24, 32), ApicReg.VERSION: C(APIC_VERSION, 32), ApicReg.TPR: self._tpr,
            ApicReg.APR: self._arbitration(), ApicReg.PPR: self._ppr, ApicReg.EOI: C(0, 32),
            ApicReg.LDR: Cat(C(0, 24), self._ldr), ApicReg.DFR: Cat(C(0xFFF_FFFF, 28), self._dfr),
            ApicReg.SVR: self._svr, ApicReg.ESR: self._esr, ApicReg.ICR_LOW: self._icr,
            ApicReg.ICR_HIGH: Cat(C(0, 24), self._icr_dest), **lvt,
            ApicReg.LVT_LINT0: lvt[ApicReg.LVT_LINT0] | (self._remote << _REMOTE_IRR),
            ApicReg.TIMER_INITIAL: self._initial, ApicReg.TIMER_CURRENT: self._current,
            ApicReg.TIMER_DIVIDE: self._divide,
            **{base + 0x10 * index: word for base, words in (
                (ApicReg.ISR, self._isr), (ApicReg.TMR, self._tmr), (ApicReg.IRR, self._irr))
               for index, word in enumerate(words)},
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
                for reg, signal, low in ((ApicReg.TPR, self._tpr, 0), (ApicReg.LDR, self._ldr, 24),
                                         (ApicReg.DFR, self._dfr, 28), (ApicReg.ICR_HIGH, self._icr_dest, 24)):
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
                with m.Case(ApicReg.TIMER_INITIAL >> 2):
                    m.d.sync += [self._initial.eq(data), self._left.eq(data << self._shift)]
                with m.Case(ApicReg.TIMER_DIVIDE >> 2):
                    shift = Signal(3, name="next_shift")
                    m.d.comb += shift.eq(Cat(data[:2], data[3]) + 1)
                    m.d.sync += [self._divide.eq(data & 0xB), self._left.eq(self._current << shift)]
                with m.Case(ApicReg.EOI >> 2):
                    self._end_of_interrupt(m)

    def _arbitration(self):
        classes = [self._tpr[4:], Mux(self._waits, self._waiting[4:], 0), self._serving[4:]]
        highest = Mux(classes[0] > classes[1], classes[0], classes[1])
        highest = Mux(highest > classes[2], highest, classes[2])
        own = (classes[0] >= classes[1]) & (classes[0] > classes[2])
        return Mux(own, self._tpr, Cat(C(0, 4), highest))

    def _end_of_interrupt(self, m):
        bus, end, lint0 = self.bus, self.end, self._lvt[ApicReg.LVT_LINT0]
        with m.If(self._serves):
            level = self._word(self._tmr, self._serving).bit_select(self._serving[:5], 1)
            m.d.comb += [
                end.valid.eq(level & ~self.ack), end.vector.eq(self._serving),
                bus.ready.eq((~level | end.ready) & ~self.ack), self._end_service.eq(bus.ready),
            ]
            with m.If(bus.ready):
                with m.If(level & (lint0[:8] == self._serving)):
                    m.d.sync += self._remote.eq(0)
