"""A row of a dataset: what a test is given of it, and what makes one wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any, NoReturn

from pytest_braintrust.errors import DatasetError
from pytest_braintrust.fields import Fields, checked
from pytest_braintrust.jsonable import plain_text

#: What a row is made of.
FIELDS = ("id", "input", "expected", "metadata", "tags")
#: What Braintrust adds to them; a file that was pulled has these, and may keep them.
_BRAINTRUST_FIELDS = frozenset(
    {
        "audit_data",
        "classifications",
        "comments",
        "created",
        "dataset_id",
        "facets",
        "is_root",
        "origin",
        "project_id",
        "root_span_id",
        "span_id",
        "span_parents",
    }
)


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One row of a dataset, as the fixture `bt_row` gives it to a test.

    Attributes:
        id: The row's id; in a file that gives none, one made from the input.
        input: What to ask; any JSON value but null.
        expected: What should come back, or None.
        metadata: Name to any JSON value.
        tags: Texts.
        origin: Where the row is on Braintrust; None for a row of a file.
    """

    id: str
    input: Any
    expected: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    origin: Mapping[str, Any] | None = field(default=None, repr=False)

    @classmethod
    def read(cls, row: Mapping[str, Any], dataset_id: str | None) -> DatasetRow:
        """The row that an object of JSON is, once it was found to be one."""
        return cls(
            id=row_id(row),
            input=row["input"],
            expected=row.get("expected"),
            metadata=row.get("metadata") or {},
            tags=tuple(row.get("tags") or ()),
            origin=None if dataset_id is None else _origin(row, dataset_id),
        )

    def fields(self) -> Fields:
        """What the row says of the event of its test."""
        said = checked(
            input=self.input,
            expected=self.expected,
            metadata=self.metadata,
            tags=self.tags,
        )
        if self.origin is not None:
            said.origin = dict(self.origin)
        return said


def _origin(row: Mapping[str, Any], dataset_id: str) -> dict[str, Any]:
    origin = {"object_type": "dataset", "object_id": dataset_id, "id": row_id(row)}
    for name in ("_xact_id", "created"):
        if isinstance(row.get(name), str):
            origin[name] = row[name]
    return origin


def row_id(row: Mapping[str, Any]) -> str:
    """The row's own id, or one that equal inputs have in common."""
    given = row.get("id")
    return digest(row["input"]) if given is None else plain_text(str(given))


def digest(value: Any) -> str:
    """A short name for a JSON value: the same for equal ones in every run.

    That of its input is the id of a row that has none.
    """
    text = _BY_NAME.encode(value)
    return blake2b(text.encode("ascii"), digest_size=8).hexdigest()


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python reads and JSON has not."""
    msg = f"{name} is not JSON"
    raise ValueError(msg)


#: Made once: with `json.loads` it would be made for each row.
DECODER = json.JSONDecoder(parse_constant=_no_constant)
_BY_NAME = json.JSONEncoder(sort_keys=True, check_circular=False)


def decoded(line: bytes | str) -> Any:
    """The JSON value of a line.

    Raises:
        ValueError: it is not JSON, or nested too deep.
    """
    try:
        return DECODER.decode(line if isinstance(line, str) else line.decode("utf-8"))
    except RecursionError:
        msg = "nested too deep"
        raise ValueError(msg) from None


def check(row: Any, where: str) -> dict[str, Any]:
    """The row, if it is one.

    Args:
        row: What was read.
        where: The place it was read from, which begins the message.

    Raises:
        DatasetError: it has no input, or something of a wrong kind.
    """
    if not isinstance(row, dict):
        _wrong(where, f"a row is an object, and this is {_kind(row)}")
    if row.get("input") is None:
        _wrong(where, "the row has no input")
    row_id_given = row.get("id")
    if isinstance(row_id_given, (bool, float, list, dict)) or row_id_given == "":
        _wrong(where, "the id is neither text nor a whole number")
    if not isinstance(row.get("metadata", {}), (dict, type(None))):
        _wrong(where, f"metadata is an object, and this is {_kind(row['metadata'])}")
    tags = row.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        _wrong(where, "tags is a list of texts, and this is none")
    return row


def check_names(names: list[str], where: str) -> None:
    """Refuse a field that no row has: a misspelt one would go unnoticed.

    Raises:
        DatasetError: there is one.
    """
    for name in names:
        if name not in FIELDS and name not in _BRAINTRUST_FIELDS and name[:1] != "_":
            near = get_close_matches(name, FIELDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"a row has {_LISTED}"
            _wrong(where, f"there is no field {plain_text(name)!r}; {hint}")


_LISTED = f"{', '.join(FIELDS[:-1])} and {FIELDS[-1]}"


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return kinds.get(type(value), "a number" if value is not True else "true")


def _wrong(where: str, what: str) -> NoReturn:
    msg = f"{where}: {what}"
    raise DatasetError(msg)
