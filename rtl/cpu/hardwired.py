"""First rows of the instructions that need no microprogram of their own.

`first_rows(form)` gives the row for a register operand and the row for a memory operand of an opcode-table form.
A row is a dict of `Uop` fields; fields left out are zero or NONE. A read-modify-write instruction is a row that
computes into T0 and goes on at the shared row "store_b" or "store_v", which writes T0 to the operand.
"""
from rtl.isa.exitcodes import ExitCode
from rtl.isa.opcodes import Form, Operand

from .uop import Alu, Amode, Aseg, FlagOp, FlagSet, Mem, Next, Reg, Size, Src, Step

Row = dict[str, object]

#: NOP, which F3 makes PAUSE.
PAUSE_KEY = "90"

#: The rows that end a read-modify-write, by operand size.
STORE_TAILS: dict[Size, str] = {Size.B: "store_b", Size.V: "store_v"}

_ALU = {"add": Alu.ADD, "or": Alu.OR, "adc": Alu.ADC, "sbb": Alu.SBB, "and": Alu.AND, "sub": Alu.SUB,
        "xor": Alu.XOR, "cmp": Alu.SUB, "test": Alu.AND}
_SHIFT = {"rol": Alu.ROL, "ror": Alu.ROR, "rcl": Alu.RCL, "rcr": Alu.RCR, "shl": Alu.SHL, "shr": Alu.SHR,
          "sar": Alu.SAR}
_FLAG_OPS = {"clc": FlagOp.CLC, "stc": FlagOp.STC, "cmc": FlagOp.CMC, "cld": FlagOp.CLD, "std": FlagOp.STD,
             "cli": FlagOp.CLI, "sti": FlagOp.STI}
_BCD = {"daa": Alu.DAA, "das": Alu.DAS, "aaa": Alu.AAA, "aas": Alu.AAS}
_BIT_TEST = {"bt": Alu.BT, "bts": Alu.BTS, "btr": Alu.BTR, "btc": Alu.BTC}
_SIZES = {"b": Size.B, "w": Size.W, "d": Size.D, "v": Size.V}
_FIXED = {"AL": Reg.EAX, "eAX": Reg.EAX, "CL": Reg.ECX, "DX": Reg.EDX}
_RM = {"Eb", "Ew", "Ed", "Ev", "MwRv"}


def _size(form: Form) -> Size:
    """The operand size of a form, from its first operand that has one."""
    for operand in form.operands:
        if operand is Operand.AL:
            return Size.B
        if operand is Operand.eAX or operand is Operand.MwRv:
            return Size.V
        if operand.value[-1] in _SIZES and operand.value[0] in "EGZOXY":
            return _SIZES[operand.value[-1]]
    return Size.V


def _source(operand: Operand, in_memory: bool) -> int:
    """The X operand that an instruction operand is."""
    name = operand.value
    if name in _RM or name in ("Rd",):
        return Src.MEM if in_memory else Reg.RM
    if name in _FIXED:
        return _FIXED[name]
    if name[0] == "O":
        return Src.MEM
    return {"G": Reg.REG, "Z": Reg.OPREG, "I": Src.IMM, "J": Src.IMM, "O": Src.MEM}[name[0]]


def _binary(form: Form, alu: Alu, in_memory: bool, *, flags: FlagSet = FlagSet.ALL, writes: bool = True) -> Row:
    """dst = alu(dst, src), in one row or as a read-modify-write."""
    dst, src = form.operands
    size = _size(form)
    row: Row = dict(alu=alu, a=_source(dst, in_memory), b=_source(src, in_memory), size=size, flags=flags)
    if src is Operand.One:
        row.update(b=Src.CONST, const=1)
    return _finish(row, dst, size, in_memory, any(op.value in _RM for op in form.operands), writes)


def _finish(row: Row, dst: Operand, size: Size, in_memory: bool, has_rm: bool, writes: bool) -> Row:
    """Add the memory access and the destination."""
    if in_memory and has_rm:
        row.update(mem=Mem.LOAD, amode=Amode.MODRM, aseg=Aseg.EFF, width=size)
    if not writes:
        return row
    if in_memory and dst.value in _RM:
        row.update(mem=Mem.RMW, dst=Reg.T0, next=Next.JUMP, target=STORE_TAILS[size])
    else:
        row.update(dst=_source(dst, False))
    return row


def _unary(form: Form, in_memory: bool, **fields: object) -> Row:
    """dst = alu(A, B) where one of them is the operand `X`."""
    size = _size(form)
    operand = Src.MEM if in_memory else _source(form.operands[0], False)
    row: Row = {name: operand if value == "X" else value for name, value in fields.items()}
    row["size"] = size
    return _finish(row, form.operands[0], size, in_memory, form.operands[0].value in _RM, True)


