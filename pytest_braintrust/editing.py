"""Let the hooks of a suite change or drop a row, and take the API key out of it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from pytest_braintrust.events import ATTEMPTS, SPANS, Row, attempts_of, encode
from pytest_braintrust.fields import PASS, checked
from pytest_braintrust.jsonable import clean, plain_text
from pytest_braintrust.redacting import REDACTED
from pytest_braintrust.spans import usable

#: What a row keeps when a hook that should redact it failed: what the plugin itself
#: wrote, and nothing that the test did.
_OWN = ("id", "span_id", "root_span_id", "span_parents", "created", "context")

#: What says which row it is: no hook changes that.
_IDENTITY = ("id", "span_id", "root_span_id", "span_parents", "created")

_MAPPINGS = ("context", "origin", "span_attributes")

#: What counts as a failure of a hook: also outcomes of pytest and `sys.exit`, which are
#: no `Exception`. `pytest.exit`, which is one, is looked for before these.
FAILURES = (Exception, pytest.fail.Exception, pytest.skip.Exception, SystemExit)

#: What stands in a traceback between us and a hook.
_BETWEEN = ("pytest_braintrust", "pluggy", "_pytest")


class _Unusable(Exception):
    """What a hook left of a row cannot be kept; the text tells nothing of it."""


class RowEditor:
    """Applies `pytest_braintrust_row`, and keeps what went wrong in it."""

    def __init__(self, config: pytest.Config, api_key: str | None) -> None:
        self._config = config
        self._api_key = api_key
        #: By the id of a row, what the hook did wrong and for which test.
        self.failures: dict[str, str] = {}
        #: Whether a hook dropped a row.
        self.dropped = False
        #: Whether a hook has ended the run: rows that are kept after that need not.
        self._left = False

    def edited(self, rows: list[Row], item: pytest.Item | None = None) -> list[Row]:
        """The rows to keep, as they are to be kept."""
        # Most suites have no such hook, and then no event is made of the text.
        hooked = bool(self._config.hook.pytest_braintrust_row.get_hookimpls())
        if not hooked and not self._api_key:
            return rows
        edited = [self._edited(row, item, hooked=hooked) for row in rows]
        return [row for row in edited if row is not None]

    def _edited(
        self, row: Row, item: pytest.Item | None, *, hooked: bool
    ) -> Row | None:
        if hooked:
            event = self._edit(json.loads(row["event"]), item)
            if event is None:
                return None
            row = encode(event, part=row["part"], project=row["project"])
        return self._scrubbed(row)

    def _edit(
        self, event: dict[str, Any], item: pytest.Item | None
    ) -> dict[str, Any] | None:
        hook = (item.ihook if item else self._config.hook).pytest_braintrust_row
        # A copy: the hook is called again for this row, and starts anew then.
        row = deepcopy(event)
        try:
            answers = hook(config=self._config, item=item, row=row)
            if any(answer is False for answer in answers):
                self.dropped = True
                return None
            usable = _usable(row, event)
        except FAILURES as error:
            if isinstance(error, pytest.exit.Exception) and not self._left:
                self._left = True
                raise
            why = _told(error)
            nodeid = event["metadata"]["pytest"]["nodeid"]
            self.failures[event["id"]] = f"{why} for {nodeid}"
            return _without_content(event, why)
        # It may have failed for what the test had said so far.
        self.failures.pop(event["id"], None)
        return usable

    def _scrubbed(self, row: Row) -> Row:
        """The row without the API key, wherever a test logged it."""
        if not self._api_key or self._api_key not in row["event"]:
            return row
        event = json.loads(row["event"].replace(self._api_key, REDACTED))
        return encode(event, part=row["part"], project=row["project"])


def raised_at(error: BaseException) -> str:
    """Which error a hook raised, and in which line; its text may hold anything."""
    name = type(error).__name__
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _BETWEEN:
            file = Path(frame.f_code.co_filename).name
            return plain_text(f"{name} at {file}:{line}")
    return name


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, _Unusable) else f"raised {raised_at(error)}"


def _usable(row: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What a hook left, held to the same rules as what a test says.

    Raises:
        _Unusable: it has a field that rows do not have, or one of a wrong kind.
    """
    plain: dict[str, Any] = clean(row)  # type: ignore[assignment]
    for name, value in plain.items():
        if name not in before and name != "origin":
            msg = f"added {name!r}, which no row has; use metadata"
            raise _Unusable(msg)
        if name in _MAPPINGS and not isinstance(value, dict):
            raise _wrong(name)
    return {
        **before,
        **plain,
        **{name: plain.get(name) for name in ("input", "output", "expected")},
        **_checked(plain, before["scores"].get(PASS)),
        "metadata": _metadata(plain.get("metadata"), before["metadata"]["pytest"]),
        **{name: before[name] for name in _IDENTITY},
    }


def _checked(plain: dict[str, Any], passed: float | None) -> dict[str, Any]:
    """The fields that Braintrust is strict about; `pass` stays what was measured."""
    scores = plain.get("scores")
    if isinstance(scores, dict):
        scores = {name: each for name, each in scores.items() if name != PASS}
    left = {name: plain.get(name) for name in ("tags", "metrics", "error")}
    kept: dict[str, Any] = {}
    for name, value in {"scores": scores, **left}.items():
        try:
            kept[name] = getattr(checked(**{name: value}), name)
        except ValueError:
            raise _wrong_scores(value) if name == "scores" else _wrong(name) from None
    if passed is not None:
        kept["scores"][PASS] = passed
    return kept


def _metadata(left: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the plugin knows rows by stays; the rest is the hook's to change."""
    name = "metadata"
    try:
        metadata = checked(metadata=left).metadata
    except ValueError:
        raise _wrong(name) from None
    told = metadata.get("pytest", {})
    if not isinstance(told, dict):
        raise _wrong(name)
    known = {name: facts[name] for name in ("nodeid", "outcome", "durations")}
    if isinstance(told.get("nodeid"), str):
        known["nodeid"] = told["nodeid"]
    if SPANS in told:
        try:
            known[SPANS] = usable(told[SPANS], facts.get(SPANS))
        except ValueError:
            raise _wrong(SPANS) from None
    return {**metadata, "pytest": {**told, **known}}


def _wrong_scores(scores: Any) -> _Unusable:
    """Which score is wrong; its value only where that is a number, for no text is."""
    for name, value in scores.items() if isinstance(scores, dict) else ():
        try:
            checked(scores={name: value})
        except ValueError:
            number = isinstance(value, (int, float))
            told = f" at {value}" if number else ""
            msg = f"left the score {name!r}{told}, which must be a number from 0 to 1"
            return _Unusable(msg)
    return _wrong("scores")


def _wrong(name: str) -> _Unusable:
    return _Unusable(f"left {name} of a wrong kind")


def _without_content(event: Mapping[str, Any], why: str) -> dict[str, Any]:
    """The row without anything that the test said, but for its numbers."""
    facts = dict(event["metadata"]["pytest"])
    facts.pop(SPANS, None)
    if ATTEMPTS in facts:
        facts[ATTEMPTS] = [{**each, "error": None} for each in attempts_of(facts)]
    return {
        **{name: event[name] for name in _OWN},
        "input": {"test": facts["nodeid"]},
        "output": None,
        "expected": None,
        "error": f"[withheld: the hook pytest_braintrust_row {why}]",
        "scores": dict(event["scores"]),
        "metadata": {"pytest": facts},
        "tags": [],
        "metrics": dict(event["metrics"]),
        "span_attributes": dict(event["span_attributes"]),
    }
