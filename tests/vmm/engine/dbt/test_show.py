"""What is shown of a translation is what runs."""

from __future__ import annotations

import pytest

from rtl.isa.registers import Seg
from tests.sim import guests
from vmm.engine.dbt import runtime
from vmm.engine.dbt.layout import CODE_MAP_AT, JUMPS_AT, TABLE_BYTES, TABLES_AT, offset, segment_offset
from vmm.engine.dbt.show import part_of, show, size_of, translations_at
from vmm.engine.dbt.translator import Thresholds, Translator
from vmm.memory import PhysicalMemory

LOOP = guests.START + 5


@pytest.fixture
def translator() -> Translator:
    """One that has counted to 60000."""
    memory = PhysicalMemory(2 << 20)
    memory.load_blob(guests.START, guests.count(60000) + guests.HALT)
    cpu = Translator(memory, thresholds=Thresholds(background=False))
    cpu.compiler.kept = {}
    cpu.state.eip = guests.START
    cpu.state_changed()
    cpu.run(240_000)
    return cpu


def test_region_comes_first(translator: Translator) -> None:
    found = translations_at(translator, LOOP)
    assert [(made.hot, made.blocks[0].eip) for made in found] == [(True, LOOP)]
    assert translations_at(translator, 0x5000) == []


def test_code_is_that_of_the_unit_in_use(translator: Translator) -> None:
    made = translations_at(translator, LOOP)[0]
    shown = show(made, translator.compiler.kept or {})
    assert shown.address == made.user.code != 0
    assert shown.head.eip == LOOP and shown.big and shown.blocks == (shown.head,)
    assert shown.ir.startswith("define ghccc void @translation(") and made.name not in shown.ir
    assert 64 < len(shown.code) < 2000 and shown.words[made.slots[0]] == f"slot for {LOOP + 10:08X}"
    with pytest.raises(ValueError, match=f"^the text of '{made.name}' was not kept$"):
        show(made, {})


def test_size_of_a_function_is_in_the_object_file(translator: Translator) -> None:
    module_of = translations_at(translator, LOOP)[0].module
    with pytest.raises(ValueError, match=r"^no function 'none' in a 64-bit ELF object file of \d+ bytes$"):
        size_of(module_of.object_code, "none")
    with pytest.raises(ValueError):
        size_of(b"\x7fELF\x01", "none")


@pytest.mark.parametrize(("distance", "name"), [
    (4, "ecx"), (offset("eip"), "eip"), (offset("fz"), "fz"), (segment_offset(int(Seg.DS), "base"), "ds.base"),
    (offset("routines") + 8 * runtime.PLACES["load32u"], "load32u"), (JUMPS_AT + 16, "jump cache"),
    (TABLES_AT, "READ table"), (TABLES_AT + 2 * TABLE_BYTES + 8, "WRITE table"), (CODE_MAP_AT + 9, "code map"),
    (offset("eip") + 1, None), (-1, None),
])
def test_parts_of_the_context_have_names(distance: int, name: str | None) -> None:
    assert part_of(distance) == name
