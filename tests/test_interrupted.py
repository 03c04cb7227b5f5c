"""A run that is cut short keeps what was said until then, and counts it honestly."""

from __future__ import annotations

import os
import signal
import time

import pytest
from conftest import Ran, Suite, nodeid, outcome
from fake_braintrust import FakeBraintrust

CUT_OFF = "the run ended while this test was running"

SLEEPY = """\
import os, time, pathlib, pytest

@pytest.mark.parametrize("n", range(3))
def test_quick(bt_score, n): bt_score(scores={"exact": 1})

def test_unrecorded(): pass

def test_slow(bt_score):
    bt_score(output="half", scores={"exact": 0.5})
    pathlib.Path("slow").touch()
    time.sleep(60)

@pytest.mark.parametrize("n", range(3))
def test_after(bt_score, n): bt_score(scores={"exact": 1})
"""

#: Raised in a body, or in a fixture.
RAISED = """\
import pytest

def test_before(bt_score): bt_score(scores={{"exact": 1}})

@pytest.fixture
def ending(bt_score):
    bt_score(metadata={{"from": "fixture"}})
    {fixture}

def test_it(bt_score, ending):
    bt_score(output="half", scores={{"exact": 0.5}})
    {body}

def test_after(bt_score): bt_score(scores={{"exact": 1}})
"""


@pytest.mark.parametrize(
    ("body", "fixture"),
    [
        ("raise KeyboardInterrupt", "pass"),
        ("pytest.exit('enough')", "pass"),
        ("pytest.exit('enough', returncode=5)", "pass"),
        ("pass", "pytest.exit('enough')"),
        ("pass", "raise KeyboardInterrupt"),
    ],
)
def test_an_end_from_within_a_test(
    suite: Suite, server: FakeBraintrust, how: list[str], body: str, fixture: str
) -> None:
    """The test is errored, with what it had said."""
    suite.write(test_end=RAISED.format(body=body, fixture=fixture)).sends_to(server)
    ran = suite.run_both(*how)
    counts = ran.honest(server)
    row = ran.row("test_it")
    assert outcome(row) == "errored"
    assert CUT_OFF in row["error"]
    assert "pluggy" not in row["error"], row["error"]
    assert row["metadata"]["from"] == "fixture"
    assert row["scores"] == ({"exact": 0.5} if fixture == "pass" else {})
    assert ran.row("test_before")["scores"] == {"exact": 1, "pass": 1}
    assert counts["errored"] == 1
    assert sum(counts.values()) == 3


def signalled(suite: Suite, args: list[str], *signals: int, group: bool) -> Ran:
    """Run until the slow test is in its body, and send signals."""
    mark = suite.folder / "slow"
    mark.unlink(missing_ok=True)
    process = suite.start(*args, start_new_session=True)
    until = time.monotonic() + 60
    while not mark.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    for number in signals:
        (os.killpg if group else os.kill)(process.pid, number)
        time.sleep(0.3)
    return suite.ended(process)


@pytest.mark.parametrize("group", [True, False], ids=["group", "alone"])
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(
    suite: Suite, server: FakeBraintrust, how: list[str], times: int, *, group: bool
) -> None:
    """What ran is kept and sent; the test that was running is errored."""
    suite.write(test_sleepy=SLEEPY).sends_to(server)
    signals = [signal.SIGINT] * times
    ran = signalled(suite, ["--braintrust", *how], *signals, group=group)
    if times == 1:
        without = signalled(suite, how, *signals, group=group)
        assert ran.status == without.status == pytest.ExitCode.INTERRUPTED
    counts = ran.honest(server)
    # In a worker, another test may have been running too.
    assert counts["errored"] in ({1} if how == [] else {1, 2})
    assert sum(counts.values()) == 8
    row = ran.row("test_slow")
    assert outcome(row) == "errored"
    assert CUT_OFF in row["error"]
    assert row["output"] == "half"
    assert row["scores"] == {"exact": 0.5}
    if not how:
        passed = {nodeid(each) for each in ran.rows() if outcome(each) == "passed"}
        assert passed == {f"test_sleepy.py::test_quick[{n}]" for n in range(3)}


def test_a_terminated_run(suite: Suite, server: FakeBraintrust, how: list[str]) -> None:
    """The uploader outlives pytest for as long as it takes to send what ended."""
    suite.write(test_sleepy=SLEEPY).sends_to(server)
    ran = signalled(suite, ["--braintrust", *how], signal.SIGTERM, group=False)
    assert ran.status == -signal.SIGTERM
    ids = {each["id"] for each in ran.rows()}
    passed = {nodeid(each) for each in ran.rows() if outcome(each) == "passed"}
    assert passed >= {
        f"test_sleepy.py::test_quick[{n}]" for n in range(3 if not how else 0)
    }

    def arrived() -> bool:
        found = server.experiments
        return (
            bool(found) and {each["id"] for each in server.rows(found[0]["id"])} == ids
        )

    server.wait_until(arrived, seconds=30)
    pushed = suite.cli("push")
    assert pushed.status == 0, pushed.out + pushed.err


IN_TEARDOWN = """\
import pytest

@pytest.fixture
def ending():
    yield
    raise KeyboardInterrupt

@pytest.mark.braintrust
def test_says_nothing(ending): pass
"""


def test_an_end_in_a_teardown(
    suite: Suite, server: FakeBraintrust, how: list[str]
) -> None:
    """A body that passed is not measured by half; its row and the count agree."""
    suite.write(test_end=IN_TEARDOWN).sends_to(server)
    ran = suite.run_both(*how)
    assert ran.honest(server) == {"errored": 1}
    row = ran.row("test_says_nothing")
    assert outcome(row) == "errored"
    assert row["scores"] == {}
    assert CUT_OFF in row["error"]


WHILE_LOADING = """\
import sys

class Interrupted:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "pytest_braintrust.session":
            class Loading:
                field = Interrupted()

sys.meta_path.insert(0, Finder())
"""


def test_ctrl_c_while_the_plugin_loads(suite: Suite) -> None:
    """Python has its own error for that while it makes a class; it is no fault."""
    suite.write(test_it="def test_it(): pass\n", conftest=WHILE_LOADING)
    ran = suite.run()
    assert ran.status == pytest.ExitCode.INTERRUPTED
    assert "INTERNALERROR" not in ran.out + ran.err
