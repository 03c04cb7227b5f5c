"""What the difference of a test could be as well, if the change did nothing.

Then the runs could trade places in any test, so a difference could as well have the
other sign; and where a test has more trials in one run than in the other, any of all
its trials could as well be those of the smaller run. Near the top of a score that
makes another law than signs: of one trial and ten that all pass but one in a hundred,
the ten differ from 1 more often, and by less.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from pytest_braintrust.statistics.numbers import NOISE

#: Ways to choose trials are counted for so many sums of their values; beyond, and
#: for more trials than that, the means are near enough to a symmetric law.
_SUMS_AT_MOST = 512
_TRIALS_AT_MOST = 200
#: Weights are rounded to this sum, where they have a larger one.
_WEIGHTS_AT_MOST = 2**16
#: Sums that differ by a smaller share of the span of the values are the same.
_SAME_SUM = 1e-9


class Law(NamedTuple):
    """What a test's difference may be, each value above the least of them.

    Attributes:
        offsets: Ascending, the first is 0.
        weights: In how many ways each comes about.
        seen: The one that was observed.
    """

    offsets: tuple[float, ...]
    weights: tuple[int, ...]
    seen: float

    @property
    def is_flip(self) -> bool:
        """Whether it says that the difference may have the other sign."""
        return self.weights == (1, 1)


def flipped(difference: float) -> Law:
    """The law of a test with as many trials then as now."""
    size = 2 * abs(difference)
    return Law((0.0, size), (1, 1), size if difference > 0 else 0.0)


def relabelled(
    then: Sequence[float], now: Sequence[float], flip: Law | None
) -> Law | None:
    """The law of a test that has more trials in one run than in the other.

    By all ways to choose the trials of the smaller run among all of them (the
    permutation test of two samples, within each test). None where all trials have one
    value: then there is nothing to choose.

    Args:
        then: Its trials then.
        now: Its trials now.
        flip: Its law by the sign alone, which is taken where the ways are too many.
    """
    values = Counter(chain(then, now))
    low, high = min(values), max(values)
    span = high - low
    if span <= NOISE * max(abs(low), abs(high)):
        return None
    few = min(then, now, key=len)
    found = _sums(values, len(few), span) if len(few) <= _TRIALS_AT_MOST else None
    if found is None:
        return flip
    # The difference grows with the sum now, and falls with the sum then.
    found.sort(reverse=few is then)
    scale = 1 / len(then) + 1 / len(now)
    offsets = tuple(scale * abs(total - found[0][0]) for total, _ in found)
    observed = scale * abs(math.fsum(few) - found[0][0])
    return Law(
        offsets,
        tuple(_scaled_down([ways for _, ways in found])),
        min(offsets, key=lambda each: abs(each - observed)),
    )


def _sums(
    values: Mapping[float, int], few: int, span: float
) -> list[tuple[float, int]] | None:
    """The sums of so many trials, each with the number of ways to choose them.

    None where the sums are too many.

    Args:
        values: How many trials have each value.
        few: How many of them are chosen.
        span: From the smallest value to the largest.
    """
    left = sum(values.values())
    # By how many are chosen, and the sum as far as it is no float noise.
    found: dict[tuple[int, int], tuple[float, int]] = {(0, 0): (0.0, 1)}
    for value, count in values.items():
        left -= count
        following: dict[tuple[int, int], tuple[float, int]] = {}
        for (chosen, _), (total, ways) in found.items():
            least = max(0, few - chosen - left)
            for more in range(least, min(count, few - chosen) + 1):
                summed = total + more * value
                key = chosen + more, round(summed / span / _SAME_SUM)
                _, before = following.get(key, (summed, 0))
                following[key] = summed, before + ways * math.comb(count, more)
        if len(following) > _SUMS_AT_MOST:
            return None
        found = following
    return [*found.values()]


def _scaled_down(weights: Sequence[int]) -> list[int]:
    total = sum(weights)
    if total <= _WEIGHTS_AT_MOST:
        return [*weights]
    # No way is impossible for being rare.
    return [max(1, _WEIGHTS_AT_MOST * each // total) for each in weights]
