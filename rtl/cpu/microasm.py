"""Symbolic assembler of microprograms.

A microprogram is a Python function that is given a `Program` and emits rows into it:

    @program("xchg_m")
    def xchg_m(p):
        p(alu=Alu.MOV, b=Src.MEM, dst=Reg.T0, mem=Mem.RMW, ...)
        p(...)

Rules:

1. Every row goes on to the following one unless it says otherwise (``next``); the last row ends the instruction.
2. Row 0 of a program lives in the decode ROM, the others in the microcode ROM; row 0 may therefore neither be a
   conditional branch nor carry a label. A `routine` lives in the microcode ROM entirely: the core or other programs
   enter it by its name.
3. A target is a label of the same program, the name of a routine, or a name that the fallback of the library makes into
   a routine when it is first used.
4. ``const`` is the value wanted: the assembler gives it a row of the constant ROM, except for CHECK, FAULT and FLAG,
   whose number stands in the field itself. Constant 0 is the value 0. ``disp`` is another name for the constant of an
   address; a row has only one constant.
5. Operands A and B may be a `K` (constant) or a `Y` (system register).
6. ``intercept`` is an exit code. Behind row 0 a row with one may not access memory.
"""
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data

from .uop import Alu, Amode, Aseg, FlagSet, Mem, Next, Reg, Size, Src, Sys, Uop

__all__ = ["K", "Library", "MicrocodeError", "Program", "Rom", "Row", "Y", "assemble", "encode_fields"]

Row = dict[str, Any]

ROM_ROWS = 4096
CONSTANT_ROWS = 256

#: What a field holds when a row does not name it. Fields not listed are zero.
DEFAULTS: Row = dict(a=Src.ZERO, b=Src.ZERO, dst=Reg.NONE, size=Size.D, width=Size.D, alu=Alu.MOV,
                     flags=FlagSet.NONE, mem=Mem.NONE, next=Next.END)

#: The bit of the field ``intercept`` that says that there is one.
INTERCEPT_VALID = 1 << 8

#: Operations whose ``const`` is a number and not a constant.
NUMBERED = frozenset({Alu.CHECK, Alu.FAULT, Alu.FLAG})

#: Addresses that have the constant as their displacement.
_DISPLACED = frozenset({Amode.BASE, Amode.POP, Amode.FLAT, Amode.STACK})

_LAYOUT = data.Layout.cast(Uop)
#: Programs call the field `number` const: they give the value that the constant ROM row has.
_FIELDS = {"const" if name == "number" else name: (entry.offset, Shape.cast(entry.shape).width)
           for name, entry in _LAYOUT}


class MicrocodeError(Exception):
    """A microprogram cannot be assembled; the message is one sentence."""


@dataclass(frozen=True)
class K:
    """A constant as operand A or B."""
    value: int


@dataclass(frozen=True)
class Y:
    """A system register as operand A or B; `sreg` is the segment of SEL, BASE, LIMIT and ATTR."""
    sys: Sys
    sreg: Aseg = Aseg.ES


def _expand(row: Row, where: str) -> Row:
    """Replace `K`, `Y` and ``disp`` by the fields they stand for."""
    result: Row = {}

    def put(name: str, value: Any) -> None:
        if result.get(name, value) != value:
            raise MicrocodeError(f"{where} needs two values of {name}: {result[name]} and {value}")
        result[name] = value

    for name, value in row.items():
        if name == "disp":
            put("const", value & 0xFFFF_FFFF)
        elif isinstance(value, K):
            put(name, Src.CONST)
            put("const", value.value & 0xFFFF_FFFF)
        elif isinstance(value, Y):
            put(name, Src.SYS)
            put("sys", value.sys)
            put("sreg", value.sreg)
        elif name == "intercept":
            put(name, value | INTERCEPT_VALID)
        elif name in _FIELDS:
            put(name, value)
        else:
            raise MicrocodeError(f"{where} has a field {name} that a micro-operation does not have")
    constant = Src.CONST in (result.get("a"), result.get("b")) or result.get("alu") in NUMBERED
    if result.get("amode") in _DISPLACED and result.get("mem") and constant and "disp" not in row and result["const"]:
        raise MicrocodeError(f"{where} would add its constant {result['const']} to the address too")
    return result


