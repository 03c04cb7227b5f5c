"""What one run came to by itself: the mean of each score and metric over its tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_braintrust.comparison.pairing import Test, grouped
from pytest_braintrust.comparison.result import ERRORED_AT_MOST
from pytest_braintrust.fields import PASS
from pytest_braintrust.statistics import Estimate, Interval, MeanAccumulator
from pytest_braintrust.store import measuring
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

_SCORE_BOUNDS = Interval(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class TrialShares:
    """How steady the tests with several trials are, by the trials that passed."""

    tests: int = 0
    always: int = 0
    sometimes: int = 0
    never: int = 0

    def adding(self, passed: Sequence[float]) -> TrialShares:
        """With a test more, whose trials had these `pass` scores."""
        share = sum(passed) / len(passed)
        return TrialShares(
            self.tests + 1,
            self.always + (share == 1),
            self.sometimes + (0 < share < 1),
            self.never + (share == 0),
        )


@dataclass(frozen=True, slots=True)
class RunMeasures:
    """The means of one run, over tests that measured something.

    Attributes:
        scores: By name; each test counts once, however many trials it has.
        metrics: By name.
        tests: How many recorded tests there are, rows of one test counted apart.
        errored: How many of them measured nothing.
        trials: Of the tests that were run several times.
    """

    scores: Mapping[str, Estimate]
    metrics: Mapping[str, Estimate]
    tests: int
    errored: int
    trials: TrialShares = field(default_factory=TrialShares)

    @property
    def measurable(self) -> bool:
        """Whether few enough tests errored for the means to say something."""
        return self.errored <= ERRORED_AT_MOST * self.tests


def measure(store: Store, experiment: StoredExperiment) -> RunMeasures:
    """Read what an experiment measured.

    Raises:
        StoreError: the store could not be read.
    """
    scores: dict[str, MeanAccumulator] = {}
    metrics: dict[str, MeanAccumulator] = {}
    tests = errored = 0
    trials = TrialShares()
    for test in grouped(measuring.measured(store, experiment.number)):
        tests += 1
        errored += test.errored
        _add(test, scores, metrics)
        passed = test.scores(PASS)
        if len(test.trials) > 1 and passed:
            trials = trials.adding(passed)
    return RunMeasures(
        scores={
            name: each.result(bounds=_SCORE_BOUNDS) for name, each in scores.items()
        },
        metrics={name: each.result() for name, each in metrics.items()},
        tests=tests,
        errored=errored,
        trials=trials,
    )


def _add(
    test: Test, scores: dict[str, MeanAccumulator], metrics: dict[str, MeanAccumulator]
) -> None:
    for name in dict.fromkeys(name for each in test.trials for name in each.scores):
        if values := test.scores(name):
            scores.setdefault(name, MeanAccumulator()).add(values)
    for name in dict.fromkeys(name for each in test.trials for name in each.metrics):
        if values := test.metrics(name):
            metrics.setdefault(name, MeanAccumulator()).add(values)
