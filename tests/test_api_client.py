"""The client's calls, over real HTTP, against a server that keeps what it is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from fake_braintrust import FakeBraintrust, Fault, answer, changed

from pytest_braintrust.api import BraintrustClient, Project
from pytest_braintrust.errors import BadAnswer, Refused, Rejected, SettingsError
from pytest_braintrust.settings import Connection


@pytest.fixture
def project(client: BraintrustClient) -> Project:
    return client.create_project("capitals")


# ------------------------------------------------------------------------- made of what


def test_environment_completes_what_is_not_given(
    server: FakeBraintrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key, addresses and organisation come from the variables that the SDK has too."""
    monkeypatch.setenv("BRAINTRUST_API_KEY", f" {server.api_key}\n")
    monkeypatch.setenv("BRAINTRUST_API_URL", f"{server.url}/v1/")
    monkeypatch.setenv("BRAINTRUST_ORG_NAME", "test-org")
    with BraintrustClient() as client:
        assert client.create_project("p").name == "p"
    assert server.requests[0].json == {"name": "p", "org_name": "test-org"}


def test_default_is_the_us_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRAINTRUST_API_URL", raising=False)
    with BraintrustClient(api_key="k") as client:
        assert client.connection.api_url == "https://api.braintrust.dev"
        assert client.connection.app_url == "https://www.braintrust.dev"


