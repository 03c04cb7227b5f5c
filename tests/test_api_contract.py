"""Every request that the client can make, held against the official document."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from fake_braintrust import FakeBraintrust, Request
from jsonschema import Draft202012Validator

from pytest_braintrust.api import BraintrustClient

#: Beside the clone, or beside a folder of clones.
_PLACES = [
    folder / "shared" / "braintrust-openapi.json"
    for folder in Path(__file__).resolve().parents[2:4]
]
DOCUMENT = next((place for place in _PLACES if place.exists()), _PLACES[0])

#: Calls that Braintrust answers and its document leaves out.
UNDOCUMENTED = {"POST /btql", "POST /api/self/me", "POST /api/apikey/login"}

pytestmark = pytest.mark.skipif(
    not DOCUMENT.exists(), reason="the OpenAPI document is not at hand"
)


class Contract:
    """The document, and what it has against a request."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = _strict(document)
        self._paths = {
            re.compile(re.sub(r"\{[^}]+\}", "([^/]+)", path)): path
            for path in self._document["paths"]
        }

    def faults(self, request: Request) -> Iterator[str]:
        """What is wrong with a request, in words."""
        found = self._operation(request)
        if found is None:
            yield f"{request.method} {request.path} is no call"
            return
        operation, ids = found
        given = {name: value for name, (value,) in request.query.items()}
        parameters = [self._resolved(each) for each in operation.get("parameters", ())]
        for place, values in (("query", given), ("path", ids)):
            known = {each["name"]: each for each in parameters if each["in"] == place}
            if place == "query":
                yield from (f"?{name} is not known" for name in values.keys() - known)
            for name, parameter in known.items():
                if name in values:
                    value = _typed(values[name])
                    yield from self._errors(parameter["schema"], value, name)
                elif parameter["required"]:
                    yield f"{name} is missing"
        yield from self._body_faults(operation, request.body)

    def _body_faults(self, operation: dict[str, Any], body: bytes) -> Iterator[str]:
        if "requestBody" not in operation:
            if body:
                yield "a body that nobody asked for"
            return
        content = operation["requestBody"]["content"]
        schema = self._resolved(content["application/json"]["schema"])
        value = json.loads(body)
        yield from self._errors(schema, value, "body")

    def _operation(
        self, request: Request
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        for pattern, path in self._paths.items():
            found = pattern.fullmatch(request.path)
            operation = self._document["paths"][path].get(request.method.lower())
            if found and operation:
                names = re.findall(r"\{([^}]+)\}", path)
                return operation, dict(
                    zip(names, map(unquote, found.groups()), strict=True)
                )
        return None

    def _resolved(self, thing: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in thing:
            return thing
        found: Any = self._document
        for part in thing["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        resolved: dict[str, Any] = found
        return self._resolved(resolved)

    def _errors(self, schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
        whole = {**schema, "components": self._document["components"]}
        validator = Draft202012Validator(
            whole, format_checker=Draft202012Validator.FORMAT_CHECKER
        )
        for error in validator.iter_errors(value):
            yield f"{where}: {error.json_path}: {error.message}"


def _strict(value: Any) -> Any:
    """A schema of OpenAPI 3.0 as JSON Schema, taking no fields that it does not name."""
    if isinstance(value, list):
        return [_strict(each) for each in value]
    if not isinstance(value, dict):
        return value
    schema = {key: _strict(each) for key, each in value.items() if key != "nullable"}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        schema.setdefault("additionalProperties", False)
    return _or_null(schema) if value.get("nullable") is True else schema


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    also = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, **also, "type": [schema["type"], "null"]}


def _typed(text: str) -> Any:
    """A parameter's text as what it stands for."""
    return json.loads(text) if re.fullmatch(r"\d+|true|false", text) else text


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract(json.loads(DOCUMENT.read_text("utf-8")))


def everything(client: BraintrustClient, user_id: str) -> dict[str, Callable[[], Any]]:
    """Each call of the client, with all that it can be given."""
    project = client.create_project("p")
    experiment = client.create_experiment(project.id, "e")
    base = client.create_experiment(project.id, "base")
    dataset = client.create_dataset(project.id, "d")
    organization = client.me().organizations[0]
    role = next(client.list_roles())
    grant = client.create_acl(
        "organization", organization.id, user_id=user_id, role_id=role.id
    )
    version = "1000192656880881099"
    both = {"project_name": "p", "project_id": project.id, "limit": 2}
    event = {
        "id": "1",
        "input": {"q": 1},
        "output": "a",
        "expected": "a",
        "error": None,
        "scores": {"s": 0.5, "t": None},
        "metadata": {"m": 1},
        "tags": ["t"],
        "metrics": {"start": 1.5, "tokens": 3},
        "span_attributes": {"name": "n", "type": "eval"},
        "span_parents": [],
    }
    return {
        "create_project": lambda: client.create_project("q", description="x"),
        "list_projects": lambda: list(client.list_projects("p", limit=3)),
        "get_project": lambda: client.get_project(project.id),
        "create_experiment": lambda: client.create_experiment(
            project.id,
            "f",
            ensure_new=True,
            base_exp_id=base.id,
            repo_info={"commit": "c", "dirty": True, "git_diff": None},
            dataset_id=dataset.id,
            dataset_version=version,
            metadata={"m": 1},
            tags=["t"],
            public=False,
            description="x",
        ),
        "list_experiments": lambda: list(client.list_experiments(name="e", **both)),  # type: ignore[arg-type]
        "get_experiment": lambda: client.get_experiment(experiment.id),
        "patch_experiment": lambda: client.patch_experiment(
            experiment.id, description="y", metadata={"n": 2}, tags=["u"], name="g"
        ),
        "delete_experiment": lambda: client.delete_experiment(experiment.id),
        "insert": lambda: client.insert(experiment.id, [json.dumps(event)]),
        "insert_rows": lambda: client.insert_rows(experiment.id, [event, {}]),
        "fetch_experiment": lambda: [
            list(client.fetch_experiment(experiment.id, page_size=1)),
            list(client.fetch_experiment(experiment.id, version=version)),
        ],
        "summarize_experiment": lambda: client.summarize_experiment(
            experiment.id, comparison_experiment_id=base.id
        ),
        "experiment_url": lambda: client.experiment_url(experiment.id),
        "create_dataset": lambda: client.create_dataset(
            project.id, "c", description="x", metadata={"m": 1}
        ),
        "list_datasets": lambda: list(client.list_datasets(name="d", **both)),  # type: ignore[arg-type]
        "get_dataset": lambda: client.get_dataset(dataset.id),
        "insert_dataset_rows": lambda: client.insert_dataset_rows(
            dataset.id, [{"input": 1, "expected": 2, "metadata": {}, "tags": ["t"]}]
        ),
        "fetch_dataset": lambda: list(
            client.fetch_dataset(dataset.id, version=version)
        ),
        "count_dataset_rows": lambda: client.count_dataset_rows(dataset.id),
        "download_dataset": lambda: list(client.download_dataset(dataset.id)),
        "download_experiment": lambda: list(client.download_experiment(base.id)),
        "download_pages": lambda: list(client.download_pages("experiment", base.id)),
        "download_lines": lambda: list(client.download_lines("dataset", dataset.id)),
        "me": client.me,
        "login": client.login,
        "list_organizations": lambda: list(client.list_organizations("test-org")),
        "list_users": lambda: list(client.list_users("a+b@example.com", limit=2)),
        "find_user": lambda: client.find_user("a+b@example.com"),
        "get_user": lambda: client.get_user(user_id),
        "list_roles": lambda: list(client.list_roles("owner")),
        "create_acl": lambda: client.create_acl(
            "project", project.id, user_id=user_id, permission="read"
        ),
        "list_acls": lambda: list(
            client.list_acls(
                "organization", organization.id, user_id=user_id, role_id=role.id
            )
        ),
        "delete_acl": lambda: client.delete_acl(grant.id),
    }


CALLS = sorted(
    name
    for name, _ in inspect.getmembers(BraintrustClient, inspect.isfunction)
    if not name.startswith("_") and name != "close"
)


@pytest.mark.parametrize("name", CALLS)
def test_requests_are_as_the_document_has_them(contract: Contract, name: str) -> None:
    """Path, parameters and body: all that is sent is known, and of its type."""
    with (
        FakeBraintrust() as server,
        BraintrustClient(
            api_key=server.api_key,
            api_url=server.url,
            app_url=server.app_url,
            org_name="test-org",
        ) as client,
    ):
        calls = everything(client, server.user["id"])
        before = len(server.requests)
        calls[name]()
        made = server.requests[before:]
    assert made
    for request in made:
        call = f"{request.method} {request.path}"
        assert call in UNDOCUMENTED or not list(contract.faults(request)), call


def test_calls_that_the_document_leaves_out_are_known(contract: Contract) -> None:
    """Once it has them, they are checked as the others are."""
    for call in UNDOCUMENTED:
        assert list(contract.faults(asked(*call.split()))) == [f"{call} is no call"]


def asked(method: str, path: str, body: Any = None, **query: str) -> Request:
    """A request that nobody sent."""
    sent = b"" if body is None else json.dumps(body).encode()
    given = {name: [value] for name, value in query.items()}
    return Request(method, path, given, {}, sent, 0)


EXTRA = "Additional properties are not allowed ('x' was unexpected)"
EXPERIMENT = "/v1/experiment/6d65a4a0-5d2f-4b0e-8a5b-000000000000"


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (asked("POST", "/v1/project", {}), "body: $: 'name' is a required property"),
        (asked("POST", "/v1/project", {"name": "p", "x": 1}), f"body: $: {EXTRA}"),
        (
            asked("POST", "/v1/project", {"name": 1}),
            "body: $.name: 1 is not of type 'string'",
        ),
        (
            asked("PATCH", EXPERIMENT, {"repo_info": {"x": "c"}}),
            f"body: $.repo_info: {EXTRA}",
        ),
        (asked("GET", "/v1/project", nam="p"), "?nam is not known"),
        (
            asked("GET", "/v1/project", limit="x"),
            "limit: $: 'x' is not of type 'integer', 'null'",
        ),
        (asked("GET", "/v1/acl"), "object_type is missing"),
        (asked("GET", "/v1/project/x"), "project_id: $: 'x' is not a 'uuid'"),
        (asked("GET", "/v1/project", {}), "a body that nobody asked for"),
        (asked("PUT", "/v1/project"), "PUT /v1/project is no call"),
    ],
)
def test_contract_sees_what_is_wrong(
    contract: Contract, request_: Request, told: str
) -> None:
    """A check that finds nothing would be worth nothing."""
    assert told in list(contract.faults(request_))
