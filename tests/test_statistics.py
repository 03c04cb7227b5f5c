"""The numbers agree with SciPy, keep their symmetries, and cry wolf as rarely as told."""

from __future__ import annotations

import doctest
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_braintrust import statistics
from pytest_braintrust.statistics import (
    Comparison,
    Estimate,
    Interval,
    MeanAccumulator,
    PairedAccumulator,
    compare,
    estimate,
    flips,
    holm,
    judged_together,
    normal_quantile,
    sensitivity,
    t_cdf,
    t_quantile,
    verdict,
)

Trials = list[float]
Pairs = list[tuple[Trials, Trials]]

DOCS = Path(__file__).parent.parent / "docs" / "statistics.md"
CLOSE = 1e-9


def of(differences: Iterable[float]) -> Comparison:
    """The comparison of tests that were 0 and now are these."""
    return compare(([0.0], [each]) for each in differences)


def noise(seed: int, count: int, shift: float = 0.0) -> list[float]:
    generator = random.Random(seed)
    return [generator.gauss(shift, 1.0) for _ in range(count)]


# Distributions


@pytest.mark.parametrize("df", [1, 2, 3, 7.5, 30, 199, 201, 1e3, 4999, 5001, 1e5, 1e6])
def test_t_agrees_with_scipy_far_into_the_tails(df: float) -> None:
    """From the middle to probabilities of 1e-12, on both sides."""
    for exponent in np.linspace(-12, math.log10(0.49), 60):
        p = float(10**exponent)
        t = float(stats.t.ppf(p, df))
        assert t_quantile(p, df) == pytest.approx(t, rel=CLOSE)
        assert t_cdf(t, df) == pytest.approx(stats.t.cdf(t, df), rel=CLOSE)
        assert t_cdf(-t, df) == pytest.approx(stats.t.cdf(-t, df), rel=CLOSE)


@pytest.mark.parametrize("t", [-1e300, -1e9, -40.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 3.0])
def test_t_has_its_closed_forms(t: float) -> None:
    """One degree is Cauchy's distribution, two have a formula of their own."""
    cauchy = math.atan2(1, -t) / math.pi
    assert t_cdf(t, 1) == pytest.approx(cauchy, rel=1e-12)
    half = 1 / (2 + t * t + abs(t) * math.hypot(t, math.sqrt(2))) if t > -1e9 else 0
    assert t_cdf(-abs(t), 2) == pytest.approx(half, rel=1e-12, abs=1e-17)


@pytest.mark.parametrize("p", [1e-300, 1e-12, 0.025, 0.2, 0.5, 0.6, 0.999])
def test_t_becomes_normal(p: float) -> None:
    """With endless degrees exactly, with very many nearly."""
    z = normal_quantile(p)
    assert z == pytest.approx(stats.norm.ppf(p), rel=1e-12)
    assert t_quantile(p, math.inf) == z
    assert t_cdf(z, math.inf) == pytest.approx(stats.norm.cdf(z), rel=1e-12)
    assert t_quantile(p, 1e18) == pytest.approx(z, rel=1e-12)
    assert t_cdf(z, 1e18) == pytest.approx(t_cdf(z, math.inf), rel=1e-12)


def test_not_a_number_stays_so() -> None:
    """It neither raises nor runs on."""
    assert math.isnan(t_cdf(math.nan, 5))


@pytest.mark.parametrize("seam", [200.0, 5000.0])
@pytest.mark.parametrize("t", [-7.0, -2.0, -0.3])
def test_t_has_no_step_where_its_formula_changes(seam: float, t: float) -> None:
    """Next to each other on both sides of the seam."""
    below, above = math.nextafter(seam, 0), math.nextafter(seam, 1e9)
    assert t_cdf(t, below) == pytest.approx(t_cdf(t, above), rel=1e-12)


@given(p=st.floats(1e-300, 0.49), df=st.floats(1, 1e7))
@settings(deadline=None)
def test_the_quantile_undoes_the_distribution(p: float, df: float) -> None:
    """For any probability and number of degrees."""
    assert t_cdf(t_quantile(p, df), df) == pytest.approx(p, rel=1e-10)


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, math.nan])
def test_a_quantile_of_no_probability_is_an_error(p: float) -> None:
    """The ends have no finite quantile."""
    with pytest.raises(ValueError, match="p must be between 0 and 1"):
        normal_quantile(p)
    with pytest.raises(ValueError, match="p must be between 0 and 1"):
        t_quantile(p, 5)


@pytest.mark.parametrize("df", [0.0, 0.5, math.nan])
def test_fewer_degrees_than_one_are_an_error(df: float) -> None:
    """A variance takes two values."""
    with pytest.raises(ValueError, match="degrees of freedom"):
        t_cdf(1.0, df)
    with pytest.raises(ValueError, match="degrees of freedom"):
        t_quantile(0.3, df)


# The comparison beside SciPy


