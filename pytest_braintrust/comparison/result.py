"""What a comparison of two runs says, as plain data for reports and gates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from pytest_braintrust.comparison.counting import Counts, too_many
from pytest_braintrust.statistics import Better, Comparison, Sensitivity, Verdict
from pytest_braintrust.words import a_number

Kind: TypeAlias = Literal["score", "metric"]
#: What all scores together say: `mixed` has better and worse ones, `same` none of
#: which any test changed.
Overall: TypeAlias = Literal[
    "better", "worse", "mixed", "no evidence", "same", "not measurable"
]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Which run, and what it recorded about how it was made."""

    id: str
    project: str
    name: str
    created_at: float
    branch: str | None = None
    commit: str | None = None
    dirty: bool = False
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One score or metric in both runs.

    Attributes:
        name: The score's or metric's name.
        kind: `score`, in [0, 1], or `metric`, an amount.
        better: The direction that is better.
        numbers: The paired comparison over tests that both runs measured.
        p_value: Corrected for the scores that are judged together; of a metric the
            plain one. None where not measurable.
        verdict: By `p_value`.
        sensitivity: What would be seen at this number of tests, and what it takes,
            at the level that the correction leaves.
        lost: How many tests measured it then, and did not now, though they ran.
        unscored: How many of these said None of it, as of what could not be measured.
    """

    name: str
    kind: Kind
    better: Better
    numbers: Comparison
    p_value: float | None
    verdict: Verdict
    sensitivity: Sensitivity
    lost: int = 0
    unscored: int = 0

    @property
    def why_unmeasurable(self) -> str:
        """In how many tests it could not be measured, where these are too many."""
        had = self.numbers.tests + self.lost
        if not too_many(self.unscored, had):
            return ""
        return f"not scored in {self.unscored:,} of {a_number(had, 'test')} that had it"

    @property
    def moved(self) -> bool:
        """Whether any test changed."""
        return self.numbers.rose + self.numbers.fell > 0

    @property
    def too_few(self) -> bool:
        """Whether there would be no evidence if all of its tests changed."""
        return self.numbers.tests < self.sensitivity.fewest_changes

    @property
    def improved(self) -> int:
        """How many tests got better."""
        return self.numbers.rose if self.better == "higher" else self.numbers.fell

    @property
    def worsened(self) -> int:
        """How many tests got worse."""
        return self.numbers.fell if self.better == "higher" else self.numbers.rose


@dataclass(frozen=True, slots=True)
class TestChange:
    """A test of which one score is another one now."""

    nodeid: str
    part: str
    score: str
    then: float
    now: float
    #: Its node id then, where that was another one.
    nodeid_then: str
    #: How many times it was measured now.
    trials: int = 1

    @property
    def difference(self) -> float:
        """How much the score rose."""
        return self.now - self.then


@dataclass(frozen=True, slots=True)
class WorseTest:
    """A test of which a score fell, or several."""

    nodeid: str
    part: str
    nodeid_then: str
    #: The scores that fell, the largest loss first.
    losses: tuple[TestChange, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that the runs recorded about themselves and that is not the same."""

    what: str
    then: str
    now: str


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs side by side."""

    base: RunFacts
    head: RunFacts
    measures: tuple[Measure, ...]
    #: Tests in both runs, renamed ones counted.
    shared: int
    #: Those of them that errored in neither and were to have scores.
    measured: int
    new: tuple[str, ...]
    #: In the baseline alone: taken away, or not run now.
    gone: tuple[str, ...]
    #: By the node ids then and now.
    renamed: tuple[tuple[str, str], ...]
    #: The tests of each run, without those that the other one was not asked for.
    then: Counts
    now: Counts
    #: Scores that only the run that is judged has.
    scores_new: tuple[str, ...]
    #: Those that tests of both runs had then, and no test has now.
    scores_gone: tuple[str, ...]
    #: Scores and metrics that only such tests had in the baseline as have no row now.
    not_run: tuple[str, ...]
    #: Scores of tests that moved, the largest loss first.
    changes: tuple[TestChange, ...] = field(repr=False)
    differences: tuple[Difference, ...] = ()
    #: Of costs and tokens that both runs have, what the tests in both came to then and
    #: now.
    totals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    #: Whether the run was asked for none of the tests that its baseline has.
    all_new: bool = False
    #: What all scores say, where this is of some of them.
    whole: RunComparison | None = field(default=None, repr=False)

    def only(self, names: Collection[str]) -> RunComparison:
        """Some scores and metrics alone; what the runs come to stays what it is."""
        return replace(
            self,
            measures=tuple(each for each in self.measures if each.name in names),
            changes=tuple(each for each in self.changes if each.score in names),
            scores_new=(),
            scores_gone=(),
            whole=self.whole or self,
        )

    @property
    def scores(self) -> Sequence[Measure]:
        """The scores, in the order in which the run now has them."""
        return [each for each in self.measures if each.kind == "score"]

    @property
    def metrics(self) -> Sequence[Measure]:
        """The metrics."""
        return [each for each in self.measures if each.kind == "metric"]

    @property
    def moved(self) -> Sequence[Measure]:
        """The scores that changed, without those that too many could not measure."""
        return [e for e in self.scores if e.moved and not e.why_unmeasurable]

    @property
    def known(self) -> set[str]:
        """The scores and metrics that the baseline has."""
        both = (each.name for each in self.measures)
        return {*both, *self.scores_gone, *self.not_run}

    @property
    def overall(self) -> Overall:
        """What all scores together say."""
        if self.whole is not None:
            return self.whole.overall
        verdicts = {each.verdict for each in self.scores}
        if {"improved", "regressed"} <= verdicts:
            return "mixed"
        if "regressed" in verdicts:
            return "worse"
        if "improved" in verdicts:
            return "better"
        if "no evidence" not in verdicts:
            return "not measurable"
        return "no evidence" if self.moved else "same"

    @property
    def drifted(self) -> bool:
        """Whether a score moved beyond noise and nothing that was recorded changed."""
        return self.overall in {"better", "worse", "mixed"} and not self.differences

    @property
    def regressions(self) -> Sequence[TestChange]:
        """The scores of tests that fell, the largest loss first."""
        return [each for each in self.changes if each.difference < 0]

    @property
    def worse_tests(self) -> Sequence[WorseTest]:
        """The tests of which a score fell, the one with the largest loss first."""
        found: dict[tuple[str, str], list[TestChange]] = {}
        for each in self.regressions:
            found.setdefault((each.nodeid, each.part), []).append(each)
        return [
            WorseTest(nodeid, part, losses[0].nodeid_then, tuple(losses))
            for (nodeid, part), losses in found.items()
        ]
