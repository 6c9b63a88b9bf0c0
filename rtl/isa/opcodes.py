"""The opcode table: every instruction form of the processor, once.

The rows are text, in the notation of the manuals' opcode maps (Intel SDM vol. 2D, appendix A.2), one form per line:

    BYTES [/DIGITS] MNEMONIC [OPERANDS] [ATTRIBUTES]

1. BYTES is the opcode in hexadecimal, `0F` first for the two-byte map. `40..47` stands for one row per opcode of the
   range. A third byte after `0F xx` is the whole ModRM byte (`0F 01 D9` is VMMCALL).
2. `/4` is a digit in ModRM.reg; `/0,2-5` stands for one row per digit. Digits without a row are #UD.
3. `{cc}` in a mnemonic is the condition of the opcode's low four bits.
4. Operands are those of `Operand`. A form with an operand M, Ma, Mp, Mq or Ms has no register form: mod = 3 is #UD.
5. Attributes: `lock`, `rep`, `repe`, `cpl0`, `iopl`, `io`, `alias` and the features `x87`, `svm`, `smm` (see `Form`).

An opcode without a row is #UD.
"""

import enum
import re
from dataclasses import dataclass
from functools import cache

from .opcode_map_0f import ROWS as ROWS_0F
from .opcode_map_one import ROWS as ROWS_ONE
from .operands import Operand

__all__ = [
    "CONDITIONS", "FEATURES", "FORMS", "Form", "ImmKind", "ModRule", "OpMap", "Operand", "Rep",
    "has_modrm", "imm_kind", "imm_size", "lookup", "rows",
]


class OpMap(enum.Enum):
    """The two opcode maps."""
    ONE_BYTE = 0
    TWO_BYTE = 1


class ModRule(enum.Enum):
    """Which ModRM.mod values a form accepts. All others are #UD."""
    ANY = 0
    MEM = 1
    REG = 2


class Rep(enum.Enum):
    """What F2 and F3 do to a form: nothing, repeat while eCX is not zero, or repeat on ZF too."""
    NONE = 0
    REP = 1
    REPE = 2


class ImmKind(enum.Enum):
    """The bytes that follow ModRM, SIB and displacement.

    `V` is 2 or 4 bytes by operand size, `BS` one byte sign-extended to the operand size, `FAR` an offset by operand
    size and a 16-bit selector, `MOFFS` 2 or 4 bytes by address size, `ENTER` a word and a byte.
    """
    NONE = 0
    B = 1
    BS = 2
    W = 3
    V = 4
    FAR = 5
    MOFFS = 6
    ENTER = 7


#: Conditions of Jcc, SETcc and CMOVcc by number. SDM vol. 1, appendix B.
CONDITIONS = ("o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g")

#: Features a row may need, and what the row does without it.
FEATURES = {
    "x87": "D8-DF: #NM if CR0.EM or CR0.TS, else #UD. 9B: #NM if CR0.MP and CR0.TS, else nothing. "
           "(SDM vol. 3A, 2.5: EM must be set where there is no x87. With EM = 0 the manual is silent; #UD is ours.)",
    "svm": "#UD unless EFER.SVME is set, before any privilege check; always #UD while the processor has no SVM",
    "smm": "#UD: there is no system management mode",
}

