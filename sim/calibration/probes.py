"""The micro-benchmarks: one for each class of instructions, and those that tell events apart."""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.platform import PORT
from sim.bench.stage import CODE0, DATA, DATA0, DATA2, FAR, NEAR, TASK_SEL
from sim.randprog import asm

from .bench import COUNTER, FARM, IRQ, LARGE, PAGES, Piece, Probe

__all__ = ["EVENT_PROBES", "INTERRUPT_PROBE", "INSTRUCTION_PROBES", "STRING_PROBES"]

_POINTER, _FAR_POINTER, _BOUNDS = DATA + 0x40, DATA + 0x48, DATA + 0x50
#: A near pointer to code, a far pointer to data, a pair of bounds.
_CELLS = (asm.mov_at(_POINTER, NEAR) + asm.mov_at(_FAR_POINTER, 0) + asm.mov_at(_FAR_POINTER + 4, DATA0)
          + asm.mov_at(_BOUNDS, 0) + asm.mov_at(_BOUNDS + 4, 0x7FFF_FFFF))
_PORT = bytes.fromhex("ba80060000")
_ZERO = bytes.fromhex("31c0")


def _at(opcode: str, address: int) -> bytes:
    return bytes.fromhex(opcode) + asm.imm32(address)


def _plain(name: str, target: str, before: str = "", leading: int | None = None, less: int = 1, after: str = "90",
           setup: bytes = b"", upto: int = -1, ring: int = 0) -> Probe:
    """The cycles of one instruction between others of one cycle."""
    return Probe(name, bytes.fromhex(target), less, bytes.fromhex(before),
                 int(bool(before)) if leading is None else leading, bytes.fromhex(after), upto, setup, ring)


def _call(address: int, _number: int) -> bytes:
    return asm.call(address, NEAR)


def _far_jump(address: int, _number: int) -> bytes:
    return asm.far_jump(CODE0, address + 7)


def _before_sysenter(address: int, _number: int) -> bytes:
    """mov edx, the place behind SYSENTER; mov ecx, esp"""
    return asm.mov(asm.EDX, address + 9) + b"\x89\xE1"


#: One instruction each; the names are those of `vmm.timing.shape.CLASSES`.
INSTRUCTION_PROBES: tuple[Probe, ...] = (
    _plain("simple", "01c8"), _plain("rmw", "0103"), _plain("push_memory", "ff33"), _plain("pop_memory", "8f03"),
    _plain("imul", "0fafc1"), _plain("mul8", "f6e1"), _plain("mul", "f7e1"), _plain("div8", "f6f1", "0fb6c0"),
    _plain("div16", "66f7f1", "31d2", less=2), _plain("div32", "f7f1", "31d2"), _plain("aam", "d40a"),
    _plain("aad", "d50a"), _plain("xchg", "87c8"), _plain("xchg_memory", "8703"), _plain("xadd", "0fc1c8"),
    _plain("xadd_memory", "0fc103"), _plain("cmpxchg", "0fb1c8"), _plain("cmpxchg_memory", "0fb10b"),
    _plain("cmpxchg8b", "0fc70b"), _plain("bit_string", "0fa30b"), _plain("bit_string_rmw", "0fab0b"),
    _plain("pusha", "60"), _plain("popa", "61", "60"), _plain("popf", "9d", "9c"),
    _plain("enter", "c8080000", after="90c9", upto=2), _plain("enter_nested", "c8080001", after="90c9", upto=2),
    Probe("call_indirect", b"\xFF\xD0", 2, asm.mov(asm.EAX, NEAR), 1, upto=3),
    Probe("call_memory", _at("ff15", _POINTER), 2, upto=2, setup=_CELLS),
    Probe("load_segment", b"\x8E\xC0", 1, asm.mov(asm.EAX, DATA0), 1),
    Probe("load_pointer", _at("c405", _FAR_POINTER), 1, setup=_CELLS),
    _plain("load_ldt", "0f00d0", "31c0"), _plain("probe", "0f02c1", "b908000000"), _plain("arpl", "63c1"),
    Probe("bound", _at("6205", _BOUNDS), 1, _ZERO, 1, setup=_CELLS), _plain("into", "ce", "31c0"),
    _plain("xlat", "d7", "31c0"), _plain("table_store", "0f0103"), _plain("table_load", "0f0113", "0f0103"),
    _plain("read_dr", "0f21f8"), _plain("write_dr", "0f23f8", "0f21f8"), _plain("write_cr0", "0f22c0", "0f20c0"),
    _plain("write_cr3", "0f22d8", "0f20d8"), _plain("write_cr4", "0f22e0", "0f20e0"),
    _plain("lmsw", "0f01f0", "0f01e0"), _plain("invlpg", "0f013b"), _plain("rdtsc", "0f31"),
    _plain("cpuid", "0fa2", "31c0"), _plain("rdmsr", "0f32", "b974010000"),
    _plain("wrmsr", "0f30", "b9740100000f32", 2), _plain("rdpmc", "0f33", "b901000000"), _plain("wbinvd", "0f09"),
    _plain("in8", "e461"), _plain("in16", "66ed", less=2, setup=_PORT), _plain("in32", "ed", setup=_PORT),
    _plain("out8", "e680"), _plain("out16", "66ef", less=2, setup=_PORT), _plain("out32", "ef", setup=_PORT),
    Probe("jump_far", _far_jump, 1),
    Probe("call_far", asm.far_call(CODE0, FAR), 1, upto=2), Probe("return_far", asm.far_call(CODE0, FAR), 1, leading=2),
    _plain("int", "cd80", upto=2), _plain("iret", "cd80", leading=2),
    Probe("sysenter", b"\x0F\x34", 1, _before_sysenter, 2, upto=4, ring=3),
    Probe("sysexit", b"\x0F\x34", 1, _before_sysenter, 4, ring=3),
)


