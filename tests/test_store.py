"""The local store: made for its user alone, brought up to date, and hard to break."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import stored
from conftest import XDIST, Ran, Suite
from fake_braintrust import FakeBraintrust

from pytest_braintrust.errors import StoreBusy, StoreCorrupt, StoreError, StoreTooNew
from pytest_braintrust.facts import NewExperiment
from pytest_braintrust.keeping import Keeper
from pytest_braintrust.opening import open_somewhere
from pytest_braintrust.store import connection
from pytest_braintrust.store.connection import Store, open_store
from pytest_braintrust.store.schema import MIGRATIONS
from pytest_braintrust.store.sessions import NewSession

TESTS = """\
import pytest

@pytest.mark.parametrize("n", range(3))
def test_it(bt_score, n):
    bt_score(output=n, scores={"exact": n == 0})
    assert n < 2
"""

#: Rows of 20 kB each, to fill a small disk with.
LARGE = """\
import pytest

@pytest.mark.parametrize("n", range(60))
def test_large(bt_score, n):
    bt_score(output="x" * 20_000, scores={"exact": 1})
"""


def store_of(suite: Suite) -> Path:
    """The file of a suite's store."""
    return suite.folder / ".braintrust" / "store.sqlite3"


def mode(path: Path) -> int:
    """Who may do what with a file."""
    return path.stat().st_mode & 0o777


# As it is made

LOOKS = """\
import os, pathlib

def test_looks(bt_score):
    bt_score(output="first")

def test_looks_again(bt_score):
    folder = pathlib.Path(".braintrust")
    bt_score(output={
        str(each.relative_to(folder)): oct(each.stat().st_mode & 0o777)
        for each in [folder, *folder.rglob("*")]
    })
"""


def test_it_is_for_its_user_alone(suite: Suite, plugin_args: list[str]) -> None:
    """Whatever the umask is; git ignores it, and SQLite's own files are like it."""
    suite.wrapper = ("bash", "-c", 'umask 0; exec "$@"', "-")
    ran = suite.write(test_looks=LOOKS).run(*plugin_args)
    assert ran.status == 0, ran.out
    seen = ran.row("test_looks_again")["output"]
    assert seen["."] == "0o700"
    for name in ("store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm"):
        assert seen[name] == "0o600"
    assert (ran.store / ".gitignore").read_text().endswith("*\n")
    assert mode(ran.store) == 0o700
    assert mode(store_of(suite)) == 0o600


def test_it_is_not_pytest_s_cache(suite: Suite) -> None:
    """Clearing that clears nothing here; what else lies in the folder stays as it is."""
    suite.write(test_it=TESTS).run()
    (suite.folder / ".braintrust" / ".gitignore").write_text("mine\n")
    (suite.folder / ".braintrust" / "notes.txt").write_text("mine\n")
    (suite.folder / ".braintrust" / "running").mkdir(exist_ok=True)
    (suite.folder / ".braintrust" / "running" / "mine").write_text("mine\n")
    ran = suite.run("--cache-clear")
    assert len(ran.experiments()) == 2
    for name in (".gitignore", "notes.txt", "running/mine"):
        assert (ran.store / name).read_text() == "mine\n"


def test_it_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    """By another process, such as the uploader: that is what WAL is for."""
    with closing(open_store(tmp_path)) as store, closing(open_store(tmp_path)) as other:
        with store.transaction():
            stored_rows(other)
        assert one(store, "PRAGMA journal_mode") == "wal"


def stored_rows(store: Store) -> int:
    """How many rows there are."""
    return int(one(store, "SELECT count(*) FROM rows"))


def one(store: Store, sql: str) -> Any:
    """What a statement answers."""
    found = store.one(sql)
    assert found is not None
    return found[0]


# Brought up to date


#: The steps of this version and one of a version to come, which fills what it adds.
LATER = (
    *MIGRATIONS,
    "ALTER TABLE rows ADD COLUMN later TEXT; UPDATE rows SET later = nodeid || '!';",
)


