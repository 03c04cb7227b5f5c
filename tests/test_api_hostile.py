"""Servers that are broken, slow, or hostile: an error in time, in safe words."""

from __future__ import annotations

import gzip
import socket
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from fake_braintrust import (
    Answer,
    FakeBraintrust,
    Fault,
    answer,
    deep_json,
    drip,
    endless,
    hang,
    html,
    raw,
    redirect,
    reset,
    truncated,
    wrong_types,
)

from pytest_braintrust.api import ONCE, BraintrustClient, Timeouts
from pytest_braintrust.api.deadline import BoundedStream, Deadline
from pytest_braintrust.api.failures import REASON_BYTES, reason
from pytest_braintrust.api.redirects import Hop, onward
from pytest_braintrust.errors import (
    ApiError,
    BadAnswer,
    Overloaded,
    Refused,
    Rejected,
    TooLarge,
    Unreachable,
)

QUICK = Timeouts(connect=2, read=0.5, total=1.0, page_read=0.5, page_total=1.0)
KEY = "sk-very-secret"


@pytest.fixture
def server() -> Iterator[FakeBraintrust]:
    with FakeBraintrust(api_key=KEY) as fake:
        yield fake


@pytest.fixture
def client(server: FakeBraintrust) -> Iterator[BraintrustClient]:
    with BraintrustClient(
        api_key=KEY, api_url=server.url, policy=ONCE, timeouts=QUICK
    ) as made:
        yield made


def failing(call: Callable[[], object]) -> ApiError:
    """The error of a call, after a look for the key in all that it tells."""
    with pytest.raises(ApiError) as caught:
        call()
    told = "".join(traceback.format_exception(caught.value))
    assert KEY not in told
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1_000
    return caught.value


# ---------------------------------------------------------------------------- statuses


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, Refused),
        (403, Refused),
        (404, Rejected),
        (408, Overloaded),
        (413, TooLarge),
        (425, Overloaded),
        (429, Overloaded),
        (500, Overloaded),
        (502, Overloaded),
        (503, Overloaded),
        (504, Overloaded),
        (300, BadAnswer),
        (302, BadAnswer),
    ],
)
def test_status_decides_the_error(
    client: BraintrustClient, server: FakeBraintrust, status: int, kind: type[ApiError]
) -> None:
    server.faults.add(Fault(answer(status, {"message": "why"})))
    error = failing(lambda: client.create_project("p"))
    assert type(error) is kind
    assert f"{server.url}/v1/project answered {status}: why" in str(error)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"message": "a\\u001b[31m\\u202eb"}', "a [31m b"),
        ('{"error": {"message": "inner"}}', "inner"),
        ('{"Message": "of a gateway"}', "of a gateway"),
        ('{"message": 7}', '{"message": 7}'),
        ("<html><h1>Bad\nGateway</h1></html>", "Bad Gateway"),
        (b"\xff\xfe\x00", "��"),
        ("", ""),
        (f"your key {KEY} is bad", "your key [redacted] is bad"),
        (f"<b>{KEY[:5]}\x00{KEY[5:]}</b>", f"{KEY[:5]} {KEY[5:]}"),
        ("<" * 100_000, "<" * 300 + "…"),
        ("x" * 200_000, "x" * 300 + "…"),
        ("[" * 100_000, "[" * 300 + "…"),
    ],
    ids=range(12),
)
def test_reason_is_told_in_safe_words(
    client: BraintrustClient, server: FakeBraintrust, body: bytes | str, told: str
) -> None:
    server.faults.add(Fault(answer(400, body)))
    began = time.monotonic()
    error = failing(lambda: client.create_project("p"))
    assert str(error) == f"{server.url}/v1/project answered 400: {told}"
    assert time.monotonic() - began < 2


def test_reason_is_found_in_time() -> None:
    """Nothing but opening brackets: a careless pattern takes minutes for that."""
    began = time.monotonic()
    reason(b"<" * REASON_BYTES)
    assert time.monotonic() - began < 1


