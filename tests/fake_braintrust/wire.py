"""HTTP on loopback: requests in, bytes out, and an end that waits for nobody.

Answers are written as raw bytes, because half of what a fault does is bytes that an
HTTP library would refuse to send.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived; `time` is `time.monotonic()`'s."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    time: float

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def key(self) -> str | None:
        """The key that came as a bearer token."""
        scheme, _, key = self.headers.get("authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else None

    @property
    def impersonated(self) -> str | None:
        """The user id of `x-bt-impersonate-user`."""
        return self.headers.get("x-bt-impersonate-user")

    def param(self, name: str) -> str | None:
        """The last value of a query parameter."""
        values = self.query.get(name)
        return values[-1] if values else None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def head(self, framing: str | None = None) -> bytes:
        """The status line and headers, framed by the body's length unless told."""
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [framing or f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode("utf-8")


def json_answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """An answer with a JSON body."""
    body = json.dumps(value).encode()
    return Answer(status, body, {"Content-Type": "application/json", **(headers or {})})


class Exchange:
    """One request and the connection that its answer goes to."""

    def __init__(self, handler: _Handler, request: Request) -> None:
        self.request = request
        self._handler = handler
        self._server = handler.server

    @property
    def elsewhere(self) -> str:
        """The address of another host."""
        return self._server.elsewhere

    def apply(self) -> Answer:
        """Do what the call asks for; its answer is not sent yet."""
        return self._server.apply(self.request)

    def send(self, answer: Answer) -> None:
        """Send a whole answer."""
        bare = self.request.method == "HEAD" or answer.status in {204, 304}
        self.write(answer.head() + (b"" if bare else answer.body))

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._handler.connection.sendall(data)

    def hang_up(self) -> None:
        """Close the connection after this exchange."""
        self._handler.close_connection = True

    def reset(self) -> None:
        """Close the connection with a RST."""
        linger = struct.pack("ii", 1, 0)
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.hang_up()

    def wait(self, seconds: float) -> None:
        """Wait, unless the server closes: then the connection ends here."""
        if self._server.closing.wait(seconds):
            raise ConnectionAbortedError


def _nothing(_: Request) -> Answer:
    return json_answer({})


class HttpServer(ThreadingHTTPServer):
    """Serves on a loopback port from its making until `close`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        respond: Callable[[Exchange], None],
        *,
        name: str,
        port: int = 0,
        apply: Callable[[Request], Answer] = _nothing,
        elsewhere: str = "",
    ) -> None:
        self.respond = respond
        self.apply = apply
        self.elsewhere = elsewhere
        self.closing = threading.Event()
        #: Errors of the server's own code, which a test should not miss.
        self.errors: list[BaseException] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._handlers: list[threading.Thread] = []
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://{name}:{self.server_port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """End every connection and thread."""
        if self.closing.is_set():
            return
        self.closing.set()
        # Wakes the acceptor: serve_forever's polling would make a close wait for it.
        socket.create_connection(("127.0.0.1", self.server_port)).close()
        self._acceptor.join()
        self.server_close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._handlers:
            thread.join(5)

    def _accept(self) -> None:
        while not self.closing.is_set():
            self.handle_request()

    def server_bind(self) -> None:
        # HTTPServer asks the resolver for the host's name here, which may take long.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            daemon=True,
        )
        with self._lock:
            self._open.add(request)
            self._handlers = [each for each in self._handlers if each.is_alive()]
            self._handlers.append(thread)
            thread.start()

    def shutdown_request(self, request: Any) -> None:
        # No socket.shutdown: it would send a FIN ahead of a fault's RST.
        with self._lock:
            self._open.discard(request)
            self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what this server is for: nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            self._answer(self._request())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""

    def _request(self) -> Request:
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._body()
        return Request(
            self.command, address.path, query, headers, body, time.monotonic()
        )

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return b"".join(iter(self._chunk, b""))
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            msg = "the client died while it sent"
            raise ConnectionResetError(msg)
        return body

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _answer(self, request: Request) -> None:
        try:
            self.server.respond(Exchange(self, request))
        except OSError:
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 - shown when the server closes
            self.server.errors.append(error)
            self.close_connection = True
