"""What the bytes at the head of the queue are: a prefix, an instruction, one that faults, or too few."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .decode import Prefixes
from .decode_rom import Check

__all__ = ["QueueHead"]

_SEGMENTS = {0x26: 0, 0x2E: 1, 0x36: 2, 0x3E: 3, 0x64: 4, 0x65: 5}
_LONGEST = 15


class QueueHead(wiring.Component):
    """Judges the head of the queue, combinationally.

    1. Bytes beyond the limit of CS are not there: an instruction that needs one raises #GP, and so does a sixteenth
       byte. Bytes that could not be fetched fault as the fetch did.
    2. #UD needs no more of an instruction than the decoder's ``known`` bytes.
    3. Either ``waiting`` is 1, or ``is_prefix``, or the instruction can begin, with ``check`` to raise or to decide.

    Members
    -------
    byte : In(8); count : In(4); eip, cs_limit : In(32); fault : In(1)
        The first byte; the queue: see `Fetch`.
    prefixes : In(Prefixes); prefix_count : In(4)
        Those that the instruction has had before.
    decoded, known : In; check_row, lockable : In
        Length and ``known`` of the decoder, and its entry's ``check`` and ``lock``.
    cpl : In(2); svme : In(1)
    is_prefix : Out(1); next_prefixes : Out(Prefixes)
        The first byte is another prefix; ``prefixes`` with it.
    length : Out(5)
        Of the instruction, prefixes included.
    check : Out(Check); waiting : Out(1)
    """

    byte: In(8)
    count: In(4)
    eip: In(32)
    cs_limit: In(32)
    fault: In(1)
    prefixes: In(Prefixes)
    prefix_count: In(4)
    decoded: In(4)
    known: In(2)
    check_row: In(Check)
    lockable: In(1)
    cpl: In(2)
    svme: In(1)
    is_prefix: Out(1)
    next_prefixes: Out(Prefixes)
    length: Out(5)
    check: Out(Check)
    waiting: Out(1)

    def elaborate(self, platform):
        m = Module()
        prefix_count = self.prefix_count

        # How many bytes are there, within the limit of CS? The usual answer needs no arithmetic.
        room = Signal(33)
        at_limit = Signal()
        available = Signal(4)
        m.d.comb += room.eq(self.cs_limit - self.eip)
        with m.If(room[32] | (room[4:32] != 0)):
            m.d.comb += [available.eq(Mux(room[32], 0, self.count)), at_limit.eq(room[32])]
        with m.Else():
            m.d.comb += [
                at_limit.eq(self.count > room[:4]),
                available.eq(Mux(at_limit, room[:4] + 1, self.count)),
            ]

        looks_prefix = Signal()
        following = self.next_prefixes
        m.d.comb += following.eq(self.prefixes)
        with m.Switch(self.byte):
            with m.Case(0x66):
                m.d.comb += [looks_prefix.eq(1), following.opsize.eq(1)]
            with m.Case(0x67):
                m.d.comb += [looks_prefix.eq(1), following.adsize.eq(1)]
            with m.Case(0xF0):
                m.d.comb += [looks_prefix.eq(1), following.lock.eq(1)]
            with m.Case(0xF2, 0xF3):
                m.d.comb += [looks_prefix.eq(1), following.repeat.eq(Cat(self.byte[0], C(1, 1)))]
            for byte, segment in _SEGMENTS.items():
                with m.Case(byte):
                    m.d.comb += [looks_prefix.eq(1), following.override.eq(1), following.segment.eq(segment)]

        too_long = Signal()
        known = Signal()
        complete = Signal()
        more = Signal()
        m.d.comb += [
            self.length.eq(prefix_count + self.decoded),
            too_long.eq(Mux(looks_prefix, prefix_count == _LONGEST - 1, self.length > _LONGEST)),
            # A sixteenth byte is never looked at, not even to find that the opcode is invalid.
            known.eq((available >= self.known) & (prefix_count + self.known <= _LONGEST)),
            complete.eq(available >= self.decoded),
            self.is_prefix.eq(looks_prefix & (available != 0) & ~too_long),
            self.check.eq(self.check_row),
        ]
        with m.If((self.check_row == Check.CPL0) | (self.check_row == Check.SVM)):
            m.d.comb += self.check.eq(Mux(self.cpl == 0, Check.NONE, Check.GP))
        without_svm = (self.check_row == Check.SVM) & ~self.svme
        with m.If(available == 0):
            m.d.comb += more.eq(1)
        with m.Elif(looks_prefix):
            with m.If(too_long):
                m.d.comb += self.check.eq(Check.GP)
        with m.Elif(known & ((self.check_row == Check.UD) | without_svm | (self.prefixes.lock & ~self.lockable))):
            m.d.comb += self.check.eq(Check.UD)
        with m.Elif(too_long & (complete | (prefix_count + available >= _LONGEST))):
            m.d.comb += self.check.eq(Check.GP)
        with m.Elif(~complete):
            m.d.comb += more.eq(1)
        with m.If(more):
            with m.If(at_limit):
                m.d.comb += self.check.eq(Check.GP)
            with m.Elif(self.fault & (available == self.count)):
                m.d.comb += self.check.eq(Check.FETCH)
            with m.Else():
                m.d.comb += self.waiting.eq(1)
        return m
