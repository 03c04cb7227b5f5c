"""A comparison of two runs as lines of text that fit 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pytest_braintrust.comparison.details import Detail
from pytest_braintrust.comparison.result import (
    ERRORED_AT_MOST,
    Measure,
    RunComparison,
)
from pytest_braintrust.reports.lines import Line, fitted, name_of, padded, plain, short

#: How many of the worst tests are shown.
WORST = 5

_NAME = 18
_HEAD = f"  {{:<{_NAME}}}    then     now  change     95 % interval    better worse"
_STYLES = {"improved": "green", "regressed": "red"}
_MARKS = {"improved": "▲", "regressed": "▼"}


def render(
    comparison: RunComparison, details: Sequence[Detail], how: str = ""
) -> Iterator[Line]:
    """The table, what it means in words, what changed, and the worst tests."""
    yield Line(
        f"compared with {name_of(comparison.base.name)}{f' ({how})' if how else ''}"
    )
    yield from table(comparison.measures)
    yield from words(comparison)
    yield from what_changed(comparison)
    yield from worst(details, len(comparison.regressions))


def table(measures: Sequence[Measure]) -> Iterator[Line]:
    """A line a score: then, now, change, its interval, tests better and worse.

    ▲ and ▼ mark what got better and worse by more than noise.
    """
    for kind, title in (("score", "score"), ("metric", "metric")):
        shown = [each for each in measures if each.kind == kind]
        if shown:
            yield Line(_HEAD.format(title), long="left")
        for each in shown:
            yield Line(_row(each), _STYLES.get(each.verdict, ""), long="left")


def _row(each: Measure) -> str:
    numbers = each.numbers
    show = shower(each)
    name = plain(each.name)
    if each.kind == "metric" and each.better == "higher":
        name += " (more is better)"
    span = "-"
    if numbers.interval is not None:
        low, high = numbers.interval
        span = f"{show(low, '+'):>7} … {show(high, '+'):>7}"
    return (
        f"{_MARKS.get(each.verdict, ' ')} {padded(fitted(name, _NAME), _NAME)} "
        f"{show(numbers.then):>7} {show(numbers.now):>7} "
        f"{show(numbers.difference, '+'):>7}  {span:^17}  "
        f"{each.improved:>6} {each.worsened:>5}"
    )


def shower(each: Measure) -> Callable[..., str]:
    """How the numbers of a measure are written: scores alike, metrics as they come."""
    return _fixed if each.kind == "score" else _short


def _fixed(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.3f}"


def _short(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.3g}"


def words(comparison: RunComparison) -> Iterator[Line]:
    """Say what the table means, score by score where there is something to say."""
    yield from _counts(comparison)
    quiet = [e for e in comparison.scores if e.verdict == "no evidence"]
    changed = [each for each in quiet if each.numbers.rose + each.numbers.fell]
    if comparison.scores and len(quiet) == len(comparison.scores) and not changed:
        yield Line(f"no score of the {comparison.shared} tests changed")
        return
    for each in changed:
        yield Line(f"{fitted(plain(each.name), _NAME)}: {_noise(each)}")
    for each in comparison.scores:
        if each.verdict == "not measurable":
            yield Line(f"{fitted(plain(each.name), _NAME)}: {_unmeasured(comparison)}")


def _noise(each: Measure) -> str:
    text = f"within noise at {each.numbers.tests} tests"
    if each.sensitivity.detectable is not None:
        text += (
            f"; a difference of about {each.sensitivity.detectable:.2g} would be seen"
        )
    if each.sensitivity.tests_needed is not None:
        text += f" (this one with {each.sensitivity.tests_needed:,} tests)"
    return text


def _unmeasured(comparison: RunComparison) -> str:
    if comparison.errored_now or comparison.errored_then:
        return f"not measurable: more than {ERRORED_AT_MOST:.0%} of the tests errored"
    return "not measurable: it takes two tests that both runs have"


def _counts(comparison: RunComparison) -> Iterator[Line]:
    parts = [f"{comparison.shared} tests in both runs"]
    if comparison.new:
        parts.append(f"{len(comparison.new)} new")
    if comparison.gone:
        parts.append(f"{len(comparison.gone)} gone")
    if comparison.renamed:
        parts.append(f"{len(comparison.renamed)} renamed")
    if comparison.errored_now or comparison.errored_then:
        parts.append(
            f"errored: {comparison.errored_then} then, {comparison.errored_now} now"
        )
    yield Line(", ".join(parts))


def what_changed(comparison: RunComparison) -> Iterator[Line]:
    """Say what the runs recorded about themselves that is not the same."""
    if comparison.drifted:
        yield Line(
            "a score moved and nothing that the runs recorded changed: the model "
            "behind the name may have",
            "yellow",
        )
    for each in comparison.differences:
        then, now = short(each.then), short(each.now)
        change = f"{then} → {now}" if then else now
        yield Line(f"changed: {short(each.what)}: {change}")


def worst(details: Sequence[Detail], total: int) -> Iterator[Line]:
    """The tests that lost most, with the first line that is not the same."""
    if not details:
        return
    shown = details[:WORST]
    rest = f" (and {total - len(shown)} more)" if total > len(shown) else ""
    yield Line(f"worse{rest}:")
    for each in shown:
        change = each.change
        part = f" {change.part}" if change.part else ""
        scores = f"{name_of(change.score)} {change.then:.3g} → {change.now:.3g}"
        yield Line(f"  {scores}  {short(change.nodeid + part)}")
        if each.first_difference is not None:
            old, new = each.first_difference
            yield Line(f"    - {plain(old)}", "red", "cut")
            yield Line(f"    + {plain(new)}", "green", "cut")
