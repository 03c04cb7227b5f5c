"""The table of a comparison: a row for each score and metric, with its verdict in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pytest_braintrust.comparison.result import Measure, RunComparison
from pytest_braintrust.reports.lines import (
    Line,
    fitted,
    name_of,
    padded,
    plain,
    width_of,
)
from pytest_braintrust.reports.scales import Scale, amount, described, scale_of
from pytest_braintrust.statistics import Estimate, Verdict
from pytest_braintrust.words import a_number

MARKS: Mapping[Verdict, str] = {"improved": "▲ ", "regressed": "▼ "}
STYLES: Mapping[Verdict, str] = {"improved": "green", "regressed": "red"}

#: The columns beside the name, and those of the name at least and at most.
_NUMBERS, _NARROWEST, _WIDEST = 64, 10, 40
#: So many rows of what no test changed are shown.
_ROWS_UNCHANGED = 4
_UNMOVED: Verdict = "no evidence"
#: The columns between the means and the verdict.
_BEFORE_VERDICT = 31
_HEAD = "   then    now  change  95 % interval  better worse"


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: a name that may be too long for its column, and the rest."""

    name: str
    rest: str
    style: str = ""


def table(
    comparison: RunComparison, alone: Mapping[str, Estimate], width: int
) -> Iterator[Line]:
    """Then, now, change, its interval, tests better and worse, and the verdict.

    Args:
        comparison: What is shown.
        alone: The scores of the run by itself: those that the baseline has not.
        width: Columns of the screen; a name that does not fit has a line of its own.
    """
    folded = unchanged(comparison)
    shown = [each for each in comparison.measures if each not in folded]
    scores = [_compared(each) for each in shown if each.kind == "score"]
    groups = [
        ("", [*scores, *_new(comparison, alone)]),
        ("metrics, less is better", _metrics(shown, "lower")),
        ("metrics, more is better", _metrics(shown, "higher")),
    ]
    names = [row.name for _, rows in groups for row in rows]
    longest = max(map(width_of, names), default=0)
    column = max(_NARROWEST, min(longest, _WIDEST, width - _NUMBERS))
    if names:
        yield Line(f"{'score':<{column}}{_HEAD}", long="left")
    for title, rows in groups:
        if title and rows:
            yield Line(title, long="left")
        for row in rows:
            yield from _lines(row, column)
    if folded:
        yield Line(in_a_line(folded))


def unchanged(comparison: RunComparison) -> Sequence[Measure]:
    """What no test changed, where that is more than a reader looks through.

    What was asked for by its name is always shown.
    """
    same = [e for e in comparison.measures if not e.moved and e.verdict == _UNMOVED]
    return same if len(same) > _ROWS_UNCHANGED and comparison.whole is None else ()


def in_a_line(folded: Sequence[Measure]) -> str:
    """What no test changed: the means, and in how many tests they are the same."""
    parts = []
    by_tests = sorted(folded, key=lambda each: -each.numbers.tests)
    for tests, measures in groupby(by_tests, lambda each: each.numbers.tests):
        means = ", ".join(f"{name_of(e.name)} {_mean(e)}" for e in measures)
        parts.append(f"{means} ({a_number(tests, 'test')})")
    return f"unchanged: {'; '.join(parts)}"


def _mean(each: Measure) -> str:
    if each.kind == "score":
        return Scale().show(each.numbers.now)
    return amount(each.name, each.numbers.now or 0.0)


def _lines(row: _Row, column: int) -> Iterator[Line]:
    name = row.name
    if width_of(name) > column:
        yield Line(fitted(name, column + _NUMBERS), row.style, "left")
        name = ""
    yield Line(f"{padded(name, column)}{row.rest}", row.style, "left")


def _metrics(measures: Iterable[Measure], better: str) -> list[_Row]:
    metrics = (each for each in measures if each.kind == "metric")
    return [_compared(each) for each in metrics if each.better == better]


def _compared(each: Measure) -> _Row:
    numbers, scale = each.numbers, scale_of(each)
    means = _means(numbers.then, numbers.now, numbers.difference, scale)
    if each.verdict == "not measurable":
        end = f"{each.verdict:>42}"
    else:
        tests = f"{each.improved:>6} {each.worsened:>5}"
        end = f"  {span(each, scale):>13}  {tests}  {verdict(each)}"
    # Of metrics the words say enough: a machine under load makes all tests slow.
    style = STYLES.get(each.verdict, "") if each.kind == "score" else ""
    return _Row(described(plain(each.name), scale), means + end, style)


def _new(comparison: RunComparison, alone: Mapping[str, Estimate]) -> Iterable[_Row]:
    for name, why in uncompared(comparison, alone).items():
        means = _means(None, alone[name].mean, None)
        yield _Row(plain(name), f"{means}{' ' * _BEFORE_VERDICT}{why}")


def uncompared(
    comparison: RunComparison, alone: Mapping[str, Estimate]
) -> dict[str, str]:
    """The scores that the run has and the comparison not, and why not."""
    compared = {each.name for each in comparison.scores}
    new = set(comparison.scores_new)
    return {
        name: "new" if name in new else "no test in both"
        for name in alone
        if name not in compared
    }


def _means(
    then: float | None,
    now: float | None,
    difference: float | None,
    scale: Scale = Scale(),  # noqa: B008 - frozen
) -> str:
    change = scale.show(difference, "+")
    return f"  {scale.show(then):>5}  {scale.show(now):>5}  {change:>6}"


def span(each: Measure, scale: Scale) -> str:
    """The interval of the change; nothing where no test changed."""
    interval = each.numbers.interval
    if interval is None or interval.low == interval.high == 0:
        return ""
    return f"{scale.show(interval.low, '+')}…{scale.show(interval.high, '+')}"


def verdict(each: Measure) -> str:
    """The verdict in words, with a mark where there is evidence."""
    return MARKS.get(each.verdict, "") + each.verdict
