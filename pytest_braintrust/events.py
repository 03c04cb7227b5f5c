"""Events as Braintrust takes them: one mapping for one row of an experiment.

Field names and their meaning: `POST /v1/experiment/{id}/insert` in Braintrust's API.
Built from plain data, so that a process which only has an encoded event (the
controller, after a worker died) can finish it by the same rules.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict, cast

from pytest_braintrust.cutting import fit, short_name
from pytest_braintrust.fields import LARGEST_METRIC, PASS, UNSET, Fields, Unset
from pytest_braintrust.jsonable import Json, clean, dumps, dumps_sorted, quoted
from pytest_braintrust.outcomes import PASS_SCORE, Outcome
from pytest_braintrust.spending import is_spent
from pytest_braintrust.trials import TRIAL, TRIAL_NODEID, split

#: Bytes of ASCII JSON that one field may have, which is what is sent: a character
#: that is not ASCII counts as six.
MAX_FIELD_BYTES = 1_000_000
#: Bytes that these fields may have together. Braintrust takes 6 MB in one request, but
#: some gateways before it only 5.
MAX_FIELDS_BYTES = 4_000_000
#: Bytes of each of the rest: all scores, all metrics, all earlier attempts.
MAX_OTHER_BYTES = 200_000

#: Beyond is neither a duration nor a moment.
_MOST_SECONDS = 1e11

_WHOLE = re.compile(r"\.0(?=[,\]}]|$)")

_LARGE_FIELDS = ("input", "output", "expected", "error", "metadata", "tags")
_NUMBERS = ("scores", "metrics")
#: Metrics that are moments, not amounts: they say nothing about better or worse.
_MOMENTS = ("start", "end")
#: Others' events may have a metric that has no name.
_NO_AMOUNTS = (*_MOMENTS, "")

# In a tuple, because mocks replace what they find by name in modules.
_RANDOM = (os.urandom,)
#: The digit of a UUID that tells its variant, by any digit.
_VARIANTS = {
    digit: "89ab"[number % 4] for number, digit in enumerate("0123456789abcdef")
}

#: The fact of a test's own row that tells how the test ended and nothing else, as the
#: test logged to its further rows alone.
SILENT = "silent"

#: The facts that are the spans of a row, as `spans` makes them, and how many more
#: there were.
SPANS, SPANS_LEFT_OUT = "spans", "spans_left_out"
#: The fact that is what its calls of models cost, by the metrics of their spans.
SPENT = "spent"
#: The fact that is the attempts at a test before the one that its rows are of.
ATTEMPTS = "attempts"
#: The fact that names a row which is not the test's own.
_ROW = "row"
#: Among the amounts of a test's own row, under a name that no metric has, what those
#: attempts spent: it is in no mean.
EARLIER = ""

#: Under what name metadata called "pytest" are kept, which is the plugin's own.
_DISPLACED = "pytest (logged)"


@dataclass(frozen=True, slots=True)
class Place:
    """What the rows of one test function's cases have in common."""

    project: str | None
    #: A hash of the function's source, which tells whether it was changed between runs.
    source: str | None
    #: The `context`, and the members of `metadata.pytest` that are known of it, as
    #: encoded events have them.
    context: str
    facts: str

    @classmethod
    def of(  # noqa: PLR0913 - what is known of a function
        cls,
        *,
        file: str,
        function: str,
        line: int,
        markers: tuple[str, ...] = (),
        project: str | None = None,
        source: str | None = None,
    ) -> Place:
        """Describe a function.

        Args:
            file: Its file, from the root.
            function: Its name.
            line: Its line in the file, from 1.
            markers: The names of its markers.
            project: The project that a marker names.
            source: A hash of its source.
        """
        context: Json = {
            "caller_functionname": function,
            "caller_filename": file,
            "caller_lineno": line,
        }
        facts: Json = {
            "file": file,
            "function": function,
            "markers": list(markers),
            "source": source,
        }
        return cls(project, source, dumps(context), dumps(facts)[1:-1])


class Case(NamedTuple):
    """What is known of a test before it runs."""

    #: What the test is known by in every run: without trial.
    nodeid: str
    name: str
    place: Place
    #: What parameters and markers say; what the test logs goes over it.
    given: Fields
    param_id: str | None = None
    #: The item's own node id, where that says more than `nodeid`.
    item_id: str = ""
    trial: int | None = None


