"""Random programs: the same for a seed, different for another, and most of them come to their end."""

from __future__ import annotations

from collections import Counter

import pytest

from sim.disassembly import disassemble
from sim.randprog import Mix, generate
from sim.randprog.program import maker_within
from sim.randprog.world import BODY, SLOT
from sim.stop import Reason
from vmm.cli.emulated import Emulated


def body(seed: int) -> bytes:
    return next(segment.data for segment in generate(seed).image.segments if segment.address == BODY)


def test_a_seed_is_a_program() -> None:
    assert generate(7).image.segments == generate(7).image.segments
    assert body(7) != body(8)


def test_every_slot_begins_with_an_instruction() -> None:
    code = body(3)
    bad = [at for at in range(0, len(code), SLOT) if disassemble(code[at:at + 15], at)[1] == 0]
    assert len(bad) < len(code) // SLOT // 20


def test_kinds_have_names_in_the_symbols() -> None:
    tables = [generate(seed).image.symbols for seed in range(6)]
    kinds = Counter(symbol.name.partition("_")[2] for table in tables for symbol in table.symbols)
    assert all(kinds[name] for name in Mix.__dataclass_fields__)


def test_weights_choose_the_kinds() -> None:
    only_strings = Mix(**dict.fromkeys(Mix.__dataclass_fields__, 0.0) | {"string": 1.0})
    names = {symbol.name.partition("_")[2] for symbol in generate(1, 50, only_strings).image.symbols.symbols}
    assert names == {"string", ""}


def test_most_programs_end_by_themselves() -> None:
    ends = Counter()
    for seed in range(12):
        program = generate(seed)
        machine = Emulated(ram_bytes=program.ram_bytes)
        machine.load(program.image)
        ends[machine.run(30_000).reason] += 1
    assert ends[Reason.GUEST_EXIT] >= 8, ends


def test_a_slot_is_never_too_long() -> None:
    sizes = iter([40, 33, 30])
    assert len(maker_within(lambda: bytes(next(sizes)), 30, b"ab")) == 32


@pytest.mark.parametrize("seed", range(20))
def test_programs_fit_their_memory(seed: int) -> None:
    program = generate(seed)
    assert program.image.end <= program.ram_bytes
