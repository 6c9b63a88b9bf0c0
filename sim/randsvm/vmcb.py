"""Random control areas of VMCBs: what is intercepted, events, the virtual interrupt; and what VMRUN must refuse."""

from __future__ import annotations

import random

from rtl.isa.exceptions import ERROR_CODE_MASK
from rtl.isa.exitcodes import INTERCEPT_WORDS, ExitCode, intercept_bit, intercept_word
from rtl.isa.registers import Cr0
from rtl.isa.svm import (
    EVENT_EV,
    EVENT_V,
    INTERRUPT_SHADOW,
    NP_ENABLE,
    VINTR_GIF,
    VINTR_GIF_ENABLE,
    VINTR_IGNORE_TPR,
    VINTR_IRQ,
    VINTR_MASKING,
    VINTR_WRITABLE,
    EventType,
    Vmcb,
)

from . import layout
from .guest import VECTORS, quad

#: Always intercepted: what would end the run, reach memory behind the nested tables' back, or hold interrupts off.
_ALWAYS = (ExitCode.SHUTDOWN, ExitCode.IOIO, ExitCode.HLT, ExitCode.INVD, ExitCode.VMRUN, ExitCode.VMLOAD,
           ExitCode.VMSAVE, ExitCode.STGI, ExitCode.CLGI)
_EVENT_TYPE = 8


def intercepts(rng: random.Random) -> dict[int, int]:
    """The intercept words; an interrupt from outside nearly always exits, so that the host gets the processor back."""
    words = []
    for _ in range(INTERCEPT_WORDS):
        full = rng.getrandbits(32)
        words.append(rng.choice((0, 0, full & rng.getrandbits(32) & rng.getrandbits(32), full, 0xFFFF_FFFF)))
    for code in _ALWAYS:
        words[intercept_word(code)] |= intercept_bit(code)
    if rng.random() < 0.97:
        words[intercept_word(ExitCode.INTR)] |= intercept_bit(ExitCode.INTR)
    return {Vmcb.INTERCEPT_CR + 4 * number: word for number, word in enumerate(words)}


def virtual_interrupt(rng: random.Random) -> dict[int, int]:
    vintr = rng.getrandbits(4) | rng.getrandbits(4) << 16
    vintr |= sum(bit for bit, chance in ((VINTR_IRQ, 0.4), (VINTR_IGNORE_TPR, 0.3), (VINTR_MASKING, 0.97))
                 if rng.random() < chance)
    vintr |= rng.choice((0, 0, 0, 0, rng.getrandbits(32) & (VINTR_GIF | ~VINTR_WRITABLE)))
    return {Vmcb.VINTR: vintr, Vmcb.VINTR + 4: rng.choice(VECTORS)}


def own_gif(rng: random.Random, words: dict[int, int]) -> dict[int, int]:
    """`words` of a guest that has a GIF of its own, so that nothing outside waits for what its STGI and CLGI do."""
    words = dict(words)
    if Vmcb.VINTR in words:
        words[Vmcb.VINTR] |= VINTR_GIF_ENABLE | (VINTR_GIF if rng.random() < 0.5 else 0)
    if Vmcb.INTERCEPT_MISC2 in words and rng.random() < 0.8:
        words[Vmcb.INTERCEPT_MISC2] &= ~(intercept_bit(ExitCode.STGI) | intercept_bit(ExitCode.CLGI))
    return words


def event(rng: random.Random) -> dict[int, int]:
    """An event to inject; exceptions mostly with an error code where they have one."""
    kind = rng.choice(list(EventType))
    vector = rng.choice(VECTORS)
    word = EVENT_V | kind << _EVENT_TYPE
    if kind == EventType.EXCEPTION:
        vector = rng.choice([number for number in range(20) if number not in (2, 8, 9, 15)])
        word |= EVENT_EV if (ERROR_CODE_MASK >> vector & 1) ^ (rng.random() < 0.1) else 0
    elif kind == EventType.SOFTWARE:
        vector = rng.choice((0x80, 0x81, 0x82, 3, vector))
    elif kind == EventType.NMI:
        vector = rng.choice((2, vector))
    return quad(Vmcb.EVENTINJ, word | vector | rng.choice((0, rng.getrandbits(16))) << 32)


