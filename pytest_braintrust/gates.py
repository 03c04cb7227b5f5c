"""Judge a run by what was asked of it: pure functions from numbers to verdicts.

One place turns a verdict into an exit status; it is not here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_braintrust.comparison.alone import RunMeasures
from pytest_braintrust.comparison.counting import ERRORED_AT_MOST
from pytest_braintrust.comparison.result import Measure, RunComparison
from pytest_braintrust.errors import SettingsError
from pytest_braintrust.spending import is_spent
from pytest_braintrust.statistics import Estimate

#: `not measurable`: too much failed, or is not there, for the gate to say anything.
State: TypeAlias = Literal["passed", "failed", "not measurable"]

#: What a gate's limits are for: means of scores or of metrics, or a run's totals.
Limited: TypeAlias = Literal["score", "metric", "total"]

#: In the place of a name: each score.
ALL = "all"

#: Means that differ by less are the same: float noise.
_SAME = 1e-9

#: Sums beyond are written with a power of ten.
_MOST_DIGITS = 1e15


@dataclass(frozen=True, slots=True)
class Gates:
    """What a run has to hold.

    Attributes:
        fail_under: By score, the least mean.
        fail_over: By metric, the largest mean.
        max_drop: By score, the largest drop of the mean from the baseline.
        max_total: By metric that has one, the largest total of the run.
        on_regression: Whether no score may be worse beyond noise.
        require_baseline: Whether there must be a baseline.
    """

    fail_under: Mapping[str, float]
    fail_over: Mapping[str, float]
    max_drop: Mapping[str, float]
    max_total: Mapping[str, float] = field(default_factory=dict)
    on_regression: bool = False
    require_baseline: bool = False

    def __bool__(self) -> bool:
        """Whether anything was asked for."""
        limits = (self.fail_under, self.fail_over, self.max_drop, self.max_total)
        return any(limits) or self.on_regression or self.require_baseline


#: Where nothing is asked for.
NONE = Gates({}, {}, {})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate says, as a line that a person reads."""

    state: State
    text: str
    #: The limit that could not be held against anything, as no test measured what it
    #: is for. Another experiment of the run may have it.
    absent: tuple[str, str] | None = None
    #: Whether it is the run that fell short: a first run has no baseline, and is one.
    of_run: bool = True


def limits(expressions: Sequence[str], where: str, of: Limited) -> dict[str, float]:
    """Read `NAME=NUMBER` expressions, such as `accuracy=0.8`; `all=` is every score.

    Args:
        expressions: As they were given.
        where: The option or ini value, for the error.
        of: What the names are. The limits of scores lie in [0, 1]; of metrics there
            is no `all`, as a limit for seconds is none for tokens.

    Raises:
        SettingsError: one is not of that form, the number is out of range, or the
            metric has no total.
    """
    found: dict[str, float] = {}
    for each in expressions:
        name, equals, text = each.rpartition("=")
        if not equals or not name.strip():
            msg = f"{where}: {each!r} is not of the form NAME=NUMBER, as accuracy=0.8"
            raise SettingsError(msg)
        if name.strip() == ALL and of != "score":
            msg = f"{where}: {each!r} names no metric; give each its own limit"
            raise SettingsError(msg)
        if of == "total" and not is_spent(name):
            msg = (
                f"{where}: {name.strip()!r} has no total: only costs and tokens have "
                "one, by the words `cost` and `tokens` in their names; for a mean use "
                "fail-over"
            )
            raise SettingsError(msg)
        found[name.strip()] = _number(text, each, where, scores=of == "score")
    return found


def _number(text: str, expression: str, where: str, *, scores: bool) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (scores and not 0 <= number <= 1):
        what = "a number from 0 to 1" if scores else "a number"
        msg = f"{where}: in {expression!r}, {text.strip()!r} is not {what}"
        raise SettingsError(msg)
    return number


def judge(
    gates: Gates,
    run: RunMeasures,
    comparison: RunComparison | None,
    *,
    why_none: str = "",
) -> list[Verdict]:
    """Judge a run by its gates; one verdict for each thing that was asked.

    Args:
        gates: What was asked.
        run: The run's own numbers, without errored tests.
        comparison: With the baseline; None where there is none.
        why_none: Why there is none, where that is not that it is the first run.
    """
    return [*_alone(gates, run), *_against(gates, comparison, why_none)]


def excused(
    verdict: Verdict, standing: Collection[tuple[str, str]], not_run: Collection[str]
) -> Verdict:
    """The same, or that it is not judged, where that is no fault of the run.

    Args:
        verdict: What its gate says.
        standing: The limits that are there for every run, as in `absent`.
        not_run: What only tests measure that the run was not asked for.
    """
    if verdict.absent is None or verdict.absent not in standing:
        return verdict
    if verdict.absent[1] not in not_run:
        return verdict
    text = f"{verdict.absent[1]} is not judged: no test that has it was to be run"
    return Verdict("passed", text, of_run=False)


def unjudged(gates: Gates) -> list[Verdict]:
    """The verdict on a run that recorded nothing; none where nothing was asked."""
    if not gates:
        return []
    return [Verdict("not measurable", "no test recorded anything to judge by")]


def summed(verdicts: Iterable[Verdict]) -> State:
    """What they say together: one that failed says more than one that cannot say."""
    states = {each.state for each in verdicts}
    if "failed" in states:
        return "failed"
    return "not measurable" if "not measurable" in states else "passed"


