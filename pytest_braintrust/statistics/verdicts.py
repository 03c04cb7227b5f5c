"""Better or worse, by one rule; several scores are judged together."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_braintrust.statistics.numbers import Better, Comparison, Verdict


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
