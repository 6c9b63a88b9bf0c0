"""What the pipeline sees of an instruction: rows, address registers, destinations, memory, where it goes on.

The processor issues one row (micro-operation) per cycle; common instructions are one row, a read-modify-write is two,
microprograms are many. The number of cycles is data (`Costs.cycles`), by the classes named here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

from rtl.isa.decoder import Insn
from rtl.isa.opcodes import Form, Operand, Rep
from rtl.isa.registers import Gpr, Seg

__all__ = ["CLASSES", "TRANSFERS", "Flow", "Shape", "shape_of"]

_EAX, _ECX, _EDX, _ESP, _EBP, _ESI, _EDI = (
    int(reg) for reg in (Gpr.EAX, Gpr.ECX, Gpr.EDX, Gpr.ESP, Gpr.EBP, Gpr.ESI, Gpr.EDI))
_SS = int(Seg.SS)


class Flow(IntEnum):
    """How an instruction may go on; everything but NEXT ends a straight run."""

    NEXT = 0
    CONDITIONAL = 1   #: Jcc, LOOP, JECXZ: predicted by counters
    JUMP = 2          #: direct
    CALL = 3          #: direct, pushes a return address
    RETURN = 4        #: predicted by the stack of return addresses
    INDIRECT = 5      #: predicted by the table of targets
    INDIRECT_CALL = 6
    REFETCH = 7       #: the code behind it is fetched again; nothing is predicted
    REPEAT = 8        #: a string instruction with REP: it may be interrupted between iterations
    SYSTEM = 9        #: goes on, but may have changed what the code behind it depends on


#: Classes whose cycles are spent in the last stage: what was fetched late meanwhile catches up.
_EXECUTED = frozenset({"imul", "mul8", "mul", "div8", "div16", "div32", "aam", "aad"})

#: Classes of transfers that may change the level or the task.
TRANSFERS = frozenset({"jump_far", "call_far", "return_far", "int", "iret"})
#: Classes of instructions after which the code is fetched again.
_REFETCHING = TRANSFERS | frozenset({
    "sysenter", "sysexit", "write_cr0", "write_cr3", "write_cr4", "invlpg", "write_dr", "wbinvd"})

#: Classes that change nothing but general registers, arithmetic flags and memory.
_ORDINARY = frozenset({
    "simple", "rmw", "push_memory", "pop_memory", "imul", "mul8", "mul", "div8", "div16", "div32", "aam", "aad",
    "xchg", "xchg_memory", "xadd", "xadd_memory", "cmpxchg", "cmpxchg_memory", "cmpxchg8b", "bit_string",
    "bit_string_rmw", "pusha", "popa", "enter", "enter_nested", "xlat", "movs", "cmps", "stos", "lods", "scas"})
#: Operations of one row that change or tell something else.
_SIMPLE_SYSTEM = frozenset({"smsw", "sldt", "str", "wait", "esc"})

#: Classes of string operations: one iteration alone, the start of a repeated one, and an iteration of it.
_STRINGS = ("movs", "cmps", "stos", "lods", "scas", "ins", "outs")

#: Every class, each a name in `Costs.cycles`.
CLASSES: tuple[str, ...] = (
    "simple", "rmw", "push_memory", "pop_memory", "imul", "mul8", "mul", "div8", "div16", "div32", "aam", "aad",
    "xchg", "xchg_memory", "xadd", "xadd_memory", "cmpxchg", "cmpxchg_memory", "cmpxchg8b", "bit_string",
    "bit_string_rmw", "pusha", "popa", "popf", "enter", "enter_nested", "call_indirect", "call_memory",
    "load_segment", "load_pointer", "load_ldt", "probe", "arpl", "bound", "into", "xlat", "table_store",
    "table_load", "read_dr", "write_dr", "write_cr0", "write_cr3", "write_cr4", "lmsw", "invlpg", "rdtsc", "cpuid",
    "rdmsr", "wrmsr", "rdpmc", "wbinvd", "in8", "in16", "in32", "out8", "out16", "out32",
    "jump_far", "call_far", "return_far", "int", "iret", "sysenter", "sysexit",
    *(f"{prefix}{name}" for prefix in ("", "rep_", "each_") for name in _STRINGS),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """One instruction, for the pipeline.

    Members
    -------
    kind : its class, a key of `Costs.cycles`.
    each : class of the iterations of a REP instruction, or "".
    prefixes : cycles that decode spends on prefixes.
    executed : the cycles are spent in the last stage.
    address : registers that form its (first) address.
    full, part : registers written whole; in part, so that an address has to wait for the register file.
    moves : registers that address generation itself moves on (stack and string pointers), which cost no wait.
    loads, stores : the first row reads memory; the last one writes it.
    place : of the memory operand: (base, index, scale, displacement), -1 for no register; for pushes and pops the
        displacement is from ESP as it is before the instruction. stack : how far it moves ESP.
    backward : it is a conditional branch to lower addresses.
    shadows : no interrupt comes between it and the next instruction.
    """

    kind: str
    length: int
    flow: Flow = Flow.NEXT
    each: str = ""
    prefixes: int = 0
    executed: bool = False
    address: tuple[int, ...] = ()
    full: tuple[int, ...] = ()
    part: tuple[int, ...] = ()
    moves: tuple[int, ...] = ()
    loads: bool = False
    stores: bool = False
    place: tuple[int, int, int, int] | None = None
    stack: int = 0
    backward: bool = False
    shadows: bool = False


_WRITES_NOTHING = frozenset({"cmp", "test", "bt"})
_TWO_ROWS = frozenset({"add", "or", "adc", "sbb", "and", "sub", "xor", "inc", "dec", "not", "neg", "rol", "ror", "rcl",
                       "rcr", "shl", "shr", "sar", "shld", "shrd", "bts", "btr", "btc"})
_BY_OPERATION = {
    "pusha": "pusha", "popa": "popa", "popf": "popf", "lds": "load_pointer", "les": "load_pointer",
    "lss": "load_pointer", "lfs": "load_pointer", "lgs": "load_pointer", "lldt": "load_ldt", "ltr": "load_ldt",
    "lar": "probe", "lsl": "probe", "verr": "probe", "verw": "probe", "arpl": "arpl", "bound": "bound",
    "into": "into", "xlat": "xlat", "sgdt": "table_store", "sidt": "table_store", "lgdt": "table_load",
    "lidt": "table_load", "lmsw": "lmsw", "invlpg": "invlpg", "rdtsc": "rdtsc", "cpuid": "cpuid", "rdmsr": "rdmsr",
    "wrmsr": "wrmsr", "rdpmc": "rdpmc", "wbinvd": "wbinvd", "invd": "wbinvd", "jmpf": "jump_far",
    "callf": "call_far", "retf": "return_far", "int": "int", "int3": "int", "icebp": "int", "iret": "iret",
    "sysenter": "sysenter", "sysexit": "sysexit", "cmpxchg8b": "cmpxchg8b", "aam": "aam", "aad": "aad",
}
_BRANCHES = {"jcc": Flow.CONDITIONAL, "loop": Flow.CONDITIONAL, "loope": Flow.CONDITIONAL,
             "loopne": Flow.CONDITIONAL, "jcxz": Flow.CONDITIONAL, "ret": Flow.RETURN}
_SEGMENTS = frozenset({Operand.ES, Operand.CS, Operand.SS, Operand.DS, Operand.FS, Operand.GS})


def _class(insn: Insn) -> str:
    form, memory = insn.form, insn.is_memory
    operation, operands = form.operation, form.operands
    if operation in _STRINGS:
        return f"rep_{operation}" if insn.rep is not None else operation
    if operation in ("mul", "imul", "div", "idiv"):
        if len(operands) > 1:
            return "imul"
        name = operation[-3:]
        if operands[0] is Operand.Eb:
            return f"{name}8"
        return name if name == "mul" else f"div{8 * insn.opsize}"
    if operation == "mov":
        return _move_class(operands)
    if operation in ("in", "out"):
        size = 1 if Operand.AL in operands else insn.opsize
        return f"{operation}{8 * size}"
    if operation in ("bt", "bts", "btr", "btc") and memory and operands[1] is Operand.Gv:
        return "bit_string" if operation == "bt" else "bit_string_rmw"
    if operation in ("xchg", "xadd", "cmpxchg"):
        return f"{operation}_memory" if memory else operation
    if operation in ("push", "pop"):
        if operands[0] in _SEGMENTS and operation == "pop":
            return "load_segment"
        return f"{operation}_memory" if memory else "simple"
    if operation == "call" and operands[0] is Operand.Ev:
        return "call_memory" if memory else "call_indirect"
    if operation == "enter":
        return "enter_nested" if insn.imm2 else "enter"
    if operation in _TWO_ROWS and memory and operands[0].value[0] == "E":
        return "rmw"
    return _BY_OPERATION.get(operation, "simple")


def _move_class(operands: tuple[Operand, ...]) -> str:
    target, source = operands
    if target is Operand.Sw:
        return "load_segment"
    if target is Operand.Cd:
        return "write_cr"
    if target is Operand.Dd:
        return "write_dr"
    return "read_dr" if source is Operand.Dd else "simple"


def _register(operand: Operand, insn: Insn) -> tuple[int, int] | None:
    """Register and width in bits of an operand, if it is a general register."""
    name = operand.value
    if operand is Operand.AL:
        return _EAX, 8
    if operand is Operand.eAX:
        return _EAX, 8 * insn.opsize
    if operand in (Operand.MwRv, Operand.Rd) or name[0] == "E":
        if insn.is_memory:
            return None
        number = insn.rm
    elif name[0] == "G":
        number = insn.reg
    elif name[0] == "Z":
        number = insn.opcode_reg
    else:
        return None
    if name[-1] == "b":
        return number & 3, 8
    return number, 32 if operand is Operand.Rd else 16 if name[-1] == "w" else 8 * insn.opsize


def _written(insn: Insn, kind: str) -> list[tuple[int, int]]:
    """General registers that the last rows write, with their widths."""
    operation, operands, width = insn.form.operation, insn.form.operands, 8 * insn.opsize
    if operation in _WRITES_NOTHING or operation == "push":
        return []
    if kind.startswith(("mul", "div")):
        return [(_EAX, 16)] if kind.endswith("8") else [(_EAX, width), (_EDX, width)]
    fixed = {"cbw": _EAX, "cwd": _EDX, "lahf": _EAX, "daa": _EAX, "das": _EAX, "aaa": _EAX, "aas": _EAX,
             "loop": _ECX, "loope": _ECX, "loopne": _ECX, "leave": _EBP}
    if operation in fixed:
        return [(fixed[operation], 16 if operation in ("lahf", "daa", "das", "aaa", "aas") else width)]
    if operation == "lods":
        return [(_EAX, 8 if Operand.AL in operands else width)]
    if not operands or operation in ("jcc", "jmp", "call", "ret", "out", "outs"):
        return []
    found = [_register(operands[0], insn)]
    if operation in ("xchg", "xadd"):
        found.append(_register(operands[1], insn))
    return [each for each in found if each is not None]


def _stack_place(form: Form, insn: Insn) -> tuple[int, int]:
    """Displacement from ESP of a push or pop of one row, and how far it moves ESP."""
    operation = form.operation
    if operation in ("push", "pushf", "call"):
        return -insn.opsize, -insn.opsize
    if operation == "ret":
        return 0, insn.opsize + (insn.imm or 0)
    return 0, insn.opsize


def _shadows(insn: Insn) -> bool:
    form = insn.form
    if form.operation == "mov":
        return form.operands[0] is Operand.Sw and insn.reg == _SS
    return form.operation == "sti" or form.operation == "pop" and form.operands[0] is Operand.SS


@cache
def _form_flow(form: Form) -> Flow:
    if form.operation in _BRANCHES:
        return _BRANCHES[form.operation]
    if form.operation == "jmp":
        return Flow.JUMP if form.operands[0].value[0] == "J" else Flow.INDIRECT
    if form.operation == "call":
        return Flow.CALL if form.operands[0].value[0] == "J" else Flow.INDIRECT_CALL
    return Flow.NEXT


def shape_of(insn: Insn, code32: bool = True) -> Shape:
    """The shape of a decoded instruction; `code32` is the D bit of its code segment."""
    form = insn.form
    kind = _class(insn)
    if kind == "write_cr":
        kind = {0: "write_cr0", 3: "write_cr3", 4: "write_cr4"}.get(insn.reg, "simple")
    flow = _form_flow(form)
    if kind in _REFETCHING or form.operation == "hlt":
        flow = Flow.REFETCH
    elif kind.startswith("rep_"):
        flow = Flow.REPEAT
    elif flow is Flow.NEXT and (kind not in _ORDINARY or form.cpl0 or form.iopl or form.operation in _SIMPLE_SYSTEM):
        flow = Flow.SYSTEM
    natural = 4 if code32 else 2
    prefixes = ((insn.opsize != natural) + (insn.adsize != natural) + (insn.seg is not None) + insn.lock
                + (insn.rep is not None))
    address: list[int] = []
    moves: tuple[int, ...] = ()
    place: tuple[int, int, int, int] | None = None
    operation, loads, stores, stack = form.operation, False, False, 0
    if insn.is_memory:
        base = -1 if insn.base is None else int(insn.base)
        index = -1 if insn.index is None else int(insn.index)
        address = [number for number in (base, index) if number >= 0]
        place = (base, index, insn.scale, insn.disp)
        writes = form.operands[0].value[0] in "EM" and operation in ("mov", "setcc", "smsw", "sldt", "str")
        stores = writes or kind in ("rmw", "xchg_memory", "xadd_memory", "cmpxchg_memory")
        loads = not writes and operation != "lea"
    elif form.operands and any(operand.value[0] == "O" for operand in form.operands):
        place = (-1, -1, 0, insn.disp)
        stores = form.operands[0].value[0] == "O"
        loads = not stores
    if operation in ("push", "pop", "pushf", "call", "ret", "popf", "leave", "pusha", "popa", "enter"):
        moves = (_ESP,)
        if operation == "leave":
            address, place, loads = [_EBP], (_EBP, -1, 0, 0), True
        elif not insn.is_memory:
            address = [_ESP]
            if kind == "simple" and operation in ("push", "pop", "pushf", "call", "ret"):
                displacement, stack = _stack_place(form, insn)
                place = (_ESP, -1, 0, displacement)
                stores = operation in ("push", "pushf", "call")
                loads = not stores
    elif operation in _STRINGS:
        moves = tuple(number for number, names in ((_ESI, ("movs", "cmps", "lods", "outs")),
                                                   (_EDI, ("movs", "cmps", "stos", "scas", "ins")))
                      if operation in names)
        address = list(moves[:1])
        if form.rep is Rep.NONE or insn.rep is None:
            loads = operation in ("movs", "cmps", "lods", "scas", "outs")
            stores = operation == "stos"
    written = _written(insn, kind)
    return Shape(
        kind, insn.length, flow, f"each_{operation}" if kind.startswith("rep_") else "", prefixes, kind in _EXECUTED,
        tuple(address), tuple(number for number, width in written if width == 32),
        tuple(number for number, width in written if width != 32), moves, loads, stores, place, stack,
        flow is Flow.CONDITIONAL and (insn.imm or 0) < 0, _shadows(insn))
