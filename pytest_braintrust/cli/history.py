"""`history`: how a score went from run to run, the newest last."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_braintrust.baseline import is_cut_short
from pytest_braintrust.cli import describing
from pytest_braintrust.cli.choosing import (
    add_choosing_options,
    chosen,
    none_of_them,
    say_older,
    within_limit,
)
from pytest_braintrust.cli.common import (
    Commands,
    a_name,
    add_command,
    day,
    opened_store,
)
from pytest_braintrust.cli.flaky import print_flaky
from pytest_braintrust.cli.output import (
    Column,
    as_json,
    say,
    screen_width,
    show,
    table,
)
from pytest_braintrust.comparison.alone import RunMeasures, measure
from pytest_braintrust.errors import NamingError
from pytest_braintrust.fields import PASS
from pytest_braintrust.reports.lines import Line, name_of, plain, width_of
from pytest_braintrust.reports.machine import plain_estimates
from pytest_braintrust.reports.scales import Scale, described, scale_for
from pytest_braintrust.statistics import Estimate
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.measuring import has_test
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.words import a_number

_EXAMPLES = """\
  pytest-braintrust history                     the last 20 runs, the first score drawn
  pytest-braintrust history --score duration    another score, or a metric
  pytest-braintrust history --test 'test_capital[Spain]'    of one test, or of some
  pytest-braintrust history --flaky             the tests that passed and failed
  pytest-braintrust history --branch main --limit 0 --json
"""
#: Columns of the chart.
_CHART = 20
#: Means of other scores beside the one that is drawn, at most.
_OTHERS = 4
#: Columns of a mean, of the gap before it, and of a name at least.
_NUMBER, _GAP, _NAME = 5, 2, 12
#: Columns of what stands beside these means: when, name, tests, mean, chart, gaps.
_BESIDE = 11 + _NAME + 5 + 6 + _CHART + 5 * _GAP
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
    parser.add_argument(
        "--test",
        type=a_name,
        metavar="NODEID",
        help="only of the test with this node id; where none has it, of all that have "
        "it as a part",
    )
    parser.add_argument(
        "--flaky",
        action="store_true",
        help="how often each test passed that both passed and failed in these runs, "
        "while its source was what it is",
    )
    add_choosing_options(parser)


def run(given: argparse.Namespace) -> int:
    """Print the runs, or the tests that passed in some of them."""
    if given.flaky and given.score:
        msg = "--flaky tells what passed and what failed: leave out --score"
        raise NamingError(msg)
    with opened_store(given) as store:
        found = chosen(store, given)
        # Means of different suites in one chart would say nothing.
        found = [each for each in found if each.project == found[0].project]
        shown = within_limit(found, given)
        if given.flaky and shown:
            print_flaky(store, shown, given.test or "", for_programs=given.json)
            return 0
        points = _points(store, shown, given.test or "")
    _refuse_unknown(points, given.test)
    if given.json:
        print(as_json([_plain(each) for each in points]))
        return 0
    if not points:
        say(none_of_them(given))
        return 0
    drawn = _drawn(points, given.score)
    title = described(drawn, _scale(points, drawn)) if drawn else "no score"
    of = f" of {given.test}" if given.test else ""
    say(f"{title}{of} in project {points[-1].run.project}")
    width = screen_width()
    others, left = _others(points, drawn, width)
    columns, rows = _columns(points, drawn, others), _rows(points, drawn, others)
    for line in table(columns, rows, width):
        print(line)
    if left:
        told = ", ".join(map(name_of, left))
        show([Line(f"not shown: {told}; --score NAME draws one")])
    say_older(len(found) - len(shown))
    return 0


def _points(store: Store, shown: Sequence[StoredExperiment], test: str) -> list[_Point]:
    # A node id may be the beginning of others: where it is that of a test, this is meant.
    whole = bool(test) and any(has_test(store, each.number, test) for each in shown)
    return [
        _Point(each, measure(store, each, test, whole=whole))
        for each in reversed(shown)
    ]


def _refuse_unknown(points: Sequence[_Point], test: str | None) -> None:
    """Say so where no test is meant.

    Raises:
        NamingError: none of the runs has such a test.
    """
    if points and test and not any(each.measures.counts.tests for each in points):
        msg = f"no test of these runs has {test} in its node id"
        raise NamingError(msg)


def _names(points: Sequence[_Point]) -> list[str]:
    """The scores, those that most runs and then most tests have first, `pass` last."""
    runs, tests = Counter[str](), Counter[str]()
    for each in points:
        for name, found in each.measures.scores.items():
            runs[name] += 1
            tests[name] += found.tests
    return sorted(runs, key=lambda name: (name == PASS, -runs[name], -tests[name]))


def _drawn(points: Sequence[_Point], asked: str | None) -> str | None:
    """The score that is drawn: if none is asked, the one that most runs have.

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


