"""The machine's routines as native code: which they are, and what stands for memory and the TLB under them.

The routines themselves are those of the interpreter. Below them native code has its own accesses, on the context:

1. RAM is plain memory. What is not RAM, and a write to bytes that code was translated from, bails before it happens.
2. The data tables are the TLB. A translation that they have is used; anything else walks, and the walk fills in what it
   allows: writes only where the page is dirty and no code was translated from it.
3. Every page filled in is in the log, so that a flush is short. A full log is a flush of everything.
4. `flushed` is set by every flush, for whoever keeps something by linear address.
"""

from __future__ import annotations

from ctypes import Structure, c_bool, c_uint8, c_uint32, c_uint64, sizeof

from rtl.isa.exceptions import Vector
from rtl.isa.msrs import Msr
from rtl.isa.registers import Cr0, Cr4
from vmm.engine.dbt.layout import BLOCKS_AT, CODE_MAP_AT, STATE_BYTES, TABLE_ENTRIES, TABLES_AT, Fields, Kind, Segment
from vmm.engine.interpreter import Interpreter
from vmm.engine.segmentation import Loaded
from vmm.faults import Fault
from vmm.lowering.intrinsics import Bail, host_read, host_write, rarely
from vmm.lowering.program import Binding
from vmm.paging.walk import GuestFault, walk
from vmm.state import CpuView, SegmentCache

_PG, _WP, _PSE, _PGE = int(Cr0.PG), int(Cr0.WP), int(Cr4.PSE), int(Cr4.PGE)
_READ, _WRITE, _WATCHED = int(Kind.READ), int(Kind.WRITE), int(Kind.WATCHED)
_KINDS = len(Kind)
_CS, _ESP, _EIP = int(Msr.SYSENTER_CS), int(Msr.SYSENTER_ESP), int(Msr.SYSENTER_EIP)
LOG_ENTRIES = 1024
_GLOBAL, _PAGE = 1 << 20, (1 << 20) - 1
_LARGE_PAGES = 1024
_POWERS = (1, 2, 4, 8)


class _Log(Fields):
    """The state, and behind it the log of the data tables."""

    _fields_ = [("log_count", c_uint32), ("log", c_uint32 * LOG_ENTRIES), ("large", c_bool * _LARGE_PAGES)]


assert sizeof(_Log) <= STATE_BYTES and CODE_MAP_AT == TABLES_AT + len(Kind) * TABLE_ENTRIES * 8


class Arena(_Log):
    """The context as routines see it. No instance is ever made of this type: it only says where everything is.

    Members
    -------
    log_count, log : pages in the data tables since the last flush, with bit 20 set for global ones.
    large : by 4 MiB of linear addresses, that a page of this size is in the tables.
    """

    _fields_ = [
        ("filling", c_uint8 * (TABLES_AT - sizeof(_Log))),
        ("tables", (c_uint64 * TABLE_ENTRIES) * len(Kind)),
        ("code_map", c_uint8 * (1 << 29)),
    ]


assert BLOCKS_AT > STATE_BYTES and Arena.tables.offset == TABLES_AT and Arena.code_map.offset == CODE_MAP_AT


class LoadedFields(Structure):
    """A `Loaded` in native code."""

    _fields_ = [("selector", c_uint32), ("address", c_uint32), ("low", c_uint32), ("high", c_uint32)]


class NativeMsrs:
    """The MSRs that routines read."""

    sysenter_cs: int
    sysenter_esp: int
    sysenter_eip: int

    def get(self, number: int, default: int) -> int:
        if number == _CS:
            return self.sysenter_cs
        if number == _ESP:
            return self.sysenter_esp
        if number == _EIP:
            return self.sysenter_eip
        raise Bail


class NativeMemory:
    """Physical memory: RAM, and nothing else."""

    ram: int
    ram_size: int
    code_map: list[int]

    def is_plain(self, page: int) -> bool:
        return page < self.ram_size >> 12

    def has_code(self, page: int) -> bool:
        """Whether code was translated from any byte of a page."""
        place, found = page << 9, 0
        for byte in range(place, place + 512):
            found |= self.code_map[byte]
        return bool(found)

    def check_write(self, address: int, size: int) -> None:
        """Bail unless the bytes can be written without further ado."""
        if address + size > self.ram_size:
            raise Bail
        both = self.code_map[address >> 3] | self.code_map[address + size - 1 >> 3] << 8
        if both >> (address & 7) & (1 << size) - 1:
            raise Bail

    def read(self, address: int, size: int) -> int:
        if address + size > self.ram_size:
            raise Bail
        if size in _POWERS:
            return host_read(self.ram + address, size)
        value = 0
        for byte in range(size):
            value |= host_read(self.ram + address + byte, 1) << 8 * byte
        return value

    def write(self, address: int, size: int, value: int) -> None:
        self.check_write(address, size)
        if size in _POWERS:
            host_write(self.ram + address, size, value)
            return
        for byte in range(size):
            host_write(self.ram + address + byte, 1, value >> 8 * byte)

    def read32(self, address: int) -> int:
        return self.read(address, 4)

    def write32(self, address: int, value: int) -> None:
        self.write(address, 4, value)


