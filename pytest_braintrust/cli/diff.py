"""`diff`: two runs beside each other, and the tests that moved."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pytest_braintrust import baseline, facts
from pytest_braintrust.baseline import Baseline
from pytest_braintrust.cli import describing
from pytest_braintrust.cli.common import (
    EXPERIMENT,
    Commands,
    add_command,
    add_metrics_option,
    add_project_option,
    here,
    opened_store,
)
from pytest_braintrust.cli.output import as_json, screen_width, show
from pytest_braintrust.comparison.alone import Measuring
from pytest_braintrust.comparison.details import Detail, details
from pytest_braintrust.comparison.result import RunComparison
from pytest_braintrust.comparison.run import compare_parts
from pytest_braintrust.comparison.splitting import OF_ROWS, Part, parts_of
from pytest_braintrust.errors import NamingError
from pytest_braintrust.gates import NONE
from pytest_braintrust.judging import Asked, Judgement, judgement
from pytest_braintrust.naming import LATEST, resolve
from pytest_braintrust.reports import compared, machine, sides
from pytest_braintrust.reports.headline import headline
from pytest_braintrust.reports.lines import Line, plain
from pytest_braintrust.reports.worst import WORST, losses, worst
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

_EXAMPLES = """\
  pytest-braintrust diff                        the last run beside its baseline
  pytest-braintrust diff main latest            what changed since the last run of main
  pytest-braintrust diff latest --score exact --worse
  pytest-braintrust diff latest~1 latest --output
  pytest-braintrust diff latest --by model small large    two parts of one run
