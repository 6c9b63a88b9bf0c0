"""The machine's routines as native code: which they are, and what stands for memory under them.

The routines themselves are those of the interpreter. Below them native code has its own accesses, on the context:

1. RAM is plain memory. What is not RAM, a write to bytes that code was translated from, and what a data breakpoint may
   match, bails before it happens.
2. The MMU is `TableMmu`. What is dropped from the tables starts a new generation of the jump cache and sets `flushed`,
   for whoever keeps something by linear address.
3. A change of segments or privilege sets the mode and the tag translated code is looked up by.
"""

from __future__ import annotations

from ctypes import Structure, c_uint32

from rtl.isa.cpuid import LEAVES
from rtl.isa.msrs import Msr
from rtl.isa.registers import Cr0, Seg
from vmm.engine.dbt.arena import Arena
from vmm.engine.dbt.layout import TABLE_PAGES, JumpEntry, Kind, Segment
from vmm.engine.dbt.mmu import ARMED, TableMmu
from vmm.engine.interrupt import Interrupts, Source
from vmm.engine.segmentation import Loaded
from vmm.engine.sysregs import SystemRegisters
from vmm.faults import Fault
from vmm.lowering.binding import Binding
from vmm.lowering.intrinsics import Bail, host_read, host_write, rarely
from vmm.lowering.program import BAIL, lower
from vmm.memory import Guard
from vmm.semantics.ops import Mode
from vmm.state import SHADOW_NONE, CpuView, SegmentCache

_READ, _WRITE = int(Kind.READ), int(Kind.WRITE)
_CS, _ESP, _EIP = int(Msr.SYSENTER_CS), int(Msr.SYSENTER_ESP), int(Msr.SYSENTER_EIP)
_CODE, _PG = int(Seg.CS), int(Cr0.PG)
_PAGES = TABLE_PAGES - 1
_POWERS, _ALL = (1, 2, 4, 8), int(Guard.ALL)
_LEAVES = tuple((number, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx) for number, leaf in LEAVES.items())
#: Mode of a processor whose code segment is not flat: nothing is translated for it.
NO_MODE = 0xFFFF_FFFF
_GENERATIONS = 1 << 16


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
    guards: list[int]
    code_map: list[int]

    def is_plain(self, page: int) -> bool:
        return page < self.ram_size >> 12 and not self.guards[page] & _ALL

    def check_write(self, address: int, size: int) -> None:
        """Bail unless the bytes can be written without further ado."""
        if address + size > self.ram_size or self.guards[address >> 12] | self.guards[address + size - 1 >> 12]:
            raise Bail
        both = self.code_map[address >> 3] | self.code_map[address + size - 1 >> 3] << 8
        if both >> (address & 7) & (1 << size) - 1:
            raise Bail

    def read(self, address: int, size: int) -> int:
        if address + size > self.ram_size:
            raise Bail
        if (self.guards[address >> 12] | self.guards[address + size - 1 >> 12]) & _ALL:
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


class NativeMmu(TableMmu):
    """The MMU when nobody but native code needs to hear of it."""

    memory: NativeMemory  # type: ignore[assignment]
    code_map: list[int]
    jumps: list[JumpEntry]
    generation: int
    tag: int
    mode: int
    flushed: int

    def has_code(self, frame: int) -> bool:
        place, found = frame << 9, 0
        for byte in range(place, place + 512):
            found |= self.code_map[byte]
        return bool(found)

    def dropped(self, page: int) -> None:
        self.flushed = 1
        self.generation = (self.generation + 1) % _GENERATIONS
        if not self.generation:
            for entry in self.jumps:
                entry.tag = 0
        self.set_tag()

    def set_tag(self) -> None:
        self.tag = (self.generation << 16 | self.mode + 1 & 0xFFFF) << 32


