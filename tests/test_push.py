"""What a run could not send the command `push` sends, whenever and however often."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from conftest import Suite
from fake_braintrust import FakeBraintrust, Fault, answer, busy, hang, reset
from stored import a_row, a_store, add, rows
from test_delivery import WAITING, Terminal, requests, wait_until
from test_recording import CAPITALS

from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store

INSERT = r"/insert$"


@pytest.fixture
def store(suite: Suite) -> Iterator[Store]:
    """The store that the suite's command finds."""
    store = a_store(suite.folder)
    yield store
    store.close()


def pushing(suite: Suite, *arguments: str) -> subprocess.Popen[str]:
    """Start the command and do not wait for it."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest_braintrust", "push", *arguments],
        cwd=suite.folder,
        env=suite.env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def sent_once(server: FakeBraintrust, count: int) -> None:
    """Check that so many rows are there, and that none was sent a second time."""
    (experiment,) = server.experiments
    assert len(server.rows(experiment["id"])) == count
    events = [e["id"] for each in requests(server) for e in each.json["events"]]
    assert set(Counter(events).values()) == {1}


# ------------------------------------------------------------------- what cannot be done


def test_each_error_is_one_line(
    suite: Suite, store: Store, server: FakeBraintrust
) -> None:
    """And an exit status: 2 for what was asked, 1 for what could not be done."""
    add(store, "first", of=rows(2))
    add(store, "second", of=rows(3))
    ran = suite.cli("push")
    assert ran.status == 2
    assert ran.err == "pytest-braintrust: no API key: set BRAINTRUST_API_KEY\n"
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    ran = suite.sends_to(server).cli("push", "--api-url", url, seconds=120)
    assert ran.status == 1
    first, rest = ran.out.splitlines()
    assert first.startswith("capitals/first: 0 rows sent, 2 pending: ")
    assert "Connection refused" in first
    assert rest == "not tried: 1 more of the same store"
    server.revoke_key(server.api_key)
    ran = suite.cli("push")
    assert ran.status == 1
    assert "answered 401" in ran.out
    assert len(server.requests) == 1
    assert reading.row_counts(store, 1).pending == 2


def test_what_one_run_meets_does_not_hold_up_the_others(
    suite: Suite, store: Store, server: FakeBraintrust
) -> None:
    """A project that is closed to the key, and a row that is refused."""
    add(store, "closed", project="closed", of=rows(1))
    add(store, "poisoned", of=[a_row("test_bad"), a_row("test_good")])
    add(store, "open", of=rows(2))
    server.faults.add(
        Fault(
            answer(403), path="project$", when=lambda r: b"closed" in r.body, times=None
        )
    )
    server.knobs.poison = lambda event: event["output"] == "TEST_BAD"
    ran = suite.sends_to(server).cli("push")
    assert ran.status == 1
    assert "closed/closed: 0 rows sent, 1 pending: " in ran.out
    assert "capitals/poisoned: 1 row sent, 1 refused\n" in ran.out
    assert "Braintrust refuses test_a.py::test_bad: " in ran.out
    assert "capitals/open: 2 rows sent\n" in ran.out
    # Both may be in order by the next time.
    server.faults.clear()
    server.knobs.poison = None
    ran = suite.cli("push")
    assert ran.status == 0
    assert "capitals/poisoned: 1 row sent\n" in ran.out
    assert "open" not in ran.out


def test_an_experiment_of_another_server_is_said_to_be(
    suite: Suite, store: Store, server: FakeBraintrust
) -> None:
    """Half of it is there: here is no place for the rest."""
    made = add(store, "eval", of=rows(2))
    server.faults.add(Fault(answer(500), path=INSERT, times=None))
    with FakeBraintrust(api_key=server.api_key) as first:
        first.faults.add(Fault(answer(404), path=INSERT))
        assert suite.sends_to(first).cli("push").status == 1
        ran = suite.sends_to(server).cli("push", "--api-url", server.url)
        assert ran.status == 1
        server.faults.clear()
        ran = suite.sends_to(server).cli("push")
        assert ran.status == 1
        assert f"its first rows are on {first.url}" in ran.out
        assert suite.sends_to(first).cli("push").status == 0
    assert reading.row_counts(store, made.number).pending == 0
    assert server.experiments == []


def test_what_an_experiment_is_linked_with_may_be_gone(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The run that it is compared with was deleted there: it is made without."""
    suite.write(test_geo=CAPITALS).sends_to(server)
    assert suite.run().status == 0
    fault = Fault(answer(403), when=lambda request: b"base_exp_id" in request.body)
    server.faults.add(fault)
    ran = suite.run()
    assert fault.struck == 1
    assert "3 recorded = 3 sent + 0 pending" in ran.section
    assert len(server.experiments) == 2


