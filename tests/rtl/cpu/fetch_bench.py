"""A naive world around `Fetch`: memory, page tables, data side, walker, storing program and decoder, all in Python."""

import random
from dataclasses import dataclass, field

from rtl.cpu.fetch import Fetch
from rtl.mmu.walkport import Outcome
from tests.rtl.simulation import simulate

RAM_PAGES = 24
PAGE = 4096


@dataclass
class Page:
    frame: int
    user: int = 1
    uncached: int = 0
    large: int = 0


@dataclass
class World:
    """What the front end should see, and how the bench is to behave.

    `pages` maps linear page numbers; None means that paging is off. The nested tables refuse the pages of `refused`:
    (guest-physical address, whether it is that of a table's entry). `guest_paging` 0 leaves nested paging alone.
    """

    seed: int
    pages: dict[int, Page] | None = None
    refused: dict[int, tuple[int, int]] = field(default_factory=dict)
    guest_paging: int = 1
    cs_base: int = 0
    user: int = 0
    latency: tuple[int, int] = (1, 12)
    take_chance: float = 0.7
    redirect_chance: float = 0.05
    drained_chance: float = 0.5
    store_chance: float = 0.0
    longest: int = 11
    redirect_walks: bool = True  # redirect also accesses that walk, which the core does not do
    targets: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.ram = bytearray(self.rng.randbytes(RAM_PAGES * PAGE))

    def physical(self, linear: int) -> int | None:
        """Physical address, or None if fetching from `linear` faults."""
        if self.pages is None:
            return linear
        page = self.pages.get(linear >> 12)
        if page is None or self.user > page.user or linear >> 12 in self.refused:
            return None
        return page.frame << 12 | linear & 0xFFF

    def byte(self, linear: int) -> int | None:
        physical = self.physical(linear)
        if physical is None:
            return None
        return self.ram[physical] if physical < len(self.ram) else 0xFF

    def fault_code(self, linear: int) -> int:
        return int(linear >> 12 in (self.pages or {})) | self.user << 2


class DataSide:
    """Answers the refill port word by word after a random delay; obeys the rules of `RequestPort` and `SnoopPort`."""

    def __init__(self, world: World):
        self.world = world
        self.words: list[int] = []
        self.delay = 0
        self.blocked = False
        self.requests: list[tuple[int, bool]] = []

    def drive(self, ctx, port) -> None:
        rng = self.world.rng
        giving = bool(self.words) and self.delay == 0 and rng.random() < 0.9
        self.ready = not self.words and not self.blocked and rng.random() < 0.8
        ctx.set(port.ready, self.ready)
        ctx.set(port.rvalid, giving)
        if giving:
            # Read as late as possible, as if from memory.
            address = self.words.pop(0)
            value = self.world.ram[address:address + 4] if address < len(self.world.ram) else b"\xff" * 4
            ctx.set(port.rdata, int.from_bytes(value, "little"))
        elif self.words:
            self.delay = max(0, self.delay - 1)
        if ctx.get(port.valid) and self.ready:
            address = ctx.get(port.addr) & ~3
            line = ctx.get(port.line)
            self.requests.append((address, bool(line)))
            self.words = [address & ~31 | (address + 4 * i) & 31 for i in range(8)] if line else [address]
            self.delay = rng.randint(*self.world.latency)


class Walker:
    """Answers the walk port after a random delay."""

    def __init__(self, world: World):
        self.world = world
        self.delay: int | None = None
        self.walks: list[int] = []

    def drive(self, ctx, port, permitted: bool) -> None:
        """`permitted`: walking was permitted in the cycle before this one."""
        ctx.set(port.done, 0)
        if not ctx.get(port.valid):
            assert self.delay is None
            return
        linear = ctx.get(port.page) << 12
        if self.delay is None:
            assert permitted, "a walk began without permission"
            self.delay = self.world.rng.randint(0, 12)
            self.walks.append(linear)
        if self.delay:
            self.delay -= 1
            return
        self.delay = None
        ctx.set(port.done, 1)
        assert ctx.get(port.user) == self.world.user
        if linear >> 12 in self.world.refused:
            gpa, table = self.world.refused[linear >> 12]
            ctx.set(port.outcome, Outcome.NESTED_FAULT)
            ctx.set(port.fault_gpa, gpa)
            ctx.set(port.fault_table, table)
            ctx.set(port.fault_code, self.world.fault_code(linear))
        elif self.world.physical(linear) is None:
            ctx.set(port.outcome, Outcome.PAGE_FAULT)
            ctx.set(port.fault_code, self.world.fault_code(linear))
        else:
            page = self.world.pages[linear >> 12]
            ctx.set(port.outcome, Outcome.TRANSLATED)
            ctx.set(port.translation, {"frame": page.frame, "user": page.user, "writable": 1, "dirty": 1,
                                       "uncached": page.uncached, "shared": 0, "large": page.large})


