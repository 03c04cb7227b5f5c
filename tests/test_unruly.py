"""Tests that do what tests do: threads, forks, folders, descriptors, exits."""

from __future__ import annotations

from conftest import XDIST, Suite, nodeid, outcome
from fake_braintrust import FakeBraintrust

LATE = """\
import threading, pytest

started = []

@pytest.mark.parametrize("n", range(3))
def test_leaves_a_thread(bt_score, n):
    bt_score(output=n)
    thread = threading.Timer(0.05, lambda: bt_score(scores={"late": 1}, tags="late"))
    thread.start()
    started.append(thread)

def test_leaves_a_row(bt_score):
    def late():
        with bt_score.row("late") as row: row(output="late")
    thread = threading.Timer(0.05, late)
    thread.start()
    started.append(thread)

def test_skipped(bt_score):
    thread = threading.Timer(0.05, lambda: bt_score(output="late"))
    thread.start()
    started.append(thread)
    pytest.skip("not today")

def test_meanwhile(bt_score):
    bt_score(scores={"exact": 1})
    for thread in started: thread.join()

def test_after(bt_score): bt_score(scores={"exact": 1})
"""

THREADS = """\
import threading
from concurrent.futures import ThreadPoolExecutor

def test_threads(bt_score):
    barrier = threading.Barrier(8)
    def log(n):
        barrier.wait()
        for i in range(20):
            bt_score(metadata={f"{n}": {f"{i}": i}}, tags=f"{n}-{i}")
            with bt_score.row(f"{n}-{i}", scores={"exact": 1}): pass
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(log, range(8)))
    bt_score(scores={"exact": 1})
"""

UNRULY = """\
import io, os, sys, pytest

def test_moves(bt_score, tmp_path):
    os.chdir(tmp_path)
    bt_score(output="moved")
    os.rmdir(tmp_path)

def test_mute(bt_score):
    sys.stdout = sys.stderr = io.StringIO()
    bt_score(output="mute")

def test_exits(bt_score):
    bt_score(output="half")
    sys.exit(7)

@pytest.fixture
def exits(): sys.exit(7)

def test_exits_in_setup(bt_score, exits): pass

def test_forks(bt_score):
    pid = os.fork()
    if pid == 0:
        try:
            bt_score(output="child", scores={"wrong": 0})
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    bt_score(output="parent")

def test_after(bt_score): bt_score(scores={"exact": 1})
"""


def test_words_of_threads_that_outlive_their_test(
    suite: Suite, server: FakeBraintrust, in_order: list[str]
) -> None:
    """They reach its row, and no other; each row is counted once."""
    ran = suite.write(test_late=LATE).sends_to(server).run_both(*in_order)
    assert ran.honest(server) == {"passed": 6, "skipped": 1}
    assert len(ran.rows()) == 8
    for n in range(3):
        row = ran.row(f"test_leaves_a_thread[{n}]")
        assert (row["output"], row["tags"]) == (n, ["late"])
        assert row["scores"] == {"late": 1, "pass": 1}
    assert ran.row("test_skipped")["output"] == "late"
    assert ran.row("test_meanwhile")["scores"] == {"exact": 1, "pass": 1}
    late = [each for each in ran.rows() if nodeid(each).endswith("leaves_a_row")]
    assert {each["metadata"]["pytest"].get("row") for each in late} == {None, "late"}
    there = server.rows(server.experiments[0]["id"])
    assert sorted(each["id"] for each in there if each["tags"] == ["late"]) == sorted(
        each["id"] for each in ran.rows() if each["tags"] == ["late"]
    )


def test_words_of_several_threads_at_once(suite: Suite, in_order: list[str]) -> None:
    """None is lost."""
    ran = suite.write(test_threads=THREADS).run_both(*in_order)
    assert ran.honest() == {"passed": 1}
    rows = {each["metadata"]["pytest"].get("row"): each for each in ran.rows()}
    assert len(rows) == 161
    own = rows[None]
    assert len(own["tags"]) == 160
    for n in range(8):
        assert own["metadata"][str(n)] == {str(i): i for i in range(20)}


def test_tests_that_change_their_process(
    suite: Suite, server: FakeBraintrust, in_order: list[str]
) -> None:
    """Working folder, streams, exits and forks leave the rows as they are."""
    ran = suite.write(test_unruly=UNRULY).sends_to(server).run_both(*in_order)
    assert ran.honest(server) == {"passed": 4, "failed": 1, "errored": 1}
    outputs = {nodeid(each).split("::")[1]: each["output"] for each in ran.rows()}
    assert outputs == {
        "test_moves": "moved",
        "test_mute": "mute",
        "test_exits": "half",
        "test_exits_in_setup": None,
        "test_forks": "parent",
        "test_after": None,
    }
    assert outcome(ran.row("test_exits")) == "failed"
    assert ran.row("test_forks")["scores"] == {"pass": 1}


