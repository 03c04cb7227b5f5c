"""With workers, a run is one experiment that has every finished test's row once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import XDIST, Suite, needs, nodeid, outcome
from fake_braintrust import FakeBraintrust
from test_crashes import ELSEWHERE

FIRST = """\
import pytest

@pytest.mark.parametrize("mail", ["a@b", "c"])
@pytest.mark.xdist_group("mail")
def test_mail(bt_score, mail):
    bt_score(output=mail, scores={"short": len(mail) < 2})

class TestGroup:
    @pytest.mark.xdist_group("one")
    def test_grouped(self, bt_score): bt_score(scores={"exact": 1})
    @pytest.mark.braintrust(tags="marked")
    def test_marked(self): assert False

def test_skipped(bt_score): pytest.skip("not today")
"""

SECOND = """\
import pytest

@pytest.mark.parametrize("n", range(5))
def test_n(bt_score, n):
    print("out of test", n)
    bt_score(scores={"half": n / 8})

def test_unrecorded(): print("out of another test")
"""

ROWS = {
    "test_first.py::test_mail[a@b]": "passed",
    "test_first.py::test_mail[c]": "passed",
    "test_first.py::TestGroup::test_grouped": "passed",
    "test_first.py::TestGroup::test_marked": "failed",
    **{f"test_second.py::test_n[{n}]": "passed" for n in range(5)},
}


@pytest.fixture
def mixed(suite: Suite) -> Suite:
    """Two modules of recorded tests and others, and pytest-xdist."""
    return suite.with_plugins(XDIST).write(test_first=FIRST, test_second=SECOND)


def facts(row: dict[str, Any]) -> dict[str, Any]:
    found = row["metadata"]["pytest"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "dist",
    [
        "-n4",
        "-n2 --dist=loadscope",
        "-n2 --dist=loadfile",
        "-n2 --dist=loadgroup",
        "-n3 --dist=worksteal",
        "-n0",
        "-p no:xdist",
    ],
)
def test_every_row_once_in_one_experiment(
    mixed: Suite, server: FakeBraintrust, dist: str
) -> None:
    """However tests are spread, the rows are those of a plain run."""
    if "no:xdist" in dist:
        mixed.plugins.remove(XDIST)
    ran = mixed.sends_to(server).run_both(*dist.split())
    assert ran.status == 1
    assert len(server.experiments) == 1
    assert ran.honest(server) == {"passed": 9, "failed": 1, "skipped": 1}
    assert {nodeid(each): outcome(each) for each in ran.rows()} == ROWS
    assert Counter(map(nodeid, ran.rows())) == dict.fromkeys(ROWS, 1)
    by_worker = {facts(each)["worker"] for each in ran.rows()}
    assert by_worker == {None} or by_worker <= {f"gw{n}" for n in range(4)}
    assert ran.row("test_mail[a@b]")["input"] == {"mail": "a@b"}
    assert ran.row("test_marked")["tags"] == ["marked"]


@pytest.mark.parametrize("workers", ["-n2", "--tx=2*popen"])
def test_each_worker_runs_every_test(
    mixed: Suite, server: FakeBraintrust, workers: str
) -> None:
    """With `--dist=each` every test has a row for each worker, and is counted so."""
    ran = mixed.sends_to(server).run_both(workers, "--dist=each")
    assert ran.honest(server) == {"passed": 18, "failed": 2, "skipped": 2}
    assert len(server.experiments) == 1
    places = Counter((nodeid(each), facts(each)["worker"]) for each in ran.rows())
    assert places == {(name, worker): 1 for name in ROWS for worker in ("gw0", "gw1")}


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=str)
def test_nothing_is_printed_but_the_section(
    mixed: Suite, workers: tuple[str, ...]
) -> None:
    """What pytest and the tests print is what they print without the flag."""
    if not workers:
        mixed.plugins.remove(XDIST)
    arguments = ("-s", "-v", *workers)
    without, ran = mixed.run_off(*arguments), mixed.run(*arguments)
    ours = "=== braintrust ===\n" + ran.section
    assert _lines(ran.out) - _lines(ours) == _lines(without.out)
    assert ran.err == without.err == ""


def _lines(text: str) -> Counter[str]:
    return Counter(_plain(line) for line in text.splitlines())


def _plain(line: str) -> str:
    """A line without what differs between two runs: who ran it, when, and how long."""
    line = re.sub(r"\bgw\d|\[ *\d+%\]|=+|-+|\d+\.\d+s|0x\w+", "", line)
    return line.strip()


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=str)
@pytest.mark.parametrize("stop", ["-x", "--maxfail=2"])
def test_a_run_that_stops_early(
    suite: Suite, server: FakeBraintrust, stop: str, workers: tuple[str, ...]
) -> None:
    """Tests that were not run are counted as such; those that ended have a row."""
    text = """\
import pytest

@pytest.mark.parametrize("n", range(20))
def test_n(bt_score, n):
    bt_score(scores={"low": n < 10})
    assert n % 3