def a_store_with_a_row(directory: Path) -> None:
    """A store as this version leaves it, with one run in it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    with closing(open_store(directory)) as store:
        stored.add(store, "old", of=stored.rows(1))


def test_a_store_of_an_earlier_version_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the steps that it has not had, with what is in it."""
    a_store_with_a_row(tmp_path)
    monkeypatch.setattr(connection, "MIGRATIONS", LATER)
    with closing(open_store(tmp_path)) as store:
        assert one(store, "PRAGMA user_version") == len(LATER)
        assert one(store, "SELECT later = nodeid || '!' FROM rows")
        stored.add(store, "new", of=stored.rows(2))
        assert stored_rows(store) == 3
    monkeypatch.undo()
    with pytest.raises(StoreTooNew, match="later version of pytest-braintrust; update"):
        open_store(tmp_path)


def test_a_step_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps are one transaction."""
    with closing(open_store(tmp_path)) as store:
        stored.add(store, "kept", of=stored.rows(2))
    broken = (*MIGRATIONS, "CREATE TABLE more (a);", "CREATE TABLE wrong (")
    monkeypatch.setattr(connection, "MIGRATIONS", broken)
    with pytest.raises(StoreError, match="failed: "):
        open_store(tmp_path)
    monkeypatch.undo()
    with closing(open_store(tmp_path)) as store:
        assert stored_rows(store) == 2
        assert not one(store, "SELECT count(*) FROM sqlite_schema WHERE name = 'more'")


def test_each_step_is_whole_statements() -> None:
    """They are split at semicolons, so that none may stand inside of one."""
    for step in MIGRATIONS:
        for statement in filter(str.strip, step.split(";")):
            assert sqlite3.complete_statement(f"{statement};")
            assert "trigger" not in statement.lower()


def opened(directories: list[str], barrier: Any, queue: Any) -> None:
    """In a process of its own: open stores at the same moments as others."""
    setattr(connection, "MIGRATIONS", LATER)  # noqa: B010 - mypy knows no such name
    for directory in directories:
        barrier.wait()
        try:
            store = open_store(Path(directory))
            queue.put(stored_rows(store))
            store.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            queue.put(repr(error))


def test_processes_that_migrate_at_once(tmp_path: Path) -> None:
    """One does it, and the others wait for it."""
    count, folders = 4, [tmp_path / str(number) for number in range(8)]
    for folder in folders[::2]:
        a_store_with_a_row(folder)
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(count), context.Queue()
    arguments = ([str(folder) for folder in folders], barrier, queue)
    processes = [context.Process(target=opened, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in folders for _ in processes]
    for process in processes:
        process.join()
    assert sorted(found, key=str) == [0] * 4 * count + [1] * 4 * count


# Broken before the run


def as_garbage(path: Path) -> None:
    path.write_bytes(b"no SQLite file at all " * 500)


def as_truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def as_header_only(path: Path) -> None:
    os.truncate(path, 50)


def as_damaged_inside(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4_096] + b"\xff" * (len(whole) - 4_096))


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "mine").write_text("mine")


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage",
    [
        as_garbage,
        as_truncated,
        as_header_only,
        as_damaged_inside,
        as_folder,
        as_pipe,
    ],
)
def test_what_is_no_store_is_set_aside(
    suite: Suite, damage: Callable[[Path], None]
) -> None:
    """And never deleted; the run has a new one, and says so in every mode."""
    suite.write(test_it=TESTS).run()
    for suffix in ("-wal", "-shm"):
        assert not Path(f"{store_of(suite)}{suffix}").exists()
    damage(store_of(suite))
    before = content(store_of(suite))
    ran = suite.run_both("--braintrust-no-summary")
    (aside,) = ran.store.glob("store.sqlite3.corrupt-*")
    assert content(aside) == before
    why = " ".join(ran.out.split())
    assert f"the store at {ran.store} could not be read; it is set aside as" in why
    assert aside.name in why
    assert "MISSING" not in ran
    assert len(ran.rows()) == 3
    again = suite.run()
    assert len(again.rows()) == 6
    assert "3 recorded" in again.section
    assert "set aside" not in again


def content(path: Path) -> bytes:
    """What is in a file, or in the one file of a folder."""
    if path.is_fifo():
        return b"a pipe"
    return (path / "mine").read_bytes() if path.is_dir() else path.read_bytes()


def test_an_empty_file_is_a_new_store(suite: Suite) -> None:
    """As left by a disk that was full when it was made."""
    store_of(suite).parent.mkdir()
    store_of(suite).touch()
    ran = suite.write(test_it=TESTS).run_both()
    assert ran.honest() == {"passed": 2, "failed": 1}
    assert "set aside" not in ran


def test_two_stores_that_are_set_aside_at_once_are_both_kept(tmp_path: Path) -> None:
    """Neither takes the other's name."""
    for text in ("first", "second"):
        (tmp_path / "store.sqlite3").write_text(text * 1_000)
        connection.set_aside(tmp_path, "now")
    asides = sorted(tmp_path.glob("store.sqlite3.corrupt-now*"))
    assert [each.read_text()[:6] for each in asides] == ["firstf", "second"]


