"""Compare one score in two runs, over the tests that both have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pytest_braintrust.statistics.distributions import t_cdf
from pytest_braintrust.statistics.flips import Found, equal_sizes, permuted
from pytest_braintrust.statistics.moments import Moments, around, mean_of
from pytest_braintrust.statistics.numbers import (
    ALPHA,
    SAME,
    Comparison,
    Interval,
    probability,
)
from pytest_braintrust.statistics.relabelling import Law, flipped, relabelled

#: With more tests that could have come out otherwise, Student's t stands in for the
#: permutations; also the only ones that are ever kept in memory.
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

    Holds a handful of numbers and the laws of `FLIPPED_AT_MOST` tests, however many
    there are. The order of the tests has no say beyond float rounding.

    The difference of a test is d = mean of its trials now − mean of its trials then,
    and is 0 when it is float noise (`SAME`, relative to the means, and absolute). Each
    test counts once: trials make its difference surer, not weightier, and when tests
    differ in number of trials the mean still is that of the suite as it is written.
    """

    __slots__ = (
        "_differences",
        "_flipped",
        "_now",
        "_open",
        "_relabelled",
        "_sizes",
        "_then",
        "_uneven",
        "fell",
        "rose",
    )

    def __init__(self) -> None:
        self._then = _Side()
        self._now = _Side()
        self._differences = Moments()
        self._sizes = Moments()
        #: What the differences could be as well, with the other sign and by choosing
        #: trials anew; and of how many tests.
        self._flipped: list[Law] = []
        self._relabelled: list[Law] = []
        self._open = 0
        #: Whether a test has more trials in one run than in the other.
        self._uneven = False
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
        same = math.isclose(before, after, rel_tol=SAME, abs_tol=SAME)
        difference = 0.0 if same else after - before
        self._differences.add(difference)
        if len(then) != len(now):
            self._uneven = True
        if self._open <= FLIPPED_AT_MOST:
            self._keep(then, now, difference)
        if same:
            return False
        self._sizes.add(abs(difference))
        self.rose += difference > 0
        self.fell += difference < 0
        return True

    def _keep(
        self, then: Sequence[float], now: Sequence[float], difference: float
    ) -> None:
        flip = flipped(difference) if difference else None
        law = flip if len(then) == len(now) else relabelled(then, now, flip)
        if law is None:
            return
        self._open += 1
        if self._open > FLIPPED_AT_MOST:
            self._flipped.clear()
            self._relabelled.clear()
            return
        self._relabelled.append(law)
        if flip is not None:
            self._flipped.append(flip)

    def result(self, *, alpha: float = ALPHA) -> Comparison:
        """Compare what was added so far; more may be added after.

        The standard error is the paired one, of Miller 2024, equation 7, over tests:
        √(Var(d)/n). As a test's trials are first averaged it is clustered by test,
        as in equation 8, with the factor n/(n − 1) that few clusters need.

        The p-value comes from a permutation test where at most `FLIPPED_AT_MOST`
        tests could have come out otherwise: if the change did nothing, then and now
        could as well have traded places in any test, so each difference could have
        had the other sign, and p is the share of all sign patterns whose mean is as
        far from 0 as the observed one. On pass/fail scores that is McNemar's exact
        test. Where tests have more trials in one run than in the other, their
        differences are skewed near the ends of a score; then p is the share of all
        ways to choose the trials of the smaller run among all trials of a test, if
        that is larger. Beyond, it comes from the paired t-test with n − 1 degrees; where
        all changes have one size, from the same exact test.

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
        found = self._found(error)
        p = None if found is None else found.p_value
        between, within = self._components(error)
        return Comparison(
            tests=count,
            then=self._then.mean,
            now=self._now.mean,
            difference=difference,
            standard_error=error,
            interval=self._interval(error, p, alpha),
            p_value=p,
            least=None if found is None else found.least,
            method="none" if found is None else found.method,
            alpha=alpha,
            rose=self.rose,
            fell=self.fell,
            same=count - self.rose - self.fell,
            change=self._sizes.mean,
            between=between,
            within=within,
        )

    def _found(self, error: float | None) -> Found | None:
        if error is None:
            return None
        if self._open <= FLIPPED_AT_MOST:
            found = permuted(self._flipped)
            if not self._uneven:
                return found
            # Each is right where the other is not: signs where a test moves as a
            # whole from run to run, choices where one trial is near the top.
            other = permuted(self._relabelled)
            larger = max(found, other)
            return larger._replace(least=max(found.least, other.least))
        if not self._uneven and self._sizes.variance() == 0:
            return equal_sizes(self.rose, self.fell)
        if error == 0:
            return Found(0.0, 0.0, "t")
        t = self._differences.mean / error
        return Found(2 * t_cdf(-abs(t), self._differences.count - 1), 0.0, "t")

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
