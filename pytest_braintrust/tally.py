"""Count what became of every collected test, from the reports that arrive.

So that the summary can say collected = passed + failed + … + not run and be right in
every mode: with workers, reruns, subtests, crashes and runs that were cut short.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_braintrust.outcomes import OUTCOMES, Outcome, outcome_of

if TYPE_CHECKING:
    import pytest

#: What pytest-xdist calls the phase of a report for a test whose worker died.
CRASH = "???"

_KNOWN_OUTCOMES = {"passed", "failed", "skipped"}


@dataclass(slots=True)
class Tally:
    """How many tests were collected, and how many had each outcome."""

    collected: int = 0
    counts: Counter[Outcome] = field(default_factory=Counter)
    _open: dict[tuple[str | None, str], dict[str, pytest.TestReport]] = field(
        default_factory=dict
    )
    _crashed: set[str] = field(default_factory=set)

    def saw(self, report: pytest.TestReport, worker: str | None) -> Outcome | None:
        """Take in a report; answers the outcome of a test that ended with it."""
        if _is_subtest(report):
            return None
        if report.when == CRASH:
            self._open.pop((worker, report.nodeid), None)
            if str(report.outcome) not in _KNOWN_OUTCOMES:
                return None  # another worker will run it again
            return self._crash(report.nodeid)
        phases = self._open.setdefault((worker, report.nodeid), {})
        phases[str(report.when)] = report
        if report.when != "teardown":
            return None
        del self._open[worker, report.nodeid]
        if any(each.outcome not in _KNOWN_OUTCOMES for each in phases.values()):
            # The plugins that rerun a test tell of the attempts before the last
            # with an outcome of their own.
            return None
        return self._ended(report.nodeid, outcome_of(phases))

    def cut_off(self, count: int) -> None:
        """Count tests that were cut off while they ran, and left a row."""
        self.counts["errored"] += count

    @property
    def not_run(self) -> int:
        """Collected tests of which no end was told."""
        return max(0, self.collected - sum(self.counts.values()))

    def as_dict(self) -> dict[str, int]:
        """Plain numbers for the store: `collected`, each outcome, `not_run`."""
        told: dict[str, int] = {name: self.counts[name] for name in OUTCOMES}
        return {"collected": self.collected, **told, "not_run": self.not_run}

    def _crash(self, nodeid: str) -> Outcome:
        self._crashed.add(nodeid)
        return self._ended(nodeid, "errored")

    def _ended(self, nodeid: str, outcome: Outcome) -> Outcome:
        if outcome != "errored" and nodeid in self._crashed:
            # Its worker died and another one ran it again: one test, its last end.
            self._crashed.discard(nodeid)
            self.counts["errored"] -= 1
        self.counts[outcome] += 1
        return outcome


def _is_subtest(report: pytest.TestReport) -> bool:
    # pytest 9 has its own and pytest-subtests another class; both tell of a part of
    # a test whose own report follows.
    return type(report).__name__.lower() == "subtestreport"
