"""What the walker does on its backing port; translations themselves are tested with the load/store unit."""

from amaranth.sim import Simulator

from rtl.isa.paging import PTE_A, PTE_P, PTE_RW
from rtl.mmu.walker import Walker
from rtl.mmu.walkport import Outcome

DIRECTORY, TABLE = 0x1000, 0x2000


def walk(memory, *, page=0, write=0, side="d", on_request=None):
    """(outcome, requests as (address, write, lock)) of one walk over `memory`; `on_request(n)` may change it."""
    walker = Walker(walk_cache_entries=0)
    requests = []
    result = []
    simulator = Simulator(walker)
    simulator.add_clock(1e-6)
    port, backing = getattr(walker, side), walker.backing

    async def body(ctx):
        ctx.set(walker.control.cr3_base, DIRECTORY >> 12)
        ctx.set(port.page, page)
        ctx.set(port.write, write)
        ctx.set(port.valid, 1)
        for _ in range(100):
            refused = ctx.get(backing.valid) and ctx.get(backing.addr) not in memory
            ctx.set(backing.ready, not refused)
            ctx.set(backing.fault, refused)
            taken = ctx.get(backing.valid) and not refused
            if taken:
                address = ctx.get(backing.addr)
                requests.append((address, ctx.get(backing.write), ctx.get(backing.lock)))
                if on_request:
                    on_request(len(requests))
                if ctx.get(backing.write):
                    memory[address] = ctx.get(backing.wdata)
                    taken = 0
            if ctx.get(port.done):
                assert not ctx.get((walker.i if side == "d" else walker.d).done)
                result.append(ctx.get(port.outcome))
                return
            await ctx.tick()
            ctx.set(backing.rvalid, taken)
            ctx.set(backing.rdata, taken and memory[address])

    simulator.add_testbench(body)
    simulator.run()
    return result[0], requests


def test_updates_are_locked_and_in_order():
    memory = {DIRECTORY: TABLE | PTE_P, TABLE: 0x5000 | PTE_P}
    outcome, requests = walk(memory, side="i")
    assert outcome == Outcome.TRANSLATED
    assert requests == [
        (DIRECTORY, 0, 0), (TABLE, 0, 0),
        (DIRECTORY, 0, 1), (DIRECTORY, 1, 0),
        (TABLE, 0, 1), (TABLE, 1, 0),
    ]
    assert memory == {DIRECTORY: TABLE | PTE_P | PTE_A, TABLE: 0x5000 | PTE_P | PTE_A}


def test_begins_anew_when_an_entry_changed_before_its_lock():
    memory = {DIRECTORY: TABLE | PTE_P | PTE_A, TABLE: 0x5000 | PTE_P | PTE_RW}

    def take_it_away(count):
        if count == 3:
            memory[TABLE] = 0

    outcome, requests = walk(memory, write=1, on_request=take_it_away)
    assert outcome == Outcome.PAGE_FAULT
    assert requests == [(DIRECTORY, 0, 0), (TABLE, 0, 0), (TABLE, 0, 1), (DIRECTORY, 0, 0), (TABLE, 0, 0)]
    assert memory[TABLE] == 0, "the new value is not overwritten"


def test_failing_backing_ends_the_walk():
    for memory in ({}, {DIRECTORY: TABLE | PTE_P}):
        outcome, requests = walk(memory)
        assert outcome == Outcome.NESTED_FAULT
        assert len(requests) == len(memory)
