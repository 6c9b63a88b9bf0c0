"""Small guests for the places where a translator can go wrong, each a loop, so that it runs interpreted and translated.

A scene prepares a processor made by `machine`; what it should do is what the interpreter does.
"""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.exceptions import Vector
from rtl.isa.paging import PTE_A, PTE_D, PTE_G, PTE_P, PTE_PS, PTE_RW, PTE_US
from rtl.isa.registers import Cr0, Cr4, Eflags, Seg
from rtl.isa.segments import ACCESS_CODE, ACCESS_DATA, ATTR_DB, FLAGS_FLAT32, SystemType, descriptor
from sim.randprog import asm
from tests.vmm.engine.machine import CODE, FREE, KERNEL_CODE, gate, machine, set_descriptor, set_gate, to_user
from vmm.engine.interpreter import Interpreter
from vmm.memory import Region

Scene = Callable[[Callable[..., Interpreter]], Interpreter]
DIRECTORY, TABLE, HANDLER, DATA = 0x1_0000, 0x1_1000, 0x5000, 0xC000
FREE_RING1 = FREE + 8
RWX = PTE_P | PTE_RW | PTE_US
SCENES: dict[str, Scene] = {}


def scene(prepare: Scene) -> Scene:
    SCENES[prepare.__name__] = prepare
    return prepare


def entry(page: int) -> int:
    """Where the page-table entry of a linear page is."""
    return TABLE + 4 * page


def paging(cpu: Interpreter, pages: dict[int, int] | None = None, cr4: int = 0, wp: bool = False) -> None:
    """The identity, and the pages given: linear page number to page-table entry."""
    memory, state = cpu.memory, cpu.state
    memory.write32(DIRECTORY, TABLE | RWX)
    for page in range(32):
        memory.write32(entry(page), page << 12 | RWX)
    for page, value in (pages or {}).items():
        memory.write32(entry(page), value)
    state.cr3, state.cr4 = DIRECTORY, cr4
    state.cr0 |= int(Cr0.PG) | (int(Cr0.WP) if wp else 0)
    cpu.state_changed()


def on(cpu: Interpreter, vector: int, code: bytes) -> None:
    """Let `code` handle a vector."""
    place = HANDLER + 64 * vector
    cpu.memory.load_blob(place, code)
    set_gate(cpu, vector, gate(place, KERNEL_CODE, SystemType.INTERRUPT_GATE32, 3))


def loop(body: Callable[[int], bytes] | bytes, count: int = 12) -> bytes:
    """`body` again and again, ECX counting down; then HLT. A body that is a function is given its address."""
    head = asm.mov(asm.ECX, count)
    text = body if isinstance(body, bytes) else body(CODE + len(head) + 1)
    inside = b"\x51" + text + b"\x59\x49"
    return head + inside + b"\x0F\x85" + asm.imm32(-len(inside) - 6) + b"\xF4"


def calls(*targets: int) -> Callable[[int], bytes]:
    def text(here: int) -> bytes:
        return b"".join(asm.call(here + 5 * n, target) for n, target in enumerate(targets))
    return text


#: Says where it runs: call next; pop eax; add ebx, eax; xor edx, eax; ret
WHERE = bytes.fromhex("e800000000 58 01c3 31c2 c3")


@scene
def two_mappings_of_one_page_of_code(make: Callable[..., Interpreter]) -> Interpreter:
    cpu = machine(loop(calls(0x7100, 0x2_6100, 0x2_7100)), make)
    cpu.memory.load_blob(0x7100, WHERE)
    paging(cpu, {0x26: 0x7000 | RWX, 0x27: 0x7000 | RWX})
    return cpu


def _remapped(make: Callable[..., Interpreter], drop: bytes) -> Interpreter:
    flip = asm.xor_at(entry(0x26), 0x7000 ^ 0x8000)
    cpu = machine(loop(lambda here: asm.call(here, 0x2_6100) + flip + drop), make)
    cpu.memory.load_blob(0x7100, b"\x83\xC3\x01" + WHERE)
    cpu.memory.load_blob(0x8100, b"\x83\xEB\x02" + WHERE)
    paging(cpu, {0x26: 0x7000 | RWX})
    return cpu


@scene
def code_mapped_elsewhere_by_invlpg(make: Callable[..., Interpreter]) -> Interpreter:
    return _remapped(make, asm.invlpg(0x2_6000))


@scene
def code_mapped_elsewhere_by_cr3(make: Callable[..., Interpreter]) -> Interpreter:
    return _remapped(make, b"\x0F\x20\xD8\x0F\x22\xD8")


