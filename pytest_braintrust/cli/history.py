"""`history`: how a score went from run to run, the newest last."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_braintrust.cli import describing
from pytest_braintrust.cli.choosing import (
    add_choosing_options,
    chosen,
    say_older,
    within_limit,
)
from pytest_braintrust.cli.common import Commands, add_command, day, opened_store
from pytest_braintrust.cli.output import Column, as_json, say, screen_width, table
from pytest_braintrust.comparison.alone import RunMeasures, measure
from pytest_braintrust.errors import NamingError
from pytest_braintrust.fields import PASS
from pytest_braintrust.reports.machine import plain_estimate
from pytest_braintrust.reports.scales import scale_for
from pytest_braintrust.statistics import Estimate
from pytest_braintrust.store.reading import StoredExperiment

_EXAMPLES = """\
  pytest-braintrust history                     the last 20 runs, the first score drawn
  pytest-braintrust history --score duration    another score, or a metric
  pytest-braintrust history --branch main --limit 0 --json
"""
#: Columns of the chart.
_CHART = 20
#: Means of other scores beside the one that is drawn.
_OTHERS = 4
_STATUS = {0: "", 1: "", None: "unfinished", 2: "interrupted"}


@dataclass(frozen=True, slots=True)
class _Point:
    """One run, and what it measured."""

    run: StoredExperiment
    measures: RunMeasures

    def of(self, name: str) -> Estimate | None:
        return self.measures.scores.get(name) or self.measures.metrics.get(name)


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "history",
        run,
        text="Show how scores went from run to run, the newest last",
        more="The chart has the mean, and its 95 % interval around it.",
        examples=_EXAMPLES,
    )
    parser.add_argument("--score", metavar="NAME", help="the score or metric to draw")
    add_choosing_options(parser)


def run(given: argparse.Namespace) -> int:
    """Print the runs."""
    with opened_store(given) as store:
        found = chosen(store, given)
        # Means of different suites in one chart would say nothing.
        found = [each for each in found if each.project == found[0].project]
        shown = within_limit(found, given)
        points = [_Point(each, measure(store, each)) for each in reversed(shown)]
    if given.json:
        print(as_json([_plain(each) for each in points]))
        return 0
    if not points:
        print("no such runs yet: record one with `pytest --braintrust`")
        return 0
    drawn = _drawn(points, given.score)
    say(f"{drawn or 'no score'} in project {points[-1].run.project}")
    for line in table(_columns(points, drawn), _rows(points, drawn), screen_width()):
        print(line)
    say_older(len(found) - len(shown))
    return 0


def _names(points: Sequence[_Point]) -> list[str]:
    found = (name for each in points for name in each.measures.scores)
    return sorted(dict.fromkeys(found), key=lambda name: name == PASS)


def _drawn(points: Sequence[_Point], asked: str | None) -> str | None:
    """The score that is drawn: the first one that is not `pass`, if none is asked.

    Raises:
        NamingError: no run has the one that is asked for.
    """
    names = _names(points)
    if asked is None:
        return names[0] if names else None
    if not any(each.of(asked) for each in points):
        metrics = dict.fromkeys(n for each in points for n in each.measures.metrics)
        there = ", ".join([*names, *metrics]) or "none"
        msg = f"no run has a score {asked}; there is {there}"
        raise NamingError(msg)
    return asked


def _columns(points: Sequence[_Point], drawn: str | None) -> list[Column]:
    others = _others(points, drawn)
    charted = [Column("MEAN", right=True), Column("")] if drawn else []
    return [
        Column("WHEN"),
        Column("EXPERIMENT", least=14, middle=True),
        Column("TESTS", right=True),
        *charted,
        *(Column(name, least=5, right=True) for name in others),
        Column("", least=3),
    ]


def _others(points: Sequence[_Point], drawn: str | None) -> list[str]:
    return [name for name in _names(points) if name != drawn][:_OTHERS]


def _rows(points: Sequence[_Point], drawn: str | None) -> Iterator[list[str]]:
    charts = _charts([each.of(drawn) for each in points]) if drawn else []
    others = _others(points, drawn)
    for place, each in enumerate(points):
        charted = [_mean(drawn, each.of(drawn)), charts[place]] if drawn else []
        status = _STATUS.get(each.run.exit_status, "broken")
        errored = each.measures.errored
        yield [
            day(each.run.created_at),
            describing.name_of(each.run),
            f"{each.measures.tests:,}",
            *charted,
            *(_mean(name, each.of(name)) for name in others),
            status or (f"{errored:,} errored" if errored else ""),
        ]


def _mean(name: str, found: Estimate | None) -> str:
    if found is None or found.mean is None:
        return "-"
    if 0 <= found.mean <= 1 and name != "duration":
        return f"{found.mean:.3f}"
    scale = scale_for(name, abs(found.mean))
    return f"{scale.show(found.mean)} {scale.unit}".rstrip()


def _charts(found: Sequence[Estimate | None]) -> list[str]:
    """For each run its mean among those of all, with its interval."""
    spans = [_span(each) for each in found]
    known = [span for span in spans if span is not None]
    low = min((span[0] for span in known), default=0.0)
    high = max((span[2] for span in known), default=0.0)
    return ["" if span is None else _chart(span, low, high) for span in spans]


def _span(found: Estimate | None) -> tuple[float, float, float] | None:
    if found is None or found.mean is None:
        return None
    if found.interval is None:
        return found.mean, found.mean, found.mean
    return found.interval.low, found.mean, found.interval.high


def _chart(span: tuple[float, float, float], low: float, high: float) -> str:
    width = high - low
    places = [
        round((value - low) / width * (_CHART - 1)) if width else 0 for value in span
    ]
    start, mean, end = places
    line = ["─" if start <= place <= end else " " for place in range(_CHART)]
    line[mean] = "●"
    return "".join(line)


def _plain(each: _Point) -> dict[str, object]:
    return {
        "id": each.run.id,
        "project": each.run.project,
        "name": describing.name_of(each.run),
        "created_at": each.run.created_at,
        "exit_status": each.run.exit_status,
        "branch": (each.run.repo_info or {}).get("branch"),
        "commit": (each.run.repo_info or {}).get("commit"),
        "tests": each.measures.tests,
        "errored": each.measures.errored,
        "scores": {n: plain_estimate(e) for n, e in each.measures.scores.items()},
        "metrics": {n: plain_estimate(e) for n, e in each.measures.metrics.items()},
    }
