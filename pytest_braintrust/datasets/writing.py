"""Rows into a file that can be a dataset again: JSON lines, a JSON array, or a table.

The other way of `files`. A row goes to the file as it comes, and the file has its name
when it is whole.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from pytest_braintrust import paths
from pytest_braintrust.datasets.files import is_file
from pytest_braintrust.datasets.rows import FIELDS
from pytest_braintrust.errors import DatasetError

#: What is written to when no file is named.
DEFAULT_SUFFIX = ".jsonl"


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row that say something."""
    found = {name: row.get(name) for name in FIELDS}
    return {name: value for name, value in found.items() if value not in (None, {}, [])}


def write(path: Path, found: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to a file, in the form that its name ends with; answers how many.

    Raises:
        DatasetError: it has another ending, or the disk does not take it.
    """
    check_name(path)
    write_rows = _WRITERS[path.suffix.lower()]
    try:
        with _renamed_when_whole(path) as file:
            return write_rows(file, map(plain, found))
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise DatasetError(msg) from None


def check_name(path: Path) -> None:
    """Refuse a file that could not be read as a dataset.

    Raises:
        DatasetError: its name does not say how.
    """
    if not is_file(path.name):
        msg = f"{path}: a dataset's file ends with .jsonl, .json or .csv"
        raise DatasetError(msg)


@contextmanager
def _renamed_when_whole(path: Path) -> Iterator[TextIO]:
    with (
        paths.replacing(path) as there,
        there.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file


def _write_lines(file: TextIO, found: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    for count, row in enumerate(found, 1):  # noqa: B007 - it is the result
        file.write(_json(row) + "\n")
    return count


def _write_array(file: TextIO, found: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    file.write("[")
    for count, row in enumerate(found, 1):
        file.write(("," if count > 1 else "") + "\n " + _json(row))
    file.write("\n]\n")
    return count


def _write_table(file: TextIO, found: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    table = csv.writer(file)
    table.writerow(FIELDS)
    for count, row in enumerate(found, 1):  # noqa: B007 - it is the result
        table.writerow([_cell(row.get(name)) for name in FIELDS])
    return count


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    # In characters of its own language; what is no character at all, as an escape.
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


_WRITERS: dict[str, Callable[[TextIO, Iterable[Mapping[str, Any]]], int]] = {
    ".jsonl": _write_lines,
    ".ndjson": _write_lines,
    ".json": _write_array,
    ".csv": _write_table,
}
