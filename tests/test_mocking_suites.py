"""Suites that mock what we would need still pass, and every row is on the server."""

from __future__ import annotations

import time
from datetime import datetime

import pytest
from conftest import HTTPX, Suite
from fake_braintrust import FakeBraintrust
from test_delivery import delivered

RESPX, SOCKET = "respx.plugin", "pytest_socket"

MODES = pytest.mark.parametrize(
    "args", [(), ("-p", "xdist", "-n2")], ids=["plain", "-n2"]
)

#: By the plugins, with their defaults: what is not expected fails the test, and so
#: does what was expected and not asked for.
HTTP = """\
import httpx, pytest, respx

@pytest.mark.parametrize("n", range(3))
def test_pytest_httpx(bt_score, httpx_mock, n):
    httpx_mock.add_response(url="https://llm.example/v1", json={"answer": n})
    answer = httpx.post("https://llm.example/v1", json={}).json()["answer"]
    bt_score(output=answer, scores={"exact": answer == n})

@pytest.mark.asyncio
async def test_async(bt_score, httpx_mock):
    httpx_mock.add_response(json={"answer": 7})
    async with httpx.AsyncClient() as client:
        bt_score(output=(await client.get("https://llm.example/")).json()["answer"])

@pytest.mark.parametrize("n", range(3))
@respx.mock
def test_respx(bt_score, n):
    respx.get("https://llm.example/").respond(json={"answer": n})
    bt_score(output=httpx.get("https://llm.example/").json()["answer"])
    with pytest.raises(respx.models.AllMockedAssertionError):
        httpx.get("https://elsewhere.example/")

def test_respx_fixture(bt_score, respx_mock):
    respx_mock.get("https://llm.example/").mock(side_effect=httpx.ConnectError)
    with pytest.raises(httpx.ConnectError):
        httpx.get("https://llm.example/")
    bt_score(output="down")
"""

FROZEN = """\
import datetime, time
import pytest
from freezegun import freeze_time

@freeze_time("2001-01-01")
def test_decorated(bt_score):
    bt_score(output=str(datetime.datetime.now()))
    assert time.time() < 1e9

@freeze_time("2001-01-01", tick=True)
class TestTicking:
    def test_one(self, bt_score): bt_score(output=time.time())

@freeze_time("2001-01-01", auto_tick_seconds=86_400)
def test_jumping(bt_score):
    for n in range(10):
        bt_score(output=n)
        time.monotonic()

@pytest.fixture
def frozen():
    with freeze_time("2001-01-01") as clock:
        yield clock

def test_fixture(bt_score, frozen):
    bt_score(output=1)
    frozen.move_to("2090-01-01")
    with bt_score.row("second") as row:
        row(output=2)
"""

#: All that a library for cassettes, or somebody in a hurry, puts in place of the real.
PATCHED = """\
import os, socket, ssl, subprocess, threading, time
from unittest import mock
import pytest

def forbidden(*args, **more):
    raise AssertionError("the test's world has no such thing")

@pytest.mark.parametrize("n", range(4))
def test_patched(bt_score, monkeypatch, n):
    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "create_connection", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(ssl, "SSLContext", forbidden)
    monkeypatch.setattr(ssl, "create_default_context", forbidden)
    monkeypatch.setattr(subprocess, "Popen", [forbidden, mock.MagicMock()][n % 2])
    monkeypatch.setattr(subprocess, "run", mock.MagicMock())
    monkeypatch.setattr(threading, "Thread", forbidden)
    monkeypatch.setattr(time, "sleep", mock.MagicMock())
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(os, "environ", {})
    found = bt_score.experiment
    assert found.name and found.project == "suite"
    bt_score(output=n)
"""


@MODES
def test_http_libraries_may_be_mocked(
    suite: Suite, server: FakeBraintrust, args: tuple[str, ...]
) -> None:
    """Neither do they see our requests nor do we see their answers."""
    suite.with_plugins(HTTPX, RESPX, "pytest_asyncio.plugin")
    ran = suite.write(test_http=HTTP).sends_to(server).run(*args)
    assert ran.status == 0, ran.out
    delivered(ran, server, 8)