@pytest.mark.parametrize("given", [None, "", "  "])
def test_missing_key_is_told(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BRAINTRUST_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="pass api_key, or set BRAINTRUST_API_KEY"):
        BraintrustClient(api_key=given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"api_key": "se cret"}, "api_key: the API key has characters"),
        ({"api_key": "sécret"}, "api_key: the API key has characters"),
        (
            {"api_key": "k", "api_url": "nowhere"},
            "api_url: 'nowhere' is not an address",
        ),
        ({"api_key": "k", "api_url": "http://a.example"}, "in the clear"),
        ({"api_key": "k", "app_url": "ftp://a.example"}, "app_url: "),
        ({"api_key": "k", "impersonate_user": "a\r\nb"}, "impersonate_user: "),
    ],
)
def test_what_cannot_be_used_is_told_by_its_name(
    given: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        BraintrustClient(**given)  # type: ignore[arg-type]
    assert "cret" not in str(caught.value)


def test_plain_http_may_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the argument or by the variable, to a machine behind one's own walls."""
    url = "http://a.internal:8000"
    monkeypatch.delenv("BRAINTRUST_ALLOW_HTTP", raising=False)
    with pytest.raises(SettingsError, match="or say allow_http=True where"):
        BraintrustClient(api_key="k", api_url=url)
    with BraintrustClient(api_key="k", api_url=url, allow_http=True) as client:
        assert client.connection.api_url == url
    monkeypatch.setenv("BRAINTRUST_ALLOW_HTTP", "1")
    with BraintrustClient(api_key="k", app_url=url) as client:
        assert client.connection.app_url == url


def test_settled_connection_makes_a_client(server: FakeBraintrust) -> None:
    connection = Connection(server.api_key, server.url, server.app_url)
    with BraintrustClient.for_connection(connection) as client:
        client.create_project("p")
        assert client.connection is connection


def test_key_is_in_no_repr(client: BraintrustClient, server: FakeBraintrust) -> None:
    assert repr(client) == f"<BraintrustClient of {server.url}>"
    assert server.api_key not in repr(client.connection)


def test_import_needs_no_pytest() -> None:
    """The client is usable by itself: no test framework comes with it."""
    program = "import sys, pytest_braintrust.api; print('pytest' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"


# ------------------------------------------------------------------------------ projects


def test_project_is_created_once(client: BraintrustClient) -> None:
    first = client.create_project("capitals", description="of countries")
    assert client.create_project("capitals") == first
    assert client.get_project(first.id) == first
    assert first.raw["description"] == "of countries"
    with pytest.raises(FrozenInstanceError):
        first.name = "other"  # type: ignore[misc]


def test_lists_page_by_themselves(
    client: BraintrustClient, server: FakeBraintrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list asks for the next page when it is wanted, and ends by an empty one."""
    monkeypatch.setattr("pytest_braintrust.api.paging.PAGE", 2)
    names = [f"p{number}" for number in range(5)]
    for name in names:
        client.create_project(name)
    asked = len(server.requests)
    found = client.list_projects()
    assert len(server.requests) == asked
    assert next(found).name == "p4"
    assert len(server.requests) == asked + 1
    assert [each.name for each in found] == ["p3", "p2", "p1", "p0"]
    assert len(server.requests) == asked + 4
    assert [each.name for each in client.list_projects(limit=3)] == ["p4", "p3", "p2"]
    assert [each.name for each in client.list_projects("p1")] == ["p1"]


def test_list_that_knows_no_pages_ends(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    """A server that answers the same page for ever is asked for it twice."""
    page = {"objects": [{"id": "1", "name": "a"}, {"id": "1", "name": "b"}]}
    fault = server.faults.add(Fault(answer(200, page), times=None))
    assert [each.name for each in client.list_organizations()] == ["a"]
    assert fault.struck == 2


# --------------------------------------------------------------------------- experiments


def test_experiment_is_created_listed_patched_and_deleted(
    client: BraintrustClient, project: Project, server: FakeBraintrust
) -> None:
    made = client.create_experiment(
        project.id, "first", metadata={"a": 1}, repo_info={"branch": "main"}
    )
    assert made.name == "first"
    assert made.metadata == {"a": 1}
    assert client.create_experiment(project.id, "first").id == made.id
    other = client.create_experiment(project.id, "first", ensure_new=True)
    assert other.id != made.id
    unnamed = client.create_experiment(project.id)
    ids = [unnamed.id, other.id, made.id]
    listed = client.list_experiments(project_name="capitals")
    assert [each.id for each in listed] == ids
    by_name = client.list_experiments(project_id=project.id, name="first")
    assert [each.id for each in by_name] == [made.id]
    patched = client.patch_experiment(
        made.id, metadata={"b": 2}, description=None, tags=["x"]
    )
    assert patched.metadata == {"a": 1, "b": 2}
    assert "description" not in server.requests[-1].json
    assert client.get_experiment(made.id).tags == ("x",)
    client.delete_experiment(made.id)
    assert made.id not in [each["id"] for each in server.experiments]


def test_encoded_events_are_inserted_as_they_are(
    client: BraintrustClient, project: Project, server: FakeBraintrust
) -> None:
    experiment = client.create_experiment(project.id, "e")
    client.insert(experiment.id, ['{"id":"1","input":"a"}', '{"id":"2","input":"b"}'])
    assert [row["input"] for row in server.rows("e")] == ["a", "b"]


def test_rows_get_ids_and_are_made_into_json(
    client: BraintrustClient, project: Project, server: FakeBraintrust
) -> None:
    """What JSON has no word for becomes text; a row without an id is given one."""
    experiment = client.create_experiment(project.id, "e")
    rows: list[dict[str, Any]] = [
        {"id": "mine", "input": float("nan"), "scores": {"s": 0.5}},
        {"input": "\ud800", "output": {1, 2}},
    ]
    ids = client.insert_rows(experiment.id, iter(rows))
    assert ids[0] == "mine"
    found = {row["id"]: row for row in server.rows("e")}
    assert list(found) == ids
    assert found["mine"]["input"] == "NaN"
    assert found[ids[1]]["output"] == [1, 2]


def test_many_rows_go_in_bounded_requests(
    client: BraintrustClient,
    project: Project,
    server: FakeBraintrust,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Batches keep to rows and bytes, and a 413 halves them."""
    monkeypatch.setattr("pytest_braintrust.api.calls.MAX_BATCH_ROWS", 8)
    monkeypatch.setattr("pytest_braintrust.api.calls.MAX_BATCH_BYTES", 1_000)
    server.knobs.max_request_bytes = 500
    experiment = client.create_experiment(project.id, "e")
    small = [{"id": f"s{number}", "input": 0} for number in range(20)]
    large = [{"id": f"l{number}", "input": "x" * 200} for number in range(6)]
    ids = client.insert_rows(experiment.id, [*small, *large])
    assert [row["id"] for row in server.rows("e")] == ids
    sizes = [len(each.body) for each in server.requests if "insert" in each.path]
    assert len(sizes) == 8
    assert max(sizes) < 1_100


def test_row_that_is_too_large_alone_is_an_error(
    client: BraintrustClient, project: Project, server: FakeBraintrust
) -> None:
    server.knobs.max_request_bytes = 500
    experiment = client.create_experiment(project.id, "e")
    with pytest.raises(Rejected, match="answered 413"):
        client.insert_rows(experiment.id, [{"input": "x" * 1000}])


def test_no_rows_are_no_request(client: BraintrustClient, project: Project) -> None:
    experiment = client.create_experiment(project.id, "e")
    assert client.insert_rows(experiment.id, []) == []


@pytest.mark.parametrize("told", [{"row_ids": ["1"]}, {"row_ids": 2}, {}, [1, 2], None])
def test_rows_that_are_not_acknowledged_are_an_error(
    client: BraintrustClient, project: Project, server: FakeBraintrust, told: Any
) -> None:
    experiment = client.create_experiment(project.id, "e")
    server.faults.add(Fault(answer(200, json.dumps(told)), path="insert"))
    with pytest.raises(BadAnswer, match="2 rows were sent"):
        client.insert(experiment.id, ['{"id":"1"}', '{"id":"2"}'])


def test_fetch_answers_each_row_once_in_its_newest_version(
    client: BraintrustClient, project: Project, server: FakeBraintrust
) -> None:
    """Later pages repeat rows in older versions: the first seen is kept."""
    server.knobs.repeat_older_rows = True
    experiment = client.create_experiment(project.id, "e")
    for output in ("old", "new"):
        client.insert_rows(
            experiment.id,
            [
                {"id": f"{number}", "output": output, "scores": {"s": 1, "t": None}}
                for number in range(5)
            ],
        )
    found = list(client.fetch_experiment(experiment.id, page_size=2))
    assert sorted(row.id for row in found) == ["0", "1", "2", "3", "4"]
    assert {row.output for row in found} == {"new"}
    assert found[0].scores == {"s": 1, "t": None}
    assert found[0].is_root
    version = min(row.version or "" for row in found)
    older = str(int(version) - 1)
    then = client.fetch_experiment(experiment.id, version=older)
    assert {row.output for row in then} == {"old"}


def test_summary_compares(client: BraintrustClient, project: Project) -> None:
    ids = []
    for name, score in (("base", 0.25), ("new", 0.75)):
        made = client.create_experiment(project.id, name)
        client.insert_rows(made.id, [{"input": "a", "scores": {"exact": score}}])
        ids.append(made.id)
    summary = client.summarize_experiment(ids[1], comparison_experiment_id=ids[0])
    assert summary.comparison_experiment_name == "base"
    exact = summary.scores["exact"]
    assert (exact.value, exact.diff, exact.improvements) == (0.75, 0.5, 1)
    assert summary.experiment_url == client.experiment_url(ids[1])
    assert (summary.experiment_url or "").endswith(
        "/app/test-org/p/capitals/experiments/new"
    )


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://a/\x1b[2J", 7, None])
def test_page_address_is_one_that_a_terminal_may_show(
    client: BraintrustClient, server: FakeBraintrust, url: object
) -> None:
    server.faults.add(Fault(answer(200, {"experiment_url": url})))
    assert client.experiment_url("e") is None


# ------------------------------------------------------------------------------ datasets


def test_dataset_is_created_filled_listed_and_fetched(
    client: BraintrustClient, project: Project
) -> None:
    made = client.create_dataset(project.id, "d", description="x", metadata={"a": 1})
    assert client.create_dataset(project.id, "d") == made
    rows = [{"id": str(n), "input": n, "tags": ["t"]} for n in range(5)]
    assert client.insert_dataset_rows(made.id, rows) == list("01234")
    found = list(client.fetch_dataset(made.id, page_size=2))
    assert sorted(row.input for row in found) == [0, 1, 2, 3, 4]
    assert found[0].tags == ("t",)
    assert [each.id for each in client.list_datasets(name="d")] == [made.id]
    assert list(client.list_datasets(project_name="other")) == []
    assert client.get_dataset(made.id).description == "x"


# -------------------------------------------------------------------------------- access


def test_own_account_and_organisations(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    me = client.me()
    assert me.email == "dev@example.com"
    assert [each.name for each in me.organizations] == ["test-org"]
    assert [each.id for each in client.list_organizations("test-org")] == [
        me.organizations[0].id
    ]
    assert [each.api_url for each in client.login()] == [server.url]


def test_users_and_roles(client: BraintrustClient, server: FakeBraintrust) -> None:
    organization = server.organizations[0]
    ada = server.add_user("ada+x@example.com", organization)
    (found,) = client.list_users("ada+x@example.com")
    assert found.id == ada["id"]
    assert client.get_user(found.id) == found
    assert [each.name for each in client.list_roles("owner")] == ["owner"]
    assert len(list(client.list_roles())) == 3


def test_grant_is_given_listed_and_taken_back(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    (organization,) = client.list_organizations()
    (owner,) = client.list_roles("owner")
    me = client.me()
    grant = client.create_acl(
        "organization", organization.id, user_id=me.id, role_id=owner.id
    )
    again = client.create_acl(
        "organization", organization.id, user_id=me.id, role_id=owner.id
    )
    assert again == grant
    assert list(client.list_acls("organization", organization.id)) == [grant]
    client.delete_acl(grant.id)
    assert list(client.list_acls("organization", organization.id, user_id=me.id)) == []


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"user_id": "u"},
        {"role_id": "r"},
        {"user_id": "u", "group_id": "g", "role_id": "r"},
        {"user_id": "u", "role_id": "r", "permission": "read"},
    ],
)
def test_grant_names_one_grantee_and_one_thing(
    client: BraintrustClient, given: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match="exactly one of"):
        client.create_acl("project", "p", **given)


def test_impersonated_user_is_named_on_every_call(server: FakeBraintrust) -> None:
    organization = server.organizations[0]
    ada = server.add_user("ada@example.com", organization)
    server.make_owner(server.user, organization)
    with BraintrustClient(
        api_key=server.api_key,
        api_url=server.url,
        app_url=server.app_url,
        impersonate_user=ada["id"],
    ) as client:
        assert client.me().email == "ada@example.com"
        project = client.create_project("p")
        dataset = client.create_dataset(project.id, "d")
        list(client.download_dataset(dataset.id))
        client.login()
    assert {each.impersonated for each in server.requests} == {ada["id"]}


def test_refused_impersonation_says_what_it_takes(server: FakeBraintrust) -> None:
    ada = server.add_user("ada@example.com", server.organizations[0])
    with (
        BraintrustClient(
            api_key=server.api_key, api_url=server.url, impersonate_user=ada["id"]
        ) as client,
        pytest.raises(Refused, match="takes the owner role on each of that user's"),
    ):
        client.me()


# ------------------------------------------------------------------------------ the hint


@pytest.fixture
def default_client(
    server: FakeBraintrust, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BraintrustClient]:
    """A client whose address is the default one, as far as it knows."""
    for module in ("client", "connecting"):
        name = f"pytest_braintrust.api.{module}.DEFAULT_API_URL"
        monkeypatch.setattr(name, server.url)
    monkeypatch.delenv("BRAINTRUST_API_URL", raising=False)
    with BraintrustClient(api_key=server.api_key, app_url=server.app_url) as made:
        yield made


def test_refusal_at_the_default_address_names_the_right_one(
    default_client: BraintrustClient, server: FakeBraintrust
) -> None:
    """An organisation in the EU, asked for in the US: the app knows where it is."""
    eu = server.add_organization("eu", api_url="https://api-eu.example\x1b[2J")
    key = server.add_user("eu@example.com", eu)
    server.add_key(server.api_key, user=key)
    server.faults.add(Fault(answer(401), path="/v1/", times=None))
    for _ in range(2):
        with pytest.raises(Refused, match="set BRAINTRUST_API_URL to that") as caught:
            default_client.create_project("p")
        assert "'eu' has its API at https://api-eu.example [2J" in str(caught.value)
    asked = [each for each in server.requests if each.path == "/api/apikey/login"]
    assert len(asked) == 1


def test_refusal_at_the_right_address_stays_as_it_is(
    default_client: BraintrustClient, server: FakeBraintrust
) -> None:
    server.faults.add(Fault(answer(403, {"message": "no"}), path="/v1/"))
    with pytest.raises(Refused, match=r"answered 403: no$"):
        default_client.create_project("p")


def test_refusal_by_the_app_too_stays_as_it_is(
    default_client: BraintrustClient, server: FakeBraintrust
) -> None:
    server.revoke_key(server.api_key)
    with pytest.raises(Refused, match=r"answered 401: Invalid authorization token$"):
        default_client.create_project("p")


def test_other_addresses_ask_no_app(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    """A self-hosted API's key goes nowhere else."""
    server.revoke_key(server.api_key)
    with pytest.raises(Refused):
        client.create_project("p")
    assert [each.path for each in server.requests] == ["/v1/project"]


# --------------------------------------------------------------------- ids and addresses


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a?b#c", "ä\ud800", "%2F", "a\nb"])
def test_ids_are_quoted(
    client: BraintrustClient, server: FakeBraintrust, name: str
) -> None:
    """An id is one part of a path, whatever is in it."""
    found = {"id": "1", "name": "n"}
    server.faults.add(Fault(answer(200, found)))
    client.get_experiment(name)
    path = server.requests[-1].path
    assert path.startswith("/v1/experiment/")
    assert path.count("/") == 3
    assert "." not in path
    assert not server.requests[-1].query


def test_empty_id_is_an_error(client: BraintrustClient, server: FakeBraintrust) -> None:
    with pytest.raises(ValueError, match="an id is needed for experiment"):
        client.delete_experiment("")
    assert server.requests == []


def test_server_below_a_path() -> None:
    """A self-hosted server may have its API below a path."""
    with (
        FakeBraintrust(prefix="/api") as server,
        BraintrustClient(api_key=server.api_key, api_url=server.url + "/v1/") as client,
    ):
        client.create_project("p")
        assert server.requests[0].path == "/api/v1/project"


# ------------------------------------------------------------------------- wrong answers


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", 7),
        ("id", ""),
        ("name", ["n"]),
        ("metadata", "m"),
        ("tags", "t"),
        ("tags", [1]),
        ("created", 1),
        ("project_id", {}),
    ],
)
def test_wrong_type_in_an_answer_is_named(
    client: BraintrustClient,
    project: Project,
    server: FakeBraintrust,
    field: str,
    value: object,
) -> None:
    wrong = changed(lambda found: {**found, field: value})
    server.faults.add(Fault(wrong, path="/v1/experiment"))
    with pytest.raises(BadAnswer, match=f"no '{field}' that is a"):
        client.create_experiment(project.id, "e")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scores", {"evil": "x"}),
        ("scores", {"evil": True}),
        ("scores", {"evil": 10**400}),
        ("metrics", [1]),
        ("span_parents", "x"),
    ],
)
def test_wrong_type_in_a_row_is_named(
    client: BraintrustClient, server: FakeBraintrust, field: str, value: object
) -> None:
    page = {"events": [{"id": "1", field: value}]}
    server.faults.add(Fault(answer(200, page)))
    with pytest.raises(BadAnswer, match=f"no '{field}' that is a"):
        list(client.fetch_experiment("e"))


