"""What the parts of one run came to: its rows, split by a value that they have."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from pytest_braintrust.comparison.alone import Measuring, RunMeasures
from pytest_braintrust.comparison.pairing import Test
from pytest_braintrust.store import measuring
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.measuring import Measured
from pytest_braintrust.store.reading import StoredExperiment

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


def _values(row: Measured, event: str, by: str) -> list[str | None]:
    if by == "file":
        return [row.nodeid.partition("::")[0]]
    if by == "test":
        return [row.nodeid.partition("[")[0]]
    told: Mapping[str, Any] = json.loads(event)
    if by == "tags":
        return [*dict.fromkeys(told.get("tags") or ())] or [None]
    return [next((_text(each) for each in _found(told, by) if each is not None), None)]


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


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
