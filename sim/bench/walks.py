"""Memory references per TLB miss, without the page-walk cache: the number of levels of the page table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rtl.board import BoardConfig
from rtl.cpu.core import CoreConfig
from rtl.mmu.config import MmuConfig
from sim.rtlmachine import RtlMachine

from .figures import Figure
from .guests import steady

#: One entry for large pages, so that a guest in little RAM misses on them too.
CONFIG = replace(BoardConfig(), core=CoreConfig(mmu=MmuConfig(walk_cache_entries=0, large_entries=1)))
#: A list over the most pages the workload has: 4 MiB of them, and so more than one large page.
OPTIONS = "pages=1024"
ROUNDS = 5


def measure(images: Path) -> list[Figure]:
    """References per TLB miss while the list chase walks its pages, for both sizes of page."""
    machine = RtlMachine(config=CONFIG)
    figures = []
    for size, text in (("4k", "4 KiB"), ("4m", "4 MiB")):
        counters = steady(machine, images / "chase.elf", ROUNDS, f"{OPTIONS} size={size}")
        misses = counters["itlb_misses"] + counters["dtlb_misses"]
        figures.append(Figure(f"references per TLB miss, {text}", "", counters["walk_refs_guest"] / misses))
        figures.append(Figure(f"TLB misses, {text}", "", misses))
    return figures