def _alone(gates: Gates, run: RunMeasures) -> Iterator[Verdict]:
    # Whatever errored was paid too.
    for name, limit in gates.max_total.items():
        yield _in_all(name, limit, run.totals)
    if not gates.fail_under and not gates.fail_over:
        return
    if not run.counts.measurable:
        text = (
            f"{run.counts.why_unmeasurable}, more than {ERRORED_AT_MOST:.0%}: "
            "their means say nothing"
        )
        yield Verdict("not measurable", text)
        return
    under = _each(gates.fail_under, run.scores)
    for name, limit in under.items():
        yield _under(name, limit, run.scores)
    for name, limit in gates.fail_over.items():
        yield _over(name, limit, run.metrics)


def _under(name: str, limit: float, known: Mapping[str, Estimate]) -> Verdict:
    found = known.get(name)
    if found is None or found.mean is None:
        return _absent("fail_under", name, known)
    if found.mean < limit - _SAME:
        text = f"{name} is {found.mean:.4g}, {limit - found.mean:.2g} under {limit:g}"
        return Verdict("failed", text)
    return Verdict("passed", f"{name} is {found.mean:.4g}, at least {limit:g}")


def _over(name: str, limit: float, known: Mapping[str, Estimate]) -> Verdict:
    found = known.get(name)
    if found is None or found.mean is None:
        return _absent("fail_over", name, known)
    if found.mean > limit + _SAME * abs(limit):
        text = f"{name} is {found.mean:.4g}, {found.mean - limit:.2g} over {limit:g}"
        return Verdict("failed", text)
    return Verdict("passed", f"{name} is {found.mean:.4g}, at most {limit:g}")


def _in_all(name: str, limit: float, known: Mapping[str, float]) -> Verdict:
    found = known.get(name)
    if found is None:
        return _absent("max_total", name, known)
    text = f"{name} is {_sum(found)} in all"
    if found > limit + _SAME * abs(limit):
        text = f"{text}, {_sum(found - limit)} over {_sum(limit)}"
        return Verdict("failed", text)
    return Verdict("passed", f"{text}, at most {_sum(limit)}")


def _sum(number: float) -> str:
    """A sum in digits: of tokens there are soon millions."""
    whole = float(number).is_integer() and abs(number) < _MOST_DIGITS
    return f"{number:,.0f}" if whole else f"{number:,.4g}"


def _absent(gate: str, name: str, known: Iterable[str]) -> Verdict:
    there = ", ".join(known) or "nothing"
    text = f"{name}: no test has it; there is {there}"
    return Verdict("not measurable", text, absent=(gate, name))


def _each(asked: Mapping[str, float], known: Mapping[str, object]) -> dict[str, float]:
    """Limits by name, with `all` spelt out; a name's own limit goes over that."""
    spelt = dict.fromkeys(known, asked[ALL]) if ALL in asked else {}
    return {**spelt, **{name: each for name, each in asked.items() if name != ALL}}


def _against(
    gates: Gates, comparison: RunComparison | None, why_none: str
) -> Iterator[Verdict]:
    if comparison is None:
        if gates.require_baseline:
            text = "there is no baseline to compare with"
            yield Verdict("failed", text, of_run=False)
        elif gates.max_drop or gates.on_regression:
            text = f"there is no baseline{'' if why_none else ' yet'} to compare with"
            yield Verdict("passed", text, of_run=False)
        return
    if gates.require_baseline:
        yield Verdict("passed", f"compared with {comparison.base.name}")
    if not gates.max_drop and not gates.on_regression:
        return
    for when, counts in (("then", comparison.then), ("now", comparison.now)):
        if not counts.measurable:
            text = f"{counts.why_unmeasurable} {when}"
            yield Verdict("not measurable", f"{text}, more than {ERRORED_AT_MOST:.0%}")
            return
    if comparison.all_new:
        text = "this run was asked for none of the baseline's tests"
        yield Verdict("passed", text, of_run=False)
        return
    known = {each.name: each for each in comparison.scores}
    for name, limit in _each(gates.max_drop, known).items():
        yield _dropped(name, limit, known)
    if gates.on_regression:
        yield from _regressed(comparison)


def _unmeasured(score: Measure) -> Verdict:
    # The run fell short: beside it, the next one would not know what was to be scored.
    text = f"{score.name} is {score.why_unmeasurable}, more than {ERRORED_AT_MOST:.0%}"
    return Verdict("failed", text)


def _dropped(name: str, limit: float, known: Mapping[str, Measure]) -> Verdict:
    found = known.get(name)
    if found is not None and found.why_unmeasurable:
        return _unmeasured(found)
    if found is None or found.numbers.difference is None:
        return _absent("max_drop", name, known)
    numbers = found.numbers
    drop = -(numbers.difference or 0.0)
    moved = f"from {numbers.then:.4g} to {numbers.now:.4g}"
    if drop > limit + _SAME:
        text = f"{name} dropped by {drop:.4g} {moved}, {drop - limit:.2g} more than"
        return Verdict("failed", f"{text} {limit:g}")
    return Verdict("passed", f"{name} went {moved}, no drop by more than {limit:g}")


def _regressed(comparison: RunComparison) -> Iterator[Verdict]:
    worse = [each for each in comparison.scores if each.verdict == "regressed"]
    for each in worse:
        numbers = each.numbers
        yield Verdict(
            "failed",
            f"{each.name} regressed by {abs(numbers.difference or 0.0):.4g} from "
            f"{numbers.then:.4g} to {numbers.now:.4g}, beyond noise "
            f"(p={each.p_value or 0.0:.2g}, {each.worsened} tests worse)",
        )
    unmeasured = [each for each in comparison.scores if each.why_unmeasurable]
    yield from map(_unmeasured, unmeasured)
    if worse or unmeasured:
        return
    if any(each.verdict != "not measurable" for each in comparison.scores):
        yield Verdict("passed", "no score is worse beyond noise")
    else:
        yield Verdict("not measurable", "no score can be compared with the baseline")