@pytest.mark.parametrize("count", [2, 5, 40, 201, 1000])
def test_the_paired_standard_error_and_interval_are_those_of_ttest_rel(
    count: int,
) -> None:
    """Where the sign flips do not ask for an amendment."""
    then, now = noise(1, count), noise(2, count)
    result = compare(([a], [b]) for a, b in zip(then, now, strict=True))
    test = stats.ttest_rel(now, then)
    interval = test.confidence_interval()
    assert result.interval is not None
    assert result.standard_error == pytest.approx(
        stats.sem(np.subtract(now, then)), rel=CLOSE
    )
    assert result.interval == pytest.approx((interval.low, interval.high), rel=CLOSE)
    assert result.then == pytest.approx(np.mean(then), rel=CLOSE)
    assert result.now == pytest.approx(np.mean(now), rel=CLOSE)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2, 1.0])
def test_beyond_200_changed_tests_the_p_value_is_that_of_ttest_rel(
    shift: float,
) -> None:
    """From p near 1 to p near 0."""
    differences = noise(3, 300, shift)
    result = of(differences)
    assert result.method == "t"
    expected = stats.ttest_rel(differences, np.zeros(300)).pvalue
    assert result.p_value == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize("count", [2, 3, 7, 10, 12])
def test_few_differences_of_any_kind_have_the_exact_permutation_p_value(
    count: int,
) -> None:
    """All sign patterns, as SciPy goes through them."""
    differences = noise(count, count, 0.4)
    result = of(differences)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=math.inf
    )
    assert result.method == "exact"
    assert result.p_value == pytest.approx(expected.pvalue, rel=CLOSE)


@pytest.mark.parametrize(
    ("up", "down"),
    [(5, 0), (6, 0), (3, 3), (20, 9), (120, 80), (150, 114), (9_000, 8_700), (400, 0)],
)
def test_pass_and_fail_have_mcnemars_exact_p_value(up: int, down: int) -> None:
    """The unchanged tests have no say, however many they are."""
    result = of([1.0] * up + [-1.0] * down + [0.0] * 500)
    assert result.method == "exact"
    expected = stats.binomtest(up, up + down).pvalue
    assert result.p_value == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize("unit", [1.0, 0.1, 1 / 3, 1e-7, 12345.678])
def test_multiples_of_a_unit_have_the_exact_p_value_at_any_number(unit: float) -> None:
    """Signed ranks are such: SciPy counts their sign flips as Wilcoxon's test."""
    generator = random.Random(4)
    signed = [rank * generator.choice([1, 1, -1]) for rank in range(1, 46)]
    expected = stats.wilcoxon(signed, method="exact").pvalue
    result = of([each * unit for each in signed])
    assert result.method == "exact"
    assert result.p_value == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize("draw", ["standard_normal", "lognormal", "standard_cauchy"])
def test_rounded_differences_have_nearly_the_exact_p_value(draw: str) -> None:
    """All 2**19 patterns are gone through here, heavy tails included."""
    generator = np.random.default_rng(5)
    sizes = np.abs(
        generator.lognormal(size=20)
        if draw == "lognormal"
        else getattr(generator, draw)(size=20)
    )
    differences = sizes * generator.choice([1, 1, 1, -1], size=20)
    result = of(differences.tolist())
    assert result.method == "rounded"
    exact = every_pattern(differences.tolist())
    assert result.p_value == pytest.approx(exact, rel=5e-3)


def every_pattern(differences: Sequence[float]) -> float:
    """The p-value of the sign flips, by all patterns of signs."""
    sizes = np.abs(differences)
    sums = sizes[:1]
    for each in sizes[1:]:
        sums = np.concatenate([sums + each, sums - each])
    return float(np.mean(np.abs(sums) >= abs(math.fsum(differences)) * (1 - 1e-12)))


def test_one_large_difference_does_not_make_the_small_ones_evidence() -> None:
    """Where all sums lie close together in two heaps, as far as rounding goes."""
    small = [-1.00e-5 - i * 1e-8 for i in range(12)]
    small += [1.00e-5 + i * 1.3e-8 for i in range(8)]
    differences = [-1.0, *small]
    result = of(differences)
    assert result.method == "rounded"
    assert every_pattern(differences) == pytest.approx(0.165, abs=5e-4)
    # The small ones are less than a step; what is left of them has no direction.
    assert result.p_value is not None
    assert result.p_value > 0.1


@pytest.mark.parametrize("outlier", [1e3, 1e5, 2e5])
def test_a_test_that_hung_once_cries_wolf_no_more_often(outlier: float) -> None:
    """Durations of a second or so, one of which took minutes."""
    generator = random.Random(7)
    found = 0
    for _ in range(150):
        jitter = [generator.gauss(0.0, 1.0) for _ in range(39)]
        p = of([outlier, *jitter]).p_value
        assert p is not None
        found += p < 0.05
    assert found <= 0.05 * 150 + 3 * math.sqrt(0.05 * 0.95 * 150)


def test_a_difference_too_small_for_the_grid_does_no_harm() -> None:
    """One test that moved by a billionth beside twenty that moved by much."""
    tiny = of([1e-10, *noise(6, 20, 0.5)])
    without = of(noise(6, 20, 0.5))
    assert tiny.p_value == pytest.approx(without.p_value, rel=5e-3)


