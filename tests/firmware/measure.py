"""`python -m tests.firmware.measure`: instructions of each workload, counted by the interpreter.

One line per workload: at default iterations, and per iteration (from the difference to a run with twice as many).
"""

import re

from firmware.build import build, images
from firmware.expectation import header_source
from tests.vmm.engine.boot import boot

_LIMIT = 20_000_000


def default_iterations(name: str) -> int:
    """The default a workload's header states."""
    match = re.search(r"^ \* iterations: .*\(default (\d+)\)", header_source(name).read_text(), re.MULTILINE)
    assert match is not None, f"{name}: the header gives no default of iterations"
    return int(match[1])


def workloads() -> list[str]:
    """The images of `firmware/workloads`."""
    return sorted(name for name in images() if "/" not in name and name != "kernel")


def main() -> None:
    for name, path in build(workloads()).items():
        counts = []
        iterations = default_iterations(name)
        for wanted in (iterations, 2 * iterations):
            machine = boot(path, f"iterations={wanted}")
            machine.run(_LIMIT)
            counts.append(machine.cpu.state.instructions)
        print(f"{name:12} {iterations:5} {counts[0]:9,} {(counts[1] - counts[0]) / iterations:11,.0f}")


if __name__ == "__main__":
    main()
