"""A long differential campaign: `python -m tests.vmm.engine.campaign --count 1000000 --seed 1`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from tests.vmm.engine.differential import campaign


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operation", help="only forms of this operation")
    parser.add_argument("--small", action="store_true", help="16-bit code, stack and segments")
    parser.add_argument("--show", type=int, default=20, help="print at most this many differences")
    options = parser.parse_args()
    seen: Counter[str] = Counter()
    for difference in campaign(options.count, options.seed, options.operation, options.small):
        if difference is not None:
            seen[f"{difference.case.insn.form.operation}: {difference.what}"] += 1
            if sum(seen.values()) <= options.show:
                print(difference)
    for what, number in seen.most_common():
        print(f"{number:8} {what}")
    print(f"{options.count} instructions, {sum(seen.values())} differences")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())
