"""The interpreter against Unicorn, one instruction at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import unicorn
from unicorn import x86_const as ux

from rtl.isa.exceptions import Vector
from rtl.isa.flags import flag_effect
from rtl.isa.retire import RetireCause
from rtl.isa.segments import ATTR_DB, ATTR_G, SystemType
from tests.vmm.engine.cases import POOL, PROTECTED_ONLY, SMALL, WIDE, Case, Layout, make_case
from vmm.engine.interpreter import Interpreter
from vmm.memory import PhysicalMemory

SIZE = 0x4_0000
_COMPARED = (0x4000, 0xC000), (0x2_0000, 0x1_0000)
_RANDOM = (0x4000, 0xB000), (0x2_0000, 0xF000)
GDT, IDT, HANDLER = 0x3_0000, 0x3_1000, 0x3_2000
_REGISTERS = [getattr(ux, f"UC_X86_REG_{name}") for name in ("EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI")]
_COMPARED_FLAGS = 0xCD5
_BRANCHES = frozenset("jmp jcc call ret loop loope loopne jcxz".split())

#: What differs on purpose: operation to (what, reason). "value" masks everything, "flags" the flags.
DEVIATIONS: dict[str, tuple[str, str]] = {
    "test": ("value", "Unicorn refuses F6 /1 and F7 /1, an alias of /0 that AMD64 APM vol. 3, A.2 lists"),
    "ret": ("value", "Unicorn sign-extends the immediate of C2; SDM vol. 2B, RET adds it as a 16-bit unsigned number"),
    "nop": ("value", "Unicorn refuses 0F 18 with a register; the P6 takes 0F 18-1F as hint NOPs in every form"),
    "salc": ("value", "Unicorn has no SALC; SDM lists D6 as reserved, AMD64 APM vol. 3 appendix A documents it"),
    "shrd16": ("value", "count above 16 is undefined: ours shifts destination:source:destination"),
    "shld16": ("value", "count above 16 is undefined: ours shifts destination:source:destination"),
    "bswap16": ("value", "undefined by the manual: ours gives zero"),
}


@dataclass
class Outcome:
    gpr: list[int]
    eflags: int
    eip: int
    vector: int | None
    memory: bytes = field(repr=False)


@dataclass
class Difference:
    case: Case
    what: str
    ours: Outcome
    theirs: Outcome

    def __str__(self) -> str:
        case = self.case
        lines = [f"{case.insn.form} [{case.code.hex()}] at {case.eip:#x}: {self.what}",
                 f"  before {[hex(v) for v in case.gpr]} eflags {case.eflags:#x}"]
        for name, outcome in (("ours", self.ours), ("theirs", self.theirs)):
            lines.append(f"  {name:6} {[hex(v) for v in outcome.gpr]} eflags {outcome.eflags:#x} eip {outcome.eip:#x} "
                         f"vector {outcome.vector}")
        return "\n".join(lines)


def machine(small: bool, make: Callable[..., Interpreter] = Interpreter) -> Interpreter:
    """An interpreter whose IDT gates all lead to one handler; flat, or with 16-bit segments of 64 KiB."""
    interpreter = make(PhysicalMemory(SIZE))
    memory = interpreter.memory
    memory.load_blob(GDT, b"\0" * 8 + bytes.fromhex("ffff0000009bcf00 ffff00000093cf00"))
    gate = HANDLER & 0xFFFF | 8 << 16 | (0x8000 | SystemType.TRAP_GATE32.value << 8) << 32 | (HANDLER >> 16) << 48
    memory.load_blob(IDT, gate.to_bytes(8, "little") * 32)
    state = interpreter.state
    state.gdtr_base, state.gdtr_limit, state.idtr_base, state.idtr_limit = GDT, 0x17, IDT, 0xFF
    if small:
        for segment in state.segments[:6]:
            segment.limit = 0xFFFF
            segment.attributes &= ~(ATTR_DB | ATTR_G)
    interpreter.state_changed()
    return interpreter


class Pair:
    """An interpreter and a Unicorn with the same memory."""

    def __init__(self, seed: int, layout: Layout = WIDE):
        self.ours = machine(layout.small)
        self._segments = [segment.copy() for segment in self.ours.state.segments]
        rng = random.Random(seed)
        for base, size in _RANDOM:
            self.ours.memory.load_blob(base, rng.randbytes(size))
        # 16-bit code is run in real mode there: single instructions that load no segment are the same
        mode = unicorn.UC_MODE_16 if layout.small else unicorn.UC_MODE_32
        self.theirs = unicorn.Uc(unicorn.UC_ARCH_X86, mode)
        self.theirs.mem_map(0, SIZE)
        self._vector: int | None = None
        self.theirs.hook_add(unicorn.UC_HOOK_INTR, self._interrupted)
        # Unicorn never delivers an exception and would take the next one for a double fault: keep a state without
        self._clean = self.theirs.context_save()
        self._sync()

    def _sync(self) -> None:
        self.theirs.mem_write(0, self.ours.memory.blob(0, SIZE))

    def _interrupted(self, uc: unicorn.Uc, number: int, _: object) -> None:
        self._vector = number
        uc.emu_stop()

    def run(self, case: Case) -> Difference | None:
        self.ours.memory.load_blob(case.eip, case.code)
        self.theirs.mem_write(case.eip, case.code)
        ours, theirs = self._ours(case), self._theirs(case)
        what = _compare(case, ours, theirs)
        if what is None and ours.vector is None and ours.memory == theirs.memory:
            return None
        self._sync()
        return Difference(case, what, ours, theirs) if what else None

    def _ours(self, case: Case) -> Outcome:
        state = self.ours.state
        if state.segments != self._segments:
            for segment, clean in zip(state.segments, self._segments, strict=True):
                segment.copy_from(clean)
            self.ours.state_changed()
        state.gpr[:] = case.gpr
        state.eflags = case.eflags
        state.eip = case.eip
        state.shutdown = state.repeating = False
        retired = self.ours.step()
        while retired.cause is RetireCause.ITERATION:
            retired = self.ours.step()
        vector = retired.vector if retired.cause is RetireCause.EXCEPTION else None
        assert retired.cause in (RetireCause.INSTRUCTION, RetireCause.EXCEPTION), retired
        return Outcome(list(state.gpr), state.eflags, state.eip, vector,
                       b"".join(self.ours.memory.blob(*span) for span in _COMPARED))

    def _theirs(self, case: Case) -> Outcome:
        uc = self.theirs
        if self._vector is not None:
            uc.context_restore(self._clean)
        for register, value in zip(_REGISTERS, case.gpr, strict=True):
            uc.reg_write(register, value)
        uc.reg_write(ux.UC_X86_REG_EFLAGS, case.eflags)
        uc.ctl_remove_cache(case.eip, case.eip + 16)
        self._vector = None
        branch = case.insn.form.operation in _BRANCHES
        try:
            uc.emu_start(case.eip, 0xFFFF_FFFF if branch else case.eip + case.insn.length, count=1 if branch else 0)
        except unicorn.UcError as error:
            arrived = branch and uc.reg_read(ux.UC_X86_REG_EIP) != case.eip
            if error.errno == unicorn.UC_ERR_INSN_INVALID and not arrived:
                self._vector = Vector.UD
            elif self._vector is None and not branch:
                self._vector = -error.errno
        eip = uc.reg_read(ux.UC_X86_REG_EIP)
        if self._vector is None and not branch and eip == case.eip:
            # an invalid instruction stops without an exception while an interrupt hook is there
            self._vector = Vector.UD
        return Outcome([uc.reg_read(r) for r in _REGISTERS], uc.reg_read(ux.UC_X86_REG_EFLAGS),
                       eip, self._vector,
                       b"".join(uc.mem_read(*span) for span in _COMPARED))


def _deviation(case: Case) -> str | None:
    operation, size = case.insn.form.operation, 8 * case.insn.opsize
    name = operation
    if operation == "nop" and (case.insn.form.opcode != 0x18 or case.insn.mod != 3):
        return None
    if operation == "test" and case.insn.form.ext != 1 or operation == "ret" and (case.insn.imm or 0) < 0x8000:
        return None
    if operation in ("shld", "shrd", "bswap") and size == 16:
        if operation != "bswap" and _count(case) <= 16:
            return None
        name += "16"
    return DEVIATIONS[name][0] if name in DEVIATIONS else None


def _count(case: Case) -> int:
    """The shift count of a case, 1 where there is none."""
    operand = case.insn.form.operands[-1].value if case.insn.form.operands else ""
    if operand == "CL":
        return case.gpr[1] & 31
    return case.insn.imm & 31 if operand == "Ib" and case.insn.imm is not None else 1


def _compare(case: Case, ours: Outcome, theirs: Outcome) -> str | None:
    if _deviation(case) == "value":
        return None
    if ours.vector == Vector.GP and case.insn.form.operation in _BRANCHES and theirs.eip > 0xFFFF:
        # Unicorn checks no limits: a 32-bit target beyond a 64 KiB code segment
        return None
    if ours.vector != theirs.vector:
        return "exception"
    if ours.vector is not None:
        return None
    form = case.insn.form
    bits = 8 if form.operands and form.operands[0].value in ("Eb", "AL") else 8 * case.insn.opsize
    effect = flag_effect(form.operation, condition=form.condition, count=_count(case), bits=bits)
    different = (ours.eflags ^ theirs.eflags) & _COMPARED_FLAGS & ~effect.undefined
    if different:
        return f"flags {different:#x}"
    if ours.gpr != theirs.gpr:
        return "registers"
    if ours.eip != theirs.eip:
        return "eip"
    return "memory" if ours.memory != theirs.memory else None


def campaign(count: int, seed: int, operation: str | None = None, small: bool = False) -> Iterator[Difference | None]:
    """Run `count` random cases; yields the outcome of each."""
    rng = random.Random(seed)
    layout = SMALL if small else WIDE
    pair = Pair(seed, layout)
    pool = [form for form in POOL if operation in (None, form.operation)
            and not (small and form.operation in PROTECTED_ONLY)]
    for index in range(count):
        form = pool[index % len(pool)] if index < len(pool) else rng.choice(pool)
        yield pair.run(make_case(rng, form, layout.code + 16 * (index % 1000), layout))
