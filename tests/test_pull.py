"""An experiment of Braintrust comes into the store: whole, once, or not yet."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from fake_braintrust import (
    FakeBraintrust,
    Fault,
    answer,
    busy,
    changed,
    hang,
    reset,
)
from stored import a_row, a_store, add, event_of, rows
from stored import put as put_here

from pytest_braintrust import ends, naming, pulling
from pytest_braintrust.api import BraintrustClient, Timeouts
from pytest_braintrust.api.retry import ONCE, PATIENT
from pytest_braintrust.errors import ApiError, BadAnswer, NamingError, Rejected
from pytest_braintrust.pulling import pull_experiment
from pytest_braintrust.store import reading, sessions
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.store.sessions import NewSession
from pytest_braintrust.uploader import Sender


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The store that rows come into."""
    store = a_store(tmp_path / "here")
    yield store
    store.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Store]:
    """The store of another machine."""
    store = a_store(tmp_path / "elsewhere")
    yield store
    store.close()


@pytest.fixture
def client(server: FakeBraintrust) -> Iterator[BraintrustClient]:
    """A client that tries once: the tests say themselves what comes after."""
    with BraintrustClient(
        api_key=server.api_key, api_url=server.url, app_url=server.app_url, policy=ONCE
    ) as client:
        yield client


def an_eval(
    client: BraintrustClient, count: int, *, name: str = "eval-1", size: int = 1
) -> str:
    """An experiment as the SDK's `Eval` makes it, with a child span in each trace."""
    project = client.create_project("capitals")
    made = client.create_experiment(
        project.id, name, repo_info={"branch": "main", "commit": "c" * 40}
    )
    events: list[dict[str, Any]] = []
    for number in range(count):
        root, child = f"root-{number}", f"child-{number}"
        events += [
            {
                "id": root,
                "input": {"number": number, "text": "x" * size},
                "output": "Paris",
                "scores": {"Levenshtein": 0.5},
                "metrics": {"start": 1.0, "end": 2.0},
                "span_attributes": {"name": "eval", "type": "eval"},
                "span_id": root,
                "root_span_id": root,
            },
            {
                "id": child,
                "input": {"number": number},
                "span_attributes": {"name": "task", "type": "task"},
                "span_id": child,
                "root_span_id": root,
                "span_parents": [root],
            },
        ]
    client.insert_rows(made.id, events)
    return made.id


def send(store: Store, client: BraintrustClient, each: StoredExperiment) -> None:
    """Send a run, and say there how it ended, as `push` does."""
    sender = Sender(store, client)
    sender.send(each)
    sender.tell_end(each)


def events(store: Store, each: StoredExperiment) -> list[dict[str, Any]]:
    found = store.query(
        "SELECT event FROM rows WHERE experiment = ? ORDER BY nodeid", (each.number,)
    )
    return [json.loads(row["event"]) for row in found]