@pytest.mark.parametrize("seed", range(8))
def test_all_in_one_direction_is_the_smallest_p_value_there_is(seed: int) -> None:
    """One pattern and its mirror, though rounding might miss both."""
    result = of([abs(each) for each in noise(seed, 40)])
    assert result.method == "rounded"
    assert result.p_value == 2 / 2**40


def test_a_unit_that_does_not_divide_all_differences_is_none() -> None:
    """Noise just below the tolerance leads Euclid's algorithm to one that is off."""
    assert flips._common_unit([34.0, 4849.0000001146855], 0.1) is None
    assert flips._common_unit([34.0, 4849.0], 0.1) == 1.0


# The corners


def test_no_shared_test_is_not_measurable() -> None:
    """There is nothing to say, and nothing is said."""
    result = compare([])
    assert result == Comparison(
        tests=0,
        then=None,
        now=None,
        difference=None,
        standard_error=None,
        interval=None,
        p_value=None,
        least=None,
        method="none",
        alpha=0.05,
        rose=0,
        fell=0,
        same=0,
        change=0.0,
        between=None,
        within=None,
    )
    assert verdict(result) == "not measurable"
    nothing = sensitivity(result)
    assert (nothing.detectable, nothing.tests_needed) == (None, None)


def test_one_shared_test_is_not_measurable_but_has_means() -> None:
    """Trials of one test do not say how other tests do."""
    result = compare([([0.0, 1.0], [1.0, 1.0])])
    assert (result.then, result.now, result.difference) == (0.5, 1.0, 0.5)
    assert (result.standard_error, result.interval, result.p_value) == (None,) * 3
    assert verdict(result) == "not measurable"
    nothing = sensitivity(result)
    assert (nothing.detectable, nothing.tests_needed) == (None, None)
    assert nothing.trials_needed is None


@pytest.mark.parametrize("count", [2, 10, 1000])
def test_no_change_at_all_is_no_evidence(count: int) -> None:
    """Neither a p-value below 1 nor a width; nothing to judge a reach by."""
    result = compare([([0.7], [0.7])] * count)
    assert (result.difference, result.standard_error) == (0.0, 0.0)
    assert (result.p_value, result.interval) == (1.0, (0.0, 0.0))
    assert (result.rose, result.fell, result.same) == (0, 0, count)
    assert verdict(result) == "no evidence"
    nothing = sensitivity(result)
    assert (nothing.detectable, nothing.tests_needed) == (None, None)


def test_equal_changes_need_six_tests() -> None:
    """Five of five is a chance of 1 in 16, six of six of 1 in 32."""
    five, six = of([0.2] * 5), of([0.2] * 6)
    assert (five.p_value, five.interval) == (0.0625, (0.0, 0.2))
    assert (six.p_value, six.interval) == (0.03125, (0.2, 0.2))
    assert (verdict(five), verdict(six)) == ("no evidence", "improved")
    assert sensitivity(five).tests_needed == 6
    assert sensitivity(five).detectable is None
    assert sensitivity(six).detectable == pytest.approx(0.2)


@pytest.mark.parametrize("sign", [1, -1])
def test_equal_changes_of_many_tests_are_sure(sign: int) -> None:
    """No spread at all, where Student's t would divide by 0."""
    result = of([sign * 0.25] * 300)
    assert result.method == "exact"
    assert result.p_value == pytest.approx(2 / 2**300)
    assert result.interval == (sign * 0.25, sign * 0.25)


def test_changes_that_are_equal_but_for_float_noise_have_no_spread() -> None:
    """0.3 − 0.1 is not 0.4 − 0.2 to a computer."""
    pairs: Pairs = [([0.1], [0.3]), ([0.2], [0.4]), ([0.5], [0.7])]
    assert compare(pairs).standard_error == 0


def test_float_noise_is_no_change() -> None:
    """The mean of ten tenths is not quite a tenth."""
    result = compare([([0.1 + 0.2], [0.3]), ([1e6 + 1e-9], [1e6])])
    assert (result.rose, result.fell, result.same) == (0, 0, 2)


def test_opposite_changes_cancel() -> None:
    """A difference of 0 is no evidence, and no number of tests would show it."""
    result = of([0.1, -0.1, 0.3, -0.3, 0.7, -0.7])
    assert result.p_value == 1.0
    assert verdict(result) == "no evidence"
    assert sensitivity(result).tests_needed is None


@pytest.mark.parametrize("values", [[math.nan], [1.0, math.inf], []])
def test_values_that_cannot_be_compared_are_an_error(values: Trials) -> None:
    """On either side, and in a run alone."""
    for pair in ([values, [1.0]], [[1.0], values]):
        with pytest.raises(ValueError, match=r"finite numbers|without a value"):
            PairedAccumulator().add(*pair)
    with pytest.raises(ValueError, match=r"finite numbers|without a value"):
        MeanAccumulator().add(values)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, math.nan])
def test_a_level_that_is_no_probability_is_an_error(alpha: float) -> None:
    """Wherever one is asked for."""
    calls: list[Callable[[], object]] = [
        lambda: compare([], alpha=alpha),
        lambda: estimate([], alpha=alpha),
        lambda: sensitivity(compare([]), alpha=alpha),
        lambda: sensitivity(compare([]), power=alpha),
    ]
    for each in calls:
        with pytest.raises(ValueError, match="must be between 0 and 1"):
            each()


