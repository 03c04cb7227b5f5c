"""What the parts of one run came to: its rows, split by a value that they have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

from pytest_braintrust.comparison.alone import Measuring, RunMeasures
from pytest_braintrust.comparison.details import as_line
from pytest_braintrust.comparison.pairing import Test
from pytest_braintrust.events import hash_of, taken_apart
from pytest_braintrust.jsonable import Json
from pytest_braintrust.store import measuring
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.measuring import Measured
from pytest_braintrust.store.reading import StoredExperiment

#: What a row has besides what a name may be of.
OF_ROWS = ("tags", "test", "file")

#: Where a name is looked for, unless it begins with one of these.
_PLACES = ("metadata", "input")


def split(
    store: Store, experiment: StoredExperiment, by: str
) -> dict[str | None, RunMeasures]:
    """What each part measured, by the value that its rows have; None: they have none.

    A test counts once in each part that has trials of it.

    Args:
        store: Where the experiment is.
        experiment: Which it is.
        by: A name in the rows' metadata or input, also as `input.model`; `tags`, of
            which a row may have several; `test`, the function; or `file`.

    Raises:
        StoreError: the store could not be read.
    """
    parts: dict[str | None, Measuring] = {}
    rows = measuring.with_events(store, experiment.number)
    for _, of_test in groupby(rows, key=lambda row: (row[0].nodeid, row[0].part)):
        trials: dict[str | None, list[Measured]] = {}
        for row, event in of_test:
            for value in _values(row, event, by):
                trials.setdefault(value, []).append(row)
        for value, found in trials.items():
            parts.setdefault(value, Measuring()).add(Test.of(tuple(found)))
    return {value: found.result() for value, found in parts.items()}


#: A test's function, its row, and a hash of what it was asked but for what tells the
#: parts apart.
Key: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of an experiment that have one value, as tests.

    Attributes:
        by: The name of the value.
        value: The value.
        tests: By what a test is known by in another part. Those that were asked the
            same are trials of one.
    """

    by: str
    value: str
    tests: Mapping[Key, Test]

    @property
    def name(self) -> str:
        """What the part is called."""
        return f"{self.by} {self.value}"


def parts_of(
    store: Store, experiment: StoredExperiment, by: str, values: Iterable[str]
) -> list[Part]:
    """The parts of an experiment that have these values.

    Args:
        store: Where the experiment is.
        experiment: Which it is.
        by: As for `split`, but none of `OF_ROWS`.
        values: One for each part.

    Raises:
        StoreError: the store could not be read.
    """
    found: dict[str, dict[Key, list[Measured]]] = {value: {} for value in values}
    for row, event in measuring.with_events(store, experiment.number):
        told: dict[str, Any] = json.loads(event)
        value = _value(told, by)
        if value in found:
            key = _key(row, told.get("input"), by, value)
            found[value].setdefault(key, []).append(row)
    return [
        Part(by, value, {key: Test.of(tuple(rows)) for key, rows in tests.items()})
        for value, tests in found.items()
    ]


def _key(row: Measured, asked: Json, by: str, value: str) -> Key:
    rest, part = _without(asked, _name(by)), row.part
    if part == value:
        # A test that asks all models by itself, and calls the row of each by its name.
        part = ""
        if isinstance(rest, dict) and rest.get("row") == value:
            rest = _without(rest, "row")
    return _function(row), part, hash_of(rest)


def _name(by: str) -> str:
    place, dot, name = by.partition(".")
    return name if dot and place in _PLACES else by


def _without(asked: Json, name: str) -> Json:
    if not isinstance(asked, dict):
        return asked
    if name in asked:
        return {key: each for key, each in asked.items() if key != name}
    first, _, rest = name.partition(".")
    if not rest or first not in asked:
        return asked
    return {**asked, first: _without(asked[first], rest)}


def _function(row: Measured) -> str:
    file, names, _ = taken_apart(row.nodeid)
    return f"{file}::{names}" if names else file


def _values(row: Measured, event: str, by: str) -> list[str | None]:
    if by == "file":
        return [row.nodeid.partition("::")[0]]
    if by == "test":
        return [_function(row)]
    told: Mapping[str, Any] = json.loads(event)
    if by == "tags":
        return [*dict.fromkeys(told.get("tags") or ())] or [None]
    return [_value(told, by)]


def _value(event: Mapping[str, Any], by: str) -> str | None:
    return next((as_line(e) for e in _found(event, by) if e is not None), None)


def _found(event: Mapping[str, Any], by: str) -> Iterator[Any]:
    for place in _PLACES:
        prefixed = by.startswith(f"{place}.")
        value: Any = event if prefixed else event.get(place)
        if not prefixed and isinstance(value, Mapping) and by in value:
            # A name may have a dot in it.
            yield value[by]
            continue
        for name in by.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        yield value
