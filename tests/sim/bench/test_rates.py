"""Differencing, on peers whose time is computed instead of measured."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from sim.bench.peers import Unable
from sim.bench.process import Ran
from sim.bench.rates import MOST_ITERATIONS, STEADY, Case, Measured, Timing, Turns, measure

EXPECTED = "guest: checksum of default\n"


@dataclass(eq=False)
class Peer:
    """Does ``speed`` iterations of 7 instructions a second, and starts in ``start`` seconds."""

    name: str
    speed: float = 1000.0
    start: float = 0.1
    guess: float = 1.0
    counts: bool = False
    keeps: bool = False
    answer: str = "guest: checksum of {}\n"
    asked: list[int] = field(default_factory=list)
    #: Seconds that each run translates, the last for all that follow.
    translates: list[float] = field(default_factory=lambda: [0.0])

    def run(self, workload: str, options: str) -> Ran:
        found = re.search(r"iterations=(\d+)", options)
        count = int(found[1]) if found else 0
        self.asked.append(count)
        translating = self.translates.pop(0) if len(self.translates) > 1 else self.translates[0]
        seconds = self.start + count / self.speed + translating
        output = self.answer.format(count) if found else EXPECTED
        errors = (f"gigogne: {1000 + 7 * count:,} instructions, 0 cycles\n"
                  f"gigogne: compile_microseconds {1e6 * translating:15,.0f}\n")
        return Ran(0, output, errors, 2 * seconds, seconds)


def _measure(*peers: Peer, rounds: int = 2) -> Measured:
    effort = {peer.name: Turns(0.5, rounds) for peer in peers}
    return measure(Case("guest", "size=4m", 10), peers, effort, EXPECTED, lambda _text: None)


def test_start_up_cancels_out() -> None:
    made = _measure(Peer("qemu", speed=3e5, start=0.7))
    assert made.timings["qemu"].samples == pytest.approx([3e5, 3e5])
    assert 0.75 * made.timings["qemu"].iterations / 3e5 >= 0.4


def test_a_slow_peer_is_not_asked_for_much() -> None:
    peers = Peer("qemu", speed=1e6), Peer("emulate", speed=1e3, guess=0.001, counts=True)
    made = _measure(*peers)
    assert made.ratios("emulate", "qemu") == pytest.approx([1e-3, 1e-3])
    assert max(peers[1].asked) < 3000
    assert made.per_iteration == pytest.approx(7)


def test_rounds_are_taken_in_turns() -> None:
    order: list[str] = []
    peers = Peer("qemu"), Peer("dbt", counts=True), Peer("host")
    effort = {"qemu": Turns(0.5, 3), "dbt": Turns(0.5, 2), "host": Turns(0.1, 1)}
    made = measure(Case("guest", per_second=2000), peers, effort, EXPECTED, order.append)
    assert [text.partition(": ")[2] for text in order] == [
        "iterations for qemu", "iterations for dbt", "iterations for host", "qemu, round 1", "dbt, round 1",
        "host, round 1", "qemu, round 2", "dbt, round 2", "qemu, round 3"]
    assert [len(timing.samples) for timing in made.timings.values()] == [3, 2, 1]
    assert made.timings["host"].rate == pytest.approx(1000)


def test_translating_is_not_timed() -> None:
    """Once, what gets hot only in the longer run was compiled there, and counted as execution."""
    peer = Peer("dbt", keeps=True, translates=[3.0, 2.0, 1.0, 0.0])
    timing = _measure(peer, rounds=3).timings["dbt"]
    assert timing.samples == pytest.approx([1000.0] * 3) and timing.translating == [0.0] * 3
    assert 0.75 * timing.iterations / 1000 < 0.7
    assert peer.asked[:5] == [4 * 6] * 4 + [0]


def test_a_sample_that_translates_is_taken_again() -> None:
    peer = Peer("dbt", keeps=True, translates=[0.0] * 4 + [0.5, 0.0])
    timing = measure(Case("guest", per_second=800), [peer], {"dbt": Turns(0.6, 1)}, EXPECTED,
                     lambda _text: None).timings["dbt"]
    assert timing.samples == pytest.approx([1000.0]) and timing.translating == [0.0]
    assert len(peer.asked) == 7


def test_a_guest_that_never_stops_translating() -> None:
    """It is reported with the part of its time that went into it."""
    peer = Peer("dbt", speed=1e5, keeps=True)
    run = peer.run

    def busy(workload: str, options: str) -> Ran:
        peer.translates = [0.2 * ("=80000 " in options) + 1.0 * ("=320000 " in options)]
        return run(workload, options)

    peer.run = busy  # type: ignore[method-assign]
    timing = measure(Case("guest", "size=4m", 100_000), [peer], {"dbt": Turns(0.6, 2)}, EXPECTED,
                     lambda _text: None).timings["dbt"]
    assert timing.iterations == 80_000 and not timing.settled
    assert timing.translating == pytest.approx([0.25] * 2) and timing.translating[0] > STEADY
    assert timing.samples == pytest.approx([0.75e5] * 2)
    assert peer.asked.count(320_000) == 5 and peer.asked.count(20_000) == 2


def test_peers_without_rounds_are_not_run() -> None:
    idle = Peer("unicorn")
    made = measure(Case("guest"), [Peer("qemu"), idle], {"qemu": Turns(0.5, 1)}, EXPECTED, lambda _text: None)
    assert idle.asked == [] and "unicorn" not in made.timings
    with pytest.raises(Unable, match="^unicorn: not part of this run$"):
        made.ratios("qemu", "unicorn")


def test_a_peer_that_prints_something_else() -> None:
    """By default, or only after as many iterations as QEMU's."""
    assert _measure(Peer("qemu"), Peer("dbt", answer="nonsense\n")).reasons["dbt"].endswith(
        "iterations it prints 'nonsense'")
    broken = Peer("qemu")
    broken.run = lambda _workload, _options: Ran(0, "panic\n", "", 0, 0)  # type: ignore[method-assign]
    assert _measure(broken).reasons == {"qemu": "it prints 'panic'"}


def test_a_guest_too_short_to_be_timed() -> None:
    """The number of iterations stays within what guests can count to, and no rate is made of noise."""
    peer = Peer("qemu", speed=float("inf"))
    made = _measure(peer)
    assert max(peer.asked) == MOST_ITERATIONS
    assert made.reasons["qemu"].startswith(f"{MOST_ITERATIONS} iterations take no longer than a quarter of them")


def test_what_is_written() -> None:
    timing = Timing(100, [10.0, 30.0, 20.0], [0.0, 0.25, 0.0], 5e5)
    record = Measured({"dbt": timing}, {"host": "it needs ring 0"}).as_json()
    assert record == {"instructions per iteration": 5e5, "peers": {
        "dbt": {"iterations": 100, "iterations/s": 20.0, "samples": [10.0, 30.0, 20.0],
                "translating": [0.0, 0.25, 0.0], "M instructions/s": 10.0},
        "host": {"skipped": "it needs ring 0"}}}