class Ids:
    """The identifiers of one row, made once and kept over reruns and resends.

    Attributes:
        row: The id of the row.
        span: That of its span. Dashed as well: Braintrust's SDK rewrites 32 plain
            digits, and children that were traced under it would lose their parent.
    """

    __slots__ = ("row", "span")

    def __init__(self) -> None:
        # As `uuid4` makes them, in a fifth of its time: every test needs two.
        some = _RANDOM[0](32).hex()
        self.row, self.span = _uuid4(some[:32]), _uuid4(some[32:])


def _uuid4(some: str) -> str:
    """A UUID of version 4, of 32 random digits."""
    variant = _VARIANTS[some[16]]
    return f"{some[:8]}-{some[8:12]}-4{some[13:16]}-{variant}{some[17:20]}-{some[20:]}"


class Attempt(NamedTuple):
    """What one attempt at a test came to, or one row of it."""

    outcome: Outcome
    start: float
    end: float
    durations: dict[str, float]
    error: str | None = None
    worker: str | None = None
    #: The attempts before it, as the row keeps them.
    earlier: tuple[dict[str, Json], ...] = ()
    #: As `SILENT`.
    silent: bool = False
    #: What it traced, as the members of `metadata.pytest` that tell of it.
    spans: Mapping[str, Json] = MappingProxyType({})


class Columns(TypedDict):
    """One row in the store: the encoded event, and what the store is asked by.

    The metrics beside the event are those that are amounts, as `amounts_of` says.

    The event is ASCII and no text has a lone surrogate: one in a message of
    execnet's would end the whole pytest-xdist run.
    """

    id: str
    nodeid: str
    part: str
    outcome: str
    scores: str
    metrics: str
    input_hash: str
    source: str | None
    event: str


class Row(Columns):
    """One row on its way to the store."""

    project: str | None


def record(case: Case, ids: Ids, said: Fields, attempt: Attempt, part: str = "") -> Row:
    """Make one row of a test.

    Args:
        case: The test.
        ids: The row's own.
        said: What the test said of it.
        attempt: What came of it.
        part: Its name, where it is one that the test opened beside its own.
    """
    fields = said.over(case.given)
    place = case.place
    # As text at once, piece by piece: most of an event is the same for all cases of a
    # function, and what the store is asked by is in the event too.
    given = _input(case, said, fields, part)
    asked = dumps(given)
    scores = dumps(cast("Json", scores_of(fields, attempt.outcome)))
    start, end = seconds_text(attempt.start), seconds_text(attempt.end)
    metrics = f'{{"start":{start},"end":{end}}}'
    amounts = f'{{"duration":{seconds_text(attempt.end - attempt.start)}}}'
    if fields.metrics or SPENT in attempt.spans or attempt.earlier:
        told = {**json.loads(metrics), **fields.metrics}
        known = {**attempt.spans, ATTEMPTS: attempt.earlier, _ROW: part}
        metrics, amounts = dumps(told), dumps(amounts_of(told, known))
    error = attempt.error
    if isinstance(fields.error, str):
        error = f"{fields.error}\n\n{error}" if error else fields.error
    name = f"{case.name} {part}" if part else case.name
    origin = f'"origin":{dumps(fields.origin)},' if fields.origin else ""
    metadata = f"{dumps(_metadata(fields))[1:-1]}," if fields.metadata else ""
    facts = f"{place.facts},{_facts(case, attempt, part)}"
    text = (
        f'{{"id":"{ids.row}","span_id":"{ids.span}","root_span_id":"{ids.span}",'
        f'"span_parents":[],"created":"{moment(start)}","input":{asked},'
        f'"output":{_said(fields.output)},"expected":{_said(fields.expected)},'
        f'"error":{quoted(error) if error else "null"},"scores":{scores},'
        f'"tags":{dumps([*fields.tags]) if fields.tags else "[]"},"metrics":{metrics},'
        f'"context":{place.context},{origin}'
        f'"span_attributes":{{"name":{quoted(name)},"type":"eval"}},'
        f'"metadata":{{{metadata}"pytest":{{{facts}}}}}}}'
    )
    if len(text) > MAX_FIELD_BYTES:
        return encode(json.loads(text), part=part, project=place.project)
    return {
        "id": ids.row,
        "nodeid": case.nodeid,
        "part": part,
        "outcome": attempt.outcome,
        "scores": scores,
        "metrics": amounts,
        # A mapping of one name is in order.
        "input_hash": _hash_of_text(asked) if asked.count(":") <= 1 else hash_of(given),
        "source": place.source,
        "event": text,
        "project": place.project,
    }


def _said(value: Json | Unset) -> str:
    if type(value) is str:
        return quoted(value)
    return "null" if isinstance(value, Unset) else dumps(value)


