"""More scenes: what is given up half way and done again, RF, and translations the guest does not invalidate."""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.exceptions import Vector
from rtl.isa.paging import PTE_G, PTE_PS
from rtl.isa.registers import Cr4, Eflags
from rtl.isa.segments import SystemType
from sim.randprog import asm
from tests.vmm.engine.dbt.scenes import DATA, DIRECTORY, RWX, TABLE, Scene, entry, loop, on, paging
from tests.vmm.engine.machine import CODE, FREE, KERNEL_CODE, STACK, gate, machine, set_descriptor, to_user
from vmm.engine.interpreter import Interpreter

CORNERS: dict[str, Scene] = {}
_TOP = 0xC100
_RET = b"\xC3"


def scene(prepare: Scene) -> Scene:
    CORNERS[prepare.__name__] = prepare
    return prepare


def code_in_the_stack(place: int) -> Callable[[int], bytes]:
    """Put RET there, and call it."""
    return lambda here: (put := asm.mov_byte_at(place, _RET[0])) + asm.call(here + len(put), place)


@scene
def enter_over_code(make: Callable[..., Interpreter]) -> Interpreter:
    """The third store of ENTER meets code, when the word the second one was copied from is another already."""
    words = asm.mov_at(_TOP - 12, 0x1111) + asm.mov_at(_TOP - 8, 0x2222) + asm.mov_at(_TOP - 20, 0x3333)
    enter = asm.mov(asm.EBP, _TOP - 8) + asm.mov(asm.ESP, _TOP) + b"\xC8\0\0\x04"
    sums = b"\x33\x15" + asm.imm32(_TOP - 8) + b"\x03\x1D" + asm.imm32(_TOP - 12)

    def body(here: int) -> bytes:
        return code_in_the_stack(_TOP - 16)(here) + words + enter + sums + asm.mov(asm.ESP, STACK - 4)

    return machine(loop(body), make)


@scene
def call_gate_over_code(make: Callable[..., Interpreter]) -> Interpreter:
    """The stacks overlap, and the return address meets code when the parameters have been overwritten."""
    words = asm.mov_at(_TOP - 8, 0x1111) + asm.mov_at(_TOP - 4, 0x2222)
    call = b"\x89\xE5" + asm.mov(asm.ESP, _TOP - 8) + asm.far_call(FREE, 0) + b"\x89\xEC"
    cpu = machine(loop(lambda here: code_in_the_stack(_TOP - 20)(here) + words + call), make)
    set_descriptor(cpu, FREE, gate(0x7100, KERNEL_CODE, SystemType.CALL_GATE32, 3, count=2))
    # add ebx, [esp+8]; xor edx, [esp+12]; retf 8
    cpu.memory.load_blob(0x7100, bytes.fromhex("035c2408 3354240c ca0800"))
    cpu.memory.write32(0x3000 + 4, _TOP)
    on(cpu, Vector.GP, b"\xF4")
    to_user(cpu)
    return cpu


def _back_with_rf(behind: bytes, count: int, make: Callable[..., Interpreter]) -> Interpreter:
    """IRET with RF to what follows it."""
    def body(here: int) -> bytes:
        before = b"\xFC" + asm.mov(asm.EDI, DATA) + b"\x51" + asm.mov(asm.ECX, 40) + asm.push(2 | int(Eflags.RF))
        before += asm.push(KERNEL_CODE)
        return before + asm.push(here + len(before) + len(asm.push(0)) + 1) + b"\xCF" + behind + b"\x59"

    return machine(loop(body, count), make)


@scene
def rf_before_rep(make: Callable[..., Interpreter]) -> Interpreter:
    """RF stays until the last iteration, and is gone behind it."""
    return _back_with_rf(b"\xF3\xAB", 30, make)


@scene
def rf_before_rep_by_elements(make: Callable[..., Interpreter]) -> Interpreter:
    """As above, with addresses of 16 bits and a count that RF outlives, and another REP behind it."""
    return _back_with_rf(b"\x67\xF3\xA4\xB1\x09\xF3\xAA", 30, make)


@scene
def rf_before_a_fault(make: Callable[..., Interpreter]) -> Interpreter:
    """Back with RF to an instruction that faults at once: its handler begins with a REP instruction of its own."""
    cpu = _back_with_rf(b"\x0F\x0B", 30, make)
    on(cpu, Vector.UD, b"\xF3\xAB\x83\x04\x24\x02\x43\xCF")
    return cpu


