"""The two decode ROMs, built from the opcode table.

The opcode ROM has one row per opcode of each map and says where its entries are; the entry ROM has the first
micro-operation of every form with what decode must know of it. A microprogram goes on in the microcode ROM.
"""
from dataclasses import dataclass

from amaranth.lib import data, enum

from rtl.isa.opcodes import Form, ImmKind, OpMap, Rep, has_modrm, imm_kind, rows

from .hardwired import Row, first_row
from .microasm import Rom
from .microcode import PROGRAMS
from .uop import Uop

__all__ = ["RM_DIGIT", "Check", "Entry", "OpcodeRow", "Select", "DecodeRoms", "build"]


class Select(enum.IntEnum, shape=3):
    """How the entry of an opcode is found from its first one."""
    PLAIN = 0
    MEMORY = 1   #: + 1 when the ModRM operand is in memory
    GROUP = 2    #: + 2 * ModRM.reg + 1 when the operand is in memory
    REP = 3      #: + 1 with a repeat prefix
    GROUP_RM = 4  #: as GROUP, but + 16 + ModRM.rm for digit `RM_DIGIT` with a register


#: The digit of group 7 whose register forms are one instruction each (SVM).
RM_DIGIT = 3


class Check(enum.IntEnum, shape=4):
    """A fault that the instruction raises before it does anything, unless the processor state allows it."""
    NONE = 0
    CPL0 = 1     #: #GP(0) unless CPL = 0
    IOPL = 2     #: #GP(0) unless CPL <= IOPL
    ESCAPE = 3   #: #NM if CR0.EM or CR0.TS, else #UD
    WAIT = 4     #: #NM if CR0.MP and CR0.TS
    UD = 5       #: always #UD
    GP = 6       #: always #GP(0) (set by decode: too long, beyond the limit of CS)
    FETCH = 7    #: always #PF of the instruction fetch (set by decode)
    SVM = 8      #: #UD unless EFER.SVME, then #GP(0) unless CPL = 0


class OpcodeRow(data.Struct):
    """Row of the opcode ROM."""
    first: 11
    select: Select
    has_modrm: 1
    reg_only: 1      # ModRM.mod is ignored: the operand is a register


class Entry(data.Struct):
    """Row of the entry ROM."""
    uop: Uop
    imm: ImmKind
    lock: 1          # F0 is allowed
    check: Check


@dataclass(frozen=True)
class DecodeRoms:
    """Contents of the ROMs as integers."""
    opcodes: list[int]
    entries: list[int]


def _entry(rom: Rom, form: Form | None, variant: int) -> int:
    """The entry for a form, or for none; `variant` is 1 for a memory operand or a repeat prefix."""
    if form is None or not _allowed(form, variant):
        return rom.encode({}) | Entry.const(dict(check=Check.UD)).as_value().value
    row = _row(rom, form, variant)
    check = Check.NONE
    if form.feature == "x87":
        check = Check.WAIT if form.mnemonic == "wait" else Check.ESCAPE
    elif _absent(form):
        check = Check.UD
    elif form.feature == "svm" and form.cpl0:
        check = Check.SVM
    elif form.cpl0:
        check = Check.CPL0
    elif form.iopl:
        check = Check.IOPL
    lock = form.lock and form.has_rm_memory and variant == 1
    uop = rom.encode(row)
    return uop | Entry.const(dict(imm=imm_kind(form), lock=int(lock), check=check)).as_value().value


def _allowed(form: Form, variant: int) -> bool:
    if form.has_rm_memory or form.rep is not Rep.NONE:
        return form.accepts(0x00 | (form.ext or 0) << 3) if variant and form.has_modrm else (
            not form.has_modrm or form.accepts(0xC0 | (form.ext or 0) << 3 | (form.rm or 0)))
    return True


def _absent(form: Form) -> bool:
    """Always #UD."""
    return form.feature == "smm" or form.mnemonic == "ud2"


def _row(rom: Rom, form: Form, variant: int) -> Row:
    if form.feature == "x87" or _absent(form):
        return {}
    programs = PROGRAMS.get(form.key)
    if programs is not None and programs[variant] is not None:
        return rom.first(programs[variant])
    row = first_row(form, bool(variant))
    if row is None:
        raise ValueError(f"instruction form {form} has neither a first row nor a microprogram")
    return row


def build(rom: Rom) -> DecodeRoms:
    """Lay out the decode ROMs for the opcode table and the microprograms in `rom`."""
    entries = [_entry(rom, None, 0)]
    opcodes = []
    for map in OpMap:
        for opcode in range(256):
            forms = rows(map, opcode)
            first, select = len(entries), Select.PLAIN
            if not forms:
                first = 0
            elif any(form.ext is not None for form in forms):
                select = Select.GROUP
                by_digit = {form.ext: form for form in forms if form.rm is None}
                for digit in range(8):
                    form = by_digit.get(digit)
                    entries += [_entry(rom, form, 0), _entry(rom, form, 1)]
                by_rm = {form.rm: form for form in forms if form.rm is not None}
                if by_rm:
                    select = Select.GROUP_RM
                    if {form.ext for form in by_rm.values()} != {RM_DIGIT}:
                        raise ValueError(f"opcode {opcode:02X} has forms by ModRM.rm not under digit {RM_DIGIT}")
                    entries += [_entry(rom, by_rm.get(rm), 0) for rm in range(8)]
            elif forms[0].has_rm_memory or forms[0].rep is not Rep.NONE:
                select = Select.MEMORY if forms[0].has_rm_memory else Select.REP
                entries += [_entry(rom, forms[0], 0), _entry(rom, forms[0], 1)]
            else:
                entries.append(_entry(rom, forms[0], 0))
            reg_only = has_modrm(map, opcode) and not any(form.has_rm_memory for form in forms)
            opcodes.append(OpcodeRow.const(dict(
                first=first, select=select, has_modrm=int(has_modrm(map, opcode)),
                reg_only=int(reg_only))).as_value().value)
    return DecodeRoms(opcodes, entries)
