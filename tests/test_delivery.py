"""Whatever becomes of the uploader, of pytest or of the server: the rows arrive later."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from conftest import Ran, Suite
from fake_braintrust import (
    Exchange,
    FakeBraintrust,
    Fault,
    Request,
    answer,
    hang,
    reset,
)
from test_recording import CAPITALS

from pytest_braintrust.ends import ENDED_WITH

INSERT = r"/insert$"

#: Finds the uploader of a run from inside of it.
HELPERS = """\
import os, signal, time
from pathlib import Path

def pytests():
    \"\"\"The process that has the terminal, and the one that this runs in.\"\"\"
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()

def uploader():
    for each in Path("/proc").iterdir():
        try:
            if not each.name.isdigit():
                continue
            parent = (each / "stat").read_text().rpartition(")")[2].split()[1]
            words = (each / "cmdline").read_bytes().split(b"\\0")
        except OSError:
            continue
        if int(parent) == pytests() and b"pytest_braintrust.service" in words:
            return int(each.name)

def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.02)
"""


def requests(server: FakeBraintrust, path: str = INSERT) -> list[Request]:
    return [each for each in server.requests if each.path.endswith(path.strip("$"))]


def inserted(server: FakeBraintrust) -> int:
    """How many rows came, those that came twice counted twice."""
    return sum(len(each.json["events"]) for each in requests(server))


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for something to be so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.02)


def delivered(ran: Ran, server: FakeBraintrust, count: int) -> None:
    """Check that a run recorded so many rows and the server has each of them once."""
    assert f"{count} recorded = {count} sent + 0 pending" in ran.section
    (experiment,) = server.experiments
    ids = [each["id"] for each in server.rows(experiment["id"])]
    assert sorted(ids) == sorted(each["id"] for each in ran.rows())
    ran.honest(server)


# ------------------------------------------------------------------------- the uploader

KILLED = (
    HELPERS
    + """
import pytest

@pytest.mark.parametrize("n", range(20))
def test_it(bt_score, n):
    bt_score(output=n)
    if n == 10:
        os.kill(uploader(), signal.SIGKILL)
"""
)


@pytest.mark.parametrize("args", [(), ("-p", "xdist", "-n2")], ids=["plain", "-n2"])
def test_an_uploader_that_is_killed_is_replaced_at_the_end(
    suite: Suite, server: FakeBraintrust, args: tuple[str, ...]
) -> None:
    """Another one sends what the first had not sent."""
    ran = suite.write(test_it=KILLED).sends_to(server).run(*args)
    assert ran.status == 0, ran.out
    delivered(ran, server, 20)


NO_PROCESS = {
    "Popen fails": """\
import subprocess
def broken(*args, **more):
    raise OSError(11, "no more processes")
subprocess.Popen = broken
""",
    "Popen is a mock": """\
import subprocess, unittest.mock
subprocess.Popen = unittest.mock.MagicMock()
""",
    "Popen refuses": """\
import subprocess
class Forbidden:
    def __init__(self, *args, **more):
        raise RuntimeError("no processes in tests")
subprocess.Popen = Forbidden
""",
    "no executable": "import sys; sys.executable = ''",
    "a lost executable": "import sys; sys.executable = '/no/such/python'",
    "another program": "import sys; sys.executable = '/bin/true'",
}


@pytest.mark.parametrize("name", NO_PROCESS)
def test_without_a_process_the_end_does_it_all(
    suite: Suite, server: FakeBraintrust, name: str
) -> None:
    """The check and the sending are done by pytest's own process then."""
    suite.write(test_geo=CAPITALS, conftest=NO_PROCESS[name]).sends_to(server)
    # The check is first of all: a question that comes once, and then is asked again.
    server.faults.add(Fault(reset(apply=True), path=INSERT))
    ran = suite.run()
    assert ran.status == 0, ran.out + ran.err
    assert "braintrust: " not in ran.out.partition("= braintrust =")[0]
    delivered(ran, server, 3)
    assert server.experiments[0]["metadata"][ENDED_WITH] == 0
    server.revoke_key(server.api_key)
    again = suite.run()
    assert again.status == 4
    assert "answered 401" in again.err


