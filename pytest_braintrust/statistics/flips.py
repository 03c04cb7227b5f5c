"""The sign-flip test: how far from 0 the mean is among all patterns of signs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_braintrust.statistics.numbers import NOISE, Method

#: 2**15 sums: a few milliseconds.
ENUMERATED_AT_MOST = 16
#: Bits of the table of counts, which has a number of one bit more than there are
#: differences for each step of their sum: 1 MB and some 20 ms.
_TABLE_BITS = 2**23


def sign_flips(differences: Sequence[float]) -> tuple[float, Method]:
    """The share of sign patterns whose sum is as far from 0 as the observed one.

    Exact where the differences are whole multiples of a unit, as those of pass/fail
    scores, marks and their means over trials are, and for a few differences of any
    kind. Else they are rounded to steps of which their sum has 40,000 or more, and
    the rounded ones are tested: that is a sign-flip test too, so it calls noise a
    change as rarely as the exact one.
    """
    sizes = [abs(each) for each in differences]
    if not sizes:
        return 1.0, "exact"
    step = math.fsum(sizes) * (len(sizes) + 1) / _TABLE_BITS
    unit = _common_unit(sorted(sizes), step)
    if unit is None and len(sizes) <= ENUMERATED_AT_MOST:
        return _enumerated(sizes, abs(math.fsum(differences))), "exact"
    # The observed sum from what is tested: of unrounded differences it might lie
    # beyond all patterns of the rounded ones.
    steps = [round(each / (unit or step)) for each in differences]
    return _shifted(steps), "exact" if unit else "rounded"


def _common_unit(sizes: Sequence[float], finest: float) -> float | None:
    """The largest unit that all sizes are multiples of, by Euclid's algorithm.

    None where it would be finer than `finest`: they have none, then.
    """
    noise = NOISE * max(sizes)
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


def _shifted(steps: Sequence[int]) -> float:
    """Count the patterns by their sum, with one integer as the table of counts.

    The table's digits, of `width` bits, are the numbers of patterns whose positive
    part is 0, 1, 2, … units (Pagano & Tritchler 1983). A further difference either
    shifts that part or does not. The last sum of digits is a remainder, as that of
    decimal digits is by 9.
    """
    width = len(steps) + 1
    counts = 1
    for each in steps:
        counts += counts << (width * abs(each))
    # sum = 2 · positive part − all
    least = (sum(map(abs, steps)) + abs(sum(steps))) // 2
    as_far = (counts >> (width * least)) % ((1 << width) - 1)
    return min(1.0, as_far / (1 << (len(steps) - 1)))