@pytest.mark.parametrize(
    ("scores", "field"),
    [
        ({"s": None}, "scores"),
        ({"s": {"name": "s"}}, "score"),
        ({"s": {"name": "s", "score": "1"}}, "score"),
        ({"s": {"name": "s", "score": 1, "diff": "x"}}, "diff"),
        ([], "scores"),
    ],
)
def test_wrong_type_in_a_summary_is_named(
    client: BraintrustClient, server: FakeBraintrust, scores: object, field: str
) -> None:
    told = {"project_name": "p", "experiment_name": "e", "scores": scores}
    server.faults.add(Fault(answer(200, told)))
    with pytest.raises(BadAnswer, match=f"no '{field}' that is a"):
        client.summarize_experiment("e")


@pytest.mark.parametrize("body", ["[]", "null", "1", '"x"'])
def test_answer_that_is_no_object_is_named(
    client: BraintrustClient, server: FakeBraintrust, body: str
) -> None:
    server.faults.add(Fault(answer(200, body), times=None))
    with pytest.raises(BadAnswer, match="is not an object"):
        client.me()
    with pytest.raises(BadAnswer, match="is not an object"):
        list(client.list_projects())


@pytest.mark.parametrize("body", [{}, {"objects": {}}, {"objects": [1]}])
def test_list_that_is_none_is_named(
    client: BraintrustClient, server: FakeBraintrust, body: object
) -> None:
    server.faults.add(Fault(answer(200, body)))
    with pytest.raises(BadAnswer, match="no 'objects' that is a list of objects"):
        list(client.list_projects())


def test_text_that_cannot_be_encoded_is_spelled(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    """A lone surrogate in a name would end whoever prints it."""
    server.faults.add(Fault(answer(200, '{"id": "1", "name": "\\ud800"}')))
    assert client.create_project("p").name == "\\ud800"