@scene
def second_page_of_an_instruction_mapped_elsewhere(make: Callable[..., Interpreter]) -> Interpreter:
    flip = asm.xor_at(entry(0x27), 0x7000 ^ 0x8000) + asm.invlpg(0x2_7000)
    cpu = machine(loop(lambda here: asm.call(here, 0x2_6FFD) + flip), make)
    cpu.memory.load_blob(0xAFFD, b"\x01\xCB\xB8")
    cpu.memory.load_blob(0x7000, asm.imm32(0x1111) + b"\x01\xC3\xC3")
    cpu.memory.load_blob(0x8000, asm.imm32(0x2222) + b"\x29\xC3\x42\xC3")
    paging(cpu, {0x26: 0xA000 | RWX, 0x27: 0x7000 | RWX})
    return cpu


@scene
def second_page_of_an_instruction_absent(make: Callable[..., Interpreter]) -> Interpreter:
    """#PF at the second page; the handler maps it, the loop takes it away again."""
    flip = asm.xor_at(entry(0x27), PTE_P) + asm.invlpg(0x2_7000)
    cpu = machine(loop(lambda here: asm.call(here, 0x2_6FFE) + flip), make)
    cpu.memory.load_blob(0xAFFE, b"\xB8\x11")
    cpu.memory.load_blob(0x7000, b"\x22\x33\x44\x01\xC3\xC3")
    paging(cpu, {0x26: 0xA000 | RWX, 0x27: 0x7000 | RWX & ~PTE_P})
    on(cpu, Vector.PF, flip + b"\x0F\x20\xD0\x01\xC7\x83\xC4\x04\xCF")
    return cpu


@scene
def second_page_of_an_instruction_written(make: Callable[..., Interpreter]) -> Interpreter:
    """INC byte [immediate], which lies in the page behind; then INC byte of the first page's part."""
    change = b"\xFE\x05" + asm.imm32(0x8001) + b"\xFE\x05" + asm.imm32(0x7FFF)
    cpu = machine(loop(lambda here: asm.call(here, 0x7FFE) + change), make)
    cpu.memory.load_blob(0x7FFE, b"\xB8\x11\x22\x33\x44\x01\xC3\xC3")
    return cpu


@scene
def overlapping_instructions(make: Callable[..., Interpreter]) -> Interpreter:
    """MOV EAX, imm32 whose immediate is INC EBX; INC EDX; RET."""
    cpu = machine(loop(calls(0x7100, 0x7101)), make)
    cpu.memory.load_blob(0x7100, bytes.fromhex("b8 43 42 c3 90 4f c3"))
    return cpu


@scene
def fifteen_and_sixteen_bytes(make: Callable[..., Interpreter]) -> Interpreter:
    cpu = machine(loop(calls(0x7100, 0x7200)), make)
    cpu.memory.load_blob(0x7100, b"\x3E" * 14 + b"\x43\xC3")
    cpu.memory.load_blob(0x7200, b"\x42" + b"\x3E" * 15 + b"\x43\xC3")
    # the handler skips it
    on(cpu, Vector.GP, b"\x83\xC4\x04\x83\x04\x24\x10\x47\xCF")
    return cpu


@scene
def fetch_beyond_memory_and_from_a_device(make: Callable[..., Interpreter]) -> Interpreter:
    three = calls(0x3000_0000, 0x4000_0000, 0x1_FFFF)
    cpu = machine(loop(lambda here: b"\x89\xE5" + three(here + 2) + b"\x89\xEC"), make)
    code = b"\x43\x01\xDF\xC3" + bytes(0xFFC)
    cpu.memory.map_region(Region(0x4000_0000, 0x1000, lambda offset, size: int.from_bytes(
        code[offset:offset + size], "little"), lambda offset, size, value: None))
    # #UD from beyond: back to the caller; the last byte of RAM begins an instruction that never ends
    on(cpu, Vector.UD, b"\x42\x8B\x44\x24\x0C\x89\x04\x24\xCF")
    cpu.memory.load_blob(0x1_FFFF, b"\xFF")
    return cpu


@scene
def next_instruction_overwritten(make: Callable[..., Interpreter]) -> Interpreter:
    """It becomes INC of one register or another."""
    def text(here: int) -> bytes:
        # mov eax, ecx; and al, 3; add al, 40h; mov [next], al; next: inc eax; xor ebx, eax
        return b"\x89\xC8\x24\x03\x04\x40\xA2" + asm.imm32(here + 11) + b"\x40\x31\xC3"
    return machine(loop(text), make)


