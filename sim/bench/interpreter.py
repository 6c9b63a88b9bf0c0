"""Speed of the interpreter, the technique `emulate`."""

from __future__ import annotations

import time
from pathlib import Path

from sim.image import Image
from vmm.cli.emulated import Emulated

from .figures import Figure, median
from .speed import COMMAND_LINE

#: Instructions until every one of the guest's has been seen and compiled.
WARM = 20_000


def measure(image: Path, instructions: int, rounds: int) -> Figure:
    """Millions of instructions per second of processor time, in rounds of ``instructions``."""
    machine = Emulated()
    machine.load(Image.load(image), COMMAND_LINE)
    machine.run(WARM)
    rates = []
    for _ in range(rounds):
        first, before = machine.instructions, time.process_time()
        machine.run(instructions)
        rates.append((machine.instructions - first) / (time.process_time() - before) / 1e6)
    return median("interpreter", "M instructions/s", rates)