def _load(size: Size) -> Row:
    return dict(mem=Mem.LOAD, amode=Amode.MODRM, aseg=Aseg.EFF, width=size)


def _push(**fields: object) -> Row:
    return dict(alu=Alu.MOV, size=Size.V, mem=Mem.STORE, width=Size.V, amode=Amode.PUSH, base=Reg.ESP, aseg=Aseg.SS,
                step=Step.PUSH) | fields


def _pop(**fields: object) -> Row:
    return dict(alu=Alu.MOV, b=Src.MEM, size=Size.V, mem=Mem.LOAD, width=Size.V, amode=Amode.POP, base=Reg.ESP,
                aseg=Aseg.SS, step=Step.POP) | fields


def _mov(form: Form, in_memory: bool) -> Row | None:
    dst, src = form.operands
    if {dst.value[0], src.value[0]} & set("CDS"):
        return None
    size = _size(form)
    row: Row = dict(alu=Alu.MOV, b=_source(src, in_memory), size=size)
    if dst.value[0] == "O" or (in_memory and dst.value in _RM):
        return row | dict(mem=Mem.STORE, amode=Amode.MODRM, aseg=Aseg.EFF, width=size)
    row["dst"] = _source(dst, False)
    if src.value[0] == "O" or (in_memory and src.value in _RM):
        row.update(_load(size))
    return row


def _multiply_divide(form: Form, in_memory: bool) -> Row | None:
    if len(form.operands) > 1:   # IMUL with two or three operands
        a, b = (form.operands[0], form.operands[1]) if len(form.operands) == 2 else form.operands[1:]
        row: Row = dict(alu=Alu.IMUL, a=_source(a, in_memory), b=_source(b, in_memory), dst=Reg.REG, size=Size.V,
                        flags=FlagSet.ALL)
        return row | (_load(Size.V) if in_memory else {})
    alu = {"mul": Alu.MUL, "imul": Alu.IMUL, "div": Alu.DIV, "idiv": Alu.IDIV}[form.mnemonic]
    size = _size(form)
    flags = FlagSet.ALL if alu in (Alu.MUL, Alu.IMUL) else FlagSet.NONE
    row = dict(alu=alu, a=Reg.EAX, b=Src.MEM if in_memory else Reg.RM, size=size, dst=Reg.EAX, flags=flags)
    if in_memory:
        row.update(_load(size))
    if size is Size.V:
        row.update(next=Next.JUMP, target="mul_high" if flags else "div_remainder")
    return row


def _stack_or_branch(form: Form, in_memory: bool) -> Row | None:
    operand = form.operands[0].value if form.operands else ""
    match form.operation:
        case "push" if operand[0] in "ZI":
            return _push(b=_source(form.operands[0], False))
        case "push" if operand == "Ev" and not in_memory:
            return _push(b=Reg.RM)
        case "pop" if operand == "Zv":
            return _pop(dst=Reg.OPREG)
        case "pop" if operand == "Ev" and not in_memory:
            return _pop(dst=Reg.RM)
        case "leave":
            return dict(alu=Alu.MOV, b=Src.MEM, dst=Reg.EBP, size=Size.V, mem=Mem.LOAD, width=Size.V,
                        amode=Amode.POP, base=Reg.EBP, aseg=Aseg.SS, step=Step.LEAVE)
        case "call" if operand == "Jv":
            return _push(alu=Alu.JMP, b=Src.NEXT)
        case "call" if not in_memory:
            return _push(alu=Alu.JMPI, a=Reg.RM, b=Src.NEXT)
        case "call":
            return _load(Size.V) | dict(alu=Alu.MOV, b=Src.MEM, dst=Reg.T0, size=Size.V, next=Next.JUMP,
                                        target="call_t0")
        case "ret":
            return _pop(alu=Alu.JMPI, a=Src.MEM, step=Step.POPN if operand else Step.POP)
        case "jmp" if operand[0] == "J":
            return dict(alu=Alu.JMP, size=Size.V)
        case "jmp":
            return dict(alu=Alu.JMPI, a=Src.MEM if in_memory else Reg.RM, size=Size.V) | (
                _load(Size.V) if in_memory else {})
        case "jcc":
            return dict(alu=Alu.JCC, size=Size.V)
        case "loop" | "loope" | "loopne":
            return dict(alu=Alu.LOOP, a=Reg.ECX, dst=Reg.ECX, size=Size.A)
        case "jcxz":
            return dict(alu=Alu.JCXZ, a=Reg.ECX, size=Size.A)
    return None


