"""The reference decoder: bytes to `Insn` by the opcode table.

Order of effects, which the hardware follows too:

1. Prefixes are taken in any order and number; the last segment override and the last of F2 and F3 win.
2. The opcode, then ModRM where the map has one. #UD is decided here, before SIB, displacement and immediate are read:
   no row for the opcode (ModRM not read), no row for the digit or mod, or F0 where it is not allowed.
3. SIB, displacement, immediate.
4. A sixteenth byte is never read: the instruction is #GP(0) (SDM vol. 3A, table 6-2).
"""

from dataclasses import dataclass

from .opcodes import Form, ImmKind, Operand, OpMap, has_modrm, imm_kind, imm_size, lookup, rows
from .registers import Gpr, Seg

__all__ = ["MAX_LENGTH", "DecodeError", "Insn", "Invalid", "TooLong", "Truncated", "decode"]

#: The longest instruction, in bytes.
MAX_LENGTH = 15


class DecodeError(Exception):
    """The bytes are not an instruction."""


class Truncated(DecodeError):
    """The bytes end before the instruction; at least `needed` bytes from its start are wanted."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"instruction needs at least {needed} bytes")
        self.needed = needed


class Invalid(DecodeError):
    """The instruction is #UD for `reason`; `length` bytes were read to know."""

    def __init__(self, reason: str, length: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.length = length


class TooLong(DecodeError):
    """The instruction is longer than 15 bytes: #GP(0)."""

    def __init__(self) -> None:
        super().__init__("instruction is longer than 15 bytes")


@dataclass(frozen=True, slots=True)
class Insn:
    """A decoded instruction.

    Members
    -------
    form, length
        The row of the table, and the bytes the instruction takes with its prefixes.
    opsize, adsize
        Operand and address size in bytes, 2 or 4, after 66 and 67.
    seg
        Segment override, or None.
    lock, rep
        Prefixes present. `rep` is None, "rep" (F3) or "repne" (F2), also where the form ignores it.
    modrm, mod, reg, rm
        The ModRM byte and its fields; None and zeros where there is none.
    base, index, scale
        Registers of the memory operand, or None; `scale` is a shift count, 0-3.
    disp
        Displacement, sign-extended; the offset of an Ob or Ov operand, not extended.
    default_seg
        The segment of the memory operand without override: SS for a base of EBP or ESP, else DS.
    imm
        Immediate: unsigned for Ib, Iw, Iv; sign-extended and cut to the operand size for Ibs; signed for Jb and Jv;
        the offset of Ap; the frame size of ENTER. None where there is none.
    imm2
        The selector of Ap, the nesting level of ENTER, else None.
    """
    form: Form
    length: int
    opsize: int
    adsize: int
    seg: Seg | None
    lock: bool
    rep: str | None
    modrm: int | None
    mod: int
    reg: int
    rm: int
    base: Gpr | None
    index: Gpr | None
    scale: int
    disp: int
    default_seg: Seg
    imm: int | None
    imm2: int | None

    @property
    def is_memory(self) -> bool:
        """Whether ModRM.rm is a memory operand."""
        return self.mod != 3 and self.form.has_rm_memory

    @property
    def segment(self) -> Seg:
        """The segment of the memory operand: the override, else the default."""
        return self.default_seg if self.seg is None else self.seg

    @property
    def opcode_reg(self) -> int:
        """The register of a Zb or Zv operand."""
        return self.form.opcode & 7


_SEGMENT_PREFIXES = {0x26: Seg.ES, 0x2E: Seg.CS, 0x36: Seg.SS, 0x3E: Seg.DS, 0x64: Seg.FS, 0x65: Seg.GS}
_REPEAT_PREFIXES = {0xF2: "repne", 0xF3: "rep"}

# Base and index of the 16-bit addressing forms by ModRM.rm, SDM vol. 2A, table 2-1.
_BASES_16 = (
    (Gpr.EBX, Gpr.ESI), (Gpr.EBX, Gpr.EDI), (Gpr.EBP, Gpr.ESI), (Gpr.EBP, Gpr.EDI),
    (Gpr.ESI, None), (Gpr.EDI, None), (Gpr.EBP, None), (Gpr.EBX, None),
)

# The table's answers, computed once: absent is #UD.
_HAS_MODRM = {(map, opcode): has_modrm(map, opcode) for map in OpMap for opcode in range(256) if rows(map, opcode)}
_GPR = tuple(Gpr)
_IMM_KINDS = {form: imm_kind(form) for map, opcode in _HAS_MODRM for form in rows(map, opcode)}
_RM_MEMORY = {form: form.has_rm_memory for form in _IMM_KINDS}
_RELATIVE = {form for form in _IMM_KINDS if not {Operand.Jb, Operand.Jv}.isdisjoint(form.operands)}


class _Reader:
    """Little-endian numbers from the bytes of one instruction."""

    __slots__ = ("code", "start", "pos")

    def __init__(self, code: bytes | bytearray | memoryview, start: int) -> None:
        self.code = code
        self.start = start
        self.pos = start

    @property
    def length(self) -> int:
        return self.pos - self.start

    def take(self, size: int, signed: bool = False) -> int:
        end = self.pos + size
        if end - self.start > MAX_LENGTH:
            if len(self.code) - self.start < MAX_LENGTH:
                raise Truncated(MAX_LENGTH)
            raise TooLong
        if end > len(self.code):
            raise Truncated(end - self.start)
        value = int.from_bytes(self.code[self.pos:end], "little", signed=signed)
        self.pos = end
        return value


def _address_16(reader: _Reader, mod: int, rm: int) -> tuple[Gpr | None, Gpr | None, int, int]:
    if mod == 0 and rm == 6:
        return None, None, 0, reader.take(2, True)
    base, index = _BASES_16[rm]
    return base, index, 0, reader.take(mod, True) if mod else 0


def _address_32(reader: _Reader, mod: int, rm: int) -> tuple[Gpr | None, Gpr | None, int, int]:
    base: Gpr | None = _GPR[rm]
    index, scale = None, 0
    if rm == 4:
        sib = reader.take(1)
        base, scale = _GPR[sib & 7], sib >> 6
        if sib >> 3 & 7 == 4:
            scale = 0
        else:
            index = _GPR[sib >> 3 & 7]
    if mod == 0:
        if base is Gpr.EBP:
            return None, index, scale, reader.take(4, True)
        return base, index, scale, 0
    return base, index, scale, reader.take(1 if mod == 1 else 4, True)


def decode(code: bytes | bytearray | memoryview, offset: int = 0, *, default32: bool = True) -> Insn:
    """Decode the instruction at `offset`; `default32` is the D bit of the code segment.

    Raises
    ------
    Truncated
        More bytes are needed to know.
    Invalid
        The instruction is #UD.
    TooLong
        The instruction is longer than 15 bytes.
    """
    reader = _Reader(code, offset)
    opsize = adsize = 4 if default32 else 2
    seg, rep, lock = None, None, False
    while True:
        byte = reader.take(1)
        if byte == 0x66:
            opsize = 2 if default32 else 4
        elif byte == 0x67:
            adsize = 2 if default32 else 4
        elif byte in _SEGMENT_PREFIXES:
            seg = _SEGMENT_PREFIXES[byte]
        elif byte in _REPEAT_PREFIXES:
            rep = _REPEAT_PREFIXES[byte]
        elif byte == 0xF0:
            lock = True
        else:
            break
    map = OpMap.ONE_BYTE
    if byte == 0x0F:
        map, byte = OpMap.TWO_BYTE, reader.take(1)
    wants_modrm = _HAS_MODRM.get((map, byte))
    if wants_modrm is None:
        raise Invalid("no such opcode", reader.length)
    modrm = reader.take(1) if wants_modrm else None
    form = lookup(map, byte, modrm or 0)
    if form is None:
        raise Invalid("no such form of the opcode", reader.length)
    mod, reg, rm = (0, 0, 0) if modrm is None else (modrm >> 6, modrm >> 3 & 7, modrm & 7)
    memory = mod != 3 and _RM_MEMORY[form]
    if lock and not (form.lock and memory):
        raise Invalid("LOCK is not allowed here", reader.length)

    base, index, scale, disp = None, None, 0, 0
    if memory:
        base, index, scale, disp = (_address_32 if adsize == 4 else _address_16)(reader, mod, rm)

    imm, imm2 = None, None
    kind = _IMM_KINDS[form]
    if kind is not ImmKind.NONE:
        if kind is ImmKind.MOFFS:
            disp = reader.take(adsize)
        elif kind is ImmKind.FAR:
            imm, imm2 = reader.take(opsize), reader.take(2)
        elif kind is ImmKind.ENTER:
            imm, imm2 = reader.take(2), reader.take(1)
        else:
            relative = form in _RELATIVE
            imm = reader.take(imm_size(kind, opsize, adsize), relative or kind is ImmKind.BS)
            if not relative:
                imm &= 0xFFFF_FFFF if opsize == 4 else 0xFFFF

    return Insn(
        form, reader.length, opsize, adsize, seg, lock, rep, modrm, mod, reg, rm, base, index, scale, disp,
        Seg.SS if base is Gpr.EBP or base is Gpr.ESP else Seg.DS, imm, imm2,
    )
