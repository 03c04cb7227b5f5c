"""A worker that dies takes no row along, and what it did not measure is no score."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import XDIST, Ran, Suite, nodeid, outcome
from fake_braintrust import FakeBraintrust

DEATHS = """\
import os, signal, pytest

@pytest.fixture
def deadly_setup():
    os._exit(3)

@pytest.fixture
def deadly_teardown(bt_score):
    yield
    os._exit(3)

def test_exits(bt_score):
    bt_score(output="half", scores={"exact": 1})
    bt_score(metadata={"step": 2})
    os._exit(3)

def test_faults(bt_score):
    bt_score(output="half")
    os.kill(os.getpid(), signal.SIGSEGV)

def test_killed(bt_score):
    with bt_score.row("first") as row: row(output=1, scores={"exact": 1})
    with bt_score.row("second") as row:
        row(output=2)
        os.kill(os.getpid(), signal.SIGKILL)

def test_dies_in_setup(bt_score, deadly_setup): pass

def test_dies_in_teardown(bt_score, deadly_teardown): bt_score(scores={"exact": 1})

def test_fails_and_dies(bt_score, deadly_teardown):
    bt_score(scores={"exact": 0})
    assert "Rome" == "Paris"

def test_unrecorded(): os._exit(3)

@pytest.mark.parametrize("n", range(4))
def test_lives(bt_score, n): bt_score(scores={"exact": 1})
"""

#: A worker that believes itself on another machine: it sees no disk of ours.
ELSEWHERE = """\
import os, socket

if "PYTEST_XDIST_WORKER" in os.environ:
    socket.gethostname = lambda: "elsewhere"
"""


@pytest.fixture(params=["shared disk", "no shared disk"])
def spread(request: pytest.FixtureRequest, suite: Suite) -> Suite:
    """A suite with pytest-xdist, whose workers see the store's disk or do not."""
    if request.param != "shared disk":
        suite.write(conftest=ELSEWHERE)
    return suite.with_plugins(XDIST)


def told(ran: Ran) -> dict[str, tuple[str, dict[str, float]]]:
    """Outcome and scores by the name of test and row."""
    return {_name(each): (outcome(each), each["scores"]) for each in ran.rows()}


def _name(event: dict[str, Any]) -> str:
    row = event["metadata"]["pytest"].get("row")
    name = nodeid(event).split("::")[1]
    return f"{name} {row}" if row else name


def test_a_test_that_kills_its_worker_is_errored(
    spread: Suite, server: FakeBraintrust
) -> None:
    """Its row says which worker died and what it logged, and has no `pass`."""
    spread.write(test_deaths=DEATHS).sends_to(server)
    ran = spread.run_both("-n2", "--max-worker-restart=20", "-p", "no:faulthandler")
    assert ran.status == 1
    counts = ran.honest(server)
    assert counts == {"passed": 4, "failed": 1, "errored": 6}
    found = told(ran)
    lives = {f"test_lives[{n}]": ("passed", {"exact": 1, "pass": 1}) for n in range(4)}
    assert found.items() >= lives.items()
    assert found["test_dies_in_teardown"] == ("errored", {"exact": 1})
    assert found["test_fails_and_dies"] == ("failed", {"exact": 0, "pass": 0})
    assert "test_unrecorded" not in found
    row = ran.row("test_fails_and_dies")
    assert "assert 'Rome' == 'Paris'" in row["error"]
    for name in ("test_exits", "test_faults", "test_dies_in_setup"):
        row = ran.row(name)
        assert found[name][0] == "errored"
        worker = row["metadata"]["pytest"]["worker"]
        assert (
            f"worker '{worker}' crashed while running 'test_deaths.py::{name}'"
            in (row["error"])
        )


def test_what_a_test_logged_survives_its_worker(spread: Suite) -> None:
    """Each word is kept before the next, on whichever disk."""
    spread.write(test_deaths=DEATHS)
    ran = spread.run("-n2", "-k", "exits or killed or faults")
    assert ran.honest() == {"errored": 3}
    assert told(ran) == {
        "test_exits": ("errored", {"exact": 1}),
        "test_faults": ("errored", {}),
        "test_killed": ("errored", {}),
        "test_killed first": ("errored", {"exact": 1}),
        "test_killed second": ("errored", {}),
    }
    assert ran.row("test_exits")["metadata"]["step"] == 2
    assert ran.row("test_faults")["output"] == "half"


@pytest.mark.parametrize(
    "how",
    ["-n2 --max-worker-restart=0", "-n1 --max-worker-restart=0", "-n2 -x"],
)
def test_a_worker_that_is_not_replaced(
    spread: Suite, server: FakeBraintrust, how: str
) -> None:
    """Tests that nobody was left to run are counted as not run."""
    text = """\
import os, pytest

@pytest.mark.parametrize("n", range(6))
def test_n(bt_score, n):
    bt_score(output=n)
    if n == 1: os._exit(3)
"""
    spread.write(test_deaths=text).sends_to(server)
    ran = spread.run_both(*how.split())
    counts = ran.honest(server)
    assert sum(counts.values()) == 6
    assert counts["errored"] == 1
    assert outcome(ran.row("test_n[1]")) == "errored"
    assert len(ran.rows()) == 6 - counts.get("not run", 0)


def test_a_test_that_kills_each_worker(spread: Suite, server: FakeBraintrust) -> None:
    """With `--dist=each` the death of one copy is not that of the other."""
    text = """\
import os

def test_lives(bt_score): bt_score(output="whole")

def test_dies(bt_score, worker_id):
    bt_score(output="half")
    if worker_id == "gw0": os._exit(3)
"""
    spread.write(test_deaths=text).sends_to(server)
    ran = spread.run_both("-n2", "--dist=each", "--max-worker-restart=9")
    assert ran.honest(server) == {"passed": 3, "errored": 1}
    assert len(ran.rows()) == 4
    by_test = {
        name: sorted(
            outcome(each) for each in ran.rows() if nodeid(each).endswith(name)
        )
        for name in ("test_dies", "test_lives")
    }
    assert by_test == {
        "test_dies": ["errored", "passed"],
        "test_lives": ["passed", "passed"],
    }


LATE = """\
import os

def test_said(request):
    request.getfixturevalue("bt_score")(output="half", scores={"exact": 1})
    os._exit(3)

def test_said_nothing(request):
    request.getfixturevalue("bt_score")
    os._exit(3)

def test_not_asked(request): os._exit(3)
"""


def test_a_test_that_asks_while_it_runs_and_dies(spread: Suite) -> None:
    """From then on it is recorded as any other."""
    ran = spread.write(test_late=LATE).run("-n1", "--max-worker-restart=5")
    assert ran.honest() == {"errored": 3}
    assert told(ran) == {
        "test_said": ("errored", {"exact": 1}),
        "test_said_nothing": ("errored", {}),
    }
    assert ran.row("test_said")["output"] == "half"