def encode_fields(fields: Row, where: str = "row") -> int:
    """The bits of a row whose ``const`` and ``target`` are numbers."""
    word = 0
    for name, value in (DEFAULTS | fields).items():
        offset, width = _FIELDS[name]
        number = value.value if isinstance(value, Enum) else int(value)
        if number >> width:
            raise MicrocodeError(f"{where} has {name} = {number}, which does not fit {width} bits")
        word |= number << offset
    return word


class Program:
    """The rows of one program or routine. Calling it emits a row.

    ``rows`` are fields as given, with `K`, `Y` and ``disp`` replaced; ``labels`` maps a label to its row number.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[Row] = []
        self.labels: dict[str, int] = {}
        self._deferred: list[Callable[[], None]] = []
        self._unique = 0

    def __call__(self, **fields: Any) -> None:
        """Emit a row."""
        self.rows.append(_expand(fields, f"row {len(self.rows)} of {self.name}"))

    def label(self, name: str) -> None:
        """Name the row that comes next."""
        if name in self.labels:
            raise MicrocodeError(f"{self.name} has the label {name} twice")
        self.labels[name] = len(self.rows)

    def unique(self, stem: str) -> str:
        """A label that no other row of the program has."""
        self._unique += 1
        return f"{stem}.{self._unique}"

    def defer(self, emit: Callable[[], None]) -> None:
        """Emit rows behind the program's own last row: for what is rarely reached."""
        self._deferred.append(emit)

    def finish(self) -> None:
        """Emit what was deferred and close the last row."""
        self._close()
        while self._deferred:
            self._deferred.pop(0)()
            self._close()
        if not self.rows:
            raise MicrocodeError(f"{self.name} has no rows")

    def _close(self) -> None:
        if self.rows:
            self.rows[-1].setdefault("next", Next.END)


