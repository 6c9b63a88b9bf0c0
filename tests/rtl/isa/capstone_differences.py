"""Where our decoder and capstone 5 disagree on purpose, as data with the reason.

Each entry covers opcodes of one map, ModRM bytes (a predicate) and prefixes, and one direction: `ours_invalid` when the
instruction is #UD here and capstone decodes it, else capstone refuses what the processor executes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rtl.isa.opcodes import OpMap


def _any(modrm: int) -> bool:
    return True


def _digit(*digits: int) -> Callable[[int], bool]:
    return lambda modrm: modrm >> 3 & 7 in digits


def _register(modrm: int) -> bool:
    return modrm >= 0xC0


def _memory(modrm: int) -> bool:
    return modrm < 0xC0


@dataclass(frozen=True)
class Difference:
    map: OpMap
    opcodes: tuple[int, ...]
    ours_invalid: bool
    reason: str
    modrm: Callable[[int], bool] = _any
    prefixes: Callable[[bytes], bool] = lambda prefixes: True

    def covers(self, map: OpMap, opcode: int, modrm: int, prefixes: bytes, ours_invalid: bool) -> bool:
        return (map is self.map and opcode in self.opcodes and ours_invalid is self.ours_invalid
                and self.modrm(modrm) and self.prefixes(prefixes))


def _range(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


ONE, TWO = OpMap.ONE_BYTE, OpMap.TWO_BYTE

DIFFERENCES: tuple[Difference, ...] = (
    Difference(TWO, (0x05, 0x07), True, "SYSCALL and SYSRET are AMD K6 and later"),
    Difference(TWO, (0x0D, 0x0E), True, "3DNow! prefetch and FEMMS"),
    Difference(TWO, (*_range(0x10, 0x17), *_range(0x28, 0x2F)), True, "SSE"),
    Difference(TWO, (0x37,), True, "GETSEC"),
    Difference(TWO, (0x38, 0x3A), True, "three-byte opcode maps (SSSE3 and later)"),
    Difference(TWO, _range(0x50, 0x7F), True, "MMX, SSE and VMX"),
    Difference(TWO, (0xA6, 0xA7), True, "VIA PadLock"),
    Difference(TWO, (0xAE,), True, "FXSAVE group, fences, CLFLUSH"),
    Difference(TWO, (0xB8,), True, "POPCNT"),
    Difference(TWO, (0xB9, 0xFF), True, "UD1 and UD0 are names for #UD"),
    Difference(TWO, _range(0xC2, 0xC6), True, "SSE and MOVNTI"),
    Difference(TWO, _range(0xD0, 0xFE), True, "MMX and SSE"),
    Difference(TWO, (0x01,), True, "register forms of group 7: VMX, SMX, MONITOR, XGETBV, SMAP, RDTSCP, ...",
               lambda modrm: modrm >= 0xC0 and not 0xD8 <= modrm <= 0xDF),
    Difference(TWO, (0x01,), True, "RSTORSSP (CET)", _digit(5), lambda prefixes: 0xF3 in prefixes),
    Difference(TWO, (0xC7,), True, "XSAVEC, VMPTRLD, RDRAND, ... in group 9", _digit(3, 4, 5, 6, 7)),
    Difference(TWO, (0x20, 0x22), True, "CR1, CR5-CR7 do not exist (SDM vol. 2B, MOV CR: #UD)", _digit(1, 5, 6, 7)),
    Difference(ONE, (0x8E,), True, "MOV CS is #UD (SDM vol. 2B, MOV)", _digit(1)),
    Difference(ONE, (0xC4, 0xC5), True, "register forms are VEX prefixes", _register),
    Difference(ONE, (0xC6, 0xC7), True, "XABORT and XBEGIN", lambda modrm: modrm == 0xF8),
    Difference(ONE, (0x02, 0x03, 0x0A, 0x0B, 0x12, 0x13, 0x22, 0x23, 0x2A, 0x2B, 0x32, 0x33), True,
               "LOCK needs a destination in memory (SDM vol. 2A, LOCK: #UD); capstone looks at the mnemonic",
               _memory, lambda prefixes: 0xF0 in prefixes),
    Difference(TWO, (0x1F,), True, "LOCK is not for NOP; capstone takes the memory form for a destination",
               _memory, lambda prefixes: 0xF0 in prefixes),
    Difference(ONE, _range(0xD9, 0xDF), False, "reserved x87 encodings: #NM like every x87 escape"),
    Difference(TWO, (0x18, *_range(0x1A, 0x1E)), False, "hint NOPs of the P6; capstone knows only those with a name"),
    Difference(TWO, (0xBC, 0xBD), False, "F2 is ignored by BSF and BSR; capstone wants F3 or none",
               prefixes=lambda prefixes: 0xF2 in prefixes),
    Difference(ONE, (0x90,), False, "PAUSE with another prefix; capstone wants F3 alone",
               prefixes=lambda prefixes: 0xF3 in prefixes and len(prefixes) > 1),
    Difference(TWO, tuple(range(256)), False, "F3 before 67 is ignored; capstone looks for a mandatory-prefix opcode",
               prefixes=lambda prefixes: prefixes == b"\xf3\x67"),
)

#: Capstone's names for our mnemonics, where they differ.
NAMES: dict[str, set[str]] = {
    "pusha": {"pushaw", "pushal"}, "popa": {"popaw", "popal"}, "pushf": {"pushf", "pushfd"},
    "popf": {"popf", "popfd"}, "iret": {"iret", "iretd"}, "cbw": {"cbw", "cwde"}, "cwd": {"cwd", "cdq"},
    "callf": {"lcall", "call"}, "jmpf": {"ljmp", "jmp"}, "icebp": {"int1"}, "xlat": {"xlatb"},
    "jcxz": {"jcxz", "jecxz"}, "shl": {"shl", "sal"}, "bsf": {"bsf", "tzcnt"}, "bsr": {"bsr", "lzcnt"},
    "wbinvd": {"wbinvd", "wbnoinvd"},
    "nop": {"nop", "pause", "prefetchnta", "prefetcht0", "prefetcht1", "prefetcht2", "cldemote",
            "rdsspd", "endbr32", "endbr64", "bndldx", "bndstx", "bndmk", "bndmov", "bndcl", "bndcu", "bndcn"},
    **{name: {name + size for size in "bwd"} for name in ("ins", "outs", "movs", "cmps", "stos", "lods", "scas")},
}