@scene
def an_instruction_that_always_faults(make: Callable[..., Interpreter]) -> Interpreter:
    """RSM in the middle of a block that POPF ends; its handler goes on behind it."""
    cpu = machine(loop(b"\x43\x0F\xAA\x42\x9C\x9D"), make)
    on(cpu, Vector.UD, b"\x83\x04\x24\x02\x46\xCF")
    return cpu


_READ, _WRITE = b"\x03\x1D" + asm.imm32(0x2_0000), b"\x89\x15" + asm.imm32(0x2_0010)
_CR3 = b"\x0F\x20\xD8\x0F\x22\xD8"
_HOME = 0xC000 | RWX


def _stale(body: bytes, make: Callable[..., Interpreter], first: int = 0, cr4: int = int(Cr4.PGE)) -> Interpreter:
    """`body` in a loop that ends as it begins; its pages hold different numbers."""
    cpu = machine(loop(body), make)
    paging(cpu, {0x20: _HOME | first}, cr4)
    for page in range(0xC, 0x10):
        cpu.memory.write32(page << 12, 0x0101_0101 << page - 0xC)
    return cpu


@scene
def global_mark_lost_by_a_write(make: Callable[..., Interpreter]) -> Interpreter:
    """The first write walks again, and finds the page to be global no more: CR3 drops it."""
    flip = asm.xor_at(entry(0x20), PTE_G) + _WRITE + asm.xor_at(entry(0x20), 0x1000) + _CR3 + _READ
    again = asm.mov_at(entry(0x20), _HOME | PTE_G) + asm.invlpg(0x2_0000)
    return _stale(_READ + flip + again, make, PTE_G)


@scene
def global_mark_gained_by_a_write(make: Callable[..., Interpreter]) -> Interpreter:
    begin = asm.mov_at(entry(0x20), _HOME) + asm.invlpg(0x2_0000) + _READ
    flip = asm.xor_at(entry(0x20), PTE_G) + _WRITE + asm.xor_at(entry(0x20), 0x1000) + _CR3 + _READ
    return _stale(begin + flip, make)


@scene
def global_mark_of_an_earlier_life(make: Callable[..., Interpreter]) -> Interpreter:
    """A page that was not global, was invalidated, and is global now: CR3 keeps it."""
    begin = asm.mov_at(entry(0x20), _HOME) + asm.invlpg(0x2_0000) + _READ + asm.invlpg(0x2_0000)
    again = asm.mov_at(entry(0x20), _HOME | PTE_G) + _READ + asm.xor_at(entry(0x20), 0x1000) + _CR3 + _READ
    return _stale(begin + again, make)


@scene
def small_pages_where_a_large_one_was(make: Callable[..., Interpreter]) -> Interpreter:
    """INVLPG of a page of 4 KiB leaves the others, though a large page once held them all."""
    place = DIRECTORY + 4 * 4
    reads = b"\x03\x1D" + asm.imm32(0x100_C000) + b"\x33\x15" + asm.imm32(0x100_D000)
    small = asm.mov_at(place, TABLE | RWX) + asm.invlpg(0x100_C000) + reads
    swap = asm.xor_at(entry(0xC), 0x1000) + asm.xor_at(entry(0xD), 0x3000) + asm.invlpg(0x100_C000) + reads
    back = asm.mov_at(entry(0xC), 0xC000 | RWX) + asm.mov_at(entry(0xD), 0xD000 | RWX) + asm.mov_at(place, RWX | PTE_PS)
    cpu = _stale(reads + small + swap + back + asm.invlpg(0x100_C000) + asm.invlpg(0x100_D000), make, 0, int(Cr4.PSE))
    cpu.memory.write32(place, RWX | PTE_PS)
    return cpu


@scene
def jump_through_a_register_that_is_known(make: Callable[..., Interpreter]) -> Interpreter:
    """MOV EAX, immediate; JMP EAX to what a conditional jump leads to as well, in a region.

    The way by the register was a branch to a block made for the other one, with its registers, or LLVM refused both.
    """
    def body(here: int) -> bytes:
        # the way back is behind the jumps: test cl, 1; jz 7100h; mov eax, 7100h; jmp eax
        return b"\xF6\xC1\x01\x0F\x84" + asm.imm32(0x7100 - here - 9) + asm.mov(asm.EAX, 0x7100) + b"\xFF\xE0\x42"

    cpu = machine(loop(body, 40), make)
    back = CODE + 6 + 3 + 6 + 5 + 2
    cpu.memory.load_blob(0x7100, b"\x43" + asm.jump(0x7101, back))
    return cpu
