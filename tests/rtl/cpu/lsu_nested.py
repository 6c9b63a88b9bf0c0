"""Random traffic under nested paging: the guest's tables of `RandomTraffic`, nested ones behind them."""

from __future__ import annotations

from rtl.isa.paging import PTE_A, PTE_D, PTE_P, PTE_PS, PTE_RW, PTE_US
from rtl.mmu.control import PagingControl
from tests.rtl.cpu.lsu_random import DATA_FRAMES, DIRECTORY, DMA_FRAME, TABLES, Fault, RandomTraffic
from tests.rtl.mmu.reference2d import Refused, Tables, two_dimensions

NESTED_DIRECTORY, NESTED_TABLE = 0x14, 0x15
ASID = 3


class Marking:
    """The reference's view of a memory of `RandomTraffic`."""

    def __init__(self, memory):
        self.memory = memory

    def read(self, name: str, place: int) -> int:
        return self.memory.read32(place)

    def set(self, place: int, seen: int, bits: int) -> None:
        if seen | bits != seen:
            self.memory.write32(place, self.memory.read32(place) | bits)


class NestedTraffic(RandomTraffic):
    """Guest-physical pages lie where their number says, unless they fault; the first 4 MiB in pages of 4 KiB."""

    def new_world(self) -> None:
        super().new_world()
        r, ram = self.random, self.bench.ram
        marks = [bit for bit in (PTE_A, PTE_D) if r.random() < .5]
        ram[NESTED_DIRECTORY * 1024] = NESTED_TABLE << 12 | PTE_P | PTE_RW | PTE_US | sum(marks)
        for region in range(1, 1024):
            ram[NESTED_DIRECTORY * 1024 + region] = region << 22 | PTE_P | PTE_RW | PTE_US | PTE_PS
        for page in range(1024):
            entry = page << 12 | PTE_P | PTE_RW | PTE_US
            if page in (*DATA_FRAMES, DMA_FRAME):
                entry &= ~sum(bit for bit in (PTE_P, PTE_RW, PTE_US) if r.random() < .05)
            if page in TABLES:
                entry &= ~r.choice((0,) * 8 + (PTE_P, PTE_RW))
            ram[NESTED_TABLE * 1024 + page] = entry | sum(bit for bit in (PTE_A, PTE_D) if r.random() < .4)
        self.bench.poke("maintenance_asid", ASID)
        self.bench.poke("control", PagingControl.const({
            "paging": int(self.paging), "wp": self.wp, "pse": int(self.pse), "pge": r.getrandbits(1),
            "cache_disable": int(r.random() < .1), "cr3_base": DIRECTORY, "asid": ASID,
            "nested": 1, "n_pse": 1, "n_cr3_base": NESTED_DIRECTORY}).as_value().value)

    def translate(self, memory, linear: int, *, write: bool, user: bool) -> tuple[int, int, int] | Fault:
        guest = Tables(DIRECTORY << 12, bool(self.pse), bool(self.wp)) if self.paging else None
        try:
            address, allowed_user, writable, *_ = two_dimensions(
                Marking(memory), guest, Tables(NESTED_DIRECTORY << 12, True), linear, write, user)
        except Refused as refused:
            kind, code, gpa = refused.args
            return Fault(code) if gpa is None else Fault(code, gpa, int(kind == "nested, table"))
        return address >> 12, int(allowed_user), int(writable)
