"""The performance counters: the unit alone, and what a whole processor makes of small programs on pysim."""

import pytest

from rtl.cpu.perf import PerfCounters
from rtl.isa.msrs import PERF_TEXT, PERF_WIDTH, PerfEvent
from rtl.isa.paging import PTE_P, PTE_RW
from rtl.isa.registers import Cr0
from tests.rtl.simulation import simulate

from .board_bench import LOAD_TABLES, run, tables


def _run(*code: str, words: dict[int, int] | None = None) -> dict[str, int]:
    """The counters at the end of a program."""
    return run(*code, words=words).counters


def test_each_pulse_counts_for_itself():
    dut = PerfCounters()

    async def bench(ctx):
        expected = dict.fromkeys(PerfEvent, 0)
        for cycle in range(3 * len(PerfEvent)):
            pulse = sum(1 << event for event in PerfEvent if cycle % (event + 1) == 0)
            ctx.set(dut.pulse, pulse)
            await ctx.tick()
            for event in PerfEvent:
                expected[event] += pulse >> event & 1
        ctx.set(dut.pulse, 0)
        values = {}
        for event in PerfEvent:
            ctx.set(dut.index, event)
            values[event] = ctx.get(dut.value)
        assert values == expected

    simulate(dut, bench)


@pytest.mark.parametrize(("code", "counter"), [("0F33", "core.perf.cycles"), ("0F31", "core.sysregs.tsc")])
def test_halves_belong_together(code, counter):
    """RDPMC and RDTSC: a counter that carried between the two rows that read it gave 2**32 too much."""
    early = run("31C9", code).eax
    end = run("31C9", code, pokes={counter: (1 << 32) - 1 - early})
    assert (end.eax, end.edx) == (0xFFFF_FFFF, 0)


def test_every_event_has_a_text_and_a_place():
    assert set(PERF_TEXT) == set(PerfEvent) and max(PerfEvent) < 64 and PERF_WIDTH == 48


def test_instructions_and_branches():
    """MOV ECX, 5; loop: DEC ECX; JNZ loop; CALL f; JMP end; f: RET; end: HLT."""
    end = run("B905000000", "49", "75FD", "E802000000", "EB01", "C3")
    counters = end.counters
    assert counters["instructions"] == 1 + 2 * 5 + 3 + 1
    assert counters["branches"] == 5 + 3
    assert counters["taken_branches"] == 4 + 3
    assert counters["cycles"] == end.cycles
    assert counters["exceptions"] == counters["interrupts"] == counters["stall_io"] == counters["stall_muldiv"] == 0
    assert counters["stall_branch"] >= 3 and counters["stall_fetch"] > 0
    assert counters["icache_misses"] == 2, "the line of the program, and the one that fetch runs ahead into"
    assert counters["icache_hits"] > 0


def test_a_rep_instruction_is_one():
    """MOV ECX, 6; MOV ESI, 2000h; MOV EDI, 3000h; REP MOVSD."""
    counters = _run("B906000000", "BE00200000", "BF00300000", "F3A5")
    assert counters["instructions"] == 5
    assert counters["dcache_hits"] + counters["dcache_misses"] == 12
    assert counters["dcache_misses"] == 2 and counters["stall_microcode"] >= 6
    assert counters["stall_load_miss"] > 0


def test_waits_are_told_apart():
    """A division, an input, and a load whose address was loaded just before: each shows in its own counter only."""
    quiet = _run("90")
    assert all(quiet[name] == 0 for name in ("stall_muldiv", "stall_io", "stall_load_use", "stall_walk",
                                             "stall_load_miss", "stall_store"))
    division = _run("B807000000", "31D2", "B902000000", "F7F1")
    assert 30 <= division["stall_muldiv"] <= 36 and division["stall_io"] == 0
    io = _run("E461")
    assert io["stall_io"] > 0 and io["stall_muldiv"] == 0
    chase = _run("BB00200000", "8B03", "8B1B", "8B03")
    assert chase["stall_load_use"] >= 1 and chase["stall_load_miss"] > 0 and chase["stall_store"] == 0


def test_stores_that_miss():
    """MOV [2000h], EAX; MOV [3000h], EAX."""
    counters = _run("A300200000", "A300300000")
    assert counters["dcache_misses"] == 2 and counters["stall_store"] > 0 and counters["stall_load_miss"] == 0


def test_translations_and_walks():
    """Paging on, then two pages read twice each, by one directory entry."""
    flags = PTE_P | PTE_RW
    entries = {0x4000: 0x5000 | flags, 0x5000 + 4: 0x1000 | flags, 0x5000 + 8: 0x2000 | flags,
               0x5000 + 12: 0x3000 | flags}
    cr0 = int(Cr0.PG | Cr0.PE)
    counters = _run("B800400000", "0F22D8", "B8" + cr0.to_bytes(4, "little").hex(), "0F22C0",
                    "A100200000", "A104200000", "A100300000", "A104300000", words=entries)
    assert (counters["dtlb_misses"], counters["dtlb_hits"]) == (2, 2)
    assert counters["itlb_misses"] == 1 and counters["itlb_hits"] > 0
    # The code's walk reads directory and table; the data's find the directory in the walk cache.
    assert (counters["walk_cache_misses"], counters["walk_cache_hits"]) == (1, 2)
    assert counters["walk_refs_guest"] == 2 + 1 + 1
    assert counters["walk_writes"] == 1 + 3, "A of the directory entry once, of each page once"
    assert counters["stall_walk"] > 0


def test_software_interrupts():
    """INT 3 to a handler that halts: the INT is an instruction and an event."""
    counters = _run(LOAD_TABLES, "CC", words=tables(v3=""))
    assert counters["exceptions"] == 1 and counters["interrupts"] == 0
    assert counters["instructions"] == 2 + 1 + 1


def test_exceptions():
    """UD2 to a handler that halts: the UD2 is an event only."""
    counters = _run(LOAD_TABLES, "0F0B", words=tables(v6=""))
    assert counters["exceptions"] == 1 and counters["interrupts"] == 0
    assert counters["instructions"] == 2 + 1


def test_counters_as_guest_software_reads_them():
    """RDPMC, RDMSR of PERF_BASE + INSTRUCTIONS: the instructions completed before."""
    assert run("90", "90", "B901000000", "0F33").eax == 3
    end = run("90", "90", "90", "B9011001C0", "0F32")
    assert (end.eax, end.edx) == (4, 0)


@pytest.mark.parametrize("event", (PerfEvent.IOTLB_HITS, PerfEvent.IOTLB_MISSES))
def test_what_does_not_exist_yet_reads_zero(event):
    assert _run("90")[event.name.lower()] == 0
