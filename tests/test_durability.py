"""A row whose test was reported is there, whatever happens to pytest afterwards."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from conftest import Suite
from fake_braintrust import FakeBraintrust
from stored import a_row, a_store, rows

from pytest_braintrust import descriptors
from pytest_braintrust.events import Row
from pytest_braintrust.facts import NewExperiment
from pytest_braintrust.keeping import Keeper
from pytest_braintrust.store import changes, reading, spool
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.sessions import NewSession

QUICK = """\
import pytest

@pytest.mark.parametrize("number", range(2_000))
def test_quick(bt_score, number):
    bt_score(output=number, scores={"exact": 1})
"""

#: Notes each test once its report was seen by every other plugin.
NOTES = """\
import pytest

NOTED = open("noted.log", "a", buffering=1)

@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report):
    if report.when == "call":
        NOTED.write(report.nodeid + "\\n")
"""


def test_every_reported_test_has_its_row_after_kill_9(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Killed at any moment, a dozen times; then all rows are sent, once each."""
    suite.write(test_quick=QUICK, conftest=NOTES)
    noted = suite.folder / "noted.log"
    moments = random.Random(7)
    for _ in range(12):
        noted.write_text("")
        process = suite.start("--braintrust", "-q")
        wanted = moments.randrange(1, 20_000)
        until = time.monotonic() + 60
        while noted.stat().st_size < wanted and time.monotonic() < until:
            time.sleep(0.001)
        process.kill()
        ran = suite.ended(process)
        assert ran.status == -signal.SIGKILL
        reported = set(noted.read_text().split())
        number = max(each["number"] for each in ran.experiments())
        found = Counter(
            each["nodeid"]
            for each in ran.query("rows", "position")
            if each["experiment"] == number
        )
        assert set(found.values()) == {1}
        assert reported <= found.keys()
        # The test after the last that was noted may have been kept already.
        assert len(found) <= len(reported) + 1
    suite.sends_to(server)
    pushed = suite.cli("push")
    assert pushed.status == 0, pushed.out + pushed.err
    sent = [row["id"] for e in server.experiments for row in server.rows(e["id"])]
    assert len(server.experiments) == 12
    assert sorted(sent) == sorted(each["id"] for each in ran.rows())


def test_what_tests_do_to_files_does_not_reach_the_rows(suite: Suite) -> None:
    """Files and clocks are mocked while the rows are written, and descriptors closed."""
    suite.write(
        test_files="""\
import builtins, io, os, time
import pytest

@pytest.fixture(autouse=True, scope="module")
def nothing_works():
    def broken(*args, **kwargs):
        raise PermissionError("mocked")
    patch = pytest.MonkeyPatch()
    for owner, name in [
        (os, "open"), (os, "write"), (os, "close"), (os, "unlink"), (os, "fstat"),
        (io, "open"), (builtins, "open"), (time, "time"), (time, "monotonic"),
    ]:
        patch.setattr(owner, name, broken)
    yield
    patch.undo()

@pytest.mark.parametrize("number", range(300))
def test_many(bt_score, number):
    bt_score(output="x" * 2_000, scores={"exact": 1})
""",
        test_descriptors="""\
import os

def test_closes_all(bt_score):
    bt_score(output=1)
    os.closerange(3, 128)

def test_its_own_file(bt_score, tmp_path):
    bt_score(output=2)
    with open(tmp_path / "own", "w+") as own:
        own.write("mine")
        own.seek(0)
        assert own.read() == "mine"
""",
    )
    ran = suite.run("-p", "no:cacheprovider", "--capture=no", "test_files.py")
    assert ran.status == 0, ran.out
    assert ran.honest() == {"passed": 300}
    assert not list((ran.store / spool.FOLDER).iterdir())
    ran = suite.run("--capture=no", "test_descriptors.py")
    assert ran.row("test_closes_all")["output"] == 1
    assert ran.row("test_its_own_file")["output"] == 2


def test_a_store_that_a_test_clears_away_is_made_again(suite: Suite) -> None:
    """And has the rows from before again."""
    suite.write(
        test_it="""\
import shutil

def test_before(bt_score): bt_score(output=1)
def test_clears(bt_score):
    bt_score(output=2)
    shutil.rmtree(".braintrust")
def test_after(bt_score): bt_score(output=3)
"""
    )
    ran = suite.run()
    assert ran.status == 0
    assert [each["output"] for each in ran.rows()] == [1, 2, 3]
    assert "MISSING" not in ran


