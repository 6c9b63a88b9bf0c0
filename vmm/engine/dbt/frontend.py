"""Guest code as basic blocks: fetched, decoded, cut.

A block ends at a jump, at an instruction that may change what the next ones mean, at its size limit, and where the
page ends: all its bytes lie in one page, except that its only instruction may cross into the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rtl.isa.decoder import MAX_LENGTH, Insn, Invalid, TooLong, Truncated, decode
from rtl.isa.opcodes import Rep
from rtl.isa.registers import Seg

PAGE = 0x1000
LIMIT = 32
_JUMPS = frozenset("jmp jcc call ret loop loope loopne jcxz".split())
#: Instructions behind which the mode, the mapping or what devices want may have changed.
_BARRIERS = frozenset(
    "jmpf callf retf iret int int3 into icebp sysenter sysexit hlt popf sti lss lds les lfs lgs invlpg lmsw "
    "ud2 bound in out ins outs".split())
_SS = int(Seg.SS)


@dataclass(frozen=True, slots=True)
class Guest:
    """One instruction at its linear address."""

    eip: int
    insn: Insn

    @property
    def next(self) -> int:
        return self.eip + self.insn.length & 0xFFFF_FFFF


class Contents:
    """The instructions in some bytes and where they go, decoded when somebody asks.

    Members
    -------
    steps : what `stepping` has made of them, for whom and for which mode.
    """

    __slots__ = ("_code", "_eip", "_guests", "_is_system", "code32", "steps")

    def __init__(self, eip: int, code: bytes, code32: bool, guests: tuple[Guest, ...] | None = None):
        self._eip, self._code, self.code32, self._guests = eip, code, code32, guests
        self._is_system: bool | None = None
        self.steps: Any = None

    def __reduce__(self) -> tuple[type[Contents], tuple[int, bytes, bool]]:
        return Contents, (self._eip, self._code, self.code32)

    @property
    def guests(self) -> tuple[Guest, ...]:
        if self._guests is None:
            guests, at = [], 0
            while at < len(self._code):
                insn = decode(self._code[at:at + MAX_LENGTH], default32=self.code32)
                guests.append(Guest(self._eip + at & 0xFFFF_FFFF, insn))
                at += insn.length
            self._guests = tuple(guests)
        return self._guests

    @property
    def is_system(self) -> bool:
        """Whether the last instruction may have changed the machine around it, devices included."""
        if self._is_system is None:
            last = self.guests[-1].insn
            self._is_system = is_barrier(last) or last.form.io
        return self._is_system


@dataclass(slots=True, unsafe_hash=True)
class Block:
    """A basic block. Nobody changes one; that it is not frozen is because many are made.

    Members
    -------
    eip, physical : where it begins. code : its bytes.
    second : physical address of its bytes in the next page, or None.
    behind : bytes behind its own that make it end where it does, if it matters where.
    """

    eip: int
    physical: int
    code: bytes
    second: int | None
    contents: Contents = field(compare=False)
    behind: bytes = b""

    @property
    def guests(self) -> tuple[Guest, ...]:
        return self.contents.guests

    @property
    def successors(self) -> tuple[int, ...]:
        """Known targets, the next instruction included where it can be reached."""
        last = self.last
        if last.insn.form.operation in _JUMPS:
            return targets(last)
        return () if is_barrier(last.insn) else (last.next,)

    @property
    def returns_to(self) -> int | None:
        """Where a call comes back."""
        return self.last.next if self.last.insn.form.operation == "call" else None

    @property
    def repeats(self) -> bool:
        """Whether it is one instruction with a counting REP prefix."""
        return repeats(self.last.insn)

    def has_any(self, addresses: frozenset[int]) -> bool:
        """Whether one of its instructions is at one of these addresses."""
        return any(0 <= address - self.eip < len(self.code) and any(guest.eip == address for guest in self.guests)
                   for address in addresses)

    def moved(self, physical: int, second: int | None) -> Block:
        """The same at other frames."""
        return Block(self.eip, physical, self.code, None if self.second is None else second, self.contents,
                     self.behind)

    @property
    def last(self) -> Guest:
        return self.guests[-1]

    @property
    def is_system(self) -> bool:
        return self.contents.is_system

    @property
    def end(self) -> int:
        return self.last.next


def is_barrier(insn: Insn) -> bool:
    """Whether a block ends behind the instruction though it is no jump."""
    form = insn.form
    if form.operation in _BARRIERS:
        return True
    if form.operation == "mov":
        return any(kind.name in ("Sw", "Cd", "Dd") for kind in form.operands[:1])
    return form.operation == "pop" and form.operands[0].name in ("ES", "SS", "DS", "FS", "GS")


def covers_next(insn: Insn) -> bool:
    """STI, MOV SS, POP SS: the next instruction is executed under a shadow and belongs to the same block."""
    form = insn.form
    if form.operation == "sti":
        return True
    if form.operation == "mov" and form.operands[0].name == "Sw":
        return insn.reg == _SS
    return form.operation == "pop" and form.operands[0].name == "SS"


def repeats(insn: Insn) -> bool:
    return insn.form.rep is not Rep.NONE and insn.rep is not None


def is_cut_off(code: bytes, code32: bool) -> bool:
    """Whether the first instruction goes on beyond these bytes."""
    try:
        decode(code[:MAX_LENGTH], default32=code32)
    except Truncated:
        return True
    except (Invalid, TooLong):
        pass
    return False


def cut(eip: int, physical: int, code: bytes, second: int | None, code32: bool,
        barred: frozenset[int] = frozenset()) -> Block | None:
    """The block at the start of `code`, which holds the bytes up to the end of the page.

    `second` is where the next page's bytes lie; `code` then goes on with up to 14 of them, for an instruction that
    crosses. A block ends before an address in `barred`. None if nothing there can be decoded.
    """
    room = PAGE - (physical & 0xFFF)
    guests: list[Guest] = []
    at, finished = 0, False
    while not finished and len(guests) < LIMIT and at < room:
        try:
            insn = decode(code[at:at + MAX_LENGTH], default32=code32)
        except (Invalid, TooLong, Truncated):
            break
        if eip + at + insn.length > 1 << 32:
            # beyond the limit of the segment
            break
        if guests and (at + insn.length > room or repeats(insn) or (eip + at & 0xFFFF_FFFF) in barred):
            break
        guest = Guest(eip + at & 0xFFFF_FFFF, insn)
        guests.append(guest)
        at += insn.length
        shadowed = len(guests) > 1 and covers_next(guests[-2].insn)
        finished = repeats(insn) or shadowed or insn.form.operation in _JUMPS or (
            is_barrier(insn) and not covers_next(insn))
    if not guests:
        return None
    return Block(eip, physical, code[:at], second if at > room else None,
                 Contents(eip, code[:at], code32, tuple(guests)))


def targets(guest: Guest) -> tuple[int, ...]:
    """Where a jump is known to go."""
    insn = guest.insn
    found = []
    if insn.form.operands and insn.form.operands[0].name in ("Jb", "Jv"):
        assert insn.imm is not None
        target = guest.next + insn.imm & 0xFFFF_FFFF
        found.append(target if insn.opsize == 4 else target & 0xFFFF)
    if insn.form.operation not in ("jmp", "call", "ret"):
        found.append(guest.next)
    return tuple(found)
