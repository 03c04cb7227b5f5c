"""`report`: a stored run as a page for a browser."""

from __future__ import annotations

import argparse
import sys
from io import TextIOWrapper
from pathlib import Path

from pytest_braintrust import judging
from pytest_braintrust.cli.choosing import compared_with
from pytest_braintrust.cli.common import (
    STREAM,
    Commands,
    add_baseline_option,
    add_command,
    add_metrics_option,
    add_run_arguments,
    opened_store,
)
from pytest_braintrust.cli.describing import called
from pytest_braintrust.cli.output import as_json, say
from pytest_braintrust.errors import ExchangeError, SettingsError
from pytest_braintrust.gates import NONE
from pytest_braintrust.judging import Asked
from pytest_braintrust.naming import resolve
from pytest_braintrust.reports import page
from pytest_braintrust.reports.run import RunReport, stored_report
from pytest_braintrust.store.connection import Store
from pytest_braintrust.words import a_number

_EXAMPLES = """\
  pytest-braintrust report -o run.html
  pytest-braintrust report nightly --baseline main -o nightly.html
"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "report",
        run,
        text="Write a run as a page for a browser",
        more="One file that asks for no network, as --braintrust-html writes it.",
        examples=_EXAMPLES,
    )
    add_run_arguments(parser)
    add_baseline_option(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        required=True,
        help="the file; for - the page is printed",
    )
    add_metrics_option(parser)


def run(given: argparse.Namespace) -> int:
    """Write the page."""
    printed = given.output == STREAM
    if printed and given.json:
        msg = "--json tells of a file that was written: name it with -o"
        raise SettingsError(msg)
    with opened_store(given) as store:
        found = resolve(store, given.experiment, project=given.project)
        base, why = compared_with(store, found, given)
        how = Asked(given.baseline, NONE, frozenset(given.higher_is_better))
        # The numbers are those of the rows, also of a run that goes on.
        with store.snapshot():
            judged = judging.judgement(store, found, base, how, why_none=why)
            report = stored_report(store, found, judged)
            if printed:
                _print(report, store)
                return 0
            _write(report, store, given.output)
    told = {"id": found.id, "rows": report.recorded, "file": str(given.output)}
    if given.json:
        print(as_json(told))
    else:
        rows = a_number(report.recorded, "row")
        say(f"{called(found)}: {rows} written to {given.output}")
    return 0


def _write(report: RunReport, store: Store, path: Path) -> None:
    try:
        page.write_file(report, store, path)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise ExchangeError(msg) from error


def _print(report: RunReport, store: Store) -> None:
    out = TextIOWrapper(
        sys.stdout.buffer, encoding=page.ENCODING, errors=page.ERRORS, newline="\n"
    )
    try:
        page.write(report, store, out)
        out.flush()
    finally:
        out.detach()