# Verdicts


@pytest.mark.parametrize(
    ("differences", "higher", "lower"),
    [
        ([1.0] * 6, "improved", "regressed"),
        ([-1.0] * 6, "regressed", "improved"),
        ([1.0] * 5, "no evidence", "no evidence"),
        ([1.0], "not measurable", "not measurable"),
    ],
)
def test_the_verdict_knows_which_direction_is_better(
    differences: list[float], higher: str, lower: str
) -> None:
    """A duration that rises is no improvement."""
    result = of(differences)
    assert verdict(result, better="higher") == higher
    assert verdict(result, better="lower") == lower


def test_the_verdict_follows_alpha_and_a_corrected_p_value() -> None:
    """The comparison's own alpha is the default."""
    pairs: Pairs = [([0.0], [1.0])] * 6
    result = compare(pairs)
    assert verdict(result, alpha=0.03125) == "no evidence"
    assert verdict(result, alpha=0.04) == "improved"
    assert verdict(compare(pairs, alpha=0.01)) == "no evidence"
    assert verdict(result, p_value=0.06) == "no evidence"


def test_holm_steps_down_from_the_smallest_p_value() -> None:
    """The textbook's example; order kept, what has no p-value left out."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx(
        (0.03, 0.06, None, 0.06, 0.02)
    )
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([None]) == (None,)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lowers_no_p_value_and_swaps_none(p_values: list[float]) -> None:
    """Corrected values stay probabilities, at least the given ones, in their order."""
    corrected = [each for each in holm(p_values) if each is not None]
    assert all(0 <= p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    by_given = sorted(zip(p_values, corrected, strict=True))
    assert [c for _, c in by_given] == sorted(corrected)


def test_a_score_that_could_not_change_costs_the_others_nothing() -> None:
    """Holm counts only what some outcome could have made significant (Tarone)."""
    moved, still, few = of([1.0] * 6), of([0.0] * 9), of([1.0] * 5)
    first, second, third = judged_together([moved, still, few])
    assert (first.p_value, first.level) == (moved.p_value, 0.05)
    assert (second.p_value, third.p_value) == (1.0, 0.0625)
    twice = judged_together([moved, of([1.0, -1.0] * 3)])
    assert twice[0].p_value == pytest.approx(0.0625)
    assert [each.level for each in twice] == [0.025, 0.025]


def test_an_interval_reaches_0_where_the_others_take_the_evidence_away() -> None:
    """So that it says what the corrected verdict says."""
    alone = of([1.0] * 6)
    beside, _ = judged_together([alone, of([1.0, -1.0] * 3)])
    assert alone.interval == (1.0, 1.0)
    assert beside.numbers.interval == (0.0, 1.0)
    assert verdict(beside.numbers, p_value=beside.p_value) == "no evidence"


@given(st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=14), max_size=6))
def test_the_level_says_what_the_corrected_p_value_says(
    scores: list[list[int]],
) -> None:
    """Below the level with the own p-value, below 0.05 with the corrected one."""
    for each in judged_together([of(map(float, score)) for score in scores]):
        p, corrected = each.numbers.p_value, each.p_value
        assert p is not None
        assert corrected is not None
        assert p <= corrected
        assert (p < each.level * (1 + CLOSE)) == (corrected < 0.05 * (1 + CLOSE))
        low, high = each.numbers.interval or (0.0, 0.0)
        assert (low <= 0 <= high) or corrected < 0.05


# What holds for all comparisons

#: Marks to the thousandth: their few differences always have an exact p-value.
marks = st.integers(0, 1000).map(lambda each: each / 1000)
trials = st.lists(marks, min_size=1, max_size=3)
pairs_of_trials = st.lists(st.tuples(trials, trials), min_size=2, max_size=12)
anything = st.lists(
    st.tuples(
        st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3),
        st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3),
    ),
    min_size=2,
    max_size=40,
)


def numbers(result: Comparison) -> Sequence[float | None]:
    assert result.interval is not None
    return (
        result.then,
        result.now,
        result.difference,
        result.standard_error,
        result.p_value,
        *result.interval,
    )


@given(anything)
@settings(deadline=None, max_examples=50)
def test_any_comparison_is_a_sound_one(pairs: Pairs) -> None:
    """p in [0, 1]; the interval holds the difference, and 0 unless p is small."""
    result = compare(pairs)
    assert result.p_value is not None
    assert result.interval is not None
    assert result.difference is not None
    low, high = result.interval
    assert 0 <= result.p_value <= 1
    assert low <= result.difference <= high
    if result.p_value >= result.alpha:
        assert low <= 0 <= high
    else:
        assert not low < 0 < high
    assert result.rose + result.fell + result.same == result.tests == len(pairs)


@given(anything)
@settings(deadline=None, max_examples=50)
def test_swapping_the_runs_mirrors_the_comparison(pairs: Pairs) -> None:
    """The difference changes its sign; the p-value stays, rounding aside."""
    there = compare(pairs)
    back = compare((now, then) for then, now in pairs)
    assert there.interval is not None
    assert there.difference is not None
    assert back.difference == -there.difference
    assert back.interval == (-there.interval.high, -there.interval.low)
    rel = 0.1 if "rounded" in {there.method, back.method} else CLOSE
    assert back.p_value == pytest.approx(there.p_value, rel=rel)
    assert (back.rose, back.fell) == (there.fell, there.rose)


@given(anything, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_the_order_of_the_tests_has_no_say(
    pairs: Pairs, generator: random.Random
) -> None:
    """Not even in the p-value's last digit, below 200 changed tests."""
    result = compare(pairs)
    generator.shuffle(pairs)
    shuffled = compare(pairs)
    assert shuffled.p_value == result.p_value
    assert numbers(shuffled) == pytest.approx(numbers(result), rel=1e-6, abs=1e-6)


