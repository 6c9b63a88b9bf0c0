"""Memory as one processor sees it: segments, then paging, then physical memory.

Rules:

1. A segment check comes before any translation. A faulting SS access is #SS(0), any other #GP(0).
2. Alignment (#AC, CPL 3 with CR0.AM and EFLAGS.AC) is checked after the segment and before translation.
3. An access that crosses a page translates both pages, the lower first, before anything is read or written.
4. `read_system` and `write_system` are the processor's own accesses to descriptor tables and task-state segments:
   supervisor, no segment, no alignment check. Data breakpoints see them like any other.
5. With `record` on, every memory write is appended to `writes` as (physical address, size, value); a write that
   crosses a page gives two entries. Accessed and dirty bits of page tables are not recorded.
"""

from __future__ import annotations

from typing import Protocol

from rtl.isa.exceptions import Vector
from rtl.isa.registers import Cr0, Eflags, Seg
from rtl.isa.segments import ATTR_DB, ATTR_P, ATTR_S, TYPE_CODE, TYPE_EXPAND_DOWN, TYPE_READABLE, TYPE_WRITABLE
from vmm.faults import Fault
from vmm.memory import PhysicalMemory
from vmm.paging.mmu import DEFAULT_CAPACITY, SoftMmu
from vmm.semantics.ops import Mode
from vmm.state import CpuState, CpuView, SegmentView

SS, CS = int(Seg.SS), int(Seg.CS)
_AM, _AC = int(Cr0.AM), int(Eflags.AC)
_GP, _SS, _ACV = int(Vector.GP), int(Vector.SS), int(Vector.AC)
M32 = 0xFFFF_FFFF
Write = tuple[int, int, int]


class IoPorts(Protocol):
    """The I/O space: little-endian accesses of 1, 2 or 4 bytes."""

    def read(self, port: int, size: int) -> int: ...

    def write(self, port: int, size: int, value: int) -> None: ...


class NoPorts:
    """A machine without devices: reads are all ones."""

    def read(self, port: int, size: int) -> int:
        return (1 << 8 * size) - 1

    def write(self, port: int, size: int, value: int) -> None:
        pass


def span_allowed(cache: SegmentView, offset: int, size: int, write: bool) -> bool:
    """Whether a segment allows an access by its presence, type and limit."""
    attributes = cache.attributes
    last = offset + size - 1
    if not (attributes & ATTR_P and attributes & ATTR_S):
        return False
    if attributes & TYPE_CODE:
        if write or not attributes & TYPE_READABLE:
            return False
    elif write and not attributes & TYPE_WRITABLE:
        return False
    if attributes & (TYPE_CODE | TYPE_EXPAND_DOWN) == TYPE_EXPAND_DOWN:
        return offset > cache.limit and last <= (M32 if attributes & ATTR_DB else 0xFFFF)
    return last <= cache.limit


