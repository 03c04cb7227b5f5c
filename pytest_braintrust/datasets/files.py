"""Datasets in files: JSON lines, a JSON array, or a table of comma-separated values.

Each reader answers rows with the line that they begin on, so that whoever finds
something wrong with a row can say where it is.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

from pytest_braintrust.datasets import rows
from pytest_braintrust.errors import DatasetError
from pytest_braintrust.jsonable import plain_text

#: A row, and where it is for a person: `cases.jsonl:3`.
Placed: TypeAlias = tuple[str, dict[str, Any]]

#: In a table, the start of a column's name that says what it is a part of.
_PARTS = ("input", "expected", "metadata")
_MAX_CELL = 16 * 1024 * 1024
#: Spreadsheets, and editors on Windows, begin a file with this mark.
_MARK = "\ufeff"


def is_file(name: str) -> bool:
    """Whether a dataset's name is that of a file."""
    return _suffix(name) in _READERS


def read(path: Path, shown: str) -> Iterator[Placed]:
    """The rows of a file, each checked, in the order of the file.

    Args:
        path: The file.
        shown: Its name in messages.

    Raises:
        DatasetError: there is no such file, or a line is not as it should be; the
            text begins with the file's name and the line.
    """
    with _explained(path, shown):
        for line, row in _READERS[_suffix(path.name)](path, shown):
            where = f"{shown}:{line}"
            checked = rows.check(row, where)
            rows.check_names(list(checked), where)
            yield where, checked


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


@contextmanager
def _explained(path: Path, shown: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        msg = f"{shown}: there is no such file in {path.parent}"
        raise DatasetError(msg) from None
    except OSError as error:
        msg = f"{shown}: it cannot be read: {error.strerror or error}"
        raise DatasetError(msg) from None


def _decoded(data: bytes, shown: str, line: int) -> str:
    """Text that begins on that line."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line += error.object[: error.start].count(b"\n")
        msg = f"{shown}:{line}: it is not text in UTF-8; save it as that"
        raise DatasetError(msg) from None


def _text(path: Path, shown: str) -> str:
    return _decoded(path.read_bytes(), shown, 1).removeprefix(_MARK)


def _json_lines(path: Path, shown: str) -> Iterator[tuple[int, Any]]:
    # Line by line: this form is the one that large files have.
    with path.open("rb") as file:
        for number, data in enumerate(file, 1):
            line = _decoded(data, shown, number)
            if number == 1:
                line = line.removeprefix(_MARK)
            if line.strip():
                try:
                    yield number, rows.decoded(line)
                except ValueError as error:
                    raise _not_json(shown, number, error) from None


def _json_array(path: Path, shown: str) -> Iterator[tuple[int, Any]]:
    """The items of an array, decoded one by one for the sake of their lines."""
    text = _text(path, shown)
    at = _past_space(text, 0)
    if text[at : at + 1] != "[":
        msg = f"{shown}:1: the file is not a JSON array of rows"
        raise DatasetError(msg)
    line, counted = 1, 0
    at = _past_space(text, at + 1)
    while text[at : at + 1] != "]":
        line, counted = line + text.count("\n", counted, at), at
        try:
            item, at = rows.DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            begin = getattr(error, "lineno", line)
            raise _not_json(shown, begin, error) from None
        yield line, item
        at = _past_space(text, at)
        if text[at : at + 1] == ",":
            at = _past_space(text, at + 1)
        elif text[at : at + 1] != "]":
            number = text.count("\n", 0, at) + 1
            msg = f"{shown}:{number}: a comma or the array's end is missing"
            raise DatasetError(msg)
    if text[at + 1 :].strip():
        msg = f"{shown}: something follows the array's end"
        raise DatasetError(msg)


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _not_json(shown: str, line: int, error: BaseException) -> DatasetError:
    told = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    if isinstance(error, RecursionError):
        told = "nested too deep"
    return DatasetError(f"{shown}:{line}: it is not JSON: {told}")


def _table(path: Path, shown: str) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_CELL))
    text = StringIO(_text(path, shown), newline="")
    reader = csv.reader(text, strict=True)
    names: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            begin, line = line, reader.line_num + 1
            if not any(cells):
                continue
            if names is None:
                names = _checked_header(cells, f"{shown}:{begin}")
                continue
            if len(cells) != len(names):
                msg = (
                    f"{shown}:{begin}: the line has {len(cells)} cells, "
                    f"and the first line names {len(names)}"
                )
                raise DatasetError(msg)
            yield begin, _row(names, cells, f"{shown}:{begin}")
    except csv.Error as error:
        msg = f"{shown}:{reader.line_num}: it is not CSV: {error}"
        raise DatasetError(msg) from None


def _checked_header(cells: list[str], where: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        part, dot, rest = name.partition(".")
        if names.count(name) > 1 or (dot and part in names):
            msg = f"{where}: the column {plain_text(name)!r} is there twice"
            raise DatasetError(msg)
        if part == "metadata" and not dot:
            continue
        if dot and part in _PARTS and rest:
            continue
        rows.check_names([name], where)
    if not any(name == "input" or name.startswith("input.") for name in names):
        msg = f"{where}: no column is called 'input' or 'input.NAME'"
        raise DatasetError(msg)
    return names


def _row(names: list[str], cells: list[str], where: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        if not cell.strip():
            continue
        part, dot, rest = name.partition(".")
        value = _tags(cell) if name == "tags" else _value(cell)
        if dot:
            row.setdefault(part, {})[rest] = value
        else:
            row[name] = cell.strip() if name == "id" else value
    if not row:
        msg = f"{where}: the row has no input"
        raise DatasetError(msg)
    return row


def _value(cell: str) -> Any:
    """The text of a cell; an object or array in JSON, as a pulled file has them."""
    if cell[:1] in {"{", "["}:
        try:
            return rows.decoded(cell)
        except ValueError:
            return cell
    return cell


def _tags(cell: str) -> Any:
    value = _value(cell)
    if isinstance(value, list):
        return value
    return [tag.strip() for tag in cell.split(",") if tag.strip()]


_READERS: dict[str, Callable[[Path, str], Iterator[tuple[int, Any]]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_array,
    ".csv": _table,
}
