"""A page from its first character to its last, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pytest_braintrust.reports.page import frame, summary
from pytest_braintrust.reports.page.listing import Room, listing
from pytest_braintrust.reports.page.markup import Safe
from pytest_braintrust.reports.run import RunReport
from pytest_braintrust.store.connection import Store


def opened(path: Path) -> TextIO:
    """A file for a page, whatever texts of others have in them.

    Raises:
        OSError: it cannot be written.
    """
    return path.open("w", encoding="utf-8", errors="replace", newline="\n")


def write(report: RunReport, store: Store, file: TextIO) -> None:
    """Write the page.

    Args:
        report: What the run came to.
        store: Where its rows are.
        file: Where it goes, as `opened` gives it.

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