# ----------------------------------------------------------------------- what is no answer


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (html(), BadAnswer),
        (answer(200, ""), BadAnswer),
        (answer(200, b"\xff"), BadAnswer),
        (answer(200, '{"id": Infinity}'), BadAnswer),
        (answer(200, '{"id": 1' + "1" * 5_000 + "}"), BadAnswer),
        (deep_json(), BadAnswer),
        (wrong_types(), BadAnswer),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), Unreachable),
        (raw(b""), Unreachable),
        (raw(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 1_000_000), Unreachable),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), Unreachable),
        (reset(apply=False), Unreachable),
        (reset(apply=True), Unreachable),
        (truncated(), Unreachable),
        (hang(20), Unreachable),
        (hang(20, apply=True), Unreachable),
    ],
)
def test_what_is_no_answer_is_an_error(
    client: BraintrustClient,
    server: FakeBraintrust,
    action: Any,
    kind: type[ApiError],
) -> None:
    server.faults.add(Fault(action))
    assert type(failing(lambda: client.create_project("p"))) is kind


def test_nobody_there_is_an_error() -> None:
    with BraintrustClient(
        api_key=KEY, api_url="http://127.0.0.1:9", policy=ONCE
    ) as client:
        error = failing(lambda: client.create_project("p"))
    assert str(error).startswith("http://127.0.0.1:9 cannot be reached: ")


