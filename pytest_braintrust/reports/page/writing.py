"""A page from its first character to its last, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pytest_braintrust import paths
from pytest_braintrust.reports.page import frame, summary
from pytest_braintrust.reports.page.listing import Room, listing
from pytest_braintrust.reports.page.markup import Safe
from pytest_braintrust.reports.run import RunReport
from pytest_braintrust.store.connection import Store

#: Half of a character, as texts of others may have, is no error.
ENCODING, ERRORS = "utf-8", "replace"


def write_file(report: RunReport, store: Store, path: Path) -> None:
    """Write the page to a file, which is whole or as it was before.

    Raises:
        OSError: it could not be written.
        StoreError: the store could not be read.
    """
    with (
        paths.replacing(path) as there,
        there.open("w", encoding=ENCODING, errors=ERRORS, newline="\n") as file,
    ):
        write(report, store, file)


def write(report: RunReport, store: Store, file: TextIO) -> None:
    """Write the page.

    Args:
        report: What the run came to.
        store: Where its rows are.
        file: Where it goes, with our encoding and way with errors.

    Raises:
        OSError: the file could not be written.
        StoreError: the store could not be read.
    """
    file.writelines(_pieces(report, store))


def _pieces(report: RunReport, store: Store) -> Iterator[Safe]:
    yield frame.start(summary.title(report))
    room = Room()
    for number, each in enumerate(report.experiments, 1):
        yield Safe("<article>\n")
        yield from summary.of_experiment(each)
        if number == 1:
            yield from summary.of_run(report)
        if each.judgement is not None:
            yield from listing(each.judgement, store, room, number)
        yield Safe("</article>\n")
    if not report.experiments:
        yield from summary.of_run(report)
    yield frame.END