class Access:
    """Memory accesses of the processor whose state is `state`."""

    def __init__(self, memory: PhysicalMemory, io: IoPorts | None = None, tlb_capacity: int = DEFAULT_CAPACITY,
                 state: CpuView | None = None, mmu: SoftMmu | None = None):
        self.state: CpuView = CpuState() if state is None else state
        self.memory = memory
        self.io: IoPorts = NoPorts() if io is None else io
        self.mmu = SoftMmu(self.state, memory, tlb_capacity) if mmu is None else mmu
        self.writes: list[Write] = []
        self._record = False
        self._watching = False

    @property
    def record(self) -> bool:
        return self._record

    @record.setter
    def record(self, on: bool) -> None:
        self._record = on
        self.choose_paths()

    def choose_paths(self) -> None:
        """Let executors use the fast tables only while nobody needs to see each access."""
        self.mmu.set_fast(not self._watching, not self._watching and not self._record)

    def mode(self) -> Mode:
        """What code may assume under the present segments."""
        segments = self.state.segments
        return Mode(bool(segments[CS].attributes & ATTR_DB), bool(segments[SS].attributes & ATTR_DB),
                    self.flat_segments())

    def flat_segments(self) -> int:
        """See `Mode.flat`."""
        segments = self.state.segments
        flat = 0
        for number in range(6):
            segment = segments[number]
            if segment.base == 0 and segment.limit == M32:
                kind = segment.attributes & (ATTR_P | ATTR_S | TYPE_CODE | TYPE_EXPAND_DOWN | TYPE_WRITABLE)
                wanted = ATTR_P | ATTR_S | TYPE_WRITABLE
                if number == CS:
                    kind, wanted = kind & ~TYPE_EXPAND_DOWN, wanted | TYPE_CODE
                if kind == wanted:
                    flat |= 1 << number
        return flat

    def linear(self, segment: int, offset: int, size: int, write: bool) -> int:
        """Check an access through a segment register and give its linear address."""
        cache = self.state.segments[segment]
        if not span_allowed(cache, offset, size, write):
            raise Fault(_SS if segment == SS else _GP, 0)
        return cache.base + offset & M32

    def _check(self, linear: int, size: int, segment: int) -> None:
        """What compiled code leaves out for flat segments: the wrap at 4 GiB, and alignment."""
        if linear + size > 1 << 32 and self.state.segments[segment].base == 0:
            raise Fault(_SS if segment == SS else _GP, 0)
        self.check_alignment(linear, size)

    def check_alignment(self, linear: int, size: int) -> None:
        """#AC for a misaligned access of CPL 3."""
        state = self.state
        if linear & (size - 1) and state.cpl == 3 and state.system_flags & _AC and state.cr0 & _AM:
            raise Fault(_ACV, 0)

    def load(self, linear: int, size: int, segment: int) -> int:
        self._check(linear, size, segment)
        return self.read(linear, size, self.state.cpl == 3)

    def load_for_write(self, linear: int, size: int, segment: int) -> int:
        self._check(linear, size, segment)
        value = self._gather(self.pieces(linear, size, True, self.state.cpl == 3))
        if self._watching:
            self.watch(linear, size, False)
        return value

    def store(self, linear: int, size: int, value: int, segment: int) -> None:
        self._check(linear, size, segment)
        self.write(linear, size, value, self.state.cpl == 3)

    def probe(self, segment: int, offset: int, size: int, write: bool) -> None:
        """Check segment, alignment and paging of a span without accessing it."""
        linear = self.linear(segment, offset, size, write)
        self._check(linear, size, segment)
        self.touch(linear, size, write, self.state.cpl == 3)

    def touch(self, linear: int, size: int, write: bool, user: bool) -> None:
        """Translate a span without accessing it."""
        self.pieces(linear, size, write, user)

    def pieces(self, linear: int, size: int, write: bool, user: bool) -> list[tuple[int, int]]:
        """Translate a span: (physical address, bytes) per page touched, lower page first."""
        first = min(size, 0x1000 - (linear & 0xFFF))
        result = [(self.mmu.translate(linear, write, user), first)]
        if first < size:
            result.append((self.mmu.translate(linear + first & M32, write, user), size - first))
        return result

    def _gather(self, pieces: list[tuple[int, int]]) -> int:
        value = shift = 0
        for physical, size in pieces:
            value |= self.memory.read(physical, size) << shift
            shift += 8 * size
        return value

    def read(self, linear: int, size: int, user: bool) -> int:
        delta = self.mmu.reads[user].get(linear >> 12)
        if delta is not None and (linear & 0xFFF) + size <= 0x1000:
            return int.from_bytes(self.memory.bytes[linear + delta:linear + delta + size], "little")
        return self.read_slow(linear, size, user)

    def read_slow(self, linear: int, size: int, user: bool) -> int:
        value = self._gather(self.pieces(linear, size, False, user))
        if self._watching:
            self.watch(linear, size, False)
        return value

    def write(self, linear: int, size: int, value: int, user: bool) -> None:
        shift = 0
        pieces = self.pieces(linear, size, True, user)
        if len(pieces) > 1:
            for physical, count in pieces:
                self.memory.check_write(physical, count)
        for physical, count in pieces:
            part = value >> shift & (1 << 8 * count) - 1
            self.memory.write(physical, count, part)
            if self._record:
                self.writes.append((physical, count, part))
            shift += 8 * count
        if self._watching:
            self.watch(linear, size, True)

    def read_system(self, linear: int, size: int) -> int:
        return self.read(linear & M32, size, False)

    def write_system(self, linear: int, size: int, value: int) -> None:
        self.write(linear & M32, size, value, False)

    def probe_system(self, linear: int, size: int, write: bool) -> None:
        self.touch(linear & M32, size, write, False)

    def watch(self, linear: int, size: int, write: bool) -> None:
        """Note a data access while breakpoints are armed. The debug unit overrides this; without one nobody looks."""
