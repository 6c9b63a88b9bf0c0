"""The context: one block of host memory with everything translated code works on.

Translated code knows one pointer, to the start of the context, and reaches all of it at the fixed distances given
here; its machine code therefore depends on no address and can be kept on disk. From low to high:

    state           the processor's architectural state and the words by which native code and Python talk
    jump cache      tag and entry point by EIP, for jumps whose target is computed
    block table     key and entry point by address, open addressing, where the jump cache is filled from
    data tables     by linear page: host address minus linear address, 0 when the access takes the slow path;
                    one table for each `Kind` of access, which for two of them has something else
    guards          one byte per page of the address space, `PhysicalMemory.guards`
    marks           one byte per linear page, what `mmu` knows of its translation
    code map        one bit per byte of RAM: translated code was made from it

A data table is indexed by the linear address rotated right by log2 of the access size and shifted right by 12 minus
that: an aligned address gives its page number, any other one a number beyond, where nothing is ever filled in.
"""

from __future__ import annotations

import ctypes
import mmap
from ctypes import c_bool, c_int64, c_uint8, c_uint32, c_uint64
from enum import IntEnum

from rtl.isa.registers import DR6_FIXED, DR7_FIXED
from vmm.state import CS, FLAT_CODE, FLAT_DATA, CpuView, SegmentView
from vmm.svmstate import SvmState

JUMP_ENTRIES = 4096
BLOCK_ENTRIES = 1 << 16
#: Indices of a data table: pages of aligned accesses first, misaligned accesses of up to 4 bytes behind.
TABLE_ENTRIES, TABLE_PAGES = 1 << 22, 1 << 20
ROUTINES = 96
#: Routines that are functions of Python.
PORTS = ("port_in", "port_out")
#: Bytes that native code may write to a port before Python fetches them.
SINK = 256
#: Bytes behind the code map that a look at its last ones may load.
BEYOND = 8
#: The code map of a page that has none.
_NO_CODE = bytes(512)


class Exit(IntEnum):
    """Why native code came back to Python."""

    BUDGET = 0  # the next block does not fit in the budget
    MISSING = 1  # nothing is translated at EIP
    INTERPRET = 2  # the instruction at EIP has to be interpreted
    FAULT = 3  # the instruction at EIP raised the pending fault
    ATTENTION = 4  # something outside the straight path: an interrupt window, a trap flag, HLT
    HOT = 5  # the counter of a block ran out
    REMAPPED = 6  # a region's pages lie elsewhere now


class Kind(IntEnum):
    """Data tables, in memory order. User accesses have the odd ones.

    Pages that can be written are in the WRITE tables only while no translated code of them is known. All are in the
    CHECKED ones, for writes that look at the code map first. An entry there is the place in that map for a page, less
    an eighth of the page's linear address.
    """

    READ = 0
    USER_READ = 1
    WRITE = 2
    USER_WRITE = 3
    CHECKED = 4
    USER_CHECKED = 5


class Segment(ctypes.Structure, SegmentView):
    """A segment register in the context."""

    _fields_ = [("selector", c_uint32), ("base", c_uint32), ("limit", c_uint32), ("attributes", c_uint32)]
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SegmentView) and self.copy() == other.copy()


class JumpEntry(ctypes.Structure):
    """`tag` is EIP in the low half and `Context.tag` in the high half; 0 is no entry."""

    _fields_ = [("tag", c_uint64), ("code", c_uint64)]


class BlockEntry(ctypes.Structure):
    """`key`: physical address in bits 0-31, mode key plus one in 32-43, linear minus physical page above; 0 is free."""

    _fields_ = [("key", c_uint64), ("code", c_uint64)]


class Fields(ctypes.Structure):
    """The state at the start of the context.

    Members
    -------
    budget : steps left; blocks take theirs off when they begin.
    extra : steps that were no completed instruction: iterations of REP but the last, and deliveries.
    reason : an `Exit`. deliveries : faults that native code delivered.
    beside : writes beside code that accessors do until one leaves its instruction to the interpreter instead.
    slot : address of the chain slot through which native code left, or 0.
    resumed : budget plus `extra` when RF was cleared in front of the next instruction, as long as that is a REP
        instruction under way; -1 if RF was not cleared.
    mode : key of the present `Mode` and privilege; tag : its half of the jump cache's tags.
    line : the interrupt line, as it is while native code runs.
    ram, ram_size : host address and size of RAM. code_map_at : host address of the code map.
    exit, lookup, dispatch : native entry points translated code leaves through.
    results : where routines leave what they give back.
    flushed : data tables were emptied: 1 until the jump cache, 2 until Python has done the same.
    sunk, sink : bytes native code has written to the one port that only collects them; `sunk` is more than there is
        room for while it may not.
    routines : entry points of memory accessors and of the machine's routines, see `runtime` and `native`.
    """

    _fields_ = [
        ("gpr", c_uint32 * 8),
        ("eip", c_uint32),
        ("fz", c_uint32), ("fs", c_uint32), ("fp", c_uint32), ("fc", c_uint32), ("fo", c_uint32), ("fa", c_uint32),
        ("system_flags", c_uint32),
        ("cpl", c_uint32), ("shadow", c_uint32), ("pending_debug", c_uint32),
        ("repeating", c_bool), ("halted", c_bool), ("shutdown", c_bool), ("line", c_bool),
        ("nmi_pending", c_bool), ("nmi_blocked", c_bool), ("init_pending", c_bool),
        ("cr0", c_uint32), ("cr2", c_uint32), ("cr3", c_uint32), ("cr4", c_uint32),
        ("gdtr_base", c_uint32), ("gdtr_limit", c_uint32), ("idtr_base", c_uint32), ("idtr_limit", c_uint32),
        ("segment_array", Segment * 8),
        ("dr", c_uint32 * 8),
        ("sysenter_cs", c_uint32), ("sysenter_esp", c_uint32), ("sysenter_eip", c_uint32),
        ("mode", c_uint32),
        ("instructions", c_uint64), ("tsc_offset", c_uint64),
        ("budget", c_int64), ("extra", c_int64), ("deliveries", c_uint64), ("beside", c_uint64),
        ("reason", c_uint32), ("generation", c_uint32),
        ("tag", c_uint64), ("slot", c_uint64), ("resumed", c_int64),
        ("ram", c_uint64), ("ram_size", c_uint64), ("code_map_at", c_uint64),
        ("exit", c_uint64), ("lookup", c_uint64), ("dispatch", c_uint64),
        ("results", c_uint64 * 8),
        ("fault_vector", c_uint32), ("fault_error", c_uint32), ("fault_cr2", c_uint32),
        ("fault_has_error", c_uint8), ("fault_has_cr2", c_uint8), ("diverted", c_uint8), ("flushed", c_uint8),
        ("sunk", c_uint32), ("sink", c_uint8 * SINK),
        ("routines", c_uint64 * ROUTINES),
    ]


