"""What the parts of a run came to, as a table: for `show --by`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from pytest_braintrust.cli.output import Column, table
from pytest_braintrust.comparison.alone import RunMeasures
from pytest_braintrust.fields import PASS
from pytest_braintrust.reports.lines import Line, name_of, plain, width_of
from pytest_braintrust.reports.machine import plain_estimates
from pytest_braintrust.reports.scales import Scale, described, scale_for
from pytest_braintrust.statistics import Estimate

#: What stands for rows that have no such value.
_NONE = "-"
#: Columns of a value at most where room is short, of a number, and of a gap.
_VALUE, _NUMBER, _GAP = 24, 5, 2
#: Those of the number of tests.
_TESTS = 5 + _GAP

#: Metrics that most people look for.
_FIRST = ("cost", "duration", "tokens")

#: A column: the name of the measure, its title, and its cell for a part.
_Measure: TypeAlias = tuple[str, str, Callable[[RunMeasures], str]]
_Parts: TypeAlias = Mapping[str | None, RunMeasures]


def lines(name: str, parts: _Parts, width: int | None, limit: int) -> Iterator[Line]:
    """A line for each part: its tests, and the means of its scores and metrics.

    Args:
        name: What the run is split by.
        parts: By the value that its rows have, what a part came to.
        width: Columns of the screen; None where there is no end of them.
        limit: How many parts at most.
    """
    in_order = sorted(parts.items(), key=lambda part: part[0] is None)
    shown = dict(islice(in_order, limit))
    measures = _measures(shown)
    count = _room(measures, [name, *map(_text, shown)], width)
    columns = (
        Column(name, least=_VALUE, middle=True),
        Column("TESTS", right=True),
        *(Column(title, right=True) for _, title, _ in measures[:count]),
    )
    rows = (
        [
            _text(value),
            f"{each.counts.tests:,}",
            *(cell(each) for _, _, cell in measures[:count]),
        ]
        for value, each in shown.items()
    )
    for line in table(columns, rows, width):
        yield Line(line, long="left")
    for value, each in shown.items():
        if left_out := each.counts.left_out:
            yield Line(f"{name_of(_text(value))}: {left_out} (left out)")
    if len(parts) > limit:
        yield Line(f"and {len(parts) - limit:,} more; --limit 0 shows all")
    if left := [name_of(measure) for measure, _, _ in measures[count:]]:
        yield Line(f"not shown: {', '.join(left)}; --json has all")


def as_plain(value: str | None, part: RunMeasures) -> dict[str, Any]:
    """A part as plain values."""
    return {
        "value": value,
        "tests": part.counts.tests,
        "errored": part.counts.errored,
        "errored_trials": part.counts.errored_trials,
        "scores": plain_estimates(part.scores),
        "metrics": plain_estimates(part.metrics),
        "totals": dict(part.totals),
    }


def _text(value: str | None) -> str:
    return _NONE if value is None else plain(value)


def _measures(parts: _Parts) -> list[_Measure]:
    """What most parts have first: the scores, `pass` last of them, then the metrics.

    Of two that is what can be compared; what no part with a value has is left out.
    """
    valued = [each for value, each in parts.items() if value is not None]
    scores = Counter(name for each in valued for name in each.scores)
    metrics = Counter(name for each in valued for name in each.metrics)
    found = [
        *(
            (scores[n], _score(n))
            for n in sorted(scores, key=lambda name: name == PASS)
        ),
        *((metrics[n], _metric(n, parts)) for n in sorted(metrics, key=_rank)),
    ]
    return [each for _, each in sorted(found, key=lambda counted: -counted[0])]


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _score(name: str) -> _Measure:
    return name, name, lambda part: Scale().show(_mean(part.scores, name))


def _metric(name: str, parts: _Parts) -> _Measure:
    means = [abs(_mean(part.metrics, name) or 0.0) for part in parts.values()]
    scale = scale_for(name, max(means))
    title = described(name, scale)
    return name, title, lambda part: scale.show(_mean(part.metrics, name))


def _mean(found: Mapping[str, Estimate], name: str) -> float | None:
    return found[name].mean if name in found else None


def _room(measures: Sequence[_Measure], values: list[str], width: int | None) -> int:
    """How many measures have room beside the value and the number of tests."""
    if width is None:
        return len(measures)
    left = width - min(_VALUE, max(map(width_of, values))) - _TESTS
    for place, (_, title, _) in enumerate(measures):
        left -= max(width_of(plain(title)), _NUMBER) + _GAP
        if left < 0:
            return max(1, place)
    return len(measures)
