"""What a comparison can see, and what it would take to see more."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_braintrust.statistics.distributions import normal_quantile
from pytest_braintrust.statistics.numbers import (
    NOISE,
    POWER,
    Comparison,
    Sensitivity,
    probability,
)


def sensitivity(
    comparison: Comparison,
    *,
    power: float = POWER,
    alpha: float | None = None,
    most: float = math.inf,
) -> Sensitivity:
    """Say which difference these tests would show, and what the observed one needs.

    Miller 2024, equations 9 and 10, with the variance of the tests' differences in
    the place of its estimate ω² + σ_A²/K_A + σ_B²/K_B, and Guenther's ½ z²_{α/2}
    for the variance being estimated::

        tests      = (z_{α/2} + z_β)² Var(d) / δ² + ½ z²_{α/2}
        detectable = (z_{α/2} + z_β) √(Var'(d) / (n − ½ z²_{α/2}))
        trials     = (σ_A² + σ_B²) / (δ² (n − ½ z²_{α/2}) / (z_{α/2} + z_β)² − ω²)

    A difference δ makes tests change beside those that change by noise: δ / c of
    them where all go one way, with c the mean size of a change. So where δ is above
    the observed difference, Var'(d) = Var(d) + δ c − δ², by which it is the root of
    a quadratic; else Var'(d) = Var(d). On pass/fail scores near 1 that is most of it.

    Neither number is let fall below what the sign flips ask for: `fewest_changes`
    tests that change by the usual size, at the rate at which tests changed here.

    Args:
        comparison: What was measured.
        power: The share of such differences that would be seen; between 0 and 1.
        alpha: As in `verdict`.
        most: The largest difference that there can be: 1 for scores.

    Raises:
        ValueError: `power` or `alpha` is not between 0 and 1.
    """
    level = probability("alpha", comparison.alpha if alpha is None else alpha)
    critical = normal_quantile(1 - level / 2)
    plan = _Plan(
        reach=critical + normal_quantile(power),
        lost=critical**2 / 2,
        fewest=math.floor(1 - math.log2(level)) + 1,
    )
    detectable = plan.detectable(comparison)
    return Sensitivity(
        detectable=detectable if detectable is None or detectable <= most else None,
        tests_needed=plan.tests_needed(comparison),
        trials_needed=plan.trials_needed(comparison),
        fewest_changes=plan.fewest,
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """Equations 9 and 10 for one alpha and power; see `sensitivity`."""

    reach: float
    lost: float
    fewest: int

    def detectable(self, comparison: Comparison) -> float | None:
        variance = _variance(comparison)
        tests = comparison.tests
        if variance is None or tests < self.fewest or not comparison.change:
            return None
        by_noise = self.reach * math.sqrt(variance / (tests - self.lost))
        change = comparison.change
        if by_noise > abs(comparison.difference or 0.0):
            by_noise = self._beyond(tests, variance, change)
        return max(by_noise, self.fewest * change / tests)

    def _beyond(self, tests: int, variance: float, change: float) -> float:
        """δ where δ² (n − lost) = reach² (variance + δ · change − δ²)."""
        square = self.reach**2
        leading, linear = tests - self.lost + square, square * change
        root = math.sqrt(max(0.0, linear**2 + 4 * leading * square * variance))
        return (linear + root) / (2 * leading)

    def tests_needed(self, comparison: Comparison) -> int | None:
        variance, delta = _variance(comparison), _delta(comparison)
        if variance is None or delta is None:
            return None
        by_noise = self.reach**2 * variance / delta**2 + self.lost
        changed = comparison.rose + comparison.fell
        by_changes = self.fewest * comparison.tests / changed
        return math.ceil(max(by_noise, by_changes))

    def trials_needed(self, comparison: Comparison) -> int | None:
        delta = _delta(comparison)
        if delta is None or comparison.between is None or comparison.within is None:
            return None
        if comparison.tests < self.fewest:
            return None
        allowed = delta**2 * (comparison.tests - self.lost) / self.reach**2
        spare = allowed - comparison.between
        return max(1, math.ceil(comparison.within / spare)) if spare > 0 else None


def _variance(comparison: Comparison) -> float | None:
    error = comparison.standard_error
    return None if error is None else error**2 * comparison.tests


def _delta(comparison: Comparison) -> float | None:
    """The size of the observed difference; None where it is none or float noise."""
    size = abs(comparison.difference or 0.0)
    return size if size > NOISE * comparison.change else None
