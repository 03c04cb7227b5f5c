"""What is in the store arrives on the server, whatever the server does meanwhile.

The uploader itself, over real HTTP and a real store; whole runs are in
`test_delivery.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_braintrust import (
    Action,
    FakeBraintrust,
    Fault,
    Request,
    answer,
    busy,
    deep_json,
    hang,
    html,
    raw,
    reset,
    truncated,
    wrong_types,
)
from stored import a_row, a_store, add, event_of, put, rows

from pytest_braintrust import patience, service
from pytest_braintrust.api import BraintrustClient, Timeouts
from pytest_braintrust.api.calls import MAX_BATCH_BYTES
from pytest_braintrust.api.retry import ONCE
from pytest_braintrust.errors import Rejected
from pytest_braintrust.service import Upload
from pytest_braintrust.settings import Connection
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.uploader import Sender

INSERT = r"/insert$"
#: Creating the project, the experiment, and rows: all that a run needs.
WRITES = ("/project$", "/experiment$", "/insert$")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = a_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def client(server: FakeBraintrust) -> Iterator[BraintrustClient]:
    """One as the uploader has it, but in more of a hurry."""
    timeouts = Timeouts(connect=2, read=0.5, total=2)
    there = Connection(server.api_key, server.url, server.app_url)
    with BraintrustClient.for_connection(
        there, policy=ONCE, timeouts=timeouts
    ) as client:
        yield client


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the end of a run would have waited, without the waiting."""
    slept: list[float] = []
    monkeypatch.setattr(service, "sleep", slept.append)
    return slept


def inserts(server: FakeBraintrust) -> list[Request]:
    return [each for each in server.requests if each.path.endswith("/insert")]


def arrived(server: FakeBraintrust, store: Store) -> None:
    """Check that one experiment on the server has the rows of the store, once each."""
    (experiment,) = server.experiments
    there = [each["id"] for each in server.rows(experiment["id"])]
    here = [each["id"] for each in store.query("SELECT id FROM rows")]
    assert sorted(there) == sorted(here)


# ----------------------------------------------------------------------------- for a time

