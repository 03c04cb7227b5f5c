"""Estimate the mean of one score in one run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pytest_braintrust.statistics.distributions import normal_quantile
from pytest_braintrust.statistics.moments import Moments, around, mean_of
from pytest_braintrust.statistics.numbers import (
    ALPHA,
    Estimate,
    Interval,
    probability,
)

#: All or nothing: what a test that passes or fails can have.
_ENDS = (0.0, 1.0)


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

    __slots__ = ("_all_or_nothing", "_highest", "_lowest", "_moments")

    def __init__(self) -> None:
        self._moments = Moments()
        self._lowest = math.inf
        self._highest = -math.inf
        #: Whether each test had 0 or 1.
        self._all_or_nothing = True

    def add(self, values: Sequence[float]) -> None:
        """Add a test by the values of its trials, one or more.

        Raises:
            ValueError: there are no values, or one is not a finite number.
        """
        mean = mean_of(values)
        self._moments.add(mean)
        self._lowest = min(self._lowest, mean)
        self._highest = max(self._highest, mean)
        if mean not in _ENDS:
            self._all_or_nothing = False

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
                there. That of tests that each have 0 or 1 is Wilson's (1927), for
                Student's holds too little near the ends. Where no test differs, no
                spread is no certainty: so many tests that may be there and were not
                met, by the exact binomial interval (Clopper & Pearson 1934), may
                have any value: 20 passes of 20 give 0.83 to 1. Values of other
                kinds stay on the side of 0 that all of them are on.

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
        elif self._lowest >= 0:
            interval = Interval(max(interval.low, 0.0), interval.high)
        elif self._highest <= 0:
            interval = Interval(interval.low, min(interval.high, 0.0))
        return Estimate(count, mean, error, interval)

    def _bounded(self, interval: Interval, bounds: Interval, alpha: float) -> Interval:
        count, mean = self._moments.count, self._moments.mean
        if self._lowest == self._highest:
            unmet = 1 - (alpha / 2) ** (1 / count)
            low = mean - unmet * (mean - bounds.low)
            return Interval(low, mean + unmet * (bounds.high - mean))
        if bounds == _ENDS and self._all_or_nothing:
            return _wilson(mean, count, alpha)
        return Interval(max(interval.low, bounds.low), min(interval.high, bounds.high))


def _wilson(share: float, count: int, alpha: float) -> Interval:
    """The interval of a share of so many tests (Wilson 1927)."""
    z = normal_quantile(1 - alpha / 2)
    weight = 1 + z * z / count
    middle = (share + z * z / (2 * count)) / weight
    half = z / weight * math.sqrt(share * (1 - share) / count + (z / count / 2) ** 2)
    return Interval(middle - half, middle + half)
