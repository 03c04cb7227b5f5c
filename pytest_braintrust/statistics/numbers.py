"""What the comparison of a score is made of: frozen values, and what counts as equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Better: TypeAlias = Literal["higher", "lower"]
Verdict: TypeAlias = Literal["improved", "regressed", "no evidence", "not measurable"]
#: Where a p-value comes from: all permutations, all permutations of differences that
#: are rounded to fine steps, Student's t, or nowhere (fewer than two tests).
Method: TypeAlias = Literal["exact", "rounded", "t", "none"]

ALPHA = 0.05
POWER = 0.8

#: Two values of one test that differ by less are the same: float noise.
SAME = 1e-12
#: A spread or a mean that is so small beside the values that it comes from is 0.
NOISE = 1e-9


class Interval(NamedTuple):
    """Both ends belong to it; `low <= high`."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of one score in one run.

    `mean` is None for no test, `standard_error` and `interval` for fewer than two.
    """

    tests: int
    mean: float | None
    standard_error: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One score in two runs, over the tests that both have.

    Values keep the sign and unit of the score: what rose is better only where higher
    is better, which `verdict` asks for.

    Attributes:
        tests: How many tests both runs have.
        then: Mean over tests of the mean over trials; None for no test. So is `now`.
        difference: Mean of now − then over tests; None for no test.
        standard_error: Of `difference`; None for fewer than two tests.
        interval: Of `difference`, at the level 1 − `alpha`. Contains 0 exactly when
            `p_value >= alpha`, 0 as an end aside; None for fewer than two tests.
        p_value: Two-sided, in [0, 1]; None for fewer than two tests.
        least: The smallest p-value that any outcome of these tests could have had.
        method: Where the p-value comes from.
        alpha: The level that `interval` was made for.
        rose: Tests with now > then, by more than float noise.
        fell: Tests with now < then, by more than float noise.
        same: The other tests.
        change: Mean size of the change of those that changed; 0 where none did.
        between: Variance over tests of the difference that endless trials would
            leave (ω² of Miller 2024); None where a run has no test with two trials.
        within: Variance of a trial about its test's mean, then and now added
            (σ_A² + σ_B²); None where `between` is.
    """

    tests: int
    then: float | None
    now: float | None
    difference: float | None
    standard_error: float | None
    interval: Interval | None
    p_value: float | None
    least: float | None
    method: Method
    alpha: float
    rose: int
    fell: int
    same: int
    change: float
    between: float | None
    within: float | None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What a comparison can see, and what it would take to see more.

    Attributes:
        detectable: The mean difference that these tests show with the asked power;
            None where no possible difference can be seen or nothing changed to judge
            by.
        tests_needed: Tests in all at which the observed difference would be seen
            with that power; None where there is no difference.
        trials_needed: Trials per test, in both runs, at which these tests would show
            the observed difference; None where no number is enough, or where the
            noise between trials is not known.
        fewest_changes: With fewer changed tests than this no p-value falls below
            alpha, whatever the size of the changes: 6 at 0.05.
    """

    detectable: float | None
    tests_needed: int | None
    trials_needed: int | None
    fewest_changes: int


def probability(name: str, value: float) -> float:
    """A value that is strictly between 0 and 1.

    Raises:
        ValueError: it is not; the text has the name.
    """
    if not 0 < value < 1:
        msg = f"{name} must be between 0 and 1, got {value!r}"
        raise ValueError(msg)
    return value
