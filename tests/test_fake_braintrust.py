"""The stand-in for Braintrust behaves as the API's documents say, and breaks on cue."""

from __future__ import annotations

import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import fake_braintrust as fake
import httpx
import pytest
from fake_braintrust import FakeBraintrust, Fault

ROOT = Path(__file__).resolve().parent.parent
OPENAPI = ROOT.parent / "shared" / "braintrust-openapi.json"


class Client(httpx.Client):
    """An httpx client with the few calls that most tests make."""

    def ok(self, method: str, path: str, **request: Any) -> Any:
        response = self.request(method, path, **request)
        assert response.status_code == 200, response.text
        return response.json()

    def project(self, name: str = "p", **more: Any) -> Any:
        return self.ok("POST", "/v1/project", json={"name": name, **more})

    def experiment(self, name: str | None = "e", **more: Any) -> Any:
        body = {"project_id": self.project()["id"], "name": name, **more}
        return self.ok("POST", "/v1/experiment", json=body)

    def dataset(self, name: str = "d") -> Any:
        body = {"project_id": self.project()["id"], "name": name}
        return self.ok("POST", "/v1/dataset", json=body)

    def insert(self, thing: Any, *events: Any, kind: str = "experiment") -> Any:
        path = f"/v1/{kind}/{thing['id']}/insert"
        return self.ok("POST", path, json={"events": events})["row_ids"]

    def btql(self, thing: Any, kind: str = "dataset", **more: Any) -> httpx.Response:
        version = {"version": more.pop("version")} if "version" in more else {}
        name = {"op": "ident", "name": [kind]}
        args = [{"op": "literal", "value": thing["id"]}]
        source = {"op": "function", "name": name, "args": args}
        query = {"from": source, "select": [{"op": "star"}], **more}
        body = {"query": query, "fmt": "jsonl", **version}
        return self.post("/btql", json=body)


def connected(server: FakeBraintrust, key: str | None = None) -> Client:
    headers = {"Authorization": f"Bearer {key or server.api_key}"}
    return Client(
        base_url=server.url, headers=headers, follow_redirects=True, timeout=10
    )


@pytest.fixture
def server() -> Iterator[FakeBraintrust]:
    with FakeBraintrust() as server:
        yield server


@pytest.fixture
def client(server: FakeBraintrust) -> Iterator[Client]:
    with connected(server) as client:
        yield client


