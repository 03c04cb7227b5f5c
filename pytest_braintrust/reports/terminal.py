"""The `braintrust` section at the end of a run, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_braintrust.reports import compared
from pytest_braintrust.reports.lines import Line, fitted, plain
from pytest_braintrust.reports.run import ExperimentReport, RunReport

_PUSH = "pytest-braintrust push"
_LABEL = 12


def render(report: RunReport, *, width: int, quiet: bool = False) -> list[Line]:
    """The lines of the section; two where pytest was asked to be quiet."""
    lines = _quiet(report) if quiet else _full(report)
    return [Line(fitted(line.text, width), line.style) for line in lines]


def warnings(report: RunReport) -> Iterator[Line]:
    """What must be said in every mode, also where the section is left out."""
    missing = report.recorded - report.rows.recorded
    if missing > 0:
        yield Line(
            f"MISSING: {missing} of {report.recorded} rows are not in the store", "red"
        )
    for problem in report.problems:
        yield Line(plain(problem), "red")
    yield from gates(report)
    if report.upload == "sent":
        yield from _pending(report)


def gates(report: RunReport) -> Iterator[Line]:
    """Which gates failed, by how much, and how to look closer."""
    failed = [each for each in report.verdicts if each.state != "passed"]
    for each in failed:
        yield Line(f"gate {each.state}: {plain(each.text)}", "red")
    if failed:
        yield Line("look closer with: pytest-braintrust diff latest", "red")


def _pending(report: RunReport) -> Iterator[Line]:
    pending = report.rows.pending
    if not pending:
        return
    for reason in dict.fromkeys(each.upload_error for each in report.experiments):
        if reason:
            yield Line(plain(reason), "yellow")
    if report.rows.refused:
        yield Line(
            f"Braintrust refuses {_rows(report.rows.refused)}; they are kept", "yellow"
        )
    yield Line(f"{_rows(pending)} pending, kept; send with: {_PUSH}", "yellow")


def _full(report: RunReport) -> Iterator[Line]:
    if not report.experiments:
        yield Line("no test recorded anything: use bt_score, the marker braintrust, or")
        yield Line("--braintrust-all")
    for experiment in report.experiments:
        yield from _experiment(experiment)
    yield Line(_labelled("tests", tests_text(report)))
    if report.experiments:
        yield Line(_labelled("rows", _rows_text(report)))
        yield Line(_labelled("store", report.store))
    for each in report.experiments:
        if each.url and each.rows.sent:
            yield Line(_labelled("page", plain(each.url)))
    yield from warnings(report)


def _experiment(each: ExperimentReport) -> Iterator[Line]:
    name = f"{plain(each.name)} in project {plain(each.project)}"
    yield Line(_labelled("experiment", name), "bold")
    if not each.scores:
        return
    column = min(40, max(10, *(len(plain(score.name)) for score in each.scores)))
    yield Line(f"  {'score':<{column}}  {'mean':>6}  {'rows':>6}")
    for score in each.scores:
        name = fitted(plain(score.name), column)
        yield Line(f"  {name:<{column}}  {score.mean:>6.3f}  {score.count:>6}")
    judged = each.judgement
    if judged is not None and judged.comparison and judged.baseline:
        yield from compared.render(
            judged.comparison, judged.details, judged.baseline.how
        )


def tests_text(report: RunReport) -> str:
    """The count of tests as a sum: what was collected, and what became of each."""
    tests = report.tests
    passed = tests["passed"] + tests["xpassed"]
    parts = [f"{passed} passed"]
    names = ("failed", "errored", "skipped", "xfailed", "not_run")
    parts += [
        f"{tests[name]} {name.replace('_', ' ')}" for name in names if tests[name]
    ]
    return f"{tests['collected']} collected = {' + '.join(parts)}"


def _rows_text(report: RunReport) -> str:
    rows = report.rows
    if report.upload == "no key":
        return f"{rows.recorded} recorded, kept here; no BRAINTRUST_API_KEY is set"
    if report.upload == "not asked":
        return f"{rows.recorded} recorded, kept here as asked"
    return f"{rows.recorded} recorded = {rows.sent} sent + {rows.pending} pending"


def _quiet(report: RunReport) -> Iterator[Line]:
    for each in report.experiments:
        scores = ", ".join(f"{plain(s.name)} {s.mean:.3f}" for s in each.scores)
        yield Line(f"braintrust: {plain(each.name)}: {scores or 'no scores'}")
    if report.experiments:
        urls = [each.url for each in report.experiments if each.url and each.rows.sent]
        where = plain(urls[0]) if len(urls) == 1 else report.store
        yield Line(f"braintrust: {_rows_text(report)}; {where}")
    for line in warnings(report):
        yield Line(f"braintrust: {line.text}", line.style)


def _labelled(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}"


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def bar(done: int, total: int, *, cells: int = 30) -> str:
    """One line that shows how many rows were sent so far."""
    filled = cells * done // total if total else cells
    return (
        f"braintrust: sending [{'#' * filled}{'.' * (cells - filled)}] {done}/{total}"
    )
