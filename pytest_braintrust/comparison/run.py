"""Compare two experiments of a store, streaming both."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from pytest_braintrust import statistics
from pytest_braintrust.comparison.differing import Counted, differences
from pytest_braintrust.comparison.pairing import (
    Pair,
    Test,
    Unpaired,
    grouped,
    pairs,
)
from pytest_braintrust.comparison.result import (
    Counts,
    Kind,
    Measure,
    RunComparison,
    RunFacts,
    TestChange,
)
from pytest_braintrust.statistics import Better, Judged, PairedAccumulator
from pytest_braintrust.store import measuring
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment


def compare(
    store: Store,
    base: StoredExperiment,
    head: StoredExperiment,
    *,
    higher_is_better: Collection[str] = (),
) -> RunComparison:
    """Compare an experiment with an earlier one.

    Args:
        store: Where both are.
        base: What it is compared with.
        head: The run that is judged.
        higher_is_better: Metrics of which more is better, such as throughput.

    Raises:
        StoreError: the store could not be read.
    """
    seen = _Seen(frozenset(higher_is_better))
    unpaired = Unpaired()
    then = seen.then.counting(grouped(measuring.measured(store, base.number)))
    now = seen.now.counting(grouped(measuring.measured(store, head.number)))
    for pair in pairs(then, now, unpaired):
        seen.add(pair)
    return RunComparison(
        base=facts_of(base),
        head=facts_of(head),
        measures=seen.measures(),
        shared=seen.shared,
        new=tuple(each.nodeid for each in unpaired.new),
        gone=tuple(each.nodeid for each in unpaired.gone),
        renamed=tuple(seen.renamed),
        then=seen.then.counts,
        now=seen.now.counts,
        scores_new=tuple(n for n in seen.now.scores if n not in seen.then.scores),
        scores_gone=tuple(n for n in seen.then.scores if n not in seen.now.scores),
        changes=tuple(sorted(seen.changes, key=_loss)),
        differences=tuple(differences(base, head, seen.counted)),
    )


def facts_of(experiment: StoredExperiment) -> RunFacts:
    """What a report says of a run."""
    info = experiment.repo_info or {}
    return RunFacts(
        id=experiment.id,
        project=experiment.project,
        name=experiment.remote_name or experiment.name,
        created_at=experiment.created_at,
        branch=info.get("branch"),
        commit=info.get("commit"),
        dirty=bool(info.get("dirty")),
        url=experiment.url,
    )


def _loss(change: TestChange) -> tuple[float, str, str, str]:
    return change.difference, change.nodeid, change.part, change.score


@dataclass(slots=True)
class _Side:
    """How many tests a run has, how many measured nothing, and the scores it has."""

    tests: int = 0
    errored: int = 0
    #: In the order in which they come.
    scores: dict[str, None] = field(default_factory=dict)

    def counting(self, tests: Iterator[Test]) -> Iterator[Test]:
        for test in tests:
            self.tests += 1
            self.errored += test.errored
            for each in test.trials:
                self.scores.update(dict.fromkeys(each.scores))
            yield test

    @property
    def counts(self) -> Counts:
        return Counts(self.tests, self.errored)


@dataclass(slots=True)
class _Seen:
    """What there is to say after each pair; holds no test longer than that."""

    higher_is_better: frozenset[str]
    then: _Side = field(default_factory=_Side)
    now: _Side = field(default_factory=_Side)
    shared: int = 0
    counted: Counted = field(default_factory=Counted)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    changes: list[TestChange] = field(default_factory=list)
    _scores: dict[str, PairedAccumulator] = field(default_factory=dict)
    _metrics: dict[str, PairedAccumulator] = field(default_factory=dict)

    def add(self, pair: Pair) -> None:
        self.shared += 1
        self.counted.add(pair)
        if pair.renamed:
            self.renamed.append((pair.then.nodeid, pair.now.nodeid))
        for name in _names(pair, "scores"):
            self._add_score(name, pair)
        for name in _names(pair, "metrics"):
            then, now = pair.then.metrics(name), pair.now.metrics(name)
            if then and now:
                self._metrics.setdefault(name, PairedAccumulator()).add(then, now)

    def _add_score(self, name: str, pair: Pair) -> None:
        then, now = pair.then.scores(name), pair.now.scores(name)
        if not then or not now:
            return
        numbers = self._scores.setdefault(name, PairedAccumulator())
        moved = numbers.rose + numbers.fell
        numbers.add(then, now)
        if numbers.rose + numbers.fell > moved:
            self.changes.append(
                TestChange(
                    nodeid=pair.now.nodeid,
                    part=pair.now.part,
                    score=name,
                    then=sum(then) / len(then),
                    now=sum(now) / len(now),
                    nodeid_then=pair.then.nodeid,
                )
            )

    def measures(self) -> tuple[Measure, ...]:
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
        numbers = judged.numbers
        verdict = statistics.verdict(numbers, better=better, p_value=judged.p_value)
        measurable = self.then.counts.measurable and self.now.counts.measurable
        return Measure(
            name=name,
            kind=kind,
            better=better,
            numbers=numbers,
            p_value=judged.p_value,
            verdict=verdict if measurable else "not measurable",
            sensitivity=statistics.sensitivity(numbers, alpha=judged.level),
        )


def _names(pair: Pair, what: str) -> list[str]:
    """The names that both runs have for a test, in the order of the run now."""
    now = dict.fromkeys(n for each in pair.now.trials for n in getattr(each, what))
    then = {n for each in pair.then.trials for n in getattr(each, what)}
    return [name for name in now if name in then]