def test_a_store_that_another_process_locks_delays_no_test(suite: Suite) -> None:
    """The rows are in another one in the end, and it is said in which."""
    suite.write(
        conftest="""\
import sqlite3
import pytest_braintrust.store.connection as connection

def pytest_collection_finish(session):
    connection.BUSY_SECONDS = 0.1
    path = session.config.rootpath / ".braintrust" / connection.FILE_NAME
    session.lock = sqlite3.connect(path, isolation_level=None)
    session.lock.execute("BEGIN IMMEDIATE")
""",
        test_it="""\
import time
import pytest

@pytest.mark.parametrize("number", range(5))
def test_it(bt_score, number):
    bt_score(output=number)
    time.sleep(0.2)
""",
    )
    ran = suite.run()
    assert ran.status == 0
    assert "MISSING" not in ran
    told = re.search(r"--store\s+(\S+)", ran.out)
    assert told, ran.out
    assert "test_it[4]" in suite.cli("show", "latest", "--store", told[1]).out


RUN = NewExperiment(
    id=str(uuid4()),
    run_id="run",
    project="geo",
    name="a run",
    created_at=1.0,
    repo_info={"branch": "main", "dirty": False},
    metadata={"model": "small"},
    api_url=None,
)


SESSION = NewSession("session", RUN.run_id, 1.0)

#: What a file begins with.
HEAD = changes.Begin(SESSION).line + changes.Add(RUN).line


def put(row: Row) -> str:
    return changes.put(RUN.id, SESSION.id, row, final=True).line


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with closing(a_store(tmp_path)) as store:
        yield store


@pytest.fixture
def run(store: Store) -> Keeper:
    """What a run keeps its rows with."""
    return Keeper(store, lambda project: RUN, SESSION)


def stored(store: Store) -> list[str]:
    return [
        row["nodeid"].rpartition("::")[2]
        for row in store.query("SELECT nodeid FROM rows ORDER BY position")
    ]


def files(store: Store) -> list[Path]:
    return sorted((store.directory / spool.FOLDER).iterdir())


def test_a_line_that_was_cut_is_left_out_and_none_else(store: Store) -> None:
    """By the death of a machine, or by being written just now."""
    path = store.directory / spool.FOLDER / "run-1.changes"
    path.parent.mkdir()
    lines = [put(row) for row in rows(3)]
    path.write_text(HEAD + lines[0] + "put\t\0\0\0\n" + lines[1][:-50])
    spool.take_in_all(store)
    assert stored(store) == ["test_0"]
    with path.open("a") as file:
        file.write(lines[1][-50:] + "later\tkind\n" + lines[2])
    spool.take_in_all(store)
    assert stored(store) == ["test_0", "test_1", "test_2"]


def test_two_that_take_in_one_file_make_each_change_once(store: Store) -> None:
    """Uploader and run, or two commands: a row that was sent is not sent again."""
    path = store.directory / spool.FOLDER / "run-1.changes"
    path.parent.mkdir()
    lines = [put(row) for row in rows(2_000)]
    path.write_text(HEAD + "".join(lines))
    code = (
        "import sys; from pathlib import Path\n"
        "from pytest_braintrust.store import connection, spool\n"
        "store = connection.open_store(Path(sys.argv[1]))\n"
        "spool.take_in_all(store)\n"
    )
    command = [sys.executable, "-c", code, str(store.directory)]
    together = [subprocess.Popen(command) for _ in range(4)]
    assert [each.wait(60) for each in together] == [0, 0, 0, 0]
    assert stored(store) == [f"test_{number}" for number in range(2_000)]
    assert {row["version"] for row in store.query("SELECT version FROM rows")} == {1}


def test_ends_and_removals_find_rows_that_were_taken_in(
    store: Store, run: Keeper
) -> None:
    """In one batch with the row, or after it."""
    for number, taken_in in enumerate([False, True]):
        name = f"test_{number}"
        kept, gone = a_row(name), {**a_row(name), "part": "further"}
        run.keep(name, [kept, gone], final=False, worker=None)  # type: ignore[list-item]
        if taken_in:
            spool.take_in_all(store)
        run.keep(name, [kept], final=False, worker=None)
        run.end(name, 0.25, None)
    run.settle()
    assert stored(store) == ["test_0", "test_1"]
    for row in store.query("SELECT event, final FROM rows"):
        facts = json.loads(row["event"])["metadata"]["pytest"]
        assert facts["durations"] == {"call": 1.0, "teardown": 0.25}
        assert row["final"] == 1


def test_a_store_that_others_hold_is_not_written_for_nothing(
    store: Store, run: Keeper, tmp_path: Path
) -> None:
    """All is in the tables by then, and nothing is to be waited for."""
    run.keep("test_0", rows(1), final=True, worker=None)
    run._ledger.take_in()
    with closing(a_store(tmp_path)) as other, other.transaction():
        run._ledger.take_in()
    assert run.store is store
    assert stored(store) == ["test_0"]


