"""Decoded instructions as Python functions, found by linear and by physical address.

Rules:

1. An instruction is compiled once per process for its bytes and `Mode`; interpreters share the code objects.
2. Found code stays valid until a byte it was made from is written, translations are flushed, or the context (mode,
   privilege, CS base and limit) changes. A write takes effect for the very next instruction.
3. Bytes are fetched as the processor does: the second page of an instruction is translated only if the first does not
   hold all of it. Beyond the limit of CS is #GP(0), decided before translation.
4. What is not RAM is fetched again for each execution, byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any, cast

from rtl.isa.decoder import MAX_LENGTH, Insn, Invalid, TooLong, Truncated, decode
from rtl.isa.exceptions import Vector
from rtl.isa.opcodes import Rep
from rtl.isa.registers import Seg
from vmm.engine.access import Access
from vmm.engine.pyops import PyOps
from vmm.faults import Fault
from vmm.semantics.ops import Mode, Ops
from vmm.semantics.table import emit

Step = Callable[[int], int]
CS = int(Seg.CS)


@dataclass(frozen=True, slots=True)
class Compiled:
    """One instruction, not yet bound to a machine."""

    code: CodeType
    length: int
    is_system: bool
    repeats: bool
    bulk: bool


@dataclass(frozen=True, slots=True)
class Code:
    """One instruction bound to a machine: call `run` with EIP to get the next EIP.

    Members
    -------
    is_system : see `PyOps.is_system`.
    repeats : has a REP prefix that counts; it is not done while `run` returns the EIP it was given.
    bulk : repeats, and touches nothing but memory: iterations need not be looked at one by one.
    """

    run: Step
    length: int
    is_system: bool
    repeats: bool
    bulk: bool


_compiled: dict[tuple[bytes, Mode], Compiled] = {}
#: Self-modifying guests make new instructions without end; a guest that plays with segments, new contexts.
_COMPILED_LIMIT, _CONTEXT_LIMIT = 1 << 17, 64
_patterns: dict[str, CodeType] = {}
_NUMBER = re.compile(r"(?<![\w.])(?:0x[0-9a-f]+|[0-9]+)(?![\w.])")
#: What stands for numbers of a source; none of them occurs in one.
_STAND_INS = 1 << 64


def source_of(insn: Insn, mode: Mode) -> tuple[str, bool]:
    """Python source of an instruction, and whether it is a system instruction."""
    ops = PyOps(mode, insn.length)
    # values of one executor never reach another, which the protocol cannot say
    emit(cast(Ops, ops), insn)
    return ops.source(), ops.is_system


def _function_code(source: str) -> CodeType:
    """The one function of a source. Python compiles only one of all that differ in nothing but their numbers."""
    numbers: list[int] = []

    def stand_in(number: re.Match[str]) -> str:
        numbers.append(int(number[0], 0))
        return str(_STAND_INS + len(numbers) - 1)

    pattern = _NUMBER.sub(stand_in, source)
    code = _patterns.get(pattern)
    if code is None:
        code = _compiled_alone(pattern)
        kept = [constant for constant in code.co_consts if type(constant) is not str and constant is not None]
        if sorted(kept) != list(range(_STAND_INS, _STAND_INS + len(numbers))):
            # Python has done arithmetic with them
            return _compiled_alone(source)
        if len(_patterns) >= _COMPILED_LIMIT:
            _patterns.clear()
        _patterns[pattern] = code
    return code.replace(co_consts=tuple([
        numbers[constant - _STAND_INS] if type(constant) is int else constant for constant in code.co_consts]))


def _compiled_alone(source: str) -> CodeType:
    module = compile(source, "<instruction>", "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))


def compile_bytes(code: bytes, mode: Mode) -> Compiled:
    """Compile the instruction at the start of `code`; one that cannot be decoded becomes its exception.

    Raises
    ------
    Truncated
        More bytes are needed.
    """
    found = _compiled.get((code, mode))
    if found is not None:
        return found
    try:
        insn = decode(code, default32=mode.code32)
    except Invalid as error:
        return _raising(Vector.UD, None, error.length)
    except TooLong:
        return _raising(Vector.GP, 0, MAX_LENGTH)
    key = (code[:insn.length], mode)
    found = _compiled.get(key)
    if found is None:
        if len(_compiled) >= _COMPILED_LIMIT:
            _compiled.clear()
        source, is_system = source_of(insn, mode)
        repeats = insn.form.rep is not Rep.NONE and insn.rep is not None
        found = _compiled[key] = Compiled(
            _function_code(source), insn.length, is_system, repeats, repeats and not insn.form.io)
    # the same with what follows it: it is fetched again whenever translations are flushed
    _compiled[code, mode] = found
    return found


def _raising(vector: Vector, error: int | None, length: int) -> Compiled:
    ops = PyOps(Mode(), length)
    ops.fault(vector, error)
    return Compiled(_function_code(ops.source()), length, False, False, False)


@dataclass(slots=True)
class Context:
    """What was found by EIP under one mode, privilege, base and limit of CS.

    Members
    -------
    barred : EIPs that `fast` does not have, so that whoever runs from it stops there.
    fast : functions of ordinary instructions. known : all instructions. pages : linear pages looked into.
    """

    barred: frozenset[int] = frozenset()
    fast: dict[int, Step] = field(default_factory=dict)
    known: dict[int, Code] = field(default_factory=dict)
    pages: set[int] = field(default_factory=set)

    def forget(self) -> None:
        self.fast.clear()
        self.known.clear()
        self.pages.clear()

    def add(self, eip: int, code: Code) -> None:
        self.known[eip] = code
        if not code.is_system and eip not in self.barred:
            self.fast[eip] = code.run


class CodeCache:
    """Code of one machine.

    Members
    -------
    fast : functions of ordinary instructions by EIP, in the present context; emptied, replaced by `select`.
    adopts : take all that is known of a page when one instruction of it is wanted; it pays for who runs much code.
    on_cover : called with the physical address and size of bytes of RAM that code is now kept of.
    fleeting : says of bytes of RAM, by physical address and size, that no code is to be kept of them.
    """

    def __init__(self, access: Access, namespace: dict[str, Any]):
        self._access = access
        self._namespace = namespace
        self._mode = Mode()
        self._contexts: dict[tuple[Mode, bool, int, int], Context] = {}
        self._breakpoints: frozenset[int] = frozenset()
        self._context = Context()
        self._pages: dict[int, dict[Mode, dict[int, Code]]] = {}
        self._covered: dict[int, bytearray] = {}
        self.fast = self._context.fast
        self.adopts = True
        self.on_cover: Callable[[int, int], None] = lambda physical, count: None
        self.fleeting: Callable[[int, int], bool] = lambda physical, count: False
        access.memory.on_write = self.written
        access.mmu.on_flush = self.forget_linear

    def select(self, mode: Mode) -> None:
        """Switch to the code of the present segments and privilege."""
        state = self._access.state
        cs = state.segments[CS]
        self._mode = mode
        if len(self._contexts) >= _CONTEXT_LIMIT:
            self._contexts.clear()
        key = (mode, state.cpl == 3, cs.base, cs.limit)
        context = self._contexts.get(key)
        if context is None:
            barred = frozenset(address - cs.base & 0xFFFF_FFFF for address in self._breakpoints)
            context = self._contexts[key] = Context(barred)
        self._context = context
        self.fast = context.fast

    def break_at(self, addresses: frozenset[int]) -> None:
        """Keep the instructions at these linear addresses out of `fast`; `select` has to follow."""
        self._breakpoints = addresses
        self._contexts.clear()

    def forget_linear(self, page: int | None = None) -> None:
        """Drop what was found by linear address; nothing if no code was found in the one page given."""
        for context in self._contexts.values():
            if page is None or page in context.pages:
                context.forget()

    def written(self, address: int, size: int) -> None:
        """RAM is about to change."""
        for page in range(address >> 12, (address + size - 1 >> 12) + 1):
            covered = self._covered.get(page)
            if covered is not None:
                low, high = max(address - (page << 12), 0), min(address + size - (page << 12), 0x1000)
                if any(covered[low:high]):
                    self._remove(page, low, high)

    def _remove(self, page: int, low: int, high: int) -> None:
        """Drop the instructions that have a byte in a part of a page."""
        for code in self._pages[page].values():
            for offset in [place for place, found in code.items() if place < high and place + found.length > low]:
                del code[offset]
        covered = self._covered[page]
        covered[low:high] = bytes(high - low)
        if not any(covered):
            del self._pages[page], self._covered[page]
            self._access.memory.watched.discard(page)
        self.forget_linear()

    def known(self, eip: int) -> Code | None:
        """The instruction at EIP if it has been looked up in the present context."""
        return self._context.known.get(eip)

    def lookup(self, eip: int) -> Code:
        """The instruction at EIP.

        Raises
        ------
        Fault
            #GP or #PF of the fetch. An invalid instruction is found, and faults when run.
        """
        found = self._context.known.get(eip)
        if found is None:
            found, lasts = self._find(eip)
            if lasts:
                self._context.add(eip, found)
        return found

    def _find(self, eip: int) -> tuple[Code, bool]:
        """Also whether it may be kept: nobody tells of changes outside RAM."""
        access = self._access
        state = access.state
        cs = state.segments[CS]
        room = min(cs.limit - eip + 1, MAX_LENGTH)
        if room <= 0:
            raise Fault(Vector.GP, 0)
        linear = cs.base + eip & 0xFFFF_FFFF
        user = state.cpl == 3
        physical = access.mmu.translate(linear, False, user)
        page, offset = physical >> 12, physical & 0xFFF
        compiled_here = self._pages.get(page, {}).get(self._mode, {})
        if linear >> 12 not in self._context.pages:
            self._context.pages.add(linear >> 12)
            if self.adopts:
                self._adopt(compiled_here, eip - offset, cs.limit)
        known = compiled_here.get(offset)
        if known is not None and known.length <= room:
            return known, True
        lasts = access.memory.is_plain(page)
        first = min(room, 0x1000 - offset)
        code = self._bytes(physical, first)
        try:
            compiled = compile_bytes(code, self._mode)
        except Truncated:
            if first == room:
                raise Fault(Vector.GP, 0) from None
            second = access.mmu.translate(linear + first & 0xFFFF_FFFF, False, user)
            self._context.pages.add((linear >> 12) + 1 & 0xFFFFF)
            code += self._bytes(second, room - first)
            try:
                compiled = compile_bytes(code, self._mode)
            except Truncated:
                raise Fault(Vector.GP, 0) from None
            lasts = lasts and access.memory.is_plain(second >> 12)
            if not self.fleeting(second, compiled.length - first):
                self._cover(second, compiled.length - first)
            else:
                lasts = False
        found = Code(FunctionType(compiled.code, self._namespace), compiled.length, compiled.is_system,
                     compiled.repeats, compiled.bulk)
        if self.fleeting(physical, min(compiled.length, first)):
            return found, False
        self._cover(physical, min(compiled.length, first))
        if compiled.length <= first and page in self._pages:
            self._pages[page].setdefault(self._mode, {})[offset] = found
        return found, lasts

    def _adopt(self, code: dict[int, Code], first: int, limit: int) -> None:
        """Take all that is known of a page at once: after a change of CR3 most of it is wanted again."""
        if first < 0 or first + 0xFFF > limit:
            return
        for offset, found in code.items():
            self._context.add(first + offset, found)

    def _bytes(self, physical: int, count: int) -> bytes:
        memory = self._access.memory
        if memory.is_plain(physical >> 12):
            return memory.blob(physical, count)
        return bytes(memory.read(physical + i, 1) for i in range(count))

    def _cover(self, physical: int, count: int) -> None:
        page, offset = physical >> 12, physical & 0xFFF
        memory = self._access.memory
        if not memory.is_plain(page):
            return
        if page not in self._covered:
            self._covered[page] = bytearray(0x1000)
            self._pages[page] = {}
            memory.watched.add(page)
            self._access.mmu.forget_writes()
        self._covered[page][offset:offset + count] = b"\1" * count
        self.on_cover(physical, count)
