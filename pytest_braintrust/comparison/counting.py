"""How many tests of a run there are, how many measured nothing, and what that leaves."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_braintrust.comparison.pairing import Test
from pytest_braintrust.words import a_number

#: With a larger share of errored tests than this nothing is called measured, nor with
#: a larger share of errored trials, nor a score with a larger share of tests that could
#: not measure it: what is left is what happened to work.
ERRORED_AT_MOST = 0.1


def too_many(failed: int, of: int) -> bool:
    """Whether too many measured nothing for the others to say something."""
    return failed > ERRORED_AT_MOST * of


@dataclass(frozen=True, slots=True)
class Counts:
    """How many recorded tests a run has, and how many of them measured nothing.

    Attributes:
        tests: The tests, each counted once.
        errored: Those of which no trial measured anything.
        trials: The trials of all of them.
        errored_trials: Those that measured nothing.
    """

    tests: int
    errored: int
    trials: int
    errored_trials: int

    @property
    def measurable(self) -> bool:
        """Whether few enough errored for the others to say something."""
        return not (self._too_many_tests or too_many(self.errored_trials, self.trials))

    @property
    def _too_many_tests(self) -> bool:
        return too_many(self.errored, self.tests)

    @property
    def why_unmeasurable(self) -> str:
        """How many errored, where they are too many."""
        if self._too_many_tests:
            return f"{self.errored} of {a_number(self.tests, 'test')} errored"
        return self._of_trials

    @property
    def left_out(self) -> str:
        """How many errored, in few words; "" where none did."""
        if self.trials > self.tests and self.errored_trials:
            return self._of_trials
        return f"{self.errored:,} errored" if self.errored else ""

    @property
    def _of_trials(self) -> str:
        return f"{self.errored_trials} of {a_number(self.trials, 'trial')} errored"


@dataclass(slots=True)
class Counting:
    """Counts tests, one after the other."""

    tests: int = 0
    errored: int = 0
    trials: int = 0
    errored_trials: int = 0

    def add(self, test: Test) -> None:
        """Count a test."""
        self.tests += 1
        self.errored += test.errored
        self.trials += len(test.trials)
        if test.errored:
            self.errored_trials += len(test.trials)
        elif len(test.trials) > 1:
            self.errored_trials += sum(each.errored for each in test.trials)

    def result(self) -> Counts:
        """What they came to."""
        return Counts(self.tests, self.errored, self.trials, self.errored_trials)