def lines(response: httpx.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


# ------------------------------------------------------------------------------ state


def test_a_project_is_made_once(server: FakeBraintrust, client: Client) -> None:
    """Creating is get-or-create: the second call changes nothing."""
    first = client.project("p", description="mine")
    assert client.project("p", description="yours") == first
    assert server.projects == [first]
    assert client.ok("GET", f"/v1/project/{first['id']}") == first


def test_an_experiment_of_a_taken_name_comes_back_unmodified(
    server: FakeBraintrust, client: Client
) -> None:
    first = client.experiment("e", metadata={"run": 1}, repo_info={"commit": "abc"})
    assert first["commit"] == "abc"
    assert client.experiment("e", metadata={"run": 2}) == first
    assert [each["name"] for each in server.experiments] == ["e"]


def test_ensure_new_makes_another_name(server: FakeBraintrust, client: Client) -> None:
    first, second = client.experiment("e"), client.experiment("e", ensure_new=True)
    assert first["id"] != second["id"]
    assert re.fullmatch("e-[0-9a-f]{8}", second["name"])
    assert len(server.experiments) == 2


def test_a_row_with_a_known_id_is_replaced_merged_or_deleted(
    server: FakeBraintrust, client: Client
) -> None:
    experiment = client.experiment("e")
    client.insert(experiment, {"id": "a", "input": {"x": 1}, "output": 1})
    (first,) = server.rows("e")
    client.insert(experiment, {"id": "a", "input": {"y": 2}, "tags": ["t"]})
    (second,) = server.rows(experiment["id"])
    assert second["input"] == {"y": 2}
    assert "output" not in second
    assert int(second["_xact_id"]) > int(first["_xact_id"])
    merge = {"id": "a", "_is_merge": True, "span_id": "no", "input": {"z": {"k": 3}}}
    client.insert(experiment, merge)
    (third,) = server.rows("e")
    assert third["input"] == {"y": 2, "z": {"k": 3}}
    assert (third["tags"], third["span_id"]) == (["t"], second["span_id"])
    client.insert(experiment, {"id": "a", "_object_delete": True}, {"id": "b"})
    assert [row["id"] for row in server.rows("e")] == ["b"]


def test_merge_paths_end_the_merge(server: FakeBraintrust, client: Client) -> None:
    experiment = client.experiment("e")
    client.insert(experiment, {"id": "a", "input": {"a": {"b": 1}, "c": {"d": 2}}})
    new = {"a": {"q": 3}, "c": {"e": 4}}
    merge = {"id": "a", "_is_merge": True, "_merge_paths": [["input", "a"]]}
    client.insert(experiment, {**merge, "input": new})
    (row,) = server.rows("e")
    assert row["input"] == {"a": {"q": 3}, "c": {"d": 2, "e": 4}}


def test_patch_merges_and_delete_frees_the_name(
    server: FakeBraintrust, client: Client
) -> None:
    experiment = client.experiment("e", metadata={"a": {"b": 1}}, tags=["old"])
    path = f"/v1/experiment/{experiment['id']}"
    change = {"metadata": {"a": {"c": 2}}, "tags": ["new"], "description": None}
    patched = client.ok("PATCH", path, json=change)
    assert patched["metadata"] == {"a": {"b": 1, "c": 2}}
    assert patched["tags"] == ["new"]
    assert client.ok("DELETE", path)["deleted_at"]
    assert client.get(path).status_code == 403
    assert client.experiment("e")["id"] != experiment["id"]


def test_a_summary_compares_by_input(server: FakeBraintrust, client: Client) -> None:
    base, new = client.experiment("base"), client.experiment("new/1")
    for thing, scores in ((base, [0.5, 0.5, 0.5]), (new, [1, 0.5, 0])):
        events = [{"input": i, "scores": {"s": s}} for i, s in enumerate(scores)]
        client.insert(thing, *events)
    client.insert(new, {"input": 0, "scores": {"s": 1, "fresh": 0.25}})
    path = f"/v1/experiment/{new['id']}/summarize"
    bare = client.ok("GET", path)
    assert bare == {
        "project_name": "p",
        "experiment_name": "new/1",
        "project_url": f"{server.app_url}/app/test-org/p/p",
        "experiment_url": f"{server.app_url}/app/test-org/p/p/experiments/new%2F1",
    }
    full = client.ok("GET", path, params={"summarize_scores": "true"})
    assert full["comparison_experiment_name"] == "base"
    assert full["scores"]["fresh"]["improvements"] == 0
    assert full["scores"]["s"] == {
        "name": "s",
        "score": pytest.approx(0.625),
        "diff": pytest.approx(0.125),
        "improvements": 1,
        "regressions": 1,
    }


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "event",
    [
        {"scores": {"s": 1.01}},
        {"scores": {"s": -0.1}},
        {"scores": {"s": True}},
        {"scores": {"s": "1"}},
        {"metrics": {"m": "1"}},
        {"metrics": {"m": None}},
        {"metrics": {"tokens": 1.5}},
        {"tags": "t"},
        {"tags": ["t", "t"]},
        {"tags": [1]},
        {"id": 7},
        {"span_id": 7},
        {"span_parents": "s"},
        {"metadata": []},
        {"metadata": {"model": 4}},
        {"context": {"caller_lineno": "1"}},
        {"span_attributes": {"type": "other"}},
        {"origin": {"object_type": "dataset", "id": "x"}},
        {"created": "yesterday"},
        "not an object",
    ],
    ids=repr,
)
def test_one_bad_event_refuses_the_whole_request(
    server: FakeBraintrust, client: Client, event: Any
) -> None:
    experiment = client.experiment("e")
    path = f"/v1/experiment/{experiment['id']}/insert"
    response = client.post(path, json={"events": [{"id": "good"}, event]})
    assert response.status_code == 400
    assert response.json()["message"].startswith("body.events[1]")
    assert server.rows("e") == []


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"{", {}),
        (b"[]", {}),
        (b'{"events": 1}', {}),
        (b'{"events": [{"output": NaN}]}', {}),
        (b"\xff", {}),
        (b"[" * 100_000, {}),
        (b'{"events": []}', {"Content-Type": "text/plain"}),
        (gzip.compress(b'{"events": []}'), {"Content-Encoding": "gzip"}),
    ],
    ids=["cut", "list", "events", "nan", "utf-8", "deep", "text", "gzip"],
)
def test_a_body_that_is_no_json_object_is_refused(
    client: Client, content: bytes, headers: dict[str, str]
) -> None:
    path = f"/v1/experiment/{client.experiment()['id']}/insert"
    headers = {"Content-Type": "application/json", **headers}
    assert client.post(path, content=content, headers=headers).status_code == 400


