"""`dataset push`: a file into a dataset on Braintrust."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_braintrust.cli.common import (
    Commands,
    add_command,
    add_connection_options,
    add_project_option,
    required_connection,
)
from pytest_braintrust.cli.datasets.naming import (
    add_name_argument,
    project_of,
)
from pytest_braintrust.cli.output import Counter, as_json, say
from pytest_braintrust.datasets import table, writing
from pytest_braintrust.datasets.wanted import Wanted
from pytest_braintrust.words import a_number

_EXAMPLES = """\
  pytest-braintrust dataset push cases.jsonl geo/capitals
  pytest-braintrust dataset push cases.csv capitals --project geo --prune
"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "push",
        run,
        text="Bring a file into a dataset on Braintrust",
        more="The dataset is made if it is not there. Rows are known by their id, or "
        "by their input where they have none: pushing again changes nothing.",
        examples=_EXAMPLES,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help=".jsonl, .json, .csv")
    add_name_argument(parser)
    add_project_option(parser, "the project, where the name leaves it out")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="remove the rows of the dataset that the file does not have",
    )
    add_connection_options(parser)


def run(given: argparse.Namespace) -> int:
    """Push it."""
    from pytest_braintrust.api import BraintrustClient  # noqa: PLC0415 - takes long
    from pytest_braintrust.datasets.pushing import push  # noqa: PLC0415 - takes long

    writing.check_name(given.file)
    connection = required_connection(given)
    # Twice: a file that is wrong in its last line changes nothing.
    for _ in _rows(given.file):
        pass
    counter = Counter("pushing:")
    with BraintrustClient.for_connection(connection) as client:
        try:
            pushed = push(
                client,
                Wanted(given.name, project_of(given)),
                _rows(given.file),
                prune=given.prune,
                progress=counter.add,
            )
        finally:
            counter.clear()
    if given.json:
        print(as_json(pushed))
    else:
        removed = f", {pushed.removed:,} removed" if given.prune else ""
        say(
            f"{pushed.name}: {a_number(pushed.added, 'row')} added, "
            f"{pushed.changed:,} changed, {pushed.same:,} the same{removed}"
        )
    return 0


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    return ({**row.fields, "id": row.id} for row in table.identified(file, str(file)))
