"""Better or worse, by one rule; several scores are judged together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pytest_braintrust.statistics.numbers import (
    ALPHA,
    Better,
    Comparison,
    Interval,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A comparison that was judged beside others.

    Attributes:
        numbers: The comparison; its interval reaches 0 where the others' presence
            takes the evidence away.
        p_value: Corrected for the others; None for fewer than two tests.
        level: What the comparison's own p-value had to be below, or would have to
            be below if it is not: the level for `sensitivity`.
    """

    numbers: Comparison
    p_value: float | None
    level: float


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


def holm(p_values: Iterable[float | None]) -> tuple[float | None, ...]:
    """Correct p-values for being judged together, in their order (Holm 1979).

    The chance that any of the scores that did not move gets a corrected p-value below
    alpha is at most alpha, however the scores hang together. None stays None and
    does not count.

    One score that is looked at for its own sake needs no correction. A gate that fails
    when *any* of k scores got worse does: without, up to 1 − (1 − α/2)^k of the runs
    in which nothing changed raise a false alarm, 22 % for ten scores.
    """
    given = list(p_values)
    known = sorted((p, at) for at, p in enumerate(given) if p is not None)
    corrected = list(given)
    highest = 0.0
    for rank, (p, at) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[at] = highest
    return tuple(corrected)


def judged_together(
    comparisons: Sequence[Comparison], *, alpha: float = ALPHA
) -> tuple[Judged, ...]:
    """Judge comparisons so that all that did not move stay "no evidence" together.

    By `holm`, in which comparisons do not count that no outcome could have made
    significant: too few of their tests changed for any to have a p-value below alpha
    (Tarone 1990, "A modified Bonferroni method for discrete data"). A score that is 1
    in every test of both runs costs the others nothing.

    Args:
        comparisons: The scores of two runs, each over the tests that have it.
        alpha: The chance of any false alarm.
    """
    counted = [each.least is not None and each.least < alpha for each in comparisons]
    corrected = holm(
        each.p_value if counts else None
        for each, counts in zip(comparisons, counted, strict=True)
    )
    unproven = sum(p is not None and p >= alpha for p in corrected)
    found: list[Judged] = []
    for each, p in zip(comparisons, corrected, strict=True):
        # Holm's last step takes all that are left at alpha / (how many are left).
        left = unproven if p is not None and p >= alpha else unproven + 1
        p_value = each.p_value if p is None else p
        found.append(Judged(_stretched(each, p_value), p_value, alpha / left))
    return tuple(found)


def _stretched(comparison: Comparison, p_value: float | None) -> Comparison:
    interval = comparison.interval
    if interval is None or p_value is None or p_value < comparison.alpha:
        return comparison
    stretched = Interval(min(interval.low, 0.0), max(interval.high, 0.0))
    return replace(comparison, interval=stretched)