def test_answers_are_bounded(
    client: BraintrustClient, server: FakeBraintrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_braintrust.api.bodies.MAX_ANSWER_BYTES", 1_000_000)
    server.faults.add(Fault(endless(), times=None))
    error = failing(lambda: client.create_project("p"))
    assert "an answer of more than 1,000,000 bytes was cut off" in str(error)


def test_reason_of_a_failure_is_not_read_to_its_end(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    head = b"HTTP/1.1 500 X\r\nContent-Length: 99999999999\r\n\r\n"
    server.faults.add(Fault(raw(head + b"x" * 200_000)))
    assert "answered 500: xxx" in str(failing(lambda: client.create_project("p")))


# ---------------------------------------------------------------------------- slowness


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


def dripping(before: bytes, piece: bytes) -> Any:
    """An action that sends a beginning, and then a piece again and again."""

    def act(exchange: Any) -> None:
        exchange.write(before)
        while True:
            exchange.write(piece)
            exchange.wait(0.05)

    return act


@pytest.mark.parametrize(
    "action",
    [
        drip(pause=0.1),
        dripping(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
        dripping(HEAD + b"\r\n", b"1\r\n \r\n"),
        dripping(HEAD + b"\r\n1;", b"x"),
        dripping(HEAD + b"Content-Encoding: gzip\r\n\r\n", b"1\r\n\x1f\r\n"),
    ],
    ids=["status line", "headers", "body", "chunk header", "compressed body"],
)
@pytest.mark.parametrize("call", ["answer", "page"])
def test_drops_for_ever_end_at_the_deadline(
    client: BraintrustClient, server: FakeBraintrust, action: Any, call: str
) -> None:
    """Each byte comes in time, and the whole never does."""
    server.faults.add(Fault(action))
    began = time.monotonic()
    if call == "answer":
        error = failing(lambda: client.create_project("p"))
    else:
        error = failing(lambda: list(client.download_dataset("d")))
    assert time.monotonic() - began < 3
    if isinstance(error, Unreachable):
        assert "no whole answer within 1 seconds" in str(error)
    else:
        assert "cannot be inflated" in str(error)


def test_deadline_is_for_one_request(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    """A connection that is kept has no deadline of its own."""
    client.create_project("p")
    time.sleep(1.2)
    client.create_project("p")
    assert len(server.requests) == 2


def test_deadline_holds_behind_a_proxy(
    server: FakeBraintrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the server is the proxy; it is asked for the address of another one."""
    monkeypatch.setenv("HTTP_PROXY", server.app_url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.faults.add(Fault(dripping(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), nth=2))
    with BraintrustClient(
        api_key=KEY, api_url="http://localhost:9", policy=ONCE, timeouts=QUICK
    ) as client:
        client.create_project("p")
        error = failing(lambda: client.create_project("p"))
    assert "no whole answer within 1 seconds" in str(error)


def test_name_that_is_not_found_in_time_is_an_error(
    server: FakeBraintrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system waits for its name servers as long as they are silent."""
    silence = Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: silence.wait(60))
    with BraintrustClient(
        api_key=KEY,
        api_url=server.url,
        policy=ONCE,
        timeouts=replace(QUICK, connect=0.2),
    ) as client:
        error = failing(lambda: client.create_project("p"))
    silence.set()
    assert isinstance(error, Unreachable)
    assert error.nobody_there
    assert "no address of 127.0.0.1 was found within 0.2 seconds" in str(error)
    assert server.requests == []


def test_every_address_of_a_name_is_tried(
    server: FakeBraintrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a name has one of IPv6, and the network has none."""
    found = [(2, 1, 6, "", (each, 0)) for each in ("127.0.0.9", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", resolved := Resolver(found))
    url = server.url.replace("127.0.0.1", "localhost")
    with BraintrustClient(
        api_key=KEY, api_url=url, policy=ONCE, timeouts=QUICK
    ) as client:
        client.create_project("p")
        server.close()
        monkeypatch.setattr(resolved, "found", found[:1])
        assert failing(lambda: client.create_project("q"))


class Resolver:
    """Answers what a name is found to be; numbers are what they are."""

    def __init__(self, found: list[Any]) -> None:
        self.found = found
        self._real = socket.getaddrinfo

    def __call__(self, host: str, *args: Any, **more: Any) -> list[Any]:
        if host == "localhost":
            return self.found
        return self._real(host, *args, **more)


class Wire:
    """A connection that notes the time it is given for each step."""

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []

    def read(self, max_bytes: int, timeout: float | None) -> bytes:
        self.timeouts.append(timeout)
        return b""

    def start_tls(
        self, context: object, host: str | None, timeout: float | None
    ) -> Wire:
        self.timeouts.append(timeout)
        return self


def test_each_step_is_given_the_time_that_is_left() -> None:
    """TLS handshakes too; outside of a request, a step has its own timeout alone."""
    wire, deadline = Wire(), Deadline()
    stream = BoundedStream(wire, deadline)
    stream.read(1, 30)
    stream.read(1)
    with deadline.within(5):
        stream.start_tls(None, timeout=30).read(1, 2)
        stream.read(1)
    assert wire.timeouts == [30, None, pytest.approx(5, abs=1), 2, wire.timeouts[4]]
    assert 4 < (wire.timeouts[4] or 0) < 5
    with deadline.within(0), pytest.raises(TimeoutError):
        stream.read(1, 30)
    assert len(wire.timeouts) == 5


# ----------------------------------------------------------------------- compression


def encoded(body: bytes, encoding: str) -> Any:
    return answer(200, body, {"Content-Encoding": encoding})


FOUND = b'{"id": "1", "name": "found"}'


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (FOUND, "identity"),
        (gzip.compress(FOUND), "gzip"),
        (gzip.compress(FOUND[:9]) + gzip.compress(FOUND[9:]), "x-gzip"),
        (zlib.compress(FOUND), "deflate"),
    ],
    ids=["plain", "gzip", "two members", "deflate"],
)
def test_compressed_answers_are_read(
    client: BraintrustClient, server: FakeBraintrust, body: bytes, encoding: str
) -> None:
    server.faults.add(Fault(encoded(body, encoding)))
    assert client.create_project("p").name == "found"


@pytest.mark.parametrize(
    ("body", "encoding", "told"),
    [
        (FOUND, "gzip", "cannot be inflated"),
        (gzip.compress(FOUND)[:-9], "gzip", "is cut off"),
        (b"", "gzip", "is cut off"),
        (FOUND, "br", "a content encoding that was not asked for"),
        (gzip.compress(gzip.compress(FOUND)), "gzip, gzip", "not asked for"),
        (gzip.compress(b" " * 100_000_000), "gzip", "more than 67,108,864 bytes"),
    ],
    ids=["plain", "cut", "empty", "brotli", "twice", "bomb"],
)
def test_bad_compression_is_an_error(
    client: BraintrustClient,
    server: FakeBraintrust,
    body: bytes,
    encoding: str,
    told: str,
) -> None:
    server.faults.add(Fault(encoded(body, encoding)))
    error = failing(lambda: client.create_project("p"))
    assert type(error) is BadAnswer
    assert told in str(error)


# -------------------------------------------------------------------------- redirects


def test_redirect_to_another_host_goes_without_the_key(server: FakeBraintrust) -> None:
    """httpx takes the key out of such a request by itself, and leaves the user in."""
    with BraintrustClient(
        api_key=KEY, api_url=server.url, impersonate_user="someone", policy=ONCE
    ) as client:
        server.faults.add(Fault(redirect(), times=None))
        with pytest.raises(BadAnswer):  # the other host answers `{}`
            client.create_project("p")
        with pytest.raises(BadAnswer):
            client.get_project("p")
    assert [each.method for each in server.elsewhere.requests] == ["POST", "GET"]
    for request in server.elsewhere.requests:
        assert not {"authorization", "x-bt-impersonate-user"} & set(request.headers)
        assert KEY not in str(request.headers)


def test_way_back_goes_without_the_key_too(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    """Once a request was elsewhere, its address is somebody else's choice."""
    home = {"Location": f"{server.url}/v1/project/1"}
    there = server.elsewhere.store(Answer(302, b"", home))
    server.faults.add(Fault(redirect(there, 302)))
    assert isinstance(failing(lambda: client.get_project("1")), Overloaded)
    assert server.requests[1].key is None


def test_redirect_on_the_same_host_keeps_the_request(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    server.faults.add(Fault(redirect(f"{server.url}/v1/project", 308)))
    assert client.create_project("p").name == "p"
    assert server.requests[1].key == KEY
    assert server.requests[1].json == {"name": "p"}


@pytest.mark.parametrize("status", [301, 302, 303])
def test_write_is_not_turned_into_a_read(
    client: BraintrustClient, server: FakeBraintrust, status: int
) -> None:
    """The success of a GET would say nothing about what was to be written."""
    server.faults.add(Fault(redirect(f"{server.url}/v1/project", status)))
    error = failing(lambda: client.create_project("p"))
    assert "redirects a request that writes" in str(error)
    assert len(server.requests) == 1


def test_redirects_in_a_circle_end(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    where = f"{server.url}/v1/project"
    server.faults.add(Fault(redirect(where), times=None))
    error = failing(lambda: client.create_project("p"))
    assert "redirects more than 5 times" in str(error)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "where",
    [
        "ftp://127.0.0.1/x",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://[::1",
        "http://a:port/",
        "http://a:99999/",
    ],
)
def test_redirect_to_nowhere_is_an_error(
    client: BraintrustClient, server: FakeBraintrust, where: str
) -> None:
    server.faults.add(Fault(redirect(where)))
    error = failing(lambda: client.create_project("p"))
    assert "redirects to something that is not an address" in str(error)


def test_redirect_to_what_httpx_takes_for_no_address_is_an_error(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    server.faults.add(Fault(redirect("http://a..b/", 307)))
    assert isinstance(failing(lambda: client.create_project("p")), ApiError)


def test_redirect_leaves_no_encryption_behind() -> None:
    hop = Hop("GET", "https://api.example/v1/project", None)
    with pytest.raises(BadAnswer, match="redirects from https to http"):
        onward(hop, 307, "http://api.example/v1/project", reads=False)
    with pytest.raises(BadAnswer, match="redirects from https to http"):
        onward(hop, 307, "http://other.example/", reads=False)


@pytest.mark.parametrize(
    ("location", "at_home"),
    [
        ("/other", True),
        ("https://api.example:443/other", True),
        ("https://API.example/other", True),
        ("https://api.example:8443/other", False),
        ("https://api.example.evil/other", False),
        ("https://api.example@evil/other", False),
        ("//evil/other", False),
    ],
)
def test_home_is_one_scheme_host_and_port(location: str, *, at_home: bool) -> None:
    hop = Hop("GET", "https://api.example/v1/project", None)
    assert onward(hop, 302, location, reads=False).at_home is at_home


# ------------------------------------------------------------------- pages without end


def test_cursor_that_repeats_is_an_error(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    page = {"events": [{"id": "1"}], "cursor": "again"}
    server.faults.add(Fault(answer(200, page), times=None))
    assert "cursor repeats" in str(failing(lambda: list(client.fetch_dataset("d"))))


def test_rows_that_were_sent_before_end(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    """A new cursor each time, and nothing new."""

    def act(exchange: Any) -> None:
        page = {"events": [{"id": "1"}], "cursor": str(len(server.requests))}
        answer(200, page)(exchange)

    server.faults.add(Fault(act, times=None))
    error = failing(lambda: list(client.fetch_dataset("d")))
    assert "100 pages of rows that it had sent before" in str(error)
    assert len(server.requests) == 101
