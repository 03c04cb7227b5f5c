"""The calls on users, organisations and what they may do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from fake_braintrust import contract
from fake_braintrust.call import Call
from fake_braintrust.contract import expect
from fake_braintrust.objects import FOUND, list_objects
from fake_braintrust.state import KINDS, Object
from fake_braintrust.wire import json_answer


def me(call: Call) -> Any:
    return {
        **(call.state.get("user", call.user_id) or {}),
        "organizations": [{"id": org["id"], "name": org["name"]} for org in _own(call)],
    }


def login(call: Call) -> Any:
    return {"org_info": [{**org, "git_metadata": None} for org in _own(call)]}


def _own(call: Call) -> Iterable[Object]:
    return (
        org for org in call.state.all("organization") if org["id"] in call.organizations
    )


def create_acl(call: Call) -> Any:
    wanted = _acl(call)
    found = call.state.match("acl", **wanted)
    if found:
        return json_answer(found, headers=FOUND)
    return call.state.add("acl", **wanted)


def delete_acl(call: Call) -> Any:
    found = call.state.match("acl", **_acl(call))
    return delete_acl_by_id(call, found["id"] if found else str(uuid4()))


def delete_acl_by_id(call: Call, object_id: str) -> Any:
    found = call.find("acl", object_id)
    call.state.remove("acl", object_id)
    return found


def list_acls(call: Call) -> Any:
    filters = {name: name for name in contract.ACL_FIELDS}
    for name in ("object_type", "object_id"):
        expect(name in call.request.query, name, "required")
    return list_objects(call, kind="acl", filters=filters)


def _acl(call: Call) -> Object:
    body = call.checked(contract.ACL_FIELDS, "object_type", "object_id")
    wanted = {name: body.get(name) for name in contract.ACL_FIELDS}
    for pair in (("user_id", "group_id"), ("permission", "role_id")):
        given = [name for name in pair if wanted[name]]
        expect(len(given) == 1, "body", f"expected exactly one of {' and '.join(pair)}")
    known = wanted["object_type"] in {"project", *KINDS}
    kind = str(wanted["object_type"]) if known else "organization"
    thing = call.find(kind, str(wanted["object_id"]))
    if kind in KINDS:
        thing = call.state.project_of(thing)
    return {**wanted, "_object_org_id": thing.get("org_id", thing["id"])}
