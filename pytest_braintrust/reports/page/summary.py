"""What a run came to, above its tests: verdict, facts, scores, what changed, gates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

from pytest_braintrust.comparison.differing import INCIDENTAL
from pytest_braintrust.comparison.result import Measure, RunComparison
from pytest_braintrust.judging import Judgement
from pytest_braintrust.reports import compared
from pytest_braintrust.reports.headline import headline
from pytest_braintrust.reports.lines import Line, short
from pytest_braintrust.reports.page import interval
from pytest_braintrust.reports.page.markup import Safe, link, tag, together
from pytest_braintrust.reports.run import ExperimentReport, RunReport
from pytest_braintrust.reports.scales import amount, described, scale_of
from pytest_braintrust.reports.table import span, uncompared, verdict
from pytest_braintrust.reports.terminal import (
    nothing_text,
    problems,
    tests_text,
    trials_texts,
    unscored_text,
)
from pytest_braintrust.statistics import Estimate
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.words import a_number

_GATE_MARKS = {"passed": "✓", "failed": "✗"}
_COMMIT = 12
#: Tests that one run alone has, by name.
_NAMED = 200


def title(report: RunReport) -> str:
    """What a browser's tab says."""
    for each in report.experiments:
        judged = each.judgement
        if judged is not None and judged.comparison is not None:
            return f"{headline(judged.comparison).text} · {each.name}"
        return f"{each.name} · {each.project}"
    return "nothing recorded"


def of_run(report: RunReport) -> Iterator[Safe]:
    """What is said of all experiments of the run: its tests, its gates, its problems."""
    if not report.experiments:
        yield tag("h1", nothing_text(report))
    if any(report.tests.values()):
        yield tag("p", f"Tests: {tests_text(report)}", class_="run")
    if report.verdicts:
        gates = (
            tag("li", f"{_GATE_MARKS.get(v.state, '!')} {v.state}: ", short(v.text))
            for v in report.verdicts
        )
        yield tag("section", tag("h2", "Gates"), tag("ul", *gates, class_="gates"))
    if told := [_line(each) for each in problems(report)]:
        yield tag("section", tag("h2", "Problems"), tag("ul", *told))


def of_experiment(each: ExperimentReport) -> Iterator[Safe]:
    """What one experiment came to."""
    judged = each.judgement
    compared_with = judged.comparison if judged is not None else None
    if compared_with is not None:
        told = headline(compared_with).text
        yield tag("p", told, class_=f"verdict {compared_with.overall.split()[0]}")
    name = link(each.name, each.url if each.rows.sent else None)
    yield tag("h1", name, tag("small", f" in {each.project}"))
    if judged is None:
        return
    yield _facts(each, judged)
    if compared_with is None:
        yield _alone(judged)
    else:
        yield _beside(judged, compared_with)


def _facts(each: ExperimentReport, judged: Judgement) -> Safe:
    run = judged.experiment
    told: list[tuple[str, str]] = [
        ("baseline", _baseline(judged)),
        ("commit", _commit(run)),
        ("when", _when(run)),
        ("rows", f"{each.rows.recorded:,} recorded, {each.rows.sent:,} on Braintrust"),
        *(("totals", text) for text in compared.totals_texts(judged)),
        ("unscored", unscored_text(each)),
        *(("trials", text) for text in trials_texts(judged.measures.trials)),
        *_declared(run),
    ]
    facts = (
        tag("div", tag("dt", name), tag("dd", value)) for name, value in told if value
    )
    return tag("dl", *facts, class_="facts")


def _baseline(judged: Judgement) -> str:
    text = compared.base_text(judged)
    if judged.comparison is None:
        return text or "no earlier run to compare with"
    base = judged.comparison.base
    return link(text or base.name, base.url)


def _commit(run: StoredExperiment) -> str:
    if not run.commit:
        return ""
    branch = f" on {run.branch}" if run.branch else ""
    return f"{run.commit[:_COMMIT]}{branch}{', with changes' if run.dirty else ''}"


