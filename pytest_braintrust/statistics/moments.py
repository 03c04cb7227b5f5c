"""Means and spreads of values that pass by once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_braintrust.statistics.distributions import t_quantile
from pytest_braintrust.statistics.numbers import NOISE, Interval


class Moments:
    """Count, mean and variance of values that pass by once (Welford 1962)."""

    __slots__ = ("_squares", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self._squares += step * (value - self.mean)

    def variance(self) -> float:
        """Of the values, with n − 1; 0 where it is only float noise."""
        variance = self._squares / (self.count - 1)
        return 0.0 if variance <= (NOISE * self.mean) ** 2 else variance

    def standard_error(self) -> float | None:
        """Of the mean: Miller 2024, equation 1; None for fewer than two values."""
        if self.count < 2:  # noqa: PLR2004 - what a variance needs
            return None
        return math.sqrt(self.variance() / self.count)


def mean_of(values: Sequence[float]) -> float:
    """The mean of a test's trials.

    Raises:
        ValueError: there are no values, or one is not a finite number.
    """
    if len(values) == 1 and math.isfinite(values[0]):
        return float(values[0])
    if not values:
        msg = "a test without a value cannot be compared: leave it out"
        raise ValueError(msg)
    if not all(map(math.isfinite, values)):
        msg = f"values must be finite numbers, got {list(values)!r}"
        raise ValueError(msg)
    return math.fsum(values) / len(values)


def around(mean: float, error: float, tests: int, alpha: float) -> Interval:
    """Student's interval of a mean over tests, at the level 1 − `alpha`."""
    half = -t_quantile(alpha / 2, tests - 1) * error
    return Interval(mean - half, mean + half)
