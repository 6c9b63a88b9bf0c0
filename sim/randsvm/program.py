"""A random virtual machine: host, guests, nested tables, and the rounds they play.

A guest that goes on keeps its ASID and its translations as long as nobody else has used either; else they are flushed,
as a host must. The guests of every third seed begin in odd states, and get odd events; those of another third have a
GIF of their own.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from rtl.isa.msrs import EFER_SVME
from rtl.isa.registers import Cr0, Cr4, Eflags
from rtl.isa.svm import ASIDS, IOPM_BYTES, MSRPM_BYTES, NP_ENABLE, REGION_BYTES, TlbControl, Vmcb

from .. import randprog
from ..image import Image, Protocol, Segment
from ..symbols import Symbol, SymbolTable
from . import guest, host, layout, nested, vmcb
from .odd import odd_event, oddities

#: Guests that take turns.
_GUESTS = 3
_KINDS = 3
_ODD, _GIF = 0, 2
_HOST_CR0 = Cr0.PE | Cr0.ET | Cr0.WP
#: Ports that are not intercepted: the guests' own, and the acknowledgement of an interrupt.
_OPEN_PORTS = (0x20, *range(0x80, 0x88))


@dataclass(frozen=True)
class Guests:
    """A random virtual machine that boots, plays its rounds and exits with value 0.

    Members
    -------
    next, vmrun : addresses of the first instruction of a round, and of the VMRUN.
    frames : for each round the host frames its guest may reach; None without nested paging, or for a broken VMCB.
    """

    seed: int
    image: Image
    next: int
    vmrun: int
    frames: tuple[nested.Frames | None, ...]

    @property
    def ram_bytes(self) -> int:
        return layout.RAM


@dataclass
class _Control:
    """A guest that goes on: its VMCB, under which nested root, and its translations' ASID."""

    address: int = 0
    serial: int = 0
    root: int | None = None
    sound: bool = False
    asid: int = 1


@dataclass
class _Rounds:
    rng: random.Random
    programs: tuple[randprog.Program, randprog.Program]
    tables: nested.NestedTables
    odd: random.Random | None
    gif: random.Random | None
    controls: list[_Control] = field(default_factory=lambda: [_Control() for _ in range(_GUESTS)])
    serial: int = 0
    #: VMCBs as they are in the image.
    memory: dict[int, bytes] = field(default_factory=dict)
    #: Which guest has last run with an ASID, and in the memory of which program.
    owners: dict[int, int] = field(default_factory=dict)
    runners: dict[bool, int] = field(default_factory=dict)

    def round(self) -> tuple[list[int], nested.Frames | None]:
        """The words of a round behind its link, and the frames its guest may reach."""
        rng = self.rng
        control = rng.choice(self.controls)
        fresh = not control.sound or rng.random() < 0.2
        words = self._fresh(control) if fresh else vmcb.change(rng)
        if self.odd:
            words = odd_event(self.odd, words)
        if self.gif:
            words = vmcb.own_gif(self.gif, words)
        words |= self._translations(control)
        control.sound = True
        if rng.random() < 0.12:
            words = vmcb.broken(rng, words)
            control.sound = False
        pokes = {control.address + offset: value for offset, value in words.items()}
        if fresh:
            self.memory[control.address] = _page(words)
            pokes = {}
        if rng.random() < 0.5:
            pokes |= {layout.REGISTERS + 4 * number: rng.getrandbits(32) for number in range(6)}
        known = control.sound and control.root is not None
        return self._row(control, pokes), self.tables.frames[control.root or 0] if known else None

    def _fresh(self, control: _Control) -> dict[int, int]:
        rng = self.rng
        self.serial += 1
        control.serial = self.serial
        control.address = layout.VMCBS[self.serial]
        control.asid = rng.randrange(1, ASIDS)
        under = rng.random() < 0.8
        control.root = None
        words = guest.start(rng, self.programs[under])
        if self.odd:
            words = oddities(self.odd, words)
        words |= vmcb.controls(rng)
        words |= guest.quad(Vmcb.NP_ENABLE, NP_ENABLE if under else 0)
        if under:
            control.root = rng.choices(self.tables.roots, (5, 3, 2, 1))[0]
            words |= guest.quad(Vmcb.N_CR3, control.root)
        return words | {Vmcb.ASID: control.asid}

    def _translations(self, control: _Control) -> dict[int, int]:
        """TLB_CONTROL, as far as the host must or may."""
        rng = self.rng
        memory = control.root is not None
        alone = self.owners.get(control.asid) == control.serial == self.runners.get(memory) and control.sound
        self.owners[control.asid] = self.runners[memory] = control.serial
        if not alone:
            return {Vmcb.TLB_CONTROL: rng.choice((TlbControl.ALL, TlbControl.ASID, TlbControl.ASID))}
        if rng.random() < 0.15:
            return {Vmcb.TLB_CONTROL: rng.choice(list(TlbControl)[1:])}
        return {}

    def _row(self, control: _Control, pokes: dict[int, int]) -> list[int]:
        rng = self.rng
        cr0, cr4 = _HOST_CR0 | Cr0.PG, Cr4.PSE | (Cr4.PGE if rng.random() < 0.2 else 0)
        address, efer, save = control.address, EFER_SVME, layout.HSAVE
        chance = rng.random()
        if chance < 0.02:
            cr0 = _HOST_CR0
        elif chance < 0.05:
            address = rng.choice((address + 8, 0x1000_0000, 0xFFFF_F000, 0xFEE0_0000))
        elif chance < 0.06:
            efer = 0
        elif chance < 0.08:
            save = rng.choice((save + 8, 0x1000_0000))
        if chance < 0.08:
            control.sound = False
        flags = Eflags.IF if rng.random() < 0.9 else 0
        rest = [address, rng.randrange(24, 70), 2 | flags, efer, save, rng.getrandbits(1)]
        return [cr0, cr4, len(pokes), *(word for poke in sorted(pokes.items()) for word in poke), *rest]


