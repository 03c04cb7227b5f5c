"""The tests of a run one by one, each beside what it was in the baseline.

Those that somebody looks for come first: what got worse, failed, errored, got better.
Only where the rows lie is held, of all of them; the rows are read one test at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from pytest_braintrust.comparison.pairing import Key, Test
from pytest_braintrust.comparison.result import RunComparison
from pytest_braintrust.store import browsing, measuring
from pytest_braintrust.store.browsing import PlacedTest
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

#: Which way scores of a test went.
Way: TypeAlias = Literal["worse", "better"]


class Beside(NamedTuple):
    """A number of a test in both runs; None where a run has none."""

    then: float | None
    now: float | None


@dataclass(frozen=True, slots=True)
class Looked:
    """A test, what it was in the baseline, and the events of the trials of both."""

    now: Test
    events: Sequence[str]
    then: Test | None
    events_then: Sequence[str]
    #: Which ways its scores went: of several, some may have fallen and some risen.
    ways: frozenset[Way]

    @property
    def scores(self) -> Mapping[str, Beside]:
        """By name, the mean of its trials then and now; those it has now come first."""
        return _beside(self.then.scores if self.then else {}, self.now.scores)

    @property
    def metrics(self) -> Mapping[str, Beside]:
        """The same of its metrics."""
        return _beside(self.then.metrics if self.then else {}, self.now.metrics)


def _beside(
    then: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]
) -> dict[str, Beside]:
    return {
        name: Beside(_mean(then.get(name)), _mean(now.get(name)))
        for name in dict.fromkeys((*now, *then))
    }


def _mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None


@dataclass(frozen=True, slots=True)
class Tests:
    """The tests of a run in the order in which they are looked at."""

    store: Store
    order: Sequence[PlacedTest]
    #: By test, the places of its rows in the baseline.
    then: Mapping[Key, Sequence[int]] = field(default_factory=dict)
    #: By node id now, what it was then.
    renamed: Mapping[str, str] = field(default_factory=dict)
    ways: Mapping[Key, frozenset[Way]] = field(default_factory=dict)

    def count(self, way: Way) -> int:
        """How many tests have a score that went that way."""
        return sum(way in each for each in self.ways.values())

    def with_outcome(self, outcome: str) -> int:
        """How many tests have a trial that ended so."""
        return sum(outcome in each.outcomes for each in self.order)

    def __iter__(self) -> Iterator[Looked]:
        """Read them, one after the other.

        Raises:
            StoreError: the store could not be read.
        """
        for each in self.order:
            now, events = self._rows(each.positions)
            if now is None:
                continue
            then, events_then = self._rows(self._then(each.key))
            ways = self.ways.get(each.key, frozenset())
            yield Looked(now, events, then, events_then, ways)

    def _then(self, key: Key) -> Sequence[int]:
        nodeid, part = key
        before = self.renamed.get(nodeid, nodeid), part
        return self.then.get(key) or self.then.get(before) or ()

    def _rows(self, positions: Sequence[int]) -> tuple[Test | None, list[str]]:
        found = [measuring.at(self.store, each) for each in positions]
        rows = [each for each in found if each is not None]
        test = Test.of(tuple(row for row, _ in rows)) if rows else None
        return test, [event for _, event in rows]


def tests_of(
    store: Store,
    head: StoredExperiment,
    base: StoredExperiment | None,
    compared: RunComparison | None,
) -> Tests:
    """The tests of a run, beside those of its baseline where there is one.

    Raises:
        StoreError: the store could not be read.
    """
    order = browsing.placed(store, head.number)
    if base is None or compared is None:
        return Tests(store, sorted(order, key=lambda each: _urgency(each, 0.0)))
    moved: dict[Key, list[float]] = defaultdict(list)
    for change in compared.changes:
        moved[change.nodeid, change.part].append(change.difference)
    return Tests(
        store,
        sorted(order, key=lambda each: _urgency(each, *moved.get(each.key, (0.0,)))),
        then={e.key: e.positions for e in browsing.placed(store, base.number)},
        renamed={now: then for then, now in compared.renamed},
        ways={key: _ways(each) for key, each in moved.items()},
    )


def _ways(differences: Sequence[float]) -> frozenset[Way]:
    ways: dict[Way, bool] = {
        "worse": any(each < 0 for each in differences),
        "better": any(each > 0 for each in differences),
    }
    return frozenset(way for way, went in ways.items() if went)


def _urgency(test: PlacedTest, *differences: float) -> tuple[int, float, float, Key]:
    """Where a test stands in the order: how it did, by how much, and its name."""
    worst, best = min(differences), max(differences)
    lowest = test.lowest if test.lowest is not None else 1.0
    ended = test.outcomes
    groups = (worst < 0, "failed" in ended, "errored" in ended, best > 0, True)
    return groups.index(True), worst if worst < 0 else -best, lowest, test.key
