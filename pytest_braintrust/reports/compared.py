"""A comparison with the baseline below its headline: the numbers, then why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_braintrust.comparison.counting import Counts
from pytest_braintrust.comparison.result import Measure, RunComparison
from pytest_braintrust.judging import Judgement
from pytest_braintrust.reports.lines import NAMED, Line, name_of, names_of, plain, short
from pytest_braintrust.reports.scales import totals
from pytest_braintrust.reports.table import table
from pytest_braintrust.reports.worst import WORST, worst
from pytest_braintrust.statistics import Estimate
from pytest_braintrust.words import a_number

_HOW = {
    "ancestor": "nearest ancestor commit",
    "previous": "previous run of this branch",
    "branch": "last run of that branch",
    "name": "by name",
    "file": "from a file",
    "stored": "its baseline then",
}
#: What would take so many times the tests that there are is not worth saying.
_OUT_OF_REACH = 100


def beside(judged: Judgement, width: int) -> Iterator[Line]:
    """The table, all that is said about it, and the worst tests."""
    yield from numbers(judged, width)
    if judged.comparison is not None:
        yield from worst(
            judged.details[:WORST], len(judged.comparison.worse_tests), width
        )


def numbers(judged: Judgement, width: int) -> Iterator[Line]:
    """The table and all that is said about it."""
    if judged.comparison is not None:
        yield from table(judged.comparison, judged.measures.scores, width)
        yield from words(judged.comparison, judged.measures.scores)


def base_text(judged: Judgement) -> str:
    """Which run it is compared with, and why with that one; "" where nobody asked."""
    if judged.baseline is not None:
        name = name_of(judged.baseline.experiment.shown_name)
        note = f"; {short(judged.baseline.note)}" if judged.baseline.note else ""
        return f"{name} ({_HOW[judged.baseline.how]}{note})"
    return f"none: {short(judged.why_none)}" if judged.why_none else ""


def totals_texts(judged: Judgement) -> Iterator[str]:
    """What the run spent, and its baseline on the same tests."""
    sums, comparison = judged.measures.totals, judged.comparison
    both = comparison.totals if comparison is not None else {}
    then = {name: each for name, (each, _) in both.items()}
    now = {name: each for name, (_, each) in both.items()}
    if comparison is None or not (comparison.new or comparison.gone):
        if sums:
            yield totals(sums, then)
        return
    if sums:
        yield totals(sums)
    if now:
        tests = a_number(comparison.shared, "test")
        yield f"of the {tests} in both runs: {totals(now, then)}"


def words(comparison: RunComparison, alone: Mapping[str, Estimate]) -> Iterator[Line]:
    """What the table means, which tests it is about, and what was changed."""
    yield Line(_counts(comparison))
    yield from _over_all(comparison, alone)
    yield from _in_part(comparison)
    yield from _renamed(comparison)
    yield from _lost(comparison)
    yield from _within_noise(comparison)
    yield from what_changed(comparison)


def _counts(comparison: RunComparison) -> str:
    parts = [f"{a_number(comparison.shared, 'test')} in both runs"]
    if comparison.new:
        parts.append(f"{len(comparison.new)} new")
    if comparison.gone:
        parts.append(f"{len(comparison.gone)} gone or not run")
    if comparison.renamed:
        parts.append(f"{len(comparison.renamed)} renamed")
    parts += _errored("then", comparison.then)
    parts += _errored("now", comparison.now)
    return ", ".join(parts)


def _errored(when: str, counts: Counts) -> list[str]:
    return [f"{counts.left_out} {when} (left out)"] if counts.left_out else []


def _over_all(
    comparison: RunComparison, alone: Mapping[str, Estimate]
) -> Iterator[Line]:
    """The means of all tests, where those of the shared ones are other numbers."""
    shared = {each.name: f"{each.numbers.now or 0:.3f}" for each in comparison.scores}
    other = [
        f"{name_of(name)} {found.mean:.3f} in {found.tests:,}"
        for name, found in alone.items()
        if name in shared
        and found.mean is not None
        and f"{found.mean:.3f}" != shared[name]
    ]
    if other:
        yield Line(f"over all tests that have the score: {', '.join(other)}")


def _in_part(comparison: RunComparison) -> Iterator[Line]:
    """The scores that not all tests have in both runs: of the others they say nothing."""
    some = [
        each
        for each in comparison.scores
        if each.numbers.tests < comparison.measured and not each.why_unmeasurable
    ]
    of = f"of the {a_number(comparison.shared, 'test')} in both runs"
    if len(some) > NAMED:
        counts = [each.numbers.tests for each in some]
        shown = _from_to(f"{min(counts):,}", f"{max(counts):,}")
        yield Line(f"{len(some)} scores: in {shown} {of}")
        return
    for each in some:
        yield Line(f"{name_of(each.name)}: in {each.numbers.tests:,} {of}")


def _renamed(comparison: RunComparison) -> Iterator[Line]:
    pairs = comparison.renamed
    for then, now in pairs[:NAMED]:
        yield Line(f"renamed: {plain(then)} → {plain(now)}")
    if len(pairs) > NAMED:
        yield Line(f"renamed: {len(pairs) - NAMED} more, told apart by their input")


def _lost(comparison: RunComparison) -> Iterator[Line]:
    for each in comparison.scores:
        if each.why_unmeasurable:
            yield Line(f"{name_of(each.name)}: {each.why_unmeasurable}", "yellow")
    some = [e for e in comparison.scores if e.lost and not e.why_unmeasurable]
    parts = [f"{each.name} in {a_number(each.lost, 'test')}" for each in some]
    if lost := [*comparison.scores_gone, *parts]:
        yield Line(f"no longer scored: {names_of(lost)}", "yellow")


def _within_noise(comparison: RunComparison) -> Iterator[Line]:
    """What no evidence means at this number of tests, and what would settle it."""
    quiet = [
        each
        for each in comparison.scores
        if each.verdict == "no evidence" and each.moved
    ]
    if len(quiet) > NAMED:
        yield from _ranges(quiet)
        return
    for each in quiet:
        parts = [_seen(each), _settled(each)]
        yield Line(f"{name_of(each.name)}: {'; '.join(filter(None, parts))}")


def _seen(each: Measure) -> str:
    tests = a_number(each.numbers.tests, "test")
    if each.too_few:
        fewest = each.sensitivity.fewest_changes
        text = f"{tests} are too few to tell"
        return f"{text}; no difference can be seen before {fewest} tests change"
    return f"within noise at {tests}{_detectable([each])}"


def _settled(each: Measure) -> str:
    numbers, plan = each.numbers, each.sensitivity
    ways: list[str] = []
    needed = plan.tests_needed
    if needed is not None and numbers.tests < needed < _OUT_OF_REACH * numbers.tests:
        ways.append(a_number(needed - numbers.tests, "more test"))
    if plan.trials_needed is not None and plan.trials_needed > 1:
        ways.append(f"{plan.trials_needed:,} trials of each")
    return f"{' or '.join(ways)} would settle this one" if ways else ""


def _ranges(quiet: Sequence[Measure]) -> Iterator[Line]:
    few = [each.numbers.tests for each in quiet if each.too_few]
    noisy = [each for each in quiet if not each.too_few]
    if noisy:
        yield Line(f"{len(noisy)} scores are within noise{_detectable(noisy)}")
    if few:
        tests = _from_to(f"{min(few)}", f"{max(few)}")
        yield Line(f"{len(few)} scores have too few tests to tell: {tests}")


def _detectable(measures: Sequence[Measure]) -> str:
    found = [each.sensitivity.detectable for each in measures]
    sizes = [each for each in found if each is not None]
    size = _from_to(f"{min(sizes):.2g}", f"{max(sizes):.2g}") if sizes else ""
    return f"; a difference of about {size} would be seen" if size else ""


def _from_to(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"


def what_changed(comparison: RunComparison) -> Iterator[Line]:
    """Say what the runs recorded about themselves that is not the same."""
    if comparison.drifted:
        yield Line(
            "a score moved and nothing that the runs recorded changed (code, inputs, "
            "dataset, commit, --braintrust-metadata): the model behind its name may "
            "have drifted",
            "yellow",
        )
    for each in comparison.differences:
        then, now = short(each.then), short(each.now)
        change = f"{then} → {now}" if then else now
        yield Line(f"changed: {short(each.what)}: {change}")