def amounts_of(
    metrics: Mapping[str, Any], facts: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The metrics that are amounts: how long a test took, but not when that was.

    Args:
        metrics: Those of the event.
        facts: What the plugin knows of it. What the row itself says was spent goes
            over what its spans did. What earlier attempts spent is that of the test's
            own row, for all of its rows tell of them.
    """
    spent = facts.get(SPENT)
    told = {**dict(_numbers(spent)), **metrics} if isinstance(spent, dict) else metrics
    # Of others' events one may be as large as floats are.
    amounts = {
        name: each
        for name, each in told.items()
        if name not in _NO_AMOUNTS and -LARGEST_METRIC <= each <= LARGEST_METRIC
    }
    if all(name in metrics for name in _MOMENTS):
        amounts.setdefault("duration", metrics["end"] - metrics["start"])
    if facts.get(ATTEMPTS) and not facts.get(_ROW):
        amounts |= _spent_before(attempts_of(facts))
    return amounts


def attempts_of(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The attempts before that a row's facts tell of."""
    found = facts.get(ATTEMPTS)
    # A hook may have left anything there.
    told = found if isinstance(found, (list, tuple)) else ()
    return [each for each in told if isinstance(each, dict)]


def amounts_of_all(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The amounts of an attempt by those of its rows, the first of which is the test's.

    What was spent is the sum of all rows, and the rest what the first one says.
    """
    first, *others = rows
    found = {name: each for name, each in first.items() if name != EARLIER}
    for row in others:
        for name, each in row.items():
            if is_spent(name):
                found[name] = found.get(name, 0) + each
    return found


def _spent_before(attempts: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    found: dict[str, float] = {}
    for each in attempts:
        metrics = each.get("metrics")
        for name, number in _numbers(metrics if isinstance(metrics, dict) else {}):
            if is_spent(name) and abs(number) <= LARGEST_METRIC:
                found[name] = found.get(name, 0) + number
    return {EARLIER: found} if found else {}


def _numbers(spent: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """A file or a hook may have left anything there."""
    return ((name, each) for name, each in spent.items() if type(each) in {int, float})


def seconds_text(seconds: float) -> str:
    """Seconds as a number in JSON, to the microsecond."""
    if type(seconds) is not float or not 0 <= seconds < _MOST_SECONDS:
        # Of the duration of a report other plugins make what they like.
        return dumps(clean(seconds))
    text = f"{seconds:.6f}"
    # As Python writes it, where that is shorter.
    return text if text[-1] != "0" else dumps(float(text))


def moment(seconds: str) -> str:
    """Seconds since 1970 as Braintrust writes a moment: ISO 8601, in UTC."""
    whole, _, part = seconds.partition(".")
    return f"{_second(whole)}.{part:0<6}+00:00"


@lru_cache(maxsize=8)
def _second(seconds: str) -> str:
    # Once for all the rows of a second, of which there may be thousands.
    return datetime.fromtimestamp(int(seconds), timezone.utc).isoformat()[:19]


def _input(case: Case, said: Fields, fields: Fields, part: str) -> Json:
    # Braintrust matches the cases of two experiments by their input: a test without
    # one is told apart by its name, and a row that shares its test's by its own.
    value = fields.input
    known: Json = {"test": case.nodeid} if isinstance(value, Unset) else value
    if part and said.input is UNSET and isinstance(known, dict):
        return {**known, "row": part}
    return known


def scores_of(fields: Fields, outcome: Outcome) -> dict[str, float | None]:
    """The scores of a row, with that of the test's outcome."""
    if outcome not in PASS_SCORE:
        return fields.scores
    return {**fields.scores, PASS: PASS_SCORE[outcome]}


def _metadata(fields: Fields) -> dict[str, Json]:
    if "pytest" not in fields.metadata:
        return fields.metadata
    kept = dict(fields.metadata)
    kept[_DISPLACED] = kept.pop("pytest")
    return kept


def _facts(case: Case, attempt: Attempt, part: str) -> str:
    """What the plugin itself says of a row, the durations last."""
    param_id = "null" if case.param_id is None else quoted(case.param_id)
    worker = "null" if attempt.worker is None else quoted(attempt.worker)
    more: dict[str, Json] = {}
    if part:
        more[_ROW] = part
    if attempt.silent:
        more[SILENT] = True
    if case.trial is not None:
        more[TRIAL] = case.trial
        # What pytest runs it by.
        more[TRIAL_NODEID] = short_name(case.item_id)
    if attempt.earlier:
        more[ATTEMPTS] = [*attempt.earlier]
    if attempt.spans:
        more.update(attempt.spans)
    rest = f"{dumps(more)[1:-1]}," if more else ""
    durations = ",".join(
        [f'"{name}":{seconds_text(each)}' for name, each in attempt.durations.items()]
    )
    return (
        f'"nodeid":{quoted(case.nodeid)},"param_id":{param_id},'
        f'"outcome":"{attempt.outcome}","worker":{worker},'
        f'{rest}"durations":{{{durations}}}'
    )


def encode(event: dict[str, Any], *, part: str = "", project: str | None = None) -> Row:
    """Make the row of an event, cut to size where it must be."""
    _put_durations_last(event)
    text = dumps(event)
    if len(text) > MAX_FIELD_BYTES:
        _cut(event)
        text = dumps(event)
    facts = event["metadata"]["pytest"]
    # A hook may have left anything there.
    source = facts.get("source")
    return Row(
        id=event["id"],
        nodeid=facts["nodeid"],
        part=part,
        outcome=facts["outcome"],
        scores=dumps(event["scores"]),
        metrics=dumps(amounts_of(event["metrics"], facts)),
        input_hash=hash_of(event["input"]),
        source=source if isinstance(source, str) else None,
        event=text,
        project=project,
    )


def _put_durations_last(event: dict[str, Any]) -> None:
    """Let an encoded event end with the durations, for `with_teardown`."""
    metadata = event["metadata"] = event.pop("metadata")
    facts = metadata["pytest"] = metadata.pop("pytest")
    facts["durations"] = facts.pop("durations", {})


def with_teardown(text: str, seconds: str) -> str:
    """An encoded event once its test ended, and how long its teardown took.

    Args:
        text: The event.
        seconds: As `seconds_text` writes them.

    The teardown of a passed test adds its duration and nothing else: the event is
    not worth encoding twice.
    """
    start = text.removesuffix(_TAIL)
    comma = "" if start.endswith("{") else ","
    return f'{start}{comma}"teardown":{seconds}{_TAIL}'


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
    if ATTEMPTS in facts:
        facts[ATTEMPTS] = fit(facts[ATTEMPTS], MAX_OTHER_BYTES)
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
    if isinstance(facts, dict) and isinstance(spans := facts.pop(SPANS, None), list):
        leave_out(facts, len(spans))
    room = max(0, limit - len(dumps(cut)) - len(dumps(facts)))
    kept = cast("dict[str, Any]", fit(large, room))
    if facts is not None:
        kept["metadata"]["pytest"] = facts
    return dumps({**cut, **kept})


def leave_out(facts: dict[str, Any], more: int) -> None:
    """Let the facts of a row say that it has more spans than are with it."""
    before = facts.get(SPANS_LEFT_OUT)
    # A file or a hook may have left anything there.
    facts[SPANS_LEFT_OUT] = (before if type(before) is int else 0) + more


def hash_of(value: Json) -> str:
    """A short name for a value: the same for equal values in every run.

    Also after a way through Braintrust, which keeps neither the order of keys nor
    that a whole number was a float.
    """
    return _hash_of_text(dumps_sorted(value))


def _hash_of_text(text: str) -> str:
    if ".0" in text:
        text = _WHOLE.sub("", text)
    return blake2b(text.encode("ascii"), digest_size=8).hexdigest()


def with_error(row: Row, error: str, *, failed: bool) -> Row:
    """The row of a test whose test could not end, with what it had logged.

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
    return encode(event, part=row["part"], project=row["project"])


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
    facts[ATTEMPTS] = [*attempts, *attempts_of(facts)]
    return encode(event, part=row["part"], project=row["project"])


def taken_apart(nodeid: str) -> tuple[str, str, str]:
    """A node id as its file, the names below it, and the parameters in brackets."""
    # A folder may have brackets in its name, too.
    path, separator, rest = nodeid.partition("::")
    names, bracket, params = (rest if separator else path).partition("[")
    return path if separator else names, names if separator else "", bracket + params


def unknown(nodeid: str, now: float, worker: str | None) -> Row:
    """The row of a test of which nothing but the node id ever arrived."""
    test, trial = split(nodeid)
    path, names, params = taken_apart(test)
    function = names.rpartition("::")[2]
    case = Case(
        nodeid=short_name(test),
        item_id=nodeid,
        trial=trial,
        name=short_name(function + params),
        place=Place.of(file=path, function=function, line=0),
        given=Fields(),
        param_id=short_name(params[1:-1]) if params else None,
    )
    attempt = Attempt("errored", now, now, durations={}, worker=worker)
    return record(case, Ids(), Fields(), attempt)
