"""What the API takes: a check for each kind of body, as its OpenAPI document says.

A check is called with a value and the place it stands in, and raises `Problem`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from fake_braintrust.wire import Answer, json_answer

Check = Callable[[Any, str], None]


class Problem(Exception):
    """The call is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def answer(self) -> Answer:
        """The error as the client gets it."""
        return json_answer({"message": str(self)}, self.status)


def expect(ok: object, where: str, what: str) -> None:
    """Refuse the request unless ok."""
    if not ok:
        raise Problem(400, f"{where}: {what}")


def anything(value: Any, where: str) -> None:
    """Any JSON."""


def text(value: Any, where: str) -> None:
    """A string."""
    expect(isinstance(value, str), where, "expected a string")


def name(value: Any, where: str) -> None:
    """A string with something in it."""
    expect(isinstance(value, str) and value, where, "expected a string of 1 or more")


def boolean(value: Any, where: str) -> None:
    """True or false."""
    expect(isinstance(value, bool), where, "expected a boolean")


def number(value: Any, where: str) -> None:
    """A number; a boolean is none."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool)
    expect(ok, where, "expected a number")


def integer(value: Any, where: str) -> None:
    """A whole number."""
    number(value, where)
    ok = isinstance(value, int) or value.is_integer()
    expect(ok, where, "expected an integer")


def score(value: Any, where: str) -> None:
    """A number between 0 and 1."""
    number(value, where)
    expect(0 <= value <= 1, where, "expected a number between 0 and 1")


def uuid(value: Any, where: str) -> None:
    """A UUID in text."""
    text(value, where)
    try:
        UUID(value)
    except ValueError:
        expect(False, where, "expected a UUID")


def moment(value: Any, where: str) -> None:
    """A date and time in text."""
    text(value, where)
    try:
        # 3.10 reads no Z.
        datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        expect(False, where, "expected a date and time")


def one_of(*words: str) -> Check:
    """One of some words."""

    def check(value: Any, where: str) -> None:
        expect(value in words, where, f"expected one of {', '.join(words)}")

    return check


def nullable(inner: Check) -> Check:
    """Null or what the inner check takes."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            inner(value, where)

    return check


def listing(inner: Check, *, unique: bool = False) -> Check:
    """A list, each of its items checked."""

    def check(value: Any, where: str) -> None:
        expect(isinstance(value, list), where, "expected an array")
        for index, item in enumerate(value):
            inner(item, f"{where}[{index}]")
        if unique:
            expect(len(set(value)) == len(value), where, "expected unique items")

    return check


def record(
    fields: Mapping[str, Check],
    *,
    required: tuple[str, ...] = (),
    rest: Check = anything,
) -> Check:
    """An object: its named fields, and the rest."""

    def check(value: Any, where: str) -> None:
        expect(isinstance(value, dict), where, "expected an object")
        for key in required:
            expect(key in value, f"{where}.{key}", "required")
        for key, item in value.items():
            fields.get(key, rest)(item, f"{where}.{key}")

    return check


def unsupported(value: Any, where: str) -> None:
    expect(value is None, where, "deprecated, or not known to this fake server")


_maybe = nullable
_object = _maybe(record({}))
_metadata = _maybe(record({"model": _maybe(text)}))
_tags = _maybe(listing(text, unique=True))
_count = _maybe(integer)

