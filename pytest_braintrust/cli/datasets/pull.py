"""`dataset pull`: a dataset of Braintrust into a file."""

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
    a_count_of_rows,
    add_name_argument,
    file_name,
    project_of,
    store_of,
)
from pytest_braintrust.cli.output import Counter, as_json, say
from pytest_braintrust.datasets import rows, writing
from pytest_braintrust.datasets.wanted import Wanted
from pytest_braintrust.settings import DEFAULT_PAGE_SIZE
from pytest_braintrust.words import a_number

_EXAMPLES = """\
  pytest-braintrust dataset pull geo/capitals                  into capitals.jsonl
  pytest-braintrust dataset pull geo/capitals -o cases.csv
  pytest-braintrust dataset pull capitals --project geo --version 1000192656880881099
"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "pull",
        run,
        text="Bring a dataset of Braintrust into a file",
        more="The file can be a test's dataset, and be pushed again. What was "
        "downloaded before and did not change is not downloaded again.",
        examples=_EXAMPLES,
    )
    add_name_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="a .jsonl, .json or .csv file (default: the dataset's name with .jsonl)",
    )
    add_project_option(parser, "the project, where the name leaves it out")
    parser.add_argument("--version", help="as of this version (default: as it is now)")
    parser.add_argument(
        "--limit", type=a_count_of_rows, metavar="N", help="how many rows at most"
    )
    parser.add_argument("--filter", help="only rows of which that is true, in BTQL")
    parser.add_argument(
        "--page-size",
        type=a_count_of_rows,
        default=DEFAULT_PAGE_SIZE,
        metavar="ROWS",
        help="rows in a page; fewer where they are megabytes (default %(default)s)",
    )
    add_connection_options(parser)


def run(given: argparse.Namespace) -> int:
    """Pull it."""
    from pytest_braintrust.api import BraintrustClient  # noqa: PLC0415 - takes long
    from pytest_braintrust.datasets import download  # noqa: PLC0415 - takes long
    from pytest_braintrust.datasets.cache import Cache  # noqa: PLC0415 - with it

    if given.output is not None:
        writing.check_name(given.output)
    connection = required_connection(given)
    wanted = Wanted(
        given.name,
        project_of(given),
        version=given.version,
        limit=given.limit,
        filter=given.filter,
    )
    counter = Counter("pulling:")
    with BraintrustClient.for_connection(connection) as client:
        try:
            entry = download.obtain(
                client,
                Cache(store_of(given)),
                wanted,
                page_size=given.page_size,
                progress=counter.at,
            )
        finally:
            counter.clear()
    path = given.output or Path(file_name(entry.kept.name))
    count = writing.write(path, _read(entry.path))
    if given.json:
        told = {"file": str(path), "rows": count, "id": entry.kept.dataset_id}
        print(as_json({**told, "version": entry.kept.version}))
    else:
        name = f"{entry.kept.project}/{entry.kept.name}"
        version = f"as of version {entry.kept.version}"
        say(f"{name}: {a_number(count, 'row')} written to {path}, {version}")
    return 0


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            yield rows.decoded(line)
