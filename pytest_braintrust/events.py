"""Events as Braintrust takes them: one mapping for one row of an experiment.

Field names and their meaning: `POST /v1/experiment/{id}/insert` in Braintrust's API.
Built from plain data, so that a process which only has an encoded event (the
controller, after a worker died) can finish it by the same rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import blake2b
from typing import Any, TypedDict, cast
from uuid import uuid4

from pytest_braintrust.cutting import fit, short_name
from pytest_braintrust.fields import PASS, UNSET, Fields, Unset
from pytest_braintrust.jsonable import Json, dumps
from pytest_braintrust.outcomes import PASS_SCORE, Outcome
from pytest_braintrust.trials import split

#: Bytes of ASCII JSON that one field may have, which is what is sent: a character
#: that is not ASCII counts as six.
MAX_FIELD_BYTES = 1_000_000
#: Bytes that these fields may have together. Braintrust takes 6 MB in one request, but
#: some gateways before it only 5.
MAX_FIELDS_BYTES = 4_000_000
#: Bytes of each of the rest: all scores, all metrics, all earlier attempts.
MAX_OTHER_BYTES = 200_000

_SORTED = json.JSONEncoder(sort_keys=True, check_circular=False, separators=(",", ":"))
_WHOLE = re.compile(r"\.0(?=[,\]}]|$)")

_LARGE_FIELDS = ("input", "output", "expected", "error", "metadata", "tags")
_NUMBERS = ("scores", "metrics")

#: Under what name metadata called "pytest" are kept, which is the plugin's own.
_DISPLACED = "pytest (logged)"


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a test before it runs."""

    #: What the test is known by in every run: without trial.
    nodeid: str
    name: str
    file: str
    function: str
    line: int
    param_id: str | None = None
    markers: tuple[str, ...] = ()
    project: str | None = None
    #: The item's own node id, where that says more than `nodeid`.
    item_id: str = ""
    trial: int | None = None
    #: A hash of the test's source, which tells whether it was changed between runs.
    source: str | None = None
    #: What parameters and markers say; what the test logs goes over it.
    given: Fields = field(default_factory=Fields)


@dataclass(frozen=True, slots=True)
class Ids:
    """The identifiers of one row, made once and kept over reruns and resends."""

    row: str = field(default_factory=lambda: str(uuid4()))
    # A dashed UUID: Braintrust's SDK rewrites 32 plain digits, and children that
    # were traced under this span would lose their parent.
    span: str = field(default_factory=lambda: str(uuid4()))


@dataclass(frozen=True, slots=True)
class Run:
    """What one attempt at a test came to."""

    outcome: Outcome
    start: float
    end: float
    durations: dict[str, float]
    error: str | None = None
    worker: str | None = None
    attempts: tuple[dict[str, Json], ...] = ()


class Row(TypedDict):
    """One row on its way to the store.

    The event is ASCII and no text has a lone surrogate: one in a message of
    execnet's would end the whole pytest-xdist run.
    """

    id: str
    nodeid: str
    part: str
    project: str | None
    event: str


class Columns(TypedDict):
    """One row in the store: the encoded event, and what the store is asked by."""

    id: str
    nodeid: str
    part: str
    outcome: str
    scores: str
    input_hash: str
    event: str


def build(case: Case, ids: Ids, said: Fields, run: Run) -> dict[str, Any]:
    """Make the event of one row."""
    fields = Fields()
    fields.merge(case.given)
    fields.merge(said)
    scores = dict(fields.scores)
    if run.outcome in PASS_SCORE:
        scores[PASS] = PASS_SCORE[run.outcome]
    origin = {"origin": fields.origin} if fields.origin else {}
    return {
        **origin,
        "id": ids.row,
        "span_id": ids.span,
        "root_span_id": ids.span,
        "span_parents": [],
        "created": datetime.fromtimestamp(run.start, timezone.utc).isoformat(),
        # Braintrust matches the cases of two experiments by their input: a test
        # without one is told apart by its name.
        "input": {"test": case.nodeid} if fields.input is UNSET else fields.input,
        "output": _said(fields.output),
        "expected": _said(fields.expected),
        "error": _error(fields, run),
        "scores": scores,
        "metadata": {**_metadata(fields), "pytest": _facts(case, run)},
        "tags": fields.tags,
        "metrics": {"start": run.start, "end": run.end, **fields.metrics},
        "context": {
            "caller_functionname": case.function,
            "caller_filename": case.file,
            "caller_lineno": case.line,
        },
        "span_attributes": {"name": case.name, "type": "eval"},
    }


def _said(value: Json | Unset) -> Json:
    return None if isinstance(value, Unset) else value


def _metadata(fields: Fields) -> dict[str, Json]:
    names = {"pytest": _DISPLACED}
    return {names.get(name, name): each for name, each in fields.metadata.items()}


def _error(fields: Fields, run: Run) -> str | None:
    told = [fields.error] if isinstance(fields.error, str) else []
    return "\n\n".join([*told, *([run.error] if run.error else [])]) or None


def _facts(case: Case, run: Run) -> dict[str, Json]:
    facts: dict[str, Json] = {
        "nodeid": case.nodeid,
        "file": case.file,
        "function": case.function,
        "param_id": case.param_id,
        "markers": list(case.markers),
        "outcome": run.outcome,
        "worker": run.worker,
        "source": case.source,
        **({} if case.trial is None else {"trial": case.trial}),
        "durations": dict(run.durations),
    }
    if run.attempts:
        facts["attempts"] = list(run.attempts)
    return facts


