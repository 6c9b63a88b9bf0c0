"""The interrupts of a local APIC, by vector: which wait, which are in service, and whose turn it is."""

from amaranth import Array, C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.apic import ApicReg

__all__ = ["WORDS", "Vectors"]

WORDS = 8
"""Words in a bank of 256 vectors."""


class Vectors(wiring.Component):
    """IRR, ISR, TMR, TPR and what follows from them.

    1. ``request`` is high while the highest requested vector, ``waiting``, is of a higher class than the processor
       priority, and ``enable`` is high. In a cycle of ``ack`` it goes in service if there is a request, else nothing
       does.
    2. In a cycle of ``accept`` a vector is requested, by level or by edge; ``accept`` and ``ack`` exclude each other.
    3. In a cycle of ``end`` the highest vector in service, ``serving``, ends; ``end`` and ``ack`` exclude each other.

    Intel SDM vol. 3A, 11.8.3 and 11.8.4.

    Members
    -------
    enable : In(1)
    set_tpr, new_tpr : In(1), In(8)
        The task priority is ``new_tpr`` from the next cycle on.
    accept, accept_vector, accept_level : In(1), In(8), In(1)
    ack, end : In(1)
    request, waiting : Out(1), Out(8)
    serves, serving, serving_level : Out(1), Out(8), Out(1)
        Whether any vector is in service, the highest, and whether it came by level.
    tpr, ppr, apr : Out(8)
        Priorities of the task, the processor and in arbitration.
    read, addr, word : In(1), In(12), Out(32)
        With ``read``, ``word`` is the register of one of the three banks at the offset ``addr``, else 0.
    """

    enable: In(1)
    set_tpr: In(1)
    new_tpr: In(8)
    accept: In(1)
    accept_vector: In(8)
    accept_level: In(1)
    ack: In(1)
    end: In(1)
    request: Out(1)
    waiting: Out(8)
    serves: Out(1)
    serving: Out(8)
    serving_level: Out(1)
    tpr: Out(8)
    ppr: Out(8)
    apr: Out(8)
    read: In(1)
    addr: In(12)
    word: Out(32)

    def elaborate(self, platform):
        m = Module()
        isr, tmr, irr = ([Signal(32, name=f"{bank}{word}") for word in range(WORDS)] for bank in ("isr", "tmr", "irr"))
        waits, taken = Signal(), Signal()
        _highest(m, irr, waits, self.waiting)
        _highest(m, isr, self.serves, self.serving)
        service = self.serving[4:]
        m.d.comb += [
            self.ppr.eq(Mux(self.tpr[4:] >= service, self.tpr, Cat(C(0, 4), service))),
            self.apr.eq(_arbitration(self.tpr, Mux(waits, self.waiting[4:], 0), service)),
            self.request.eq(self.enable & waits & (self.waiting[4:] > self.ppr[4:])),
            taken.eq(self.ack & self.request),
        ]
        with m.If(self.serves):
            m.d.comb += self.serving_level.eq(Array(tmr)[self.serving[5:]].bit_select(self.serving[:5], 1))
        with m.If(self.set_tpr):
            m.d.sync += self.tpr.eq(self.new_tpr)
        with m.If(taken | self.accept):
            _change(m, irr, Mux(taken, self.waiting, self.accept_vector), ~taken)
        with m.If(self.accept):
            _change(m, tmr, self.accept_vector, self.accept_level)
        with m.If(taken | self.end):
            _change(m, isr, Mux(taken, self.waiting, self.serving), taken)
        with m.If(self.read):
            with m.Switch(self.addr[2:]):
                for base, words in ((ApicReg.ISR, isr), (ApicReg.TMR, tmr), (ApicReg.IRR, irr)):
                    for index, word in enumerate(words):
                        with m.Case(base + 0x10 * index >> 2):
                            m.d.comb += self.word.eq(word)
        return m


def _highest(m, words, found, top):
    """Whether any bit of a bank is set, and the highest."""
    used = Cat(word.any() for word in words)
    chosen = Signal(32, name=f"{top.name}_word")
    m.d.comb += found.eq(used.any())
    # Nearly always there is nothing to resolve; saying so spares a simulator the work.
    with m.If(found):
        for index, word in enumerate(words):
            with m.If(used[index]):
                m.d.comb += [chosen.eq(word), top[5:].eq(index)]
        for bit in range(32):
            with m.If(chosen[bit]):
                m.d.comb += top[:5].eq(bit)


def _change(m, words, vector, value):
    """Set or clear the bit of a vector: one word is written, so that a simulator passes over the others."""
    old, mask = Array(words)[vector[5:8]], 1 << vector[:5]
    new = Signal(32)
    m.d.comb += new.eq(Mux(value, old | mask, old & ~mask))
    with m.Switch(vector[5:8]):
        for index, word in enumerate(words):
            with m.Case(index):
                m.d.sync += word.eq(new)


def _arbitration(tpr, waiting, service):
    """The highest of three classes; the task's whole priority where it is the one."""
    task = tpr[4:]
    highest = Mux(task > waiting, task, waiting)
    highest = Mux(highest > service, highest, service)
    return Mux((task >= waiting) & (task > service), tpr, Cat(C(0, 4), highest))
