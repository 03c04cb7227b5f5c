"""`prune` takes out what is old, and nothing that is here alone or goes on."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command, Suite
from filelock import FileLock
from stored import a_store, add, rows
from test_shards import WAITING, shard, started

from pytest_braintrust import pruning
from pytest_braintrust.store import reading, sessions, transfers, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.sessions import NewSession
from pytest_braintrust.store.transfers import Arrival, Incoming

DAY = 24 * 3600


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """Three runs of one project, wholly sent, and one of another that is not."""
    store = a_store(folder)
    now = time.time()
    for age in (40, 20, 1):
        add(store, f"run-{age}", at=now - age * DAY, of=rows(2))
    sent = [(row["position"], 1) for row in store.query("SELECT position FROM rows")]
    writing.mark_sent(store, sent)
    add(store, "unsent", project="rivers", at=now - 50 * DAY, of=rows(2))
    yield store
    store.close()


def names(store: Store) -> list[str]:
    return [each.name for each in reading.experiments(store)]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--keep", "1"], ["run-1", "unsent"]),
        (["--keep", "0"], ["unsent"]),
        (["--keep", "0", "--force"], []),
        (
            ["--keep", "2", "--project", "rivers"],
            ["run-40", "run-20", "run-1", "unsent"],
        ),
        (["--older-than", "30d"], ["run-20", "run-1", "unsent"]),
        (["--older-than", "2w", "--project", "capitals"], ["run-1", "unsent"]),
        (["--older-than", "30d", "--force"], ["run-20", "run-1"]),
        (["--keep", "0", "--dry-run"], ["run-40", "run-20", "run-1", "unsent"]),
    ],
)
def test_what_is_old_goes(
    command: Command,
    store: Store,
    arguments: list[str],
    left: list[str],
) -> None:
    """With its rows; what Braintrust does not have only by force."""
    said = command("prune", "--yes", *arguments)
    assert said.status == 0, said.err
    assert names(store) == left
    (count,) = store.query("SELECT count(*) FROM rows")
    assert count[0] == 2 * len(left)


def test_it_says_what_it_does(command: Command, store: Store) -> None:
    """What goes, what stays and why; to a program too."""
    told = command("prune", "--keep", "2", "--dry-run")
    assert told.out.splitlines()[1].split()[0] == "run-40"
    planned = command("prune", "--keep", "0", "--dry-run", "--json").json
    assert [each["name"] for each in planned["to_remove"]] == [
        "run-1",
        "run-20",
        "run-40",
    ]
    assert planned["removed"] == []
    done = command("prune", "--keep", "0", "--yes", "--json").json
    assert len(done["removed"]) == 3
    assert done["kept"][0]["why"] == "2 of its rows are not on Braintrust"
    again = command("prune", "--keep", "0", "--yes")
    assert "rivers/unsent stays: 2 of its rows are not on Braintrust" in again.out
    assert "push them first, or remove them too with --force" in again.out
    assert "nothing to remove" in again.out
    assert names(store) == ["unsent"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "one of the arguments --keep --older-than is required"),
        (["--keep", "x"], "'x' is not a whole number"),
        (["--older-than", "30"], "'30' is not an age, as 30d, 12h or 2w"),
        (["--keep", "1", "--older-than", "1d"], "not allowed with argument"),
        (["--keep", "0"], "nobody is there to be asked: say --yes"),
        (["--keep", "0", "--json"], "nobody is there to be asked: say --yes"),
    ],
)
def test_wrong_usage_removes_nothing(
    command: Command,
    store: Store,
    arguments: list[str],
    told: str,
) -> None:
    """Above all where nobody can be asked."""
    said = command("prune", *arguments)
    assert said.status == 2
    assert told in said.err
    assert len(names(store)) == 4


@pytest.mark.parametrize(("answer", "left", "status"), [("y", 1, 0), ("", 4, 1)])
def test_it_asks_on_a_terminal(
    suite: Suite, store: Store, answer: str, left: int, status: int
) -> None:
    """And takes only a yes for one."""
    theirs, ours = pty.openpty()
    line = [sys.executable, "-m", "pytest_braintrust", "prune", "--keep", "0"]
    process = subprocess.Popen(
        [*line, "--store", str(store.directory)],
        stdin=ours,
        stdout=subprocess.PIPE,
        text=True,
        env=suite.env(),
    )
    os.close(ours)
    os.write(theirs, f"{answer}\n".encode())
    out, _ = process.communicate(timeout=60)
    os.close(theirs)
    assert "[y/N]" in out
    assert process.returncode == status
    assert len(names(store)) == left


def test_a_run_that_goes_on_is_left_alone(suite: Suite) -> None:
    """By force even; once it was killed, it and its traces can go."""
    suite.write(test_w=shard("first", 1) + WAITING, test_a=shard("a", 1))
    waiting = suite.start("--braintrust", "test_w.py")
    started(suite)
    suite.run("test_a.py")
    folders = suite.folder / ".braintrust" / "running"
    said = suite.cli("prune", "--keep", "0", "--force", "--yes")
    assert "stays: it goes on" in said
    assert len(list(folders.iterdir())) == 1
    waiting.send_signal(signal.SIGKILL)
    suite.ended(waiting)
    said = suite.cli("prune", "--keep", "0", "--force", "--yes")
    assert "removed 1 run" in said
    ran = suite.cli("list")
    assert "no runs yet" in ran
    assert not ran.query("sessions", "number")
    assert not list(folders.iterdir())
    assert not list((suite.folder / ".braintrust" / "spool").iterdir())
    assert not list((suite.folder / ".braintrust" / "locks").glob("send-*"))


def test_halves_and_locks_that_nobody_holds_go(
    command: Command,
    store: Store,
    folder: Path,
) -> None:
    """Of interrupted pulls and imports; what is held stays."""
    for number in range(2):
        incoming = Incoming(
            id=f"6c2d4b50-0000-4000-8000-00000000000{number}",
            run_id="r",
            project="capitals",
            name="half",
            created_at=1.0,
        )
        transfer = transfers.begin(store, incoming, sent=True)
        transfers.gather(store, transfer, map(Arrival, rows(3)))
    locks = folder / ".braintrust" / "locks"
    locks.mkdir(exist_ok=True)
    held = FileLock(locks / f"import-{incoming.id}.lock")
    (locks / "send-nobody.lock").touch()
    (locks / "dataset-any.lock").touch()
    with held:
        command("prune", "--keep", "9", "--yes")
        (left,) = transfers.begun(store)
        assert left.id == incoming.id
        assert {each.name for each in locks.iterdir()} - {"open.lock"} == {
            f"import-{incoming.id}.lock",
            "dataset-any.lock",
        }
    command("prune", "--keep", "9", "--yes")
    assert transfers.begun(store) == []
    assert names(store) == ["run-40", "run-20", "run-1", "unsent"]
    left_over = {each.name for each in locks.iterdir()} - {"open.lock"}
    assert left_over == {"dataset-any.lock"}


def test_the_file_becomes_smaller(command: Command, folder: Path) -> None:
    """By what went; where others read it, later."""
    store = a_store(folder)
    add(store, "large", of=rows(3_000))
    path = store.directory / "store.sqlite3"
    store.close()
    before = path.stat().st_size
    assert "MB freed" in command("prune", "--keep=0", "--force", "--yes").out
    assert path.stat().st_size < before / 4


@pytest.mark.parametrize(
    ("host", "pid", "age", "answer"),
    [
        ("here", "mine", 10, "alive"),
        ("here", "gone", 10, "dead"),
        ("here", "init", 10, "alive"),
        ("here", "mine", 8 * DAY, "dead"),
        ("elsewhere", "gone", 10, "alive"),
        ("elsewhere", "gone", 2 * DAY, "dead"),
        (None, None, 10, "dead"),
    ],
)
def test_who_is_alive(
    store: Store, host: str | None, pid: str | None, age: int, answer: str
) -> None:
    """Here a process answers; of other machines only the time can tell."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    numbers = {"mine": os.getpid(), "gone": gone.pid, "init": 1, None: None}
    hosts = {"here": os.uname().nodename, "elsewhere": "elsewhere", None: None}
    now = time.time()
    sessions.begin(store, NewSession("s", "s", now - age, hosts[host], numbers[pid]))
    (session,) = sessions.unfinished(store)
    assert pruning.is_alive(session, now) is (answer == "alive")
