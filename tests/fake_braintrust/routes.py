"""From a request to its call: who asks, what for, and whether they may."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote

from fake_braintrust import events, objects, people
from fake_braintrust.btql import btql
from fake_braintrust.call import Call, Knobs
from fake_braintrust.contract import Problem
from fake_braintrust.state import KINDS, State
from fake_braintrust.wire import Answer, Request, json_answer

Handler = Callable[..., Any]

_ORG = {"org_name": "org_name"}
_IDS = {"ids": "id"}
_USERS = {name: name for name in ("email", "given_name", "family_name")}


def _listing(kind: str, **filters: str) -> Handler:
    return partial(objects.list_objects, kind=kind, filters={**_IDS, **filters})


def _of_kind(kind: str) -> dict[str, Handler]:
    filters = {
        **_ORG,
        "project_name": "project_name",
        "project_id": "project_id",
        f"{kind}_name": "name",
    }
    one = f"/v1/{kind}/{{id}}"
    return {
        f"POST /v1/{kind}": partial(objects.create, kind=kind),
        f"GET /v1/{kind}": _listing(kind, **filters),
        f"GET {one}": partial(objects.get, kind=kind),
        f"PATCH {one}": partial(objects.patch, kind=kind),
        f"DELETE {one}": partial(objects.delete, kind=kind),
        f"POST {one}/insert": partial(events.insert, kind=kind),
        f"GET {one}/fetch": partial(events.fetch, kind=kind),
        f"POST {one}/fetch": partial(events.fetch, kind=kind),
    }


_ROUTES: dict[str, Handler] = {
    "POST /v1/project": objects.create_project,
    "GET /v1/project": _listing("project", org_name="org_name", project_name="name"),
    "GET /v1/project/{id}": partial(objects.get, kind="project"),
    **{path: call for kind in KINDS for path, call in _of_kind(kind).items()},
    "GET /v1/experiment/{id}/summarize": events.summarize,
    "GET /v1/dataset/{id}/summarize": events.summarize_dataset,
    "POST /btql": btql,
    "GET /v1/role": _listing("role", role_name="name"),
    "GET /v1/user": _listing("user", **_USERS),
    "GET /v1/user/{id}": partial(objects.get, kind="user"),
    "GET /v1/organization": _listing("organization", org_name="name"),
    "POST /v1/acl": people.create_acl,
    "GET /v1/acl": people.list_acls,
    "DELETE /v1/acl": people.delete_acl,
    "DELETE /v1/acl/{id}": people.delete_acl_by_id,
    "POST /api/self/me": people.me,
    "POST /api/apikey/login": people.login,
}
_PATTERNS = [
    (re.compile(template.replace("{id}", "([^/]+)")), handler)
    for template, handler in _ROUTES.items()
]


def answered(
    state: State,
    knobs: Knobs,
    request: Request,
    path: str,
    store: Callable[[Answer], str],
) -> Answer:
    """Do what a request asks for, as one step that no other request sees half of."""
    with state.lock:
        try:
            _fit(request, knobs)
            user_id = _user(state, request)
            handler, ids = _route(request.method, path)
            result = handler(Call(state, knobs, request, user_id, store), *ids)
        except Problem as problem:
            return problem.answer()
        return result if isinstance(result, Answer) else json_answer(result)


def _fit(request: Request, knobs: Knobs) -> None:
    if len(request.body) > knobs.max_request_bytes:
        raise Problem(413, "Request Entity Too Large")


def _user(state: State, request: Request) -> str:
    key = request.key or ""
    if key in state.forbidden:
        raise Problem(403, "this key has no permission to do that")
    if key not in state.keys:
        raise Problem(401, "Invalid authorization token")
    caller, other = state.keys[key], request.impersonated
    if other is None:
        return caller
    orgs = state.members.get(other, [])
    if not orgs or not all(state.is_owner(caller, org) for org in orgs):
        raise Problem(403, "impersonation takes the owner role on each organization")
    return other


def _route(method: str, path: str) -> tuple[Handler, list[str]]:
    for pattern, handler in _PATTERNS:
        found = pattern.fullmatch(f"{method} {path}")
        if found:
            return handler, [unquote(each) for each in found.groups()]
    raise Problem(404, f"{method} {path}: no such call")
