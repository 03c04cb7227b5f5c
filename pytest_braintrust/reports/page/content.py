"""What a test said, as it unfolds below its name: its numbers, then trial by trial."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pytest_braintrust import spans
from pytest_braintrust.comparison.details import as_line, as_text
from pytest_braintrust.comparison.looking import Beside, Looked
from pytest_braintrust.reports.page.changes import Work, beside
from pytest_braintrust.reports.page.markup import Safe, tag, text, together
from pytest_braintrust.reports.scales import amount
from pytest_braintrust.reports.steps import step
from pytest_braintrust.trials import facts_of
from pytest_braintrust.words import a_number

#: Characters of one field, trials of a test, and steps of a trial that are in the page.
_LONGEST, _TRIALS, _STEPS = 20_000, 10, 100
#: Values up to that stand on one line.
_LINE = 80
#: Texts from there on have a window of their own.
_TALL = 20 * _LINE
#: Steps that are nested deeper stand as deep as that.
_DEEPEST = 8


def content(test: Looked, work: Work) -> Safe:
    """All that the page has of a test; `work` is what may still be compared."""
    trials = [json.loads(each) for each in test.events[:_TRIALS]]
    then = [json.loads(each) for each in test.events_then[:_TRIALS]]
    parts = [_numbers(test)]
    for place, event in enumerate(trials):
        if len(test.events) > 1:
            parts.append(tag("p", _trial_text(test, place), class_="trial"))
        # What has no counterpart is shown beside the first: all are of one case.
        before = then[place if place < len(then) else 0] if then else None
        parts.append(_fields(event, before, work))
    if more := len(test.events) - len(trials):
        told = f"{a_number(more, 'more trial')} in the store, not in this page"
        parts.append(tag("p", told, class_="note"))
    return tag("div", *parts, class_="content")


def _trial_text(test: Looked, place: int) -> str:
    row = test.now.trials[place]
    told = [f"trial {place + 1} of {len(test.events):,}: {row.outcome}"]
    told += [f"{name} {value:.3g}" for name, value in row.scores.items()]
    return ", ".join(told)


def _numbers(test: Looked) -> Safe:
    scores = [(n, _score(b.then), _score(b.now)) for n, b in test.scores.items()]
    metrics = [(n, *_amounts(n, b)) for n, b in test.metrics.items()]
    if not scores and not metrics:
        return Safe("")
    compared = test.then is not None
    names = ("measure", *(("then", "now") if compared else ("now",)))
    head = tag("tr", *(tag("th", each, scope="col") for each in names))
    rows = (
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(tag("td", each) for each in ((then, now) if compared else (now,))),
        )
        for name, then, now in (*scores, *metrics)
    )
    return tag("table", tag("thead", head), tag("tbody", *rows), class_="numbers")


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _amounts(name: str, numbers: Beside) -> tuple[str, ...]:
    return tuple("-" if each is None else amount(name, each) for each in numbers)


def _fields(
    event: Mapping[str, Any], then: Mapping[str, Any] | None, work: Work
) -> Safe:
    told = [
        tag("div", tag("dt", name), tag("dd", value))
        for name, value in _told(event, then, work)
    ]
    return tag("dl", *told, class_="fields")


def _told(
    event: Mapping[str, Any], then: Mapping[str, Any] | None, work: Work
) -> Iterator[tuple[str, Safe]]:
    metadata, asked = _mapping(event.get("metadata")), event.get("input")
    # What a test without parameters and words of its own is known by.
    known = {"test": facts_of(event).get("nodeid")}
    if asked is not None and asked != known:
        yield "input", _value(asked)
    yield from _output(event, then, work)
    if event.get("expected") is not None:
        yield "expected", _value(event["expected"])
    if event.get("error"):
        yield "error", _value(event["error"])
    tags = event.get("tags")
    if tags and isinstance(tags, list):
        yield "tags", together(*(tag("span", str(each), class_="tag") for each in tags))
    # What the plugin itself knows of the test is not what the test said.
    if own := {name: each for name, each in metadata.items() if name != "pytest"}:
        yield "metadata", _value(own)
    steps = list(islice(spans.nested(event), _STEPS + 1))
    if steps:
        yield "spans", _steps(steps)


def _mapping(value: object) -> Mapping[str, Any]:
    """What it has; nothing where a file or a server brought something else."""
    return value if isinstance(value, dict) else {}


def _output(
    event: Mapping[str, Any], then: Mapping[str, Any] | None, work: Work
) -> Iterator[tuple[str, Safe]]:
    now, before = as_text(event.get("output")), as_text((then or {}).get("output"))
    if then is None or before == now:
        if now is not None:
            yield ("output" if then is None else "output, as then"), _pre(now)
        return
    (old, note), (new, other) = _cut(before or ""), _cut(now or "")
    yield "output", together(beside(old, new, work), note or other)


def _value(value: object) -> Safe:
    if not isinstance(value, str):
        short = as_line(value)
        if len(short) <= _LINE:
            return _pre(short)
    return _pre(as_text(value) or "")


def _pre(told: str) -> Safe:
    kept, note = _cut(told)
    if max(kept.count("\n") * _LINE, len(kept)) < _TALL:
        return together(tag("pre", kept), note)
    # It scrolls by itself, which a keyboard can do where it has the focus.
    return together(tag("pre", kept, class_="tall", tabindex=0), note)


def _cut(told: str) -> tuple[str, Safe]:
    """What the page has of a text, and a note of what it has not."""
    told = told.replace("\r\n", "\n")
    more = len(told) - _LONGEST
    if more <= 0:
        return told, Safe("")
    said = f"cut here: {a_number(more, 'more character')} in the store"
    return told[:_LONGEST], tag("p", f"… {said}", class_="note")


def _steps(steps: Sequence[tuple[int, Mapping[str, Any]]]) -> Safe:
    told = [
        tag("li", text(step(each)), class_=f"deep-{min(depth, _DEEPEST)}")
        for depth, each in steps[:_STEPS]
    ]
    if len(steps) > _STEPS:
        told.append(tag("li", "… more steps in the store", class_="note"))
    return tag("ul", *told, class_="spans")
