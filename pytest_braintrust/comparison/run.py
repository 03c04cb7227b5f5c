"""Compare two experiments of a store, streaming both."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from pytest_braintrust import statistics
from pytest_braintrust.comparison.counting import Counting
from pytest_braintrust.comparison.differing import Counted, differences
from pytest_braintrust.comparison.pairing import (
    Pair,
    Test,
    Unpaired,
    grouped,
    pairs,
)
from pytest_braintrust.comparison.result import (
    Difference,
    Kind,
    Measure,
    RunComparison,
    RunFacts,
    TestChange,
)
from pytest_braintrust.comparison.spent import Spending
from pytest_braintrust.comparison.splitting import Part
from pytest_braintrust.comparison.times import is_time
from pytest_braintrust.selection import asks_for
from pytest_braintrust.statistics import (
    Better,
    Interval,
    Judged,
    PairedAccumulator,
)
from pytest_braintrust.store import measuring
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

#: A time that moved by a smaller share than this is called no evidence, whatever its
#: p-value.
SMALL_SHARE = 0.1
#: Nor does what moved by less than this: a first import takes longer.
SMALL_SECONDS = 0.01


def compare(
    store: Store,
    base: StoredExperiment,
    head: StoredExperiment,
    *,
    higher_is_better: Collection[str] = (),
    each: Callable[[Test], object] = lambda test: None,
) -> RunComparison:
    """Compare an experiment with an earlier one.

    Args:
        store: Where both are.
        base: What it is compared with.
        head: The run that is judged.
        higher_is_better: Metrics of which more is better, such as throughput.
        each: Called with each test of the run that is judged, on the way.

    Raises:
        StoreError: the store could not be read.
    """
    seen = _Seen(frozenset(higher_is_better))
    unpaired = Unpaired(
        asked_now=asks_for(head.metadata, base.metadata),
        asked_then=asks_for(base.metadata, head.metadata),
    )
    then = seen.then.noting(grouped(measuring.measured(store, base.number)))
    now = seen.now.noting(_told(store, head, each))
    for pair in pairs(then, now, unpaired):
        seen.add(pair)
    told = differences(base, head, seen.counted)
    return seen.comparison(facts_of(base), facts_of(head), unpaired, told)


def compare_parts(
    experiment: StoredExperiment,
    parts: tuple[Part, Part],
    *,
    higher_is_better: Collection[str] = (),
) -> RunComparison:
    """Compare two parts of one experiment, as if they were two runs.

    Args:
        experiment: What they are parts of.
        parts: What the one is compared with, and the one that is judged.
        higher_is_better: Metrics of which more is better, such as throughput.
    """
    seen, unpaired = _Seen(frozenset(higher_is_better)), Unpaired()
    base, head = parts
    then = dict(
        zip(base.tests, seen.then.noting(iter(base.tests.values())), strict=True)
    )
    now = dict(zip(head.tests, seen.now.noting(iter(head.tests.values())), strict=True))
    for key, test in now.items():
        if key in then:
            seen.add(Pair(then[key], test))
        else:
            unpaired.new.append(test)
    unpaired.gone += [test for key, test in then.items() if key not in now]
    facts = facts_of(experiment)
    found = seen.comparison(
        replace(facts, name=f"{facts.name} with {base.name}"),
        replace(facts, name=f"{facts.name} with {head.name}"),
        unpaired,
        (Difference(base.by, base.value, head.value),),
    )
    # Their tests differ by the very value that they are split by.
    return replace(found, renamed=())


def _told(
    store: Store, head: StoredExperiment, each: Callable[[Test], object]
) -> Iterator[Test]:
    for test in grouped(measuring.measured(store, head.number)):
        each(test)
        yield test


def facts_of(experiment: StoredExperiment) -> RunFacts:
    """What a report says of a run."""
    return RunFacts(
        id=experiment.id,
        project=experiment.project,
        name=experiment.shown_name,
        created_at=experiment.created_at,
        branch=experiment.branch,
        commit=experiment.commit,
        dirty=experiment.dirty,
        url=experiment.url,
    )


def _loss(change: TestChange) -> tuple[float, str, str, str]:
    return change.difference, change.nodeid, change.part, change.score


@dataclass(slots=True)
class _Side:
    """How many tests a run has, how many measured nothing, and the scores it has."""

    #: Without those that the other run was not asked for.
    counts: Counting = field(default_factory=Counting)
    #: In the order in which they come.
    scores: dict[str, None] = field(default_factory=dict)
    metrics: dict[str, object] = field(default_factory=dict)
    #: What those tests spent that the other run has too.
    spending: Spending = field(default_factory=Spending)

    def noting(self, tests: Iterator[Test]) -> Iterator[Test]:
        for test in tests:
            for name in test.scores:
                self.scores[name] = None
            self.metrics.update(test.metrics)
            yield test


@dataclass(slots=True)
class _Seen:
    """What there is to say after each pair; holds no test longer than that."""

    higher_is_better: frozenset[str]
    then: _Side = field(default_factory=_Side)
    now: _Side = field(default_factory=_Side)
    shared: int = 0
    measured: int = 0
    #: The scores that tests of both runs had then, and the metrics.
    expected: dict[str, object] = field(default_factory=dict)
    expected_metrics: dict[str, object] = field(default_factory=dict)
    counted: Counted = field(default_factory=Counted)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    changes: list[TestChange] = field(default_factory=list)
    #: By score, how many tests had it then and, though they ran, not now.
    lost: Counter[str] = field(default_factory=Counter)
    #: In how many of these it said None: it was to be measured, and could not.
    unscored: Counter[str] = field(default_factory=Counter)
    _scores: dict[str, PairedAccumulator] = field(
        default_factory=lambda: defaultdict(PairedAccumulator)
    )
    _metrics: dict[str, PairedAccumulator] = field(
        default_factory=lambda: defaultdict(PairedAccumulator)
    )

    def add(self, pair: Pair) -> None:
        self.shared += 1
        if not pair.then.errored and not pair.now.errored:
            self.measured += not (pair.then.silent and pair.now.silent)
        self.then.counts.add(pair.then)
        self.now.counts.add(pair.now)
        self.then.spending.add(pair.then.trials)
        self.now.spending.add(pair.now.trials)
        self.expected.update(pair.then.scores)
        self.expected_metrics.update(pair.then.metrics)
        self.counted.add(pair)
        if pair.renamed:
            self.renamed.append((pair.then.nodeid, pair.now.nodeid))
        self._add_scores(pair)
        for name, now in pair.now.metrics.items():
            then = pair.then.metrics.get(name)
            if then is not None:
                self._metrics[name].add(then, now)

    def comparison(
        self,
        base: RunFacts,
        head: RunFacts,
        unpaired: Unpaired,
        changed: Iterable[Difference],
    ) -> RunComparison:
        """What there is to say once all pairs were seen."""
        self._count_alone(unpaired)
        return RunComparison(
            base=base,
            head=head,
            measures=self._measures(),
            shared=self.shared,
            measured=self.measured,
            new=tuple(each.nodeid for each in unpaired.new),
            gone=tuple(each.nodeid for each in unpaired.gone),
            renamed=tuple(self.renamed),
            then=self.then.counts.result(),
            now=self.now.counts.result(),
            scores_new=tuple(n for n in self.now.scores if n not in self.then.scores),
            scores_gone=self._scores_gone(),
            not_run=self._not_run(),
            changes=tuple(sorted(self.changes, key=_loss)),
            differences=tuple(changed),
            totals=self._totals(),
            all_new=not self.shared and not unpaired.missing,
        )

    def _count_alone(self, unpaired: Unpaired) -> None:
        """Count the tests that the other run was asked for and has not."""
        for test in unpaired.missing:
            self.then.counts.add(test)
        for test in unpaired.added:
            self.now.counts.add(test)

    def _add_scores(self, pair: Pair) -> None:
        both = 0
        for name, now in pair.now.scores.items():
            then = pair.then.scores.get(name)
            if then is None:
                continue
            both += 1
            if self._scores[name].add(then, now):
                self.changes.append(_change(pair, name))
        if both < len(pair.then.scores) and not pair.now.errored:
            lost = pair.then.scores.keys() - pair.now.scores.keys()
            self.lost.update(lost)
            self.unscored.update(lost & pair.now.unscored)

    def _scores_gone(self) -> tuple[str, ...]:
        """What tests of both runs had then, and none so much as says None of now."""
        return tuple(
            name
            for name in self.expected
            if name not in self.now.scores and not self.unscored[name]
        )

    def _totals(self) -> dict[str, tuple[float, float]]:
        """Of what both runs have, what the tests in both spent then and now."""
        then, now = self.then.spending.result(), self.now.spending.result()
        return {name: (then[name], now[name]) for name in now if name in then}

    def _not_run(self) -> tuple[str, ...]:
        """The scores and metrics that only such tests had then as have no row now."""
        scores = self.then.scores.keys() - self.expected.keys() - self.now.scores.keys()
        metrics = self.then.metrics.keys() - self.expected_metrics.keys()
        return tuple(sorted(scores | (metrics - self.now.metrics.keys())))

    @property
    def measurable(self) -> bool:
        """Whether few enough errored in both runs."""
        return all(e.counts.result().measurable for e in (self.then, self.now))

    def _measures(self) -> tuple[Measure, ...]:
        for name in self.unscored:
            # Of one that no test could measure there is nothing to compare.
            self._scores.setdefault(name, PairedAccumulator())
        scores = statistics.judged_together(
            [each.result() for each in self._scores.values()]
        )
        metrics = (
            statistics.judged_together([each.result()])[0]
            for each in self._metrics.values()
        )
        return (
            *map(self._score, self._scores, scores),
            *map(self._metric, self._metrics, metrics),
        )

    def _score(self, name: str, judged: Judged) -> Measure:
        return self._measure(name, "score", "higher", judged)

    def _metric(self, name: str, judged: Judged) -> Measure:
        better: Better = "higher" if name in self.higher_is_better else "lower"
        return self._measure(name, "metric", better, judged)

    def _measure(
        self, name: str, kind: Kind, better: Better, judged: Judged
    ) -> Measure:
        numbers = _bounded(judged.numbers) if kind == "score" else judged.numbers
        verdict = statistics.verdict(numbers, better=better, p_value=judged.p_value)
        if kind == "metric" and is_time(name) and _is_small(numbers):
            verdict = "no evidence"
        found = Measure(
            name=name,
            kind=kind,
            better=better,
            numbers=numbers,
            p_value=judged.p_value,
            verdict=verdict,
            sensitivity=statistics.sensitivity(
                numbers,
                alpha=judged.level,
                most=1.0 if kind == "score" else math.inf,
            ),
            lost=self.lost[name] if kind == "score" else 0,
            unscored=self.unscored[name] if kind == "score" else 0,
        )
        if self.measurable and not found.why_unmeasurable:
            return found
        return replace(found, verdict="not measurable")


def _change(pair: Pair, score: str) -> TestChange:
    then, now = pair.then.scores[score], pair.now.scores[score]
    return TestChange(
        nodeid=pair.now.nodeid,
        part=pair.now.part,
        score=score,
        then=sum(then) / len(then),
        now=sum(now) / len(now),
        nodeid_then=pair.then.nodeid,
        trials=len(now),
    )


def _bounded(numbers: statistics.Comparison) -> statistics.Comparison:
    """The same, with no difference in its interval that scores cannot have."""
    if numbers.interval is None:
        return numbers
    low, high = numbers.interval
    return replace(numbers, interval=Interval(max(low, -1.0), min(high, 1.0)))


def _is_small(numbers: statistics.Comparison) -> bool:
    """Whether a time moved by less than the load of a machine may move them all.

    That noise is common to the tests of a run, and so none that the spread between
    tests could show. Of what is not measurable it is not asked.
    """
    if numbers.p_value is None or numbers.difference is None or numbers.then is None:
        return False
    small = max(SMALL_SHARE * numbers.then, SMALL_SECONDS)
    return abs(numbers.difference) < small
