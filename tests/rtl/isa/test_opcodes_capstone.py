"""Length, validity and name of every opcode x ModRM x SIB x prefix form against capstone.

The default run takes every ModRM byte with and without 67, a sample of ModRM bytes with every other prefix combination,
and every SIB byte on a few forms. The `slow` run takes every ModRM byte with every combination.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import capstone
import pytest

from rtl.isa.decoder import Insn, Invalid, Truncated, decode
from rtl.isa.opcodes import OpMap, has_modrm

from .capstone_differences import DIFFERENCES, NAMES

PREFIX_BYTES = frozenset(b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3")
TAIL = bytes(range(0x11, 0x1F))
PREFIXES = (
    b"", b"\x67", b"\x66", b"\x66\x67", b"\x67\x66", b"\x26", b"\x2e", b"\x36", b"\x3e", b"\x64", b"\x65", b"\x66\x2e",
    b"\xf2", b"\xf3", b"\xf0", b"\x66\xf2", b"\x66\xf3", b"\x66\xf0", b"\xf3\x67", b"\x64\x66\x67",
)
# Every mod, digit and addressing special case at least once.
SAMPLE = (0x00, 0x05, 0x08, 0x0C, 0x10, 0x18, 0x24, 0x2D, 0x36, 0x3F, 0x44, 0x58, 0x60, 0x68, 0x76, 0x84, 0xB0, 0xB8,
          0xC0, 0xC9, 0xD2, 0xD9, 0xE4, 0xED, 0xF6, 0xFF)

#: What a decoder said: length (0 for #UD) and name.
Verdict = tuple[int, str]


class Comparison:
    """Runs both decoders and sorts what they say."""

    def __init__(self, default32: bool) -> None:
        self.default32 = default32
        self.capstone = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32 if default32 else capstone.CS_MODE_16)
        self.used: Counter[str] = Counter()
        self.unexplained: list[str] = []
        self.count = 0

    def ours(self, code: bytes) -> Insn | None:
        try:
            return decode(code, default32=self.default32)
        except Invalid:
            return None

    def theirs(self, code: bytes) -> Verdict:
        found = next(self.capstone.disasm_lite(code, 0, 1), None)
        return (0, "") if found is None else (found[1], found[2].split()[-1])

    def check(self, prefixes: bytes, map: OpMap, opcode: int, rest: bytes) -> None:
        code = (prefixes + (b"\x0f" if map is OpMap.TWO_BYTE else b"") + bytes([opcode]) + rest + TAIL)[:15]
        insn, (length, name) = self.ours(code), self.theirs(code)
        self.count += 1
        if (insn.length if insn else 0) != length:
            invalid = insn is None
            for difference in DIFFERENCES:
                if (invalid or length == 0) and difference.covers(map, opcode, rest[0], prefixes, invalid):
                    self.used[difference.reason] += 1
                    return
            self.unexplained.append(f"{code.hex()}: ours {insn.length if insn else '#UD'}, capstone {length} {name}")
        elif insn and insn.form.mnemonic != "esc" and name not in NAMES.get(insn.form.mnemonic, {insn.form.mnemonic}):
            self.unexplained.append(f"{code.hex()}: ours {insn.form}, capstone {name}")


def opcodes() -> Iterator[tuple[OpMap, int]]:
    for map in OpMap:
        for opcode in range(256):
            if map is OpMap.TWO_BYTE or (opcode not in PREFIX_BYTES and opcode != 0x0F):
                yield map, opcode


def compare_all(comparison: Comparison, full: Iterable[bytes]) -> None:
    full = frozenset(full)
    for map, opcode in opcodes():
        for prefixes in PREFIXES:
            every = prefixes in full and has_modrm(map, opcode)
            for modrm in range(256) if every else SAMPLE:
                comparison.check(prefixes, map, opcode, bytes([modrm]))


def assert_explained(comparison: Comparison) -> None:
    assert not comparison.unexplained, "\n".join(comparison.unexplained[:20])


def test_32_bit_forms() -> None:
    comparison = Comparison(default32=True)
    compare_all(comparison, (b"", b"\x67"))
    assert_explained(comparison)
    assert comparison.count > 250_000
    unused = {difference.reason for difference in DIFFERENCES} - set(comparison.used)
    assert not unused, f"differences that no longer occur: {unused}"


def test_16_bit_forms() -> None:
    comparison = Comparison(default32=False)
    for map, opcode in opcodes():
        for prefixes in (b"", b"\x66", b"\x67", b"\x66\x67"):
            for modrm in SAMPLE:
                comparison.check(prefixes, map, opcode, bytes([modrm]))
    assert_explained(comparison)


def test_every_sib_byte() -> None:
    comparison = Comparison(default32=True)
    for sib in range(256):
        for mod in range(3):
            for map, opcode in ((OpMap.ONE_BYTE, 0x8B), (OpMap.ONE_BYTE, 0x81), (OpMap.TWO_BYTE, 0xAF)):
                for prefixes in (b"", b"\x66", b"\x67"):
                    comparison.check(prefixes, map, opcode, bytes([mod << 6 | 0x04, sib]))
    assert_explained(comparison)


@pytest.mark.slow
@pytest.mark.parametrize("default32", [True, False])
def test_every_modrm_with_every_prefix(default32: bool) -> None:
    comparison = Comparison(default32)
    compare_all(comparison, PREFIXES)
    assert_explained(comparison)


def test_memory_operands_match_capstone() -> None:
    """Base, index, scale and displacement of every ModRM and SIB byte, in both address sizes."""
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)
    disassembler.detail = True
    names = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
    cases = [bytes([0x8B, modrm]) for modrm in range(0xC0)] + [bytes([0x67, 0x8B, modrm]) for modrm in range(0xC0)]
    cases += [bytes([0x8B, mod << 6 | 4, sib]) for mod in range(3) for sib in range(256)]
    for case in cases:
        # an address-size displacement with its sign bit set, and a byte displacement too
        code = case + bytes([0x91, 0x82, 0x83, 0x84, 0x85])
        insn = decode(code)
        memory = next(disassembler.disasm(code, 0, 1)).operands[1].mem
        wide = insn.adsize == 4
        expected = [None if reg == 0 else disassembler.reg_name(reg) for reg in (memory.base, memory.index)]
        found = [None if reg is None else names[reg] if wide else names[reg][1:] for reg in (insn.base, insn.index)]
        if expected == [None, "eiz"] or expected[1] == "eiz":
            expected[1] = None
        limit = 1 << 8 * insn.adsize
        assert found == expected, code.hex()
        assert insn.disp % limit == memory.disp % limit, code.hex()
        assert insn.index is None or 1 << insn.scale == memory.scale, code.hex()


def test_truncation_is_seen_at_every_byte() -> None:
    for map, opcode in opcodes():
        for modrm in SAMPLE if has_modrm(map, opcode) else (0,):
            code = (b"\x0f" if map is OpMap.TWO_BYTE else b"") + bytes([opcode, modrm]) + TAIL
            try:
                length = decode(code).length
            except Invalid as invalid:
                length = invalid.length
            for cut in range(length):
                with pytest.raises(Truncated) as caught:
                    decode(code[:cut])
                assert cut < caught.value.needed <= length
