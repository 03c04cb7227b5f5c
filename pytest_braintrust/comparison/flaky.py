"""Tests that passed and failed over several runs, though they themselves are the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_braintrust.events import attempts_of
from pytest_braintrust.outcomes import PASS_SCORE
from pytest_braintrust.statistics import Interval, estimate
from pytest_braintrust.store import measuring
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment


@dataclass(slots=True)
class FlakyTest:
    """How often a test passed.

    Attributes:
        nodeid: The test, without trial.
        source: A hash of its source, which is the same in all of these runs.
        runs: In how many runs it passed or failed.
        passed: How many times it did, each trial and each attempt for itself.
        failed: How many times it failed.
    """

    nodeid: str
    source: str | None
    runs: int = 0
    passed: int = 0
    failed: int = 0

    @property
    def rate(self) -> float:
        """Which share of the times it passed."""
        return self.passed / (self.passed + self.failed)

    @property
    def interval(self) -> Interval | None:
        """Where the share lies, at 95 %: Wilson's."""
        times = [(1.0,)] * self.passed + [(0.0,)] * self.failed
        return estimate(times, bounds=(0.0, 1.0)).interval


def flaky(
    store: Store, experiments: Iterable[StoredExperiment], among: str = ""
) -> list[FlakyTest]:
    """The tests that both passed and failed, the one that passed least first.

    A test whose source was changed counts from there on. What errored or was skipped
    tells nothing of it.

    Args:
        store: Where the runs are.
        experiments: The runs, the newest first.
        among: The node id of the test that is meant; where none has it, what is in
            the node id of those that are. All have "" in it.

    Raises:
        StoreError: the store could not be read.
    """
    found: dict[str, FlakyTest] = {}
    for each in experiments:
        told: set[str] = set()
        for row in measuring.ended(store, each.number, among):
            test = found.setdefault(row.nodeid, FlakyTest(row.nodeid, row.source))
            passed, failed = _times(row)
            if test.source == row.source and passed + failed:
                test.passed += passed
                test.failed += failed
                test.runs += row.nodeid not in told
                told.add(row.nodeid)
    meant = [found[among]] if among in found else found.values()
    both = [each for each in meant if each.passed and each.failed]
    return sorted(both, key=lambda each: (each.rate, each.nodeid))


def _times(row: measuring.Ended) -> tuple[int, int]:
    """How many times a row's test passed and failed, earlier attempts among them."""
    before = (each.get("outcome") for each in attempts_of(row.facts))
    scores = [PASS_SCORE.get(str(each)) for each in (row.outcome, *before)]
    return scores.count(1.0), scores.count(0.0)