def test_without_a_process_the_end_is_bounded_too(
    suite: Suite, server: FakeBraintrust
) -> None:
    """A server that hangs costs the flush timeout and no more, in any process."""
    suite.write(test_geo=CAPITALS, conftest=NO_PROCESS["Popen fails"]).sends_to(server)
    server.faults.add(Fault(hang(60), path=INSERT, times=None))
    ran = suite.run("--braintrust-flush-timeout=1", seconds=40)
    assert ran.status == 0, ran.out
    assert "3 recorded = 0 sent + 3 pending" in ran.section
    assert "no whole answer within 1 seconds" in ran.section


# --------------------------------------------------------------------------------- pytest

DYING = (
    HELPERS
    + """
import pytest

@pytest.mark.parametrize("n", range(20))
def test_it(bt_score, n):
    bt_score(output=n)
    if n == 10:
        Path("uploader").write_text(str(uploader()))
        Path("now").touch()
        wait_for("never")
"""
)


@pytest.mark.parametrize("args", [(), ("-p", "xdist", "-n2")], ids=["plain", "-n2"])
def test_when_pytest_is_killed_the_uploader_finishes_and_ends(
    suite: Suite, server: FakeBraintrust, args: tuple[str, ...]
) -> None:
    """What was reported arrives without anybody, and no process is left."""
    suite.write(test_it=DYING).sends_to(server)
    process = suite.start("--braintrust", *args)
    wait_until((suite.folder / "now").exists)
    pid = int((suite.folder / "uploader").read_text())
    assert alive(pid)
    process.kill()
    process.communicate()
    wait_until(lambda: not alive(pid))
    ran = Ran(0, "", "", suite.folder / ".braintrust")
    kept = ran.rows()
    assert len(kept) >= 5
    (experiment,) = server.experiments
    ids = [each["id"] for each in server.rows(experiment["id"])]
    assert sorted(ids) == sorted(each["id"] for each in kept)
    # It has removed what it had for itself.
    assert not list(suite.temporary.glob("pytest-braintrust-*"))
    suite.check_secret()


# ----------------------------------------------------------------------------- the server

WAITING = (
    HELPERS
    + """
import pytest

@pytest.mark.parametrize("n", range(6))
def test_it(bt_score, n):
    bt_score(output=n)
    if n == 3:
        Path("now").touch()
        wait_for("go on")
"""
)


def at_half_time(suite: Suite, do: Callable[[], object], *args: str) -> Ran:
    """Run six tests, and do something after the third."""
    process = suite.write(test_it=WAITING).start("--braintrust", *args)
    wait_until((suite.folder / "now").exists)
    do()
    (suite.folder / "go on").touch()
    return suite.ended(process)


def test_a_server_that_comes_up_in_mid_run_gets_every_row(suite: Suite) -> None:
    """One warning at the start, and nothing is pending at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    late: list[FakeBraintrust] = []
    url = f"http://127.0.0.1:{port}"
    suite.environment.update(BRAINTRUST_API_KEY="key-of-late", BRAINTRUST_API_URL=url)

    def come_up() -> None:
        late.append(FakeBraintrust(api_key="key-of-late", port=port))

    ran = at_half_time(suite, come_up)
    with late[0] as server:
        assert ran.status == 0, ran.out
        assert "cannot be reached" in ran.out
        delivered(ran, server, 6)


def test_a_key_that_is_revoked_in_mid_run_is_said_once(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The server is left alone with it, rows are kept, and a new key sends them."""
    suite.sends_to(server)
    refused: list[int] = []

    def revoke() -> None:
        wait_until(lambda: inserted(server) >= 2)
        server.revoke_key(server.api_key)
        refused.append(len(server.requests))

    ran = at_half_time(suite, revoke)
    assert ran.status == 0
    assert "= 2 sent + 4 pending" in ran.section
    assert " ".join(ran.out.split()).count("answered 401") == 1
    assert "send with: pytest-braintrust push" in ran.section
    # What was under way, and one more.
    assert len(server.requests) - refused[0] <= 2
    server.add_key(server.api_key)
    assert suite.cli("push").status == 0
    assert len(server.rows(server.experiments[0]["id"])) == 6