"""
#: Columns where the output goes to a file.
_WIDTH = 120


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "diff",
        run,
        text="Compare two runs, test by test",
        more="With one run: that one with its baseline. With --by: two parts of it.",
        examples=_EXAMPLES,
    )
    parser.add_argument("a", metavar="A", nargs="?", default=LATEST, help=EXPERIMENT)
    text = "the later run, compared with A"
    parser.add_argument("b", metavar="B", nargs="?", help=text)
    add_project_option(parser)
    parser.add_argument(
        "--score",
        action="append",
        default=[],
        metavar="NAME",
        help="show only this score or metric; several may be given",
    )
    parser.add_argument(
        "--worse", action="store_true", help="all tests that got worse, not the first"
    )
    parser.add_argument(
        "--output", action="store_true", help="with both outputs, side by side"
    )
    parser.add_argument(
        "--by",
        nargs=3,
        metavar=("NAME", "THEN", "NOW"),
        help="compare the tests of one run that have THEN as NAME in their metadata or "
        "input with those that have NOW and are else the same",
    )
    add_metrics_option(parser)


def run(given: argparse.Namespace) -> int:
    """Print the comparison."""
    with opened_store(given) as store:
        if given.by is not None:
            _print_parts(store, given)
            return 0
        base, head = _runs(store, given)
        asked = Asked(None, NONE, frozenset(given.higher_is_better))
        judged = _narrowed(judgement(store, head, base, asked), given.score)
        comparison = judged.comparison
        if comparison is None:
            return 0
        tests = comparison.worse_tests
        shown = details(
            store, base.experiment, head, tests if given.worse else tests[:WORST]
        )
        judged = replace(judged, details=tuple(shown))
        if given.json:
            print(as_json(_plain(judged, shown if given.output else ())))
            return 0
        width = screen_width() or _WIDTH
        show(_lines(judged, comparison, width, output=given.output))
    return 0


def _print_parts(store: Store, given: argparse.Namespace) -> None:
    """Print how two parts of one run differ.

    Raises:
        NamingError: there is no such part, or what is asked is of two runs.
    """
    if given.b is not None or given.output or given.worse:
        msg = (
            "--by is of one run, and has no outputs: leave out B, --output and --worse"
        )
        raise NamingError(msg)
    experiment = resolve(store, given.a, project=given.project)
    name, *values = given.by
    if values[0] == values[1]:
        msg = f"both parts are {name} {values[0]}: name two values"
        raise NamingError(msg)
    then, now = _parts(store, experiment, name, values)
    better = frozenset(given.higher_is_better) | facts.higher_is_better(
        experiment.metadata
    )
    found = compare_parts(experiment, (then, now), higher_is_better=better)
    seen = Measuring()
    for test in now.tests.values():
        seen.add(test)
    judged = _narrowed(
        Judgement(experiment, seen.result(), None, "", found, ()), given.score
    )
    if given.json:
        print(as_json(_plain(judged, ())))
        return
    show(
        _lines(
            judged, judged.comparison or found, screen_width() or _WIDTH, output=True
        )
    )


def _parts(
    store: Store, experiment: StoredExperiment, name: str, values: Sequence[str]
) -> list[Part]:
    """The two parts.

    Raises:
        NamingError: there are none that could be compared.
    """
    if not name.strip():
        msg = "--by: an empty text is no name"
        raise NamingError(msg)
    if name in OF_ROWS:
        msg = (
            f"--by {name}: a test is compared with the one that was asked the same but "
            "for a value in its metadata or input: name that, as metadata.NAME or "
            "input.NAME"
        )
        raise NamingError(msg)
    found = parts_of(store, experiment, name, values)
    for part in found:
        if not part.tests:
            msg = f"no row of the run has {part.name}; `show --by` lists what there is"
            raise NamingError(msg)
    then, now = found
    if then.tests.keys().isdisjoint(now.tests):
        msg = (
            f"no test with {then.name} was asked the same as one with {now.name}: they "
            "differ in more. Name the parameter that tells them apart"
        )
        raise NamingError(msg)
    return found


def _runs(store: Store, given: argparse.Namespace) -> tuple[Baseline, StoredExperiment]:
    """What is compared with, and what is compared.

    Raises:
        NamingError: one is not there, or the only one named has no baseline.
    """
    first = resolve(store, given.a, project=given.project)
    if given.b is not None:
        second = resolve(store, given.b, project=given.project)
        return Baseline(first, "name"), second
    root = store.directory.parent
    found = baseline.of_stored(store, first, None, root=root, folder=here())
    if found is None:
        name = describing.called(first)
        msg = f"{name} has no baseline: name the run to compare with before it"
        raise NamingError(msg)
    return found, first


def _narrowed(judged: Judgement, names: Sequence[str]) -> Judgement:
    """The comparison of some scores and metrics alone.

    Raises:
        NamingError: one is not in both runs.
    """
    found = judged.comparison
    if not names or found is None:
        return judged
    there = [each.name for each in found.measures]
    for name in names:
        if name not in there:
            msg = f"no score {name} in both runs; there is {', '.join(there) or 'none'}"
            raise NamingError(msg)
    alone = judged.measures
    scores = {n: each for n, each in alone.scores.items() if n in names}
    measures = replace(alone, scores=scores)
    return replace(judged, comparison=found.only(names), measures=measures)


def _lines(
    judged: Judgement, comparison: RunComparison, width: int, *, output: bool
) -> Iterator[Line]:
    yield Line(f"then      {_named(comparison, then=True)}", hang=10)
    yield Line(f"now       {_named(comparison, then=False)}", hang=10)
    told = headline(comparison)
    yield Line(f"verdict   {told.text}", told.style, hang=10)
    label = "totals"
    for text in compared.totals_texts(judged):
        yield Line(f"{label:<10}{text}", hang=10)
        label = ""
    total = len(comparison.worse_tests)
    yield from compared.numbers(judged, width)
    if output:
        yield from _outputs(judged.details, width)
    else:
        yield from worst(judged.details, total, width)


def _named(comparison: RunComparison, *, then: bool) -> str:
    run = comparison.base if then else comparison.head
    return plain(f"{run.project}/{run.name}")


def _outputs(shown: Sequence[Detail], width: int) -> Iterator[Line]:
    for each in shown:
        yield Line("")
        yield Line(f"{plain(each.name)}  {losses(each.test)}", "bold")
        for name, value in each.asked.items():
            yield Line(f"{name:<10}{plain(value)}", long="cut")
        if each.then is None and each.now is None:
            yield Line("no output in either run")
        yield from sides.beside(each.then or "", each.now or "", width)
        if each.reason is not None:
            yield Line(plain(each.reason), "red")


def _plain(judged: Judgement, shown: Sequence[Detail]) -> dict[str, Any]:
    told = machine.plain_comparison(judged) or {}
    if shown:
        told["outputs"] = [
            {
                "nodeid": each.test.nodeid,
                "row": each.test.part,
                "input": each.asked.get("input"),
                "expected": each.asked.get("expected"),
                "then": each.then,
                "now": each.now,
                "error": each.error,
            }
            for each in shown
        ]
    return told
