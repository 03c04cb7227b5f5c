"""Workers of pytest-xdist that share no disk with the run deliver every row."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import XDIST, Suite, nodeid
from fake_braintrust import FakeBraintrust

SUITE = """\
import os, socket
import pytest

@pytest.mark.parametrize("n", range(12))
def test_n(bt_score, n):
    seen = {"host": socket.gethostname(), "cwd": os.getcwd(), "pid": os.getpid()}
    bt_score(output=seen, scores={"exact": n % 2})
    assert n != 7

def test_asks(bt_score):
    found = bt_score.experiment
    bt_score(output=[found.id, found.url])
    assert found.id
"""

#: A machine of its own, as far as disk and name go: the suite's folder is empty there.
ELSEWHERE = """\
hostname elsewhere && mount -t tmpfs none "$1" && cd "$2" && exec "$3" -u -m \
execnet.script.socketserver :0
"""

#: Starts a gateway that does not see the suite, in a folder; answers its port.
Far = Callable[[Suite, Path], int]


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    """Starts gateways, each on a machine of its own, which knows no key."""
    started: list[subprocess.Popen[bytes]] = []

    def start(suite: Suite, folder: Path) -> int:
        folder.mkdir()
        log = tmp_path / f"gateway-{len(started)}.log"
        own = ["unshare", "--mount", "--uts", "sh", "-c", ELSEWHERE, "sh"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*own, str(suite.folder), str(folder), sys.executable],
                env={k: v for k, v in suite.env().items() if "BRAINTRUST" not in k},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        started.append(process)
        until = time.monotonic() + 30
        while (found := re.search(r"0\.0', (\d+)\)", log.read_text())) is None:
            assert time.monotonic() < until, log.read_text()
            if process.poll() is not None:
                pytest.skip(f"no machine of its own here: {log.read_text()}")
            time.sleep(0.05)
        return int(found[1])

    yield start
    for process in started:
        process.kill()
        process.wait()


def arrived_once(suite: Suite, server: FakeBraintrust, *arguments: str) -> list[str]:
    """Run the suite far away; answers what each row says of where it ran."""
    where = str(suite.folder)
    ran = suite.run(
        "--dist=load", f"--rsyncdir={where}", *arguments, f"{where}/test_far.py"
    )
    assert ran.status == 1, ran.out + ran.err
    assert "13 collected = 12 passed + 1 failed" in ran.section
    assert "13 recorded = 13 sent + 0 pending" in ran.section
    names = [f"test_n[{n}]" for n in range(12)]
    wanted = Counter(f"test_far.py::{name}" for name in (*names, "test_asks"))
    assert Counter(nodeid(each).removeprefix("suite/") for each in ran.rows()) == wanted
    (remote,) = server.experiments
    assert {each["id"] for each in server.rows(remote["id"])} == {
        each["id"] for each in ran.rows()
    }
    asked, url = ran.row("test_asks")["output"]
    assert asked == remote["id"]
    assert url
    return [str(ran.row(name)["output"]) for name in names]


def test_gateways_on_other_machines(
    suite: Suite, server: FakeBraintrust, far: Far, tmp_path: Path
) -> None:
    """They see neither the store nor the suite; one of them makes the experiment."""
    suite.write(test_far=SUITE).sends_to(server).with_plugins(XDIST)
    folders = [tmp_path / "far-0", tmp_path / "far-1"]
    txs = [
        f"--tx=socket=127.0.0.1:{far(suite, folder)}//chdir={folder}"
        for folder in folders
    ]
    told = arrived_once(suite, server, *txs)
    for each in told:
        assert "'elsewhere'" in each
        assert "/far-" in each
    for folder in folders:
        assert (folder / "suite" / "test_far.py").exists()
        assert not list(folder.rglob(".braintrust"))


DIES = """\
import os, threading

def test_before(bt_score): bt_score(output="whole")

def test_dies(bt_score):
    thread = threading.Thread(target=bt_score, kwargs={"metadata": {"thread": 1}})
    thread.start()
    thread.join()
    bt_score(output="half", scores={"exact": 0.5})
    os._exit(3)

def test_after(bt_score): bt_score(output="whole")
"""


def test_words_of_a_test_that_dies_on_another_machine(
    suite: Suite, server: FakeBraintrust, far: Far, tmp_path: Path
) -> None:
    """They came to the run's own disk as they were said."""
    suite.write(test_dies=DIES).sends_to(server).with_plugins(XDIST)
    where = str(suite.folder)
    ports = [far(suite, tmp_path / f"far-{number}") for number in range(2)]
    ran = suite.run(
        "--dist=loadfile",
        "--max-worker-restart=0",
        f"--rsyncdir={where}",
        *(
            f"--tx=socket=127.0.0.1:{port}//chdir={tmp_path}/far-{number}"
            for number, port in enumerate(ports)
        ),
        f"{where}/test_dies.py",
    )
    assert ran.row("test_before")["output"] == "whole"
    row = ran.row("test_dies")
    assert (row["output"], row["scores"]) == ("half", {"exact": 0.5})
    assert row["metadata"]["thread"] == 1
    assert "crashed while running" in row["error"]
    assert ran.honest(server)["errored"] == 1


def test_workers_in_another_folder(
    suite: Suite, server: FakeBraintrust, tmp_path: Path
) -> None:
    """Of the same machine: the store is the run's own, wherever they work."""
    suite.write(test_far=SUITE).sends_to(server).with_plugins(XDIST)
    other = tmp_path / "other"
    other.mkdir()
    told = arrived_once(suite, server, f"--tx=2*popen//chdir={other}")
    assert all(f"'{other}'" in each for each in told)
    assert not list(other.rglob(".braintrust"))