class Storer:
    """A program's stores, near the code: notice, answer, then the write, after which a hit must restart fetching."""

    def __init__(self, world: World, side: DataSide):
        self.world = world
        self.side = side
        self.address = 0
        self.waiting: int | None = None
        self.answered = False
        self.hit = False
        self.hits = self.stores = 0

    def drive(self, ctx, port, linear: int) -> bool:
        """One cycle of a store. Returns whether fetching must restart after this cycle."""
        rng = self.world.rng
        ctx.set(port.valid, 0)
        if self.waiting is None:
            if rng.random() < self.world.store_chance:
                physical = self.world.physical((linear + rng.randint(-64, 96)) & 0xFFFFFFFF)
                if physical is not None and physical < len(self.world.ram):
                    self.address, self.waiting, self.answered = physical, rng.choice([0, 0, 1, 5, 20]), False
                    self.side.blocked = True
                    ctx.set(port.valid, 1)
                    ctx.set(port.line, physical >> 5)
                    self.stores += 1
            return False
        if not self.answered:
            self.hit, self.answered = bool(ctx.get(port.hit)), True
            self.hits += self.hit
        if self.waiting:
            self.waiting -= 1
            return False
        self.waiting = None
        self.world.ram[self.address] ^= rng.randint(1, 255)
        self.side.blocked = False
        return self.hit


class Bench:
    """Runs `Fetch` in a `World` and checks each byte the decoder takes against memory as it is at that moment."""

    def __init__(self, world: World, **parameters):
        self.world = world
        self.dut = Fetch(**parameters)
        self.side = DataSide(world)
        self.walker = Walker(world)
        self.storer = Storer(world, self.side)
        self.taken = self.redirects = self.faults = 0
        self.pulses = dict.fromkeys(("p_hit", "p_miss", "p_itlb_hit", "p_itlb_miss", "p_stall"), 0)

    def run(self, cycles: int) -> None:
        async def bench(ctx):
            self.start(ctx)
            for _ in range(cycles):
                self.cycle(ctx)
                for name in self.pulses:
                    self.pulses[name] += ctx.get(getattr(self.dut, name))
                await ctx.tick()

        simulate(self.dut, bench)

    def start(self, ctx) -> None:
        dut, world = self.dut, self.world
        ctx.set(dut.ram_pages, RAM_PAGES)
        ctx.set(dut.cs_base, world.cs_base)
        ctx.set(dut.user, world.user)
        ctx.set(dut.control.paging, world.pages is not None and world.guest_paging)
        ctx.set(dut.control.nested, bool(world.refused) or not world.guest_paging)
        self.permitted = False
        self.eip = world.targets[0]
        self.need = 1
        self.pending = True  # a flush is to be done in this cycle

    def linear(self, offset: int = 0) -> int:
        return self.world.cs_base + self.eip + offset & 0xFFFFFFFF

    def cycle(self, ctx) -> None:
        dut, rng = self.dut, self.world.rng
        self.walker.drive(ctx, dut.walk, self.permitted)
        for name in ("d_take", "d_redirect", "x_redirect", "starved", "drained"):
            ctx.set(getattr(dut, name), 0)
        self.permitted = False
        flush = self.pending
        self.pending = self.storer.drive(ctx, dut.snoop, self.linear())
        target = self.eip
        predicted = rng.choice(self.world.targets)
        if self.pending and rng.random() < 0.5:
            # The flush may also come in the very cycle of the write.
            self.pending, flush = False, True
        if not flush:
            target, flush = self.decode(ctx)
        may_redirect = self.world.redirect_walks or not ctx.get(dut.q_walked)
        if flush or (may_redirect and rng.random() < self.world.redirect_chance):
            self.redirects += 1
            if not flush:
                target = rng.choice(self.world.targets)
            by_x = flush or rng.random() < 0.5
            ctx.set(dut.x_redirect, by_x)
            ctx.set(dut.x_redirect_eip, target)
            # X overrides whatever decode wants in the same cycle.
            ctx.set(dut.d_redirect, not by_x or rng.random() < 0.3)
            ctx.set(dut.d_redirect_eip, predicted if by_x else target)
            self.eip = target
        self.side.drive(ctx, dut.refill)

    def decode(self, ctx) -> tuple[int, bool]:
        """Checks the window and takes bytes. Returns where to flush to, if so."""
        dut, world = self.dut, self.world
        count = ctx.get(dut.q_count)
        assert ctx.get(dut.q_eip) == self.eip
        if count >= self.need:
            # Between the write of a store and the flush for it, decode is not to be believed.
            if world.rng.random() < world.take_chance and not self.pending:
                window = ctx.get(dut.q_bytes)
                for i in range(self.need):
                    assert window >> 8 * i & 0xFF == world.byte(self.linear(i)), f"byte {i} at {self.linear():#x}"
                ctx.set(dut.d_take, self.need)
                self.taken += self.need
                self.eip = self.eip + self.need & 0xFFFFFFFF
                self.need = world.rng.randint(1, world.longest)
            return self.eip, False
        if ctx.get(dut.q_fault):
            linear = self.linear(count)
            assert ctx.get(dut.q_fault_linear) == linear
            assert world.physical(linear) is None, "a fault where there is none"
            assert ctx.get(dut.q_fault_code) == world.fault_code(linear)
            gpa, table = world.refused.get(linear >> 12, (None, None))
            assert ctx.get(dut.q_fault_nested) == (gpa is not None)
            if gpa is not None:
                assert ctx.get(dut.q_fault_table) == table
                assert ctx.get(dut.q_fault_gpa) == (gpa if table else gpa & ~0xFFF | linear & 0xFFF)
            self.faults += 1
            self.need = 1
            return world.rng.choice(world.targets), True
        drained = world.rng.random() < world.drained_chance
        ctx.set(dut.starved, 1)
        ctx.set(dut.drained, drained)
        self.permitted = drained
        return self.eip, False
