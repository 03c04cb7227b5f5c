"""`list`: the runs in the store, the newest first."""

from __future__ import annotations

import argparse

from pytest_braintrust.cli import describing
from pytest_braintrust.cli.choosing import (
    add_choosing_options,
    chosen,
    none_of_them,
    say_older,
    within_limit,
)
from pytest_braintrust.cli.common import Commands, add_command, day, opened_store
from pytest_braintrust.cli.output import Column, as_json, say, screen_width, table
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

_EXAMPLES = """\
  pytest-braintrust list                        the last 20 runs
  pytest-braintrust list --branch main          those of a branch
  pytest-braintrust list --limit 0 --json       all of them, for a program
"""

#: Scores that are shown of a run; `show`, `history` and --json have all.
_SCORES = 4
_COLUMNS = (
    Column("EXPERIMENT", least=24, middle=True),
    Column("PROJECT", least=6),
    # Most names have both.
    Column("BRANCH", least=6, dispensable=True),
    Column("COMMIT", dispensable=True),
    Column("WHEN"),
    Column("PASSED", right=True),
    Column("SCORES", least=18, parts=_SCORES),
    Column("SENT", right=True),
)


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "list",
        run,
        text="List the runs in the store, the newest first",
        more="PASSED is passed tests of collected ones, SENT rows that Braintrust has "
        "of all.",
        examples=_EXAMPLES,
    )
    add_choosing_options(parser)


def run(given: argparse.Namespace) -> int:
    """Print the runs."""
    with opened_store(given) as store:
        found = chosen(store, given)
        shown = within_limit(found, given)
        if given.json:
            print(as_json([describing.as_plain(store, each) for each in shown]))
            return 0
        if not found:
            say(none_of_them(given))
        for line in table(
            _COLUMNS, (_row(store, each) for each in shown), screen_width()
        ):
            print(line)
        say_older(len(found) - len(shown))
    return 0


def _row(store: Store, each: StoredExperiment) -> list[str]:
    counts = reading.row_counts(store, each.number)
    return [
        each.shown_name,
        each.project,
        each.branch or "-",
        (each.commit or "-")[:7],
        day(each.created_at),
        describing.passed_text(each),
        describing.scores_text(reading.score_summaries(store, each.number)),
        f"{counts.sent:,}/{counts.recorded:,}",
    ]
