"""Quantiles against a printed table, intervals against what they promise."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from sim.confidence import mean_and_error, student_t


@pytest.mark.parametrize(("degrees", "limit"), [
    (1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (29, 2.0452), (99, 1.9842), (10_000, 1.9602)])
def test_quantiles(degrees: int, limit: float) -> None:
    assert student_t(degrees) == pytest.approx(limit, abs=5e-5)


def test_other_confidence() -> None:
    assert student_t(9, 0.997) == pytest.approx(4.0245, abs=2e-2)
    assert student_t(5, 0.5) == pytest.approx(0.7267, abs=5e-5)


def test_no_degrees_of_freedom() -> None:
    with pytest.raises(ValueError, match="^a t distribution has at least 1 degree of freedom, not 0$"):
        student_t(0)


def test_mean_and_error() -> None:
    mean, error = mean_and_error([1.0, 2.0, 3.0])
    assert mean == 2 and error == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert mean_and_error([5.0]) == (5.0, math.inf)
    with pytest.raises(statistics.StatisticsError):
        mean_and_error([])


def test_nineteen_of_twenty_intervals_hold_the_mean() -> None:
    generator = random.Random(1)
    held = 0
    for _ in range(2000):
        mean, error = mean_and_error([generator.gauss(3, 1) for _ in range(4)])
        held += abs(mean - 3) <= error
    assert 0.93 < held / 2000 < 0.97