def test_the_flush_timeout_bounds_the_end(suite: Suite, server: FakeBraintrust) -> None:
    """What is not acknowledged by then is pending, and a log has no progress bar."""
    server.faults.add(Fault(hang(60), path=INSERT, times=None))
    suite.write(test_geo=CAPITALS).sends_to(server)
    ran = suite.run("--braintrust-flush-timeout=1", seconds=40)
    assert ran.status == 0
    assert "3 recorded = 0 sent + 3 pending" in ran.section
    assert "not all rows were acknowledged within 1 seconds" in ran.section
    assert "sending [" not in ran
    server.faults.clear()
    command = suite.cli("push")
    assert command.status == 0
    assert "sending [" not in command
    delivered_ids = [each["id"] for each in server.rows(server.experiments[0]["id"])]
    assert sorted(delivered_ids) == sorted(each["id"] for each in ran.rows())


#: Half of the tests, a moment for the world to change, and the other half.
LATER = (
    HELPERS
    + """
import pytest

@pytest.mark.parametrize("n", range(6))
def test_it(bt_score, n):
    if n == 3:
        Path("uploader").write_text(str(uploader()))
        Path("half").touch()
        wait_for("changed")
    bt_score(output=n)
"""
)


@pytest.mark.parametrize("process", ["child", "none"])
def test_a_server_that_died_meanwhile_is_not_waited_for(
    suite: Suite, server: FakeBraintrust, process: str
) -> None:
    """Not for the flush timeout: nothing is acknowledged, and nobody is there."""
    broken = NO_PROCESS["Popen fails"] if process == "none" else ""
    suite.write(test_it=LATER, conftest=broken).sends_to(server)
    running = suite.start("--braintrust", "--braintrust-flush-timeout=600")
    wait_until((suite.folder / "half").exists)
    server.close()
    (suite.folder / "changed").touch()
    ran = suite.ended(running, seconds=60)
    assert ran.status == 0
    assert "+ " in ran.section
    assert "cannot be reached" in ran.section
    assert "send with: pytest-braintrust push" in ran.section


def test_nobody_is_left_where_pytest_and_the_server_are_gone(
    suite: Suite, server: FakeBraintrust
) -> None:
    """CI ends a job, and its network with it: so does the uploader."""
    suite.write(test_it=LATER).sends_to(server)
    running = suite.start("--braintrust")
    wait_until((suite.folder / "half").exists)
    server.close()
    running.terminate()
    running.communicate()
    pid = int((suite.folder / "uploader").read_text())
    wait_until(lambda: not alive(pid), seconds=20)


