"""From entry points to a module of LLVM IR.

The subset of Python:

1. Integers are signed, of 64 bits, and wrap; a routine that works with 64 bits masks. Values of u64 fields come out
   signed. Shifts work for any count that is not negative; `//` and `%` round as Python's do.
2. Types come from annotations: int, bool, None, enumerations, tuples, `X | None`, `list[int]` and lists of tuples of
   integers (at most 40 items), records (ctypes structures, dataclasses of integers), unions of records, `Fault`.
3. A variable has one type, that of its first assignment. A record that is assigned or passed is the same record; one
   that is returned is a copy. A record or list made in a loop is one and the same in every turn.
4. Expressions over globals alone are evaluated when compiling. Branches not taken by constants are not looked at.
5. Loops over tuples and over short arrays are unrolled, with the items as constants where they are constants.
6. `raise Fault(...)`, `try` with one `except Fault` handler, bare `raise`. `raise Unsupported`, `raise Bail` and calls
   of what is not native leave all routines with status BAIL, whatever handlers there are.
7. Assertions are left out. There is no recursion.

An entry point is `i32 symbol(ptr context, i64 per leaf of the arguments..., ptr result)`. An optional argument is its
value and then 0 or 1; a `Fault` is vector, error, whether it has one, cr2, whether it has one. The leaves of the result
are stored one i64 each, a record in place of its pointer. The status is OK, FAULT (the fault is in the fields
fault_vector, fault_error, fault_has_error, fault_cr2, fault_has_cr2 of the context) or BAIL.
"""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vmm.lowering.binding import Binding
from vmm.lowering.calls import BAIL, FAULT, OK
from vmm.lowering.layout import Field, Layouts
from vmm.lowering.layout import field as find_field
from vmm.lowering.lists import HELPERS
from vmm.lowering.routine import Routine
from vmm.lowering.source import Unlowerable
from vmm.lowering.types import Object, Type

__all__ = ["BAIL", "FAULT", "OK", "Binding", "Program", "lower"]

_PRELUDE = """
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.abs.i64(i64, i1)
""" + HELPERS


def _host_access() -> str:
    """Host memory by address and size."""
    read, write = [], []
    for size in (1, 2, 4, 8):
        kind = f"i{8 * size}"
        wide = "" if size == 8 else f"  %wide{size} = zext {kind} %v{size} to i64\n"
        read.append(f"size{size}:\n  %v{size} = load {kind}, ptr %p, align 1\n{wide}"
                    f"  ret i64 %{'wide' if wide else 'v'}{size}\n")
        narrow = "" if size == 8 else f"  %v{size} = trunc i64 %value to {kind}\n"
        write.append(f"size{size}:\n{narrow}  store {kind} %{f'v{size}' if narrow else 'value'}, ptr %p, align 1\n"
                     "  ret void\n")
    switch = ("  %p = inttoptr i64 %address to ptr\n  switch i64 %size, label %size8 "
              "[i64 1, label %size1 i64 2, label %size2 i64 4, label %size4]\n")
    return ("define internal i64 @host.read(i64 %address, i64 %size) alwaysinline {\n" + switch + "".join(read) + "}\n"
            "define internal void @host.write(i64 %address, i64 %size, i64 %value) alwaysinline {\n"
            + switch + "".join(write) + "}\n")


