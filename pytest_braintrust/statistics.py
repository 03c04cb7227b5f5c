"""Say whether a score moved between two runs, and whether by more than noise.

Plain Python, one pass, and no random number: the same two runs give the same verdict
on every machine. A test is one cluster, however many trials it has, and counts once.

Sources that the formulas name:

- Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640: standard errors
  (equations 1, 4, 7, 8), numbers of tests and trials (9, 10).
- Pagano & Tritchler 1983, "On obtaining permutation distributions in polynomial
  time", JASA 78; Streitberg & Röhmel 1986, the same as the shift algorithm.
- Guenther 1981, "Sample size formulas for normal theory t tests", Am. Stat. 35.
- Hill 1970, "Student's t-distribution", CACM algorithm 395.
- Holm 1979, "A simple sequentially rejective multiple test procedure".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, NamedTuple, TypeAlias

Better: TypeAlias = Literal["higher", "lower"]
Verdict: TypeAlias = Literal["improved", "regressed", "no evidence", "not measurable"]
#: Where a p-value comes from: all sign flips, all sign flips of differences rounded
#: to a fine grid, Student's t, or nowhere (fewer than two tests).
Method: TypeAlias = Literal["exact", "rounded", "t", "none"]

ALPHA = 0.05
POWER = 0.8

#: Two values of one test that differ by less are the same: float noise.
SAME = 1e-12
#: A spread or a mean that is this small beside the differences it comes from is 0.
NOISE = 1e-9

#: With more changed tests than this, Student's t stands in for the sign flips; also
#: the only differences that are ever kept in memory.
FLIPPED_AT_MOST = 200
#: 2**15 sums: a few milliseconds.
ENUMERATED_AT_MOST = 16
#: Steps from no change to all changes in one direction; 2**15 by 200 tests is an
#: integer of 0.8 MB and some 20 ms.
GRID = 2**15

_NORMAL = NormalDist()


class Interval(NamedTuple):
    """Both ends belong to it; `low <= high`."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of one score in one run.

    `mean` is None for no test, `standard_error` and `interval` for fewer than two.
    """

    tests: int
    mean: float | None
    standard_error: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One score in two runs, over the tests that both have.

    Values keep the sign and unit of the score: what rose is better only where higher
    is better, which `verdict` asks for.

    Attributes:
        tests: How many tests both runs have.
        then: Mean over tests of the mean over trials; None for no test. So is `now`.
        difference: Mean of now − then over tests; None for no test.
        standard_error: Of `difference`; None for fewer than two tests.
        interval: Of `difference`, at the level 1 − `alpha`. Contains 0 exactly when
            `p_value >= alpha`, 0 as an end aside; None for fewer than two tests.
        p_value: Two-sided, in [0, 1]; None for fewer than two tests.
        method: Where the p-value comes from.
        alpha: The level that `interval` was made for.
        rose: Tests with now > then, by more than float noise.
        fell: Tests with now < then, by more than float noise.
        same: The other tests.
        change: Mean size of the change of those that changed; 0 where none did.
        between: Variance over tests of the difference that endless trials would
            leave (ω² of Miller 2024); None where a run has no test with two trials.
        within: Variance of a trial about its test's mean, then and now added
            (σ_A² + σ_B²); None where `between` is.
    """

    tests: int
    then: float | None
    now: float | None
    difference: float | None
    standard_error: float | None
    interval: Interval | None
    p_value: float | None
    method: Method
    alpha: float
    rose: int
    fell: int
    same: int
    change: float
    between: float | None
    within: float | None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What a comparison can see, and what it would take to see more.

    Attributes:
        detectable: The mean difference that these tests show with the asked power;
            None where no difference can be seen or nothing changed to judge by.
        tests_needed: Tests in all at which the observed difference would be seen
            with that power; None where there is no difference.
        trials_needed: Trials per test, in both runs, at which these tests would show
            the observed difference; None where no number is enough, or where the
            noise between trials is not known.
        fewest_changes: With fewer changed tests than this no p-value falls below
            alpha, whatever the size of the changes: 6 at 0.05.
    """

    detectable: float | None
    tests_needed: int | None
    trials_needed: int | None
    fewest_changes: int


# What users of this module call


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


def verdict(
    comparison: Comparison,
    *,
    better: Better = "higher",
    alpha: float | None = None,
    p_value: float | None = None,
) -> Verdict:
    """Judge a comparison by one rule: its p-value is below alpha, or it is not.

    Fewer than two tests are not measurable: nothing says how far one test moves by
    itself.

    Args:
        comparison: What was measured.
        better: Which direction is the good one: "lower" for durations and costs.
        alpha: The share of false alarms among scores that did not move; the
            comparison's own when not given, and then `interval` says the same.
        p_value: A corrected p-value to judge by instead, such as one of `holm`.
    """
    if comparison.p_value is None or comparison.difference is None:
        return "not measurable"
    p = comparison.p_value if p_value is None else p_value
    if p >= (comparison.alpha if alpha is None else alpha):
        return "no evidence"
    good = (
        comparison.difference > 0 if better == "higher" else comparison.difference < 0
    )
    return "improved" if good else "regressed"


def sensitivity(
    comparison: Comparison, *, power: float = POWER, alpha: float | None = None
) -> Sensitivity:
    """Say which difference these tests would show, and what the observed one needs.

    Miller 2024, equations 9 and 10, with the variance of the tests' differences in
    the place of its estimate ω² + σ_A²/K_A + σ_B²/K_B, and Guenther's ½ z²_{α/2}
    for the variance being estimated::

        tests      = (z_{α/2} + z_β)² Var(d) / δ² + ½ z²_{α/2}
        detectable = (z_{α/2} + z_β) √(Var(d) / (n − ½ z²_{α/2}))
        trials     = (σ_A² + σ_B²) / (δ² (n − ½ z²_{α/2}) / (z_{α/2} + z_β)² − ω²)

    Neither number is let fall below what the sign flips ask for: `fewest_changes`
    tests that change by the usual size, at the rate at which tests changed here.

    Args:
        comparison: What was measured.
        power: The share of such differences that would be seen; between 0 and 1.
        alpha: As in `verdict`.

    Raises:
        ValueError: `power` or `alpha` is not between 0 and 1.
    """
    level = _probability("alpha", comparison.alpha if alpha is None else alpha)
    critical = normal_quantile(1 - level / 2)
    plan = _Plan(
        reach=critical + normal_quantile(power),
        lost=critical**2 / 2,
        fewest=math.floor(1 - math.log2(level)) + 1,
    )
    return Sensitivity(
        detectable=plan.detectable(comparison),
        tests_needed=plan.tests_needed(comparison),
        trials_needed=plan.trials_needed(comparison),
        fewest_changes=plan.fewest,
    )


def holm(p_values: Iterable[float | None]) -> tuple[float | None, ...]:
    """Correct p-values for being judged together, in their order (Holm 1979).

    The chance that any of the scores that did not move gets a corrected p-value below
    alpha is at most alpha, however the scores hang together. None stays None and
    does not count.

    Nothing in this module applies it; `verdict(..., p_value=corrected)` judges by it.
    One score that is looked at for its own sake needs no correction. A gate that fails
    when *any* of k scores got worse does: without, up to 1 − (1 − α/2)^k of the runs
    in which nothing changed raise a false alarm, 22 % for ten scores. Intervals stay
    those of one score, so one may leave 0 out where the corrected verdict finds no
    evidence.
    """
    given = list(p_values)
    known = sorted((p, at) for at, p in enumerate(given) if p is not None)
    corrected = list(given)
    highest = 0.0
    for rank, (p, at) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[at] = highest
    return tuple(corrected)


# Accumulators: one pass, and memory that does not grow with the tests


class _Moments:
    """Count, mean and variance of values that pass by once (Welford 1962)."""

    __slots__ = ("_squares", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
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


class _Side:
    """One run: the means of its tests, and how far trials scatter about them."""

    __slots__ = ("_inverse_trials", "_scatter", "means")

    def __init__(self) -> None:
        self.means = _Moments()
        self._scatter = _Moments()
        self._inverse_trials = 0.0

    def add(self, values: Sequence[float]) -> float:
        mean = _mean(values)
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
        self._differences = _Moments()
        self._sizes = _Moments()
        self._changed: list[float] = []
        self.rose = 0
        self.fell = 0

    def add(self, then: Sequence[float], now: Sequence[float]) -> None:
        """Add a test by the values of its trials, one or more in each run.

        Raises:
            ValueError: there are no values, or one is not a finite number. A caller
                that goes on after it must start anew.
        """
        before, after = self._then.add(then), self._now.add(now)
        if math.isclose(before, after, rel_tol=SAME, abs_tol=SAME):
            self._differences.add(0.0)
            return
        difference = after - before
        self._differences.add(difference)
        self._sizes.add(abs(difference))
        self.rose += difference > 0
        self.fell += difference < 0
        if self._sizes.count <= FLIPPED_AT_MOST:
            self._changed.append(difference)
        else:
            self._changed.clear()

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
        _probability("alpha", alpha)
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
            return _sign_flips(self._changed)
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
        low, high = _around(mean, error, self._differences.count, alpha)
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


class MeanAccumulator:
    """Estimate the mean of one score in one run, test by test as they come.

    Each test counts once, by the mean of its trials.
    """

    __slots__ = ("_highest", "_lowest", "_moments")

    def __init__(self) -> None:
        self._moments = _Moments()
        self._lowest = math.inf
        self._highest = -math.inf

    def add(self, values: Sequence[float]) -> None:
        """Add a test by the values of its trials, one or more.

        Raises:
            ValueError: there are no values, or one is not a finite number.
        """
        mean = _mean(values)
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
        _probability("alpha", alpha)
        count = self._moments.count
        mean = self._moments.mean if count else None
        error = self._moments.standard_error()
        if error is None:
            return Estimate(count, mean, None, None)
        interval = _around(self._moments.mean, error, count, alpha)
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


def _mean(values: Sequence[float]) -> float:
    if not values:
        msg = "a test without a value cannot be compared: leave it out"
        raise ValueError(msg)
    if not all(map(math.isfinite, values)):
        msg = f"values must be finite numbers, got {list(values)!r}"
        raise ValueError(msg)
    return math.fsum(values) / len(values)


def _around(mean: float, error: float, tests: int, alpha: float) -> Interval:
    half = -t_quantile(alpha / 2, tests - 1) * error
    return Interval(mean - half, mean + half)


def _probability(name: str, value: float) -> float:
    if not 0 < value < 1:
        msg = f"{name} must be between 0 and 1, got {value!r}"
        raise ValueError(msg)
    return value


@dataclass(frozen=True, slots=True)
class _Plan:
    """Equations 9 and 10 for one alpha and power; see `sensitivity`."""

    reach: float
    lost: float
    fewest: int

    def detectable(self, comparison: Comparison) -> float | None:
        variance = _variance(comparison)
        tests = comparison.tests
        if variance is None or tests < self.fewest or not comparison.change:
            return None
        by_noise = self.reach * math.sqrt(variance / (tests - self.lost))
        return max(by_noise, self.fewest * comparison.change / tests)

    def tests_needed(self, comparison: Comparison) -> int | None:
        variance, delta = _variance(comparison), _delta(comparison)
        if variance is None or delta is None:
            return None
        by_noise = self.reach**2 * variance / delta**2 + self.lost
        changed = comparison.rose + comparison.fell
        by_changes = self.fewest * comparison.tests / changed
        return math.ceil(max(by_noise, by_changes))

    def trials_needed(self, comparison: Comparison) -> int | None:
        delta = _delta(comparison)
        if delta is None or comparison.between is None or comparison.within is None:
            return None
        if comparison.tests < self.fewest:
            return None
        allowed = delta**2 * (comparison.tests - self.lost) / self.reach**2
        spare = allowed - comparison.between
        return max(1, math.ceil(comparison.within / spare)) if spare > 0 else None


def _variance(comparison: Comparison) -> float | None:
    error = comparison.standard_error
    return None if error is None else error**2 * comparison.tests


def _delta(comparison: Comparison) -> float | None:
    """The size of the observed difference; None where it is none or float noise."""
    size = abs(comparison.difference or 0.0)
    return size if size > NOISE * comparison.change else None


# The sign-flip test


def _sign_flips(differences: Sequence[float]) -> tuple[float, Method]:
    """The share of sign patterns whose sum is as far from 0 as the observed one.

    Exact where the differences are whole multiples of a unit, as those of pass/fail
    scores, marks and their means over trials are, and for a few differences of any
    kind. Else they are rounded to `GRID` steps of their sum; the p-value is then off
    by less than a thousandth of itself as a rule, where a Monte Carlo test of ten
    thousand draws is off by a twentieth.
    """
    observed = abs(math.fsum(differences))
    sizes = sorted(map(abs, differences))
    if not sizes:
        return 1.0, "exact"
    unit = _common_unit(sizes)
    if unit is not None:
        return _shifted(sizes, observed, unit), "exact"
    if len(sizes) <= ENUMERATED_AT_MOST:
        return _enumerated(sizes, observed), "exact"
    return _shifted(sizes, observed, math.fsum(sizes) / GRID), "rounded"


def _common_unit(sizes: Sequence[float]) -> float | None:
    """The largest unit that all sizes are multiples of, by Euclid's algorithm.

    None where it would be finer than the grid: they have none, then.
    """
    noise, finest = NOISE * max(sizes), math.fsum(sizes) / GRID
    unit = sizes[0]
    for each in dict.fromkeys(sizes):
        rest = each
        while rest > noise:
            unit, rest = rest, abs(math.remainder(unit, rest))
        if unit < finest:
            return None
    whole = all(abs(each / unit - round(each / unit)) < 1e-4 for each in sizes)  # noqa: PLR2004 - float noise
    return unit if whole else None


def _enumerated(sizes: Sequence[float], observed: float) -> float:
    # A pattern and its mirror are equally far from 0: half of them do.
    sums = [sizes[0]]
    for each in sizes[1:]:
        sums = [sign for base in sums for sign in (base + each, base - each)]
    reached = observed - NOISE * max(sizes)
    return sum(abs(each) >= reached for each in sums) / len(sums)


def _shifted(sizes: Sequence[float], observed: float, unit: float) -> float:
    """Count the patterns by their sum, with one integer as the table of counts.

    The table's digits, of `width` bits, are the numbers of patterns whose positive
    part is 0, 1, 2, … units (Pagano & Tritchler 1983). A further difference either
    shifts that part or does not. The last sum of digits is a remainder, as that of
    decimal digits is by 9.
    """
    width = len(sizes) + 1
    steps = [round(each / unit) for each in sizes]
    counts = 1
    for each in steps:
        counts += counts << (width * each)
    # sum = 2 · positive part − all; a quarter step is beyond any float noise.
    least = math.ceil((sum(steps) + observed / unit) / 2 - 0.25)
    as_far = (counts >> (width * least)) % ((1 << width) - 1)
    return min(1.0, max(1, as_far) / (1 << (len(sizes) - 1)))


# Distributions


def normal_quantile(p: float) -> float:
    """The z that a standard normal value stays below with probability p.

    The standard library's (Wichura 1988, algorithm AS 241), good to 1e-15.

    Raises:
        ValueError: `p` is not between 0 and 1.
    """
    return _NORMAL.inv_cdf(_probability("p", p))


def t_cdf(t: float, df: float) -> float:
    """The probability that Student's t with `df` degrees is below t.

    Good to 1e-12 of the value for `t <= 0`, far tails included, which is why a
    p-value is `2 * t_cdf(-abs(t), df)`. `df` may be infinite: the normal
    distribution.

    Raises:
        ValueError: `df` is below 1.
    """
    if math.isinf(_degrees(df)):
        return math.erfc(-t / math.sqrt(2)) / 2
    ratio = abs(t) / math.sqrt(df)
    # log(1 + t²/df), where the square may not overflow.
    log = math.log1p(ratio * ratio) if ratio < 1e8 else 2 * math.log(ratio)  # noqa: PLR2004
    tail = _t_tail(log, df)
    return 1 - tail if t > 0 else tail


def t_quantile(p: float, df: float) -> float:
    """The t that Student's t with `df` degrees stays below with probability p.

    Good to 1e-12 of the value, or to 1e-15 where that is more (about p = ½).

    Newton's method on the logarithm of the tail, in z = √(df · log(1 + t²/df)): the
    distribution is nearly normal there for any number of degrees, so a few steps
    from the normal quantile do.

    Raises:
        ValueError: `p` is not between 0 and 1, or `df` is below 1.
    """
    z = -normal_quantile(min(p, 1 - p)) if p != 0.5 else 0.0  # noqa: PLR2004
    if z == 0 or math.isinf(_degrees(df)):
        return math.copysign(z, p - 0.5)
    aim = math.log(min(p, 1 - p))
    for _ in range(20):
        tail = _t_tail(z * z / df, df)
        slope = _t_weight(z * z / df, df) * z / (-math.expm1(-z * z / df) * df)
        step = tail / slope * (math.log(tail) - aim)
        z += step
        if abs(step) <= 1e-15 * z:
            break
    log = z * z / df
    t = math.sqrt(-math.expm1(-log) * df) * math.exp(log / 2)
    return math.copysign(t, p - 0.5)


def _degrees(df: float) -> float:
    if not df >= 1:
        msg = f"degrees of freedom must be 1 or more, got {df!r}"
        raise ValueError(msg)
    return df


def _t_tail(log: float, df: float) -> float:
    """P(T > t) for t >= 0, from log(1 + t²/df).

    Half the regularised incomplete beta function I_x(df/2, ½) at x = df/(df + t²),
    by whichever of its two continued fractions converges fast.
    """
    if df > 5000:  # noqa: PLR2004 - where Hill's error is below 1e-13
        return math.erfc(_hill(log, df) / math.sqrt(2)) / 2
    half, x, y = df / 2, math.exp(-log), -math.expm1(-log)
    weight = _t_weight(log, df)
    if x < (half + 1) / (half + 2.5):
        return weight * _beta_fraction(half, 0.5, x) / df
    return 0.5 - weight * _beta_fraction(0.5, half, y)


def _t_weight(log: float, df: float) -> float:
    """x^a (1 − x)^½ / B(a, ½) for a = df/2: what both fractions are multiplied by."""
    a = df / 2
    return (
        math.exp(-a * log)
        * math.sqrt(-math.expm1(-log))
        * _gamma_ratio(a)
        / math.sqrt(math.pi)
    )


def _gamma_ratio(a: float) -> float:
    """Γ(a + ½) / Γ(a); the difference of log-gammas would lose nine digits at 1e6."""
    if a < 100:  # noqa: PLR2004 - Γ overflows at 171
        return math.gamma(a + 0.5) / math.gamma(a)
    return math.sqrt(a) * math.exp(-1 / (8 * a) + 1 / (192 * a**3) - 1 / (640 * a**5))


def _hill(log: float, df: float) -> float:
    """The normal deviate with the tail of t, for many degrees (Hill 1970)."""
    a = df - 0.5
    b = 48 * a * a
    y = a * log
    inner = (((-0.4 * y - 3.3) * y - 24) * y - 85.5) / (0.8 * y * y + 100 + b)
    return ((inner + y + 3) / b + 1) * math.sqrt(y)


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method.

    Press et al., "Numerical Recipes", section 6.4, without the factor 1/a. Below 1000
    degrees it takes at most a hundred or so rounds.
    """
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 1000):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1 + factor / c, 1 / (1 + factor * d)
            value *= c * d
        if abs(c * d - 1) < 1e-15:  # noqa: PLR2004
            break
    return value
