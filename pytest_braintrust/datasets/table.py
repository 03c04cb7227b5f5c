"""The rows of a dataset as the cases of a test: what each is called, and its content.

A row is held as its line, or found by its place in a file, and decoded when its test
asks: twenty thousand decoded rows in each worker would be memory for nothing.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from pytest_braintrust.datasets import conditions, files, rows
from pytest_braintrust.datasets.reference import Reference
from pytest_braintrust.datasets.rows import DatasetRow
from pytest_braintrust.errors import DatasetError
from pytest_braintrust.jsonable import dumps, plain_text

#: A text that is longer is no name of a case.
_LONGEST_LABEL = 60


class Lines(Protocol):
    """Where the rows are, as one JSON object each."""

    def line(self, index: int) -> bytes:
        """The row at that place.

        Raises:
            DatasetError: it can no longer be read.
        """


@dataclass(frozen=True, slots=True)
class About:
    """Which dataset it was, for whoever reads the experiment.

    Attributes:
        name: Its name; of a file, its path.
        project: Its project on Braintrust; None for a file.
        id: Its id on Braintrust; None for a file.
        version: Its version on Braintrust; of a file, a hash of its rows.
    """

    name: str
    project: str | None = None
    id: str | None = None
    version: str | None = None

    @property
    def shown(self) -> str:
        """Its whole name."""
        return self.name if self.project is None else f"{self.project}/{self.name}"


@dataclass(frozen=True, slots=True)
class Table:
    """A dataset that was read: one name for each row, and the way to the row."""

    about: About
    labels: list[str]
    lines: Lines

    def row(self, index: int) -> DatasetRow:
        """Decode a row anew: what a test does to the last one changes nothing.

        Raises:
            DatasetError: it can no longer be read.
        """
        line = self.lines.line(index)
        try:
            return DatasetRow.read(rows.decoded(line), self.about.id)
        except (ValueError, KeyError, TypeError):
            msg = f"row {index + 1} of dataset {self.about.shown} was changed meanwhile"
            raise DatasetError(msg) from None


@dataclass(frozen=True, slots=True)
class Held:
    """Rows that are held in memory: a file may be edited while its tests run."""

    held: list[bytes]

    def line(self, index: int) -> bytes:
        """The row at that place."""
        return self.held[index]


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows that are read from a file of ours, which nobody changes."""

    path: Path
    offsets: array[int] = field(repr=False)

    def line(self, index: int) -> bytes:
        """The row at that place."""
        # Opened each time: tests fork, and close descriptors that are not theirs.
        try:
            with self.path.open("rb") as file:
                file.seek(self.offsets[index])
                return file.readline()
        except OSError as error:
            msg = f"{self.path} cannot be read any more: {error.strerror or error}"
            raise DatasetError(msg) from None


def of_file(path: Path, reference: Reference) -> Table:
    """Read a file.

    Raises:
        DatasetError: it, or a row of it, cannot be used; the text names the line.
    """
    shown = reference.name
    wanted = _wanted(reference)
    labels = Labels(reference.id_field)
    held: list[bytes] = []
    for row in identified(path, shown):
        if wanted(row.fields) and len(held) != reference.limit:
            labels.add(row)
            held.append(dumps({**row.fields, "id": row.id}).encode("ascii"))
    if not held:
        _no_rows(shown, reference)
    return Table(About(shown, version=_hash(held)), labels.unique(), Held(held))


def of_lines(path: Path, about: About, reference: Reference) -> Table:
    """Read a file of ours, that has a dataset of Braintrust's.

    Raises:
        DatasetError: a row of it cannot be used; the text names the row.
    """
    labels = Labels(reference.id_field)
    offsets = array("q")
    with path.open("rb") as file:
        offset = 0
        for line in file:
            row = rows.decoded(line)
            where = f"row {plain_text(str(row.get('id')))} of dataset {about.shown}"
            rows.check(row, where)
            labels.add(Identified(row, rows.row_id(row), where))
            offsets.append(offset)
            offset += len(line)
    if not offsets:
        _no_rows(about.shown, reference)
    return Table(about, labels.unique(), Placed(path, offsets))