@dataclass
class Library:
    """Programs and routines before assembly.

    Members
    -------
    programs, routines : name -> builder.
    fallback : makes a routine of a name nobody defined, or returns None.
    """
    programs: dict[str, Callable[[Program], None]] = field(default_factory=dict)
    routines: dict[str, Callable[[Program], None]] = field(default_factory=dict)
    fallback: Callable[[str], Callable[[Program], None] | None] = lambda name: None

    def program(self, name: str, /, **fields: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Decorator: the function builds a program; keyword arguments are passed on to it."""
        return lambda build: self._add(self.programs, name, build, fields)

    def routine(self, name: str, /, **fields: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Decorator: the function builds a routine."""
        return lambda build: self._add(self.routines, name, build, fields)

    def _add(self, table: dict, name: str, build: Callable[..., None], fields: Row) -> Callable[..., None]:
        if name in self.programs or name in self.routines:
            raise MicrocodeError(f"there are two microprograms named {name}")
        table[name] = lambda p: build(p, **fields)
        return build


class Rom:
    """An assembled microcode ROM.

    Members
    -------
    rows : the microcode ROM, encoded.
    fields : the same rows with ``const`` and ``target`` as numbers, others as given.
    where : "program+row" of each row, for listings and traces.
    constants : the constant ROM. It grows while `encode` meets new constants.
    entry : routine -> address.
    programs : the names of the programs, in order.
    """

    def __init__(self, library: Library) -> None:
        self.rows: list[int] = []
        self.fields: list[Row] = []
        self.where: list[str] = []
        self.constants: list[int] = [0]
        self.entry: dict[str, int] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._first: dict[str, Row] = {}
        pending = [(name, build, True) for name, build in library.programs.items()]
        pending += [(name, build, False) for name, build in library.routines.items()]
        bodies: list[tuple[Program, int, bool]] = []
        size, placed = 0, set(library.routines) | set(library.programs)
        while pending:
            name, build, is_program = pending.pop(0)
            body = Program(name)
            build(body)
            body.finish()
            bodies.append((body, size, is_program))
            size += len(body.rows) - is_program
            for row in body.rows:
                target = row.get("target")
                if isinstance(target, str) and target not in body.labels and target not in placed:
                    made = library.fallback(target)
                    if made is None:
                        raise MicrocodeError(f"{name} goes to {target}, which is neither its label nor a routine")
                    placed.add(target)
                    pending.append((target, made, False))
        if size > ROM_ROWS:
            raise MicrocodeError(f"the microprograms need {size} rows and the microcode ROM has {ROM_ROWS}")
        self.programs = [body.name for body, _, is_program in bodies if is_program]
        for body, start, is_program in bodies:
            self._place(body, start, is_program)
        for body, _, is_program in bodies:
            for number, row in enumerate(body.rows):
                if is_program and number == 0:
                    self._first[body.name] = row
                else:
                    self.fields.append(self.resolve(row, body.name))
                    self.where.append(f"{body.name}+{number}")
        self.rows = [encode_fields(row, place) for row, place in zip(self.fields, self.where, strict=True)]
        for name in self.programs:
            self.encode(self.first(name))

    def _place(self, body: Program, start: int, is_program: bool) -> None:
        """Settle addresses of labels, and what follows each row."""
        name, first = body.name, body.rows[0]
        if is_program:
            start -= 1
            if first.get("next", Next.SEQ) in (Next.BR, Next.BRT, Next.CALL, Next.RET, Next.ENDREP):
                raise MicrocodeError(f"row 0 of {name} is in the decode ROM and may not be {first['next'].name}")
            if 0 in body.labels.values():
                raise MicrocodeError(f"row 0 of {name} is in the decode ROM and may not have a label")
        else:
            self.entry[name] = start
        self._labels[name] = {label: start + number for label, number in body.labels.items()}
        for row in body.rows:
            row.setdefault("next", Next.SEQ)
        for number, row in enumerate(body.rows):
            if row.get("intercept") and row.get("mem", Mem.NONE) is not Mem.NONE and not (is_program and number == 0):
                raise MicrocodeError(f"row {number} of {name} has an intercept and an access, as only row 0 may")
        if is_program and first["next"] is Next.SEQ:
            first.update(next=Next.JUMP, target=start + 1)
        for label, number in body.labels.items():
            if number >= len(body.rows):
                raise MicrocodeError(f"the label {label} of {name} has no row")

    def resolve(self, row: Row, program: str = "") -> Row:
        """A row with ``const`` and ``target`` as numbers. `program` is where labels are looked for first."""
        row = _expand(row, f"a row of {program or 'the decode ROM'}")
        target = row.get("target", 0)
        if isinstance(target, str):
            address = self._labels.get(program, {}).get(target, self.entry.get(target))
            if address is None:
                raise MicrocodeError(f"{program or 'the decode ROM'} goes to {target}, which is neither its label "
                                     "nor a routine")
            row["target"] = address
        if "const" in row and row.get("alu") not in NUMBERED:
            row["const"] = self._constant(row["const"] & 0xFFFF_FFFF)
        return row

    def _constant(self, value: int) -> int:
        if value not in self.constants:
            if len(self.constants) >= CONSTANT_ROWS:
                raise MicrocodeError(f"the constant ROM of {CONSTANT_ROWS} rows has no room for {value:#x}")
            self.constants.append(value)
        return self.constants.index(value)

    def first(self, name: str) -> Row:
        """Row 0 of a program, for the decode ROM: give it to `encode`."""
        return dict(self._first[name])

    def encode(self, row: Row) -> int:
        """The bits of a row of the decode ROM, its target the name of a routine or an address."""
        return encode_fields(self.resolve(row), "a row of the decode ROM")


def assemble(library: Library) -> Rom:
    """Assemble every program and routine of `library`.

    Raises `MicrocodeError`: a label or routine does not exist, a row cannot be encoded, or a ROM is full.
    """
    return Rom(library)