def test_an_eval_of_the_sdk_comes_in(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """Its cases, each known by its input, and not the spans inside of them."""
    remote = an_eval(client, 25)
    server.knobs.page_limit = 7
    server.knobs.repeat_older_rows = True
    pulled = pull_experiment(store, client, "capitals/eval-1")
    assert (pulled.project, pulled.name, pulled.id) == ("capitals", "eval-1", remote)
    assert pulled.repo_info == {"branch": "main", "commit": "c" * 40}
    assert (pulled.exit_status, pulled.tests["passed"]) == (0, 25)
    assert pulled.url
    assert reading.row_counts(store, pulled.number).pending == 0
    found = list(store.query("SELECT nodeid, outcome FROM rows ORDER BY nodeid"))
    assert len(found) == 25
    assert found[0]["nodeid"] == '{"number": 0, "text": "x"}'
    assert {row["outcome"] for row in found} == {"passed"}
    assert not any(each["metadata"].get("outdated") for each in events(store, pulled))
    (summary,) = reading.score_summaries(store, pulled.number)
    assert (summary.name, summary.mean, summary.count) == ("Levenshtein", 0.5, 25)


def test_a_second_pull_changes_nothing(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """And asks for no rows, where what is known is good enough."""
    an_eval(client, 3)
    first = pull_experiment(store, client, "capitals/eval-1")
    rows = list(map(tuple, store.query("SELECT * FROM rows")))
    assert pull_experiment(store, client, "capitals/eval-1") == first
    asked = len([each for each in server.requests if each.path == "/btql"])
    assert pull_experiment(store, client, "capitals/eval-1", again=False) == first
    assert len([each for each in server.requests if each.path == "/btql"]) == asked
    assert list(map(tuple, store.query("SELECT * FROM rows"))) == rows


def test_a_pull_brings_an_experiment_up_to_date(
    store: Store, client: BraintrustClient
) -> None:
    """Rows that changed, came, or went on Braintrust do so here."""
    remote = an_eval(client, 3)
    before = pull_experiment(store, client, "capitals/eval-1")
    client.insert_rows(
        remote,
        [
            {"id": "root-0", "scores": {"Human": 1}, "_is_merge": True},
            {"id": "root-1", "_object_delete": True},
            {"id": "new", "input": {"number": 99}, "scores": {"Levenshtein": 1}},
        ],
    )
    after = pull_experiment(store, client, "capitals/eval-1")
    assert after.number == before.number
    found = {each["id"]: each["scores"] for each in events(store, after)}
    assert found == {
        "root-0": {"Levenshtein": 0.5, "Human": 1},
        "root-2": {"Levenshtein": 0.5},
        "new": {"Levenshtein": 1},
    }
    assert reading.row_counts(store, after.number).pending == 0


def test_an_interrupted_pull_goes_on_and_is_nothing_until_then(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """Pages that came are not asked for again; no command sees a part."""
    an_eval(client, 20)
    server.knobs.page_limit = 10
    server.faults.add(Fault(reset(apply=False), path="/btql", nth=3))
    with pytest.raises(ApiError):
        pull_experiment(store, client, "capitals/eval-1")
    assert reading.experiments(store) == []
    asked = len([each for each in server.requests if each.path == "/btql"])
    pulled = pull_experiment(store, client, "capitals/eval-1")
    assert reading.row_counts(store, pulled.number).recorded == 20
    # Four pages have rows and a fifth has none; two had come before.
    assert len([e for e in server.requests if e.path == "/btql"]) - asked == 3


def test_an_experiment_that_changed_meanwhile_is_read_anew(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """Also the pages that had come."""
    remote = an_eval(client, 20)
    server.knobs.page_limit = 10
    server.faults.add(Fault(busy(503), path="/btql", nth=3))
    with pytest.raises(ApiError):
        pull_experiment(store, client, "capitals/eval-1")
    gone = [{"id": f"root-{n}", "_object_delete": True} for n in range(19)]
    client.insert_rows(remote, [*gone, {"id": "root-19", "input": "new"}])
    pulled = pull_experiment(store, client, "capitals/eval-1")
    assert [each["id"] for each in events(store, pulled)] == ["root-19"]


def test_a_cursor_that_ran_out_costs_a_new_start(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """And nothing else."""
    an_eval(client, 20)
    server.knobs.page_limit = 10
    server.faults.add(Fault(busy(503), path="/btql", nth=3))
    with pytest.raises(ApiError):
        pull_experiment(store, client, "capitals/eval-1")
    server.faults.add(Fault(answer(400, "unknown cursor"), path="/btql"))
    pulled = pull_experiment(store, client, "capitals/eval-1")
    assert reading.row_counts(store, pulled.number).recorded == 20


def test_a_run_of_ours_is_recognised(
    store: Store, elsewhere: Store, client: BraintrustClient
) -> None:
    """By the key in its metadata, with everything that its rows say."""
    row = a_row("test_a", exact=0.25, outcome="failed", error="Paris is not Rome")
    made = add(elsewhere, "main-1", branch="main", of=[row, *rows(3)])
    send(elsewhere, client, made)
    pulled = pull_experiment(store, client, "capitals/main-1")
    assert (pulled.id, pulled.name) == (made.id, "main-1")
    assert pulled.metadata == {"model": "small"}
    assert (pulled.exit_status, pulled.tests) == (made.exit_status, made.tests)
    (found,) = [e for e in events(store, pulled) if e["id"] == row["id"]]
    assert found == event_of(row)
    (kept,) = store.query("SELECT * FROM rows WHERE id = ?", (row["id"],))
    asked = {name: value for name, value in row.items() if name != "project"}
    assert {name: kept[name] for name in asked} == {**asked, "event": kept["event"]}


def test_a_run_that_was_pushed_late_is_as_old_as_it_is(
    store: Store, elsewhere: Store, client: BraintrustClient
) -> None:
    """It took as long as it did, and is not the latest, here or there."""
    at = 1_700_000_000.0
    late = add(elsewhere, "late", at=at, of=rows(1))
    newer = add(elsewhere, "newer", at=at + 1_000, of=rows(1))
    for each in (newer, late):
        send(elsewhere, client, each)
    for name in ("latest", "latest~1"):
        pull_experiment(store, client, f"capitals/{name}")
    pulled = naming.newest_first(store)
    assert [(e.name, e.created_at, e.finished_at) for e in pulled] == [
        ("newer", at + 1_000, at + 1_060),
        ("late", at, at + 60),
    ]
    assert pulled[0].metadata == {"model": "small"}


def test_a_run_that_goes_on_is_unfinished_until_it_is_pulled_again(
    store: Store, elsewhere: Store, client: BraintrustClient
) -> None:
    """Its beginning is known, its end when it has one."""
    at = 1_700_000_000.0
    begun = add(elsewhere, "main-1", at=at, of=rows(1), finished=False)
    Sender(elsewhere, client).send(begun)
    pulled = pull_experiment(store, client, "capitals/main-1")
    assert (pulled.created_at, pulled.finished_at) == (at, None)
    session = NewSession(begun.run_id, begun.run_id, at)
    sessions.finish(elsewhere, session, at=at + 60, exit_status=0, tests={"passed": 1})
    Sender(elsewhere, client).tell_end(begun)
    pulled = pull_experiment(store, client, "capitals/main-1")
    assert (pulled.created_at, pulled.finished_at) == (at, at + 60)


@pytest.mark.parametrize(
    ("metadata", "times"),
    [
        ({}, (2e9, None)),
        ({"pytest_braintrust_times": "now"}, (2e9, None)),
        ({"pytest_braintrust_times": {"started_at": "1"}}, (2e9, None)),
        ({"pytest_braintrust_times": {"started_at": float("nan")}}, (2e9, None)),
        # A clock that was never set, and one that is years ahead.
        ({"pytest_braintrust_times": {"started_at": 100, "finished_at": 160}}, None),
        ({"pytest_braintrust_times": {"started_at": 3e9}}, (2e9, None)),
        (
            {"pytest_braintrust_times": {"started_at": 1.7e9, "finished_at": 1.6e9}},
            (1.7e9, None),
        ),
        (
            {
                "pytest_braintrust_sessions": {
                    "a": {"started_at": 1.7e9, "finished_at": 1.7e9 + 30},
                    "b": {"started_at": 1.7e9 + 10, "finished_at": 1.7e9 + 20},
                }
            },
            (1.7e9, 1.7e9 + 30),
        ),
        (
            {
                "pytest_braintrust_sessions": {
                    "a": {"started_at": 1.7e9, "finished_at": 1.7e9 + 30},
                    "b": {"started_at": 1.7e9 + 10},
                }
            },
            (1.7e9, None),
        ),
    ],
)
def test_only_times_that_a_clock_would_tell_are_believed(
    metadata: dict[str, Any], times: tuple[float, float | None] | None
) -> None:
    """Anybody may write there; else it began when its experiment was made."""
    found = ends.times(metadata, 2e9)
    assert (found.started_at, found.finished_at) == (times or (2e9, None))


def test_a_run_that_is_here_is_completed_not_doubled(
    store: Store, elsewhere: Store, client: BraintrustClient
) -> None:
    """What other machines recorded comes in; what is yet to be sent stays."""
    mine, other = rows(2), [a_row("test_other")]
    here = add(store, "main-1", of=mine)
    send(store, client, here)
    # The same run on another machine, which knows it by the same id.
    there = add(elsewhere, "main-1", of=other)
    with elsewhere.transaction() as connection:
        connection.execute("UPDATE experiments SET id = ?", (here.id,))
    send(elsewhere, client, reading.experiment(elsewhere, here.id))
    edited = a_row("test_0", exact=0.5)
    edited["event"] = edited["event"].replace(edited["id"], mine[0]["id"])
    edited["id"] = mine[0]["id"]
    put_here(store, here, [edited])
    pulled = pull_experiment(store, client, "capitals/main-1")
    assert there.name == pulled.name
    assert len(reading.experiments(store)) == 1
    assert pulled.number == here.number
    assert (pulled.exit_status, pulled.tests) == (0, here.tests | {"passed": 1})
    assert {e["id"]: e["scores"]["exact"] for e in events(store, pulled)} == {
        mine[0]["id"]: 0.5,
        mine[1]["id"]: 1.0,
        other[0]["id"]: 1.0,
    }
    assert reading.row_counts(store, pulled.number).pending == 1


@pytest.mark.parametrize(
    ("name", "project"),
    [
        ("capitals/eval-1", None),
        ("capitals/eval", None),
        ("capitals/latest", None),
        ("capitals/main", None),
        ("eval-1", "capitals"),
        ("capitals/eval-10/late", None),
    ],
)
def test_names_are_those_of_every_command(
    client: BraintrustClient, name: str, project: str | None
) -> None:
    """In full, shortened, the latest, a branch; with slashes of their own."""
    wanted = an_eval(client, 1, name=name[9:] if name.endswith("late") else "eval-1")
    assert pulling.find_remote(client, name, project=project).id == wanted


def test_an_id_is_a_name_too(client: BraintrustClient) -> None:
    """Alone, or with the project."""
    wanted = an_eval(client, 1)
    assert pulling.find_remote(client, wanted).id == wanted
    assert pulling.find_remote(client, f"capitals/{wanted}").id == wanted


def test_a_name_may_look_like_an_id(client: BraintrustClient) -> None:
    """It is one all the same."""
    called = "6d65a4a0-5d2f-4b0e-8a5b-0123456789ab"
    wanted = an_eval(client, 1, name=called)
    assert pulling.find_remote(client, f"capitals/{called}").id == wanted


def test_latest_is_the_newest_whatever_others_are_called(
    client: BraintrustClient,
) -> None:
    """As in the store; what has that name is found by its id."""
    an_eval(client, 1, name="latest")
    newest = an_eval(client, 1)
    assert pulling.find_remote(client, "capitals/latest").id == newest


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("capitals/evil-1", "there is no experiment evil-1; close are eval-1"),
        ("capitals/other", "there is no experiment other; the newest are eval-1"),
        ("eval-1", "eval-1 names no project: say PROJECT/EXPERIMENT"),
        ("nowhere/eval-1", "no project with experiments that nowhere/eval-1 begins"),
        ("a/" * 5_000, "no project with experiments"),
    ],
)
def test_an_unknown_name_is_told(
    client: BraintrustClient, name: str, told: str
) -> None:
    """With what is close."""
    an_eval(client, 1)
    with pytest.raises(NamingError) as refused:
        pulling.find_remote(client, name)
    assert told in str(refused.value)


def test_any_size_comes_in_through_little_memory(
    store: Store, client: BraintrustClient
) -> None:
    """A page at a time, and of a page some rows: a small part of it all."""
    an_eval(client, 2_000, size=10_000)
    tracemalloc.start()
    pulled = pull_experiment(store, client, "capitals/eval-1", page_size=200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reading.row_counts(store, pulled.number).recorded == 2_000
    assert peak < 20_000_000


def put(server: FakeBraintrust, remote: str, **event: Any) -> None:
    """Insert a row as no client of ours would."""
    with server.state.lock:
        server.state.insert(remote, [event])


def test_an_experiment_without_rows_is_one(
    store: Store, client: BraintrustClient
) -> None:
    """Nothing is asked for, and nothing is made up."""
    an_eval(client, 0)
    pulled = pull_experiment(store, client, "capitals/eval-1")
    assert reading.row_counts(store, pulled.number).recorded == 0
    assert pull_experiment(store, client, "capitals/eval-1") == pulled


def test_what_others_log_comes_in_as_far_as_it_is_understood(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """Known by name where there is no input; metrics that are none left out."""
    remote = an_eval(client, 0)
    origin = {"object_type": "dataset", "object_id": remote, "id": "r"}
    put(
        server,
        remote,
        id="a",
        error="Timeout",
        span_attributes={"name": "capital of Italy"},
        metrics={"tokens": 3, "model": "small", "cached": True},
        origin=origin,
    )
    put(server, remote, id="b", input="x" * 500)
    pulled = pull_experiment(store, client, "capitals/eval-1")
    found = {each["id"]: each for each in events(store, pulled)}
    assert found["a"]["metrics"] == {"tokens": 3}
    assert found["a"]["origin"] == origin
    names = {row["id"]: row for row in store.query("SELECT * FROM rows")}
    assert names["a"]["nodeid"] == "capital of Italy"
    assert names["a"]["outcome"] == "errored"
    assert len(names["b"]["nodeid"]) < 150
    assert pulled.exit_status == 1


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"scores": {"exact": 7}}, "a row of which its 'scores' is not"),
        ({"scores": {"exact": True}}, "no 'scores' that is an object of numbers"),
        ({"metadata": []}, "no 'metadata' that is an object"),
    ],
)
def test_a_row_that_is_none_ends_the_pull(
    store: Store,
    client: BraintrustClient,
    server: FakeBraintrust,
    event: dict[str, Any],
    told: str,
) -> None:
    """And nothing of the experiment is seen."""
    put(server, an_eval(client, 1), id="wrong", **event)
    with pytest.raises(BadAnswer, match=told):
        pull_experiment(store, client, "capitals/eval-1")
    assert reading.experiments(store) == []


LISTED = r"/v1/experiment$"


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("id", "../../etc/passwd", "answered an id that is none"),
        ("project_id", None, "does not say which project it is of"),
    ],
)
def test_an_answer_that_is_none_of_braintrust_s(  # noqa: PLR0913, PLR0917 - fixtures
    store: Store,
    client: BraintrustClient,
    server: FakeBraintrust,
    field: str,
    value: object,
    told: str,
) -> None:
    """It is refused before anything is made of it."""
    an_eval(client, 1)

    def change(body: Any) -> Any:
        return {"objects": [{**each, field: value} for each in body["objects"]]}

    server.faults.add(Fault(changed(change), method="GET", path=LISTED))
    with pytest.raises(BadAnswer, match=told):
        pull_experiment(store, client, "capitals/eval-1")
    assert not list((store.directory / "locks").glob("*etc*"))


