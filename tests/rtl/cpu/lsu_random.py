"""Random traffic against the load/store unit, and the naive model that judges it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np

from rtl.isa.paging import PTE_A, PTE_D, PTE_G, PTE_P, PTE_PCD, PTE_PS, PTE_RW, PTE_US
from tests.rtl.cpu.lsu_bench import LOAD, RMW, STORE, LsuBench
from vmm.paging.walk import GuestFault, walk

RAM_WORDS = 1 << 18
DIRECTORY, TABLES = 0x10, (0x11, 0x12)
DATA_FRAMES = range(0x20, 0x38)
DMA_FRAME = 0x38            # written by DMA alone
VGA_FRAME = 0xA1
MMIO_FRAME = 0x200          # beyond RAM
MARGIN = 8                  # cycles in which a device's write may or may not be seen


class Truth:
    """Memory as the programmer sees it, with the history of each word."""

    def __init__(self, words: np.ndarray):
        self.words = {}
        self.base = words
        self.history: dict[int, list[tuple[int, int]]] = {}
        self.cycle = 0

    def read32(self, address: int) -> int:
        index = address >> 2
        return self.words.get(index, int(self.base[index]) if index < len(self.base) else 0)

    def write32(self, address: int, value: int, mask: int = 0xF) -> None:
        old = self.read32(address)
        bits = sum(0xFF << 8 * i for i in range(4) if mask >> i & 1)
        self.history.setdefault(address >> 2, [(-1, old)]).append((self.cycle, old & ~bits | value & bits))
        self.words[address >> 2] = old & ~bits | value & bits

    def read_byte(self, address: int) -> int:
        return self.read32(address) >> 8 * (address & 3) & 0xFF

    def write_byte(self, address: int, value: int) -> None:
        self.write32(address & ~3, value << 8 * (address & 3), 1 << (address & 3))

    def seen(self, address: int, first: int, last: int) -> set[int]:
        """Values the word had at some moment from cycle `first` to `last`."""
        history = self.history.get(address >> 2)
        if history is None:
            return {self.read32(address)}
        before = [value for cycle, value in history if cycle <= first]
        return {before[-1] if before else history[0][1]} | {v for c, v in history if first <= c <= last}


class Dry:
    """Memory that a walk may read but does not change."""

    def __init__(self, truth: Truth):
        self.read32 = truth.read32

    def write32(self, address: int, value: int) -> None:
        pass


@dataclass(frozen=True)
class Fault:
    """#PF, or with `gpa` #NPF."""

    code: int
    gpa: int | None = None
    table: int = 0


@dataclass
class Access:
    kind: int
    linear: int
    size: int
    user: int
    phys: int
    data: int
    started: int = 0
    pieces: list[int] = field(default_factory=list)      # physical address of each byte