def controls(rng: random.Random) -> dict[int, int]:
    """Everything of the control area but nested paging, ASID and TLB_CONTROL."""
    words = intercepts(rng) | virtual_interrupt(rng) | quad(Vmcb.EVENTINJ, 0)
    words[Vmcb.PAUSE_THRESHOLD] = rng.choice((0, 0, 1, 3)) << 16
    words |= quad(Vmcb.IOPM_BASE, layout.IOPM | rng.choice((0, 0xFFF)))
    words |= quad(Vmcb.MSRPM_BASE, rng.choice((layout.MSRPM, layout.MSRPM | 0x123, 0x2000_0000)))
    words |= quad(Vmcb.TSC_OFFSET, rng.choice((0, rng.getrandbits(64))))
    words |= quad(Vmcb.INTERRUPT_SHADOW, INTERRUPT_SHADOW if rng.random() < 0.1 else 0)
    words[Vmcb.CLEAN] = rng.choice((0, 0, rng.getrandbits(32)))
    return words


def change(rng: random.Random) -> dict[int, int]:
    """What a host changes between two runs of a guest."""
    words: dict[int, int] = {}
    if rng.random() < 0.5:
        words |= intercepts(rng)
    if rng.random() < 0.4:
        words |= event(rng)
    if rng.random() < 0.4:
        words |= virtual_interrupt(rng)
    if rng.random() < 0.2:
        words |= quad(Vmcb.INTERRUPT_SHADOW, rng.getrandbits(1))
    if rng.random() < 0.1:
        words |= quad(Vmcb.TSC_OFFSET, rng.getrandbits(64))
    return words


def broken(rng: random.Random, words: dict[int, int]) -> dict[int, int]:
    """`words` with something VMRUN refuses."""
    high = rng.choice((1, 0x8000_0000, 0xFFFF_FFFF))
    vmrun: dict[int, int] = {Vmcb.INTERCEPT_MISC2: rng.getrandbits(32) & ~intercept_bit(ExitCode.VMRUN)}
    kinds: tuple[dict[int, int], ...] = (
        quad(Vmcb.EFER, 0), quad(Vmcb.EFER, 0x1000 | 1 << rng.choice((0, 8, 10, 11, 13, 40))),
        quad(Vmcb.CR0, Cr0.PE | Cr0.NW), quad(Vmcb.CR0, Cr0.ET), {Vmcb.CR0 + 4: high},
        {Vmcb.CR4: 1 << rng.choice((0, 1, 5, 6, 9, 10, 31))}, {Vmcb.CR4 + 4: high}, {Vmcb.DR6 + 4: high},
        {Vmcb.DR7 + 4: high}, vmrun, {Vmcb.ASID: rng.choice((0, 16, 0xFFFF_FFFF))},
        quad(Vmcb.IOPM_BASE, rng.choice((0xFFFF_E000, 1 << 32))),
        quad(Vmcb.MSRPM_BASE, rng.choice((0xFFFF_F000, 1 << 63))),
        {Vmcb.EVENTINJ: EVENT_V | rng.choice((1, 5, 6, 7)) << _EVENT_TYPE},
        {Vmcb.EVENTINJ: EVENT_V | EventType.EXCEPTION << _EVENT_TYPE | rng.choice((2, 32, 255))},
        {Vmcb.N_CR3 + 4: high, Vmcb.NP_ENABLE: NP_ENABLE},
        {Vmcb.G_PAT + 4 * rng.getrandbits(1): 2 << 8 * rng.randrange(4), Vmcb.NP_ENABLE: NP_ENABLE},
        {rng.randrange(0, 0x680, 4): rng.getrandbits(32)})
    return {**words, **rng.choice(kinds)}
