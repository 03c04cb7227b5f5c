"""`prune`: take old runs out of the store."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence

from pytest_braintrust import pruning
from pytest_braintrust.cli.common import (
    Commands,
    a_count,
    add_command,
    add_project_option,
    agreed,
    moment,
    opened_store,
)
from pytest_braintrust.cli.describing import called
from pytest_braintrust.cli.output import Column, as_json, say, screen_width, table
from pytest_braintrust.pruning import Old
from pytest_braintrust.store.connection import Store
from pytest_braintrust.words import a_number

_EXAMPLES = """\
  pytest-braintrust prune --keep 50             all but the last 50 of each project
  pytest-braintrust prune --older-than 30d --yes
  pytest-braintrust prune --keep 0 --project scratch --force
"""
_UNITS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_COLUMNS = (
    Column("EXPERIMENT", least=14, middle=True),
    Column("PROJECT", least=6),
    Column("WHEN"),
    Column("ROWS", right=True),
)


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "prune",
        run,
        text="Remove old runs from the store",
        more="What is on Braintrust stays there. Runs with rows that Braintrust does "
        "not have stay here, and so do runs that go on.",
        examples=_EXAMPLES,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--keep", type=a_count, metavar="N", help="keep the last N of each project"
    )
    which.add_argument(
        "--older-than",
        type=_an_age,
        metavar="AGE",
        help="remove runs that began longer ago, as 30d (also m, h and w)",
    )
    add_project_option(parser, "only runs of this project")
    parser.add_argument(
        "--force", action="store_true", help="also rows that Braintrust does not have"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be removed, and end"
    )


def _an_age(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if found is None:
        msg = f"{text!r} is not an age, as 30d, 12h or 2w"
        raise argparse.ArgumentTypeError(msg)
    return int(found[1]) * _UNITS[found[2]]


def run(given: argparse.Namespace) -> int:
    """Remove what is old; 1 where somebody said no."""
    now = time.time()
    with opened_store(given) as store:
        old = _find_old(given, store, now)
        if not given.json:
            _show(old)
        going = [each for each in old if each.stays is None]
        question = f"Remove them from {store.directory}?"
        done = not given.dry_run and (not going or agreed(given, question))
        freed = 0
        if done and going:
            # Again, because somebody may have thought about it for an hour.
            meant = {each.experiment.id for each in going}
            old = _find_old(given, store, time.time())
            going = [e for e in old if e.stays is None and e.experiment.id in meant]
            freed = pruning.remove(store, going)
        if done:
            pruning.clear(store, now=now)
    if given.json:
        print(as_json(_plain(old, freed, done=done)))
    elif done and going:
        say(f"removed {a_number(len(going), 'run')}; {_size(freed)} freed")
    return 0 if done or given.dry_run else 1


def _find_old(given: argparse.Namespace, store: Store, now: float) -> list[Old]:
    return pruning.find_old(
        store,
        now=now,
        keep=given.keep,
        before=None if given.older_than is None else now - given.older_than,
        project=given.project,
        force=given.force,
    )


def _show(old: Sequence[Old]) -> None:
    going = [each for each in old if each.stays is None]
    rows = (
        [
            each.experiment.shown_name,
            each.experiment.project,
            moment(each.experiment.created_at),
            f"{each.rows:,}",
        ]
        for each in going
    )
    for line in table(_COLUMNS, rows, screen_width()):
        print(line)
    for each in old:
        if each.stays is not None:
            say(f"{called(each.experiment)} stays: {each.stays}")
    if any(each.stays and "Braintrust" in each.stays for each in old):
        say("push them first, or remove them too with --force")
    if not going:
        say("nothing to remove")


def _plain(old: Sequence[Old], freed: int, *, done: bool) -> dict[str, object]:
    return {
        "removed": [_one(each) for each in old if each.stays is None and done],
        "to_remove": [_one(each) for each in old if each.stays is None and not done],
        "kept": [_one(each) for each in old if each.stays is not None],
        "bytes_freed": freed,
    }


def _one(each: Old) -> dict[str, object]:
    return {
        "id": each.experiment.id,
        "project": each.experiment.project,
        "name": each.experiment.shown_name,
        "rows": each.rows,
        **({"why": each.stays} if each.stays is not None else {}),
    }


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
