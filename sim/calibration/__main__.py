"""`python -m sim.calibration build/firmware`: the errors of the timing model, as a table in Markdown."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from vmm.timing.costs import default_costs
from vmm.timing.machine import Timing

from .workloads import estimates, markdown


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the estimates of the timing model with the RTL.")
    parser.add_argument("images", type=Path, help="folder of the workloads")
    parser.add_argument("--no-cache-model", action="store_true", help="let every access hit")
    arguments = parser.parse_args()
    with Console(stderr=True).status("building the engine") as status:
        rows = estimates(arguments.images, Timing(default_costs(), not arguments.no_cache_model), say=status.update)
    print(markdown(rows), end="")


if __name__ == "__main__":
    main()
