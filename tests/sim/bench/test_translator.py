"""What is made of measured speeds, and that instructions may be counted per iteration."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.bench import sharedpage, translator
from sim.bench.figures import TARGETS
from sim.bench.rates import Measured, Timing
from sim.bench.workloads import COMPUTE, PLACES, SYSTEM
from sim.image import Image
from vmm.cli.emulated import Emulated


def _measured(**rates: tuple[float, ...]) -> Measured:
    return Measured({name: Timing(100, list(samples)) for name, samples in rates.items()},
                    {"host": "there is no compiler"})


def test_ratios_and_their_mean() -> None:
    made = {figure.name: figure for figure in translator.figures({
        "dhry": _measured(dbt=(4.0, 6.0, 5.0), qemu=(2.0, 2.0, 2.0), unicorn=(1.0,)),
        "sieve": _measured(dbt=(16.0, 16.0, 16.0), qemu=(2.0, 2.0, 4.0), unicorn=(4.0,)),
        "selfmod": _measured(dbt=(8.0,), qemu=(2.0,))})}
    assert made["dbt / qemu, dhry"].samples == (2.0, 3.0, 2.5)
    assert made["dbt / qemu, dhry"].met is True
    assert made["dbt / qemu, selfmod"].value == 4.0 and made["dbt / qemu, selfmod"].met is False
    mean = made["dbt / qemu, geometric mean"]
    assert mean.value == pytest.approx((2.5 * 8.0) ** 0.5)
    assert mean.samples == pytest.approx((4.0, 24 ** 0.5, 10 ** 0.5))
    assert made["dbt / unicorn, geometric mean"].value == pytest.approx(20 ** 0.5)
    assert made["dbt / host, geometric mean"].skipped == "host: there is no compiler"
    assert "dbt, page fault" not in made


def test_time_of_a_page_fault() -> None:
    made = {figure.name: figure for figure in translator.figures({"pagefaults": _measured(qemu=(3906.25,))})}
    assert made["qemu, page fault"].value == pytest.approx(2.0)
    assert made["dbt, page fault"].skipped == "not part of this run"
    assert made["dbt / qemu, geometric mean"].skipped == "no compute workload was measured"


def test_loss_by_a_shared_page() -> None:
    made = {figure.name: figure for figure in sharedpage.figures({
        "apart": _measured(dbt=(8.0, 8.0), qemu=(4.0, 4.0)), "page": _measured(dbt=(6.0, 2.0), qemu=(1.0, 1.0)),
        "line": _measured(qemu=(1.0, 2.0))})}
    assert made["dbt / qemu, data=line"].met is None
    assert made["dbt / qemu, data=page"].samples == (6.0, 2.0)
    assert made["dbt, data=page / data=apart"].value == 0.5 and made["dbt, data=page / data=apart"].met is True
    assert made["dbt, data=line / data=apart"].skipped == "not part of this run"
    assert made["qemu, data=line / data=apart"].samples == (0.25, 0.5)


def test_a_translator_that_fails_misses_its_targets() -> None:
    broken = Measured({"qemu": Timing(100, [2.0])}, {"dbt": "it prints 'panic'"})
    made = {figure.name: figure for figure in translator.figures(
        {"dhry": broken, "sieve": _measured(dbt=(4.0,), qemu=(2.0,)), "pagefaults": broken})}
    assert made["dbt / qemu, sieve"].met is True
    for name in ("dbt / qemu, dhry", "dbt / qemu, geometric mean", "dbt / qemu, pagefaults"):
        assert made[name].met is False and made[name].skipped == "dbt: it prints 'panic'"


def test_every_target_names_a_figure() -> None:
    """A target whose figure is called otherwise would never be missed."""
    measured = _measured(dbt=(1.0,), qemu=(1.0,), unicorn=(1.0,), emulate=(1.0,))
    figures = translator.figures(dict.fromkeys(COMPUTE | SYSTEM, measured))
    figures += sharedpage.figures(dict.fromkeys(PLACES, measured))
    names = {figure.name for figure in figures}
    assert [name for name in TARGETS if name.startswith("dbt") and name not in names] == []
    assert {f"dbt / qemu, {name}" for name in COMPUTE | SYSTEM} <= set(TARGETS)


#: Few iterations, a multiple of the period after which a workload repeats itself.
FEW = {"dhry": 26, "sieve": 1, "matmul": 1, "crc32": 2, "sha256": 16, "quicksort": 3, "recursion": 4, "bytecode": 1,
       "chase": 20, "syscalls": 100, "pagefaults": 2, "strings": 60, "selfmod": 100}


@pytest.mark.parametrize("name", FEW)
def test_instructions_are_linear_in_iterations(name: str, built: dict[str, Path]) -> None:
    """Speeds are iterations per second times instructions per iteration, so the latter may not depend on how many."""
    image = Image.load(built[name])
    counts = [_instructions(image, FEW[name] * times) for times in (1, 2, 3)]
    second, third = counts[1] - counts[0], counts[2] - counts[1]
    # Printing a number takes more instructions for more digits: some hundreds, whatever the iterations.
    assert abs(third - second) <= max(0.01 * second, 400)


def _instructions(image: Image, iterations: int) -> int:
    machine = Emulated(ram_bytes=8 << 20)
    machine.load(image, f"iterations={iterations}")
    assert machine.run().value == 0
    return machine.instructions


def test_the_list_of_workloads_is_complete() -> None:
    assert set(FEW) == set(COMPUTE | SYSTEM)
