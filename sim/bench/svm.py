"""What a guest of the hardware costs: world switches, two-dimensional walks, whole programs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from rtl.board import BoardConfig
from rtl.cpu.core import CoreConfig
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
    figures = [round_trip(guest), exit_rate(guest)]
    for name in COMPUTE:
        say(f"{name} under svm")
        figures.append(_ratio(f"svm / native, {name}", native, guest, images / f"{name}.elf", ITERATIONS[name]))
    say("chase under svm")
    chase = images / "chase.elf"
    figures.append(_ratio("svm / native, chase over 4 MiB", native, guest, chase, ROUNDS, CHASE))
    bare = _computer(NO_CACHES)
    for large, outer in ((False, "4k"), (True, "4m")):
        guest = Monitored(host=bare, large=large)
        for inner in _PAGES:
            say(f"references per TLB miss, {_PAGES[inner]} over {_PAGES[outer]}")
            figures.append(_references(guest, chase, inner, outer))
            if not large and inner == "4k":
                plain = RtlMachine(config=NO_CACHES)
                figures.append(_ratio("svm / native, chase without walk caches", plain, guest, chase, ROUNDS, CHASE))
    return figures


def _computer(config: BoardConfig | None = None) -> RtlMachine:
    return RtlMachine(config=config, ram=np.zeros((GUEST_BYTES + AREA_BYTES) // 4, dtype=np.uint32))


def _ratio(name: str, native: RtlMachine, guest: Monitored, image: Path, iterations: int, options: str = "") -> Figure:
    """Cycles of the guest and of its transitions, over cycles without a monitor; waits in HLT do not count."""
    busy = [counters["cycles"] - counters["halted"]
            for counters in (steady(machine, image, iterations, options) for machine in (guest, native))]
    return Figure(name, "", busy[0] / busy[1])


def _references(guest: Monitored, chase: Path, inner: str, outer: str) -> Figure:
    counters = steady(guest, chase, ROUNDS, f"pages=1024 size={inner}")
    misses = counters["itlb_misses"] + counters["dtlb_misses"]
    references = counters["walk_refs_guest"] + counters["walk_refs_nested"]
    return Figure(f"nested references per TLB miss, {_PAGES[inner]} over {_PAGES[outer]}", "", references / misses)


def _program(guest: Monitored, code: bytes) -> None:
    """A guest that begins with the code."""
    guest.reset()
    guest.ram.data.cast("B")[_CODE:_CODE + len(code)] = code
    guest.vcpu.registers = Registers(eip=_CODE)


def _hypercall(guest: Monitored) -> None:
    asked = guest.vcpu.run()
    assert isinstance(asked, HypercallExit)
    asked.answer(0)


def round_trip(guest: Monitored) -> Figure:
    """Cycles from the instruction before VMRUN to the one behind it; the guest's VMMCALL is all there is between."""
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
    return Figure("VMRUN and #VMEXIT", "cycles", int(records["cycle"][left + 1]) - int(records["cycle"][left - 2]) - 1)


def exit_rate(guest: Monitored) -> Figure:
    """Hypercalls per second of wall time."""
    _program(guest, _VMMCALL * (EXITS + WARM))
    for _ in range(WARM):
        _hypercall(guest)
    begin = time.perf_counter()
    for _ in range(EXITS):
        _hypercall(guest)
    return Figure("exits through the monitor", "/s", EXITS / (time.perf_counter() - begin))
