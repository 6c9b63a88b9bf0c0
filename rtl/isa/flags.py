"""What every operation reads from EFLAGS, writes to it, and leaves undefined.

`undefined` is what comparisons with other implementations must mask; what this processor does with those flags is fixed
too, and is the `note` of the row: our own executors and the hardware agree on it to the bit.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from .flag_table import ROWS
from .registers import Eflags

__all__ = ["CONDITION_FLAGS", "Case", "FLAG_EFFECTS", "FlagEffect", "flag_effect", "undefined_result"]


class Case(enum.Enum):
    """When a row applies. The others are by shift count, after masking to five bits."""
    ALWAYS = "always"
    COUNT_ZERO = "count_zero"
    COUNT_ONE = "count_one"
    COUNT_MANY = "count_many"    #: 2 to size - 1; for SHLD and SHRD, to size
    COUNT_SIZE = "count_size"    #: at least the operand size; for SHLD and SHRD, more than it


@dataclass(frozen=True, slots=True)
class FlagEffect:
    """The flags one operation reads, writes with a defined result, and leaves undefined, as EFLAGS masks."""
    operation: str
    case: Case
    read: int
    written: int
    undefined: int
    note: str


_LETTERS = {
    "O": Eflags.OF, "S": Eflags.SF, "Z": Eflags.ZF, "A": Eflags.AF, "P": Eflags.PF, "C": Eflags.CF,
    "D": Eflags.DF, "I": Eflags.IF, "T": Eflags.TF, "N": Eflags.NT, "R": Eflags.RF, "V": Eflags.VM,
    "L": Eflags.IOPL, "M": Eflags.AC, "X": Eflags.ID,
}

#: The flags each pair of conditions looks at, by condition number over two. SDM vol. 1, appendix B.
CONDITION_FLAGS: tuple[int, ...] = tuple(
    sum(int(_LETTERS[letter]) for letter in letters) for letters in ("O", "C", "Z", "CZ", "S", "P", "SO", "ZSO"))


def _mask(letters: str) -> int:
    return 0 if letters == "-" else sum(int(_LETTERS[letter]) for letter in letters)


def _parse() -> Iterator[FlagEffect]:
    for row in ROWS.splitlines():
        if not row:
            continue
        operations, cases, read, written, undefined, note = (field.strip() for field in row.split("|"))
        for operation in operations.split():
            for case in cases.split():
                yield FlagEffect(operation, Case(case), _mask(read), _mask(written), _mask(undefined), note)


#: (operation, case) to effect. The conditional operations are not here: see `CONDITION_FLAGS`.
FLAG_EFFECTS: dict[tuple[str, Case], FlagEffect] = {(effect.operation, effect.case): effect for effect in _parse()}

_COUNTED = frozenset(operation for operation, case in FLAG_EFFECTS if case is not Case.ALWAYS)


def _case(operation: str, count: int, bits: int) -> Case:
    count &= 31
    if count < 2:
        return Case.COUNT_ONE if count else Case.COUNT_ZERO
    over = count > bits if operation in ("shld", "shrd") else count >= bits
    return Case.COUNT_SIZE if over else Case.COUNT_MANY


def flag_effect(operation: str, *, condition: int | None = None, count: int = 1, bits: int = 32) -> FlagEffect:
    """The effect of `Form.operation`, given `Form.condition`, and for shifts the count and the operand size in bits."""
    if condition is not None:
        return FlagEffect(operation, Case.ALWAYS, CONDITION_FLAGS[condition >> 1], 0, 0, "")
    case = _case(operation, count, bits) if operation in _COUNTED else Case.ALWAYS
    return FLAG_EFFECTS.get((operation, case)) or FlagEffect(operation, case, 0, 0, 0, "")


def undefined_result(operation: str, *, count: int = 1, bits: int = 32, source: int = 1) -> str | None:
    """What this processor leaves in a destination the manual calls undefined, or None where the result is defined.

    `source` is the second operand, for the bit scans.
    """
    if operation in ("shld", "shrd") and _case(operation, count, bits) is Case.COUNT_SIZE:
        return "destination:source:destination shifted on"
    if operation in ("bsf", "bsr") and source == 0:
        return "unchanged"
    if operation == "bswap" and bits == 16:
        return "zero"
    return None
