"""Estimate the mean of one score in one run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pytest_braintrust.statistics.moments import Moments, around, mean_of
from pytest_braintrust.statistics.numbers import (
    ALPHA,
    Estimate,
    Interval,
    probability,
)


def estimate(
    tests: Iterable[Sequence[float]],
    *,
    alpha: float = ALPHA,
    bounds: Interval | tuple[float, float] | None = None,
) -> Estimate:
    """Estimate the mean of a score in one run from the trials of each test.

    The same as a `MeanAccumulator` that is given the tests in turn.

    Raises:
        ValueError: a list of trials is empty, a value is not finite, or `alpha` is
            not between 0 and 1.
    """
    accumulator = MeanAccumulator()
    for values in tests:
        accumulator.add(values)
    return accumulator.result(alpha=alpha, bounds=bounds)


class MeanAccumulator:
    """Estimate the mean of one score in one run, test by test as they come.

    Each test counts once, by the mean of its trials.
    """

    __slots__ = ("_highest", "_lowest", "_moments")

    def __init__(self) -> None:
        self._moments = Moments()
        self._lowest = math.inf
        self._highest = -math.inf

    def add(self, values: Sequence[float]) -> None:
        """Add a test by the values of its trials, one or more.

        Raises:
            ValueError: there are no values, or one is not a finite number.
        """
        mean = mean_of(values)
        self._moments.add(mean)
        self._lowest = min(self._lowest, mean)
        self._highest = max(self._highest, mean)

    def result(
        self,
        *,
        alpha: float = ALPHA,
        bounds: Interval | tuple[float, float] | None = None,
    ) -> Estimate:
        """Estimate from what was added so far; more may be added after.

        The standard error is √(Var(test means)/n): Miller 2024, equation 1 over
        tests, which is his equation 4 (clusters) for equal numbers of trials, but
        for a factor n/(n − 1) that few clusters need. The interval is Student's t.

        Args:
            alpha: The interval's level is 1 − alpha.
            bounds: What values cannot leave: (0, 1) for scores. The interval is cut
                there, and where all tests sit at one bound, so that t says nothing,
                its other end is that of the exact binomial interval (Clopper &
                Pearson 1934): 20 passes of 20 give 0.83 to 1, not 1 to 1.

        Raises:
            ValueError: `alpha` is not between 0 and 1.
        """
        probability("alpha", alpha)
        count = self._moments.count
        mean = self._moments.mean if count else None
        error = self._moments.standard_error()
        if error is None:
            return Estimate(count, mean, None, None)
        interval = around(self._moments.mean, error, count, alpha)
        if bounds is not None:
            interval = self._bounded(interval, Interval(*bounds), alpha)
        return Estimate(count, mean, error, interval)

    def _bounded(self, interval: Interval, bounds: Interval, alpha: float) -> Interval:
        sure = (alpha / 2) ** (1 / self._moments.count)
        unsure = (bounds.high - bounds.low) * (1 - sure)
        if self._lowest == bounds.high:
            return Interval(bounds.high - unsure, bounds.high)
        if self._highest == bounds.low:
            return Interval(bounds.low, bounds.low + unsure)
        return Interval(max(interval.low, bounds.low), min(interval.high, bounds.high))