def _columns(
    points: Sequence[_Point], drawn: str | None, others: Sequence[str]
) -> list[Column]:
    charted = (
        [Column("MEAN", right=True), Column(_ends(points, drawn))] if drawn else []
    )
    return [
        Column("WHEN"),
        Column("EXPERIMENT", least=_NAME, middle=True),
        Column("TESTS", right=True),
        *charted,
        *(Column(name, right=True) for name in others),
        Column(""),
    ]


def _ends(points: Sequence[_Point], drawn: str) -> str:
    """What the chart's left and right edge stand for."""
    low, high = map(_scale(points, drawn).show, _range(points, drawn))
    return f"{low}{high:>{_CHART - len(low)}}"


def _others(
    points: Sequence[_Point], drawn: str | None, width: int | None
) -> tuple[list[str], list[str]]:
    """The scores beside the one that is drawn: those that have room, and the rest."""
    names = [name for name in _names(points) if name != drawn]
    if width is None:
        return names[:_OTHERS], names[_OTHERS:]
    status = max(len(_status(each)) for each in points)
    left = width - _BESIDE - status
    for place, name in enumerate(names):
        left -= max(width_of(plain(name)), _NUMBER) + _GAP
        if left < 0 or place == _OTHERS:
            return names[:place], names[place:]
    return names, []


def _rows(
    points: Sequence[_Point], drawn: str | None, others: Sequence[str]
) -> Iterator[list[str]]:
    charts = _charts(points, drawn) if drawn else []
    scale = _scale(points, drawn) if drawn else Scale()
    for place, each in enumerate(points):
        charted = [_mean(each.of(drawn), scale), charts[place]] if drawn else []
        yield [
            day(each.run.created_at),
            each.run.shown_name,
            f"{each.measures.counts.tests:,}",
            *charted,
            *(_mean(each.of(name)) for name in others),
            _status(each),
        ]


def _status(each: _Point) -> str:
    """What is to be known of a run before its means are believed."""
    status = _STATUS.get(each.run.exit_status, "broken")
    if not status and is_cut_short(each.run):
        return describing.CUT_SHORT
    counts = each.measures.counts
    # In fewer words than elsewhere: the line has to have room for it.
    if not status and counts.trials > counts.tests and counts.errored_trials:
        return f"{a_number(counts.errored_trials, 'trial')} errored"
    return status or counts.left_out


def _mean(found: Estimate | None, scale: Scale = Scale()) -> str:  # noqa: B008 - frozen
    return scale.show(found.mean if found is not None else None)


def _scale(points: Sequence[_Point], drawn: str) -> Scale:
    """One for all runs, so that their numbers can be compared by eye."""
    if drawn in _names(points):
        return Scale()
    found = (each.measures.metrics.get(drawn) for each in points)
    means = (each.mean or 0.0 for each in found if each is not None)
    return scale_for(drawn, max(map(abs, means)))


def _charts(points: Sequence[_Point], drawn: str) -> list[str]:
    """For each run its mean among those of all, with its interval."""
    low, high = _range(points, drawn)
    spans = (_span(each.of(drawn)) for each in points)
    return ["" if span is None else _chart(span, low, high) for span in spans]


def _range(points: Sequence[_Point], drawn: str) -> tuple[float, float]:
    """The least and the largest of what is drawn."""
    spans = (_span(each.of(drawn)) for each in points)
    known = [span for span in spans if span is not None]
    low = min((span[0] for span in known), default=0.0)
    return low, max((span[2] for span in known), default=0.0)


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
        "name": each.run.shown_name,
        "created_at": describing.iso(each.run.created_at),
        "exit_status": each.run.exit_status,
        "branch": each.run.branch,
        "commit": each.run.commit,
        "tests": each.measures.counts.tests,
        "errored": each.measures.counts.errored,
        "errored_trials": each.measures.counts.errored_trials,
        "scores": plain_estimates(each.measures.scores),
        "metrics": plain_estimates(each.measures.metrics),
    }