def test_nobody_is_left_where_pytest_is_gone_and_the_server_is_silent(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The uploader stays no longer than pytest would have waited; no row is lost."""
    silence = server.faults.add(Fault(hang(600), path=INSERT, times=None))
    suite.write(test_it=LATER).sends_to(server)
    running = suite.start("--braintrust", "--braintrust-flush-timeout=1")
    wait_until((suite.folder / "half").exists)
    server.wait_until(lambda: silence.struck)
    running.kill()
    running.communicate()
    pid = int((suite.folder / "uploader").read_text())
    # Half the time that the one request may take.
    wait_until(lambda: not alive(pid), seconds=15)
    assert not list(suite.temporary.glob("pytest-braintrust-*"))
    server.faults.clear()
    assert suite.cli("push").status == 0
    (experiment,) = server.experiments
    assert len(server.rows(experiment["id"])) == 3


def test_an_uploader_whose_pytest_is_gone_sends_as_long_as_rows_arrive(
    suite: Suite, server: FakeBraintrust
) -> None:
    """However long all of them take."""

    def slowly(exchange: Exchange) -> None:
        made = exchange.apply()
        exchange.wait(0.5 if made.status == 200 else 0)
        exchange.send(made)

    server.knobs.max_request_bytes = 60_000
    server.faults.add(Fault(slowly, path=INSERT, times=None))
    large = LATER.replace("output=n", "output=f'{n:050000}'").replace("6", "9")
    suite.write(test_it=large.replace("n == 3", "n == 8")).sends_to(server)
    running = suite.start("--braintrust", "--braintrust-flush-timeout=3")
    wait_until((suite.folder / "half").exists)
    running.kill()
    running.communicate()
    pid = int((suite.folder / "uploader").read_text())
    wait_until(lambda: not alive(pid))
    (experiment,) = server.experiments
    assert len(server.rows(experiment["id"])) == 8


def test_no_wait_at_all_may_be_asked_for(suite: Suite, server: FakeBraintrust) -> None:
    """With a flush timeout of 0 the rows are simply left for later."""
    server.faults.add(Fault(hang(60), path=INSERT, times=None))
    ran = (
        suite.write(test_geo=CAPITALS)
        .sends_to(server)
        .run("--braintrust-flush-timeout=0")
    )
    assert "3 recorded = 0 sent + 3 pending" in ran.section


def test_rows_that_are_refused_or_cut_are_named(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The summary says which, and why; the others are sent."""
    text = """
def test_good(bt_score): bt_score(output="good")
def test_bad(bt_score): bt_score(output="bad")
def test_large(bt_score): bt_score(output="x" * 100_000)
"""
    server.knobs.poison = lambda event: event["output"] == "bad"
    server.knobs.max_request_bytes = 50_000
    ran = suite.write(test_it=text).sends_to(server).run()
    assert ran.status == 0
    told = " ".join(ran.section.split())
    assert "3 recorded = 2 sent + 1 pending" in told
    assert "Braintrust refuses test_it.py::test_bad: " in told
    assert "is poison" in told
    assert "test_it.py::test_large is on Braintrust in part, " in told
    assert "1 row kept; try again with: pytest-braintrust push" in told
    server.knobs.poison = None
    assert suite.cli("push").status == 0
    assert len(server.rows(server.experiments[0]["id"])) == 3


def test_many_quick_tests_are_few_requests(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Rows that were recorded meanwhile go together, and each of them once."""
    text = """
import pytest
@pytest.mark.parametrize("n", range(3000))
def test_it(bt_score, n): bt_score(output=n, scores={"exact": 1})
"""
    started = time.monotonic()
    ran = suite.write(test_it=text).sends_to(server).run("-q")
    seconds = time.monotonic() - started
    assert ran.status == 0
    assert "3000 recorded = 3000 sent + 0 pending" in ran
    assert inserted(server) == 3000
    # One a second while tests run, and at the end one for each thousand.
    assert len(requests(server)) <= seconds + 4


# --------------------------------------------------------------------------- the terminal


class Terminal:
    """A run at a terminal, and what it shows."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self.text = ""

    def read_until(self, text: str, seconds: float = 60) -> None:
        """Read until it shows a text."""
        until = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < until, self.text
            if not self._read():
                break
        assert text in self.text

    def ended(self) -> int:
        """Read to the end; answers the exit status."""
        while self._read():
            pass
        os.close(self._master)
        return self.process.wait(60)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 0.2)
        if not ready:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux tells the end
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)


def at_a_terminal(suite: Suite, *args: str) -> Terminal:
    return Terminal(suite.command("--braintrust", *args), suite.folder, suite.env())


