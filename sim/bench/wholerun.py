"""Wall time of the whole run of the guest kernel, from an idle shell to its end, beside QEMU's."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .figures import Figure, median, skipped
from .peers import Gigogne, Peer, Qemu, Unable, instructions
from .process import Ran

WORKLOAD = "kernel"


@dataclass(frozen=True)
class Effort:
    """So many runs of each, of a kernel that does its work so many times."""

    rounds: int
    iterations: int


#: Some 10^8 instructions.
FULL = Effort(3, 84)
QUICK = Effort(1, 1)


def measure(images: Path, technique: str, effort: Effort,
            say: Callable[[str], None]) -> tuple[list[Figure], dict[str, Any]]:
    """Runs in turns: ours with an empty cache of its own, ours again with what that run left in it, QEMU."""
    options = f"iterations={effort.iterations} console=debugcon"
    runs: dict[str, list[Ran]] = {"cold": [], "warm": [], "qemu": []}
    reasons: dict[str, str] = {}
    counted: dict[str, int] = {}
    for number in range(effort.rounds):
        with tempfile.TemporaryDirectory(prefix="gigogne-bench-") as cache:
            ours = Gigogne(technique, images, Path(cache))
            peers: dict[str, Peer] = {"cold": ours, "warm": ours, "qemu": Qemu(images)}
            for name, peer in peers.items():
                if name in reasons:
                    continue
                say(f"kernel, {name}: round {number + 1}")
                try:
                    runs[name].append(peer.run(WORKLOAD, options))
                    if peer.counts:
                        counted[name] = instructions(runs[name][-1])
                except Unable as error:
                    reasons[name] = f"{peer.name}: {error}"
    return _figures(runs, reasons), {"options": options} | {
        name: {"wall": [ran.wall for ran in done], "processor": [ran.processor for ran in done],
               "instructions": counted.get(name)} for name, done in runs.items()}


def _figures(runs: dict[str, list[Ran]], reasons: dict[str, str]) -> list[Figure]:
    if not reasons:
        outputs = {ran.output for done in runs.values() for ran in done}
        if len(outputs) != 1:
            reasons |= dict.fromkeys(("cold", "warm"), "it does not print what QEMU prints")
    made = [skipped(f"kernel, {name}", "s", reasons[name], name != "qemu") if name in reasons
            else median(f"kernel, {name}", "s", [ran.wall for ran in done]) for name, done in runs.items()]
    for name in ("cold", "warm"):
        figure = f"kernel, {name} / qemu"
        reason = reasons.get(name, reasons.get("qemu", ""))
        if reason:
            made.append(skipped(figure, "", reason, name in reasons))
            continue
        ours, theirs = ([ran.wall for ran in runs[key]] for key in (name, "qemu"))
        made.append(Figure(figure, "", statistics.median(ours) / statistics.median(theirs),
                           tuple(mine / other for mine, other in zip(ours, theirs, strict=True))))
    return made
