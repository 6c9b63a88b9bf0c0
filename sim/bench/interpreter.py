"""Speed of the interpreter, through the command a user would give: the simulator does not know the interpreter."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

from .figures import Figure, median, skipped
from .guests import GuestFailed

_COUNT = re.compile(r"([\d,]+) instructions")


def measure(image: Path, iterations: int, samples: int) -> Figure:
    """Millions of instructions per second of processor time, of ``iterations`` that follow as many others."""
    rates = []
    try:
        for _ in range(samples):
            (first, early), (second, late) = (_run(image, count) for count in (iterations, 2 * iterations))
            rates.append((second - first) / (late - early) / 1e6)
    except GuestFailed as error:
        return skipped("interpreter", "M instructions/s", str(error))
    return median("interpreter", "M instructions/s", rates)


def _run(image: Path, iterations: int) -> tuple[int, float]:
    """Instructions, and seconds of processor time."""
    before = _children()
    done = subprocess.run([sys.executable, "-m", "vmm.cli.main", "run", str(image), "--technique", "emulate",
                           "-append", f"iterations={iterations}"], capture_output=True, text=True, check=False)
    taken = _children() - before
    count = _COUNT.search(done.stderr)
    if done.returncode or count is None:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise GuestFailed(f"gigogne run --technique emulate ended with status {done.returncode}: {last}")
    return int(count[1].replace(",", "")), taken


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