@scene
def accessed_and_dirty(make: Callable[..., Interpreter]) -> Interpreter:
    """Reads and writes of a page, A and D taken back by turns."""
    body = b"\xA1" + asm.imm32(0x2_0010) + b"\x01\x05" + asm.imm32(0x2_1014) + b"\x33\x1D" + asm.imm32(entry(0x20))
    body += b"\x03\x1D" + asm.imm32(entry(0x21)) + b"\x83\x25" + asm.imm32(entry(0x20)) + bytes([0xFF & ~PTE_A])
    body += b"\x83\x25" + asm.imm32(entry(0x21)) + bytes([0xFF & ~PTE_D]) + asm.invlpg(0x2_1000)
    body += b"\xF6\xC1\x01\x74\x07" + asm.invlpg(0x2_0000)
    cpu = machine(loop(body), make)
    paging(cpu, {0x20: 0xC000 | RWX, 0x21: 0xC000 | RWX})
    return cpu


@scene
def write_protect(make: Callable[..., Interpreter]) -> Interpreter:
    """Ring 0 writes to a read-only page with CR0.WP going on and off; #PF counts and skips."""
    body = b"\x89\x0D" + asm.imm32(0x2_0010) + b"\x0F\x20\xC0\x35" + asm.imm32(int(Cr0.WP)) + b"\x0F\x22\xC0"
    cpu = machine(loop(body), make)
    paging(cpu, {0x20: 0xC000 | PTE_P | PTE_US})
    on(cpu, Vector.PF, b"\x83\xC4\x04\x83\x04\x24\x06\x47\xCF")
    return cpu


@scene
def global_pages(make: Callable[..., Interpreter]) -> Interpreter:
    """A CR3 write drops one of two changed pages, a CR4.PGE flip both."""
    flip = asm.xor_at(entry(0x20), 0x1000) + asm.xor_at(entry(0x21), 0x1000)
    use = b"\x03\x1D" + asm.imm32(0x2_0000) + b"\x03\x15" + asm.imm32(0x2_1000)
    drop = b"\x0F\x20\xD8\x0F\x22\xD8"
    toggle = b"\x0F\x20\xE0\x34\x80\x0F\x22\xE0\x34\x80\x0F\x22\xE0"
    cpu = machine(loop(use + flip + drop + use + b"\xF6\x04\x24\x01\x75\x0D" + toggle + use), make)
    for page in range(0xC, 0x10):
        cpu.memory.write32(page << 12, 0x0101_0101 << page - 0xC)
    paging(cpu, {0x20: 0xC000 | RWX | PTE_G, 0x21: 0xE000 | RWX}, int(Cr4.PGE))
    return cpu


@scene
def large_pages(make: Callable[..., Interpreter]) -> Interpreter:
    """Code and data through a 4 MiB page, whose entry changes and which INVLPG of any address in it drops."""
    directory = DIRECTORY + 4 * 4
    use = b"\x03\x1D" + asm.imm32(0x100_C000)
    flip = asm.xor_at(directory, PTE_RW) + asm.invlpg(0x101_2345) + b"\x89\x1D" + asm.imm32(0x100_C010)
    cpu = machine(loop(lambda here: asm.call(here, 0x100_7100) + use + flip), make)
    cpu.memory.load_blob(0x7100, WHERE)
    paging(cpu, cr4=int(Cr4.PSE), wp=True)
    cpu.memory.write32(directory, RWX | PTE_PS)
    on(cpu, Vector.PF, b"\x83\xC4\x04\x83\x04\x24\x06\x47\xCF")
    return cpu


@scene
def ring_one(make: Callable[..., Interpreter]) -> Interpreter:
    """CPL 1 is a supervisor to the page tables and an outsider to privileged instructions and gates."""
    cpu = machine(loop(b"\xA1" + asm.imm32(0x2_0010) + b"\x01\xC3\x0F\x20\xC0\x40\xCD\x30\xFA"), make)
    set_descriptor(cpu, FREE, descriptor(0, 0xFFFFF, ACCESS_CODE | 1 << 5, FLAGS_FLAT32))
    set_descriptor(cpu, FREE_RING1, descriptor(0, 0xFFFFF, ACCESS_DATA | 1 << 5, FLAGS_FLAT32))
    for number, selector in ((Seg.CS, FREE), (Seg.SS, FREE_RING1), (Seg.DS, FREE_RING1), (Seg.ES, FREE_RING1)):
        cpu.state.segments[number].selector = selector | 1
        cpu.state.segments[number].attributes |= 1 << 5
    cpu.state.cpl = 1
    cpu.state.idtr_limit = 0x30 * 8 + 7
    paging(cpu, {0x20: 0xC000 | PTE_P | PTE_RW})
    # #GP: skip as many bytes as the instruction has (MOV CR 3, CLI 1, HLT 1: end in ring 0)
    skip = b"\x58\x5A\x0F\xB6\x02\x3C\xF4\x75\x01\xF4\x3C\x0F\x75\x03\x83\xC2\x02\x42\x52\x47\xCF"
    on(cpu, Vector.GP, skip)
    on(cpu, 0x30, b"\x46\xCF")
    return cpu