def test_a_store_of_a_later_version_is_left_alone(suite: Suite) -> None:
    """Rows go to a store among temporary files, from where they can be sent."""
    suite.write(test_it=TESTS).run()
    newer = len(MIGRATIONS) + 1
    with closing(sqlite3.connect(store_of(suite))) as later:
        later.execute(f"PRAGMA user_version = {newer}")
    with pytest.raises(StoreTooNew, match="later version of pytest-braintrust; update"):
        open_store(store_of(suite).parent)
    before = store_of(suite).read_bytes()
    ran = suite.run_both()
    assert store_of(suite).read_bytes() == before
    why = " ".join(ran.section.split())
    assert "was written by a later version of pytest-braintrust; update it" in why
    assert_kept_elsewhere(suite, ran)


def test_what_is_on_another_drive_is_told_as_it_is(
    suite: Suite,
) -> None:
    """Windows knows no way from one drive to another."""
    drives = """
        import os
        here, relpath = os.getcwd(), os.path.relpath
        def of_drives(path, start=here):
            if not os.fspath(path).startswith(here):
                raise ValueError("path is on mount 'C:', start on mount 'D:'")
            return relpath(path, start)
        os.path.relpath = of_drives
    """
    suite.write(conftest=dedent(drives), test_it=TESTS)
    (suite.folder / ".braintrust").write_text("no folder", encoding="utf-8")
    ran = suite.run(f"--ignore={suite.temporary / 'none'}")
    assert_kept_elsewhere(suite, ran)


@pytest.mark.parametrize(("errno", "moved"), [("ENOLCK", True), ("ENOSYS", False)])
def test_a_file_system_without_locks(suite: Suite, errno: str, *, moved: bool) -> None:
    """As some of networks: the run ends, and its rows are kept."""
    lockless = f"""
        import errno, fcntl, os
        flock = fcntl.flock
        def of_network(file, operation):
            folder = ".braintrust/locks"
            locks = map(os.stat, (f"{{folder}}/{{each}}" for each in os.listdir(folder)))
            if os.fstat(file).st_ino in [each.st_ino for each in locks]:
                raise OSError(errno.{errno}, os.strerror(errno.{errno}))
            return flock(file, operation)
        fcntl.flock = of_network
    """
    suite.write(conftest=dedent(lockless), test_it=TESTS)
    ran = suite.run(seconds=30)
    if moved:
        assert_kept_elsewhere(suite, ran)
        assert "No locks available" in " ".join(ran.section.split())
    else:
        assert ran.honest() == {"passed": 2, "failed": 1}


def test_a_process_that_may_open_few_files(suite: Suite) -> None:
    """There are enough where pytest itself has enough."""
    suite.wrapper = ("sh", "-c", 'ulimit -n 32 && exec "$@"', "sh")
    ran = suite.write(test_it=TESTS).run_both()
    assert ran.honest() == {"passed": 2, "failed": 1}


