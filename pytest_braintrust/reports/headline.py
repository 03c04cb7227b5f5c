"""Better or worse in one line, and no more than the numbers support."""

from __future__ import annotations

from pytest_braintrust.comparison.counting import ERRORED_AT_MOST
from pytest_braintrust.comparison.result import RunComparison
from pytest_braintrust.reports.lines import Line, name_of, names_of
from pytest_braintrust.reports.table import MARKS
from pytest_braintrust.statistics import Verdict
from pytest_braintrust.words import a_number

_STYLES = {
    "better": "green",
    "worse": "red",
    "mixed": "red",
    "not measurable": "yellow",
}
_BESIDE = {
    "better": "▲ better than",
    "worse": "▼ worse than",
    "mixed": "▼ better and worse than",
}


def headline(comparison: RunComparison) -> Line:
    """Better or worse, in one line, by all scores of both runs."""
    comparison = comparison.whole or comparison
    overall = comparison.overall
    style = _STYLES.get(overall, "")
    if overall == "not measurable":
        return Line(f"not measurable: {unmeasurable(comparison)}", style)
    if unmeasured := [e.name for e in comparison.scores if e.why_unmeasurable]:
        text = f"{_text(comparison)}; not measurable: {names_of(unmeasured)}"
        return Line(text, style or _STYLES["not measurable"])
    return Line(_text(comparison), style)


def _text(comparison: RunComparison) -> str:
    overall = comparison.overall
    if overall == "same":
        return f"no change: no score of {_compared(comparison)} moved"
    if overall == "no evidence":
        return _unproven(comparison)
    regressed = _with(comparison, "regressed")
    improved = _with(comparison, "improved")
    mark = MARKS["regressed" if regressed else "improved"]
    parts = [
        f"{names_of(names)} {verdict}"
        for names, verdict in ((regressed, "regressed"), (improved, "improved"))
        if names
    ]
    return f"{mark}{overall}: {', '.join(parts)}"


def _unproven(comparison: RunComparison) -> str:
    moved = comparison.moved
    few = [f"{e.numbers.tests} with {e.name}" for e in moved if e.too_few]
    if len(few) == len(moved):
        return f"too few tests to tell: {names_of(few)}"
    text = "no evidence of a change: what moved is within noise"
    return f"{text}, or in too few tests to tell: {names_of(few)}" if few else text


def _compared(comparison: RunComparison) -> str:
    """How many tests the scores were compared in."""
    counts = {e.numbers.tests for e in comparison.scores if not e.why_unmeasurable}
    most = a_number(max(counts), "test")
    return most if len(counts) == 1 else f"{min(counts):,} to {most}"


def _with(comparison: RunComparison, verdict: Verdict) -> list[str]:
    return [each.name for each in comparison.scores if each.verdict == verdict]


def unmeasurable(comparison: RunComparison) -> str:
    """Why nothing can be said."""
    for when, counts in (("now", comparison.now), ("then", comparison.then)):
        if not counts.measurable:
            return f"{counts.why_unmeasurable} {when}, more than {ERRORED_AT_MOST:.0%}"
    if not comparison.shared:
        return "no test is in both runs"
    if not comparison.scores:
        return "no score is in both runs"
    for each in comparison.scores:
        if each.why_unmeasurable:
            return f"{name_of(each.name)} is {each.why_unmeasurable}"
    return "it takes two tests with a score that both runs have"


def in_one_line(comparison: RunComparison) -> Line:
    """Better or worse than which run, and the scores that moved, for a quiet run."""
    told = headline(comparison)
    moved = [
        f"{name_of(each.name)} {each.numbers.then:.3f} → {each.numbers.now:.3f}"
        for each in comparison.scores
        if each.verdict in MARKS
    ]
    name = name_of(comparison.base.name)
    if comparison.overall not in _BESIDE:
        return Line(f"{told.text}, beside {name}", told.style)
    return Line(f"{_BESIDE[comparison.overall]} {name}: {', '.join(moved)}", told.style)
