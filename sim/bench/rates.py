"""Steady-state speed of a guest under several peers, in turns.

A sample is the difference in processor time between a run of N iterations and one of a quarter of them, so that the
start of the process, the boot, and translation that is done by then cancel out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .peers import Peer, Unable, instructions
from .process import Ran

#: A guest's number of iterations has 32 bits, and some multiply it by up to 256.
MOST_ITERATIONS = 16_000_000
_PART = 4


@dataclass(frozen=True)
class Effort:
    """``goal``: processor time in seconds that the iterations of a sample take; ``rounds``: samples of each peer,
    by name."""

    goal: float
    rounds: Mapping[str, int]


@dataclass(frozen=True)
class Case:
    """A guest, its options besides the number of iterations, and a number the slowest peer does in a second or so."""

    workload: str
    options: str = ""
    start: int = 1

    def with_iterations(self, count: int) -> str:
        return f"iterations={count} {self.options}".strip()


@dataclass
class Timing:
    """What one peer does of one case.

    Members
    -------
    iterations : those of the longer run. samples : iterations per second, in the order of the rounds.
    per_iteration : instructions, exact; None if the peer does not count. output : of the longer run.
    found_in : processor time of the iterations when their number was found.
    """

    iterations: int
    samples: list[float] = field(default_factory=list)
    per_iteration: float | None = None
    output: str = ""
    found_in: float = 0.0

    @property
    def rate(self) -> float:
        return statistics.median(self.samples)


@dataclass
class Measured:
    """Peers in one case: their timings, or why there is none."""

    timings: dict[str, Timing] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def per_iteration(self) -> float | None:
        """Instructions of an iteration, by the peer that counted over the most iterations."""
        counted = [timing for timing in self.timings.values() if timing.per_iteration is not None]
        return max(counted, key=lambda timing: timing.iterations).per_iteration if counted else None

    def ratios(self, name: str, other: str) -> list[float]:
        """How many times as fast one is as the other, by rounds, or once if they took part in different ones.

        Raises Unable.
        """
        for peer in (name, other):
            if peer not in self.timings:
                raise Unable(f"{peer}: {self.reasons.get(peer, 'not part of this run')}")
        ours, theirs = self.timings[name], self.timings[other]
        if len(ours.samples) != len(theirs.samples):
            return [ours.rate / theirs.rate]
        return [mine / their for mine, their in zip(ours.samples, theirs.samples, strict=True)]

    def as_json(self) -> dict[str, Any]:
        per = self.per_iteration
        return {"instructions per iteration": per, "peers": {
            name: {"iterations": timing.iterations, "iterations/s": timing.rate, "samples": timing.samples,
                   "M instructions/s": None if per is None else timing.rate * per / 1e6}
            for name, timing in self.timings.items()} | {
            name: {"skipped": reason} for name, reason in self.reasons.items()}}


def measure(case: Case, peers: Sequence[Peer], effort: Effort, expected: str, say: Callable[[str], None]) -> Measured:
    """Time the peers, those of ``effort.rounds``, in turns; ``expected`` is what each prints with default iterations.

    One sample is that of the search for the number of iterations; more are taken in turns after all searches.
    The first peer's number of iterations is where the search for the others' begins, times their guess. A peer that
    is absent, that cannot run the case, or that prints something else than expected, or than the first after as many
    iterations, is left out, with the reason.
    """
    made = Measured()
    first: Timing | None = None
    chosen = [peer for peer in peers if effort.rounds.get(peer.name, 0)]
    for peer in chosen:
        say(f"{case.workload} {case.options}: iterations for {peer.name}")
        try:
            _check(peer, case, expected)
            start = case.start if first is None else first.iterations
            timing = made.timings[peer.name] = _search(peer, case, int(start * peer.guess), effort.goal, first)
            first = first or timing
            if effort.rounds[peer.name] == 1:
                timing.samples.append(_rate(timing.iterations, timing.found_in))
        except Unable as error:
            made.timings.pop(peer.name, None)
            made.reasons[peer.name] = str(error)
    for number in range(max(effort.rounds.values(), default=0)):
        for peer in chosen:
            if peer.name in made.timings and number < effort.rounds[peer.name] > 1:
                say(f"{case.workload} {case.options}: {peer.name}, round {number + 1}")
                try:
                    _sample(peer, case, made.timings[peer.name])
                except Unable as error:
                    del made.timings[peer.name]
                    made.reasons[peer.name] = str(error)
    return made


def _check(peer: Peer, case: Case, expected: str) -> None:
    output = peer.run(case.workload, case.options).output
    if output != expected:
        raise Unable(f"it prints '{output.strip()[-80:]}'")


def _pair(peer: Peer, case: Case, iterations: int) -> tuple[Ran, Ran]:
    short, long = (peer.run(case.workload, case.with_iterations(count)) for count in (iterations // _PART, iterations))
    return short, long


def _search(peer: Peer, case: Case, iterations: int, goal: float, first: Timing | None) -> Timing:
    """A number of iterations of which three quarters take about ``goal``."""
    iterations = max(iterations, _PART)
    while True:
        short, long = _pair(peer, case, iterations)
        if first is not None and iterations == first.iterations and long.output != first.output:
            raise Unable(f"after {iterations} iterations it prints '{long.output.strip()[-80:]}'")
        taken = long.processor - short.processor
        if taken >= 0.8 * goal or iterations >= MOST_ITERATIONS:
            break
        # What a short run takes may still be translation or noise: go no further than it can be trusted.
        iterations = min(int(iterations * max(1.5, 1.1 * goal / max(taken, goal / 5))), MOST_ITERATIONS)
    timing = Timing(iterations, output=long.output, found_in=taken)
    if peer.counts:
        timing.per_iteration = (instructions(long) - instructions(short)) / (iterations - iterations // _PART)
    return timing


def _sample(peer: Peer, case: Case, timing: Timing) -> None:
    short, long = _pair(peer, case, timing.iterations)
    if long.output != timing.output:
        raise Unable(f"it does not print the same twice with {timing.iterations} iterations")
    timing.samples.append(_rate(timing.iterations, long.processor - short.processor))


def _rate(iterations: int, seconds: float) -> float:
    if seconds <= 0:
        raise Unable(f"{iterations} iterations take no longer than a quarter of them: too short, or too noisy")
    return (iterations - iterations // _PART) / seconds
