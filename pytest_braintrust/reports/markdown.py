"""The summary of a run as Markdown, for a pull request or a job's page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_braintrust.comparison.details import Detail
from pytest_braintrust.comparison.result import Measure, RunComparison
from pytest_braintrust.judging import Judgement
from pytest_braintrust.reports import compared, lowest
from pytest_braintrust.reports.headline import headline
from pytest_braintrust.reports.lines import fitted, plain
from pytest_braintrust.reports.run import ExperimentReport, RunReport
from pytest_braintrust.reports.scales import described, means, scale_of
from pytest_braintrust.reports.table import in_a_line, span, unchanged, uncompared
from pytest_braintrust.reports.terminal import (
    nothing_text,
    tests_text,
    trials_texts,
    unscored_text,
)
from pytest_braintrust.reports.worst import from_difference, losses
from pytest_braintrust.words import a_number

#: Stands at the head of what we write, so that a bot finds its own comment again.
MARKER = "<!-- pytest-braintrust -->"

_MARKS = {
    "improved": "🟢",
    "regressed": "🔴",
    "not measurable": "⚪",
    "no evidence": "",
}
_OVERALL = {
    "better": "🟢",
    "worse": "🔴",
    "mixed": "🟠",
    "no evidence": "⚪",
    "same": "⚪",
    "not measurable": "⚠️",
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
        yield f"### Braintrust: {nothing_text(report)}"
    for verdict in failed:
        yield f"- ❌ gate {verdict.state}: {_text(verdict.text)}"
    if report.verdicts and not failed:
        count = len(report.verdicts)
        yield "- ✅ the gate passed" if count == 1 else f"- ✅ all {count} gates passed"
    yield ""
    rows = a_number(report.rows.recorded, "row")
    yield f"{_text(tests_text(report))}; {rows} recorded"


def _experiment(each: ExperimentReport) -> Iterator[str]:
    name = _text(each.name)
    if each.url and each.rows.sent:
        name = _link(name, each.url)
    yield f"### {_text(each.project)}: {name}"
    yield ""
    judged = each.judgement
    if judged is None:
        return
    if judged.comparison is None:
        yield from _alone(judged)
    else:
        yield from _beside(judged, judged.comparison)
    for text in compared.totals_texts(judged):
        yield f"- totals: {_text(text)}"
    if unscored := unscored_text(each):
        yield f"- unscored: {_text(unscored)}"
    for text in trials_texts(judged.measures.trials):
        yield f"- trials: {_text(text)}"


def _alone(judged: Judgement) -> Iterator[str]:
    yield "| score | mean | 95 % interval | tests |"
    yield "| --- | ---: | :---: | ---: |"
    for name, found in judged.measures.scores.items():
        span = "-"
        if found.interval is not None:
            span = f"{found.interval.low:.3f} … {found.interval.high:.3f}"
        yield f"| {_text(name)} | {found.mean or 0:.3f} | {span} | {found.tests} |"
    yield ""
    if told := means(judged.measures.metrics):
        yield f"Metrics: {_text(told)}."
        yield ""
    yield _text(compared.base_text(judged) or "No earlier run to compare with.")
    yield ""
    yield from _lowest(judged)


def _lowest(judged: Judgement) -> Iterator[str]:
    if not judged.lowest:
        return
    yield f"<details><summary>{lowest.heading(judged)}</summary>"
    yield ""
    for each in judged.lowest:
        yield f"- {_code(each.name)}: {_text(lowest.told(each))}"
        said = (("output", each.output), ("expected", each.expected))
        if told := [f"{n}: {_code(value)}" for n, value in said if value is not None]:
            yield f"  - {', '.join(told)}"
    yield ""
    yield "</details>"
    yield ""


def _beside(judged: Judgement, comparison: RunComparison) -> Iterator[str]:
    told = headline(comparison).text
    yield f"{_OVERALL[comparison.overall]} **{_text(told)}**"
    yield ""
    base = _text(compared.base_text(judged) or comparison.base.name)
    if comparison.base.url:
        base = _link(base, comparison.base.url)
    yield f"Compared with {base}."
    yield ""
    yield "| score | then | now | change | 95 % interval | better | worse | verdict |"
    yield "| --- | ---: | ---: | ---: | :---: | ---: | ---: | --- |"
    folded = unchanged(comparison)
    for each in comparison.measures:
        if each not in folded:
            yield _row(each)
    alone = judged.measures.scores
    for name, why in uncompared(comparison, alone).items():
        yield f"| {_text(name)} | | {alone[name].mean or 0:.3f} | | | | | {why} |"
    yield ""
    if folded:
        yield f"- {_text(in_a_line(folded))}"
    for line in compared.words(comparison, judged.measures.scores):
        yield f"- {_text(line.text)}"
    yield ""
    yield from _worst(judged.details, len(comparison.worse_tests))


def _row(each: Measure) -> str:
    numbers, scale = each.numbers, scale_of(each)
    name = _text(described(each.name, scale))
    if each.kind == "metric":
        name += " (less is better)" if each.better == "lower" else " (more is better)"
    cells = (
        name,
        scale.show(numbers.then),
        scale.show(numbers.now),
        scale.show(numbers.difference, "+"),
        span(each, scale),
        str(each.improved),
        str(each.worsened),
        f"{_MARKS[each.verdict]} {each.verdict}".strip(),
    )
    return f"| {' | '.join(cells)} |"


def _worst(details: Sequence[Detail], total: int) -> Iterator[str]:
    if not details:
        return
    some = f", the worst {len(details)}" if total > len(details) else ""
    yield f"<details><summary>{total} with a lower score{some}</summary>"
    yield ""
    for each in details:
        yield f"- {_code(each.name)}: {_text(losses(each.test))}"
        for name, value in each.asked.items():
            yield f"  - {name}: {_code(value)}"
        if each.first_difference is not None:
            old, new = from_difference(*each.first_difference, _LONGEST_OUTPUT)
            yield f"  - then: {_code(old)}"
            yield f"  - now: {_code(new)}"
        if each.reason is not None:
            yield f"  - {_code(each.reason)}"
    yield ""
    yield "</details>"
    yield ""


def _text(text: str) -> str:
    """Text of foreign origin, so that none of it is Markdown, HTML or a mention."""
    return _SPECIAL.sub(r"\\\1", plain(text)).replace("@", "@\u200b")


def _link(text: str, url: str) -> str:
    """A link whose address ends where it should."""
    for each, escaped in (("<", "%3C"), (">", "%3E"), ("\\", "%5C"), (" ", "%20")):
        url = url.replace(each, escaped)
    return f"[{text}](<{plain(url)}>)"


def _code(text: str) -> str:
    shown = fitted(plain(text), _LONGEST_OUTPUT).replace("`", "'")
    return f"`{shown or ' '}`"
