"""What a comparison of two runs says, as plain data for reports and gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_braintrust.statistics import Better, Comparison, Sensitivity, Verdict

Kind: TypeAlias = Literal["score", "metric"]

#: With a larger share of errored tests than this nothing is called measured.
ERRORED_AT_MOST = 0.1


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
        p_value: Corrected for the number of scores judged together (Holm); of a
            metric the plain one. None where not measurable.
        verdict: By `p_value`.
        sensitivity: What would be seen at this number of tests, and what it takes.
    """

    name: str
    kind: Kind
    better: Better
    numbers: Comparison
    p_value: float | None
    verdict: Verdict
    sensitivity: Sensitivity

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
    """A test whose score is another one now."""

    nodeid: str
    part: str
    score: str
    then: float
    now: float
    #: Its node id then, where that was another one.
    nodeid_then: str

    @property
    def difference(self) -> float:
        """How much the score rose."""
        return self.now - self.then


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
    new: tuple[str, ...]
    gone: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    errored_then: int
    errored_now: int
    #: Tests whose score moved, the largest loss first.
    changes: tuple[TestChange, ...] = field(repr=False)
    differences: tuple[Difference, ...] = ()

    @property
    def scores(self) -> Sequence[Measure]:
        """The scores, in the order in which the run now has them."""
        return [each for each in self.measures if each.kind == "score"]

    @property
    def metrics(self) -> Sequence[Measure]:
        """The metrics."""
        return [each for each in self.measures if each.kind == "metric"]

    @property
    def drifted(self) -> bool:
        """Whether a score moved beyond noise and nothing that was recorded changed."""
        moved = any(each.verdict in {"improved", "regressed"} for each in self.scores)
        return moved and not self.differences

    @property
    def regressions(self) -> Sequence[TestChange]:
        """The tests whose score fell, the largest loss first."""
        return [each for each in self.changes if each.difference < 0]