def encode(event: dict[str, Any], *, part: str = "", project: str | None = None) -> Row:
    """Encode an event for the store and the wire, cut to size where it must be."""
    _put_durations_last(event)
    text = dumps(event)
    if len(text) > MAX_FIELD_BYTES:
        _cut(event)
        text = dumps(event)
    facts = event["metadata"]["pytest"]
    return Row(
        id=event["id"],
        nodeid=facts["nodeid"],
        part=part,
        project=project,
        event=text,
    )


def columns(text: str, part: str) -> Columns:
    """What the store is asked by, of an event that was encoded here.

    Raises:
        ValueError, KeyError, TypeError: it is not one.
    """
    event: dict[str, Any] = json.loads(text)
    facts = event["metadata"]["pytest"]
    return Columns(
        id=event["id"],
        nodeid=facts["nodeid"],
        part=part,
        outcome=facts["outcome"],
        scores=dumps(event["scores"]),
        input_hash=hash_of(event["input"]),
        event=text,
    )


def _put_durations_last(event: dict[str, Any]) -> None:
    """Let an encoded event end with the durations, for `with_teardown`."""
    metadata = event["metadata"] = event.pop("metadata")
    facts = metadata["pytest"] = metadata.pop("pytest")
    facts["durations"] = facts.pop("durations", {})


def with_teardown(text: str, seconds: float) -> str:
    """An encoded event once its test ended, and how long its teardown took.

    The teardown of a passed test adds its duration and nothing else: the event is
    not worth encoding twice.
    """
    start = text.removesuffix(_TAIL)
    comma = "" if start.endswith("{") else ","
    return f'{start}{comma}"teardown":{dumps(seconds)}{_TAIL}'


#: Ends an encoded event: durations, the plugin's facts, metadata, the event.
_TAIL = "}}}}"


def _cut(event: dict[str, Any]) -> None:
    """Cut to size what is too large in an event, and note what had to go whole."""
    # What the plugin itself says of the test is small, and needed.
    facts = event["metadata"].pop("pytest")
    fields = {name: fit(event[name], MAX_FIELD_BYTES) for name in _LARGE_FIELDS}
    event.update(cast("dict[str, Any]", fit(fields, MAX_FIELDS_BYTES)))
    for name in _NUMBERS:
        kept = dict(_first(event[name], MAX_OTHER_BYTES))
        if len(kept) < len(event[name]):
            facts[f"{name}_left_out"] = len(event[name]) - len(kept)
        event[name] = kept
    if "attempts" in facts:
        facts["attempts"] = fit(facts["attempts"], MAX_OTHER_BYTES)
    event["metadata"]["pytest"] = facts
    _put_durations_last(event)


def _first(
    numbers: dict[str, float | None], limit: int
) -> Iterator[tuple[str, float | None]]:
    """The first numbers that fit, and `pass`: a number cannot be cut."""
    for name, number in numbers.items():
        limit -= len(dumps(name)) + len(dumps(number)) + 2
        if limit >= 0 or name == PASS:
            yield name, number


def shortened(event: str, limit: int) -> str:
    """An encoded event cut to about `limit` bytes, with a note in what was cut.

    For servers that take less in one request than Braintrust says; the store keeps
    the whole.
    """
    cut: dict[str, Any] = json.loads(event)
    # Rows that were pulled or imported need not have all of this.
    large = {name: cut.pop(name) for name in _LARGE_FIELDS if name in cut}
    facts = (large.get("metadata") or {}).pop("pytest", None)
    room = max(0, limit - len(dumps(cut)) - len(dumps(facts)))
    kept = cast("dict[str, Any]", fit(large, room))
    if facts is not None:
        kept["metadata"]["pytest"] = facts
    return dumps({**cut, **kept})


def hash_of(value: Json) -> str:
    """A short name for a value: the same for equal values in every run.

    Also after a way through Braintrust, which keeps neither the order of keys nor
    that a whole number was a float.
    """
    text = _SORTED.encode(value)
    if ".0" in text:
        text = _WHOLE.sub("", text)
    return blake2b(text.encode("ascii"), digest_size=8).hexdigest()


def with_error(row: Row, error: str, *, failed: bool) -> dict[str, Any]:
    """The event of a row whose test could not end, with what it had logged.

    Args:
        row: The row so far.
        error: Why the test could not end.
        failed: Whether the test's body is known to have failed before.
    """
    event: dict[str, Any] = json.loads(row["event"])
    event["error"] = "\n\n".join(filter(None, [event["error"], error]))
    if not failed:
        event["scores"].pop(PASS, None)
        event["metadata"]["pytest"]["outcome"] = "errored"
    return event


def with_attempts(
    row: Row, attempts: Sequence[dict[str, Json]], row_id: str | None
) -> Row:
    """The row of a test that was tried before, in a worker that died.

    Args:
        row: The row of the last attempt.
        attempts: The attempts in workers that died.
        row_id: The id that the row had then, if it had one: it stays the same row.
    """
    event: dict[str, Any] = json.loads(row["event"])
    event["id"] = row_id or event["id"]
    facts = event["metadata"]["pytest"]
    facts["attempts"] = [*attempts, *facts.get("attempts", [])]
    return encode(event, part=row["part"], project=row["project"])


def unknown(nodeid: str, now: float, worker: str | None) -> dict[str, Any]:
    """The event of a test of which nothing but the node id ever arrived."""
    test, trial = split(nodeid)
    head, bracket, param_id = test.partition("[")
    path, _, name = head.partition("::")
    function = name.rpartition("::")[2]
    case = Case(
        nodeid=short_name(test),
        item_id=nodeid,
        trial=trial,
        name=short_name(function + bracket + param_id),
        file=path,
        function=function,
        line=0,
        param_id=short_name(param_id[:-1]) if bracket else None,
    )
    run = Run("errored", now, now, durations={}, worker=worker)
    return build(case, Ids(), Fields(), run)