def test_a_terminal_sees_how_far_it_is(suite: Suite, server: FakeBraintrust) -> None:
    """A bar while the rows are on their way, gone when they have arrived."""
    server.faults.add(Fault(hang(1.5), path=INSERT))
    shown = at_a_terminal(suite.write(test_geo=CAPITALS).sends_to(server))
    assert shown.ended() == 0
    assert "braintrust: sending [" in shown.text
    assert "0/3" in shown.text
    last = shown.text.rpartition("braintrust: sending [")[2]
    # Whatever is written over it begins at the line's start.
    assert last.partition("]")[2].lstrip(" 0123456789/").startswith("\r")
    assert "3 recorded = 3 sent + 0 pending" in last
    suite.check_secret(shown.text)


def test_ctrl_c_ends_the_wait_and_keeps_the_rows(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The exit status is that of the tests: they had ended."""
    server.faults.add(Fault(hang(60), path=INSERT, times=None))
    suite.write(test_geo=CAPITALS).sends_to(server)
    shown = at_a_terminal(suite)
    shown.read_until("braintrust: sending [")
    shown.process.send_signal(signal.SIGINT)
    assert shown.ended() == 0
    assert "not waiting for the rest; the rows are kept" in shown.text
    assert "3 recorded = 0 sent + 3 pending" in shown.text
    server.faults.clear()
    assert suite.cli("push").status == 0
    assert len(server.rows(server.experiments[0]["id"])) == 3


# ---------------------------------------------------------------------------------- the key

LOOKING = (
    HELPERS
    + """
import subprocess

def test_look(bt_score):
    key = os.environ["BRAINTRUST_API_KEY"]
    assert key not in subprocess.run(["ps", "-efww"], capture_output=True, text=True).stdout
    lines = [each.read_bytes() for each in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [each for each in lines if key.encode() in each]
    child = Path(f"/proc/{uploader()}/environ").read_bytes()
    assert b"PATH=" in child and key.encode() not in child
    bt_score(input=key, output={"deep": [f"Bearer {key}"]}, metadata={key: key})

def test_fails(bt_score):
    key = os.environ["BRAINTRUST_API_KEY"]
    bt_score(error=key)
    raise ValueError("of its own accord")
"""
)


@pytest.mark.parametrize("args", [(), ("-p", "xdist", "-n2")], ids=["plain", "-n2"])
def test_the_key_is_nowhere(
    suite: Suite, server: FakeBraintrust, args: tuple[str, ...]
) -> None:
    """In no file, output, process list or row, though tests log it and a run fails."""
    # Of this test alone: other processes of this machine are looked at.
    key = f"key-{uuid4()}"
    server.add_key(key)
    suite.write(test_look=LOOKING).sends_to(server)
    suite.environment["BRAINTRUST_API_KEY"] = key
    suite.environment["COPY_OF_THE_KEY"] = f"token {key}"
    server.faults.add(Fault(answer(500, {"message": key}), path=INSERT))
    ran = suite.run("-vv", "--debug", "--tb=long", *args)
    assert ran.status == 1, ran.out
    assert "of its own accord" in ran.out
    assert (suite.folder / "pytestdebug.log").exists()
    rows = server.rows(server.experiments[0]["id"])
    assert len(rows) == 2
    assert key not in str(rows)


def test_a_key_of_the_command_line_is_nowhere_else(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Given as an option, in `PYTEST_ADDOPTS` too, it goes no further than pytest."""
    key = f"key-{uuid4()}"
    server.add_key(key)
    text = HELPERS + (
        "def test_look(bt_score):\n"
        "    child = Path(f'/proc/{uploader()}/environ').read_bytes()\n"
        "    bt_score(output=os.environ['PYTEST_ADDOPTS'].split()[-1].encode() in child)"
    )
    suite.write(test_look=text).sends_to(server)
    del suite.environment["BRAINTRUST_API_KEY"]
    suite.environment["PYTEST_ADDOPTS"] = f"--braintrust-api-key {key}"
    ran = suite.run()
    delivered(ran, server, 1)
    assert ran.row("test_look")["output"] is False
    (experiment,) = server.experiments
    assert experiment["metadata"]["arguments"][:2] == [
        "--braintrust-api-key",
        "[redacted]",
    ]
    assert not suite.holding(key)
    assert key not in ran