"""
    suite = suite.with_plugins(XDIST).write(test_n=text).sends_to(server)
    ran = suite.run_both(stop, *workers)
    counts = ran.honest(server)
    assert counts["failed"] >= (1 if stop == "-x" else 2)
    assert counts["not run"] >= 1
    assert sum(counts.values()) == 20
    told = Counter(map(outcome, ran.rows()))
    del counts["not run"]
    assert told == counts


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=str)
def test_deselected_tests_are_not_counted(
    mixed: Suite, workers: tuple[str, ...]
) -> None:
    """What `-k` leaves is what was collected."""
    ran = mixed.run_both("-k", "test_n or unrecorded", *workers)
    assert ran.honest() == {"passed": 6}
    assert len(ran.rows()) == 5


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=str)
@pytest.mark.parametrize("more", [(), ("--continue-on-collection-errors",)], ids=str)
def test_a_module_that_cannot_be_collected(
    mixed: Suite, workers: tuple[str, ...], more: tuple[str, ...]
) -> None:
    """The tests of the others are counted, whether they run or not."""
    mixed.write(test_broken="import no_such_module\n")
    ran = mixed.run_both(*workers, *more)
    counts = ran.honest()
    assert sum(counts.values()) == 11
    assert len(ran.rows()) == (9 if counts.get("passed") else 0)


ASKS = """\
import os, pathlib, time, pytest

@pytest.mark.parametrize("n", range(4))
def test_asks(bt_score, n):
    here = pathlib.Path(os.environ["MEETING"])
    (here / str(n)).touch()
    until = time.monotonic() + 20
    while len(list(here.iterdir())) < 4 and time.monotonic() < until: time.sleep(0.01)
    found = bt_score.experiment
    bt_score(output=[found.project, found.name, found.id, found.url])
"""


@pytest.mark.parametrize("disk", ["shared disk", "no shared disk"])
def test_workers_ask_for_the_experiment_at_once(
    suite: Suite, server: FakeBraintrust, tmp_path: Path, disk: str
) -> None:
    """One makes it, the others find it, and the rows go there."""
    suite.environment["MEETING"] = str(tmp_path / "meeting")
    (tmp_path / "meeting").mkdir()
    if disk != "shared disk":
        suite.write(conftest=ELSEWHERE)
    suite.with_plugins(XDIST).write(test_asks=ASKS).sends_to(server)
    ran = suite.run("-n4")
    assert ran.honest(server) == {"passed": 4}
    (experiment,) = server.experiments
    (found,) = {tuple(each["output"]) for each in ran.rows()}
    assert found[1:3] == (experiment["name"], experiment["id"])
    assert found[3] in ran.section


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=str)
@pytest.mark.parametrize("key", [True, False], ids=["key", "no key"])
def test_a_test_asks_for_the_experiment(
    suite: Suite,
    server: FakeBraintrust,
    tmp_path: Path,
    workers: tuple[str, ...],
    *,
    key: bool,
) -> None:
    """It has an address where the run is sent, and always a name and a project."""
    suite.environment["MEETING"] = str(tmp_path)
    suite.with_plugins(XDIST).write(test_asks=ASKS.replace("< 4", "< 0"))
    if key:
        suite.sends_to(server)
    ran = suite.run(*workers, "--braintrust-experiment=mine")
    assert ran.honest(server if key else None) == {"passed": 4}
    (found,) = {tuple(each["output"]) for each in ran.rows()}
    assert found[:2] == ("suite", "mine")
    ids = [each["id"] for each in server.experiments]
    assert ids == ([found[2]] if key else [])
    assert (found[3] is not None) == key


@contextmanager
def socket_server(suite: Suite, folder: Path) -> Iterator[str]:
    """A process that lets others run a worker in it; answers its address."""
    needs(XDIST)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "execnet.script.socketserver", "127.0.0.1:0"],
        cwd=folder,
        env=suite.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = re.search(r"\('127.0.0.1', (\d+)\)", process.stdout.readline())
        assert port
        yield f"127.0.0.1:{port[1]}"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("gateway", ["popen", "socket"])
def test_workers_in_another_folder_or_machine(
    mixed: Suite, server: FakeBraintrust, tmp_path: Path, gateway: str
) -> None:
    """Rows need no shared disk: they come with the reports."""
    other = tmp_path / "other"
    other.mkdir()
    mixed.write(conftest=ELSEWHERE).sends_to(server)
    more = ("--dist=load", f"--rsyncdir={mixed.folder}", str(mixed.folder))
    if gateway == "popen":
        ran = mixed.run(f"--tx=2*popen//chdir={other}", *more)
    else:
        with socket_server(mixed, other) as address:
            ran = mixed.run(f"--tx=socket={address}", *more)
    assert ran.honest(server) == {"passed": 9, "failed": 1, "skipped": 1}
    assert {nodeid(each): outcome(each) for each in ran.rows()} == ROWS
    assert not list(other.rglob(".braintrust"))


TWICE = """\
def pytest_collection_modifyitems(items): items.extend(items[:2])
"""

SAME = """\
def test_recorded(bt_score): bt_score(scores={"exact": 1})
def test_unrecorded(): pass
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=str)
def test_tests_of_one_name_are_told_of(
    suite: Suite, server: FakeBraintrust, workers: tuple[str, ...]
) -> None:
    """Where two recorded ones share an identity; each has its row all the same."""
    suite.with_plugins(XDIST).write(conftest=TWICE, test_same=SAME).sends_to(server)
    ran = suite.run_both(*workers)
    assert ran.honest(server) == {"passed": 4}
    assert len(ran.rows()) == 2
    assert ran.out.count("2 tests share the node id test_same.py::test_recorded:") == 1
    assert "test_unrecorded" not in ran.out


def test_workers_do_without_the_store(suite: Suite) -> None:
    """A worker loads no part of the store: its rows leave with the reports."""
    light = (
        "import sys\n"
        "def test_light(bt_score):\n"
        "    names = {'filelock', 'pytest_braintrust.store.connection'}\n"
        "    assert not names & {*sys.modules}\n"
    )
    ran = suite.with_plugins(XDIST).write(test_light=light).run("-n1")
    assert ran.status == 0, ran.out
