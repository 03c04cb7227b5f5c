"""Spans within a test: steps of it that were traced, such as the calls of a model.

In the store they lie among the facts of their test's row, so that they live and die
with it: what reruns, crashes and hooks do to a row, they do to its spans. On Braintrust
each is an event of its own below the row (`span_parents` in
`POST /v1/experiment/{id}/insert`).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_braintrust.clocks import now
from pytest_braintrust.cutting import fit, fit_each
from pytest_braintrust.events import (
    SPANS,
    SPANS_LEFT_OUT,
    SPENT,
    Ids,
    leave_out,
    moment,
    seconds_text,
)
from pytest_braintrust.fields import UNSET, Fields, checked
from pytest_braintrust.jsonable import Json, clean, dumps
from pytest_braintrust.spending import is_spent
from pytest_braintrust.trials import facts_of

#: A loop that traces without end does not fill a disk: so many of a test are kept.
MOST = 500
#: Bytes of ASCII JSON that the spans of a row may have together.
MAX_BYTES = 500_000

#: Bytes that a test holds of its spans while it runs, more or less; beyond, little is
#: kept of what is said of one.
_HELD_BYTES = 8 * MAX_BYTES
_LITTLE = 2_000

#: What is cut where that is too much.
_CONTENT = ("input", "output", "expected", "error", "metadata", "tags")
#: Bytes of all else that a span has.
_FRAME = 600

#: A part of the tokens, by the SDK's names. Of those that there were none of, a model
#: tells six or so, in each answer.
_KIND = re.compile(r"(prompt|completion)_\w+_tokens$")

#: What of it is large where what is traced is: documents, conversations.
_LARGE = ("input", "output", "expected", "metadata")

_IDENTITY = ("id", "span_id", "root_span_id", "span_parents", "created")
#: What each span has, so that a hook cannot take it away.
_MAPPINGS = ("metrics", "span_attributes")
_FIELDS = frozenset((*_IDENTITY, *_CONTENT, *_MAPPINGS, "scores"))
#: How the spans of a row begin in its encoded event.
_MARK = f'"{SPANS}":[{{"'


@dataclass(slots=True)
class TracedSpan:
    """One step of a test, or of another step.

    Attributes:
        name: What it is called.
        root: The id of the span that its row is.
        said: What was logged of it.
        attributes: Its `span_attributes` beside the name, such as `type`.
        start: In unix seconds.
        end: The same; None while it goes on.
        within: The step that it is a part of; None: of the row alone.
    """

    name: str
    root: str
    said: Fields
    attributes: dict[str, Json] = field(default_factory=dict)
    start: float = field(default_factory=now)
    end: float | None = None
    ids: Ids = field(default_factory=Ids)
    within: TracedSpan | None = None
    #: Whether it is one too many to be kept.
    left_out: bool = False

    @property
    def is_model(self) -> bool:
        """Whether it is a call of a model."""
        return self.attributes.get("type") == "llm"

    @property
    def is_paid(self) -> bool:
        """Whether its costs count: those of calls of models, but of none within another."""
        within = self.within
        while within is not None and not within.is_model:
            within = within.within
        return self.is_model and within is None

    @property
    def parent(self) -> str:
        """The id of the span that it is a part of."""
        return self.root if self.within is None else self.within.ids.span

    @property
    def event(self) -> dict[str, Json]:
        """The event that it is."""
        said, start = self.said, seconds_text(self.start)
        times: dict[str, Json] = {"start": float(start)}
        if self.end is not None:
            times["end"] = float(seconds_text(max(self.start, self.end)))
        told: dict[str, Any] = {
            "input": said.input,
            "output": said.output,
            "expected": said.expected,
            "error": said.error,
            "scores": said.scores or UNSET,
            "tags": said.tags or UNSET,
            "metadata": said.metadata or UNSET,
        }
        return {
            "id": self.ids.row,
            "span_id": self.ids.span,
            "root_span_id": self.root,
            "span_parents": [self.parent],
            "created": moment(start),
            **{name: each for name, each in told.items() if each is not UNSET},
            "metrics": {**times, **said.metrics},
            "span_attributes": {**self.attributes, "name": self.name},
        }


@dataclass(slots=True)
class LeftOut:
    """What is kept of the spans of a row that are too many."""

    count: int = 0
    spent: dict[str, float] = field(default_factory=dict)

    def add(self, span: TracedSpan, said: Fields, before: Fields | None = None) -> None:
        """Count what a span says that it cost.

        Args:
            span: The span.
            said: What is said of it now.
            before: What was said of it before.
        """
        if not span.is_paid:
            return
        known = before.metrics if before else {}
        for name, value in said.metrics.items():
            if is_spent(name):
                more = value - known.get(name, 0)
                self.spent[name] = self.spent.get(name, 0) + more


def facts(
    spans: Iterable[TracedSpan], left_out: LeftOut | None = None
) -> dict[str, Json]:
    """What the facts of a row tell of its spans, cut to size.

    Args:
        spans: Those of the row.
        left_out: What more it had.
    """
    spans = list(spans)
    events = [each.event for each in spans]
    if len(dumps(list[Json](events))) > MAX_BYTES:
        share = MAX_BYTES // len(events) - _FRAME
        events = [_fitted(each, share) for each in events]
    told: dict[str, Json] = {SPANS: list[Json](events)} if events else {}
    if left_out is not None:
        told[SPANS_LEFT_OUT] = left_out.count
    if paid := spent(spans, left_out):
        told[SPENT] = paid
    return told


def spent(spans: Sequence[TracedSpan], left_out: LeftOut | None) -> dict[str, Json]:
    """The costs and tokens of all calls of models; a call within one is a part of it."""
    total = dict(left_out.spent) if left_out else {}
    for each in spans:
        if not each.is_paid:
            continue
        for name, value in each.said.metrics.items():
            if is_spent(name):
                total[name] = total.get(name, 0) + value
    return {n: each for n, each in total.items() if each or not _KIND.match(n)}


def _fitted(event: Mapping[str, Json], limit: int) -> dict[str, Json]:
    content = {name: event[name] for name in _CONTENT if name in event}
    # None is left out as a whole: `…` is no field of an event.
    return {**event, **fit_each(content, limit)}


def count(event: str) -> int:
    """How many events an encoded one is on Braintrust."""
    return 1 + (event.count('"span_parents":["') if _MARK in event else 0)


def sent(event: str) -> list[str]:
    """The events that an encoded one is on Braintrust: its spans have their own."""
    if _MARK not in event:
        return [event]
    row: dict[str, Any] = json.loads(event)
    spans = of(row)
    if not spans:
        return [event]
    del row["metadata"]["pytest"][SPANS]
    return [dumps(row), *map(dumps, spans)]


def held(said: Fields, bytes_before: int) -> int:
    """Cut what is said of a span to what may be kept of it in the end.

    Args:
        said: What one call said.
        bytes_before: What the test holds so far.

    Returns:
        What the test holds now.
    """
    limit = MAX_BYTES if bytes_before < _HELD_BYTES else _LITTLE
    total = bytes_before
    for name in _LARGE:
        value = getattr(said, name)
        if value is UNSET or not value:
            continue
        size = len(dumps(value))
        if size > limit:
            setattr(said, name, fit(value, limit))
        total += min(size, limit)
    return total


def told_left_out(event: str, more: int) -> str:
    """An event as `sent` answers it for a row, once it says that more is left out."""
    row: dict[str, Any] = json.loads(event)
    leave_out(row["metadata"]["pytest"], more)
    return dumps(row)


def of(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The spans of a row in the store; what a file brought that is none is left out."""
    found = facts_of(event).get(SPANS)
    return [e for e in found if _is_span(e)] if isinstance(found, list) else []


