"""The onlooker's walk against the reference walk: answer, entries read in their order, nothing written."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rtl.isa.registers import Cr0, Cr4
from sim.walks import Access, WalkText, explain_walk
from tests.rtl.mmu.tables2d import Space, World, expected

WORDS = 0x500 << 10


def state_of(space: Space) -> dict:
    guest = space.guest
    cr0 = (Cr0.PG if guest else 0) | (Cr0.WP if guest and guest.wp else 0)
    return {"cr0": cr0, "cr3": guest.root if guest else 0, "cr4": Cr4.PSE if guest and guest.pse else 0,
            "svm": {"guest": True, "nested": True, "n_cr3": space.host.root, "host_pse": space.host.pse,
                    "asid": space.asid}}


def read(text: WalkText) -> list[tuple[str, int]]:
    entries = (re.match(r" *(guest|nested) \w+ entry \w+h at (\w+):", line) for line in text.lines)
    return [(entry[1], int(entry[2], 16)) for entry in entries if entry]


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_the_reference(seed: int) -> None:
    words = np.zeros(WORDS, np.uint32)
    world = World(seed, words, sound=(.9, .97, .99)[seed % 3])
    kinds = dict.fromkeys(("translated", "page fault", "nested, table", "nested, final"), 0)
    for _ in range(100):
        space, (page, write, user) = world.space(3), world.access()
        before = words.copy()
        text = explain_walk(lambda at: int(words[at >> 2]) if at >> 2 < WORDS else 0xFFFF_FFFF, state_of(space),
                            page << 12, Access(bool(write), bool(user)))
        assert np.array_equal(words, before)
        wanted, log = expected(words.copy(), space, page, write, user)
        assert read(text) == [entry for entry in log if entry[0] != "write"]
        last = text.lines[-1]
        if not isinstance(wanted[0], str):
            kinds["translated"] += 1
            assert text.physical == wanted[0] << 12 and last.startswith(f"physical address {wanted[0] << 12:08X}; ")
            continue
        kind, code, gpa = wanted
        kinds[kind] += 1
        bit = {"page fault": 0, "nested, final": 1 << 32, "nested, table": 1 << 33}[kind]
        assert text.physical is None
        assert (f"error code {code:X}h, CR2 {page << 12:08X}" if not bit else
                f"EXITINFO1 {bit | code:X}h") in last and (not bit or last.endswith(f"EXITINFO2 {gpa:X}h"))
    assert min(kinds.values()) > 0, kinds


def test_one_dimension() -> None:
    memory = {0x1000: 0x2067, 0x2004: 0x5065, 0x1004: 0x40_00E1}
    state = {"cr0": Cr0.PG | Cr0.WP, "cr3": 0x1000, "cr4": Cr4.PSE, "svm": {"guest": False, "gif": True}}
    assert explain_walk(memory.__getitem__, state, 0x1234, Access()).lines == [
        "linear address 00001234, supervisor read: host mode, CR3 00001000",
        "directory entry 0h at 00001000: 00002067, table 00002000 [P RW US A D]",
        "table entry 1h at 00002004: 00005065, page 00005000 [P US A D]",
        "physical address 00005234; 2 references"]
    assert explain_walk(memory.__getitem__, state, 0x1234, Access(write=True)).lines[-1] == (
        "#PF: no right to write; error code 3h, CR2 00001234")
    assert explain_walk(memory.__getitem__, state, 0x40_0004, Access(user=True)).lines[1:] == [
        "directory entry 1h at 00001004: 004000E1, 4 MiB page 00400000 [P A D PS]",
        "#PF: no right to read as a user; error code 5h, CR2 00400004"]


def test_without_paging_nothing_is_read() -> None:
    assert explain_walk({}.__getitem__, {"cr0": 1, "cr3": 0, "cr4": 0}, 0x123, Access()).lines == [
        "linear address 00000123, supervisor read: paging off", "physical address 00000123; 0 references"]
