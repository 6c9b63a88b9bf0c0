"""Steady-state speed of a guest under several peers, in turns.

A sample is the difference in processor time between a run of N iterations and one of a quarter of them, each a process
of its own, all its threads counted, so that the start of the process, the boot, and translation that is done by then
cancel out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .peers import Peer, Unable, instructions, translating

#: A guest's number of iterations has 32 bits, and some multiply it by up to 256.
MOST_ITERATIONS = 16_000_000
_PART = 4
#: What is steady spends no more of its time on translating. Before the samples of a peer that keeps translations there
#: are runs so many times as long as one of QEMU's until one is steady, at most so many.
STEADY, _WARM, _TRIES = 0.05, 4, 5


@dataclass(frozen=True)
class Turns:
    """``goal``: processor time in seconds that the iterations of a sample take; ``rounds``: how many samples."""

    goal: float
    rounds: int


#: The turns of each peer, by name; others take no part.
Effort = Mapping[str, Turns]


@dataclass(frozen=True)
class Case:
    """A guest, its options besides the number of iterations, and about how many QEMU does in a second."""

    workload: str
    options: str = ""
    per_second: int = 1

    def with_iterations(self, count: int) -> str:
        return f"iterations={count} {self.options}".strip()


@dataclass
class Timing:
    """What one peer does of one case.

    Members
    -------
    iterations : those of the longer run. samples : iterations per second, in the order of the rounds.
    translating : the part of each sample's time that went into translating, as far as the peer says so.
    per_iteration : instructions, exact; None if the peer does not count. output : of the longer run.
    settled : whether runs become steady; samples are then taken again until they are.
    """

    iterations: int
    samples: list[float] = field(default_factory=list)
    translating: list[float] = field(default_factory=list)
    per_iteration: float | None = None
    output: str = ""
    settled: bool = True

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
                   "translating": timing.translating,
                   "M instructions/s": None if per is None else timing.rate * per / 1e6}
            for name, timing in self.timings.items()} | {
            name: {"skipped": reason} for name, reason in self.reasons.items()}}


def measure(case: Case, peers: Sequence[Peer], effort: Effort, expected: str, say: Callable[[str], None]) -> Measured:
    """Time the peers of ``effort`` in turns; ``expected`` is what each prints with default iterations.

    First each looks for its number of iterations, and one that keeps translations makes them; the first peer's number
    is where the others begin, times their guess. A peer that is absent, that cannot run the case, or
    that prints something else than expected, or than the first after as many iterations, is left out, with the reason.
    """
    made = Measured()
    first: Timing | None = None
    turns = {peer: effort[peer.name] for peer in peers if peer.name in effort}

    def find(peer: Peer) -> None:
        nonlocal first
        goal = turns[peer].goal
        start = case.per_second * goal / (1 - 1 / _PART) if first is None else first.iterations
        timing = made.timings[peer.name] = _search(peer, case, int(start * peer.guess), goal, expected, first)
        first = first or timing

    def sample(peer: Peer) -> None:
        _sample(peer, case, made.timings[peer.name])

    def attempt(job: Callable[[Peer], None], peer: Peer, what: str) -> None:
        say(f"{case.workload} {case.options}: {what}")
        try:
            job(peer)
        except Unable as error:
            made.timings.pop(peer.name, None)
            made.reasons[peer.name] = str(error)

    for peer in turns:
        attempt(find, peer, f"iterations for {peer.name}")
    for number in range(max((turn.rounds for turn in turns.values()), default=0)):
        for peer, turn in turns.items():
            if peer.name in made.timings and number < turn.rounds:
                attempt(sample, peer, f"{peer.name}, round {number + 1}")
    return made


def _search(peer: Peer, case: Case, iterations: int, goal: float, expected: str, first: Timing | None) -> Timing:
    """A number of iterations of which three quarters take about ``goal``."""
    timing = Timing(max(iterations, _PART))
    if peer.keeps:
        timing.settled = _settle(peer, case, min(_WARM * timing.iterations, MOST_ITERATIONS))
    short = peer.run(case.workload, case.options)
    if short.output != expected:
        raise Unable(f"it prints '{short.output.strip()[-80:]}'")
    while True:
        long = peer.run(case.workload, case.with_iterations(timing.iterations))
        timing.output = long.output
        if first is not None and timing.iterations == first.iterations and long.output != first.output:
            raise Unable(f"after {timing.iterations} iterations it prints '{long.output.strip()[-80:]}'")
        taken = (long.processor - short.processor) * (1 - 1 / _PART)
        if taken >= 0.8 * goal or timing.iterations >= MOST_ITERATIONS:
            return timing
        # What a short run takes may be noise: go no further than it can be trusted.
        longer = timing.iterations * max(1.5, 1.1 * goal / max(taken, goal / 5))
        timing.iterations = min(int(longer), MOST_ITERATIONS)


def _settle(peer: Peer, case: Case, iterations: int) -> bool:
    """Run until nearly all translations are found where earlier runs have left them; whether it comes to that."""
    for _ in range(_TRIES):
        ran = peer.run(case.workload, case.with_iterations(iterations))
        if translating(ran) <= STEADY * ran.processor:
            return True
    return False


def _sample(peer: Peer, case: Case, timing: Timing) -> None:
    """One more sample; the last one tried, if none is steady."""
    count = timing.iterations
    for _ in range(_TRIES if timing.settled else 1):
        short, long = (peer.run(case.workload, case.with_iterations(number)) for number in (count // _PART, count))
        if long.output != timing.output:
            raise Unable(f"it does not print the same twice with {count} iterations")
        seconds = long.processor - short.processor
        if seconds <= 0:
            raise Unable(f"{count} iterations take no longer than a quarter of them: too short, or too noisy")
        part = max(translating(long) - translating(short), 0.0) / seconds
        if part <= STEADY:
            break
    timing.samples.append((count - count // _PART) / seconds)
    timing.translating.append(part)
    if peer.counts:
        timing.per_iteration = (instructions(long) - instructions(short)) / (count - count // _PART)
