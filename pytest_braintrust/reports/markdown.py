"""The summary of a run as Markdown, for a pull request or a job's page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_braintrust.comparison.details import Detail
from pytest_braintrust.comparison.result import Measure, RunComparison
from pytest_braintrust.judging import Judgement
from pytest_braintrust.reports import compared
from pytest_braintrust.reports.lines import plain
from pytest_braintrust.reports.run import ExperimentReport, RunReport
from pytest_braintrust.reports.terminal import tests_text

#: Stands at the head of what we write, so that a bot finds its own comment again.
MARKER = "<!-- pytest-braintrust -->"

_MARKS = {
    "improved": "🟢",
    "regressed": "🔴",
    "not measurable": "⚪",
    "no evidence": "",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~])")
_LONGEST_OUTPUT = 300


def render(report: RunReport) -> str:
    """The whole summary; ends with a line break."""
    return "\n".join((MARKER, *_lines(report))) + "\n"


def _lines(report: RunReport) -> Iterator[str]:
    failed = [each for each in report.verdicts if each.state != "passed"]
    for each in report.experiments:
        yield from _experiment(each)
    if not report.experiments:
        yield "### Braintrust: no test recorded anything"
    for verdict in failed:
        yield f"- ❌ gate {verdict.state}: {_text(verdict.text)}"
    if report.verdicts and not failed:
        yield f"- ✅ all {len(report.verdicts)} gates passed"
    yield ""
    yield f"{_text(tests_text(report))}; {report.rows.recorded} rows recorded"


def _experiment(each: ExperimentReport) -> Iterator[str]:
    name = _text(each.name)
    if each.url and each.rows.sent:
        name = f"[{name}](<{plain(each.url)}>)"
    yield f"### {_text(each.project)}: {name}"
    yield ""
    judged = each.judgement
    if judged is None:
        return
    if judged.comparison is None:
        yield from _alone(judged)
    else:
        yield from _beside(judged, judged.comparison)


def _alone(judged: Judgement) -> Iterator[str]:
    yield "| score | mean | 95 % interval | tests |"
    yield "| --- | ---: | :---: | ---: |"
    for name, found in judged.measures.scores.items():
        span = "-"
        if found.interval is not None:
            span = f"{found.interval.low:.3f} … {found.interval.high:.3f}"
        yield f"| {_text(name)} | {found.mean or 0:.3f} | {span} | {found.tests} |"
    yield ""
    yield "No earlier run to compare with."
    yield ""


def _beside(judged: Judgement, comparison: RunComparison) -> Iterator[str]:
    yield f"Compared with {_text(comparison.base.name)}."
    yield ""
    yield "| | score | then | now | change | 95 % interval | better | worse |"
    yield "| --- | --- | ---: | ---: | ---: | :---: | ---: | ---: |"
    for each in comparison.measures:
        yield _row(each)
    yield ""
    for line in compared.words(comparison):
        yield f"- {_text(line.text)}"
    for line in compared.what_changed(comparison):
        yield f"- {_text(line.text)}"
    yield ""
    yield from _worst(judged.details, len(comparison.regressions))


def _row(each: Measure) -> str:
    numbers = each.numbers
    show = compared.shower(each)
    span = "-"
    if numbers.interval is not None:
        span = f"{show(numbers.interval.low, '+')} … {show(numbers.interval.high, '+')}"
    name = _text(each.name)
    if each.kind == "metric":
        name += f" ({each.better} is better)"
    cells = (
        _MARKS[each.verdict],
        name,
        show(numbers.then),
        show(numbers.now),
        show(numbers.difference, "+"),
        span,
        str(each.improved),
        str(each.worsened),
    )
    return f"| {' | '.join(cells)} |"


def _worst(details: Sequence[Detail], total: int) -> Iterator[str]:
    if not details:
        return
    yield f"<details><summary>{total} scores of tests got worse</summary>"
    yield ""
    for each in details:
        change = each.change
        yield (
            f"- {_text(change.nodeid)} {_text(change.part)}: {_text(change.score)} "
            f"{change.then:.3g} → {change.now:.3g}"
        )
        if each.first_difference is not None:
            old, new = each.first_difference
            yield f"  - then: {_code(old)}"
            yield f"  - now: {_code(new)}"
    yield ""
    yield "</details>"
    yield ""


def _text(text: str) -> str:
    """Text of foreign origin, so that none of it is Markdown, HTML or a mention."""
    return _SPECIAL.sub(r"\\\1", plain(text)).replace("@", "@\u200b")


def _code(text: str) -> str:
    shown = plain(text)[:_LONGEST_OUTPUT].replace("`", "'")
    return f"`{shown or ' '}`"
