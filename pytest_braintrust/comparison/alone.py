"""What one run came to by itself: the mean of each score and metric over its tests."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_braintrust.comparison.counting import Counting, Counts
from pytest_braintrust.comparison.pairing import Test, grouped
from pytest_braintrust.comparison.spent import Spending
from pytest_braintrust.fields import PASS
from pytest_braintrust.statistics import Estimate, Interval, MeanAccumulator
from pytest_braintrust.store import measuring
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.measuring import Measured
from pytest_braintrust.store.reading import StoredExperiment

_SCORE_BOUNDS = Interval(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class TrialShares:
    """How steady the tests are of which several trials measured something.

    Attributes:
        tests: How many there are.
        always: How many passed in all trials.
        sometimes: In some of them.
        never: In none.
        varied: How many have another score that is not the same in all trials.
    """

    tests: int = 0
    always: int = 0
    sometimes: int = 0
    never: int = 0
    varied: int = 0

    def adding(
        self, passed: Sequence[float], scores: Mapping[str, Sequence[float]]
    ) -> TrialShares:
        """With a test more, by the `pass` score and all scores of its trials."""
        share = sum(passed) / len(passed)
        return TrialShares(
            self.tests + 1,
            self.always + (share == 1),
            self.sometimes + (0 < share < 1),
            self.never + (share == 0),
            self.varied + any(_vary(each) for n, each in scores.items() if n != PASS),
        )


def _vary(values: Sequence[float]) -> bool:
    return min(values) < max(values)


@dataclass(frozen=True, slots=True)
class RunMeasures:
    """The means of one run, over tests that measured something.

    Attributes:
        scores: By name; each test counts once, however many trials it has.
        metrics: By name.
        totals: Of costs and tokens, by name, what all rows came to; those that
            errored are among them, and attempts that were rerun, for they were paid
            too.
        counts: How many tests there are, and how many of them measured nothing.
        trials: Of the tests that were run several times.
        scored: By score, how many rows have it; `pass` last.
        unscored: By outcome, how many rows have no score that says more than the
            outcome. Where no row has any but `pass`, nothing else was to be scored:
            then those that have not even that. A test whose further rows are scored
            needs no score of its own beside `pass`.
    """

    scores: Mapping[str, Estimate]
    metrics: Mapping[str, Estimate]
    counts: Counts
    trials: TrialShares = field(default_factory=TrialShares)
    scored: Mapping[str, int] = field(default_factory=dict)
    unscored: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Measuring:
    """Takes in the tests of a run, one after the other."""

    _counts: Counting = field(default_factory=Counting)
    _trials: TrialShares = field(default_factory=TrialShares)
    _scores: dict[str, MeanAccumulator] = field(
        default_factory=lambda: defaultdict(MeanAccumulator)
    )
    _metrics: dict[str, MeanAccumulator] = field(
        default_factory=lambda: defaultdict(MeanAccumulator)
    )
    _scored: Counter[str] = field(default_factory=Counter)
    _spending: Spending = field(default_factory=Spending)
    #: How many rows have no score, `pass` alone, or another one, by outcome.
    _told: Counter[tuple[int, str]] = field(default_factory=Counter)

    def add(self, test: Test) -> None:
        """Take in a test."""
        self._counts.add(test)
        for name, values in test.scores.items():
            self._scores[name].add(values)
            self._scored[name] += len(values)
        for name, values in test.metrics.items():
            self._metrics[name].add(values)
        if len(passed := test.scores.get(PASS, ())) > 1:
            self._trials = self._trials.adding(passed, test.scores)
        for row in test.trials:
            told = _told(row)
            if told != _PASS_ALONE or not test.silent:
                self._told[told, row.outcome] += 1
        self._spending.add(test.trials)

    def result(self) -> RunMeasures:
        """What they came to."""
        return RunMeasures(
            scores={n: e.result(bounds=_SCORE_BOUNDS) for n, e in self._scores.items()},
            metrics={name: each.result() for name, each in self._metrics.items()},
            counts=self._counts.result(),
            trials=self._trials,
            scored={
                name: self._scored[name] for name in sorted(self._scored, key=_is_pass)
            },
            unscored=self._unscored(),
            totals=self._spending.result(),
        )

    def _unscored(self) -> dict[str, int]:
        most = max((said for said, _ in self._told), default=0)
        counts: Counter[str] = Counter()
        for (said, outcome), count in self._told.items():
            if said < most or not said:
                counts[outcome] += count
        return dict(counts)


#: What `_told` answers for a row that says no more than the outcome.
_PASS_ALONE = 1


def _told(row: Measured) -> int:
    """How much the scores of a row tell: nothing, the outcome, or more than that."""
    more = len(row.scores) - (PASS in row.scores)
    return 2 if more else len(row.scores)


def _is_pass(name: str) -> bool:
    return name == PASS


def measure(
    store: Store,
    experiment: StoredExperiment,
    among: str = "",
    *,
    whole: bool = False,
    each: Callable[[Test], object] = lambda test: None,
) -> RunMeasures:
    """Read what an experiment measured.

    Args:
        store: Where it is.
        experiment: Which it is.
        among: What is in the node id of the tests that are meant; all have "" in it.
        whole: Whether it has to be all of the node id.
        each: Called with each of them, on the way.

    Raises:
        StoreError: the store could not be read.
    """
    seen = Measuring()
    for test in grouped(
        measuring.measured(store, experiment.number, among, whole=whole)
    ):
        seen.add(test)
        each(test)
    return seen.result()