class NativeMmu:
    """Translation with the data tables as TLB."""

    state: CpuView
    memory: NativeMemory
    tables: list[list[int]]
    log: list[int]
    large: list[bool]
    log_count: int
    flushed: int
    ram: int

    def translate(self, linear: int, write: bool, user: bool) -> int:
        distance = self.tables[(_WRITE if write else _READ) + user][linear >> 12]
        if distance:
            return linear + distance - self.ram
        return self.translate_slow(linear, write, user)

    @rarely
    def translate_slow(self, linear: int, write: bool, user: bool) -> int:
        page, state = linear >> 12, self.state
        if not state.cr0 & _PG:
            self.fill(page, page, True, True, True)
            return linear
        outcome = walk(self.memory, state.cr3, linear, write=write, user=user,
                       wp=bool(state.cr0 & _WP), pse=bool(state.cr4 & _PSE))
        if isinstance(outcome, GuestFault):
            raise Fault(Vector.PF, outcome.code, linear)
        if outcome.large:
            self.large[linear >> 22] = True
        system_write = outcome.dirty and (outcome.writable or not state.cr0 & _WP)
        self.fill(page | (_GLOBAL if outcome.global_page else 0), outcome.frame, outcome.user,
                  system_write, outcome.dirty and outcome.writable)
        return outcome.frame << 12 | linear & 0xFFF

    def fill(self, entry: int, frame: int, user: bool, system_write: bool, user_write: bool) -> None:
        """Put a page in the tables, with what its translation allows in place of what they had."""
        page = entry & _PAGE
        if not self.memory.is_plain(frame):
            return
        if not self.tables[_READ][page]:
            if self.log_count == LOG_ENTRIES:
                self.flush_all()
            self.log[self.log_count] = entry
            self.log_count += 1
        distance = self.ram + (frame - page << 12)
        self.drop(page)
        self.tables[_READ][page] = distance
        if user:
            self.tables[_READ + 1][page] = distance
        kind = _WATCHED if self.memory.has_code(frame) else _WRITE
        if system_write:
            self.tables[kind][page] = distance
        if user and user_write:
            self.tables[kind + 1][page] = distance

    def drop(self, page: int) -> None:
        for table in self.tables:
            table[page] = 0

    def flush_all(self) -> None:
        for place in range(self.log_count):
            self.drop(self.log[place] & _PAGE)
        self.log_count = 0
        for region in range(_LARGE_PAGES):
            self.large[region] = False
        self.flushed = 1

    def flush_non_global(self) -> None:
        """The effect of a CR3 write."""
        if not self.state.cr4 & _PGE:
            self.flush_all()
            return
        kept = 0
        for place in range(self.log_count):
            entry = self.log[place]
            if entry & _GLOBAL:
                self.log[kept] = entry
                kept += 1
            else:
                self.drop(entry & _PAGE)
        self.log_count = kept
        self.flushed = 1

    def invalidate(self, linear: int) -> None:
        """The effect of INVLPG."""
        if self.large[linear >> 22]:
            first = linear >> 12 & ~(_LARGE_PAGES - 1)
            for page in range(first, first + _LARGE_PAGES):
                self.drop(page)
        else:
            self.drop(linear >> 12)
        self.flushed = 1


class NativeProcessor(Interpreter):
    """The interpreter's routines over native memory."""

    tables: list[list[int]]
    memory: NativeMemory  # type: ignore[assignment]

    def read(self, linear: int, size: int, user: bool) -> int:
        distance = self.tables[_READ + user][linear >> 12]
        if distance and linear & 0xFFF <= 0x1000 - size:
            return host_read(linear + distance, size)
        return self.read_slow(linear, size, user)

    def write(self, linear: int, size: int, value: int, user: bool) -> None:
        distance = self.tables[_WRITE + user][linear >> 12]
        if distance and linear & 0xFFF <= 0x1000 - size:
            host_write(linear + distance, size, value)
        else:
            self.write_slow(linear, size, value, user)

    def touch(self, linear: int, size: int, write: bool, user: bool) -> None:
        distance = self.tables[(_WRITE if write else _READ) + user][linear >> 12]
        if not distance or linear & 0xFFF > 0x1000 - size:
            self.touch_slow(linear, size, write, user)

    @rarely
    def read_slow(self, linear: int, size: int, user: bool) -> int:
        return super().read_slow(linear, size, user)

    @rarely
    def write_slow(self, linear: int, size: int, value: int, user: bool) -> None:
        super().write(linear, size, value, user)

    @rarely
    def touch_slow(self, linear: int, size: int, write: bool, user: bool) -> None:
        super().touch(linear, size, write, user)

    def pieces(self, linear: int, size: int, write: bool, user: bool) -> list[tuple[int, int]]:
        result = super().pieces(linear, size, write, user)
        if write:
            for physical, count in result:
                self.memory.check_write(physical, count)
        return result


BINDING = Binding(
    cls=NativeProcessor,
    context=Arena,
    records={SegmentCache: Segment, Loaded: LoadedFields},
    objects={"state": CpuView, "mmu": NativeMmu, "memory": NativeMemory, "msrs": NativeMsrs},
    fields={"state.segments": "segment_array"},
    constants={"_record": False, "_watching": False},
    ignored=frozenset(("diverted", "_stale")),
    not_native=frozenset(("task_switch", "clock", "counter", "io.read", "io.write", "debug_changed")),
)

ROUTINES = (
    "software_interrupt", "icebp", "raise_fault", "interrupt_return", "load_segment",
    "sysenter", "sysexit", "write_control", "read_control", "load_status_word", "invalidate_page",
    "clear_interrupt_flag", "set_interrupt_flag", "popf", "clear_task_switched",
    "far_jump", "far_call", "far_return", "load_ldt", "load_task", "verify", "access_rights", "segment_limit",
    "check_port", "gdtr_base", "gdtr_limit", "idtr_base", "idtr_limit", "load_gdtr", "load_idtr", "halt",
    "x87_escape", "x87_wait", "require_cpl0", "shadow_after_stack_load", "read_debug",
    "load", "load_for_write", "store", "linear", "probe", "mmu.translate",
)
