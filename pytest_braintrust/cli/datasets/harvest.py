"""`dataset from`: the rows of a run into a dataset."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pytest_braintrust.cli import describing
from pytest_braintrust.cli.common import (
    EXPERIMENT,
    Commands,
    add_command,
    add_connection_options,
    add_project_option,
    opened_store,
    required_connection,
)
from pytest_braintrust.cli.datasets.naming import (
    a_dataset,
    file_name,
    project_of,
)
from pytest_braintrust.cli.output import as_json, say, warn
from pytest_braintrust.datasets import harvest, writing
from pytest_braintrust.datasets.conditions import Condition
from pytest_braintrust.datasets.harvest import Harvest
from pytest_braintrust.datasets.wanted import Wanted
from pytest_braintrust.errors import DatasetError, SettingsError
from pytest_braintrust.naming import resolve
from pytest_braintrust.settings import Connection
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.words import a_number

_EXAMPLES = """\
  pytest-braintrust dataset from latest --where 'score<0.5'
  pytest-braintrust dataset from latest --where "outcome = 'failed'" -o failed.csv
  pytest-braintrust dataset from main --where 'exact < 1 and tags includes "geo"' \\
      --to geo/hard-capitals
"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "from",
        run,
        text="Make a dataset of the rows of a run, such as those that went badly",
        more="Of a run in the store; `pytest-braintrust pull` brings others there.",
        examples=_EXAMPLES,
    )
    parser.add_argument("experiment", metavar="EXPERIMENT", help=EXPERIMENT)
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help="only rows of which that is true: `score` is the lowest of a row's "
        "scores, and there are each score by its name, outcome, test, input, output, "
        "expected, error, metadata.NAME, metrics.NAME and tags",
    )
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="a .jsonl, .json or .csv file (default: the run's name with .jsonl)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="write over a file of the run's name, too",
    )
    target.add_argument(
        "--to",
        type=a_dataset,
        metavar="NAME",
        help="a dataset on Braintrust; rows are added to it",
    )
    add_project_option(parser)
    add_connection_options(parser)


def run(given: argparse.Namespace) -> int:
    """Make it."""
    if given.output is not None:
        writing.check_name(given.output)
    connection = required_connection(given) if given.to is not None else None
    with opened_store(given) as store:
        found = resolve(store, given.experiment, project=given.project)
        names = reading.score_names(store, found.number)
        wanted = _condition(given.where, names) if given.where else _all
        path = _path(given, found)
        harvested = Harvest(wanted, found.remote_id)
        rows = harvested.rows(_events(store, found))
        first = next(rows, None)
        if first is None:
            warn(f"{describing.called(found)} has no such row; nothing was made")
            return 1
        rows = chain([first], rows)
        if connection is None:
            told = {"rows": writing.write(path, rows), "file": str(path)}
        else:
            told = _pushed(given, connection, rows)
    _tell(given, told, harvested)
    return 0


def _condition(text: str, scores: list[str]) -> Condition:
    """What `harvest.condition` reads; what it cannot is wrong usage."""
    try:
        return harvest.condition(text, scores)
    except DatasetError as error:
        raise SettingsError(str(error)) from None


def _path(given: argparse.Namespace, found: StoredExperiment) -> Path:
    """The file to write, which nobody loses who did not name it.

    Raises:
        DatasetError: there is one of the run's name.
    """
    if given.output is not None:
        named: Path = given.output
        return named
    path = Path(file_name(found.shown_name))
    if given.to is None and path.exists() and not given.force:
        msg = f"{path} is there already: name another with -o, or say --force"
        raise DatasetError(msg)
    return path


def _pushed(
    given: argparse.Namespace, connection: Connection, rows: Iterator[dict[str, Any]]
) -> dict[str, Any]:
    from pytest_braintrust.api import BraintrustClient  # noqa: PLC0415 - takes long
    from pytest_braintrust.datasets.pushing import push  # noqa: PLC0415 - takes long

    with BraintrustClient.for_connection(connection) as client:
        pushed = push(client, Wanted(given.to, project_of(given)), rows)
    return {
        "rows": pushed.added + pushed.changed + pushed.same,
        "added": pushed.added,
        "dataset": pushed.name,
        "id": pushed.dataset_id,
    }


def _tell(given: argparse.Namespace, told: dict[str, Any], harvested: Harvest) -> None:
    if given.json:
        print(as_json({**told, "repeated": harvested.repeated}))
        return
    place = told.get("file") or told["dataset"]
    added = f", {told['added']:,} of them new" if "added" in told else ""
    say(f"{place}: {a_number(told['rows'], 'row')}{added}")
    if harvested.repeated:
        again = a_number(harvested.repeated, "row")
        are = "is" if harvested.repeated == 1 else "are"
        say(f"{again} more had the input of one of these, and {are} not there twice")
    say(f'use it with @pytest.mark.braintrust(dataset="{place}")')


def _all(_: Mapping[str, Any]) -> bool:
    return True


def _events(store: Store, found: StoredExperiment) -> Iterator[dict[str, Any]]:
    return (json.loads(each) for each in reading.ordered_events(store, found.number))