OUTLIVED = """\
import os, time

def test_forks_on(bt_score):
    if os.fork() == 0:
        for fd in (0, 1, 2): os.close(fd)
        time.sleep(60)
        os._exit(0)
    bt_score(output="parent")
"""


def test_a_child_that_outlives_the_run(suite: Suite, server: FakeBraintrust) -> None:
    """It holds every pipe of ours open, and nobody waits for it."""
    suite.write(test_fork=OUTLIVED).sends_to(server)
    # Neither of these copies the harness's own pipes for the child to hold.
    ran = suite.run("-s", "-p", "no:faulthandler", seconds=25)
    assert ran.honest(server) == {"passed": 1}
    assert len(server.rows(server.experiments[0]["id"])) == 1


RUNS_ON = """\
import os, sys

def test_before(bt_score): bt_score(scores={"exact": 1})

def test_forks(bt_score):
    pid = os.fork()
    if pid == 0:
        bt_score(scores={"wrong": 0})
        sys.exit(3)
    assert os.waitpid(pid, 0)[1] != 3
    bt_score(output="parent")

def test_after(bt_score): bt_score(output=os.getpid())
"""


def test_a_child_that_runs_on_as_pytest(suite: Suite, server: FakeBraintrust) -> None:
    """What it thinks to be the rest of the run is not recorded."""
    ran = suite.write(test_fork=RUNS_ON).sends_to(server).run_both("-s")
    assert ran.honest(server) == {"passed": 3}
    assert ran.out.count("= braintrust =") == 1
    assert ran.row("test_forks")["output"] == "parent"
    assert ran.row("test_forks")["scores"] == {"pass": 1}
    assert len(ran.rows()) == 3


CLOSES = """\
import os, pytest

mine = []

@pytest.mark.parametrize("n", range(3))
def test_before(bt_score, n): bt_score(scores={"exact": 1})

def test_closes(bt_score):
    bt_score(output="half")
    os.closerange(3, 256)
    # What the test opens now has the numbers of what it closed.
    mine.extend(open(f"mine-{n}", "w+") for n in range(40))
    bt_score(output="closed")

@pytest.mark.parametrize("n", range(3))
def test_after(bt_score, n): bt_score(scores={"exact": 1})
"""


def test_a_test_that_closes_every_descriptor(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The store is opened again, and what the test opened since is left alone."""
    suite.write(test_closes=CLOSES).sends_to(server)
    ran = suite.run_both("-s", "-p", "no:faulthandler")
    assert ran.status == 0
    assert ran.honest(server) == {"passed": 7}
    assert ran.row("test_closes")["output"] == "closed"
    sizes = [each.stat().st_size for each in suite.folder.glob("mine-*")]
    assert sizes == [0] * 40


def test_a_worker_that_loses_every_descriptor(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Nothing more is heard of it: its test is errored, the others run elsewhere."""
    suite.with_plugins(XDIST).write(test_closes=CLOSES).sends_to(server)
    ran = suite.run_both("-n2", "-p", "no:faulthandler")
    assert ran.honest(server) == {"passed": 6, "errored": 1}
    assert ran.row("test_closes")["scores"] == {}


GIVES_AWAY = """\
import copy, multiprocessing, pickle, pytest
from concurrent.futures import ProcessPoolExecutor

OTHER = multiprocessing.get_context("spawn")
TOLD = "return the answer from there, and log it in the test"

def work(bt_score): bt_score(output="lost")

@pytest.mark.parametrize("name", ["bt_score", "braintrust_span"])
def test_pickled(request, name):
    fixture = request.getfixturevalue(name)
    with pytest.raises(TypeError, match=TOLD): pickle.dumps(fixture)
    with fixture.row("turn") as row, pytest.raises(TypeError, match=TOLD):
        pickle.dumps(row)

def test_spawned(bt_score):
    with pytest.raises(TypeError, match=TOLD):
        OTHER.Process(target=work, args=(bt_score,)).start()

def test_pool(bt_score):
    with ProcessPoolExecutor(1, mp_context=OTHER) as pool:
        with pytest.raises(TypeError, match=TOLD):
            pool.submit(work, bt_score).result()

def test_copied(bt_score):
    copy.copy(bt_score)(output=1)
    copy.deepcopy({"log": bt_score})["log"](scores={"exact": 1})
"""


def test_a_fixture_that_is_given_to_another_process(suite: Suite) -> None:
    """It says what to do, flag or not; a copy is the same fixture."""
    ran = suite.write(test_away=GIVES_AWAY).run_both()
    assert ran.honest() == {"passed": 5}
    row = ran.row("test_copied")
    assert (row["output"], row["scores"]) == (1, {"exact": 1, "pass": 1})
