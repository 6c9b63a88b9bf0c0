"""What is measured on the computer is what the guest did, at any speed of this machine."""

from pathlib import Path

import pytest

from sim.bench.guests import GuestFailed, run_to_end, steady
from sim.rtlmachine import RtlMachine
from tests.sim import guests


def test_a_guest_that_fails_is_named(rtl: RtlMachine, tmp_path: Path) -> None:
    image = tmp_path / "failing.elf"
    image.write_bytes(guests.elf(guests.leave(3)))
    with pytest.raises(GuestFailed, match="^failing.elf with 'iterations=1' ended by guest exit 3$"):
        run_to_end(rtl, image, "iterations=1")


def test_counters_start_from_reset(rtl: RtlMachine, tmp_path: Path) -> None:
    image = tmp_path / "count.elf"
    image.write_bytes(guests.elf(guests.count(50) + guests.leave(0)))
    first, second = run_to_end(rtl, image, ""), run_to_end(rtl, image, "")
    assert first == second and first["instructions"] >= 200
    # This guest ignores its command line, so that nothing is left of twice as many iterations.
    assert set(steady(rtl, image, 10).values()) == {0}
