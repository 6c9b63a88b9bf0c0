"""Guest code as basic blocks: fetched, decoded, cut.

A block ends at a jump, at an instruction that may change what the next ones mean, at its size limit, and where the
page ends: all its bytes lie in one page, except that its only instruction may cross into the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Block:
    """A basic block.

    Members
    -------
    eip, physical : where it begins. size : bytes. code : those bytes.
    second : physical address of its bytes in the next page, or None.
    successors : known targets, the next instruction included where it can be reached.
    returns_to : where a call comes back, or None. repeats : it is one instruction with a counting REP prefix.
    """

    eip: int
    physical: int
    code: bytes
    guests: tuple[Guest, ...]
    second: int | None
    successors: tuple[int, ...]
    returns_to: int | None
    repeats: bool

    def moved(self, physical: int, second: int | None) -> Block:
        """The same at other frames."""
        return Block(self.eip, physical, self.code, self.guests, None if self.second is None else second,
                     self.successors, self.returns_to, self.repeats)

    @property
    def last(self) -> Guest:
        return self.guests[-1]

    @property
    def is_system(self) -> bool:
        """Whether its last instruction may have changed the machine around it, devices included."""
        return is_barrier(self.last.insn) or self.last.insn.form.io

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


def cut(eip: int, physical: int, code: bytes, second: int | None, code32: bool,
        barred: frozenset[int] = frozenset()) -> Block | None:
    """The block at the start of `code`, which holds the bytes up to the end of the page.

    `second` is where the next page's bytes lie; `code` then goes on with up to 14 of them, for an instruction that
    crosses. A block ends before an address in `barred`. None if nothing there can be decoded.
    """
    room = PAGE - (physical & 0xFFF)
    guests: list[Guest] = []
    at, successors, returns_to = 0, (), None
    repeating = False
    finished = False
    while not finished and len(guests) < LIMIT and at < room:
        try:
            insn = decode(code[at:at + MAX_LENGTH], default32=code32)
        except (Invalid, TooLong, Truncated):
            break
        if guests and (at + insn.length > room or repeats(insn) or (eip + at & 0xFFFF_FFFF) in barred):
            break
        guest = Guest(eip + at & 0xFFFF_FFFF, insn)
        guests.append(guest)
        at += insn.length
        repeating = repeats(insn)
        shadowed = len(guests) > 1 and covers_next(guests[-2].insn)
        finished = repeating or shadowed or insn.form.operation in _JUMPS or (
            is_barrier(insn) and not covers_next(insn))
    if not guests:
        return None
    last = guests[-1]
    operation = last.insn.form.operation
    if operation in _JUMPS:
        successors = targets(last)
        returns_to = last.next if operation == "call" else None
    elif not is_barrier(last.insn):
        successors = (last.next,)
    return Block(eip, physical, code[:at], tuple(guests), second if at > room else None, successors, returns_to,
                 repeating)


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