@scene
def small_stack_segment(make: Callable[..., Interpreter]) -> Interpreter:
    """SS of 64 KiB: SP wraps, ESP's high half stays."""
    body = bytes.fromhex("50 6653 9c 8b4500 c8080000 c9 5a 6658 58 e800000000 5a")
    cpu = machine(loop(body), make)
    cpu.state.segments[Seg.SS].limit = 0xFFFF
    cpu.state.segments[Seg.SS].attributes &= ~ATTR_DB
    cpu.state.gpr[4], cpu.state.gpr[5] = 0x1234_0008, 0x9000
    cpu.state_changed()
    return cpu


@scene
def sixteen_bit_code(make: Callable[..., Interpreter]) -> Interpreter:
    """Far calls to a 16-bit segment and back, the same bytes there and here."""
    body = asm.far_call(FREE, 0x7100)
    cpu = machine(loop(lambda here: body + asm.call(here + 7, 0x7110)), make)
    cpu.memory.load_blob(0x7100, bytes.fromhex("b8 4342 4101c3 6605 00100000 66cb"))
    cpu.memory.load_blob(0x7110, bytes.fromhex("b8 43424101 c3"))
    set_descriptor(cpu, FREE, descriptor(0, 0xFFFF, ACCESS_CODE, 0))
    return cpu


@scene
def short_data_segment(make: Callable[..., Interpreter]) -> Interpreter:
    """FS with a base and a limit, in and beyond it."""
    body = b"\x64\xA1" + asm.imm32(0xFFC) + b"\x64\x01\x05" + asm.imm32(0xFFC) + b"\x64\x88\x25" + asm.imm32(0xFFF)
    body += b"\x64\x66\x89\x05" + asm.imm32(0xFFF) + b"\x90"
    cpu = machine(loop(asm.mov_sreg(4, FREE) + body), make)
    set_descriptor(cpu, FREE, descriptor(DATA, 0xFFF, ACCESS_DATA, 4))
    on(cpu, Vector.GP, b"\x83\xC4\x04\x83\x04\x24\x08\x47\xCF")
    return cpu


@scene
def alignment_check(make: Callable[..., Interpreter]) -> Interpreter:
    """CPL 3 with AC: misaligned loads, stores, stack and string accesses fault, the handler aligns and goes on."""
    body = b"\xA1" + asm.imm32(DATA + 2) + b"\x66\xA3" + asm.imm32(DATA + 5) + asm.mov(asm.EDI, DATA + 1)
    body += b"\x51\xB1\x02\xF3\xAB\x59"
    cpu = machine(loop(body), make)
    to_user(cpu)
    cpu.state.cr0 |= int(Cr0.AM)
    cpu.state.eflags = 2 | int(Eflags.AC)
    cpu.state_changed()
    # AC goes off, and on again with the next fault that there is
    on(cpu, Vector.AC, b"\x43\x81\x74\x24\x0C" + asm.imm32(int(Eflags.AC)) + b"\x83\xC4\x04\xCF")
    on(cpu, Vector.GP, b"\xF4")
    return cpu


@scene
def single_step(make: Callable[..., Interpreter]) -> Interpreter:
    """TF set and cleared by POPF inside a loop, also across MOV SS and REP."""
    set_tf = b"\x9C\x81\x0C\x24" + asm.imm32(int(Eflags.TF)) + b"\x9D"
    clear = b"\x9C\x81\x24\x24" + asm.imm32(~int(Eflags.TF)) + b"\x9D"
    body = set_tf + b"\x43\x8C\xD0\x8E\xD0\x43" + asm.mov(asm.EDI, DATA) + b"\x51\xB1\x03\xF3\xAB\x59" + clear
    cpu = machine(loop(body), make)
    on(cpu, Vector.DB, b"\x45\x03\x14\x24\xCF")
    return cpu


