"""What a test put out then and now: read for the few that a report shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pytest_braintrust import trials
from pytest_braintrust.comparison.result import WorseTest
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment


@dataclass(frozen=True, slots=True)
class Detail:
    """A test whose score fell, with what it put out in both runs, as text.

    Attributes:
        test: The test and the scores that fell.
        nodeid: What pytest runs it by: of several trials, the one that is shown.
        then: The output then; None where it had none.
        now: The output now; None where it had none.
        asked: What its row says besides of now, by name and on one line each: `input`
            and `expected`, as far as there is something to say.
        error: What the test raised now; None where nothing.
        file: Where the test stands, relative to pytest's root.
        line: Counted from 1.
    """

    test: WorseTest
    nodeid: str
    then: str | None
    now: str | None
    asked: Mapping[str, str]
    error: str | None
    file: str
    line: int

    @property
    def name(self) -> str:
        """The test as somebody types it, and which of its rows."""
        return f"{self.nodeid} {self.test.part}".strip()

    @property
    def first_difference(self) -> tuple[str, str] | None:
        """The first line that is not the same; None where the outputs are equal."""
        before = (self.then or "").splitlines()
        after = (self.now or "").splitlines()
        for old, new in zip_longest(before, after, fillvalue=""):
            if old != new:
                return old, new
        return None

    @property
    def same_output(self) -> bool:
        """Whether there was an output, and it is the same now."""
        return self.then is not None and self.then == self.now

    @property
    def reason(self) -> str | None:
        """The line of the error that says what was wrong, as pytest marks it."""
        lines = (self.error or "").splitlines()
        marked = [each[1:].strip() for each in lines if each.startswith("E ")]
        told = [each.strip() for each in lines if each.strip()]
        return next(iter([*marked[:1], *told[-1:]]), None)


def details(
    store: Store,
    base: StoredExperiment,
    head: StoredExperiment,
    tests: Iterable[WorseTest],
) -> list[Detail]:
    """Read the outputs of tests.

    Of several trials the best one then and the worst one now, by the score that fell
    most: others may have put out the same.

    Raises:
        StoreError: the store could not be read.
    """
    return [_detail(store, base.number, head.number, each) for each in tests]


def _detail(store: Store, base: int, head: int, test: WorseTest) -> Detail:
    score, part = test.losses[0].score, test.part
    then = _decoded(
        reading.event_of(store, base, test.nodeid_then, part, score, lowest=False)
    )
    now = _decoded(reading.event_of(store, head, test.nodeid, part, score, lowest=True))
    # Rows that others made may say anything there.
    context = now.get("context")
    place = context if isinstance(context, dict) else {}
    file, line = place.get("caller_filename"), place.get("caller_lineno")
    error = now.get("error")
    return Detail(
        test=test,
        nodeid=trials.nodeid_of(now) or test.nodeid,
        then=as_text(then.get("output")),
        now=as_text(now.get("output")),
        asked=_asked(now, test.nodeid),
        error=error if error is None else str(error),
        file=file if isinstance(file, str) else "",
        line=line if isinstance(line, int) and line > 0 else 1,
    )


def _asked(event: dict[str, Any], nodeid: str) -> dict[str, str]:
    # What a test without parameters and words of its own is known by.
    known = {"test": nodeid}
    told = {name: event.get(name) for name in ("input", "expected")}
    return {
        name: as_line(value)
        for name, value in told.items()
        if value is not None and value != known
    }


def _decoded(found: str | None) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(found) if found is not None else {}
    return event


def as_text(value: Any) -> str | None:
    """An output as a person reads it, in lines; None where there is none."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2)


def as_line(value: Any) -> str:
    """Any value in one line, where it is no text that has more."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