def assert_kept_elsewhere(suite: Suite, ran: Ran, rows: int = 3) -> None:
    """All rows are in another store, which is named, and which commands can read."""
    (elsewhere,) = suite.temporary.glob("pytest-braintrust-*/store.sqlite3")
    assert mode(elsewhere.parent) == 0o700
    why = " ".join(ran.section.split())
    assert f"rows are kept in {elsewhere.parent}: give commands --store" in why
    assert "MISSING" not in ran
    there = Ran(ran.status, ran.out, ran.err, elsewhere.parent)
    assert len(there.rows()) == rows
    told = suite.cli("list", "--store", str(elsewhere.parent))
    assert told.status == 0, told.err
    assert "suite" in told.out


def without_rights() -> tuple[str, ...]:
    """A command by which root has no more rights to files than others have."""
    if os.name != "posix":
        pytest.skip("no rights of files as POSIX has them")
    if os.geteuid():
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv")
    return ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


@pytest.mark.parametrize("what", ["the root", "its folder", "its file", "a file there"])
def test_where_nothing_can_be_written(suite: Suite, what: str) -> None:
    """The run goes on, and its rows are kept elsewhere."""
    suite.wrapper = without_rights()
    suite.write(test_it=TESTS)
    folder = store_of(suite).parent
    if what == "a file there":
        folder.write_text("a file")
    elif what == "the root":
        suite.folder.chmod(0o500)
    else:
        suite.run()
        (folder if what == "its folder" else store_of(suite)).chmod(0o500)
    try:
        ran = suite.run_both("-p", "no:cacheprovider")
    finally:
        suite.folder.chmod(0o700)
    assert_kept_elsewhere(suite, ran)


def test_where_nothing_can_be_written_anywhere(suite: Suite) -> None:
    """There is no point in tests whose rows are lost: the run does not start."""
    suite.wrapper = without_rights()
    suite.write(test_it=TESTS, conftest="import tempfile\ntempfile.tempdir = '/none'\n")
    suite.folder.chmod(0o500)
    try:
        ran = suite.run("-p", "no:cacheprovider")
    finally:
        suite.folder.chmod(0o700)
    assert ran.status == 4
    why = " ".join((ran.out + ran.err).split())
    assert "braintrust: no place for the local store: cannot write the store at" in why
    assert "nor can rows be kept among temporary files: No such file" in why


# Broken in its midst


REMOVES = """\
import pathlib, pytest, shutil

@pytest.mark.parametrize("n", range(6))
def test_it(bt_score, n):
    bt_score(output=n)
    if n in (2, 4):
        shutil.rmtree(".braintrust")
"""