def test_events_of_every_field_are_taken(
    server: FakeBraintrust, client: Client
) -> None:
    event = {
        "id": "r",
        "input": [1],
        "output": None,
        "scores": {"zero": 0, "one": 1, "none": None},
        "metrics": {"start": 1.5, "end": None, "tokens": 3, "mine": 2},
        "tags": ["a", "b"],
        "span_id": "s",
        "root_span_id": "s",
        "span_parents": [],
        "span_attributes": {"name": "n", "type": "eval"},
        "created": "2026-01-02T03:04:05Z",
        "origin": {"object_type": "dataset", "object_id": str(uuid4()), "id": "x"},
        "context": {"caller_lineno": 3},
        "metadata": {"model": "m", "any": [{}]},
    }
    assert client.insert(client.experiment("e"), event) == ["r"]
    (row,) = server.rows("e")
    assert event.items() <= row.items()


def test_keys_are_checked(server: FakeBraintrust, client: Client) -> None:
    """No key or an unknown one is 401, one that may do nothing is 403."""
    assert httpx.post(f"{server.url}/v1/project", json={}).status_code == 401
    with connected(server, "other") as stranger:
        assert stranger.post("/v1/project", json={"name": "p"}).status_code == 401
        server.add_key("other")
        assert stranger.project()
        server.forbid_key("other")
        assert stranger.post("/v1/project", json={"name": "p"}).status_code == 403
    server.revoke_key(server.api_key)
    assert client.get("/v1/project").status_code == 401


def test_what_is_too_large_is_refused(server: FakeBraintrust, client: Client) -> None:
    experiment = client.experiment("e")
    path = f"/v1/experiment/{experiment['id']}/insert"
    body = {"events": [{"input": "x" * 6 * 1024 * 1024}]}
    assert client.post(path, json=body).status_code == 413
    server.knobs.max_request_bytes = 100
    assert client.post(path, json={"events": [{"input": "x" * 100}]}).status_code == 413
    assert client.post(path, json={"events": [{"input": "x"}]}).status_code == 200


def test_a_poison_row_refuses_its_request(
    server: FakeBraintrust, client: Client
) -> None:
    experiment = client.experiment("e")
    server.knobs.poison = lambda event: event.get("id") == "bad"
    path = f"/v1/experiment/{experiment['id']}/insert"
    events = [{"id": "good"}, {"id": "bad"}]
    assert client.post(path, json={"events": events}).status_code == 400
    assert client.insert(experiment, {"id": "good"}) == ["good"]