_MEMORY_ONLY = {Operand.M, Operand.Ma, Operand.Mp, Operand.Mq, Operand.Ms}
_MODRM_OPERANDS = _MEMORY_ONLY | {
    Operand.Eb, Operand.Ew, Operand.Ed, Operand.Ev, Operand.Ex, Operand.MwRv, Operand.Gb, Operand.Gw, Operand.Gv,
    Operand.Rd, Operand.Cd, Operand.Dd, Operand.Sw,
}
_IMMEDIATES = {
    Operand.Ib: ImmKind.B, Operand.Ibs: ImmKind.BS, Operand.Iw: ImmKind.W, Operand.Iv: ImmKind.V,
    Operand.Jb: ImmKind.BS, Operand.Jv: ImmKind.V, Operand.Ap: ImmKind.FAR,
    Operand.Ob: ImmKind.MOFFS, Operand.Ov: ImmKind.MOFFS,
}


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """One instruction form: one row of the table after expansion of ranges. Forms are compared by identity.

    Members
    -------
    map, opcode
        Where the form is.
    ext
        The digit ModRM.reg must have, or None.
    mod, rm
        Which ModRM.mod, and for rows with a whole ModRM byte which ModRM.rm, the form accepts.
    mnemonic
        Lower case, one name for all sizes (`movs`, `cbw`, `iret`); far transfers are `callf`, `jmpf`, `retf`.
    operation
        As the mnemonic, but `jcc`, `setcc` and `cmovcc` for the conditional ones: the name semantics and flags go by.
    condition
        0-15 for the conditional ones (index into `CONDITIONS`), else None.
    lock
        F0 is allowed when the form's memory operand is in memory (mod < 3). Otherwise F0 is #UD.
    rep
        What F2 and F3 do.
    cpl0
        #GP(0) unless CPL is 0.
    iopl
        #GP(0) unless CPL <= IOPL (CLI and STI).
    io
        #GP(0) unless CPL <= IOPL or the I/O permission bitmap allows the port.
    alias
        Undocumented, or another encoding of a form elsewhere.
    feature
        Key of `FEATURES`, or None.
    """
    map: OpMap
    opcode: int
    ext: int | None
    mod: ModRule
    rm: int | None
    mnemonic: str
    operation: str
    condition: int | None
    operands: tuple[Operand, ...]
    lock: bool = False
    rep: Rep = Rep.NONE
    cpl0: bool = False
    iopl: bool = False
    io: bool = False
    alias: bool = False
    feature: str | None = None

    @property
    def key(self) -> str:
        """Stable unique identifier, as in the manuals: `00`, `80/0`, `0FAF`, `0F01/7`, `0F01D9`."""
        text = f"{'0F' if self.map is OpMap.TWO_BYTE else ''}{self.opcode:02X}"
        if self.rm is not None and self.ext is not None:
            return f"{text}{0xC0 | self.ext << 3 | self.rm:02X}"
        return text if self.ext is None else f"{text}/{self.ext}"

    @property
    def has_modrm(self) -> bool:
        """Whether a ModRM byte follows the opcode."""
        return self.ext is not None or not _MODRM_OPERANDS.isdisjoint(self.operands)

    @property
    def has_rm_memory(self) -> bool:
        """Whether ModRM.rm may be a memory operand, so that SIB and displacement may follow."""
        return self.has_modrm and self.mod is not ModRule.REG and Operand.Rd not in self.operands

    def accepts(self, modrm: int) -> bool:
        """Whether this row is the one for the given ModRM byte, its map and opcode being right."""
        is_reg = modrm >> 6 == 3
        return (
            (self.ext is None or self.ext == modrm >> 3 & 7)
            and (self.rm is None or self.rm == modrm & 7)
            and self.mod is not (ModRule.MEM if is_reg else ModRule.REG)
        )

    def __str__(self) -> str:
        return f"{self.key} {self.mnemonic} {','.join(operand.value for operand in self.operands)}".rstrip()


def imm_kind(form: Form) -> ImmKind:
    """The kind of immediate of a form."""
    kinds = [_IMMEDIATES[operand] for operand in form.operands if operand in _IMMEDIATES]
    if kinds == [ImmKind.W, ImmKind.B]:
        return ImmKind.ENTER
    return kinds[0] if kinds else ImmKind.NONE


def imm_size(kind: ImmKind, opsize: int, adsize: int) -> int:
    """How many bytes an immediate takes, for operand and address sizes of 2 or 4 bytes."""
    return {
        ImmKind.NONE: 0, ImmKind.B: 1, ImmKind.BS: 1, ImmKind.W: 2, ImmKind.V: opsize, ImmKind.FAR: opsize + 2,
        ImmKind.MOFFS: adsize, ImmKind.ENTER: 3,
    }[kind]