def test_a_date_that_is_none_is_the_oldest(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """So that nothing of unknown age is the latest."""
    an_eval(client, 1)

    def change(body: Any) -> Any:
        return {"objects": [{**each, "created": "soon"} for each in body["objects"]]}

    server.faults.add(Fault(changed(change), method="GET", path=LISTED))
    assert pull_experiment(store, client, "capitals/eval-1").created_at == 0.0


def test_a_request_that_is_refused_is_an_error_at_once(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """It is the cursor's fault only where there is one."""
    an_eval(client, 1)
    server.faults.add(Fault(answer(400, "no such query"), path="/btql"))
    with pytest.raises(Rejected, match="no such query"):
        pull_experiment(store, client, "capitals/eval-1")
    assert len([each for each in server.requests if each.path == "/btql"]) == 1


def test_all_pages_and_no_landing_is_still_no_experiment(
    store: Store,
    client: BraintrustClient,
    server: FakeBraintrust,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next pull asks for no page again, and lands."""
    remote = an_eval(client, 1)
    (row,) = [each for each in server.rows(remote) if each["id"] == "root-0"]
    page = json.dumps(row) + "\n"
    server.faults.add(Fault(answer(200, page), path="/btql"))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pytest_braintrust.pulling.transfers.land", killed)
        with pytest.raises(KeyboardInterrupt):
            pull_experiment(store, client, "capitals/eval-1")
    assert reading.experiments(store) == []
    pulled = pull_experiment(store, client, "capitals/eval-1")
    assert reading.row_counts(store, pulled.number).recorded == 1
    assert len([each for each in server.requests if each.path == "/btql"]) == 1


def test_a_project_without_experiments_says_so(client: BraintrustClient) -> None:
    """Also where it was named apart."""
    with pytest.raises(NamingError, match="project rivers has no experiments on"):
        pulling.find_remote(client, "latest", project="rivers")


def test_pull_from_a_server_that_falls_silent_ends_and_says_how_to_go_on(
    command: Command,
    client: BraintrustClient,
    server: FakeBraintrust,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes the connection and the question, and asking once more does not help."""
    an_eval(client, 1)
    monkeypatch.setenv("BRAINTRUST_API_KEY", server.api_key)
    monkeypatch.setenv("BRAINTRUST_API_URL", server.url)
    impatient = replace(PATIENT, silence=0.2)
    monkeypatch.setattr("pytest_braintrust.api.client.PATIENT", impatient)
    short = Timeouts(page_read=impatient.silence)
    monkeypatch.setattr("pytest_braintrust.api.http.Timeouts", lambda: short)
    silence = server.faults.add(Fault(hang(600), path="btql", times=None))
    said = command("pull", "capitals/eval-1")
    assert (said.status, said.out, silence.struck) == (1, "", 2)
    assert f"{server.url} cannot be reached" in said.err
    assert "run the same command again: it goes on where it stopped" in said.err
    server.faults.clear()
    assert command("pull", "capitals/eval-1").out.endswith("1 row in the store\n")