class NativeProcessor(Interrupts, SystemRegisters):
    """The interpreter's routines over native memory, as they are without SVM."""

    tables: list[list[int]]
    memory: NativeMemory  # type: ignore[assignment]
    mmu: NativeMmu
    mode_key: int

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

    def segments_changed(self) -> None:
        self.mode_key = mode_key(self.mode(), self.state.cpl == 3, bool(self.state.cr0 & _PG))
        self.mmu.set_tag()

    def write_control(self, number: int, value: int) -> None:
        super().write_control(number, value)
        self.segments_changed()

    def _parameters(self, count: int, width: int) -> list[int]:
        # given up while it writes the new stack, a call would read them from there where the stacks overlap
        if count:
            raise Bail
        return super()._parameters(count, width)

    def take_fault(self, vector: int, error: int | None, cr2: int | None) -> bool:
        """What a step does about a fault; False if it ends in shutdown. A bail leaves everything to be done."""
        delivered = self.raise_fault(Fault(vector, error, cr2), True)
        self._awake()
        return delivered is not None

    def take_interrupt(self, vector: int) -> bool:
        """What `deliver_interrupt` does, likewise."""
        delivered = self.raise_fault(Fault(vector), self.state.repeating, Source.EXTERNAL)
        self._awake()
        return delivered is not None

    def _awake(self) -> None:
        state = self.state
        state.halted = False
        state.shadow = SHADOW_NONE
        state.repeating = False

    def identify(self) -> None:
        gpr = self.state.gpr
        asked = gpr[0]
        gpr[0] = gpr[3] = gpr[1] = gpr[2] = 0
        for number, eax, ebx, ecx, edx in _LEAVES:
            if asked == number:
                gpr[0], gpr[3], gpr[1], gpr[2] = eax, ebx, ecx, edx

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
        if (self.mmu.marks[linear >> 12] | self.mmu.marks[linear + size - 1 >> 12 & _PAGES]) & ARMED \
                and self.is_armed(linear, size):
            raise Bail
        result = super().pieces(linear, size, write, user)
        if write:
            for physical, count in result:
                self.memory.check_write(physical, count)
        return result

    def is_armed(self, linear: int, size: int) -> bool:
        """Whether a data breakpoint may match: by doublewords, whatever its length."""
        dr7, found = self.state.dr[7], False
        for number in range(4):
            start = self.state.dr[number] & ~3
            if dr7 >> 2 * number & 3 and dr7 >> 16 + 4 * number & 1 and linear < start + 4 and start < linear + size:
                found = True
        return found


def mode_key(mode: Mode, user: bool, paging: bool) -> int:
    """The number by which translated code of a mode is known."""
    if not mode.flat >> _CODE & 1:
        return NO_MODE
    return mode.flat | mode.code32 << 6 | mode.stack32 << 7 | user << 8 | paging << 9


BINDING = Binding(
    cls=NativeProcessor,
    context=Arena,
    records={SegmentCache: Segment, Loaded: LoadedFields},
    objects={"state": CpuView, "mmu": NativeMmu, "memory": NativeMemory, "msrs": NativeMsrs},
    fields={"state.segments": "segment_array", "mode_key": "mode"},
    constants={"_record": False, "_watching": False},
    ignored=frozenset(("diverted", "_stale")),
    not_native=frozenset(("task_return", "task_switch", "clock", "counter", "io.read", "io.write", "debug_changed")),
)

ROUTINES = (
    "software_interrupt", "icebp", "raise_fault", "interrupt_return", "load_segment",
    "sysenter", "sysexit", "write_control", "read_control", "load_status_word", "invalidate_page",
    "clear_interrupt_flag", "set_interrupt_flag", "popf", "clear_task_switched",
    "far_jump", "far_call", "far_return", "load_ldt", "load_task", "verify", "access_rights", "segment_limit",
    "check_port", "gdtr_base", "gdtr_limit", "idtr_base", "idtr_limit", "load_gdtr", "load_idtr", "halt",
    "x87_escape", "x87_wait", "require_cpl0", "shadow_after_stack_load", "read_debug",
    "load", "load_for_write", "store", "linear", "probe",
    "mmu.translate", "mmu.flush_all", "mmu.invalidate", "mmu.forget_writes", "mmu.refill",
    "take_fault", "take_interrupt", "identify",
)

_PENDING = ("fault_vector", "fault_error", "fault_has_error", "fault_cr2", "fault_has_cr2")


def _deliver_pending() -> str:
    """`i32 deliver_pending(ptr context, ptr result)`: `take_fault` of the fault that the context holds.

    When it bails the context holds that fault still, and not one that its delivery met.
    """
    load, keep, names = [], [], []
    for name in _PENDING:
        kind = f"i{8 * getattr(Arena, name).size}"
        load += [f"%{name}.at = getelementptr i8, ptr %context, i64 {getattr(Arena, name).offset}",
                 f"%{name} = load {kind}, ptr %{name}.at", f"%{name}.wide = zext {kind} %{name} to i64"]
        keep.append(f"store {kind} %{name}, ptr %{name}.at")
        names.append(f"i64 %{name}.wide")
    return "\n".join((
        "define i32 @deliver_pending(ptr %context, ptr %result) nounwind {", *load,
        f"%status = call i32 @take_fault(ptr %context, {', '.join(names)}, ptr %result)",
        f"%gave_up = icmp eq i32 %status, {BAIL}", "br i1 %gave_up, label %restore, label %done",
        "restore:", *keep, "br label %done", "done:", "ret i32 %status", "}\n"))


def text(routines: tuple[str, ...] = ROUTINES, binding: Binding = BINDING) -> str:
    """IR of routines and of `deliver_pending`."""
    return lower(routines, binding) + _deliver_pending()