class Program:
    """A module in the making: routines are lowered when first called."""

    def __init__(self, binding: Binding):
        self.binding = binding
        self.layouts = Layouts(binding.records)
        self._routines: dict[tuple[Any, ...], Routine | None] = {}
        self._order: list[str] = []
        self._constants: dict[str, str] = {}
        self._symbols: set[str] = set()

    def context_field(self, name: str) -> Field | None:
        return find_field(self.binding.context, self.binding.fields.get(name, name))

    def is_native(self, function: Any) -> bool:
        return inspect.isfunction(function)

    def routine(self, function: Callable[..., Any], free: tuple[Type, ...]) -> Routine:
        """See `Module`.

        Raises
        ------
        Unlowerable
            It, or something it calls, leaves the subset.
        """
        key = (function, free)
        if key not in self._routines:
            self._routines[key] = None
            routine = Routine(self, function, free, self._symbol(function.__qualname__))
            self._routines[key] = routine
            self._order.append(routine.text)
        found = self._routines[key]
        if found is None:
            raise Unlowerable(f"{function.__qualname__} calls itself")
        return found

    def _symbol(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._symbols:
            count += 1
            unique = f"{name}.{count}"
        self._symbols.add(unique)
        return f'@"{unique}"'

    def constant_record(self, value: Any) -> str:
        """The address of a constant instance of a record class."""
        structure = self.layouts.structure(type(value))
        image = structure()
        for name, *_ in structure._fields_:
            setattr(image, name, getattr(value, name))
        text = "".join(f"\\{byte:02x}" for byte in bytes(image))
        return self._constant(f"[{ctypes.sizeof(image)} x i8] c\"{text}\"")

    def constant_table(self, kind: str, items: Sequence[str]) -> str:
        """The address of an array of constants."""
        return self._constant(f"[{len(items)} x {kind}] [{', '.join(f'{kind} {item}' for item in items)}]")

    def _constant(self, text: str) -> str:
        return self._constants.setdefault(text, f"@constant.{len(self._constants)}")

    def entry(self, symbol: str, function: Callable[..., Any], receiver: Type | None) -> None:
        """Make a function callable from outside."""
        routine = self.routine(function, () if receiver is None else (receiver,))
        parameters, passed, lines = ["ptr %ctx"], ["ptr %ctx"], []
        for parameter in routine.signature.parameters:
            kind = receiver if parameter.name == "self" else parameter.type
            if kind is None or kind.stored:
                raise Unlowerable(f"{function.__qualname__}: parameter {parameter.name} of an entry point is no number")
            for number, leaf in enumerate(kind.leaves):
                name = f"%{parameter.name}.{number}"
                parameters.append(f"i64 {name}")
                if leaf == "i1":
                    lines.append(f"{name}.bit = icmp ne i64 {name}, 0")
                    name += ".bit"
                passed.append(f"{leaf} {name}")
        lines += self._deliver(routine, passed)
        self._order.append(f"define i32 @{symbol}({', '.join([*parameters, 'ptr %result'])}) nounwind {{\n"
                           + "\n".join(lines) + "\n}\n")

    def _deliver(self, routine: Routine, passed: list[str]) -> list[str]:
        """Call a routine and store its result as an entry point does."""
        kind = routine.signature.result
        lines, places, scalars, offset = [], iter(kind.stored), [], 0
        for number, leaf in enumerate(kind.leaves):
            lines.append(f"%place.{number} = getelementptr i8, ptr %result, i64 {offset}")
            if leaf == "ptr":
                passed.append(f"ptr %place.{number}")
                offset += routine.size(next(places)) + 7 & ~7
            else:
                scalars.append((number, leaf))
                offset += 8
        if not routine.returned:
            return [*lines, f"call {routine.convention} void {routine.symbol}({', '.join(passed)})", f"ret i32 {OK}"]
        whole = "{ " + ", ".join(routine.returned) + " }"
        lines.append(f"%answer = call {routine.convention} {whole} {routine.symbol}({', '.join(passed)})")
        for index, (number, leaf) in enumerate(scalars):
            lines.append(f"%leaf.{number} = extractvalue {whole} %answer, {index + routine.may_fail}")
            wide = f"%leaf.{number}"
            if leaf == "i1":
                lines.append(f"%wide.{number} = zext i1 %leaf.{number} to i64")
                wide = f"%wide.{number}"
            lines.append(f"store i64 {wide}, ptr %place.{number}")
        if not routine.may_fail:
            return [*lines, f"ret i32 {OK}"]
        return [*lines, f"%status = extractvalue {whole} %answer, 0", "ret i32 %status"]

    def text(self) -> str:
        constants = [f"{name} = private unnamed_addr constant {value}, align 8"
                     for value, name in self._constants.items()]
        return "\n".join([_PRELUDE, _host_access(), *constants, *self._order])


def lower(entry_points: Iterable[str] | Mapping[str, str], binding: Binding) -> str:
    """LLVM IR of methods of `binding.cls` and of all they call.

    Parameters
    ----------
    entry_points : names of methods, possibly of an object ("mmu.translate"); or symbols to such names. The symbol is
        the name by default, with dots as underlines.

    Raises
    ------
    Unlowerable
        A routine leaves the subset.
    """
    named = entry_points if isinstance(entry_points, Mapping) else {
        name.replace(".", "_"): name for name in entry_points}
    program = Program(binding)
    for symbol, path in named.items():
        owner, _, name = path.rpartition(".")
        cls = binding.objects[owner] if owner else binding.cls
        function = inspect.getattr_static(cls, name)
        program.entry(symbol, function, Object(owner, cls))
    return program.text()