def _others(form: Form, in_memory: bool) -> Row | None:
    load = _load(_size(form)) if in_memory else {}
    source = Src.MEM if in_memory else Reg.RM
    match form.operation:
        case "nop":
            return dict(intercept=ExitCode.PAUSE) if form.key == PAUSE_KEY else {}
        case "lea":
            return dict(alu=Alu.MOV, b=Src.ADDR, dst=Reg.REG, size=Size.V, amode=Amode.MODRM, aseg=Aseg.LIN)
        case "inc" | "dec":
            alu = Alu.ADD if form.operation == "inc" else Alu.SUB
            return _unary(form, in_memory, alu=alu, a="X", b=Src.CONST, const=1, flags=FlagSet.NO_CF)
        case "not":
            return _unary(form, in_memory, alu=Alu.XOR, a="X", b=Src.CONST, const=0xFFFFFFFF)
        case "neg":
            return _unary(form, in_memory, alu=Alu.SUB, a=Src.ZERO, b="X", flags=FlagSet.ALL)
        case "setcc":
            size = Size.B
            row: Row = dict(alu=Alu.SETCC, size=size)
            if in_memory:
                return row | dict(mem=Mem.STORE, amode=Amode.MODRM, aseg=Aseg.EFF, width=size)
            return row | dict(dst=Reg.RM)
        case "cmovcc":
            return load | dict(alu=Alu.CMOV, a=Reg.REG, b=source, dst=Reg.REG, size=Size.V)
        case "movzx" | "movsx":
            byte = form.operands[1] is Operand.Eb
            alu = {("movzx", True): Alu.ZX8, ("movzx", False): Alu.ZX16, ("movsx", True): Alu.SX8,
                   ("movsx", False): Alu.SX16}[form.mnemonic, byte]
            return dict(alu=alu, b=source, dst=Reg.REG, size=Size.V) | (
                _load(Size.B if byte else Size.W) if in_memory else {})
        case "cbw":
            return dict(alu=Alu.CBW, b=Reg.EAX, dst=Reg.EAX, size=Size.V)
        case "cwd":
            return dict(alu=Alu.SIGN, a=Reg.EAX, dst=Reg.EDX, size=Size.V)
        case "bswap":
            return dict(alu=Alu.BSWAP, a=Reg.OPREG, dst=Reg.OPREG, size=Size.V)
        case "bsf" | "bsr":
            return load | dict(alu=Alu.BSF if form.operation == "bsf" else Alu.BSR, a=Reg.REG, b=source, dst=Reg.REG,
                               size=Size.V, flags=FlagSet.ZF)
        case "bt" | "bts" | "btr" | "btc" if not in_memory or form.operands[1] is Operand.Ib:
            return _binary(form, _BIT_TEST[form.operation], in_memory, flags=FlagSet.CF,
                           writes=form.operation != "bt")
        case "shld" | "shrd":
            alu = {("shld", False): Alu.SHLD, ("shrd", False): Alu.SHRD, ("shld", True): Alu.SHLD_CL,
                   ("shrd", True): Alu.SHRD_CL}[form.operation, form.operands[2] is Operand.CL]
            row = dict(alu=alu, a=source, b=Reg.REG, size=Size.V, flags=FlagSet.SHIFT)
            return _finish(row, form.operands[0], Size.V, in_memory, True, True)
        case "lahf":
            return dict(alu=Alu.LAHF, a=Reg.EAX, dst=Reg.EAX, size=Size.W)
        case "sahf":
            return dict(alu=Alu.SAHF, a=Reg.EAX, flags=FlagSet.ALL, size=Size.D)
        case "daa" | "das" | "aaa" | "aas":
            return dict(alu=_BCD[form.operation], a=Reg.EAX, dst=Reg.EAX, size=Size.W, flags=FlagSet.ALL)
        case "clc" | "stc" | "cmc" | "cld" | "std" | "cli" | "sti":
            return dict(alu=Alu.FLAG, const=int(_FLAG_OPS[form.operation]))
        case "wait":
            return {}
    return None


def first_row(form: Form, in_memory: bool) -> Row | None:
    """The row of `form` with its ModRM operand in memory or not; None when it has a microprogram.

    Every field not in the dict is NONE, zero, or END.
    """
    if form.operation in _ALU and len(form.operands) == 2:
        return _binary(form, _ALU[form.operation], in_memory, writes=form.operation not in ("cmp", "test"))
    if form.operation in _SHIFT:
        flags = FlagSet.SHIFT if form.operation in ("shl", "shr", "sar") else FlagSet.ROTATE
        return _binary(form, _SHIFT[form.operation], in_memory, flags=flags)
    if form.operation == "mov":
        return _mov(form, in_memory)
    if form.operation in ("mul", "imul", "div", "idiv"):
        return _multiply_divide(form, in_memory)
    return _stack_or_branch(form, in_memory) or _others(form, in_memory)
