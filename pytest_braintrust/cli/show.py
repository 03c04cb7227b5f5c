"""`show`: what one run came to, and its rows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_braintrust import spans
from pytest_braintrust.cli import describing, parts
from pytest_braintrust.cli.common import (
    Commands,
    a_count,
    a_name,
    add_command,
    add_run_arguments,
    moment,
    opened_store,
)
from pytest_braintrust.cli.output import (
    Column,
    as_json,
    say,
    screen_width,
    show,
    table,
)
from pytest_braintrust.comparison.alone import RunMeasures, measure
from pytest_braintrust.comparison.details import as_line
from pytest_braintrust.comparison.splitting import split
from pytest_braintrust.errors import NamingError
from pytest_braintrust.naming import resolve
from pytest_braintrust.outcomes import OUTCOMES
from pytest_braintrust.reports import machine
from pytest_braintrust.reports.lines import (
    Line,
    fit,
    fitted,
    name_of,
    padded,
    page_of,
    plain,
)
from pytest_braintrust.reports.scales import means, totals
from pytest_braintrust.reports.steps import step
from pytest_braintrust.store import browsing, reading
from pytest_braintrust.store.browsing import Condition, SeenRow
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import ScoreSummary, StoredExperiment

_EXAMPLES = """\
  pytest-braintrust show                        the last run
  pytest-braintrust show main --outcome failed --output
  pytest-braintrust show latest --score 'exact<0.5' --limit 0
  pytest-braintrust show latest --by model
  pytest-braintrust show latest~1 --json
