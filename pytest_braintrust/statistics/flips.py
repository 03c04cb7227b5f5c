"""The sign-flip test: how far from 0 the mean is among all patterns of signs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_braintrust.statistics.numbers import NOISE, Method

#: 2**15 sums: a few milliseconds.
ENUMERATED_AT_MOST = 16
#: Steps from no change to all changes in one direction; 2**15 by 200 tests is an
#: integer of 0.8 MB and some 20 ms.
GRID = 2**15


def sign_flips(differences: Sequence[float]) -> tuple[float, Method]:
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
