"""Time from an idle shell to the first cycle of a guest: a process of its own, everything a user waits for included.

`python -m sim.bench.start IMAGE` is that process.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sim.image import Image
from sim.rtlmachine import RtlMachine

from .figures import Figure, median
from .process import user_environment

#: Wall time, which is what a user waits, and processor time, which a busy machine does not lengthen.
Times = tuple[float, float]


def measure(image: Path, cold: int, warm: int) -> list[Figure]:
    """``cold`` starts, each with an empty cache of its own, and ``warm`` starts with the last one's cache."""
    cold_times: list[Times] = []
    warm_times: list[Times] = []
    for number in range(cold):
        with tempfile.TemporaryDirectory(prefix="gigogne-bench-") as cache:
            cold_times.append(_start(image, cache))
            if number == cold - 1:
                warm_times = [_start(image, cache) for _ in range(warm)]
    return [*_figures("cold build", cold_times), *_figures("warm start", warm_times)]


def measure_warm(image: Path, count: int) -> list[Figure]:
    """Only warm starts, with the user's own cache, which the first start may have to fill."""
    _start(image, None)
    return _figures("warm start", [_start(image, None) for _ in range(count)])


def _figures(name: str, times: list[Times]) -> list[Figure]:
    return [median(name, "s", [wall for wall, _processor in times]),
            median(f"{name}, processor time", "s", [processor for _wall, processor in times])]


def _start(image: Path, cache: str | None) -> Times:
    environment = user_environment() | ({} if cache is None else {"GIGOGNE_CACHE": cache})
    wall, processor = time.perf_counter(), _children()
    subprocess.run([sys.executable, "-m", "sim.bench.start", str(image)], env=environment, check=True)
    return time.perf_counter() - wall, _children() - processor


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def first_cycle(image: Path) -> None:
    """Build the computer, load the image, run one cycle."""
    machine = RtlMachine()
    machine.load(Image.load(image))
    machine.engine.run(1)


if __name__ == "__main__":
    first_cycle(Path(sys.argv[1]))
