"""The tests of a run that scored lowest: where to look first, with no run beside it."""

from __future__ import annotations

import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_braintrust import trials
from pytest_braintrust.comparison.details import as_line
from pytest_braintrust.comparison.pairing import Test
from pytest_braintrust.fields import PASS
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

#: How many are named.
MOST = 3
#: Of a mean that is 1 but for float noise nothing is to be seen.
_BELOW = 1 - 1e-9


@dataclass(frozen=True, slots=True)
class LowTest:
    """A test that passed, and what it scored.

    Attributes:
        nodeid: What pytest runs it by: of several trials, the lowest one.
        part: Which of its rows, or "".
        scores: Those below 1, the lowest first; of several trials their mean.
        trials: How many there are.
        output: What it put out, on one line; None where nothing.
        expected: The same, for what it was to put out.
    """

    nodeid: str
    part: str
    scores: tuple[tuple[str, float], ...]
    trials: int
    output: str | None
    expected: str | None

    @property
    def name(self) -> str:
        """The test as somebody types it, and which of its rows."""
        return f"{self.nodeid} {self.part}".strip()


@dataclass(slots=True)
class Lowest:
    """Looks at the tests of a run, one after the other, and holds a few of them.

    By the mean of their scores beside `pass`. Those that failed are left out: pytest
    names them, and they would hide the others.
    """

    #: How many have a score below 1.
    below: int = 0
    #: The highest first, of equal ones the last: that is the next to go.
    _held: list[tuple[float, int, Test]] = field(default_factory=list)

    def add(self, test: Test) -> None:
        """Look at a test."""
        if min(test.scores.get(PASS, (0.0,))) < 1:
            return
        scores = [sum(e) / len(e) for name, e in test.scores.items() if name != PASS]
        if not scores or min(scores) >= _BELOW:
            return
        self.below += 1
        held = (-sum(scores) / len(scores), -self.below, test)
        if len(self._held) < MOST:
            heapq.heappush(self._held, held)
        else:
            heapq.heappushpop(self._held, held)

    def read(self, store: Store, experiment: StoredExperiment) -> list[LowTest]:
        """The tests that scored lowest, the lowest first, with what they put out.

        Raises:
            StoreError: the store could not be read.
        """
        found = sorted(self._held, reverse=True)
        return [_read(store, experiment.number, test) for _, _, test in found]


def _read(store: Store, number: int, test: Test) -> LowTest:
    scores = _low(test)
    name = scores[0][0]
    found = reading.event_of(store, number, test.nodeid, test.part, name, lowest=True)
    event: dict[str, Any] = json.loads(found) if found is not None else {}
    return LowTest(
        nodeid=trials.nodeid_of(event) or test.nodeid,
        part=test.part,
        scores=tuple(scores),
        trials=len(test.scores[name]),
        output=_said(event.get("output")),
        expected=_said(event.get("expected")),
    )


def _low(test: Test) -> Sequence[tuple[str, float]]:
    means = (
        (name, sum(each) / len(each))
        for name, each in test.scores.items()
        if name != PASS
    )
    return sorted((e for e in means if e[1] < _BELOW), key=lambda each: each[1])


def _said(value: Any) -> str | None:
    return None if value is None else as_line(value)
