"""Exceptions and interrupts: vectors, classes, error codes, priorities, the double-fault matrix.

Intel SDM vol. 3A, tables 6-1 (vectors), 6-2 (priorities), 6-4 and 6-5 (double fault), 6.13 (error code).
"""

# Field widths are written as annotations, which are not types.
# mypy: disable-error-code="valid-type"

import enum
from dataclasses import dataclass

from .layout import Struct, mask


class Vector(enum.IntEnum):
    """Architectural vectors the processor can raise itself, and NMI."""
    DE = 0
    DB = 1
    NMI = 2
    BP = 3
    OF = 4
    BR = 5
    UD = 6
    NM = 7
    DF = 8
    TS = 10
    NP = 11
    SS = 12
    GP = 13
    PF = 14
    MF = 16
    AC = 17
    MC = 18


class ExceptionClass(enum.Enum):
    """What an exception is for the double-fault rule."""
    BENIGN = 0
    CONTRIBUTORY = 1
    PAGE_FAULT = 2
    DOUBLE_FAULT = 3


class ExceptionKind(enum.Enum):
    """Where the saved EIP points: a fault's at the instruction, a trap's after it, an abort's nowhere useful."""
    FAULT = 0
    TRAP = 1
    FAULT_OR_TRAP = 2
    ABORT = 3
    INTERRUPT = 4


@dataclass(frozen=True, slots=True)
class ExceptionInfo:
    """One row of SDM table 6-1. `error_code`: None (none pushed), "zero", "selector" or "page"."""
    vector: Vector
    name: str
    kind: ExceptionKind
    cls: ExceptionClass
    error_code: str | None
    source: str

    @property
    def mnemonic(self) -> str:
        return "NMI" if self.vector is Vector.NMI else f"#{self.vector.name}"


_F, _T, _FT, _A, _I = (
    ExceptionKind.FAULT, ExceptionKind.TRAP, ExceptionKind.FAULT_OR_TRAP, ExceptionKind.ABORT, ExceptionKind.INTERRUPT)
_BENIGN, _CONTRIBUTORY = ExceptionClass.BENIGN, ExceptionClass.CONTRIBUTORY

EXCEPTIONS: dict[Vector, ExceptionInfo] = {info.vector: info for info in (
    ExceptionInfo(Vector.DE, "divide error", _F, _CONTRIBUTORY, None, "DIV, IDIV, AAM"),
    ExceptionInfo(Vector.DB, "debug", _FT, _BENIGN, None, "breakpoint registers, TF, T bit of a TSS, DR access, ICEBP"),
    ExceptionInfo(Vector.NMI, "non-maskable interrupt", _I, _BENIGN, None, "NMI line"),
    ExceptionInfo(Vector.BP, "breakpoint", _T, _BENIGN, None, "INT3"),
    ExceptionInfo(Vector.OF, "overflow", _T, _BENIGN, None, "INTO"),
    ExceptionInfo(Vector.BR, "bound range exceeded", _F, _BENIGN, None, "BOUND"),
    ExceptionInfo(Vector.UD, "invalid opcode", _F, _BENIGN, None, "UD2, opcodes without a form, misplaced LOCK"),
    ExceptionInfo(Vector.NM, "device not available", _F, _BENIGN, None, "x87 escapes (CR0.EM or TS), WAIT (MP and TS)"),
    ExceptionInfo(Vector.DF, "double fault", _A, ExceptionClass.DOUBLE_FAULT, "zero", "see the double-fault matrix"),
    ExceptionInfo(Vector.TS, "invalid TSS", _F, _CONTRIBUTORY, "selector", "task switch, stack of an inner level"),
    ExceptionInfo(Vector.NP, "segment not present", _F, _CONTRIBUTORY, "selector", "loading a segment register, gates"),
    ExceptionInfo(Vector.SS, "stack fault", _F, _CONTRIBUTORY, "selector", "stack accesses, loading SS"),
    ExceptionInfo(Vector.GP, "general protection", _F, _CONTRIBUTORY, "selector", "memory and privilege checks"),
    ExceptionInfo(Vector.PF, "page fault", _F, ExceptionClass.PAGE_FAULT, "page", "memory accesses"),
    ExceptionInfo(Vector.MF, "x87 floating-point error", _F, _BENIGN, None, "never raised: there is no x87"),
    ExceptionInfo(Vector.AC, "alignment check", _F, _BENIGN, "zero", "misaligned data at CPL 3 with CR0.AM, EFLAGS.AC"),
    ExceptionInfo(Vector.MC, "machine check", _A, _BENIGN, None, "never raised: there is no machine check"),
)}