def nested(event: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The spans of a row, each below what it is a part of, and how deep it lies there."""
    below: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in of(event):
        below[each["span_parents"][0]].append(each)
    root = str(event.get("span_id"))
    waiting = [(0, each) for each in reversed(below.pop(root, []))]
    while waiting:
        depth, each = waiting.pop()
        yield depth, each
        # Taken: what a file brought may be a part of itself.
        steps = below.pop(each["span_id"], [])
        waiting += [(depth + 1, step) for step in reversed(steps)]


def _is_span(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    parents = value.get("span_parents")
    return (
        all(isinstance(value.get(name), str) for name in ("id", "span_id"))
        and isinstance(parents, list)
        and bool(parents)
        and all(isinstance(each, str) for each in parents)
        and all(isinstance(value.get(name), dict) for name in _MAPPINGS)
        and all(isinstance(each, int | float) for each in value["metrics"].values())
    )


def usable(left: object, before: object) -> list[Json]:
    """The spans that a hook left of a row, held to the rules of what is logged.

    Raises:
        ValueError: they are no list of spans, or a field of one is of a wrong kind.
    """
    known: dict[Any, Any] = {each["id"]: each for each in _list(before)}
    found: list[Json] = []
    for each in _list(left):
        was = known.pop(each.get("id"), None) if isinstance(each, dict) else None
        if was is None:
            msg = "a span that the test did not have"
            raise ValueError(msg)
        for name in ("scores", "metrics", "tags", "metadata"):
            checked(**{name: each.get(name)})
        plain: Any = clean(each)
        if not plain.keys() <= _FIELDS:
            msg = "a field that no span has"
            raise ValueError(msg)
        # The id first, by which they are seen in a row that is encoded.
        identity = {name: was[name] for name in _IDENTITY}
        mappings = {name: _mapping(plain.get(name)) for name in _MAPPINGS}
        found.append({**identity, **plain, **identity, **mappings})
    return found


def _mapping(value: object) -> dict[str, Any]:
    if isinstance(value, dict | None):
        return value or {}
    msg = "a mapping is none"
    raise ValueError(msg)


def _list(spans: object) -> list[Any]:
    if isinstance(spans, list):
        return spans
    msg = "spans are no list"
    raise ValueError(msg)