@given(pairs_of_trials, st.floats(0.01, 1e6))
@settings(deadline=None, max_examples=50)
def test_a_change_of_unit_changes_the_unit_only(pairs: Pairs, factor: float) -> None:
    """Seconds or milliseconds: the same p-value, everything else in proportion."""
    result = compare(pairs)
    scaled = compare(
        ([each * factor for each in then], [each * factor for each in now])
        for then, now in pairs
    )
    *expected, p, low, high = (each or 0.0 for each in numbers(result))
    *found, p_scaled, low_scaled, high_scaled = numbers(scaled)
    rel = 0.1 if "rounded" in {result.method, scaled.method} else 1e-6
    assert p_scaled == pytest.approx(p, rel=rel)
    assert [*found, low_scaled, high_scaled] == pytest.approx(
        [*(each * factor for each in expected), low * factor, high * factor],
        rel=1e-6,
        abs=1e-9 * factor,
    )


@given(pairs_of_trials, st.integers(-10, 10))
@settings(deadline=None, max_examples=50)
def test_an_equal_constant_changes_the_means_only(pairs: Pairs, constant: int) -> None:
    """What both runs gain says nothing of their difference."""
    result = compare(pairs)
    moved = compare(
        ([each + constant for each in then], [each + constant for each in now])
        for then, now in pairs
    )
    rounded = "rounded" in {moved.method, result.method}
    # Of unequal trials it is the method of the larger p-value of two.
    unequal = any(len(then) != len(now) for then, now in pairs)
    close = 0.05 if rounded or unequal else CLOSE
    assert numbers(moved)[2:] == pytest.approx(numbers(result)[2:], abs=close)


@given(pairs_of_trials, st.integers(2, 4))
@settings(deadline=None, max_examples=50)
def test_repeated_trials_are_no_further_tests(pairs: Pairs, times: int) -> None:
    """Each test counts once, however often its trials are written down."""
    equal = [(then, (now * len(then))[: len(then)]) for then, now in pairs]
    result = compare(equal)
    more = compare((then * times, now * times) for then, now in equal)
    assert numbers(more) == pytest.approx(numbers(result), abs=CLOSE)


def every_choice(pairs: Pairs) -> float:
    """The p-value of choosing each test's smaller run anew among all of its trials."""
    outcomes = np.zeros(1)
    for then, now in pairs:
        pooled = [*then, *now]
        chosen = combinations(range(len(pooled)), len(then))
        means = [math.fsum(pooled[i] for i in each) / len(then) for each in chosen]
        total = math.fsum(pooled)
        others = [(total - m * len(then)) / len(now) - m for m in means]
        outcomes = (outcomes[:, None] + np.array(others)[None, :]).ravel()
    seen = sum(np.mean(now) - np.mean(then) for then, now in pairs)
    return float(np.mean(np.abs(outcomes) >= abs(seen) - 1e-9))


@pytest.mark.parametrize(
    "pairs",
    [
        [([1.0], [1.0, 0.0, 1.0])] * 3 + [([1.0], [1.0, 1.0, 1.0])] * 4,
        [([0.0, 1.0], [1.0] * 4), ([1.0, 1.0], [0.0] * 4), ([0.0, 0.0], [1.0] * 4)],
        [([0.25, 0.5, 1.0], [0.75])] * 2 + [([0.0, 0.0, 0.25], [0.5])] * 3,
        [([0.0], [1.0]), ([1.0], [0.0, 0.0, 1.0]), ([0.0], [1.0] * 5), ([0.3], [0.8])],
        [([0.1 * i, 0.37], [0.9 - 0.1 * i]) for i in range(5)],
        [([0.0, 493.0, 481.0], [0.0, 493.0]), ([493.0, 481.0], [0.0, 0.0, 493.0])],
    ],
)
def test_unequal_trials_have_the_exact_permutation_p_value(pairs: Pairs) -> None:
    """All choices are gone through here; the signs alone have their say, too."""
    result = compare(pairs)
    assert result.method == "exact"
    differences = [float(np.mean(now) - np.mean(then)) for then, now in pairs]
    expected = max(every_choice(pairs), every_pattern(differences))
    assert result.p_value == pytest.approx(expected, rel=CLOSE)
    mirrored = compare((now, then) for then, now in pairs)
    assert mirrored.p_value == pytest.approx(result.p_value, rel=CLOSE)
    assert result.least is not None
    assert result.p_value is not None
    assert result.least * (1 - CLOSE) <= result.p_value <= 1


