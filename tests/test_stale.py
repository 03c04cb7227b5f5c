"""Locks of the dead and clocks that jump back stop nobody, and cost no row."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from conftest import Suite
from fake_braintrust import FakeBraintrust

from pytest_braintrust.locks import FOLDER

TESTS = """\
import pytest

@pytest.mark.parametrize("n", range(3))
def test_it(bt_score, n): bt_score(output=n, scores={"exact": n == 0})
"""

HOLDS = """\
import sys, time
from pathlib import Path
from pytest_braintrust.locks import locked

with locked(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_locks_of_processes_that_were_killed(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Their files are there, with whatever in them, and hold nobody up."""
    store = suite.write(test_it=TESTS).run().store
    (experiment,) = json.loads(suite.cli("list", "--json").out)
    names = [f"{what}-{experiment['id']}" for what in ("send", "create")]
    for name in (*names, "open", "set-aside"):
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(store), name],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.communicate()
        assert holder.returncode == -signal.SIGKILL
        path = store / FOLDER / f"{name}.lock"
        path.write_text(f"{os.getpid()}\nelsewhere\n")
    pushed = suite.sends_to(server).cli("push")
    assert pushed.status == 0, pushed.err
    ran = suite.run()
    assert "3 recorded = 3 sent + 0 pending" in ran.section
    assert [len(server.rows(each["id"])) for each in server.experiments] == [3, 3]


#: The clock of every process of a suite is off by what is in a file.
CLOCK = """\
import os, time
real = time.time
def off():
    with open({path!r}) as file:
        return real() + float(file.read() or 0)
time.time = off
"""
JUMPS = """\
import pathlib, time
import pytest

@pytest.mark.parametrize("n", range(6))
def test_jumps(bt_score, n):
    bt_score(output=n)
    if n == 2:
        pathlib.Path("off").write_text(str(-7 * 86_400))
    time.sleep(0.3)
"""


def test_a_clock_that_jumps_back(suite: Suite, server: FakeBraintrust) -> None:
    """By a week, in the midst of a run; and another run is before it."""
    off = suite.folder / "off"
    off.write_text("0")
    (suite.folder / "sitecustomize.py").write_text(CLOCK.format(path=str(off)))
    paths = (str(suite.folder), str(Path(__file__).parents[1]))
    suite.environment["PYTHONPATH"] = os.pathsep.join(paths)
    suite.write(test_jumps=JUMPS).sends_to(server)
    ran = suite.run()
    assert ran.honest(server) == {"passed": 6}
    assert "6 recorded = 6 sent + 0 pending" in ran.section
    for row in ran.rows():
        assert row["metrics"]["end"] >= row["metrics"]["start"]
    again = suite.run()
    assert "6 recorded = 6 sent + 0 pending" in again.section
    listed = json.loads(suite.cli("list", "--json").out)
    assert [each["rows"]["pending"] for each in listed] == [0, 0]
    first, _ = again.experiments()
    shown = suite.cli("show", first["id"])
    assert "took" not in shown
    assert suite.cli("prune", "--older-than", "8d", "--yes").status == 0
    assert len(again.experiments()) == 2
