"""`export`: a run as a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_braintrust.cli.common import (
    EXPERIMENT,
    STREAM,
    Commands,
    add_command,
    add_project_option,
    opened_store,
)
from pytest_braintrust.cli.describing import called
from pytest_braintrust.cli.output import as_json, say
from pytest_braintrust.errors import SettingsError
from pytest_braintrust.exchange import export_experiment, export_file
from pytest_braintrust.naming import resolve
from pytest_braintrust.words import a_number

_EXAMPLES = """\
  pytest-braintrust export latest -o rows.jsonl
  pytest-braintrust export main | gzip > main.jsonl.gz
"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "export",
        run,
        text="Write a run to a file",
        more="The first line says what the run is, each further line is one row as "
        "Braintrust takes it. The same run always makes the same file.",
        examples=_EXAMPLES,
    )
    parser.add_argument("experiment", metavar="EXPERIMENT", help=EXPERIMENT)
    add_project_option(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the file; by default, or for -, the rows are printed",
    )


def run(given: argparse.Namespace) -> int:
    """Write the file."""
    printed = given.output in {None, STREAM}
    if printed and given.json:
        msg = "--json tells of a file that was written: name it with -o"
        raise SettingsError(msg)
    with opened_store(given) as store:
        found = resolve(store, given.experiment, project=given.project)
        if printed:
            export_experiment(store, found, sys.stdout.buffer)
            return 0
        count = export_file(store, found, given.output)
    if given.json:
        told = {"id": found.id, "rows": count, "file": str(given.output)}
        print(as_json(told))
    else:
        say(f"{called(found)}: {a_number(count, 'row')} written to {given.output}")
    return 0