def _repeated(name: str, code: str, count: int) -> Probe:
    source, target = (DATA2, DATA2) if name == "cmps" else (DATA, DATA2)
    moves = asm.mov(asm.ECX, count) + asm.mov(asm.ESI, source) + asm.mov(asm.EDI, target)
    # The prefix is a cycle that decode adds by itself.
    return Probe(f"rep_{name}_{count}", bytes.fromhex(code), 2, moves, 3, setup=_PORT, copies=8)


#: String operations alone, and repeated no and 16 times.
STRING_PROBES: tuple[Probe, ...] = tuple(
    probe for name, code, repeat in (("movs", "a5", "f3"), ("cmps", "a7", "f3"), ("stos", "ab", "f3"),
                                     ("lods", "ad", "f3"), ("scas", "af", "f2"), ("ins", "6d", "f3"),
                                     ("outs", "6f", "f3"))
    for probe in (_plain(name, code, setup=_PORT), *(_repeated(name, repeat + code, count) for count in (0, 16))))


def _line(number: int) -> int:
    """Lines that all belong into one set, which is not that of anything else here."""
    return FARM + 0xC00 + 0x1000 * number


def _farm(opcode: str, place: Callable[[int], int] = _line, tail: bytes = b"") -> Piece:
    """An instruction with the address of a line."""
    return lambda _address, number: _at(opcode, place(number)) + tail


def _visit(address: int, number: int) -> bytes:
    return asm.call(address, _line(number))


def _page(number: int) -> int:
    """Three pages in turn that belong into one set of two ways, so that each misses; few enough that their entries stay
    in a small cache."""
    return PAGES + 0x2_0000 * (number % 3)


def _directory_page(number: int) -> int:
    """The same, of directory entries that belong into one place of the walk cache."""
    return _page(number) + 0x200_0000 * (number % 3)


def _visit_page(address: int, number: int) -> bytes:
    return asm.call(address, 0xC00 + _page(number))


def _touch(_address: int, number: int) -> bytes:
    """Loads that bring three lines of code into the data cache, and time for it."""
    return b"".join(_at("a1", _line(number) + 32 * part) for part in range(3)) + _PAUSE


_PAUSE = b"\x90" * 60
_RETURNS = tuple((_line(number), b"\xC3") for number in range(16))
_LONG = tuple((_line(number), b"\x83\xC0\x00" * 31 + b"\xC3") for number in range(16))
#: A number that differs from round to round: mov eax, [COUNTER]; imul eax, eax, 9E3779B1h
_MIXED = bytes.fromhex("a1" + asm.imm32(COUNTER).hex() + "69c0b179379e")


def _out(port: str, *values: int) -> bytes:
    return b"".join(asm.out(PORT[port].base + (index > 0), value) for index, value in enumerate(values))


#: Interrupts every 40 clocks of the timer, in a loop: controller and timer set up, interrupts on.
INTERRUPT_PROBE = Probe(
    "interrupt", asm.mov(asm.ECX, 1000) + bytes.fromhex("90909090e2fa"), copies=1,
    setup=_out("PIC_MASTER", 0x11, IRQ, 0x04, 0x01, 0xFE) + asm.out(PORT["PIT"].base + 3, 0x34)
    + asm.out(PORT["PIT"].base, 40) + asm.out(PORT["PIT"].base, 0) + b"\xFB")

#: What events are computed from, by `sim.calibration.calibrate`.
EVENT_PROBES: tuple[Probe, ...] = (
    _plain("jump", "eb00", less=2), Probe("branch", b"\x72\x00", 2, b"\xD1\xC8", 1, setup=_MIXED, worst=True),
    _plain("across", "8b4301", less=2),
    _plain("ud", "0f0b", upto=2), _plain("ud_outer", "0f0b", upto=2, ring=3), _plain("gp_outer", "f4", upto=2, ring=3),
    Probe("pf", _at("a1", 0x80_0000), 1, upto=2),
    _plain("int_outer", "cd80", upto=2, ring=3), _plain("iret_outer", "cd80", leading=2, ring=3),
    Probe("task", asm.far_call(TASK_SEL, 0), 1),
    Probe("load_miss", _farm("a1"), 2, after=_PAUSE, upto=2), Probe("store_miss", _farm("a3"), 2, after=_PAUSE, upto=2),
    Probe("load_period", _farm("a1"), 0, after=b""), Probe("store_period", _farm("a3"), 0, after=b""),
    Probe("uncached_load", _farm("a1", lambda _number: 0xA_0000), 2, after=_PAUSE, upto=2),
    Probe("uncached_store", _farm("a3", lambda _number: 0xA_0000), 0, after=b""),
    Probe("walk", _farm("a1", _page), 2, after=_PAUSE, upto=2),
    Probe("walk_directory", _farm("a1", _directory_page), 2, after=_PAUSE, upto=2),
    Probe("walk_large", _farm("a1", lambda number: LARGE + 0x40_0000 * number + DATA), 2, after=_PAUSE, upto=2),
    Probe("code_walk", _visit_page, 1, after=_PAUSE, upto=2, leading=1, places=((FARM + 0xC00, b"\xC3"),)),
    Probe("code_fill", _visit, 1, after=_PAUSE, upto=2, leading=1, places=_RETURNS),
    Probe("code_fill_cached", _visit, 1, _touch, 64, upto=65, places=_RETURNS, after=_PAUSE),
    Probe("code_long", _visit, 32, after=_PAUSE, upto=33, leading=1, places=_LONG),
    Probe("code_long_cached", _visit, 32, _touch, 64, upto=96, after=_PAUSE, places=_LONG),
)
