"""What it costs that code writes data on its own page, beside QEMU, and beside the same loop with data elsewhere."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from firmware.expectation import expectation

from .figures import Figure, skipped
from .peers import Peer
from .rates import Case, Effort, Measured, Turns
from .rates import measure as measure_case
from .translator import BAR, JUDGED, ratio
from .workloads import PLACES

WORKLOAD = "sharedpage"
FULL: Effort = {BAR: Turns(0.5, 3), JUDGED: Turns(0.5, 3)}
_FARTHEST = next(iter(PLACES))


def measure(peers: Sequence[Peer], effort: Effort,
            say: Callable[[str], None]) -> tuple[list[Figure], dict[str, Any]]:
    """Ours over QEMU's by place, and ours with shared page or line over ours with data apart."""
    output = expectation(WORKLOAD).output
    places = {place: measure_case(Case(WORKLOAD, f"data={place}", rate), peers, effort, output, say)
              for place, rate in PLACES.items()}
    return figures(places), {place: measured.as_json() for place, measured in places.items()}


def figures(places: dict[str, Measured]) -> list[Figure]:
    """Figures of what was measured."""
    made = [ratio(f"{JUDGED} / {BAR}, data={place}", measured, JUDGED, BAR) for place, measured in places.items()]
    return made + [_loss(places, peer, place) for peer in (JUDGED, BAR) for place in PLACES
                   if place != _FARTHEST]


def _loss(places: dict[str, Measured], peer: str, place: str) -> Figure:
    name = f"{peer}, data={place} / data={_FARTHEST}"
    for needed in (place, _FARTHEST):
        if peer not in places[needed].timings:
            reasons = places[needed].reasons
            return skipped(name, "", reasons.get(peer, "not part of this run"), peer == JUDGED and peer in reasons)
    near, far = (places[needed].timings[peer].samples for needed in (place, _FARTHEST))
    return Figure(name, "", statistics.median(near) / statistics.median(far),
                  tuple(one / other for one, other in zip(near, far, strict=True)))