STATE_BYTES = 81920
assert ctypes.sizeof(Fields) <= STATE_BYTES
JUMPS_AT = STATE_BYTES
BLOCKS_AT = JUMPS_AT + JUMP_ENTRIES * ctypes.sizeof(JumpEntry)
TABLES_AT = BLOCKS_AT + BLOCK_ENTRIES * ctypes.sizeof(BlockEntry)
TABLE_BYTES = TABLE_ENTRIES * 8
GUARDS_AT = TABLES_AT + len(Kind) * TABLE_BYTES
MARKS_AT = GUARDS_AT + TABLE_PAGES
CODE_MAP_AT = MARKS_AT + TABLE_PAGES


def offset(name: str) -> int:
    """Distance of a field from the start of the context."""
    return int(getattr(Fields, name).offset)


def segment_offset(number: int, name: str) -> int:
    return offset("segment_array") + number * ctypes.sizeof(Segment) + int(getattr(Segment, name).offset)


class NativeMsrs(dict[int, int]):
    """MSRs of a processor; those that native routines read are in the context as well."""

    def __init__(self, fields: Fields, mirrored: dict[int, str]):
        super().__init__()
        self._fields, self._mirrored = fields, mirrored

    def __setitem__(self, number: int, value: int) -> None:
        super().__setitem__(number, value)
        name = self._mirrored.get(number)
        if name is not None:
            setattr(self._fields, name, value)

    def update(self, *args: dict[int, int]) -> None:  # type: ignore[override]
        for image in args:
            for number, value in image.items():
                self[number] = value

    def __ior__(self, image: dict[int, int]) -> NativeMsrs:  # type: ignore[override, misc]
        self.update(image)
        return self

    def clear(self) -> None:
        super().clear()
        for name in self._mirrored.values():
            setattr(self._fields, name, 0)


class NativeState(Fields, CpuView):
    """Architectural state in a context; attribute for attribute a `CpuState`."""

    def __init__(self, mirrored: dict[int, str]):
        super().__init__()
        self.attach(mirrored)

    def attach(self, mirrored: dict[int, str]) -> None:
        """Give the memory the views Python works with, and the values of flat 32-bit protected mode."""
        self.segments = tuple(self.segment_array[n] for n in range(8))
        self.msrs = NativeMsrs(self, mirrored)
        self.svm = SvmState()
        for number, segment in enumerate(self.segments[:6]):
            segment.copy_from(FLAT_CODE if number == CS else FLAT_DATA)
        self.segments[6].limit = self.segments[7].limit = 0xFFFF
        self.segments[6].attributes, self.segments[7].attributes = 0x82, 0x8B
        self.fz = self.fp = 1
        self.cr0 = 0x11
        self.dr[6], self.dr[7] = DR6_FIXED, DR7_FIXED


class Context:
    """One context, in anonymous memory that the host gives as it is touched.

    Parameters
    ----------
    ram : host address of RAM. ram_size : its bytes. mirrored : MSR numbers and the fields that mirror them.

    Members
    -------
    address : of the context. state, jumps, blocks, tables, guards, marks, code_map : its parts.
    """

    def __init__(self, ram: int, ram_size: int, mirrored: dict[int, str]):
        size = CODE_MAP_AT + (ram_size + 7 >> 3)
        self._memory = mmap.mmap(-1, size + BEYOND, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.state = NativeState.from_buffer(self._memory)
        self.state.attach(mirrored)
        self.address = ctypes.addressof(self.state)
        self.jumps = (JumpEntry * JUMP_ENTRIES).from_buffer(self._memory, JUMPS_AT)
        self.blocks = (BlockEntry * BLOCK_ENTRIES).from_buffer(self._memory, BLOCKS_AT)
        self.tables = [
            (c_int64 * TABLE_PAGES).from_buffer(self._memory, TABLES_AT + kind * TABLE_BYTES) for kind in Kind]
        self.guards = memoryview(self._memory)[GUARDS_AT:GUARDS_AT + (ram_size >> 12)]
        self.marks = memoryview(self._memory)[MARKS_AT:CODE_MAP_AT]
        self.code_map = memoryview(self._memory)[CODE_MAP_AT:size]
        self.state.ram, self.state.ram_size = ram, ram_size
        self.state.code_map_at = self.address + CODE_MAP_AT

    def has_code(self, frame: int) -> bool:
        """Whether code was translated from any byte of a page of RAM."""
        return bytes(self.code_map[frame << 9:frame + 1 << 9]) != _NO_CODE