"""
_LIMIT = 20
_LABEL = 12
#: Scores that have a column of their own, at most.
_SCORES = 8
#: Columns of an outcome and of a score, with the gap beside it; of a test at least.
_OUTCOME, _SCORE, _TEST = 9, 7, 36
#: No line is broken where the output goes to a file.
_WIDE = 10_000
#: Of one field, with --output.
_LINES = 20
_FIELDS = ("input", "output", "expected", "metadata", "error")
#: Columns of their names, with the gaps around them.
_NAMES = 12


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "show",
        run,
        text="Show what a run came to: its scores and rows",
        examples=_EXAMPLES,
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--score",
        type=_condition,
        action="append",
        default=[],
        metavar="NAME<NUMBER",
        help="only rows of which that is true, as 'exact<0.5'; also <= > >= = !=",
    )
    parser.add_argument(
        "--outcome",
        choices=OUTCOMES,
        action="append",
        default=[],
        help="only rows with that outcome; several may be given",
    )
    parser.add_argument(
        "--limit",
        type=a_count,
        default=_LIMIT,
        metavar="N",
        help=f"how many rows at most; 0: all (default {_LIMIT})",
    )
    parser.add_argument(
        "--output",
        action="store_true",
        help="with the input, output, expected value, metadata and error of each row",
    )
    parser.add_argument(
        "--by",
        type=a_name,
        metavar="NAME",
        help="not the rows, but the means of those that have the same: a name in their "
        "metadata or input, `tags`, `test` (the function) or `file`",
    )


def _condition(text: str) -> Condition:
    try:
        return browsing.condition(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(given: argparse.Namespace) -> int:
    """Print the run."""
    with opened_store(given) as store:
        found = resolve(store, given.experiment, project=given.project)
        _refuse_unknown(given.score, reading.score_names(store, found.number))
        if given.by is not None:
            _print_parts(store, found, given)
            return 0
        limit: int | None = given.limit or None
        asked: dict[str, Any] = {
            "outcomes": given.outcome,
            "conditions": given.score,
        }
        rows = browsing.rows(store, found.number, limit=limit, **asked)
        measures = measure(store, found)
        if given.json:
            _print_json(_head(store, found, measures), rows, output=given.output)
            return 0
        scores = reading.score_summaries(store, found.number)
        for line in (*_facts(store, found), *_scores(scores)):
            say(line)
        show(_metrics(measures))
        print()
        lines = _outputs if given.output else _row_table
        for line in lines(rows, scores):
            print(line)
        total = browsing.count(store, found.number, **asked)
        if limit is not None and total > limit:
            print(f"and {total - limit:,} more; --limit 0 shows all")
        elif not total:
            print("no such rows" if any(asked.values()) else "no rows")
    return 0


def _print_parts(
    store: Store, found: StoredExperiment, given: argparse.Namespace
) -> None:
    """Print what the parts of the run came to.

    Raises:
        NamingError: no row has what they are split by, or only some rows were meant.
    """
    if given.score or given.outcome or given.output:
        msg = "--by takes all rows together: leave out --score, --outcome and --output"
        raise NamingError(msg)
    split_up = split(store, found, given.by)
    if not split_up.keys() - {None}:
        msg = (
            f"no row of the run has {given.by}: name what is in their metadata or "
            "input, or tags, test or file"
        )
        raise NamingError(msg)
    if given.json:
        head = _head(store, found, measure(store, found))
        told = [parts.as_plain(value, each) for value, each in split_up.items()]
        print(as_json({"experiment": head, "by": given.by, "parts": told}))
        return
    for line in _facts(store, found):
        say(line)
    print()
    show(parts.lines(given.by, split_up, screen_width(), given.limit or len(split_up)))


def _refuse_unknown(asked: Iterable[Condition], known: list[str]) -> None:
    """Name the scores that there are, where one is asked for that no row has.

    Raises:
        NamingError: there is such a one.
    """
    for each in asked:
        if each.name not in known:
            there = ", ".join(known) or "none"
            msg = f"no row of the run has a score {each.name}; there is {there}"
            raise NamingError(msg)


def _facts(store: Store, each: StoredExperiment) -> Iterator[str]:
    counts = reading.row_counts(store, each.number)
    yield _labelled("experiment", f"{each.shown_name} in {each.project}")
    yield _labelled("id", each.id)
    yield _labelled("when", _when(each))
    if each.repo_info:
        dirty = ", changed since" if each.dirty else ""
        branch = f" on {each.branch}" if each.branch else ""
        yield _labelled("commit", f"{str(each.commit)[:12]}{branch}{dirty}")
    if each.tests:
        yield _labelled("tests", describing.tests_text(each.tests))
    yield _labelled("rows", describing.rows_text(counts))
    if each.upload_error and counts.pending:
        yield _labelled("upload", each.upload_error)
    if each.url:
        yield _labelled("page", page_of(each.url))


def _when(each: StoredExperiment) -> str:
    if each.finished_at is None:
        return f"{moment(each.created_at)}, unfinished"
    seconds = each.finished_at - each.created_at
    # Unknown of a run that others made, or where a clock was set back meanwhile.
    took = f", took {seconds:,.0f} s" if seconds > 0 else ""
    return f"{moment(each.created_at)}{took}"


def _scores(scores: list[ScoreSummary]) -> Iterator[str]:
    columns = (Column("score", least=10), Column("mean"), Column("rows", right=True))
    rows = ([each.name, f"{each.mean:.3f}", f"{each.count:,}"] for each in scores)
    for line in table(columns, rows, screen_width()):
        yield f"  {line}"


def _metrics(measures: RunMeasures) -> Iterator[Line]:
    if told := means(measures.metrics):
        yield Line(_labelled("metrics", told), hang=_LABEL)
    if told := totals(measures.totals):
        yield Line(_labelled("totals", told), hang=_LABEL)


def _row_table(rows: Iterator[SeenRow], scores: list[ScoreSummary]) -> Iterator[str]:
    width = screen_width()
    names = [each.name for each in scores[: _shown(width)]]
    columns = (
        Column("outcome"),
        *(Column(name, least=5, right=True) for name in names),
        Column("test", least=_TEST, middle=True),
    )
    cells = (
        [each.outcome, *(_number(each.scores.get(name)) for name in names), each.test]
        for each in rows
    )
    yield from table(columns, cells, width)
    if left := [name_of(each.name) for each in scores[len(names) :]]:
        told = f"not shown: {', '.join(left)}; --output and --json have all"
        yield from (each.text for each in fit(Line(told), width or _WIDE))


def _shown(width: int | None) -> int:
    """How many scores have room beside the test, which is there to be copied."""
    if width is None:
        return _SCORES
    room = (width - _OUTCOME - _TEST) // _SCORE
    return max(1, min(room, _SCORES))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _outputs(rows: Iterator[SeenRow], _: list[ScoreSummary]) -> Iterator[str]:
    """Each row with what was asked and answered, as many lines as it takes."""
    width = screen_width()
    for each in rows:
        scores = "  ".join(f"{name} {_number(v)}" for name, v in each.scores.items())
        yield plain(f"{each.outcome}  {each.test}  {scores}")
        event: dict[str, Any] = json.loads(each.event)
        traced = _trace(event)
        # What the plugin itself knows of the test is not what the test said.
        told = {k: v for k, v in (event.get("metadata") or {}).items() if k != "pytest"}
        event["metadata"] = told or None
        for name in _FIELDS:
            if event.get(name) is not None:
                yield from _field(name, event[name], width)
        if traced:
            yield from _field("spans", traced, width)


def _trace(event: Mapping[str, Any]) -> str:
    """Each step with its time, below what it is part of."""
    return "\n".join("  " * depth + step(each) for depth, each in spans.nested(event))


def _field(name: str, value: object, width: int | None) -> Iterator[str]:
    lines = as_line(value).splitlines() or [""]
    shown = [each for line in lines[:_LINES] for each in _broken(line, width)]
    if len(lines) > _LINES:
        shown = [*shown[:_LINES], f"… {len(lines) - _LINES:,} more lines"]
    elif len(shown) > _LINES:
        shown = [*shown[:_LINES], "…"]
    for place, line in enumerate(shown):
        yield f"  {padded(name if not place else '', _NAMES - 2)}{line}".rstrip()


def _broken(line: str, width: int | None) -> Iterator[str]:
    """A line as it is, or in as many as it takes to be read on the screen."""
    told = plain(line)
    if width is None:
        yield told
        return
    room = max(1, width - _NAMES)
    for part in fit(Line(fitted(told, room * _LINES), hang=0), room):
        # A word of more than a line is cut.
        yield fitted(part.text, room)


def _labelled(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}"


def _head(
    store: Store, each: StoredExperiment, measures: RunMeasures
) -> dict[str, Any]:
    return {
        **describing.as_plain(store, each),
        "metrics": machine.plain_estimates(measures.metrics),
        "totals": dict(measures.totals),
    }


def _print_json(
    head: Mapping[str, Any], rows: Iterator[SeenRow], *, output: bool
) -> None:
    """Print one document, row by row: there may be more than memory holds."""
    print(f'{{"experiment": {as_json(head)},\n"rows": [', end="")
    for place, row in enumerate(rows):
        told = {
            "id": row.id,
            "test": row.nodeid,
            "trial_nodeid": row.trial_nodeid,
            "row": row.part,
            "outcome": row.outcome,
            "scores": row.scores,
            "sent": row.sent,
            "refused": row.refused,
        }
        if output:
            told["event"] = json.loads(row.event)
        print("," if place else "", json.dumps(told), sep="\n", end="")
    print("\n]}")
