"""Count what became of every collected test, from the reports that arrive.

So that the summary can say collected = passed + failed + … + not run and be right in
every mode: with workers, reruns, subtests, crashes and runs that were cut short.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_braintrust.outcomes import OUTCOMES, Outcome, Report, outcome_of

if TYPE_CHECKING:
    import pytest

#: What pytest-xdist calls the phase of a report for a test whose worker died.
CRASH = "???"

_KNOWN_OUTCOMES = {"passed", "failed", "skipped"}


@dataclass(slots=True)
class _Open:
    """A test of which not all reports have come."""

    phases: dict[str, Report] = field(default_factory=dict)
    #: Whether one of its subtests failed: pytest fails the test for it, later.
    failed_inside: bool = False
    #: Whether a report told of another attempt.
    superseded: bool = False

    @property
    def outcome(self) -> Outcome:
        found = outcome_of(self.phases)
        passed = found in {"passed", "xpassed"}
        return "failed" if passed and self.failed_inside else found


@dataclass(slots=True)
class Tally:
    """How many tests were collected, and how many had each outcome."""

    collected: int = 0
    #: Files and folders whose tests are not known, because collecting them failed.
    uncollected: int = 0
    #: How often each test runs: with `--dist=each` once in each worker.
    copies: int = 1
    counts: Counter[Outcome] = field(default_factory=Counter)
    _collections: int = 0
    _open: dict[tuple[str | None, str], _Open] = field(default_factory=dict)
    #: The test of each worker that ended last, and how it was counted.
    _last: dict[str | None, tuple[str, Outcome]] = field(default_factory=dict)
    #: How tests were counted that did not end by themselves, until another worker
    #: runs them again.
    _lost: dict[object, Outcome] = field(default_factory=dict)

    def collected_by_worker(self, count: int) -> None:
        """Take in what a worker collected; one in the place of another adds nothing."""
        if self._collections < self.copies:
            self._collections += 1
            self.collected += count

    def saw(
        self,
        report: pytest.TestReport,
        worker: str | None,
        nodeid: str,
        told: Outcome | None = None,
    ) -> bool:
        """Take in a report about a test; answers whether the test ended with it.

        An attempt that another one follows is no end.

        Args:
            report: The report.
            worker: The worker that it came from.
            nodeid: The test.
            told: What the row of the test says that it came to, where it has one.
        """
        phase = report.when
        if phase == CRASH:
            self.lost(nodeid, worker)
            return not is_superseded(report)
        key = worker, nodeid
        test = self._open.get(key)
        if test is None:
            test = self._open[key] = _Open()
        if _is_of_subtests(type(report).__name__):
            test.failed_inside |= report.outcome == "failed"
            return False
        if phase == "setup":
            test.phases.clear()
            test.superseded = False
        test.phases[phase or "call"] = report
        if is_superseded(report):
            test.failed_inside, test.superseded = False, True
        return phase == "teardown" and self._closed(test, nodeid, worker, told)

    def lost(self, nodeid: str, worker: str | None) -> None:
        """Count a test that was cut off while it ran, by its worker's death or ours.

        That its body had failed before is a fact; otherwise it measured nothing.
        """
        last, counted = self._last.pop(worker, (None, None))
        if last == nodeid and counted is not None:
            # It ended, and its worker died before it could say that it is done.
            self.counts[counted] -= 1
        test = self._open.pop((worker, nodeid), _Open())
        body_failed = "call" in test.phases and test.outcome == "failed"
        outcome: Outcome = "failed" if body_failed else "errored"
        self._ended(nodeid, worker, outcome)
        self._lost[self._key(nodeid, worker)] = outcome

    @property
    def not_run(self) -> int:
        """Collected tests of which no end was told."""
        return max(0, self.collected - sum(self.counts.values()))

    def as_dict(self) -> dict[str, int]:
        """Plain numbers: `collected`, each outcome, `not_run`, `uncollected`."""
        told: dict[str, int] = {name: self.counts[name] for name in OUTCOMES}
        return {
            "collected": self.collected,
            **told,
            "not_run": self.not_run,
            "uncollected": self.uncollected,
        }

    def _closed(
        self, test: _Open, nodeid: str, worker: str | None, told: Outcome | None
    ) -> bool:
        del self._open[worker, nodeid]
        # Plugins that retry a phase report it again, and its last report counts.
        if test.superseded and any(map(is_superseded, test.phases.values())):
            return False
        outcome = told or test.outcome
        self._ended(nodeid, worker, outcome)
        self._last[worker] = nodeid, outcome
        return True

    def _ended(self, nodeid: str, worker: str | None, outcome: Outcome) -> None:
        before = self._lost.pop(self._key(nodeid, worker), None)
        if before is not None:
            # Its worker died and another one ran it again: one test, its last end.
            self.counts[before] -= 1
        self.counts[outcome] += 1

    def _key(self, nodeid: str, worker: str | None) -> object:
        """What a test is known by, whichever worker runs it again."""
        return nodeid if self.copies == 1 else (worker, nodeid)


def is_superseded(report: Report) -> bool:
    """Whether a report is of an attempt that another one follows.

    The plugins that rerun a test tell of it with an outcome of their own.
    """
    return report.outcome not in _KNOWN_OUTCOMES


@lru_cache(maxsize=64)
def _is_of_subtests(kind: str) -> bool:
    """Whether reports of a class tell of parts of tests, whose own reports follow."""
    # pytest 9 has its own class and pytest-subtests another one.
    return kind.lower() == "subtestreport"
