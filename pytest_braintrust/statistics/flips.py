"""The permutation test: how far from 0 the mean is among all it could be as well."""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from pytest_braintrust.statistics.numbers import NOISE, Method
from pytest_braintrust.statistics.relabelling import Law

#: Outcomes that are gone through one by one, where no table of counts is exact: all
#: signs of so many tests, which takes some milliseconds.
ENUMERATED_AT_MOST = 16
_OUTCOMES_AT_MOST = 2**ENUMERATED_AT_MOST
#: Bits of a table of counts: 0.25 MB, made in some 10 ms from signs alone.
_TABLE_BITS = 2**21
#: Bits of all the tables on the way to it, where other laws ask for more of them.
_ALL_BITS = 2**30


class Found(NamedTuple):
    """The p-value, the least that any outcome could have had, and where they are from."""

    p_value: float
    least: float
    method: Method


def permuted(laws: Sequence[Law]) -> Found:
    """The share of outcomes whose sum is as far from 0 as the observed one.

    Exact where the differences are whole multiples of a unit, as those of pass/fail
    scores, marks and their means over trials are, and for a few differences that may
    have the other sign. Else they are rounded to steps, of which their sum has
    hundreds at least, and the rounded ones are tested: that is a test of the same
    kind, so it calls noise a change as rarely as the exact one.

    Args:
        laws: One for each test that could have come out otherwise.
    """
    if not laws:
        return Found(1.0, 1.0, "exact")
    width = math.prod(sum(law.weights) for law in laws).bit_length()
    reach = math.fsum(law.offsets[-1] for law in laws)
    step = reach * width / _TABLE_BITS
    unit = _common_unit({each for law in laws for each in law.offsets[1:]}, step)
    values = sum(len(law.offsets) for law in laws)
    if unit is not None and values * width * reach / unit <= _ALL_BITS:
        return Found(*_tabled(laws, unit, width), "exact")
    if math.prod(len(law.offsets) for law in laws) <= _OUTCOMES_AT_MOST:
        return Found(*_enumerated(laws), "exact")
    if not all(law.is_flip for law in laws):
        # Each law has as many values then as it has steps, or fewer.
        step = max(step, reach * math.sqrt(width / _ALL_BITS))
    return Found(*_tabled(laws, step, width), "rounded")


def equal_sizes(rose: int, fell: int) -> Found:
    """The same for any number of differences that all have one size: McNemar's test.

    The tail of a binomial distribution, by the ratios of its terms.
    """
    changed, more = rose + fell, max(rose, fell)
    log = math.lgamma(changed + 1) - math.lgamma(more + 1)
    log -= math.lgamma(changed - more + 1) + changed * math.log(2)
    term = total = 1.0
    for number in range(more, changed):
        term *= (changed - number) / (number + 1)
        total += term
        if term < NOISE**2 * total:
            break
    p = min(1.0, 2 * math.exp(log) * total)
    return Found(p, 2 * math.exp(-changed * math.log(2)), "exact")


def _common_unit(sizes: Iterable[float], finest: float) -> float | None:
    """The largest unit that all sizes are multiples of, by Euclid's algorithm.

    None where it would be finer than `finest`: they have none, then.
    """
    ascending = sorted(sizes)
    noise = NOISE * ascending[-1]
    unit = ascending[0]
    for each in ascending:
        rest = each
        while rest > noise:
            unit, rest = rest, abs(math.remainder(unit, rest))
        if unit < finest:
            return None
    whole = all(abs(each / unit - round(each / unit)) < 1e-4 for each in ascending)  # noqa: PLR2004 - float noise
    return unit if whole else None


def _enumerated(laws: Sequence[Law]) -> tuple[float, float]:
    """Go through all outcomes; answers what `_tabled` does."""
    sums, weights, seen = [0.0], [1], 0.0
    for law in laws:
        total = sum(law.weights)
        mean = sum(map(operator.mul, law.offsets, law.weights)) / total
        values = [each - mean for each in law.offsets]
        sums = [each + value for each in sums for value in values]
        weights = [each * more for each in weights for more in law.weights]
        seen += law.seen - mean
    noise = NOISE * max(law.offsets[-1] for law in laws)

    def as_far(distance: float) -> float:
        least = distance - noise
        far = (w for each, w in zip(sums, weights, strict=True) if abs(each) >= least)
        return sum(far) / sum(weights)

    return as_far(abs(seen)), as_far(max(map(abs, sums)))


def _tabled(laws: Sequence[Law], unit: float, width: int) -> tuple[float, float]:
    """Count the outcomes by their sum, with one integer as the table of counts.

    The table's digits, of `width` bits, are the numbers of outcomes whose offsets
    have the sum 0, 1, 2, … units (Pagano & Tritchler 1983). A further test shifts
    that sum by one of its offsets. The expected sum is that of a difference of 0.

    Answers the p-value, and the one of the outcome that is farthest from 0.
    """
    counts, outcomes, seen, most, expected = 1, 1, 0, 0, Fraction(0)
    for law in laws:
        # Offsets of less than a step are one.
        weights: dict[int, int] = defaultdict(int)
        for offset, weight in zip(law.offsets, law.weights, strict=True):
            weights[round(offset / unit)] += weight
        counts = sum(
            weight * (counts << (width * steps)) for steps, weight in weights.items()
        )
        total = sum(weights.values())
        outcomes *= total
        # The observed sum from what is tested: of unrounded differences it might lie
        # beyond all that the rounded ones come to.
        seen += round(law.seen / unit)
        most += max(weights)
        expected += Fraction(sum(n * w for n, w in weights.items()), total)

    def as_far(distance: Fraction) -> float:
        above = _digits(counts >> (width * math.ceil(expected + distance)), width)
        places = max(0, math.floor(expected - distance) + 1)
        below = _digits(counts & ((1 << (width * places)) - 1), width)
        return min(1.0, (above + below) / outcomes)

    farthest = max(expected, most - expected)
    return as_far(abs(seen - expected)), as_far(farthest)


def _digits(table: int, width: int) -> int:
    """The sum of a table's digits, as a remainder: as that of decimal digits by 9."""
    return table % ((1 << width) - 1)