VECTORS_WITH_ERROR_CODE = frozenset(vector for vector, info in EXCEPTIONS.items() if info.error_code is not None)
#: The same as a mask over vectors 0-31.
ERROR_CODE_MASK = sum(1 << vector for vector in VECTORS_WITH_ERROR_CODE)
CONTRIBUTORY_MASK = sum(1 << vector for vector, info in EXCEPTIONS.items() if info.cls is _CONTRIBUTORY)


#: Faults in a row, each met by the delivery of the one before, of which the last shuts the processor down. They need
#: not make a double fault: #AC on a misaligned stack would go on for ever.
SERIES = 16


class SelectorErrorCode(Struct):
    """The error code of #TS, #NP, #SS and #GP. `index` is a selector index, or a vector when `idt` is set."""
    ext: 1
    idt: 1
    ti: 1
    index: 13
    reserved: 16


ERROR_EXT = mask(SelectorErrorCode, "ext")
ERROR_IDT = mask(SelectorErrorCode, "idt")
ERROR_TI = mask(SelectorErrorCode, "ti")


def selector_error(selector: int, ext: int = 0) -> int:
    """The error code that names a selector; `ext` is 1 during delivery of an event external to the program."""
    return selector & 0xFFFC | ext


def idt_error(vector: int, ext: int = 0) -> int:
    """The error code that names an IDT entry."""
    return vector << 3 | ERROR_IDT | ext


class Combination(enum.Enum):
    """What happens when a second exception is detected while the first is delivered."""
    SERIAL = 0
    DOUBLE_FAULT = 1
    SHUTDOWN = 2


#: SDM table 6-5: rows are the class of the first exception; classes not listed combine serially.
COMBINATIONS: dict[tuple[ExceptionClass, ExceptionClass], Combination] = {
    (ExceptionClass.CONTRIBUTORY, ExceptionClass.CONTRIBUTORY): Combination.DOUBLE_FAULT,
    (ExceptionClass.PAGE_FAULT, ExceptionClass.CONTRIBUTORY): Combination.DOUBLE_FAULT,
    (ExceptionClass.PAGE_FAULT, ExceptionClass.PAGE_FAULT): Combination.DOUBLE_FAULT,
    (ExceptionClass.DOUBLE_FAULT, ExceptionClass.CONTRIBUTORY): Combination.SHUTDOWN,
    (ExceptionClass.DOUBLE_FAULT, ExceptionClass.PAGE_FAULT): Combination.SHUTDOWN,
}


def classify(vector: int) -> ExceptionClass:
    """The class of an exception. Not for INT n and external interrupts, which are benign whatever their vector."""
    info = EXCEPTIONS.get(vector)  # type: ignore[call-overload]
    return ExceptionClass.BENIGN if info is None else info.cls


def combine(first: int | None, second: int) -> Combination:
    """What exception `second` becomes when detected during the delivery of exception `first`.

    `first` is None during the delivery of an interrupt (external or INT n), which is benign.
    """
    cls = ExceptionClass.BENIGN if first is None else classify(first)
    return COMBINATIONS.get((cls, classify(second)), Combination.SERIAL)


#: SDM table 6-2, highest first, with what this processor has of each group.
PRIORITIES: tuple[str, ...] = (
    "reset",
    "trap on task switch (T bit of the new TSS)",
    "external hardware intervention (INIT)",
    "traps of the previous instruction: data and I/O breakpoints, single step",
    "NMI",
    "external interrupt",
    "code breakpoint fault",
    "fetch faults: code segment limit, code page fault",
    "decode faults: longer than 15 bytes, invalid opcode, device not available",
    "execution faults in the order of the manual's Operation section",
)