@scene
def debug_registers(make: Callable[..., Interpreter]) -> Interpreter:
    """A data breakpoint switched on and off in a loop that is translated by then, and one on an instruction."""
    control = 0x400 | 1 | 2 << 2 | 1 << 16 | 3 << 18
    arm = asm.mov(asm.EAX, control) + b"\x0F\x23\xF8"
    body = b"\xF6\xC1\x01\x74\x08" + arm + b"\x89\x0D" + asm.imm32(DATA) + b"\x43\x31\xC0\x0F\x23\xF8\x42"
    cpu = machine(loop(body), make)
    cpu.state.dr[0], cpu.state.dr[1] = DATA, CODE + 6 + 13
    on(cpu, Vector.DB, b"\x45\x80\x4C\x24\x0A\x01\xCF")
    return cpu


@scene
def software_interrupts(make: Callable[..., Interpreter]) -> Interpreter:
    """INT n, INT3, INTO and #DE from ring 3 and back."""
    body = b"\xCD\x2E\xCC\x50\xB0\x7F\x04\x7F\xCE\x58\x31\xD2\xF7\xF2\x43"
    cpu = machine(loop(body), make)
    for vector, code in ((0x2E, b"\x46\xCF"), (3, b"\x47\xCF"), (4, b"\x45\xCF"), (0, b"\x83\x04\x24\x02\x42\xCF"),
                         (Vector.GP, b"\xF4")):
        on(cpu, vector, code)
    to_user(cpu)
    return cpu


@scene
def loop_that_becomes_vectors(make: Callable[..., Interpreter]) -> Interpreter:
    """The highest bit set, searched downwards: LLVM aligned the stack for it and lost EAX to a frame pointer."""
    return machine(loop(bytes.fromhex("b91f000000 89cf 49 89d8 d3e8 85c0 74f5")), make, ebx=0x46E)


@scene
def sti_before_mov_ss(make: Callable[..., Interpreter]) -> Interpreter:
    return machine(loop(b"\xFA\x8C\xD0\xFB\x8E\xD0\xFB\xFB\x43\xFA\xFB\xFB\x8E\xD0\x8E\xD0\x42"), make)


@scene
def paging_on_and_off(make: Callable[..., Interpreter]) -> Interpreter:
    """The same linear address is other code with paging and without, and nothing but CR0 says which."""
    flip = b"\x0F\x20\xC0\x35" + asm.imm32(int(Cr0.PG)) + b"\x0F\x22\xC0"
    cpu = machine(loop(lambda here: flip + asm.call(here + len(flip), 0x1_6100), 30), make)
    cpu.memory.load_blob(0x7100, b"\x83\xC3\x03\xC3")
    cpu.memory.load_blob(0x1_6100, b"\x4B\x42\xC3")
    paging(cpu, {0x16: 0x7000 | RWX})
    return cpu


@scene
def instruction_around_the_top(make: Callable[..., Interpreter]) -> Interpreter:
    """One that ends with the last byte of the address space is executed; one that goes on at 0 is #GP."""
    cpu = machine(loop(calls(0xFFFF_FFFB)), make)
    cpu.memory.load_blob(0xCFFB, b"\x43\x42\x01\xD3\xB8")
    cpu.memory.load_blob(0xD000, b"\x01\x02\x03\x04\xC3")
    paging(cpu, {0: 0xD000 | RWX})
    cpu.memory.write32(DIRECTORY + 4 * 1023, 0x1_3000 | RWX)
    cpu.memory.write32(0x1_3000 + 4 * 1023, 0xC000 | RWX)
    # drop the frame, back to the caller
    on(cpu, Vector.GP, b"\x83\xC4\x10\x47\xC3")
    return cpu


@scene
def rep_that_overwrites_itself(make: Callable[..., Interpreter]) -> Interpreter:
    """REP STOSB writes to its own last byte: what is there then is PAUSE, and nothing is repeating."""
    begin = CODE + 0x200

    def body(here: int) -> bytes:
        # put it there, leave what it is to write in EAX, and go there
        put = b"\xC7\x05" + asm.imm32(begin) + b"\xF3\xAA\x43\xC3"
        set_up = b"\xFD\xB8\x90\x90\x90\x90\xB9\x06\0\0\0\xBF" + asm.imm32(begin + 1)
        text = put + set_up
        return text + asm.call(here + len(text), begin) + b"\xFC"

    return machine(loop(body), make)
