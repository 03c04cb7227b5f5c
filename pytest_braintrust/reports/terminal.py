"""The `braintrust` section at the end of a run, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pytest_braintrust.comparison.alone import TrialShares
from pytest_braintrust.gates import Verdict
from pytest_braintrust.outcomes import OUTCOMES
from pytest_braintrust.reports import compared
from pytest_braintrust.reports.headline import headline, in_one_line
from pytest_braintrust.reports.lines import (
    Line,
    fit,
    fitted,
    name_of,
    padded,
    page_of,
    plain,
    safe,
    short,
    width_of,
)
from pytest_braintrust.reports.lowest import lowest
from pytest_braintrust.reports.run import ExperimentReport, Joined, RunReport
from pytest_braintrust.reports.scales import means
from pytest_braintrust.store.reading import RowNote, ScoreSummary
from pytest_braintrust.words import a_number

_PUSH = "pytest-braintrust push"
_LABEL = 12
#: The columns of a table of scores beside the name, and those of the name at most.
_NUMBERS, _LONGEST_NAME = 18, 40
#: So many rows are named that are not on Braintrust as they are here.
_NOTES = 3


def render(report: RunReport, *, width: int, quiet: bool = False) -> list[Line]:
    """The lines of the section; two where pytest was asked to be quiet."""
    lines = _quiet(report) if quiet else _full(report, width)
    return [part for line in lines for part in fit(safe(line), width)]


def trouble(report: RunReport, *, width: int) -> list[Line]:
    """The lines of what went wrong, for a run that is to have no section."""
    lines = _named(warnings(report))
    return [part for line in lines for part in fit(safe(line), width)]


def warnings(report: RunReport) -> Iterator[Line]:
    """What must be said in every mode, also where the section is left out."""
    yield from _lost(report)
    yield from gates(report)
    yield from _unsent(report)


def problems(report: RunReport) -> Iterator[Line]:
    """The same without the gates."""
    yield from _lost(report)
    yield from _unsent(report)


def _lost(report: RunReport) -> Iterator[Line]:
    if report.missing:
        text = f"{report.missing} of {report.recorded} rows are not in the store"
        yield Line(f"MISSING: {text}", "red")
    for problem in report.problems:
        yield Line(short(problem), "red")


def _unsent(report: RunReport) -> Iterator[Line]:
    if report.upload == "sent":
        yield from _pending(report)


def gates(report: RunReport) -> Iterator[Line]:
    """Which gates failed, by how much, and how to look closer."""
    failed = [each for each in report.verdicts if each.state != "passed"]
    for each in failed:
        yield Line(f"GATE {each.state.upper()}: {short(each.text)}", "red")
    judged = [each.judgement for each in report.experiments]
    if failed and any(judged):
        beside = any(
            each is not None and each.comparison is not None for each in judged
        )
        how = "diff latest" if beside else "show latest --output"
        yield Line(f"look closer with: pytest-braintrust {how}", "red")


def _pending(report: RunReport) -> Iterator[Line]:
    yield from row_notes(
        [note for each in report.experiments for note in each.row_notes]
    )
    pending = report.rows.pending
    if not pending:
        return
    rows = a_number(pending, "row")
    for reason in dict.fromkeys(each.upload_error for each in report.experiments):
        if reason:
            yield Line(short(reason), "yellow")
    if pending == report.rows.refused:
        yield Line(f"{rows} kept; try again with: {_PUSH}", "yellow")
    else:
        yield Line(f"{rows} pending, kept; send with: {_PUSH}", "yellow")


def row_notes(notes: Sequence[RowNote]) -> Iterator[Line]:
    """Name the rows that Braintrust refused or has only a part of."""
    for note in notes[:_NOTES]:
        yield Line(short(_note_text(note)), "yellow")
    if len(notes) > _NOTES:
        more = a_number(len(notes) - _NOTES, "row")
        yield Line(f"and {more} more like these", "yellow")


def _note_text(note: RowNote) -> str:
    name = f"{note.nodeid} {note.part}".rstrip()
    if note.refused is not None:
        return f"Braintrust refuses {name}: {note.refused}"
    return (
        f"{name} is on Braintrust in part, which took {note.cut_to:,} bytes of it: "
        "all of it is kept here"
    )


def _full(report: RunReport, width: int) -> Iterator[Line]:
    if not report.recorded:
        yield Line(nothing_text(report))
    for experiment in report.experiments:
        yield from _experiment(experiment, width)
    yield _labelled("tests", tests_text(report))
    if report.joined is not None:
        style = "yellow" if report.joined.going_on else ""
        yield _labelled("run", _joined_text(report, report.joined), style)
    if report.recorded:
        yield _labelled("rows", _rows_text(report))
        yield _labelled("store", plain(report.store))
    for each in report.experiments:
        if each.url and each.rows.sent:
            yield _labelled("page", page_of(each.url))
    if report.verdicts and all(each.state == "passed" for each in report.verdicts):
        yield _labelled("gates", _passed(report.verdicts), "green")
    yield from warnings(report)


def _passed(verdicts: Sequence[Verdict]) -> str:
    count = sum(each.of_run for each in verdicts)
    told = f"all {count} passed" if count > 1 else "passed"
    return "; ".join([told, *(each.text for each in verdicts if not each.of_run)])


def nothing_text(report: RunReport) -> str:
    """Why there is no row to tell of."""
    if report.recorded:
        return "no row of this run is in the store"
    if report.tests["collected"] == report.tests["not_run"]:
        return "nothing recorded: no test ran"
    if report.dropped:
        return "nothing recorded: the hook pytest_braintrust_row dropped all rows"
    return "nothing recorded: use bt_score, the marker braintrust or --braintrust-all"


def _experiment(each: ExperimentReport, width: int) -> Iterator[Line]:
    name = f"{name_of(each.name)} in project {name_of(each.project)}"
    yield _labelled("experiment", name, "bold")
    judged = each.judgement
    base = compared.base_text(judged) if judged is not None else ""
    if base:
        yield _labelled("baseline", base)
    if judged is not None and judged.comparison is not None:
        verdict = headline(judged.comparison)
        yield _labelled("verdict", verdict.text, verdict.style)
        yield from compared.beside(judged, width)
    else:
        yield from _scores(each.scores, width)
        if judged is not None and judged.measures.metrics:
            yield _labelled("metrics", means(judged.measures.metrics))
        if judged is not None:
            yield from lowest(judged, width)
    if judged is not None:
        yield from _listed("totals", compared.totals_texts(judged))
    if text := unscored_text(each):
        yield _labelled("unscored", text, "yellow")
    if judged is not None:
        yield from _listed("trials", trials_texts(judged.measures.trials))


def _scores(scores: Sequence[ScoreSummary], width: int) -> Iterator[Line]:
    if not scores:
        return
    longest = max(width_of(plain(each.name)) for each in scores)
    column = max(10, min(longest, _LONGEST_NAME, width - _NUMBERS))
    yield Line(f"  {'score':<{column}}  {'mean':>6}  {'rows':>6}", long="left")
    for each in scores:
        name = padded(fitted(plain(each.name), column), column)
        yield Line(f"  {name}  {each.mean:>6.3f}  {each.count:>6}", long="left")


def unscored_text(each: ExperimentReport) -> str:
    """How many rows have no score that says more than the outcome; "" for none."""
    parts = [f"{each.unscored[o]} {o}" for o in OUTCOMES if o in each.unscored]
    if not parts:
        return ""
    return f"{_unscored(each)} got no score; by outcome: {', '.join(parts)}"


def _unscored(each: ExperimentReport) -> str:
    count = sum(each.unscored.values())
    return f"{count:,} of {a_number(each.rows.recorded, 'row')}"


def trials_texts(trials: TrialShares) -> Iterator[str]:
    """How steady the tests with several trials are; nothing where there are none."""
    if trials.tests:
        count = a_number(trials.tests, "test")
        told = f"{trials.always:,} always, {trials.sometimes:,} sometimes"
        yield f"of {count}, passed {told}, {trials.never:,} never"
    if trials.varied:
        count = a_number(trials.varied, "test")
        yield f"of {count}, other scores differ between trials"


def tests_text(report: RunReport) -> str:
    """The count of tests as a sum: what was collected, and what became of each."""
    tests = report.tests
    passed = tests["passed"] + tests["xpassed"]
    parts = [f"{passed} passed"]
    names = ("failed", "errored", "skipped", "xfailed", "not_run")
    parts += [
        f"{tests[name]} {name.replace('_', ' ')}" for name in names if tests[name]
    ]
    told = f"{tests['collected']} collected = {' + '.join(parts)}"
    lost = tests["uncollected"]
    return f"{told}; {lost} more not collected: see the errors" if lost else told


def _rows_text(report: RunReport) -> str:
    rows = report.rows
    if report.upload == "no key":
        return f"{rows.recorded} recorded, kept here; no BRAINTRUST_API_KEY is set"
    if report.upload == "not asked":
        return f"{rows.recorded} recorded, kept here as asked"
    return f"{rows.recorded} recorded = {rows.sent} sent + {rows.pending} pending"


def _joined_text(report: RunReport, joined: Joined) -> str:
    rows = a_number(report.rows_of_all.recorded, "row")
    others = joined.processes - 1
    told = f"{name_of(joined.name)}: {rows} so far of {_processes(joined.processes)}"
    if not others:
        return f"{told}; others may have theirs in other stores"
    if not joined.going_on:
        return f"{told}, all of which have finished"
    return f"{told}, {joined.going_on} of which {_have(joined.going_on)} not finished"


def _processes(count: int) -> str:
    return "this process" if count == 1 else f"{count} processes"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _quiet(report: RunReport) -> Iterator[Line]:
    return _named(_in_two_lines(report))


def _in_two_lines(report: RunReport) -> Iterator[Line]:
    several = len(report.experiments) > 1
    for each in report.experiments:
        parts = [f"{name_of(score.name)} {score.mean:.3f}" for score in each.scores]
        if each.unscored:
            parts.append(f"{_unscored(each)} unscored")
        told = ", ".join(parts) or "no scores"
        yield Line(f"{name_of(each.project)}: {told}" if several else told)
        if each.judgement is not None and each.judgement.comparison is not None:
            yield in_one_line(each.judgement.comparison)
    if report.joined is not None and report.joined.going_on:
        yield Line(_joined_text(report, report.joined), "yellow")
    if not report.recorded:
        yield Line(nothing_text(report))
    else:
        urls = [each.url for each in report.experiments if each.url and each.rows.sent]
        where = page_of(urls[0]) if len(urls) == 1 else plain(report.store)
        yield Line(f"{_rows_text(report)}; {where}")
    yield from warnings(report)


def _named(lines: Iterable[Line]) -> Iterator[Line]:
    """Lines that stand for themselves, outside of a section."""
    return (replace(line, text=f"braintrust: {line.text}") for line in lines)


def _listed(label: str, texts: Iterable[str]) -> Iterator[Line]:
    for text in texts:
        yield _labelled(label, text)
        label = ""


def _labelled(label: str, text: str, style: str = "") -> Line:
    return Line(f"{label:<{_LABEL}}{text}", style, hang=_LABEL)


def bar(done: int, total: int, *, cells: int = 30) -> str:
    """One line that shows how many rows were sent so far."""
    filled = cells * done // total if total else cells
    return (
        f"braintrust: sending [{'#' * filled}{'.' * (cells - filled)}] {done}/{total}"
    )
