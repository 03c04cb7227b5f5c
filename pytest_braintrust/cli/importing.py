"""`import`: runs from files into the store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_braintrust.cli.common import STREAM, Commands, add_command, opened_store
from pytest_braintrust.cli.describing import called
from pytest_braintrust.cli.output import Counter, as_json, say, warn
from pytest_braintrust.errors import ExchangeError
from pytest_braintrust.exchange import Imported, import_file, import_rows
from pytest_braintrust.store.connection import Store
from pytest_braintrust.words import a_number

_EXAMPLES = """\
  pytest-braintrust import rows.jsonl
  pytest-braintrust import shard-*.jsonl        several shards make one run
  pytest-braintrust import - < rows.jsonl       as from any pipe
"""

_FILES = "the files; - is what comes by standard input"


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "import",
        run,
        text="Bring runs that `export` wrote into the store",
        more="All of a file or nothing of it. A second time changes nothing; files of "
        "one run, from several machines, make one run.",
        examples=_EXAMPLES,
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help=_FILES)


def run(given: argparse.Namespace) -> int:
    """Import the files; those that can be, where others cannot."""
    told = []
    failed = False
    with opened_store(given, create=True) as store:
        for path in given.files:
            try:
                imported = _imported(store, path)
            except ExchangeError as error:
                warn(str(error))
                failed = True
                continue
            each = imported.experiment
            told.append({"id": each.id, "rows": imported.rows, "file": str(path)})
            if not given.json:
                say(f"{called(each)}: {a_number(imported.rows, 'row')} from {path}")
    if given.json:
        print(as_json(told))
    return 1 if failed else 0


def _imported(store: Store, path: Path) -> Imported:
    counter = Counter(f"reading {path.name}:")
    try:
        if path == STREAM:
            given = sys.stdin.buffer
            return import_rows(store, given, "standard input", on_progress=counter.add)
        return import_file(store, path, on_progress=counter.add)
    finally:
        counter.clear()
