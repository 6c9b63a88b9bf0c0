"""What is kept of rewritten code, and where its instructions have the fields that are loaded when they run."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from rtl.isa.decoder import DecodeError, Insn, decode
from vmm.engine.dbt.checked import boundary, fields, live_bytes, writes
from vmm.engine.dbt.frontend import Block, cut
from vmm.engine.dbt.rewritten import Rewritten, Version, Versions, places
from vmm.memory import PhysicalMemory

ADD_IMM32, MOV_TO_MEMORY, RET = b"\x05\x44\x33\x22\x11", b"\x89\x15\x00\x20\x00\x00", b"\xC3"


def block_of(code: bytes, physical: int = 0x1000, second: int | None = None) -> Block:
    block = cut(physical, physical, code, second, True)
    assert block is not None
    return block


def _shape(insn: Insn) -> Insn:
    return replace(insn, disp=0, imm=None)


def test_fields_hold_displacement_and_immediate() -> None:
    """Other bytes in a field make the same instruction with another number, and the number is those bytes."""
    rng, seen = random.Random(1), 0
    for _ in range(6000):
        code = rng.choice((b"", b"\x66", b"\x67")) + rng.randbytes(15)
        try:
            insn = decode(code)
        except DecodeError:
            continue
        found = fields(insn)
        for field, name in ((found.displacement, "disp"), (found.immediate, "imm")):
            if field is None:
                continue
            offset, size = field
            other = rng.randbytes(size)
            changed = decode(code[:offset] + other + code[offset + size:])
            assert _shape(changed) == _shape(insn)
            value = getattr(changed, name)
            mask = (1 << 8 * size) - 1
            assert value & mask == int.from_bytes(other, "little"), (code.hex(), name)
            seen += 1
    assert seen > 1000


def test_a_byte_is_rewritten_when_young_code_was_dropped_for_it_often() -> None:
    block, rewritten = block_of(ADD_IMM32 + RET), Rewritten()
    for _ in range(3):
        rewritten.dropped(0x1001, 0x1005, age=100)
        rewritten.dropped(0x1005, 0x1006, age=1 << 20)
    assert not rewritten.near(block)
    for _ in range(3):
        rewritten.dropped(0x1001, 0x1002, age=100)
        rewritten.dropped(0x1005, 0x1006, age=1 << 20)
    assert rewritten.near(block) == {0x1001}
    rewritten.calm(block)
    assert not rewritten.near(block) and rewritten.relapses(block) == 1


def test_a_block_ends_before_rewritten_code_and_checked_code_behind_a_write() -> None:
    rewritten = Rewritten()
    plain = block_of(MOV_TO_MEMORY + ADD_IMM32 + RET)
    assert boundary(plain, rewritten, False, False) == (False, None)
    rewritten.add((0x1007,))
    assert boundary(plain, rewritten, False, False) == (False, 0x1006)
    checked = block_of(ADD_IMM32 + MOV_TO_MEMORY + RET, 0x1006)
    assert boundary(checked, rewritten, False, False) == (True, 0x1006 + 11)
    # even if none of its own bytes is known to be rewritten any more
    assert boundary(plain, Rewritten(), True, False) == (True, 0x1006)


@pytest.mark.parametrize("code, plain, paged", [
    ("90", False, False), ("01D8", False, False), ("0318", False, True), ("0118", True, True), ("50", True, True),
    ("58", False, True), ("E800000000", True, True), ("F00FB108", True, True), ("7400", False, False),
    ("8D0418", False, False), ("3818", False, True), ("6890000000", True, True), ("A4", True, True),
])
def test_which_instructions_may_write(code: str, plain: bool, paged: bool) -> None:
    insn = decode(bytes.fromhex(code))
    assert (writes(insn, False), writes(insn, True)) == (plain, paged)


def test_live_bytes_are_whole_fields_within_a_page() -> None:
    block = block_of(ADD_IMM32 + b"\x3C\x07" + RET)
    assert live_bytes(block, {0x1002, 0x1007}) == {1, 2, 3, 4}
    assert live_bytes(block, {0x1000, 0x1006}) == {6}
    crossing = block_of(ADD_IMM32, 0x1FFD, 0x5000)
    assert places(crossing) == [0x1FFD, 0x1FFE, 0x1FFF, 0x5000, 0x5001]
    assert live_bytes(crossing, set(places(crossing))) == frozenset()


def test_a_version_fits_when_its_fixed_bytes_are_there() -> None:
    memory, code = PhysicalMemory(0x3000), ADD_IMM32 + b"\x3C\x07" + RET
    memory.load_blob(0x1000, code)
    version = Version(block_of(code), frozenset((1, 2, 3, 4)))
    assert version.fits(memory)
    memory.load_blob(0x1001, b"\xAA\xBB\xCC\xDD")
    assert version.fits(memory)
    for place in (0x1000, 0x1005, 0x1006, 0x1007):
        memory.bytes[place] ^= 0x10
        assert not version.fits(memory)
        memory.bytes[place] ^= 0x10
    assert version.fits(memory)


def test_versions_keep_the_latest_first_and_not_too_many() -> None:
    versions, kept = Versions(), []
    for number in range(20):
        block = block_of(b"\x3C" + bytes((number,)) + RET)
        version = versions.candidate(block, frozenset())
        assert versions.candidate(block, frozenset()) is version and version in versions
        kept = versions.compiled(version)
        assert kept[0] is version
    assert len(kept) == 8 and [version.block.code[1] for version in kept] == list(range(19, 11, -1))
    first = versions.candidate(block_of(RET), frozenset())
    for number in range(20):
        versions.candidate(block_of(b"\x2C" + bytes((number,)) + RET), frozenset())
    assert first not in versions


def test_looks_find_out_that_code_has_settled() -> None:
    memory, code = PhysicalMemory(0x3000), ADD_IMM32 + RET
    memory.load_blob(0x1000, code)
    version = Version(block_of(code), frozenset((1, 2, 3, 4)))
    assert version.look(memory) == 1
    memory.bytes[0x1001] += 1
    assert [version.look(memory) for _ in range(3)] == [0, 1, 2]