def generate(seed: int, rounds: int = 60) -> Guests:
    """The virtual machine of a seed: the same bytes everywhere."""
    rng = random.Random(seed)
    place = list(range(layout.NESTED_BASE >> 12, (layout.NESTED_BASE >> 12) + layout.GUEST_FRAMES))
    if rng.random() < 0.5:
        rng.shuffle(place)
    kind = seed % _KINDS
    plain = guest.with_slots(rng, randprog.generate(rng.getrandbits(32)), kind == _GIF)
    below = guest.with_slots(rng, randprog.generate(rng.getrandbits(32)), kind == _GIF)
    tables = nested.draw(rng, place)
    game = _Rounds(rng, (plain, below), tables, random.Random(f"odd {seed}") if kind == _ODD else None,
                   random.Random(f"gif {seed}") if kind == _GIF else None)
    rows, frames = [], []
    for _ in range(rounds):
        row, reached = game.round()
        rows.append(row)
        frames.append(reached)
    code, labels = host.code()
    parts = {segment.address: segment.data for segment in plain.image.segments}
    parts |= _placed(below.image, place) | host.tables() | tables.memory
    parts |= game.memory | {layout.CODE: code, layout.IOPM: _iopm(), layout.MSRPM: rng.randbytes(MSRPM_BYTES),
              layout.CURSOR: struct.pack("<I", layout.ROUNDS), layout.ROUNDS: _linked(rows)}
    segments = tuple(Segment(address, data, len(data)) for address, data in sorted(parts.items()))
    symbols = [symbol for symbol in below.image.symbols.symbols]
    symbols += [Symbol(labels["next"], labels["vmrun"] - labels["next"], "host_round"),
                Symbol(labels["vmrun"], 0x300, "host_vmrun")]
    image = Image(f"guests{seed}", Protocol.MULTIBOOT, layout.CODE, segments, SymbolTable.of(symbols))
    return Guests(seed, image, labels["next"], labels["vmrun"], tuple(frames))


def _page(words: dict[int, int]) -> bytes:
    """A VMCB."""
    page = bytearray(REGION_BYTES)
    for offset, value in words.items():
        struct.pack_into("<I", page, offset, value)
    return bytes(page)


def _placed(image: Image, place: list[int]) -> dict[int, bytes]:
    """The guest's memory in the host's frames."""
    pages: dict[int, bytes] = {}
    for segment in image.segments:
        for offset in range(0, len(segment.data), 0x1000):
            address = segment.address + offset
            pages[place[address >> 12] << 12 | address & 0xFFF] = segment.data[offset:offset + 0x1000]
    return pages


def _iopm() -> bytes:
    """Every port is intercepted but a few."""
    bits = bytearray(b"\xFF" * IOPM_BYTES)
    for port in _OPEN_PORTS:
        bits[port >> 3] &= ~(1 << (port & 7))
    return bytes(bits)


def _linked(rows: list[list[int]]) -> bytes:
    """Each row behind the address of the next; a zero at the end."""
    words: list[int] = []
    for row in rows:
        words += [layout.ROUNDS + 4 * (len(words) + 1 + len(row)), *row]
    return struct.pack(f"<{len(words) + 1}I", *words, 0)
