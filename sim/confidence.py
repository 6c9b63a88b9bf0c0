"""Confidence intervals of means of few samples: Student's t."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import cache

#: Probability that the true mean lies within the interval.
CONFIDENCE = 0.95
_STEPS = 400


def _density(x: float, degrees: int) -> float:
    log = (math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
           - (degrees + 1) / 2 * math.log1p(x * x / degrees))
    return math.exp(log)


def _within(limit: float, degrees: int) -> float:
    """Probability of a value between -limit and limit. By Simpson's rule over the angle, where tails are short."""
    # x = sqrt(degrees) tan(angle) makes the density a smooth power of the cosine.
    scale = math.sqrt(degrees)
    end = math.atan(limit / scale)
    step = end / _STEPS
    total = 0.0
    for index in range(_STEPS + 1):
        angle = index * step
        weight = 1 if index in (0, _STEPS) else 4 if index & 1 else 2
        total += weight * _density(scale * math.tan(angle), degrees) * scale / math.cos(angle) ** 2
    return 2 * total * step / 3


@cache
def student_t(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The limit within which a t-distributed value lies, on both sides of 0, with the probability ``confidence``.

    Raises
    ------
    ValueError
        There are no degrees of freedom.
    """
    if degrees < 1:
        raise ValueError(f"a t distribution has at least 1 degree of freedom, not {degrees}")
    low, high = 0.0, 1.0
    while _within(high, degrees) < confidence:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if _within(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return high


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half the width of its confidence interval: infinite for one value.

    Raises
    ------
    statistics.StatisticsError
        There are no values.
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.inf
    return mean, student_t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