def test_unequal_trials_of_any_values_have_nearly_the_exact_p_value() -> None:
    """They have no unit, and are rounded."""
    generator = random.Random(3)
    draw = generator.random
    pairs: Pairs = [([draw()], [draw() + 0.1, draw(), draw()]) for _ in range(9)]
    result = compare(pairs)
    assert result.method == "rounded"
    differences = [float(np.mean(now) - np.mean(then)) for then, now in pairs]
    expected = max(every_choice(pairs), every_pattern(differences))
    assert result.p_value == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("trials", "passes", "tests"),
    [
        ((1, 10), 0.98, 50),
        ((10, 1), 0.98, 50),
        ((1, 5), 0.9, 20),
        ((2, 30), 0.95, 40),
        ((20, 90), 0.97, 20),
        ((1, 10), 0.98, 400),
    ],
)
def test_more_trials_alone_cry_wolf_no_more_often(
    trials: tuple[int, int], passes: float, tests: int
) -> None:
    """Near the top, ten trials differ from 1 more often than one, and by less."""
    generator = random.Random(11)
    runs, found = 60, 0
    for _ in range(runs):
        result = compare(
            (
                [float(generator.random() < passes) for _ in range(trials[0])],
                [float(generator.random() < passes) for _ in range(trials[1])],
            )
            for _ in range(tests)
        )
        assert result.p_value is not None
        found += result.p_value < 0.05
    assert found <= 0.05 * runs + 3 * math.sqrt(0.05 * 0.95 * runs)


def test_a_drop_is_seen_by_unequal_trials_too() -> None:
    """Not at the cost of never finding anything."""
    generator = random.Random(12)
    found = 0
    for _ in range(40):
        result = compare(
            (
                [float(generator.random() < 0.98)],
                [float(generator.random() < 0.8) for _ in range(10)],
            )
            for _ in range(50)
        )
        assert result.p_value is not None
        found += result.p_value < 0.05
    assert found >= 30


def test_very_many_trials_are_compared_in_a_moment() -> None:
    """By their means, which have no tail to speak of."""
    then, now = [0.0, 1.0] * 300, [1.0, 0.0, 1.0] * 900
    result = compare([(then, now)] * 12)
    assert result.p_value == pytest.approx(2 / 2**12)


def test_very_many_trials_with_one_mean_have_nothing_to_say() -> None:
    """No sign to flip, and too many ways to choose the trials anew."""
    result = compare([([0.0, 1.0] * 150, [0.0, 1.0] * 300)] * 4)
    assert (result.difference, result.p_value) == (0.0, 1.0)


def test_tests_of_unequal_trials_count_alike() -> None:
    """A test of a hundred trials does not outvote one of a single trial."""
    result = compare([([0.0] * 100, [1.0] * 100), ([1.0], [0.0])])
    assert (result.then, result.now, result.difference) == (0.5, 0.5, 0.0)


def test_a_hundred_thousand_tests_leave_200_differences_at_most() -> None:
    """The memory of a comparison does not grow with it; looking on the way is free."""
    accumulator = PairedAccumulator()
    for each in noise(8, 200):
        accumulator.add([0.0], [each])
    assert accumulator.result().method == "rounded"
    kept = len(accumulator._flipped)
    for each in noise(9, 99_800):
        accumulator.add([0.0], [each])
    result = accumulator.result()
    assert (kept, accumulator._flipped) == (200, [])
    assert (result.tests, result.method) == (100_000, "t")
    assert result.standard_error == pytest.approx(1 / math.sqrt(100_000), rel=0.02)


# Calibration: what happens when nothing changed, and when something did


def within_chance(hits: int, runs: int, share: float) -> bool:
    """Whether hits in runs are as many as that share makes, 998 times of 1000."""
    low, high = stats.binom.ppf([0.001, 0.999], runs, share)
    return bool(low <= hits <= high)


@pytest.mark.parametrize(("tests", "runs"), [(20, 250), (50, 250), (200, 100)])
def test_noise_is_taken_for_a_change_in_one_of_twenty_runs(
    tests: int, runs: int
) -> None:
    """Continuous scores that did not move."""
    generator = np.random.default_rng(tests)
    alarms = sum(
        verdict(of(generator.normal(size=tests).tolist())) != "no evidence"
        for _ in range(runs)
    )
    assert within_chance(alarms, runs, 0.05)


@pytest.mark.parametrize("tests", [20, 50, 200])
def test_pass_and_fail_cry_wolf_no_more_often_than_that(tests: int) -> None:
    """Tests of all difficulties; exact tests of few changes are on the safe side."""
    generator = np.random.default_rng(tests)
    runs, alarms = 400, 0
    for _ in range(runs):
        rate = generator.random(tests)
        then, now = generator.random((2, tests)) < rate
        alarms += verdict(of((now * 1.0 - then).tolist())) != "no evidence"
    assert alarms <= stats.binom.ppf(0.999, runs, 0.05)
    assert alarms >= stats.binom.ppf(0.001, runs, 0.01)