def _no_rows(name: str, reference: Reference) -> None:
    """Refuse it: a run that measured nothing looks like one that went well."""
    what = "no row that the filter keeps" if reference.filter else "no rows"
    at = f" at version {reference.version}" if reference.version else ""
    msg = f"dataset {name} has {what}{at}"
    raise DatasetError(msg)


def _wanted(reference: Reference) -> conditions.Condition:
    if reference.filter is None:
        return lambda row: True
    if reference.filter.startswith("{"):
        msg = "filter: for a file it is a text, such as \"metadata.level = 'hard'\""
        raise DatasetError(msg)
    return conditions.parse(reference.filter, _field)


def _field(path: tuple[str, ...]) -> conditions.Read | None:
    return conditions.at(path) if path[0] in rows.FIELDS else None


@dataclass(frozen=True, slots=True)
class Identified:
    """A row that was read, its id, and where it is for a person."""

    fields: dict[str, Any]
    id: str
    where: str


def identified(path: Path, shown: str) -> Iterator[Identified]:
    """The rows of a file with an id each; those of one input that have none are numbered.

    Raises:
        DatasetError: as `files.read`, and where two rows give the same id.
    """
    seen: dict[str, str] = {}
    repeated: Counter[str] = Counter()
    for where, row in files.read(path, shown):
        name = rows.row_id(row)
        if row.get("id") is None:
            repeated[name] += 1
            if repeated[name] > 1:
                name = f"{name}-{repeated[name]}"
        if name in seen:
            msg = f"{where}: the id {name!r} is that of {seen[name]} too"
            raise DatasetError(msg)
        seen[name] = where
        yield Identified(row, name, where)


def _hash(lines: Iterable[bytes]) -> str:
    digest = blake2b(digest_size=8)
    for line in lines:
        digest.update(line + b"\n")
    return digest.hexdigest()


class Labels:
    """The names of a test's cases: of the user's choice, unique, the same next time."""

    def __init__(self, id_field: str | None) -> None:
        self._labels: list[str] = []
        self._ids: list[str] = []
        self._named = None if id_field is None else _reader(id_field)
        self._id_field = id_field

    def add(self, row: Identified) -> None:
        """Name the next row.

        Raises:
            DatasetError: it has nothing in the field that names cases.
        """
        if self._named is not None:
            label = _text(self._named(row.fields))
            if label is None:
                where, name = row.where, self._id_field
                msg = f"{where}: id_field {name!r} has no text or number here"
                raise DatasetError(msg)
        elif row.fields.get("id") is None:
            label = _readable(row.fields["input"], row.id)
        else:
            label = row.id
        self._labels.append(label)
        self._ids.append(row.id)

    def unique(self) -> list[str]:
        """The names; rows that would share one have their id in it too."""
        count = Counter(self._labels)
        return [
            label if count[label] == 1 or label == name else f"{label}-{name}"
            for label, name in zip(self._labels, self._ids, strict=True)
        ]


def _reader(id_field: str) -> Callable[[dict[str, Any]], Any]:
    path = tuple(id_field.split("."))
    if path[0] in rows.FIELDS:
        return conditions.at(path)
    places = [conditions.at((place, *path)) for place in ("metadata", "input")]

    def read(row: dict[str, Any]) -> Any:
        return next(_present(place(row) for place in places), None)

    return read


def _present(values: Iterable[Any]) -> Iterator[Any]:
    return (value for value in values if value is not None)


def _text(value: Any) -> str | None:
    """The name that a value is: that of a text or number."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)) and value != "":
        return plain_text(str(value))
    return None


def _readable(value: Any, name: str) -> str:
    """A name made of an input, where a person would know it by that."""
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    text = _text(value)
    if text is None or len(text) > _LONGEST_LABEL or not text.isprintable():
        return name
    _, dash, number = name.partition("-")  # the second row of that input, or the third
    return text + dash + number
