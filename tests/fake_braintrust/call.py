"""One request of a known user, and what any call does with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

from fake_braintrust import contract
from fake_braintrust.contract import Check, Problem, expect, record
from fake_braintrust.state import KINDS, Object, State
from fake_braintrust.wire import Answer, Request


@dataclass(slots=True)
class Knobs:
    """How the server behaves where servers differ; tests turn them at any time."""

    #: A larger request body is a 413.
    max_request_bytes: int = 6 * 1024 * 1024
    #: A page has no more traces (fetch) or rows (BTQL), whatever is asked for.
    page_limit: int = 1000
    #: Later pages repeat a row of the first with an older `_xact_id`.
    repeat_older_rows: bool = False
    #: The other name is `x-amz-meta-bt-cursor`.
    cursor_header: str = "x-bt-cursor"
    #: BTQL answers are handed over to an object store on another host.
    redirect_btql: bool = False
    #: An event that it is true of is a 400 for its whole request.
    poison: Callable[[Object], bool] | None = None


@dataclass(frozen=True)
class Call:
    """A request of a known user, and what it works on."""

    state: State
    knobs: Knobs
    request: Request
    user_id: str
    #: Keeps an answer on another host; answers its address.
    store_elsewhere: Callable[[Answer], str] = field(repr=False)

    @cached_property
    def body(self) -> Any:
        """The decoded body."""
        kind = self.request.headers.get("content-type", "")
        expect(kind.startswith("application/json"), "body", "expected application/json")
        encoded = self.request.headers.get("content-encoding")
        expect(not encoded, "body", "compressed requests are not taken")
        try:
            return json.loads(self.request.body, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise Problem(400, f"body: {error}") from None

    def checked(self, fields: Mapping[str, Check], *required: str) -> Object:
        """The body, if it is an object as the call takes it."""
        record(fields, required=required)(self.body, "body")
        return dict(self.body)

    @property
    def organizations(self) -> list[str]:
        """The ids of the user's organisations."""
        return self.state.members.get(self.user_id, [])

    def visible(self, kind: str, thing: Object) -> bool:
        """Whether the user may see an object."""
        if kind == "role":
            return True
        if kind == "user":
            theirs = self.state.members.get(thing["id"], [])
            return not set(theirs).isdisjoint(self.organizations)
        if kind in KINDS:
            thing = self.state.project_of(thing)
        org = thing.get("org_id") or thing.get("_object_org_id") or thing["id"]
        return org in self.organizations

    def find(self, kind: str, object_id: str) -> Object:
        """An object by its id: one of others is answered like one that is not there."""
        contract.uuid(object_id, f"{kind}_id")
        found = self.state.get(kind, object_id)
        if found is None or not self.visible(kind, found):
            what = f"{kind} id {object_id}, or the {kind} does not exist"
            raise Problem(403, f"Missing read access to {what}")
        return found


def _no_constant(word: str) -> NoReturn:
    msg = f"{word} is not JSON"
    raise ValueError(msg)


def limited(value: Any, default: int) -> int:
    """A limit as it was asked for."""
    if value is None:
        return default
    try:
        limit = int(value)
    except (TypeError, ValueError):
        limit = -1
    expect(limit >= 0, "limit", "expected an integer of 0 or more")
    return limit


def capped(call: Call, limit: Any) -> int:
    """A page's limit: as asked for, but not more than the server's own."""
    return min(limited(limit, call.knobs.page_limit), call.knobs.page_limit)


def version(value: Any) -> int | None:
    """The transaction that a version names."""
    ok = value is None or (isinstance(value, str) and value.isdecimal())
    expect(ok, "version", "expected a transaction id")
    return None if value is None else int(value)