_ROW = re.compile(
    r"(?P<two>0F )?(?P<first>[0-9A-F]{2})(\.\.(?P<last>[0-9A-F]{2}))?( (?P<modrm>[C-F][0-9A-F]))?"
    r"( /(?P<digits>[0-7,-]+))? (?P<mnemonic>[a-z0-9]+(\{cc\})?)( (?P<operands>[A-Z,a-z]*[A-Z][A-Z,a-z]*))?"
    r"(?P<attributes>( [a-z][a-z0-9]+)*)"
)


def _digits(text: str | None) -> list[int | None]:
    if text is None:
        return [None]
    result: list[int | None] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        result.extend(range(int(first), int(last or first) + 1))
    return result


def _parse_row(row: str) -> list[Form]:
    match = _ROW.fullmatch(row)
    if match is None:
        raise ValueError(f"opcode row {row!r} is not BYTES [/DIGITS] MNEMONIC [OPERANDS] [ATTRIBUTES]")
    operands = tuple(Operand(name) for name in (match["operands"] or "").split(",") if name)
    attributes = set(match["attributes"].split())
    features = attributes & set(FEATURES)
    unknown = attributes - {"lock", "rep", "repe", "cpl0", "iopl", "io", "alias"} - features
    if unknown or len(features) > 1:
        raise ValueError(f"opcode row {row!r} has attributes {sorted(unknown or features)} it cannot have")
    mod = ModRule.ANY if _MEMORY_ONLY.isdisjoint(operands) else ModRule.MEM
    digits, rm = _digits(match["digits"]), None
    if match["modrm"]:
        modrm = int(match["modrm"], 16)
        mod, digits, rm = ModRule.REG, [modrm >> 3 & 7], modrm & 7
    first = int(match["first"], 16)
    forms = []
    for opcode in range(first, int(match["last"] or match["first"], 16) + 1):
        conditional = "{cc}" in match["mnemonic"]
        for ext in digits:
            forms.append(Form(
                map=OpMap.TWO_BYTE if match["two"] else OpMap.ONE_BYTE, opcode=opcode, ext=ext, mod=mod, rm=rm,
                mnemonic=match["mnemonic"].replace("{cc}", CONDITIONS[opcode & 15]),
                operation=match["mnemonic"].replace("{cc}", "cc"),
                condition=opcode & 15 if conditional else None,
                operands=operands,
                lock="lock" in attributes,
                rep=Rep.REPE if "repe" in attributes else Rep.REP if "rep" in attributes else Rep.NONE,
                cpl0="cpl0" in attributes, iopl="iopl" in attributes, io="io" in attributes,
                alias="alias" in attributes, feature=min(features, default=None),
            ))
    return forms


#: Every form, one-byte map first, in opcode order.
FORMS: tuple[Form, ...] = tuple(
    form for row in (ROWS_ONE + ROWS_0F).splitlines() if row for form in _parse_row(row))

_BY_OPCODE: dict[tuple[OpMap, int], tuple[Form, ...]] = {}
for _form in FORMS:
    _BY_OPCODE[_form.map, _form.opcode] = (*_BY_OPCODE.get((_form.map, _form.opcode), ()), _form)


def rows(map: OpMap, opcode: int) -> tuple[Form, ...]:
    """The forms of one opcode: none (#UD), one, or one per digit for a group."""
    return _BY_OPCODE.get((map, opcode), ())


@cache
def has_modrm(map: OpMap, opcode: int) -> bool:
    """Whether a ModRM byte follows this opcode. False for opcodes without a row."""
    return any(form.has_modrm for form in rows(map, opcode))


@cache
def lookup(map: OpMap, opcode: int, modrm: int = 0) -> Form | None:
    """The form for an opcode and its ModRM byte (ignored where none follows), or None for #UD.

    A row with a whole ModRM byte wins over a row with a digit.
    """
    candidates = [form for form in rows(map, opcode) if not form.has_modrm or form.accepts(modrm)]
    return max(candidates, key=lambda form: form.rm is not None, default=None)
