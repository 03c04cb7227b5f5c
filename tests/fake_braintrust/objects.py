"""The calls on projects, experiments, datasets and lists of anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from fake_braintrust import contract
from fake_braintrust.call import Call, limited
from fake_braintrust.contract import Problem, expect
from fake_braintrust.rows import deep_merge
from fake_braintrust.state import KINDS, Object, now
from fake_braintrust.wire import json_answer

#: As the real API marks an answer that made nothing.
FOUND = {"x-bt-found-existing": "true"}


def create_project(call: Call) -> Any:
    body = call.checked(contract.PROJECT, "name")
    org = _organization(call, body.get("org_name"))
    found = call.state.match("project", name=body["name"], org_id=org["id"])
    if found:
        return json_answer(found, headers=FOUND)
    return call.state.add(
        "project",
        org_id=org["id"],
        name=body["name"],
        description=body.get("description"),
        deleted_at=None,
        user_id=call.user_id,
        settings=None,
    )


def _organization(call: Call, name: str | None) -> Object:
    for org in call.state.all("organization"):
        if org["id"] in call.organizations and name in {None, org["name"]}:
            return org
    raise Problem(403, f"no access to organization {name}")


def create(call: Call, *, kind: str) -> Any:
    required = ("project_id", "name") if kind == "dataset" else ("project_id",)
    fields = {**KINDS[kind], "project_id": contract.uuid, **contract.ENSURE_NEW}
    body = call.checked(fields, *required)
    project = call.find("project", body["project_id"])
    name = body.get("name") or f"{kind}-{uuid4().hex[:8]}"
    found = call.state.match(kind, name=name, project_id=project["id"])
    if found and not (kind == "experiment" and body.get("ensure_new")):
        return json_answer(found, headers=FOUND)
    if found:
        name = f"{name}-{uuid4().hex[:8]}"
    given = {key: body.get(key) for key in KINDS[kind]}
    own = {"project_id": project["id"], "user_id": call.user_id, "deleted_at": None}
    return call.state.add(kind, **{**given, **_derived(kind, name, given), **own})


def _derived(kind: str, name: str, given: Object) -> Object:
    if kind == "dataset":
        return {"name": name, "url_slug": quote(name, safe="")}
    commit = (given["repo_info"] or {}).get("commit")
    return {"name": name, "commit": commit, "public": bool(given["public"])}


def get(call: Call, object_id: str, *, kind: str) -> Any:
    return call.find(kind, object_id)


def patch(call: Call, object_id: str, *, kind: str) -> Any:
    thing = call.find(kind, object_id)
    # Null changes nothing: "we do not support removing fields or setting them to null".
    body = call.checked(KINDS[kind])
    given = {k: v for k, v in body.items() if k in KINDS[kind] and v is not None}
    if given.get("name", thing["name"]) != thing["name"]:
        taken = call.state.match(
            kind, name=given["name"], project_id=thing["project_id"]
        )
        expect(not taken, "body.name", "taken")
    merged = deep_merge(thing, given, set())
    thing.update({**merged, **_derived(kind, merged["name"], merged)})
    return thing


def delete(call: Call, object_id: str, *, kind: str) -> Any:
    thing = call.find(kind, object_id)
    thing["deleted_at"] = now()
    return thing


def list_objects(call: Call, *, kind: str, filters: Mapping[str, str]) -> Any:
    """Answer the newest objects first; `filters` maps a parameter to a field."""
    found = [
        thing
        for thing in reversed(call.state.all(kind))
        if call.visible(kind, thing)
        and all(
            _field(call, thing, name) in call.request.query[param]
            for param, name in filters.items()
            if param in call.request.query
        )
    ]
    return {"objects": _window(call, found)}


def _field(call: Call, thing: Object, name: str) -> Any:
    if name == "project_name":
        return call.state.project_of(thing)["name"]
    if name == "org_name":
        org_id = thing.get("org_id") or call.state.project_of(thing)["org_id"]
        return (call.state.get("organization", org_id) or {})["name"]
    return thing[name]


def _window(call: Call, found: list[Object]) -> list[Object]:
    after, before = (
        call.request.param(name) for name in ("starting_after", "ending_before")
    )
    expect(not (after and before), "query", "one of starting_after and ending_before")
    limit = limited(call.request.param("limit"), 1000)
    ids = [thing["id"] for thing in found]
    for name, mark in (("starting_after", after), ("ending_before", before)):
        expect(not mark or mark in ids, name, "no such object in this list")
    if before:
        end = ids.index(before)
        return found[max(0, end - limit) : end]
    start = ids.index(after) + 1 if after else 0
    return found[start : start + limit]