def test_trials_are_not_taken_for_tests() -> None:
    """Tests that move on their own, ten trials each: taken for tests, half are alarms."""
    generator = np.random.default_rng(10)
    runs, alarms, naive = 300, 0, 0
    for _ in range(runs):
        moves = generator.normal(size=12)
        rows = moves[:, None] + generator.normal(scale=0.3, size=(12, 10))
        result = compare(([0.0], each) for each in rows.tolist())
        alarms += verdict(result) != "no evidence"
        naive += stats.ttest_1samp(rows.ravel(), 0).pvalue < 0.05
    assert within_chance(alarms, runs, 0.05)
    assert naive > runs / 3


@pytest.mark.parametrize("tests", [20, 50, 250])
def test_the_interval_holds_the_truth_in_nineteen_of_twenty_runs(tests: int) -> None:
    """Around a true difference that is not 0."""
    generator = np.random.default_rng(tests)
    runs, held = 250, 0
    for _ in range(runs):
        low, high = of(generator.normal(0.3, 1.0, tests).tolist()).interval or (0, 0)
        held += low <= 0.3 <= high
    assert within_chance(held, runs, 0.95)


def test_the_detectable_difference_is_detected_in_four_of_five_runs() -> None:
    """Student's t, where a comparison of 250 tests takes next to no time."""
    generator = np.random.default_rng(11)
    difference = sensitivity(replace(of(noise(0, 250)), standard_error=250**-0.5))
    assert difference.detectable is not None
    runs = 400
    found = sum(
        verdict(of(generator.normal(difference.detectable, 1, 250).tolist()))
        == "improved"
        for _ in range(runs)
    )
    assert within_chance(found, runs, 0.8)


# What it would take


def test_millers_example_needs_his_number_of_tests() -> None:
    """969 to see 3 points where ω² is 1/9, and two as the variance is estimated."""
    spread = of(noise(12, 100))
    example = replace(spread, difference=0.03, standard_error=(1 / 9 / 100) ** 0.5)
    assert sensitivity(example).tests_needed == 971


def test_the_two_ways_of_asking_are_each_others_inverse() -> None:
    """The detectable difference needs the tests that there are."""
    result = of(noise(13, 60))
    detectable = sensitivity(result).detectable
    assert detectable is not None
    # As it would scatter then: what more tests change, and the mean aside.
    variance = 60 * (result.standard_error or 0) ** 2
    variance += detectable * result.change - detectable**2
    moved = replace(
        result, difference=detectable, standard_error=math.sqrt(variance / 60)
    )
    assert sensitivity(moved).tests_needed in {60, 61}  # 60, but for rounding up


@pytest.mark.parametrize(
    ("passes", "tests"), [(0.98, 50), (0.98, 200), (0.9, 50), (0.9, 200)]
)
def test_a_drop_from_near_the_top_is_seen_as_often_as_told(
    passes: float, tests: int
) -> None:
    """It makes more tests change than noise alone does."""
    generator = np.random.default_rng(17)

    def run(share: float) -> list[Trials]:
        return [[float(each)] for each in generator.random(tests) < share]

    found, runs = 0, 120
    for _ in range(runs):
        noisy = compare(zip(run(passes), run(passes), strict=True))
        told = sensitivity(noisy, most=1.0).detectable
        while told is None or told > passes:
            noisy = compare(zip(run(passes), run(passes), strict=True))
            told = sensitivity(noisy, most=1.0).detectable
        after = compare(zip(run(passes), run(passes - told), strict=True))
        found += verdict(after) == "regressed"
    assert 0.64 <= found / runs <= 0.95


def test_a_difference_that_cannot_be_is_not_promised() -> None:
    """Six tests, half of them up and half down: no score falls by more than 1."""
    result = of([1.0, -1.0] * 3)
    assert (sensitivity(result).detectable or 0) > 1
    assert sensitivity(result, most=1.0).detectable is None


def test_few_changes_ask_for_tests_at_the_rate_at_which_tests_change() -> None:
    """Two of a hundred changed: six do so among three hundred, if all goes one way."""
    result = of([1.0, 1.0, *[0.0] * 98])
    needed = sensitivity(result, power=0.5)
    assert needed.tests_needed == 300
    assert needed.detectable == pytest.approx(0.06)


def test_a_stricter_alpha_asks_for_more() -> None:
    """More changes, more tests, a larger difference."""
    loose, strict = (sensitivity(of(noise(14, 40, 0.2)), alpha=a) for a in (0.05, 0.01))
    assert (loose.fewest_changes, strict.fewest_changes) == (6, 8)
    assert (loose.detectable or 0) < (strict.detectable or 0)
    assert (loose.tests_needed or 0) < (strict.tests_needed or 0)


def trial_runs(trials: int, *, scatter: float, moves: float) -> Comparison:
    """A comparison of 400 tests that rose by 0.05, with noise between trials."""
    generator = np.random.default_rng(15)
    shifts = generator.normal(0.05, moves, 400)
    then = generator.normal(0.0, scatter, (400, trials))
    now = shifts[:, None] + generator.normal(0.0, scatter, (400, trials))
    return compare(zip(then.tolist(), now.tolist(), strict=True))


