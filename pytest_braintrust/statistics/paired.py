"""Compare one score in two runs, over the tests that both have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pytest_braintrust.statistics.distributions import t_cdf
from pytest_braintrust.statistics.flips import sign_flips
from pytest_braintrust.statistics.moments import Moments, around, mean_of
from pytest_braintrust.statistics.numbers import (
    ALPHA,
    SAME,
    Comparison,
    Interval,
    Method,
    probability,
)

#: With more changed tests than this, Student's t stands in for the sign flips; also
#: the only differences that are ever kept in memory.
FLIPPED_AT_MOST = 200


def compare(
    pairs: Iterable[tuple[Sequence[float], Sequence[float]]], *, alpha: float = ALPHA
) -> Comparison:
    """Compare a score's values then and now, one pair of trial lists for each test.

    The same as a `PairedAccumulator` that is given the pairs in turn; see there for
    the method.

    Raises:
        ValueError: a list of trials is empty, a value is not finite, or `alpha` is
            not between 0 and 1.
    """
    accumulator = PairedAccumulator()
    for then, now in pairs:
        accumulator.add(then, now)
    return accumulator.result(alpha=alpha)


class _Side:
    """One run: the means of its tests, and how far trials scatter about them."""

    __slots__ = ("_inverse_trials", "_scatter", "means")

    def __init__(self) -> None:
        self.means = Moments()
        self._scatter = Moments()
        self._inverse_trials = 0.0

    def add(self, values: Sequence[float]) -> float:
        mean = mean_of(values)
        self.means.add(mean)
        self._inverse_trials += 1 / len(values)
        if len(values) > 1:
            squares = math.fsum((each - mean) ** 2 for each in values)
            self._scatter.add(squares / (len(values) - 1))
        return mean

    @property
    def mean(self) -> float | None:
        return self.means.mean if self.means.count else None

    @property
    def trial_variance(self) -> float | None:
        """σ²: the mean over the tests that have two trials or more."""
        return self._scatter.mean if self._scatter.count else None

    @property
    def inverse_trials(self) -> float:
        """The mean over tests of 1/K: what trials leave of σ² in a test's mean."""
        return self._inverse_trials / self.means.count


class PairedAccumulator:
    """Compare one score in two runs, test by test as they come.

    Holds a handful of numbers and at most `FLIPPED_AT_MOST` differences, however
    many tests there are. The order of the tests has no say beyond float rounding.

    The difference of a test is d = mean of its trials now − mean of its trials then,
    and is 0 when it is float noise (`SAME`, relative to the means, and absolute). Each
    test counts once: trials make its difference surer, not weightier, and when tests
    differ in number of trials the mean still is that of the suite as it is written.
    """

    __slots__ = ("_changed", "_differences", "_now", "_sizes", "_then", "fell", "rose")

    def __init__(self) -> None:
        self._then = _Side()
        self._now = _Side()
        self._differences = Moments()
        self._sizes = Moments()
        self._changed: list[float] = []
        self.rose = 0
        self.fell = 0

    def add(self, then: Sequence[float], now: Sequence[float]) -> bool:
        """Add a test by the values of its trials, one or more in each run.

        Answers whether it changed, by more than float noise.

        Raises:
            ValueError: there are no values, or one is not a finite number. A caller
                that goes on after it must start anew.
        """
        before, after = self._then.add(then), self._now.add(now)
        if math.isclose(before, after, rel_tol=SAME, abs_tol=SAME):
            self._differences.add(0.0)
            return False
        difference = after - before
        self._differences.add(difference)
        self._sizes.add(abs(difference))
        self.rose += difference > 0
        self.fell += difference < 0
        if self._sizes.count <= FLIPPED_AT_MOST:
            self._changed.append(difference)
        else:
            self._changed.clear()
        return True

    def result(self, *, alpha: float = ALPHA) -> Comparison:
        """Compare what was added so far; more may be added after.

        The standard error is the paired one, of Miller 2024, equation 7, over tests:
        √(Var(d)/n). As a test's trials are first averaged it is clustered by test,
        as in equation 8, with the factor n/(n − 1) that few clusters need.

        The p-value comes from the sign-flip test where at most `FLIPPED_AT_MOST`
        tests changed: if the change did nothing, each difference could as well have
        had the other sign, and p is the share of all sign patterns whose mean is as
        far from 0 as the observed one. On pass/fail scores that is McNemar's exact
        test. Beyond, it comes from the paired t-test with n − 1 degrees.

        The interval is difference ± t_{1−α/2, n−1} · standard error, with one
        amendment that makes it say what the p-value says: it is stretched to 0 when
        the p-value finds no evidence, and cut at 0 when it does. It has no width
        when every test moved by the same amount and that is evidence, or none moved.

        Raises:
            ValueError: `alpha` is not between 0 and 1.
        """
        probability("alpha", alpha)
        count = self._differences.count
        difference = self._differences.mean if count else None
        error = self._differences.standard_error()
        p, method = self._p_value(error)
        between, within = self._components(error)
        return Comparison(
            tests=count,
            then=self._then.mean,
            now=self._now.mean,
            difference=difference,
            standard_error=error,
            interval=self._interval(error, p, alpha),
            p_value=p,
            method=method,
            alpha=alpha,
            rose=self.rose,
            fell=self.fell,
            same=count - self.rose - self.fell,
            change=self._sizes.mean,
            between=between,
            within=within,
        )

    def _p_value(self, error: float | None) -> tuple[float | None, Method]:
        if error is None:
            return None, "none"
        if self._sizes.count <= FLIPPED_AT_MOST:
            return sign_flips(self._changed)
        if error == 0:
            return 0.0, "t"
        t = self._differences.mean / error
        return 2 * t_cdf(-abs(t), self._differences.count - 1), "t"

    def _interval(
        self, error: float | None, p: float | None, alpha: float
    ) -> Interval | None:
        if error is None or p is None:
            return None
        mean = self._differences.mean
        low, high = around(mean, error, self._differences.count, alpha)
        if p >= alpha:
            return Interval(min(low, 0.0), max(high, 0.0))
        if mean > 0:
            return Interval(max(low, 0.0), high)
        return Interval(low, min(high, 0.0))

    def _components(self, error: float | None) -> tuple[float | None, float | None]:
        """ω² and σ_A² + σ_B² of Miller 2024, section 5, by moments."""
        then, now = self._then.trial_variance, self._now.trial_variance
        if error is None or then is None or now is None:
            return None, None
        noise = then * self._then.inverse_trials + now * self._now.inverse_trials
        return max(0.0, self._differences.variance() - noise), then + now