@pytest.mark.parametrize("path", ["/", "/v2/project", "/v1/project/a/b", "/api/x"])
def test_an_unknown_path_is_a_json_404(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "no such call" in response.json()["message"]


def test_a_server_may_stand_below_a_path() -> None:
    """A self-hosted address has a path; the app's own calls are outside it."""
    with FakeBraintrust(prefix="/api") as server, connected(server) as client:
        assert server.url.endswith("/api")
        assert client.project()
        me = f"{server.app_url}/api/self/me"
        assert client.ok("POST", me)["organizations"][0]["name"] == "test-org"
        assert client.get(f"{server.app_url}/v1/project").status_code == 404


# ----------------------------------------------------------------------------- paging


def test_lists_are_paged_newest_first(server: FakeBraintrust, client: Client) -> None:
    ids = [client.experiment(f"e{number}")["id"] for number in range(5)]

    def listed(**params: Any) -> list[int]:
        answer = client.ok("GET", "/v1/experiment", params=params)
        return [ids.index(each["id"]) for each in answer["objects"]]

    assert listed() == [4, 3, 2, 1, 0]
    assert listed(limit=2) == [4, 3]
    assert listed(limit=2, starting_after=ids[3]) == [2, 1]
    assert listed(limit=2, ending_before=ids[0]) == [2, 1]
    assert listed(project_name="p", experiment_name="e1") == [1]
    assert listed(project_name="other") == []
    assert listed(ids=[ids[0], ids[2]]) == [2, 0]
    assert listed(project_id=server.projects[0]["id"], limit=1) == [4]
    both = {"starting_after": ids[0], "ending_before": ids[1]}
    assert client.get("/v1/experiment", params=both).status_code == 400
    assert client.get("/v1/experiment", params={"limit": "x"}).status_code == 400


def pages(client: Client, thing: Any, method: str, **asked: Any) -> list[list[Any]]:
    found: list[list[Any]] = []
    path = f"/v1/experiment/{thing['id']}/fetch"
    while True:
        kind = "params" if method == "GET" else "json"
        answer = client.ok(method, path, **{kind: asked})
        if not answer["events"]:
            assert "cursor" not in answer
            return found
        found.append(answer["events"])
        asked["cursor"] = answer["cursor"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_fetch_pages_by_traces_and_repeats_what_was_older(
    client: Client, method: str
) -> None:
    """The limit counts traces; later pages show older versions of rows."""
    experiment = client.experiment("e")
    for name in ("a", "b", "c"):
        root = {"id": name, "span_id": name, "root_span_id": name, "input": 1}
        child = {"id": f"{name}1", "root_span_id": name, "span_parents": [name]}
        client.insert(experiment, root, child)
    client.insert(experiment, {"id": "a", "span_id": "a", "input": 2})
    found = pages(client, experiment, method, limit=1)
    assert [[row["id"] for row in page] for page in found] == [
        ["a", "a1"],
        ["c1", "c"],
        ["b1", "b"],
        ["a"],
    ]
    assert (found[0][0]["input"], found[3][0]["input"]) == (2, 1)
    assert found[0][0]["is_root"]
    assert not found[0][1]["is_root"]
    assert int(found[3][0]["_xact_id"]) < int(found[0][0]["_xact_id"])


def test_a_version_is_a_snapshot(client: Client) -> None:
    experiment = client.experiment("e")
    client.insert(experiment, {"id": "a", "input": "old"})
    ((row,),) = pages(client, experiment, "POST")
    client.insert(experiment, {"id": "a", "input": "new"}, {"id": "b"})
    ((then,),) = pages(client, experiment, "POST", version=row["_xact_id"])
    assert then == row


def test_repeats_can_be_had_without_a_history(
    server: FakeBraintrust, client: Client
) -> None:
    server.knobs.repeat_older_rows = True
    experiment = client.experiment("e")
    client.insert(experiment, *[{"id": str(n)} for n in range(4)])
    first, second = pages(client, experiment, "POST", limit=2)
    assert [row["id"] for row in second] == ["1", "0", "3"]
    assert int(second[2]["_xact_id"]) < int(first[0]["_xact_id"])


def read(client: Client, thing: Any, header: str, **asked: Any) -> list[Any]:
    rows: list[Any] = []
    while True:
        response = client.btql(thing, **asked)
        page = lines(response)
        rows += page
        if not page:
            assert header not in response.headers
            return rows
        asked["cursor"] = response.headers[header]


@pytest.mark.parametrize("header", ["x-bt-cursor", "x-amz-meta-bt-cursor"])
def test_btql_pages_by_a_cursor_in_a_header(
    server: FakeBraintrust, client: Client, header: str
) -> None:
    server.knobs.cursor_header = header
    dataset = client.dataset()
    events = [{"id": str(n), "input": n} for n in range(5)]
    client.insert(dataset, *events, kind="dataset")
    rows = read(client, dataset, header, limit=2)
    assert [row["id"] for row in rows] == ["4", "3", "2", "1", "0"]
    assert rows[0]["dataset_id"] == dataset["id"]
    assert rows[0]["expected"] is None


def test_btql_filters_and_pins_a_version(client: Client) -> None:
    dataset = client.dataset()
    for number in range(3):
        event = {"id": str(number), "metadata": {"n": number}}
        client.insert(dataset, event, kind="dataset")
    rows = lines(client.btql(dataset))
    version = rows[1]["_xact_id"]
    assert len(lines(client.btql(dataset, version=version))) == 2
    field = {"op": "ident", "name": ["metadata", "n"]}
    literal = {"op": "literal", "value": 1}
    larger = {"op": "ge", "left": field, "right": literal}
    other = {"op": "ne", "left": field, "right": {"op": "literal", "value": 2}}
    both = {"op": "and", "left": larger, "right": other}
    assert [row["id"] for row in lines(client.btql(dataset, filter=both))] == ["1"]
    words = {"btql": "metadata.n = 2"}
    assert [row["id"] for row in lines(client.btql(dataset, filter=words))] == ["2"]
    assert client.btql(dataset, filter={"op": "?"}).status_code == 400
    assert client.btql({"id": str(uuid4())}).status_code == 403


def test_btql_answers_are_compressed_when_asked(client: Client) -> None:
    dataset = client.dataset()
    client.insert(dataset, {"input": "x" * 10_000}, kind="dataset")
    assert client.btql(dataset).headers["content-encoding"] == "gzip"
    client.headers["Accept-Encoding"] = "identity"
    plain = client.btql(dataset)
    assert "content-encoding" not in plain.headers
    assert len(lines(plain)) == 1


def test_btql_answers_may_come_from_another_host(
    server: FakeBraintrust, client: Client
) -> None:
    server.knobs.redirect_btql = True
    dataset = client.dataset()
    client.insert(dataset, {"id": "a"}, {"id": "b"}, kind="dataset")
    rows = read(client, dataset, "x-amz-meta-bt-cursor", limit=1)
    assert [row["id"] for row in rows] == ["b", "a"]
    (first, *_) = server.elsewhere.requests
    assert "authorization" not in first.headers
    assert not server.elsewhere.leaks


def test_a_key_that_reaches_another_host_fails_the_test() -> None:
    with (  # noqa: PT012 - the end of the block is what raises
        pytest.raises(AssertionError, match="the key was sent to another host"),
        FakeBraintrust() as server,
    ):
        headers = {"Authorization": f"Bearer {server.api_key}"}
        response = httpx.get(server.elsewhere.http.url, headers=headers)
        assert response.status_code == 400


# ----------------------------------------------------------------------------- people


def test_impersonation_takes_the_owner_role(
    server: FakeBraintrust, client: Client
) -> None:
    """The walkthrough: find the role and the users, grant, then act as another."""
    org, other_org = server.organizations[0], server.add_organization("other")
    other = server.add_user("other@example.com", org, other_org)
    as_other = {"x-bt-impersonate-user": other["id"]}
    assert client.get("/v1/project", headers=as_other).status_code == 403
    (role,) = client.ok("GET", "/v1/role", params={"role_name": "owner"})["objects"]
    (user,) = client.ok("GET", "/v1/user", params={"email": other["email"]})["objects"]
    assert client.ok("GET", f"/v1/user/{user['id']}") == user
    me = client.ok("POST", "/api/self/me")
    assert me["organizations"] == [{"id": org["id"], "name": "test-org"}]
    acl = {"object_type": "organization", "object_id": org["id"]}
    acl |= {"user_id": me["id"], "role_id": role["id"]}
    granted = client.ok("POST", "/v1/acl", json=acl)
    assert client.ok("POST", "/v1/acl", json=acl) == granted
    assert client.get("/v1/project", headers=as_other).status_code == 403
    server.make_owner(server.user, other_org)
    assert client.ok("POST", "/api/self/me", headers=as_other)["id"] == other["id"]
    project = client.ok("POST", "/v1/project", json={"name": "x"}, headers=as_other)
    assert project["user_id"] == other["id"]
    assert server.requests[-1].impersonated == other["id"]
    asked = {"object_type": "organization", "object_id": org["id"]}
    assert client.ok("GET", "/v1/acl", params=asked)["objects"] == [granted]
    client.ok("DELETE", f"/v1/acl/{granted['id']}")
    assert client.get("/v1/project", headers=as_other).status_code == 403


def test_organisations_do_not_see_each_other(
    server: FakeBraintrust, client: Client
) -> None:
    stranger = server.add_user("s@example.com", server.add_organization("theirs"))
    server.add_key("theirs", user=stranger)
    experiment = client.experiment("e")
    with connected(server, "theirs") as other:
        assert other.ok("GET", "/v1/experiment")["objects"] == []
        assert other.get(f"/v1/experiment/{experiment['id']}").status_code == 403
        assert other.project("p")["id"] != experiment["project_id"]
        body = {"name": "p", "org_name": "test-org"}
        assert other.post("/v1/project", json=body).status_code == 403


def test_a_login_tells_where_the_api_is(server: FakeBraintrust, client: Client) -> None:
    (org,) = client.ok("POST", "/api/apikey/login")["org_info"]
    assert (org["name"], org["api_url"]) == ("test-org", server.url)


# ----------------------------------------------------------------------------- faults


@pytest.mark.parametrize("apply", [True, False])
def test_a_reset_may_come_before_or_after_the_call_is_applied(
    server: FakeBraintrust, client: Client, *, apply: bool
) -> None:
    fault = server.faults.add(Fault(fake.reset(apply=apply), path="^/v1/project$"))
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        client.project()
    assert len(server.projects) == apply
    assert fault.struck == 1
    client.project()
    assert len(server.projects) == 1


def test_faults_strike_on_cue_and_compose(
    server: FakeBraintrust, client: Client
) -> None:
    """From the nth match on, some times, by method, path and predicate."""
    add = server.faults.add
    add(Fault(fake.busy(503, 1.5), method="GET", nth=2, times=2))
    add(Fault(fake.answer(500), path="project", when=lambda r: r.param("x") == "1"))
    add(Fault(fake.revoked(), nth=5, times=None))
    responses = [client.get("/v1/project", params={"x": n // 3}) for n in range(6)]
    statuses = [each.status_code for each in responses]
    assert statuses == [200, 503, 503, 500, 401, 401]
    assert responses[1].headers["retry-after"] == "1.5"
    server.faults.clear()
    assert client.get("/v1/project").status_code == 200


def test_faults_by_chance_are_the_same_each_time() -> None:
    def run() -> list[int]:
        with FakeBraintrust() as server, connected(server) as client:
            fault = Fault(fake.answer(500), times=None, probability=0.5, seed=7)
            server.faults.add(fault)
            return [client.get("/v1/project").status_code for _ in range(12)]

    first = run()
    assert set(first) == {200, 500}
    assert first == run()


def test_answers_may_be_anything(server: FakeBraintrust, client: Client) -> None:
    def struck(action: fake.Action) -> httpx.Response:
        server.faults.add(Fault(action))
        return client.get("/v1/project", params={"project_name": "p"})

    client.project("p")
    page = struck(fake.html(502))
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html")
    assert struck(fake.answer(200, b"\x00\xff")).content == b"\x00\xff"
    with pytest.raises(RecursionError):
        struck(fake.deep_json()).json()
    assert isinstance(struck(fake.wrong_types()).json()["objects"], dict)
    (project,) = struck(fake.control_characters()).json()["objects"]
    assert project["name"].startswith("p\x1b[2J")
    slow = struck(fake.drip(pause=0, size=7))
    assert slow.json()["objects"][0]["name"] == "p"
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        struck(fake.truncated())
    with pytest.raises(httpx.RemoteProtocolError):
        struck(fake.raw(b"SSH-2.0-OpenSSH_9.6\r\n"))


def test_a_redirect_leads_to_a_host_that_must_not_see_the_key(
    server: FakeBraintrust, client: Client
) -> None:
    server.faults.add(Fault(fake.redirect()))
    client.get("/v1/project")
    (request,) = server.elsewhere.requests
    assert request.path == "/v1/project"
    assert urlsplit(server.elsewhere.http.url).hostname == "localhost"


def test_an_endless_answer_ends_when_the_client_leaves(
    server: FakeBraintrust, client: Client
) -> None:
    server.faults.add(Fault(fake.endless()))
    size = 0
    with client.stream("GET", "/v1/project") as response:
        for piece in response.iter_raw():
            size += len(piece)
            if size > 1_000_000:
                break
    assert client.get("/v1/project").status_code == 200


def test_a_hang_outlasts_the_client(server: FakeBraintrust, client: Client) -> None:
    server.faults.add(Fault(fake.hang(60, apply=True)))
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/project", json={"name": "p"}, timeout=0.1)
    assert [each["name"] for each in server.projects] == ["p"]


# ------------------------------------------------------------------------- the server


def test_closing_is_prompt_and_leaves_nothing() -> None:
    """Idle, hanging, endless and unread connections are no reason to stay."""
    before = set(threading.enumerate())
    server = FakeBraintrust()
    for action in (fake.hang(60), fake.endless(), fake.drip(60)):
        server.faults.add(Fault(action))
    port = urlsplit(server.url).port or 0
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
    for each in sockets[1:]:
        each.sendall(b"GET /v1/project HTTP/1.1\r\nHost: h\r\n\r\n")
    server.wait_until(lambda: len(server.requests) == 3)
    start = time.monotonic()
    server.close()
    assert time.monotonic() - start < 2
    assert set(threading.enumerate()) <= before
    server.close()
    for each in sockets:
        each.close()


def test_requests_are_kept(server: FakeBraintrust, client: Client) -> None:
    client.project("é")
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v1/project")
    assert request.json == {"name": "é"}
    assert request.key == server.api_key
    assert request.time <= time.monotonic()


def test_calls_at_once_lose_nothing(server: FakeBraintrust, client: Client) -> None:
    experiment = client.experiment("e")

    def insert(part: int) -> None:
        with connected(server) as mine:
            for number in range(10):
                mine.insert(experiment, {"id": f"{part}-{number}"})

    threads = [threading.Thread(target=insert, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({row["_xact_id"] for row in server.rows("e")}) == 40


def test_it_runs_as_a_process() -> None:
    command = [sys.executable, str(ROOT / "tests" / "fake_braintrust"), "--key", "k"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        headers = {"Authorization": "Bearer k"}
        assert httpx.get(f"{url}/v1/project", headers=headers).json() == {"objects": []}
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


# ------------------------------------------------------------------------ the document


def _plain_schema(part: Any) -> Any:
    """OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    if isinstance(part, list):
        return [_plain_schema(each) for each in part]
    if not isinstance(part, dict):
        return part
    plain = {key: _plain_schema(value) for key, value in part.items()}
    # A property may be called "nullable": only the keyword is a boolean.
    if plain.pop("nullable", None) is not True:
        return plain
    return {"anyOf": [plain, {"type": "null"}]}


@pytest.fixture(scope="module")
def document() -> Any:
    if not OPENAPI.exists():
        pytest.skip(f"no {OPENAPI.name} beside the repository")
    return json.loads(OPENAPI.read_text("utf-8"))


def check(document: Any, response: httpx.Response, path: str) -> None:
    """Compare an answer with what the document says of its call."""
    import jsonschema  # noqa: PLC0415 - only where the document is

    method = response.request.method.lower()
    told = document["paths"][path][method]["responses"][str(response.status_code)]
    schema = told["content"]["application/json"]["schema"]
    whole = {**_plain_schema(schema), "components": document["plain"]}
    jsonschema.Draft7Validator(
        whole, format_checker=jsonschema.FormatChecker()
    ).validate(response.json())


def test_answers_are_as_the_document_says(document: Any, client: Client) -> None:
    document = {**document, "plain": _plain_schema(document["components"])}
    project, experiment, dataset = (
        client.project(),
        client.experiment(metadata={"a": 1}, tags=["t"], repo_info={"dirty": False}),
        client.dataset(),
    )
    client.experiment("base")
    event = {"input": 1, "metadata": {"a": 1}, "tags": ["t"]}
    rows = {"events": [{**event, "scores": {"s": 0.5}, "metrics": {"start": 1.5}}]}
    acl = {"object_type": "organization", "object_id": project["org_id"]}
    me = client.ok("POST", "/api/self/me")["id"]
    (role,) = client.ok("GET", "/v1/role?role_name=owner")["objects"]
    an_experiment = "/v1/experiment/{experiment_id}"
    a_dataset = "/v1/dataset/{dataset_id}"
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/project", {"json": {"name": "p2"}}),
        ("GET", "/v1/project", {}),
        ("GET", "/v1/project/{project_id}", {}),
        ("POST", "/v1/experiment", {"json": {"project_id": project["id"]}}),
        ("POST", "/v1/experiment", {"json": {"name": "no project"}}),
        ("GET", "/v1/experiment", {}),
        ("GET", an_experiment, {}),
        ("PATCH", an_experiment, {"json": {"public": True}}),
        ("POST", f"{an_experiment}/insert", {"json": rows}),
        ("GET", f"{an_experiment}/fetch", {}),
        ("POST", f"{an_experiment}/fetch", {"json": {}}),
        ("GET", f"{an_experiment}/summarize", {"params": {"summarize_scores": "true"}}),
        ("DELETE", an_experiment, {}),
        ("POST", "/v1/dataset", {"json": {"project_id": project["id"], "name": "n"}}),
        ("GET", "/v1/dataset", {}),
        ("GET", a_dataset, {}),
        ("POST", f"{a_dataset}/insert", {"json": {"events": [event]}}),
        ("POST", f"{a_dataset}/fetch", {"json": {}}),
        ("PATCH", a_dataset, {"json": {"tags": ["new"]}}),
        ("DELETE", a_dataset, {}),
        ("GET", "/v1/role", {}),
        ("GET", "/v1/user", {}),
        ("GET", "/v1/user/{user_id}", {}),
        ("GET", "/v1/organization", {}),
        ("POST", "/v1/acl", {"json": {**acl, "user_id": me, "role_id": role["id"]}}),
        ("GET", "/v1/acl", {"params": acl}),
    ]
    ids = {
        "project_id": project["id"],
        "experiment_id": experiment["id"],
        "dataset_id": dataset["id"],
        "user_id": me,
    }
    for method, path, request in asked:
        response = client.request(method, path.format(**ids), **request)
        check(document, response, path)
        assert response.is_success == ("no project" not in str(request)), response.text