PASSING: dict[str, Action] = {
    "429": busy(429),
    "429 with Retry-After": busy(429, retry_after=2),
    "503": busy(503),
    "503 with Retry-After": busy(503, retry_after=2),
    "500": answer(500),
    "a gateway's page": html(502),
    "a portal's page": html(),
    "reset before": reset(apply=False),
    "reset after": reset(apply=True),
    "hang before": hang(5),
    "hang after": hang(5, apply=True),
    "cut off": truncated(),
    "deep JSON": deep_json(5_000),
    "wrong types": wrong_types(),
    "not HTTP": raw(b"\x00\x01", apply=True),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_costs_no_row_and_doubles_none(
    name: str,
    store: Store,
    client: BraintrustClient,
    server: FakeBraintrust,
    waits: list[float],
) -> None:
    """Each call of a run fails twice; in the end there is one of everything."""
    experiment = add(store, "eval", of=rows(20))
    for path in WRITES:
        server.faults.add(Fault(PASSING[name], method="POST", path=path, times=2))
    Upload(store, experiment.run_id, client).drain()
    arrived(server, store)
    assert reading.experiment(store, experiment.id).upload_error is None
    if "Retry-After" in name:
        assert sum(each > 1.5 for each in waits) == 6


def test_waits_grow_and_end(
    store: Store,
    client: BraintrustClient,
    server: FakeBraintrust,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each wait is a part of twice the one before; after a minute of that it is over."""
    monkeypatch.setattr(service, "monotonic", lambda: sum(waits))
    monkeypatch.setattr(patience, "monotonic", lambda: sum(waits))
    experiment = add(store, "eval", of=rows(3))
    server.faults.add(Fault(answer(500), path=INSERT, times=None))
    Upload(store, experiment.run_id, client).drain()
    assert waits[0] == 0
    assert all(each <= 0.25 * 2**n for n, each in enumerate(waits[1:]))
    assert max(waits) <= 10
    assert 40 < sum(waits) <= 60
    assert "answered 500" in (
        reading.experiment(store, experiment.id).upload_error or ""
    )
    assert reading.row_counts(store, experiment.number).pending == 3


def test_nobody_is_tried_for_long_who_is_not_there(
    store: Store,
    client: BraintrustClient,
    server: FakeBraintrust,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three seconds without a connection; any answer, a bad one too, is a sign of life."""
    monkeypatch.setattr(service, "monotonic", lambda: sum(waits))
    monkeypatch.setattr(patience, "monotonic", lambda: sum(waits))
    experiment = add(store, "eval", of=rows(3))
    server.faults.add(Fault(answer(500), path=INSERT, times=4))
    answered = server.faults.add(Fault(reset(apply=False), path=INSERT, times=None))
    upload = Upload(store, experiment.run_id, client)
    server.faults.add(Fault(answer(500), path=INSERT, times=None))
    upload.drain()
    assert answered.struck > 2
    assert sum(waits) > 40
    waits.clear()
    server.close()
    upload.drain()
    assert len(waits) > 2
    assert sum(waits) <= 3
    assert reading.row_counts(store, experiment.number).pending == 3


def test_time_is_up_only_where_nothing_arrives(
    store: Store,
    client: BraintrustClient,
    server: FakeBraintrust,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that is slow but takes rows is given the time that it needs."""
    monkeypatch.setattr(service, "monotonic", lambda: 50 * len(waits))
    monkeypatch.setattr(patience, "monotonic", lambda: 50 * len(waits))
    experiments = [add(store, f"eval {n}", run="r", of=rows(3)) for n in range(5)]
    taken: list[str] = []

    def busy_now(request: Request) -> bool:
        """Take one experiment between two refusals."""
        taken.append(request.path)
        return len(taken) % 2 == 0

    server.faults.add(Fault(busy(), path=INSERT, times=None, when=busy_now))
    Upload(store, "r", client).drain()
    assert all(
        not reading.row_counts(store, each.number).pending for each in experiments
    )


# ------------------------------------------------------------------------- for good reason


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_not_tried_again(
    store: Store,
    client: BraintrustClient,
    server: FakeBraintrust,
    waits: list[float],
    status: int,
) -> None:
    """Whatever is left is kept, with the reason, and the server is left alone."""
    experiment = add(store, "eval", of=rows(5))
    upload = Upload(store, experiment.run_id, client)
    (server.revoke_key if status == 401 else server.forbid_key)(server.api_key)
    for _ in range(3):
        assert upload.step(final_only=True) is None
        upload.drain()
    assert len(server.requests) == 1
    kept = reading.experiment(store, experiment.id)
    assert f"answered {status}" in (kept.upload_error or "")
    assert reading.row_counts(store, experiment.number).pending == 5


def test_what_one_project_refuses_another_takes(
    store: Store, client: BraintrustClient, server: FakeBraintrust, waits: list[float]
) -> None:
    """A key may write to some projects only: their rows do not wait for the others'."""
    first = add(store, "eval", project="closed", run="r", of=rows(2))
    second = add(store, "eval", project="open", run="r", of=rows(2))

    def closed(request: Request) -> bool:
        return b"closed" in request.body

    server.faults.add(Fault(answer(403), path="project$", when=closed, times=None))
    Upload(store, "r", client).drain()
    assert reading.row_counts(store, first.number).pending == 2
    assert reading.row_counts(store, second.number).pending == 0


def test_an_experiment_that_is_gone_is_no_row_s_fault(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """A refusal of the place they go to is not looked for in a thousand rows."""
    experiment = add(store, "eval", of=rows(50))
    Sender(store, client).send(experiment)
    add_more = add(store, "eval", of=rows(50))
    server.faults.add(Fault(answer(404), path=INSERT, times=None))
    before = len(inserts(server))
    with pytest.raises(Rejected, match="answered 404"):
        Sender(store, client).send(add_more)
    assert len(inserts(server)) == before + 1
    assert reading.row_counts(store, add_more.number).refused == 0


def poisoned(*names: str) -> Any:
    return lambda event: event["input"]["question"] in names


@pytest.mark.parametrize("names", [("test_0",), ("test_777",), ("test_1", "test_999")])
def test_a_bad_row_among_good_ones_is_isolated(
    store: Store,
    client: BraintrustClient,
    server: FakeBraintrust,
    names: tuple[str, ...],
) -> None:
    """In some twenty requests of a thousand rows; the others arrive, it is kept."""
    server.knobs.poison = poisoned(*names)
    experiment = add(store, "eval", of=rows(1000))
    sent = Sender(store, client).send(experiment)
    assert (sent.rows, sent.refused) == (1000 - len(names), len(names))
    assert len(inserts(server)) <= 2 * 10 * len(names) + 1
    notes = reading.row_notes(store, experiment.number)
    assert [each.nodeid for each in notes] == [f"test_a.py::{each}" for each in names]
    assert all("is poison" in (each.refused or "") for each in notes)
    # It is not sent with every later batch again.
    before = len(inserts(server))
    assert Sender(store, client).send(experiment).rows == 0
    assert len(inserts(server)) == before


# ------------------------------------------------------------------------------------ size


def test_batches_are_as_large_as_may_be(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """A thousand rows, or 2.5 MB, in one request."""
    Sender(store, client).send(add(store, "many", of=rows(2_500)))
    sizes = [len(each.json["events"]) for each in inserts(server)]
    assert sizes == [1000, 1000, 500]
    large = [a_row(f"test_{n}", value="x" * 600_000) for n in range(10)]
    Sender(store, client).send(add(store, "large", of=large))
    bodies = [each.body for each in inserts(server)[3:]]
    assert [body.count(b'"span_id"') for body in bodies] == [4, 4, 2]
    assert all(len(body) <= MAX_BATCH_BYTES + 100 for body in bodies)


def test_a_server_that_takes_less_is_sent_less(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """What it takes at once is learnt, not found out with each batch again."""
    server.knobs.max_request_bytes = 60_000
    experiment = add(store, "eval", of=rows(1_000))
    assert Sender(store, client).send(experiment).rows == 1_000
    arrived(server, store)
    sizes = [len(each.body) for each in inserts(server)]
    total = sum(size for size in sizes if size <= 60_000)
    assert len(sizes) <= 2 * total / 60_000 + 20


def test_a_row_that_is_too_large_is_cut_and_said(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """What is there says that it was cut; the store has the whole."""
    server.knobs.max_request_bytes = 60_000
    whole = a_row("test_large", value={"text": "x" * 400_000, "short": "kept"})
    experiment = add(store, "eval", of=[*rows(3), whole])
    sent = Sender(store, client).send(experiment)
    assert (sent.rows, sent.cut, sent.refused) == (4, 1, 0)
    arrived(server, store)
    (there,) = [
        each
        for each in server.rows(server.experiments[0]["id"])
        if each["input"] == {"question": "test_large"}
    ]
    assert "[cut: " in there["output"]["text"]
    assert there["output"]["short"] == "kept"
    assert there["scores"] == {"exact": 1.0, "pass": 1.0}
    assert there["metadata"]["pytest"]["nodeid"] == "test_a.py::test_large"
    (note,) = reading.row_notes(store, experiment.number)
    assert note.nodeid == "test_a.py::test_large"
    assert note.cut_to
    assert 20_000 < note.cut_to <= 60_000
    assert reading.row_counts(store, experiment.number).pending == 0
    named = (experiment.number, "test_a.py::test_large", "", "exact")
    kept = reading.event_of(store, *named, lowest=True)
    assert json.loads(kept or "") == event_of(whole)


def test_a_row_that_is_too_large_at_any_size_is_kept(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """A server that takes next to nothing is not asked for ever."""
    server.faults.add(Fault(answer(413), path=INSERT, times=None))
    experiment = add(store, "eval", of=[a_row("test_a", value="x" * 200_000)])
    assert Sender(store, client).send(experiment).refused == 1
    assert len(inserts(server)) < 10
    (note,) = reading.row_notes(store, experiment.number)
    assert note.refused == "it is too large"


# ------------------------------------------------------------------------------- together


def test_a_row_that_changes_while_it_is_sent_is_sent_again(
    store: Store, client: BraintrustClient, server: FakeBraintrust
) -> None:
    """The server ends up with the last word of a test, in the same row."""
    first = a_row("test_a", value="first")
    experiment = add(store, "eval", of=[first])
    last = {**first, "event": first["event"].replace('"first"', '"last"')}

    def meanwhile(exchange: Any) -> None:
        other = a_store(store.directory.parent)
        put(other, experiment, [last])  # type: ignore[list-item]
        other.close()
        exchange.send(exchange.apply())

    server.faults.add(Fault(meanwhile, path=INSERT))
    Sender(store, client).send(experiment)
    assert reading.row_counts(store, experiment.number).pending == 1
    Sender(store, client).send(experiment)
    (row,) = server.rows(server.experiments[0]["id"])
    assert row["output"] == "last"
