"""Find the tests that two runs have in common, while both stream by in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from pytest_braintrust.fields import PASS
from pytest_braintrust.store.measuring import Measured

#: What a test is known by in every run: its node id and the name of its row.
Key: TypeAlias = tuple[str, str]

#: Reads it off a row: by place, for that is quicker than by name.
_KEY = itemgetter(Measured._fields.index("nodeid"), Measured._fields.index("part"))


class Test(NamedTuple):
    """A test, or a row that it asked for, with all its trials in one run.

    Attributes:
        nodeid: The test.
        part: The name of the row that it asked for, or "".
        trials: Its rows.
        errored: Whether no trial measured anything.
        scores: By name, the score of each trial that measured it.
        metrics: By name, the metric of each trial that measured it.
        opened: Whether it asked for further rows, which have been kept too.
    """

    nodeid: str
    part: str
    trials: tuple[Measured, ...]
    errored: bool
    scores: Mapping[str, Sequence[float]]
    metrics: Mapping[str, Sequence[float]]
    opened: bool = False

    @classmethod
    def of(cls, trials: tuple[Measured, ...]) -> Test:
        """The test that rows are the trials of."""
        first = trials[0]
        told = [each for each in trials if not each.errored]
        return cls(
            nodeid=first.nodeid,
            part=first.part,
            trials=trials,
            errored=not told,
            scores=_by_name([each.scores for each in told]),
            metrics=_by_name([each.metrics for each in told]),
        )

    @property
    def measured(self) -> Sequence[Measured]:
        """The trials that did not error."""
        return [each for each in self.trials if not each.errored]

    @property
    def unscored(self) -> set[str]:
        """The scores of which trials said None, and none a number."""
        said = {name for each in self.measured for name in each.unscored}
        return said - self.scores.keys()

    @property
    def silent(self) -> bool:
        """Whether it tells how the test ended, and its further rows have the scores.

        It has no score beside `pass`, and needs none.
        """
        return self.opened and self.scores.keys() <= {PASS}

    @property
    def key(self) -> Key:
        """What it is known by in another run."""
        return self.nodeid, self.part


def _by_name(values: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    if len(values) == 1:
        # Most tests have one trial.
        return {name: [value] for name, value in values[0].items()}
    found: dict[str, list[float]] = {}
    for each in values:
        for name, value in each.items():
            found.setdefault(name, []).append(value)
    return found


@dataclass(frozen=True, slots=True)
class Pair:
    """One test in both runs."""

    then: Test
    now: Test

    @property
    def renamed(self) -> bool:
        """Whether it is known by another node id now, with the same input."""
        return self.then.key != self.now.key


@dataclass(slots=True)
class Unpaired:
    """Tests that one run has and the other has not, once all pairs were seen."""

    #: Whether the later run was asked for a test of the earlier one, by its node id: one
    #: that it was not asked for is not gone.
    asked_now: Callable[[str], bool] = lambda nodeid: True
    #: Whether the earlier run was asked for a test of the later one: else it is not new.
    asked_then: Callable[[str], bool] = lambda nodeid: True
    #: Tests that the earlier run alone has, and those that the later one alone has.
    gone: list[Test] = field(default_factory=list)
    new: list[Test] = field(default_factory=list)

    @property
    def missing(self) -> list[Test]:
        """Tests of the earlier run alone, that the later one was asked for."""
        return [each for each in self.gone if self.asked_now(each.nodeid)]

    @property
    def added(self) -> list[Test]:
        """Tests of the later run alone, that the earlier one was asked for."""
        return [each for each in self.new if self.asked_then(each.nodeid)]


def grouped(rows: Iterable[Measured]) -> Iterator[Test]:
    """Rows that are ordered by test, as tests with their trials.

    A test's further rows come right after its own.
    """
    last: Test | None = None
    for _, trials in groupby(rows, key=_KEY):
        test = Test.of(tuple(trials))
        if last is not None:
            opened = test.part and not last.part and test.nodeid == last.nodeid
            yield last._replace(opened=True) if opened else last
        last = test
    if last is not None:
        yield last


def pairs(
    then: Iterator[Test], now: Iterator[Test], unpaired: Unpaired
) -> Iterator[Pair]:
    """Pair the tests of two runs, each ordered by its key; renamed ones come last.

    What has no partner is put into `unpaired`: a test that is gone and one that is
    new are the same test renamed where both have the input that no other such test
    has, and both runs were to run it.
    """
    before, after = next(then, None), next(now, None)
    while before is not None and after is not None:
        if before.key < after.key:
            unpaired.gone.append(before)
            before = next(then, None)
        elif after.key < before.key:
            unpaired.new.append(after)
            after = next(now, None)
        else:
            yield Pair(before, after)
            before, after = next(then, None), next(now, None)
    unpaired.gone += [before, *then] if before is not None else []
    unpaired.new += [after, *now] if after is not None else []
    yield from _renamed(unpaired)


def _renamed(unpaired: Unpaired) -> list[Pair]:
    gone, new = _by_input(unpaired.missing), _by_input(unpaired.added)
    found = [
        Pair(gone[each][0], new[each][0])
        for each in gone
        if len(gone[each]) == 1 and len(new.get(each, ())) == 1
    ]
    then = {pair.then.key for pair in found}
    now = {pair.now.key for pair in found}
    unpaired.gone = [each for each in unpaired.gone if each.key not in then]
    unpaired.new = [each for each in unpaired.new if each.key not in now]
    return found


def _by_input(tests: Sequence[Test]) -> dict[tuple[str, str], list[Test]]:
    result: dict[tuple[str, str], list[Test]] = defaultdict(list)
    for test in tests:
        result[test.trials[0].input_hash, test.part].append(test)
    return result
