"""Time from an idle shell to the first cycle of a guest: a process of its own, everything a user waits for included.

`python -m sim.bench.start IMAGE` is that process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sim.image import Image
from sim.rtlmachine import RtlMachine

from .figures import Figure, median


def measure(image: Path, cold: int, warm: int) -> list[Figure]:
    """Wall time of ``cold`` starts, each with a cache of its own, and of ``warm`` starts with the last one's cache."""
    cold_seconds, warm_seconds = [], []
    for number in range(cold):
        with tempfile.TemporaryDirectory(prefix="gigogne-bench-") as cache:
            cold_seconds.append(_start(image, cache))
            if number == cold - 1:
                warm_seconds = [_start(image, cache) for _ in range(warm)]
    return [median("cold build", "s", cold_seconds), median("warm start", "s", warm_seconds)]


def measure_warm(image: Path, count: int) -> Figure:
    """Only warm starts, with the user's own cache, which the first start may have to fill."""
    _start(image, None)
    return median("warm start", "s", [_start(image, None) for _ in range(count)])


def _start(image: Path, cache: str | None) -> float:
    environment = dict(os.environ) | ({} if cache is None else {"GIGOGNE_CACHE": cache})
    before = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sim.bench.start", str(image)], env=environment, check=True)
    return time.perf_counter() - before


def first_cycle(image: Path) -> None:
    """Build the computer, load the image, run one cycle."""
    machine = RtlMachine()
    machine.load(Image.load(image))
    machine.engine.run(1)


if __name__ == "__main__":
    first_cycle(Path(sys.argv[1]))