@MODES
def test_sockets_may_be_forbidden(
    suite: Suite, server: FakeBraintrust, args: tuple[str, ...]
) -> None:
    """With `--disable-socket` no test reaches the network, and its row does."""
    text = """
import socket
import pytest
from pytest_socket import SocketBlockedError

@pytest.mark.parametrize("n", range(4))
def test_blocked(bt_score, n):
    with pytest.raises(SocketBlockedError):
        socket.socket()
    bt_score(output=n)
"""
    suite.with_plugins(SOCKET)
    ran = suite.write(test_it=text).sends_to(server).run("--disable-socket", *args)
    assert ran.status == 0, ran.out
    delivered(ran, server, 4)


@MODES
def test_clocks_may_be_frozen(
    suite: Suite, server: FakeBraintrust, args: tuple[str, ...]
) -> None:
    """The times in rows are the world's, not the test's."""
    started = time.time()
    ran = suite.write(test_frozen=FROZEN).sends_to(server).run(*args)
    assert ran.status == 0, ran.out
    delivered(ran, server, 5)
    for row in ran.rows():
        told = row["metrics"]
        assert started - 1 <= told["start"] <= told["end"] <= time.time() + 1
        created = datetime.fromisoformat(row["created"]).timestamp()
        assert started - 1 <= created <= time.time() + 1


@MODES
def test_anything_may_be_patched(
    suite: Suite, server: FakeBraintrust, args: tuple[str, ...]
) -> None:
    """A test that has no network, no processes and no clock of its own has its row."""
    ran = suite.write(test_patched=PATCHED).sends_to(server).run(*args)
    assert ran.status == 0, ran.out
    delivered(ran, server, 4)


#: As a whole suite does it: before the first hook, and never undone.
FOR_GOOD = {
    "time": """\
from freezegun import freeze_time
freeze_time("2001-01-01").start()
""",
    "sleep": "import time; time.sleep = lambda seconds: None",
    "clocks": "import time; time.time = time.monotonic = lambda: 0.0",
    "sockets": """\
import socket
def forbidden(*args, **more):
    raise RuntimeError("no network in tests")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = forbidden
""",
    "httpx": """\
import httpx
httpx.Client.send = httpx.AsyncClient.send = None
""",
}


@pytest.mark.parametrize("what", FOR_GOOD)
def test_a_conftest_may_patch_for_good(
    suite: Suite, server: FakeBraintrust, what: str
) -> None:
    """The run ends all the same, with every row on the server."""
    started = time.time()
    text = """
import pytest

@pytest.mark.parametrize("n", range(4))
def test_it(bt_score, n): bt_score(output=n)
"""
    suite.write(conftest=FOR_GOOD[what], test_it=text)
    ran = suite.sends_to(server).run(seconds=60)
    assert ran.status == 0, ran.out
    delivered(ran, server, 4)
    assert all(each["metrics"]["start"] >= started - 1 for each in ran.rows())


@pytest.mark.parametrize("what", ["sockets", "httpx"])
def test_what_cannot_be_sent_from_here_is_kept(
    suite: Suite, server: FakeBraintrust, what: str
) -> None:
    """Where no process can be started either, it is a warning and not a failure."""
    broken = "import subprocess\nsubprocess.Popen = None\n"
    text = "def test_it(bt_score): bt_score(output=1)"
    suite.write(conftest=FOR_GOOD[what] + broken, test_it=text)
    ran = suite.sends_to(server).run("--braintrust-flush-timeout=1")
    assert ran.status == 0, ran.out + ran.err
    assert "1 recorded = 0 sent + 1 pending" in ran.section
    assert "send with: pytest-braintrust push" in ran.section
    assert suite.cli("push").status == 0
    assert len(server.rows(server.experiments[0]["id"])) == 1