@pytest.mark.parametrize("when", ["long before", "just before", "after"])
def test_a_run_that_seems_dead_loses_no_row(
    tmp_path: Path, run: Keeper, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """It slept for a day, and appends as another process removes its file."""

    def keep(number: int) -> None:
        name = f"test_{number}"
        run.keep(name, [a_row(name)], final=True, worker=None)

    def remove(path: Path) -> None:
        removed.append(path)
        monkeypatch.setattr(spool, "_REMOVE", (os.unlink,))
        if when == "just before":
            keep(1)
        path.unlink()

    def write(number: int, data: bytes) -> int:
        monkeypatch.setattr(spool, "_WRITE", (os.write,))
        spool.take_in_all(other)
        return os.write(number, data)

    keep(0)
    monkeypatch.setattr(run._ledger._spool, "_wrote", 1.0)
    removed: list[Path] = []
    (path,) = files(run.store)
    os.utime(path, (1.0, 1.0))
    monkeypatch.setattr(spool, "_REMOVE", (remove,))
    with closing(a_store(tmp_path)) as other:
        if when == "after":
            monkeypatch.setattr(spool, "_WRITE", (write,))
        else:
            spool.take_in_all(other)
        if when != "just before":
            keep(1)
    assert removed == [path]
    run.settle()
    assert run.problem is None
    assert stored(run.store) == ["test_0", "test_1"]


@pytest.mark.parametrize("alive", [False, True])
def test_a_system_that_removes_no_open_file_loses_no_row(
    tmp_path: Path, run: Keeper, monkeypatch: pytest.MonkeyPatch, *, alive: bool
) -> None:
    """As Windows: the file of a run that lives stays, that of a dead one goes."""
    monkeypatch.setattr(spool, "_WHILE_OPEN", False)
    monkeypatch.setattr(spool, "_REMOVE", (remove_as_windows,))
    run.keep("test_0", [a_row("test_0")], final=True, worker=None)
    (path,) = files(run.store)
    os.utime(path, (1.0, 1.0))
    if not alive:
        run._ledger._spool.close()
    with closing(a_store(tmp_path)) as other:
        spool.take_in_all(other)
        assert stored(other) == ["test_0"]
    assert path.exists() is alive


def remove_as_windows(path: Path) -> None:
    if descriptors.found([path]):
        raise PermissionError(errno.EACCES, "used by another process", str(path))
    path.unlink()


def test_a_full_disk_loses_no_row_that_is_told_again(
    store: Store, run: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of a line is taken back, and written whole when there is room."""
    write = os.write
    monkeypatch.setattr(spool, "_WRITE", (lambda fd, data: write(fd, data[:100]),))
    run.keep("test_0", rows(1), final=True, worker=None)
    assert run.problem is not None
    assert "o space" in run.problem
    assert all(path.read_bytes() == b"" for path in files(run.store))
    monkeypatch.undo()
    run.keep("test_1", [a_row("test_1")], final=True, worker=None)
    run.settle()
    assert stored(run.store) == ["test_0", "test_1"]
    assert run.problem is None


def test_a_spool_that_grew_large_is_left_for_a_new_one(
    store: Store, run: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run takes no more room than its store; each file is enough for its rows."""
    monkeypatch.setattr(spool, "_LARGE_BYTES", 10_000)
    for number in range(2_000):
        run.keep(str(number), [a_row(f"t_{number}")], final=True, worker=None)
        assert sum(path.stat().st_size for path in files(store)) < 500_000
    (last,) = files(store)
    assert last.name > "run-1.changes"
    assert last.read_text().startswith(HEAD)
    run.settle()
    assert len(stored(store)) == 2_000
    assert not list((store.directory / spool.FOLDER).iterdir())


def test_a_store_that_could_not_be_read_gets_all_rows_of_the_run(
    store: Store, run: Keeper
) -> None:
    """The damaged file is set aside, and what the run wrote so far is told again."""
    run.keep("test_0", [a_row("test_0")], final=True, worker=None)
    spool.take_in_all(store)
    for path in store.directory.glob("store.sqlite3*"):
        path.write_bytes(b"damaged" * 5_000)
    run.keep("test_1", [a_row("test_1")], final=True, worker=None)
    run.settle()
    assert "set aside" in run.notes[0]
    assert run.problem is None
    assert stored(run.store) == ["test_0", "test_1"]
    (known,) = reading.experiments(run.store)
    assert known.repo_info == RUN.repo_info
    assert known.metadata == RUN.metadata
