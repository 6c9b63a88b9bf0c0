"""Starts of guests that no loader of segments, and no careful host, would make."""

from __future__ import annotations

import random
from collections.abc import Callable

from rtl.isa.registers import Cr0, Eflags
from rtl.isa.segments import (
    ATTR_DB,
    ATTR_P,
    TYPE_CONFORMING,
    TYPE_EXPAND_DOWN,
    TYPE_READABLE,
    SystemType,
)
from rtl.isa.svm import SegmentField, Vmcb

from ..randprog import world

_ATTRIBUTES = 16
_FLAGS = (Eflags.TF, Eflags.NT, Eflags.RF, Eflags.AC, Eflags.ID, Eflags.IOPL)
_CR0 = (Cr0.MP, Cr0.EM, Cr0.TS, Cr0.NE, Cr0.WP, Cr0.AM)
_TASKS = (SystemType.TSS16_BUSY, SystemType.TSS16_AVAILABLE, SystemType.TSS32_AVAILABLE)


def oddities(rng: random.Random, words: dict[int, int]) -> dict[int, int]:
    """`words` of a VMCB's save area with hidden parts of segments, levels, table limits and flags that do not go
    together, each now and then."""
    words = dict(words)

    def chance(of: float) -> bool:
        return rng.random() < of

    def change(segment: Vmcb, how: Callable[[int], int]) -> None:
        word = words[segment]
        words[segment] = word & 0xFFFF | (how(word >> _ATTRIBUTES) & 0xFFF) << _ATTRIBUTES

    for of, segment, bits in (
            (0.15, Vmcb.CS, ATTR_DB), (0.1, Vmcb.CS, TYPE_CONFORMING), (0.1, Vmcb.CS, TYPE_READABLE),
            (0.1, Vmcb.CS, ATTR_P), (0.15, Vmcb.SS, ATTR_DB), (0.1, Vmcb.SS, ATTR_P),
            (0.1, Vmcb.SS, TYPE_EXPAND_DOWN)):
        if chance(of):
            change(segment, lambda attributes, bits=bits: attributes ^ bits)  # type: ignore[misc]
    if chance(0.05):
        change(Vmcb.CS, lambda _attributes: rng.getrandbits(12))
    for of, place, values in (
            (0.05, Vmcb.SS + SegmentField.LIMIT, (0, 0xFFF, 0xFFFF, world.STACK)),
            (0.2, Vmcb.CS + SegmentField.LIMIT, (0, 0xFFFF, world.BODY + 0x100, world.BODY + 0x1000)),
            (0.1, Vmcb.IDTR + SegmentField.LIMIT, (0, 0x3F, 0x6F, 0x3FF)),
            (0.1, Vmcb.GDTR + SegmentField.LIMIT, (0, 0x17, 0x2F))):
        if chance(of):
            words[place] = rng.choice(values)
    if chance(0.2):
        level = 8 * (Vmcb.CPL & 3)
        words[Vmcb.CPL & ~3] = words[Vmcb.CPL & ~3] & ~(0xFF << level) | rng.randrange(256) << level
    if chance(0.2):
        change(Vmcb.TR, lambda _attributes: ATTR_P | rng.choice(_TASKS))
    if chance(0.02):
        change(Vmcb.TR, lambda _attributes: rng.getrandbits(8))
    if chance(0.2):
        words[Vmcb.LDTR] = world.SMALL | (rng.choice((ATTR_P, ATTR_P, 0)) | SystemType.LDT) << _ATTRIBUTES
        words[Vmcb.LDTR + SegmentField.LIMIT] = rng.choice((7, 0x7F, 0xFFFF))
        words[Vmcb.LDTR + SegmentField.BASE] = world.GDT
    if chance(0.1):
        words[Vmcb.RFLAGS] ^= rng.choice(_FLAGS)
    if chance(0.1):
        words[Vmcb.CR0] ^= rng.choice(_CR0)
    if chance(0.1):
        words[Vmcb.RSP] = rng.getrandbits(32)
    if chance(0.1):
        words[Vmcb.RIP] += rng.randrange(world.SLOT)
    return words


def odd_event(rng: random.Random, words: dict[int, int]) -> dict[int, int]:
    """The event of `words` with reserved bits, an error code where there is none, or #DF."""
    if Vmcb.EVENTINJ not in words:
        return words
    odd = rng.getrandbits(19) << 12 & 0x7FFF_F000 if rng.random() < 0.2 else 0
    word = words[Vmcb.EVENTINJ] | odd
    if rng.random() < 0.03:
        word = word & ~0x7FF | 0x308
    return {**words, Vmcb.EVENTINJ: word}