def test_a_store_that_is_removed_in_mid_run(
    suite: Suite, server: FakeBraintrust
) -> None:
    """As long as it is open it can be written anew, with all that was in it."""
    suite.write(test_it=TESTS).run()
    suite.write(test_it=REMOVES).sends_to(server)
    ran = suite.run()
    assert ran.status == 0, ran.out
    assert [each["output"] for each in ran.rows()] == [0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert "6 recorded = 6 sent + 0 pending" in ran.section
    why = f"something removed the files of the store at {ran.store}; what was in it"
    assert why in " ".join(ran.section.split())
    assert mode(ran.store) == 0o700
    assert mode(store_of(suite)) == 0o600
    with closing(sqlite3.connect(store_of(suite))) as store:
        assert store.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_damage_that_shows_while_rows_are_written(tmp_path: Path) -> None:
    """What is there is set aside; what comes after it has a store again."""
    a_store_with_a_row(tmp_path)
    keeper = a_keeper(tmp_path)
    as_damaged_inside(tmp_path / "store.sqlite3")
    rows = stored.rows(2)
    keeper.keep(rows[0]["nodeid"], rows, final=True, worker=None)
    assert keeper.problem is None
    assert stored_rows(keeper.store) == 2
    assert keeper.store.directory == tmp_path
    (note,) = keeper.notes
    assert "could not be read; it is set aside as" in note
    keeper.store.close()


# Full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 900 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def on_disk(suite: Suite, disk: Path) -> Suite:
    """The same suite, on another disk."""
    folder = disk / "suite"
    folder.mkdir()
    suite.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    moved = Suite(folder, suite.plugins, suite.environment).ini()
    moved.environment["TMPDIR"] = str(suite.temporary)
    return moved.write(test_large=LARGE)


@pytest.mark.parametrize("mode", [(), ("-p", XDIST, "-n2"), ("-q",)], ids=str)
def test_a_disk_that_becomes_full(
    suite: Suite, small_disk: Path, mode: tuple[str, ...]
) -> None:
    """What has no room goes to another disk; nothing of it is lost."""
    moved = on_disk(suite, small_disk)
    ran = moved.run_both("-p", "no:cacheprovider", *mode)
    (elsewhere,) = suite.temporary.glob("pytest-braintrust-*/store.sqlite3")
    there = Ran(0, "", "", elsewhere.parent)
    ids = {row["id"] for row in [*ran.rows(), *there.rows()]}
    assert len(ids) == 60
    out = " ".join(ran.out.split())
    assert "MISSING" not in out
    assert f"rows are kept in {elsewhere.parent}: give commands --store" in out
    kept = len(ran.rows())
    rows = f"{kept} earlier row{'s' * (kept > 1)} of this run"
    assert f"{rows} stayed in {ran.store}" in out


def test_a_disk_that_becomes_full_with_no_other(suite: Suite, small_disk: Path) -> None:
    """Rows are kept where there was room, and how many were not is said loudly."""
    moved = on_disk(suite, small_disk)
    moved.environment["TMPDIR"] = str(small_disk)
    ran = moved.run_both("-p", "no:cacheprovider")
    kept = len(ran.rows())
    assert 0 < kept < 60
    assert f"MISSING: {60 - kept} of 60 rows are not in the store" in ran.section
    assert "INTERNALERROR" not in ran


def test_a_limit_to_the_size_of_files(suite: Suite) -> None:
    """As quotas do it, for every disk."""
    suite.wrapper = ("bash", "-c", 'ulimit -f 400; exec "$@"', "-")
    ran = suite.write(test_large=LARGE).run_both("-p", "no:cacheprovider")
    stores = [ran.store, *suite.temporary.glob("pytest-braintrust-*")]
    found = [Ran(0, "", "", each).rows() for each in stores]
    kept = len({row["id"] for rows in found for row in rows})
    out = " ".join(ran.section.split())
    told = f"MISSING: {60 - kept} of 60 rows are not in the store" in out
    assert told == (kept < 60), (kept, out)
    assert kept > 10


# Other processes

HOLDS = """import sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""
#: Waits less than a person would.
IMPATIENT = """from pytest_braintrust import keeping, ledger
from pytest_braintrust.store import connection
keeping.WAIT_SECONDS = ledger.WAIT_SECONDS = 0.1
connection.BUSY_SECONDS = 0.5
"""


@dataclass
class Holder:
    """Other processes that hold the lock of a store."""

    path: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        """Hold it from now on, for so many seconds."""
        command = [sys.executable, "-c", HOLDS, str(self.path), str(seconds)]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.started.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

    def free(self) -> None:
        """Let go of it now."""
        while self.started:
            holder = self.started.pop()
            holder.kill()
            holder.communicate()


@pytest.fixture
def hold(suite: Suite) -> Iterator[Holder]:
    """Holds the store's lock in another process."""
    suite.write(test_it=TESTS).run()
    holder = Holder(store_of(suite))
    yield holder
    holder.free()


def test_a_store_that_another_process_writes_for_a_while(
    suite: Suite, hold: Holder
) -> None:
    """Rows wait for it, and tests only a little."""
    hold(3)
    ran = suite.run()
    assert "3 recorded" in ran.section
    assert len(ran.rows()) == 6
    assert "locked" not in ran


def test_a_store_that_another_process_never_lets_go_of(
    suite: Suite, hold: Holder
) -> None:
    """At the end, the rows go elsewhere."""
    hold(600)
    ran = suite.write(conftest=IMPATIENT).run_both()
    assert "database is locked" in ran.section
    assert_kept_elsewhere(suite, ran)


HELD_UP = """\
import pathlib, time
import pytest

@pytest.mark.parametrize("n", range(4))
def test_held_up(bt_score, n):
    bt_score(output=n, scores={"exact": 1})
    pathlib.Path(f"at-{n}").touch()
    while n == 0 and not pathlib.Path("held").exists():
        time.sleep(0.02)
    while n == 3:
        time.sleep(1)
"""


@pytest.mark.parametrize("when", ["from its start", "in the midst"])
def test_a_run_that_is_killed_while_another_process_holds_the_store(
    suite: Suite, hold: Holder, server: FakeBraintrust, when: str
) -> None:
    """What was reported is there when the store is free again, and can be sent."""
    held, last = suite.folder / "held", suite.folder / "at-3"
    if when == "from its start":
        hold(600)
        held.touch()
    running = suite.write(test_it=HELD_UP).start("--braintrust", start_new_session=True)
    if when == "in the midst":
        until_there(suite.folder / "at-0")
        hold(600)
        held.touch()
    until_there(last)
    running.kill()
    ran = suite.ended(running)
    held.unlink()
    hold.free()
    (killed,) = [each for each in ran.experiments() if each["finished_at"] is None]
    rows = [
        each["nodeid"]
        for each in ran.query("rows", "position")
        if each["experiment"] == killed["number"]
    ]
    assert rows == [f"test_it.py::test_held_up[{n}]" for n in range(3)]
    pushed = suite.sends_to(server).cli("push", killed["id"])
    assert pushed.status == 0, pushed.err
    assert len(server.rows(killed["name"])) == 3


LOSES_ALL = """\
import os, subprocess, sys
from pathlib import Path
from pytest_braintrust.store import connection

def shm():
    return os.stat(sys.argv[1] + "/store.sqlite3-shm").st_ino

store = connection.open_store(Path(sys.argv[1]))
before = shm()
# So that no new file has their numbers.
for each in ("-wal", "-shm"):
    os.link(sys.argv[1] + "/store.sqlite3" + each, sys.argv[1] + "/kept" + each)
os.closerange(3, 128)
code = (
    "import sys; from pathlib import Path\\n"
    "from pytest_braintrust.store.connection import open_store\\n"
    "for _ in range(2):\\n"
    "    store = open_store(Path(sys.argv[1]))\\n"
    "    if not _: store.close()\\n"
    "print('open', flush=True); sys.stdin.read()\\n"
)
other = subprocess.Popen(
    [sys.executable, "-c", code, sys.argv[1]],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
other.stdout.readline()
assert shm() != before
store.abandon()
assert connection._NEVER_CLOSED == []
again = connection.open_store(Path(sys.argv[1]))
with again.transaction() as changed:
    changed.execute("INSERT INTO spooled (name, taken) VALUES ('a', 1)")
again.close()
other.communicate()
print("done")
"""


def test_a_store_whose_files_were_replaced_while_its_descriptors_were_lost(
    tmp_path: Path,
) -> None:
    """It is let go of, so that it can be opened again at once."""
    run = subprocess.run(
        [sys.executable, "-c", LOSES_ALL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "done\n", run.stderr
    with closing(open_store(tmp_path)) as store:
        store.check()
        assert one(store, "SELECT taken FROM spooled") == 1


def until_there(path: Path) -> None:
    """Wait for a file."""
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_store_that_another_process_holds_is_busy(suite: Suite, hold: Holder) -> None:
    """Which callers can tell from damage."""
    with closing(open_store(store_of(suite).parent)) as store:
        hold(600)
        store.wait_for_others(0.1)
        with pytest.raises(StoreBusy, match="locked"), store.transaction():
            pass


# File systems without memory that processes share

NO_SHARED_MEMORY = """#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
typedef void *(*map)(void *, size_t, int, int, int, off_t);
static int is_shm(int fd) {
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    return length > 4 && memcmp(name + length - 4, "-shm", 4) == 0;
}
#define REFUSE(real) \\
    void *real(void *a, size_t l, int p, int f, int fd, off_t o) { \\
        if ((f & MAP_SHARED) && fd >= 0 && is_shm(fd)) { \\
            errno = ENODEV; \\
            return MAP_FAILED; \\
        } \\
        return ((map)dlsym(RTLD_NEXT, #real))(a, l, p, f, fd, o); \\
    }
REFUSE(mmap)
REFUSE(mmap64)
"""


@pytest.fixture
def no_shared_memory(tmp_path: Path, suite: Suite) -> None:
    """Let runs find a file system that has none, by a library that refuses it."""
    source, library = tmp_path / "refuse.c", tmp_path / "refuse.so"
    source.write_text(NO_SHARED_MEMORY)
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    if not sys.platform.startswith("linux") or shutil.which("cc") is None:
        pytest.skip("there is no C compiler to make that library with")
    subprocess.run(command, check=True)
    suite.environment["LD_PRELOAD"] = str(library)


@pytest.mark.usefixtures("no_shared_memory")
def test_a_file_system_that_does_not_bear_wal(
    suite: Suite, server: FakeBraintrust, plugin_args: list[str]
) -> None:
    """The store does without: several processes still use it at once."""
    suite.write(test_it=TESTS).sends_to(server)
    ran = suite.run_both(*plugin_args)
    assert ran.honest(server) == {"passed": 2, "failed": 1}
    again = suite.run(*plugin_args)
    assert "3 recorded = 3 sent + 0 pending" in again.section
    assert len(again.experiments()) == 2
    assert not list(suite.temporary.glob("pytest-braintrust-*/store.sqlite3"))
    with closing(sqlite3.connect(store_of(suite))) as store:
        assert store.execute("PRAGMA journal_mode").fetchone() == ("delete",)


# Interrupted


def a_keeper(folder: Path) -> Keeper:
    """What a run has, without the run."""
    new = NewExperiment("e", "r", "p", "n", 1.0, None, {}, None)
    return Keeper(open_store(folder), lambda _: new, NewSession("s", "r", 1.0))


def test_a_transaction_that_is_interrupted_changes_nothing(tmp_path: Path) -> None:
    """And the next one works."""
    with closing(open_store(tmp_path)) as store:
        stored.add(store, "first", of=stored.rows(2))

        def interrupted() -> None:
            with store.transaction() as inside:
                inside.execute("DELETE FROM rows")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert stored_rows(store) == 2
        stored.add(store, "second", of=stored.rows(2))
        assert stored_rows(store) == 4


def test_rows_that_an_interruption_kept_from_the_store_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each, wherever in a write Ctrl-C came."""
    keeper = a_keeper(tmp_path)
    rows = stored.rows(12)
    for number, row in enumerate(rows):
        with monkeypatch.context() as patch:
            interrupt_after(patch, keeper.store, statements=number)
            with suppress(KeyboardInterrupt):
                keeper.keep(row["nodeid"], [row], final=False, worker=None)
        keeper.end(row["nodeid"], 0.5, None)
    keeper.settle()
    assert keeper.problem is None
    assert stored_rows(keeper.store) == keeper.recorded == 12
    for (text,) in keeper.store.query("SELECT event FROM rows"):
        event = json.loads(text)
        assert event["metadata"]["pytest"]["durations"]["teardown"] == 0.5
        assert text.count("teardown") == 1
    keeper.store.close()


def interrupt_after(
    patch: pytest.MonkeyPatch, store: Store, *, statements: int
) -> None:
    """Let Ctrl-C come after so many further statements."""
    real, left = store.connection, [statements]

    class Interrupted:
        def execute(self, *arguments: Any) -> Any:
            done = real.execute(*arguments)
            left[0] -= 1
            if left[0] == -1:
                raise KeyboardInterrupt
            return done

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    patch.setattr(store, "connection", Interrupted())


def test_opening_says_what_is_wrong(tmp_path: Path) -> None:
    """In words, with the folder; nothing is left open."""
    with pytest.raises(StoreError, match=r"no store at .*; run `pytest --braintrust`"):
        open_store(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
    (tmp_path / "store.sqlite3").write_bytes(b"garbage" * 1_000)
    with pytest.raises(
        StoreCorrupt, match=f"the store at {tmp_path} failed: file is not"
    ):
        open_store(tmp_path)
    store, note = open_somewhere(tmp_path)
    assert note is not None
    store.close()