class RandomTraffic:
    """Pipeline, instruction refills, instruction walks, DMA, and an MMIO device, all at random from one seed."""

    def __init__(self, bench: LsuBench, seed: int, *, kill=0.005, paging=0.8, code=0.004, dma=0.01, walk=0.02):
        self.bench = bench
        self.random = random.Random(seed)
        self.kill = kill
        self.paging_share = paging
        self.code_rate = code
        self.dma_rate = dma
        self.walk_rate = walk
        self.truth = Truth(bench.ram)
        self.m: Access | None = None
        self.x: Access | None = None
        self.code: dict | None = None
        self.dma: dict | None = None
        self.walk: dict | None = None
        self.mmio: dict[int, int] = {}
        self.recent: list[Access] = []
        self.hot_lines = {n for n in range((MMIO_FRAME + 1) << 7) if self.random.random() < 0.2}
        self.checked = {"load": 0, "store": 0, "fault": 0, "kill": 0, "code": 0, "dma": 0, "walk": 0, "compare": 0,
                        "nested fault": 0}
        for frame in (*DATA_FRAMES, DMA_FRAME, VGA_FRAME):
            for word in range(1024):
                bench.ram[frame * 1024 + word] = self.random.getrandbits(32)
        self.new_world()

    # Page tables and controls change only between drains.

    def new_world(self) -> None:
        self.recent = []
        r, ram = self.random, self.bench.ram
        frames = [*DATA_FRAMES] * 4 + [DMA_FRAME, DMA_FRAME, VGA_FRAME, MMIO_FRAME]
        for table in TABLES:
            for index in range(32):
                pte = r.choice(frames) << 12
                for bit, share in ((PTE_P, .9), (PTE_RW, .8), (PTE_US, .8), (PTE_A, .5), (PTE_D, .3), (PTE_PCD, .1),
                                   (PTE_G, .3)):
                    pte |= bit if r.random() < share else 0
                ram[table * 1024 + index] = pte
        directory = DIRECTORY * 1024
        for index, table in enumerate(TABLES):
            ram[directory + index] = table << 12 | PTE_P | PTE_RW | PTE_US | (PTE_A if r.random() < .5 else 0)
        large = PTE_P | PTE_PS
        ram[directory + 1] &= ~np.uint32(r.choice((0, 0, PTE_RW, PTE_US)))
        ram[directory + 2] = large | PTE_US | r.choice((0, PTE_RW))
        ram[directory + 3] = large | PTE_RW
        ram[directory + 4] = large | PTE_RW | PTE_US | 1 << 17
        ram[directory + 5] = 0
        self.truth.words = {n: v for n, v in self.truth.words.items() if n >= RAM_WORDS}
        self.truth.history.clear()
        self.paging = r.random() < self.paging_share
        self.wp, self.pse = r.getrandbits(1), r.random() < .8
        control = self.paging | self.wp << 1 | self.pse << 2 | r.getrandbits(1) << 3
        control |= (r.random() < .1) << 4 | DIRECTORY << 5
        self.bench.poke("control", int(control))

    def drain(self) -> None:
        """Finish everything, write the cache back, compare all memory, change the world."""
        for _ in range(3000):
            if self.m is None and self.x is None and self.code is None and self.dma is None and self.walk is None \
                    and self.bench.peek("idle"):
                break
            self.step(quiet=True)
        else:
            raise AssertionError("the unit never becomes idle")
        if self.random.random() < 0.7:
            self.bench.poke("wbinvd", 1)
            self._tick()
            self.bench.poke("wbinvd", 0)
            for _ in range(9000):
                if self.bench.peek("idle"):
                    break
                self._tick()
            else:
                raise AssertionError("cleaning never ends")
            for index, value in self.truth.words.items():
                if index < RAM_WORDS:
                    assert int(self.bench.ram[index]) == value, f"memory word {index * 4:#x}"
            self.checked["compare"] += 1
            self.new_world()
            kind = "maintenance_inv_all"
        else:
            kind = self.random.choice(("maintenance_inv_nonglobal", "maintenance_inv_page"))
            self.bench.poke("maintenance_inv_linear", self._page() << 12)
        self.bench.poke(kind, 1)
        self._tick()
        self.bench.poke(kind, 0)

    def _page(self) -> int:
        r = self.random
        return r.choice((0, 0, 0, 1, 1, 2, 3, 3, 4, 5)) << 10 | r.randrange(32)

    def _access(self) -> Access:
        r = self.random
        if self.recent and r.random() < .7:
            # Near an earlier access: hits, and hazards between stores and loads.
            old = r.choice(self.recent)
            page, offset = old.linear >> 12, max(0, min(4095, (old.linear & 4095) + r.randrange(-4, 5)))
            return self._finish(page, offset, old.phys)
        page = self._page()
        if page >> 10 in (2, 3):
            page = page & ~0x3FF | r.choice((*DATA_FRAMES, DMA_FRAME))
        offset = r.choice((r.randrange(0, 64), r.randrange(4096 - 40, 4096), r.randrange(4096)))
        phys = not self.paging or r.random() < .1
        if phys:
            page = r.choice((*DATA_FRAMES[:-1], DMA_FRAME - 1))
        return self._finish(page, offset, int(phys))

    def _finish(self, page: int, offset: int, phys: int) -> Access:
        r = self.random
        kind = r.choice((LOAD, LOAD, RMW, STORE, STORE))
        access = Access(kind, page << 12 | offset, r.choice((0, 1, 2, 2)), r.getrandbits(1), phys, r.getrandbits(32))
        if not self.paging:
            access.phys = r.getrandbits(1)
        if kind == STORE and self.judge(access, Dry(self.truth)) is None \
                and any(address >> 12 == DMA_FRAME for address in access.pieces):
            access.kind = LOAD
        if r.random() < .1 or self.judge(access, Dry(self.truth)) is None:
            self.recent = [*self.recent[-7:], access]
        return access

    # The model: what must come out when an access leaves M.

    def translate(self, memory, linear: int, *, write: bool, user: bool) -> tuple[int, int, int] | Fault:
        """(frame, U/S, R/W) of the page of `linear` as the architecture says."""
        if not self.paging:
            return linear >> 12, 1, 1
        answer = walk(memory, DIRECTORY << 12, linear, write=write, user=user, wp=bool(self.wp), pse=bool(self.pse))
        if isinstance(answer, GuestFault):
            return Fault(answer.code)
        return answer.frame, int(answer.user), int(answer.writable)

    def judge(self, access: Access, memory=None) -> tuple[Fault, int] | None:
        """Translate as the architecture says: a fault and its linear address, or None with `access.pieces` filled."""
        last = access.linear + (1 << access.size) - 1
        frames = {}
        for linear in (access.linear, last):
            page = (linear & 0xFFFF_FFFF) >> 12
            if page in frames:
                continue
            if access.phys:
                frames[page] = page
                continue
            at = linear if page == access.linear >> 12 else page << 12
            answer = self.translate(memory or self.truth, at, write=access.kind != LOAD, user=bool(access.user))
            if isinstance(answer, Fault):
                return answer, at
            frames[page] = answer[0]
        access.pieces = [frames[a >> 12] << 12 | a & 0xFFF for a in range(access.linear, last + 1)]
        return None

    def expected_load(self, access: Access) -> list[set[int]]:
        now = self.bench.cycle
        result = []
        for address in access.pieces:
            words = self.truth.seen(address & ~3, access.started - MARGIN, now) \
                if address >> 12 == DMA_FRAME else {self.truth.read32(address & ~3)}
            result.append({word >> 8 * (address & 3) & 0xFF for word in words})
        return result

    # One cycle.

    def step(self, quiet=False) -> None:
        b, r = self.bench, self.random
        self.truth.cycle = b.cycle
        self._devices(quiet)
        x_leaves = self._x_stage()
        killed = False
        if self.m is not None and not b.peek("m_walked") and r.random() < self.kill:
            killed = True
            self.checked["kill"] += 1
            if self.x is not None and not x_leaves and r.random() < .5:
                b.poke("x_kill", 1)
                self.x = None
        b.poke("m_drained", int(self.x is None and not killed and r.random() < .9))
        m_leaves = self._m_stage(killed, x_leaves)
        go = int((self.m is None or m_leaves) and not quiet and r.random() < .8)
        incoming = None
        if go:
            incoming = self._access()
            b.poke("a_linear", incoming.linear)
            b.poke("a_size", incoming.size)
            b.poke("a_kind", incoming.kind)
            b.poke("a_user", incoming.user)
            b.poke("a_phys", incoming.phys)
            incoming.started = b.cycle
        b.poke("a_go", go)
        moved = self.m if m_leaves and not killed and m_leaves != "fault" else None
        if x_leaves:
            self.x = None
        if moved is not None:
            self.x = moved
        if m_leaves:
            self.m = None
        if incoming is not None:
            self.m = incoming
        self._tick()
        b.poke("x_kill", 0)

    def _x_stage(self) -> bool:
        b, x = self.bench, self.x
        b.poke("x_commit", 0)
        if x is None or self.random.random() < .2:
            return False
        if x.kind != STORE:
            return True
        assert b.peek("x_store")
        lines = {x.pieces[0] >> 5, x.pieces[-1] >> 5}
        assert b.peek("snoop_hit") == int(bool(lines & self.hot_lines)), "snoop"
        if not b.peek("x_ready"):
            return False
        b.poke("x_commit", 1)
        b.poke("x_data", x.data)
        assert b.peek("store_valid") and b.peek("store_paddr") == x.pieces[0]
        for i, address in enumerate(x.pieces):
            self.truth.write_byte(address, x.data >> 8 * i & 0xFF)
            if i and not address & 3:
                assert b.peek("store_paddr_hi") == address
        self.checked["store"] += 1
        return True

    def _m_stage(self, killed: bool, x_leaves: bool):
        b, access = self.bench, self.m
        b.poke("m_go", 0)
        b.poke("m_kill", int(killed))
        if killed:
            return "kill"
        if access is None or not b.peek("m_done") or not (self.x is None or x_leaves):
            return False
        if b.peek("m_fault"):
            fault = self.judge(access)
            seen = Fault(b.peek("m_fault_code"))
            if b.peek("m_fault_nested"):
                seen = Fault(seen.code, b.peek("m_fault_gpa"), b.peek("m_fault_table"))
            assert fault == (seen, b.peek("m_fault_linear")), (access, fault, seen)
            self.checked["nested fault"] += seen.gpa is not None
            b.poke("m_kill", 1)
            self.checked["fault"] += 1
            return "fault"
        if self.random.random() < .2:
            return False
        fault = self.judge(access)
        assert fault is None, (access, fault)
        assert b.peek("m_paddr") == access.pieces[0]
        if access.kind != STORE:
            got = b.peek("m_data")
            for i, allowed in enumerate(self.expected_load(access)):
                assert got >> 8 * i & 0xFF in allowed, (b.cycle, access, hex(got), allowed)
            assert access.size == 2 or got >> (8 << access.size) == 0
            self.checked["load"] += 1
        b.poke("m_go", 1)
        return "go"

    def _tick(self) -> None:
        b = self.bench
        line = b.peek("snoop_line") if b.peek("snoop_valid") else None
        # Only now is everything poked that `ready` depends on.
        if self.code and self.code["taken"] is None and b.peek("code_ready"):
            self.code["taken"] = b.cycle
            assert not (b.peek("x_store") and b.peek("store_paddr") >> 5 == self.code["address"] >> 5), \
                "a refill overtakes a store whose notice was given"
        dma = self.dma
        if dma and dma["taken"] is None and b.peek("dma_ready"):
            dma["taken"] = b.cycle
            if dma["write"]:
                self.truth.write32(dma["address"], dma["data"], dma["mask"])
        b.tick()
        self.truth.cycle = b.cycle
        b.poke("snoop_hit", int(line in self.hot_lines))

    # The other requesters.

    def _devices(self, quiet: bool) -> None:
        self._code(quiet)
        self._dma(quiet)
        self._walk_i(quiet)
        b = self.bench
        if b.peek("mmio_valid"):
            address = b.peek("mmio_addr")
            ready = int(self.random.random() < .5)
            b.poke("mmio_ready", ready)
            b.poke("mmio_rdata", self.mmio.get(address, 0))
            if ready and b.peek("mmio_write"):
                old, mask = self.mmio.get(address, 0), b.peek("mmio_mask")
                bits = sum(0xFF << 8 * i for i in range(4) if mask >> i & 1)
                self.mmio[address] = old & ~bits | b.peek("mmio_wdata") & bits
        else:
            b.poke("mmio_ready", 0)

    def _code(self, quiet: bool) -> None:
        b, r = self.bench, self.random
        if self.code is None:
            if quiet or r.random() > self.code_rate:
                return
            self.code = {"address": r.choice(DATA_FRAMES) << 12 | r.randrange(64) << 2, "words": 0, "taken": None}
            b.poke("code_valid", 1)
            b.poke("code_line", 1)
            b.poke("code_addr", self.code["address"])
        code = self.code
        if code["taken"] is None:
            return
        b.poke("code_valid", 0)
        if b.peek("code_rvalid"):
            address = code["address"] & ~31 | (code["address"] + 4 * code["words"]) & 31
            assert b.peek("code_rdata") in self.truth.seen(address, code["taken"], b.cycle), hex(address)
            code["words"] += 1
            if code["words"] == 8:
                self.code = None
                self.checked["code"] += 1

    def _dma(self, quiet: bool) -> None:
        b, r = self.bench, self.random
        if self.dma is None:
            if quiet or r.random() > self.dma_rate:
                return
            write = r.getrandbits(1)
            frame = DMA_FRAME if write else r.choice((*DATA_FRAMES, DMA_FRAME))
            self.dma = {"address": frame << 12 | r.randrange(64) << 2, "write": write, "taken": None,
                        "data": r.getrandbits(32), "mask": r.randrange(1, 16)}
            b.poke("dma_valid", 1)
            b.poke("dma_write", write)
            b.poke("dma_addr", self.dma["address"])
            b.poke("dma_wdata", self.dma["data"])
            b.poke("dma_mask", self.dma["mask"])
        dma = self.dma
        if dma["taken"] is None:
            return
        b.poke("dma_valid", 0)
        if dma["write"]:
            self.dma = None
            self.checked["dma"] += 1
        elif b.peek("dma_rvalid"):
            assert b.peek("dma_rdata") in self.truth.seen(dma["address"], dma["taken"], b.cycle)
            self.dma = None
            self.checked["dma"] += 1

    def _walk_i(self, quiet: bool) -> None:
        b, r = self.bench, self.random
        if self.walk is None:
            if quiet or not self.paging or r.random() > self.walk_rate:
                return
            self.walk = {"page": self._page(), "user": r.getrandbits(1)}
            b.poke("walk_i_valid", 1)
            b.poke("walk_i_page", self.walk["page"])
            b.poke("walk_i_user", self.walk["user"])
            return
        if "done" in self.walk:
            b.poke("walk_i_valid", 0)
            self.walk = None
            return
        if not b.peek("walk_i_done"):
            return
        page, user = self.walk["page"], bool(self.walk["user"])
        answer = self.translate(self.truth, page << 12, write=False, user=user)
        if isinstance(answer, Fault):
            seen = Fault(b.peek("walk_i_fault_code"))
            if b.peek("walk_i_outcome") == 2:
                seen = Fault(seen.code, b.peek("walk_i_fault_gpa"), b.peek("walk_i_fault_table"))
            assert b.peek("walk_i_outcome") and seen == answer
        else:
            entry = b.peek("walk_i_translation")
            assert b.peek("walk_i_outcome") == 0
            assert (entry & 0xFFFFF, entry >> 20 & 1, entry >> 21 & 1) == answer
        self.walk["done"] = True
        self.checked["walk"] += 1
