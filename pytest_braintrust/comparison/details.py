"""What a test put out then and now: read for the few that a report shows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pytest_braintrust.comparison.result import TestChange
from pytest_braintrust.jsonable import dumps
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment


@dataclass(frozen=True, slots=True)
class Detail:
    """A test whose score moved, with what it put out in both runs, as text.

    Attributes:
        change: The score that moved.
        then: The output then; None where it had none.
        now: The output now; None where it had none.
        file: Where the test stands, relative to pytest's root.
        line: Counted from 1.
    """

    change: TestChange
    then: str | None
    now: str | None
    file: str
    line: int

    @property
    def first_difference(self) -> tuple[str, str] | None:
        """The first line that is not the same; None where the outputs are equal."""
        before = (self.then or "").splitlines()
        after = (self.now or "").splitlines()
        for old, new in zip_longest(before, after, fillvalue=""):
            if old != new:
                return old, new
        return None


def details(
    store: Store,
    base: StoredExperiment,
    head: StoredExperiment,
    changes: Iterable[TestChange],
) -> list[Detail]:
    """Read the outputs behind changes; of several trials, the last one's.

    Raises:
        StoreError: the store could not be read.
    """
    return [_detail(store, base.number, head.number, each) for each in changes]


def _detail(store: Store, base: int, head: int, change: TestChange) -> Detail:
    then = _event(store, base, change.nodeid_then, change.part)
    now = _event(store, head, change.nodeid, change.part)
    context = now.get("context") or {}
    return Detail(
        change=change,
        then=_text(then.get("output")),
        now=_text(now.get("output")),
        file=str(context.get("caller_filename") or ""),
        line=int(context.get("caller_lineno") or 1),
    )


def _event(store: Store, number: int, nodeid: str, part: str) -> dict[str, Any]:
    found = reading.event_of(store, number, nodeid, part)
    event: dict[str, Any] = json.loads(found) if found is not None else {}
    return event


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return dumps(value)
