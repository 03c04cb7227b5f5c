"""Read rows back: events of a file or of Braintrust, made by us or by others.

The other way of `events.encode`. What others made (evals of the SDK) carries no node
id: such a row is known by its input, as Braintrust itself matches cases, and by its
name where it has no input.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NoReturn

from pytest_braintrust.events import Columns, amounts_of, hash_of
from pytest_braintrust.git import RepoInfo
from pytest_braintrust.jsonable import clean, dumps, plain_text
from pytest_braintrust.outcomes import OUTCOMES
from pytest_braintrust.trials import facts_of

#: The fields of every event of ours, and those that only others' may have.
_FIELDS = (
    "id",
    "span_id",
    "root_span_id",
    "span_parents",
    "created",
    "input",
    "output",
    "expected",
    "error",
    "scores",
    "tags",
    "metrics",
    "context",
    "span_attributes",
    "metadata",
)
_FURTHER = ("origin",)

#: What rows have that were downloaded from Braintrust.
VERSION = "_xact_id"

#: Those that are looked at besides.
_READ = frozenset({*_FURTHER, "is_root"})
#: Those that a person would write.
_LOGGED = ("id", "input", "output", "expected", "error", "scores", "tags", "metrics")
#: Characters of what is wrong, in a message.
_SHOWN = 80

#: What is a text among the facts of a commit, the SDK's diff too.
_COMMIT_TEXTS = (RepoInfo.__optional_keys__ - {"dirty"}) | {"git_diff"}

#: Characters of an input that stand for the test in tables.
_IDENTITY = 120


def is_root(event: Mapping[str, Any]) -> bool:
    """Whether an event is a case itself, and not a step traced inside of one."""
    told = event.get("is_root")
    return told if isinstance(told, bool) else not event.get("span_parents")


def decode(event: Mapping[str, Any]) -> Columns:
    """The row of an event, as the store keeps it.

    Raises:
        ValueError: it is no event of an experiment; the text says why.
    """
    _check(event)
    plain: Any = clean({name: event.get(name) for name in _FIELDS})
    for name in _FURTHER:
        if event.get(name) is not None:
            plain[name] = clean(event[name])
    plain["scores"] = plain["scores"] or {}
    plain["metrics"] = _numbers(plain["metrics"])
    plain["metadata"] = plain["metadata"] or {}
    facts = facts_of(plain)
    return Columns(
        id=plain["id"],
        nodeid=_text(facts.get("nodeid")) or identity(plain),
        part=_text(facts.get("row")) or "",
        outcome=_outcome(facts.get("outcome"), plain),
        scores=dumps(plain["scores"]),
        metrics=dumps(amounts_of(plain["metrics"], facts)),
        input_hash=hash_of(plain["input"]),
        source=_text(facts.get("source")),
        event=dumps(plain),
    )


def check_written(event: Mapping[str, Any]) -> None:
    """Refuse what decoding would pass over, in a row that somebody may have written.

    Rows that were downloaded from Braintrust have fields that only it knows of.

    Raises:
        ValueError: a field is misspelt, or an outcome is none; the text says which.
    """
    if VERSION not in event:
        for name in event:
            if name not in _FIELDS and name not in _READ:
                _no_field(name)
    facts = facts_of(event)
    if not _text(facts.get("nodeid")):
        return
    if facts.get("outcome") not in OUTCOMES:
        told = plain_text(str(facts.get("outcome")))[:_SHOWN]
        msg = f"its outcome {told!r} is none; there is {', '.join(OUTCOMES)}"
        raise ValueError(msg)


def _no_field(name: str) -> NoReturn:
    near = get_close_matches(name[:_SHOWN], _FIELDS, 1)
    there = ", ".join(_LOGGED)
    hint = f"did you mean {near[0]!r}?" if near else f"a row has {there}"
    msg = f"there is no field {plain_text(name)[:_SHOWN]!r}; {hint}"
    raise ValueError(msg)


def identity(event: Mapping[str, Any]) -> str:
    """What a row without node id is known by: the same for the same case."""
    if event["input"] is not None:
        text = json.dumps(event["input"], ensure_ascii=False, sort_keys=True)
        if len(text) <= _IDENTITY:
            return plain_text(text)
        return plain_text(f"{text[:_IDENTITY]}… {hash_of(event['input'])}")
    attributes = event["span_attributes"]
    name = attributes.get("name") if isinstance(attributes, dict) else None
    return _text(name) or str(event["id"])


def repo_info(told: Mapping[str, Any]) -> dict[str, Any] | None:
    """The facts of a commit, without those that are of another type than ours."""
    return {
        name: each
        for name, each in told.items()
        if name not in _COMMIT_TEXTS or isinstance(each, str)
    } or None


def _outcome(told: object, event: Mapping[str, Any]) -> str:
    if told in OUTCOMES:
        return str(told)
    # Of others' rows an error says that the task or a scorer raised: what it is to
    # be blamed on, nobody said, and nothing was measured.
    return "passed" if event["error"] is None else "errored"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _check(event: Mapping[str, Any]) -> None:
    if not _text(event.get("id")):
        _wrong("id", "a text")
    for name in ("scores", "metadata", "metrics"):
        if not isinstance(event.get(name), dict | None):
            _wrong(name, "an object")
    if not all(map(_is_score, (event.get("scores") or {}).values())):
        _wrong("scores", "an object of numbers from 0 to 1")
    tags = event.get("tags")
    if not isinstance(tags, list | None) or not all(
        isinstance(each, str) for each in tags or ()
    ):
        _wrong("tags", "a list of texts")


def _is_score(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return value is None or (isinstance(value, int | float) and 0 <= value <= 1)


def _numbers(metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metrics that are numbers, which others' need not all be."""
    return {name: each for name, each in (metrics or {}).items() if _is_finite(each)}


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) <= sys.float_info.max


def _wrong(name: str, kind: str) -> NoReturn:
    msg = f"its {name!r} is not {kind}"
    raise ValueError(msg)