# ----------------------------------------------------------------------------- in between


def test_faults_on_the_way_are_waited_out(
    suite: Suite, store: Store, server: FakeBraintrust
) -> None:
    """By the command itself: nobody has to call it again."""
    add(store, "eval", of=rows(5))
    for action in (busy(429, retry_after=1), reset(apply=True), answer(502)):
        server.faults.add(Fault(action, path=INSERT))
        server.faults.add(Fault(action, path="/experiment$", method="POST"))
    ran = suite.sends_to(server).cli("push")
    assert ran.status == 0, ran.out
    (experiment,) = server.experiments
    assert len(server.rows(experiment["id"])) == 5


def test_ctrl_c_keeps_what_is_not_sent(
    suite: Suite, store: Store, server: FakeBraintrust
) -> None:
    """The batches that were acknowledged are not sent again."""
    made = add(store, "eval", of=rows(1_500))
    server.faults.add(Fault(hang(60), path=INSERT, nth=2))
    process = pushing(suite.sends_to(server))
    wait_until(lambda: len(requests(server)) == 2)
    process.send_signal(signal.SIGINT)
    ran = suite.ended(process)
    assert ran.status == 130
    assert ran.err == "pytest-braintrust: interrupted; nothing is lost\n"
    assert reading.row_counts(store, made.number).sent == 1_000
    assert "500 rows sent" in suite.cli("push").out
    assert len(server.rows(server.experiments[0]["id"])) == 1_500


def test_a_terminal_sees_how_far_it_is(
    suite: Suite, store: Store, server: FakeBraintrust
) -> None:
    """A bar that grows with each batch, and is gone at the end."""
    add(store, "eval", of=rows(2_500))
    command = [sys.executable, "-m", "pytest_braintrust", "push"]
    shown = Terminal(command, suite.folder, suite.sends_to(server).env())
    assert shown.ended() == 0
    assert "1000/2500" in shown.text
    assert "2000/2500" in shown.text
    assert shown.text.rpartition("\r\x1b[K")[2].startswith("capitals/eval: 2,500 rows")
    suite.check_secret(shown.text)


# ------------------------------------------------------------------------------- together


def test_two_at_once_send_each_row_once(
    suite: Suite, store: Store, server: FakeBraintrust
) -> None:
    """Whoever comes second waits, and finds nothing left."""
    add(store, "eval", of=rows(2_500))
    server.faults.add(Fault(hang(1), path=INSERT))
    suite.sends_to(server)
    both = [pushing(suite), pushing(suite)]
    assert [suite.ended(each).status for each in both] == [0, 0]
    sent_once(server, 2_500)


def test_a_push_while_a_run_goes_on_changes_nothing(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Both send to one experiment; the server has each row once, as it ended."""
    suite.write(test_it=WAITING).sends_to(server)
    process = suite.start("--braintrust")
    wait_until((suite.folder / "now").exists)
    both = [pushing(suite), pushing(suite)]
    assert [suite.ended(each).status for each in both] == [0, 0]
    (suite.folder / "go on").touch()
    ran = suite.ended(process)
    assert ran.status == 0, ran.out
    assert "6 recorded = 6 sent + 0 pending" in ran.section
    ran.honest(server)
    (experiment,) = server.experiments
    there = server.rows(experiment["id"])
    assert sorted(each["output"] for each in there) == list(range(6))
    assert all("teardown" in e["metadata"]["pytest"]["durations"] for e in there)


def test_pushes_and_runs_in_one_store_keep_apart(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Two runs and a push at once: two experiments, and what belongs in each."""
    suite.write(test_geo=CAPITALS).sends_to(server)
    processes = [suite.start("--braintrust", "-q") for _ in range(2)]
    wait_until((suite.folder / ".braintrust" / "store.sqlite3").exists)
    processes.append(pushing(suite))
    assert [suite.ended(each).status for each in processes] == [0, 0, 0]
    assert suite.cli("push").status == 0
    assert len(server.experiments) == 2
    for experiment in server.experiments:
        assert len(server.rows(experiment["id"])) == 3
