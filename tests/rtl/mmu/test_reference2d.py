"""The golden model's two-dimensional walk against the reference: answers, and A and D in memory."""

import numpy as np
import pytest

from rtl.isa.svm import NPF_FINAL, NPF_TABLE
from tests.rtl.mmu.tables2d import World, expected
from vmm.paging.nested import NestedFault, nested_walk
from vmm.paging.walk import GuestFault

WORDS = 0x500 << 10


class Words:
    """Memory of the golden model's walk; beyond its end it reads all ones."""

    def __init__(self, words):
        self.words = words

    def read32(self, address):
        return int(self.words[address >> 2]) if address >> 2 < len(self.words) else 0xFFFF_FFFF

    def write32(self, address, value):
        if address >> 2 < len(self.words):
            self.words[address >> 2] = value


def walked(words, space, page, write, user):
    """The golden model's answer, in the form of `expected` as far as both have it."""
    guest = space.guest and (space.guest.root, space.guest.wp, space.guest.pse)
    answer = nested_walk(Words(words), space.host.root, space.host.pse, guest, page << 12,
                         write=bool(write), user=bool(user))
    if isinstance(answer, GuestFault):
        return "page fault", answer.code, None
    if isinstance(answer, NestedFault):
        kind = {NPF_FINAL: "nested, final", NPF_TABLE: "nested, table"}[answer.info & (NPF_FINAL | NPF_TABLE)]
        return kind, answer.info & 0x1F, answer.address
    return answer.frame, int(answer.user), int(answer.dirty)


@pytest.mark.parametrize("tangled", [False, True])
def test_golden_model_agrees(tangled, walks=300):
    kinds = dict.fromkeys(("translated", "page fault", "nested, table", "nested, final"), 0)
    for seed in range(6):
        truth = np.zeros(WORDS, np.uint32)
        world = World(seed, truth, sound=(.9, .97, .99)[seed % 3], tangled=tangled)
        words = truth.copy()
        for number in range(walks):
            access = world.space(1), *world.access()
            wanted, _ = expected(truth, *access)
            kind = wanted[0] if isinstance(wanted[0], str) else "translated"
            if kind == "translated":
                wanted = wanted[0], wanted[1], wanted[3]
            assert walked(words, *access) == wanted, (seed, number)
            kinds[kind] += 1
        assert np.array_equal(words, truth), seed
    assert min(kinds.values()) > 50, kinds