def test_noise_is_split_into_tests_and_trials() -> None:
    """ω² = 0.04 between tests, σ² = 0.25 of a trial in either run."""
    result = trial_runs(4, scatter=0.5, moves=0.2)
    assert result.between == pytest.approx(0.04, abs=0.025)
    assert result.within == pytest.approx(0.5, rel=0.1)
    needed = sensitivity(replace(result, difference=0.05)).trials_needed
    assert needed is not None
    assert 2 <= needed <= 8


def test_trials_do_not_help_where_the_tests_are_the_noise() -> None:
    """No number of them, if tests move up and down by themselves."""
    result = trial_runs(2, scatter=0.1, moves=1.0)
    assert sensitivity(replace(result, difference=0.01)).trials_needed is None


def test_trials_without_scatter_need_no_more_of_them() -> None:
    """One is enough, unless the tests are too few to show anything."""
    same: Pairs = [([0.0, 0.0], [1.0, 1.0])]
    assert sensitivity(compare(same * 6)).trials_needed == 1
    assert sensitivity(compare(same * 5)).trials_needed is None


def test_one_trial_does_not_say_how_far_trials_scatter() -> None:
    """It takes a test with two, in both runs."""
    result = compare([([0.0, 1.0], [1.0]), ([0.0], [1.0])] * 6)
    assert (result.between, result.within) == (None, None)
    assert sensitivity(result).trials_needed is None


# One run


@pytest.mark.parametrize("count", [2, 9, 300])
def test_the_mean_of_a_run_has_students_interval(count: int) -> None:
    """As SciPy gives it for the means of the tests."""
    values = noise(16, count)
    result = estimate([each - 0.5, each + 0.5] for each in values)
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, count - 1, np.mean(values), error)
    assert result.tests == count
    assert result.mean == pytest.approx(np.mean(values), rel=CLOSE)
    assert result.standard_error == pytest.approx(error, rel=CLOSE)
    assert result.interval == pytest.approx((low, high), rel=CLOSE)


def test_a_run_of_one_test_has_a_mean_alone() -> None:
    """And one of none has nothing."""
    assert estimate([[0.0, 1.0]]) == Estimate(1, 0.5, None, None)
    assert estimate([]) == Estimate(0, None, None, None)


def test_an_interval_stays_within_the_scores_range() -> None:
    """Marks of nearly 1 cannot have a mean of 1.05."""
    tests = [[1.0]] * 18 + [[0.0], [0.5]]
    free, cut = estimate(tests), estimate(tests, bounds=(0, 1))
    assert free.interval is not None
    assert free.interval.high > 1
    assert cut.interval == Interval(free.interval.low, 1.0)


@pytest.mark.parametrize(("passed", "count"), [(19, 20), (1, 50), (90, 100), (1, 2)])
def test_pass_and_fail_have_wilsons_interval(passed: int, count: int) -> None:
    """Student's holds the truth in 17 of 20 runs near the ends."""
    tests = [[1.0]] * passed + [[0.0]] * (count - passed)
    found = estimate(tests, bounds=(0, 1)).interval
    share = stats.binomtest(passed, count)
    assert found == pytest.approx(tuple(share.proportion_ci(method="wilson")), rel=1e-9)


def test_what_is_never_negative_has_no_negative_mean() -> None:
    """One that took long, of five; and where less is lost, the other way round."""
    seconds = [[0.1], [0.2], [0.15], [9.0], [0.3]]
    found = estimate(seconds).interval
    assert found is not None
    assert found.low == 0.0
    lost = estimate([[-each] for (each,) in seconds]).interval
    assert lost == Interval(-found.high, 0.0)


def test_twenty_equal_marks_are_not_certainty() -> None:
    """A test that was not met may have any mark: as for all passed, on both sides."""
    found = estimate([[0.9]] * 20, bounds=(0, 1)).interval
    passed = estimate([[1.0]] * 20, bounds=(0, 1)).interval
    assert found is not None
    assert passed is not None
    assert found.low == pytest.approx(0.9 * passed.low)
    assert found.high == pytest.approx(0.9 + 0.1 * (1 - passed.low))


@pytest.mark.parametrize("count", [2, 20, 400])
def test_all_passed_is_not_certainty(count: int) -> None:
    """The exact binomial interval where there is no spread to go by; so for none."""
    exact = stats.binomtest(count, count).proportion_ci(method="exact")
    passed = estimate([[1.0]] * count, bounds=Interval(0, 1)).interval
    failed = estimate([[0.0]] * count, bounds=Interval(0, 1)).interval
    assert passed == pytest.approx((exact.low, 1.0), rel=CLOSE)
    assert failed == pytest.approx((0.0, 1 - exact.low), rel=CLOSE)


# The documentation


def test_the_documents_example_is_true() -> None:
    """Every number in it is what the code answers; and it stays short."""
    outcome = doctest.testfile(str(DOCS), module_relative=False)
    assert outcome.attempted > 5
    assert outcome.failed == 0
    text = DOCS.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    for limit in (statistics.FLIPPED_AT_MOST, statistics.ENUMERATED_AT_MOST):
        assert f"{limit}" in text
