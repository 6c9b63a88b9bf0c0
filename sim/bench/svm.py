"""What a guest of the hardware costs: world switches, two-dimensional walks, whole programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from rtl.board import BoardConfig
from rtl.cpu.core import CoreConfig
from rtl.cpu.microasm import Program, Row
from rtl.cpu.microcode.macros import LIBRARY
from rtl.cpu.uop import Mem
from rtl.isa.retire import RetireCause
from rtl.mmu.config import MmuConfig
from sim.design import RETIRE
from sim.rtlmachine import RtlMachine
from vmm.cli.monitored import Monitored
from vmm.exits import HypercallExit
from vmm.monitor.area import AREA_BYTES
from vmm.registers import Registers

from .cpi import ITERATIONS
from .figures import Figure
from .guests import steady
from .workloads import COMPUTE

Counters: TypeAlias = Mapping[str, int]
#: No cache of any dimension, and one entry for large pages: every miss walks all levels.
NO_CACHES = replace(BoardConfig(), core=CoreConfig(mmu=MmuConfig(
    walk_cache_entries=0, nested_tlb_entries=0, nested_walk_cache_entries=0, large_entries=1)))
GUEST_BYTES = 16 << 20
CHASE = "pages=1024 size=4k"
ROUNDS = 5
#: Hypercalls before the one that is measured, so that its VMCB is in the cache.
WARM = 10
EXITS = 2000
_CODE = 0x10_0000
_VMMCALL = bytes.fromhex("0F01D9")
_PAGES = {"4k": "4 KiB", "4m": "4 MiB"}


def measure(native: RtlMachine, images: Path, say: Callable[[str], None]) -> list[Figure]:
    """All figures; `native` is the computer by itself."""
    say("world switches")
    guest = Monitored(host=_computer())
    figures = [*round_trip(guest), *exit_rate(guest)]
    for name in COMPUTE:
        say(f"{name} under svm")
        figures.append(_ratio(f"svm / native, {name}", *(
            steady(machine, images / f"{name}.elf", ITERATIONS[name]) for machine in (native, guest))))
    say("chase over 4 MiB under svm")
    chase = images / "chase.elf"
    figures.append(_ratio("svm / native, chase over 4 MiB", *(
        steady(machine, chase, ROUNDS, CHASE) for machine in (native, guest))))
    say("chase without walk caches")
    bare = _computer(NO_CACHES)
    alone = steady(bare, chase, ROUNDS, CHASE)
    for large, outer in ((False, "4k"), (True, "4m")):
        guest = Monitored(host=bare, large=large)
        for inner in _PAGES:
            say(f"references per TLB miss, {_PAGES[inner]} over {_PAGES[outer]}")
            counters = steady(guest, chase, ROUNDS, f"pages=1024 size={inner}")
            figures.append(_references(counters, f"{_PAGES[inner]} over {_PAGES[outer]}"))
            if not large and inner == "4k":
                figures.append(_ratio("svm / native, chase without walk caches", alone, counters))
    return figures


def _computer(config: BoardConfig | None = None) -> RtlMachine:
    return RtlMachine(config=config, ram=np.zeros((GUEST_BYTES + AREA_BYTES) // 4, dtype=np.uint32))


def _ratio(name: str, native: Counters, guest: Counters) -> Figure:
    """Cycles of the guest and of its transitions, over cycles without a monitor; waits in HLT do not count."""
    alone, under = (counters["cycles"] - counters["halted"] for counters in (native, guest))
    return Figure(name, "", under / alone)


def _references(counters: Counters, pair: str) -> Figure:
    misses = counters["itlb_misses"] + counters["dtlb_misses"]
    references = counters["walk_refs_guest"] + counters["walk_refs_nested"]
    return Figure(f"nested references per TLB miss, {pair}", "", references / misses)


def _program(guest: Monitored, code: bytes) -> None:
    """A guest that begins with the code."""
    guest.reset()
    guest.ram.data.cast("B")[_CODE:_CODE + len(code)] = code
    guest.vcpu.registers = Registers(eip=_CODE)


def _hypercall(guest: Monitored) -> None:
    asked = guest.vcpu.run()
    assert isinstance(asked, HypercallExit)
    asked.answer(0)


def round_trip(guest: Monitored) -> list[Figure]:
    """Cycles from the instruction before VMRUN to the one behind it; the guest's VMMCALL is all there is between.

    And what they are: a row of the microprogram for each word of VMCB and host save area that is moved, its other rows,
    and what the pipeline adds to that.
    """
    _program(guest, _VMMCALL * (WARM + 2))
    for _ in range(WARM):
        _hypercall(guest)
    engine = guest.machine.engine
    engine.set_tap(RETIRE, True)
    try:
        _hypercall(guest)
    finally:
        engine.set_tap(RETIRE, False)
        records = engine.drain_tap(RETIRE)
    left = int(np.flatnonzero(records["cause"] == RetireCause.VMEXIT.value)[0])
    before, entered, _exited, behind = (int(cycle) for cycle in records["cycle"][left - 2:left + 2])
    figures = [Figure("VMRUN and #VMEXIT", "cycles", behind - before - 1)]
    for name, cycles, rows in (("VMRUN", entered - before, _rows(LIBRARY.programs["vmrun"], "invalid")),
                               ("#VMEXIT", behind - entered - 1, _rows(LIBRARY.routines["vmexit"]))):
        words = sum(row.get("mem") in (Mem.LOAD, Mem.STORE) for row in rows)
        figures += [Figure(f"{name}: words moved", "cycles", words),
                    Figure(f"{name}: checks and registers", "cycles", len(rows) - words),
                    Figure(f"{name}: pipeline", "cycles", cycles - len(rows))]
    return figures


def _rows(build: Callable[[Program], None], end: str = "") -> list[Row]:
    """The rows of a microprogram that are executed if nothing is out of order, up to a label or its end."""
    program = Program("")
    build(program)
    return program.rows[:program.labels.get(end)]


def exit_rate(guest: Monitored) -> list[Figure]:
    """Hypercalls per second of processor time, and what one takes in cycles and in time."""
    _program(guest, _VMMCALL * (EXITS + WARM))
    for _ in range(WARM):
        _hypercall(guest)
    simulating = 0.0
    host = guest.host
    burst, first = host.burst, host.cycle

    def timed(cycles: int) -> int:
        nonlocal simulating
        begin = time.process_time()
        ran = burst(cycles)
        simulating += time.process_time() - begin
        return ran

    host.burst = timed
    begin = time.process_time()
    for _ in range(EXITS):
        _hypercall(guest)
    seconds, host.burst = time.process_time() - begin, burst
    return [Figure("exits through the monitor", "/s", EXITS / seconds),
            Figure("an exit: simulated cycles", "", (host.cycle - first) / EXITS),
            Figure("an exit: time of the simulation", "us", simulating / EXITS * 1e6),
            Figure("an exit: time of the monitor", "us", (seconds - simulating) / EXITS * 1e6)]