def _when(run: StoredExperiment) -> Safe:
    try:
        began = datetime.fromtimestamp(run.created_at, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return Safe("")
    seconds = (run.finished_at or 0) - run.created_at
    took = f", took {amount('duration', seconds)}" if seconds > 0 else ""
    shown = f"{began:%Y-%m-%d %H:%M} UTC"
    return together(tag("time", shown, datetime=began.isoformat()), took)


def _declared(run: StoredExperiment) -> Iterator[tuple[str, str]]:
    for name, value in run.metadata.items():
        if name not in INCIDENTAL and value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            yield short(name), short(text)


def _alone(judged: Judgement) -> Safe:
    measures = judged.measures
    rows = [
        _mean(name, each, f"{each.mean or 0:.3f}", interval.of_mean(each))
        for name, each in measures.scores.items()
    ]
    rows += [
        _mean(name, each, amount(name, each.mean or 0), Safe(""))
        for name, each in measures.metrics.items()
        if each.mean is not None
    ]
    return _table(("score", "mean", "95 % interval", "", "tests"), rows)


def _mean(name: str, found: Estimate, mean: str, picture: Safe) -> Safe:
    shown = ""
    if picture and found.interval is not None:
        shown = f"{found.interval.low:.3f} … {found.interval.high:.3f}"
    return _cells(name, (mean, shown, picture, f"{found.tests:,}"))


def _beside(judged: Judgement, comparison: RunComparison) -> Safe:
    names = (
        *("score", "verdict", "then", "now", "change"),
        *("95 % interval", "", "better", "worse"),
    )
    reach = interval.widest(comparison.scores)
    rows = [_measure(each, reach) for each in comparison.scores]
    alone = judged.measures.scores
    for name, why in uncompared(comparison, alone).items():
        rows.append(_cells(name, (why, "", f"{alone[name].mean or 0:.3f}", *[""] * 5)))
    # Amounts have a unit each, and so a picture of their own.
    rows += [_measure(e, interval.widest([e])) for e in comparison.metrics]
    lines = [_line(each) for each in compared.words(comparison, alone)]
    changed = tag(
        "section",
        tag("h2", "What changed"),
        tag("ul", *lines),
        _tests("new", comparison.new),
        _tests("gone or not run", comparison.gone),
    )
    return together(_table(names, rows), changed)


def _tests(what: str, nodeids: Sequence[str]) -> Safe:
    """Tests that one run alone has, to unfold."""
    if not nodeids:
        return Safe("")
    told = [tag("li", tag("code", each)) for each in nodeids[:_NAMED]]
    if (more := len(nodeids) - _NAMED) > 0:
        told.append(tag("li", f"and {more:,} more", class_="note"))
    head = tag("summary", f"{a_number(len(nodeids), 'test')} {what}")
    return tag("details", head, tag("ul", *told))


def _measure(each: Measure, reach: float) -> Safe:
    numbers, scale = each.numbers, scale_of(each)
    name = described(each.name, scale)
    if each.kind == "metric":
        name += " (less is better)" if each.better == "lower" else " (more is better)"
    cells = (
        # Beside the name, where a narrow screen has it too.
        verdict(each),
        scale.show(numbers.then),
        scale.show(numbers.now),
        scale.show(numbers.difference, "+"),
        span(each, scale),
        interval.of_change(each, reach),
        f"{each.improved:,}",
        f"{each.worsened:,}",
    )
    # Of metrics the words say enough: a machine under load makes all tests slow.
    style = each.verdict if each.kind == "score" else ""
    return _cells(name, cells, style)


def _table(names: Sequence[str], rows: Sequence[Safe]) -> Safe:
    head = tag("tr", *(tag("th", e, scope="col") if e else tag("td", e) for e in names))
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="measures")
    label = "Scores and metrics"
    scroll = tag(
        "div", table, class_="scroll", role="region", aria_label=label, tabindex=0
    )
    return tag("section", tag("h2", label), scroll)


def _cells(name: str, cells: Sequence[str], style: str = "") -> Safe:
    return tag(
        "tr",
        tag("th", name, scope="row"),
        *(tag("td", each) for each in cells),
        class_=style.replace(" ", "-") or None,
    )


def _line(line: Line) -> Safe:
    return tag("li", line.text, class_="warn" if line.style else None)