REPO_INFO = _maybe(
    record(
        {
            "dirty": _maybe(boolean),
            **dict.fromkeys(
                (
                    "commit",
                    "branch",
                    "tag",
                    "author_name",
                    "author_email",
                    "commit_message",
                    "commit_time",
                    "git_diff",
                ),
                _maybe(text),
            ),
        }
    )
)
_METRICS = {
    "start": _maybe(number),
    "end": _maybe(number),
    "prompt_tokens": _count,
    "completion_tokens": _count,
    "tokens": _count,
    "caller_functionname": anything,
    "caller_filename": anything,
    "caller_lineno": anything,
}
_CONTEXT = {
    "caller_functionname": _maybe(text),
    "caller_filename": _maybe(text),
    "caller_lineno": _count,
}
_SPAN_TYPES = (
    "llm",
    "score",
    "function",
    "eval",
    "task",
    "tool",
    "automation",
    "facet",
    "preprocessor",
    "classifier",
    "review",
)
_SPAN = {
    "name": _maybe(text),
    "type": _maybe(one_of(*_SPAN_TYPES)),
    "purpose": _maybe(one_of("scorer")),
}
_ORIGIN_TYPES = (
    "project_logs",
    "experiment",
    "dataset",
    "prompt",
    "function",
    "prompt_session",
)
_ORIGIN = record(
    {
        "object_type": one_of(*_ORIGIN_TYPES),
        "object_id": uuid,
        "id": text,
        "_xact_id": _maybe(text),
        "created": _maybe(text),
    },
    required=("object_type", "object_id", "id"),
)

#: Of an event. Those that begin with an underscore say what to do with it.
DATASET_FIELDS: Mapping[str, Check] = {
    "id": _maybe(text),
    "input": anything,
    "expected": anything,
    "metadata": _metadata,
    "tags": _tags,
    "created": _maybe(moment),
    "origin": _maybe(_ORIGIN),
    "facets": _maybe(record({}, rest=_maybe(text))),
    "span_id": _maybe(text),
    "root_span_id": _maybe(text),
    "span_parents": _maybe(listing(text)),
    "_object_delete": _maybe(boolean),
    "_is_merge": _maybe(boolean),
    "_merge_paths": _maybe(listing(listing(text))),
    "_array_delete": unsupported,
    "_parent_id": unsupported,
}
EXPERIMENT_FIELDS: Mapping[str, Check] = {
    **DATASET_FIELDS,
    "output": anything,
    "error": anything,
    "scores": _maybe(record({}, rest=_maybe(score))),
    "metrics": _maybe(record(_METRICS, rest=number)),
    "context": _maybe(record(_CONTEXT)),
    "span_attributes": _maybe(record(_SPAN)),
}

PROJECT: Mapping[str, Check] = {
    "name": name,
    "description": _maybe(text),
    "org_name": _maybe(text),
}
DATASET: Mapping[str, Check] = {
    "name": name,
    "description": _maybe(text),
    "tags": _maybe(listing(text)),
    "metadata": _object,
}
EXPERIMENT: Mapping[str, Check] = {
    **DATASET,
    "name": _maybe(name),
    "repo_info": REPO_INFO,
    "base_exp_id": _maybe(uuid),
    "dataset_id": _maybe(uuid),
    "dataset_version": _maybe(text),
    "internal_metadata": _object,
    "parameters_id": _maybe(uuid),
    "parameters_version": _maybe(text),
    "public": _maybe(boolean),
}
ENSURE_NEW: Mapping[str, Check] = {"ensure_new": _maybe(boolean)}

_OBJECT_TYPES = (
    "organization",
    "project",
    "experiment",
    "dataset",
    "prompt",
    "prompt_session",
    "group",
    "role",
    "org_member",
    "project_log",
    "org_project",
    "org_audit_logs",
)
_PERMISSIONS = (
    "create",
    "read",
    "update",
    "delete",
    "create_acls",
    "read_acls",
    "update_acls",
    "delete_acls",
)
ACL_FIELDS: Mapping[str, Check] = {
    "object_type": one_of(*_OBJECT_TYPES),
    "object_id": uuid,
    "user_id": _maybe(uuid),
    "group_id": _maybe(uuid),
    "permission": _maybe(one_of(*_PERMISSIONS)),
    "restrict_object_type": _maybe(one_of(*_OBJECT_TYPES)),
    "role_id": _maybe(uuid),
}
ACL = record(ACL_FIELDS, required=("object_type", "object_id"))
