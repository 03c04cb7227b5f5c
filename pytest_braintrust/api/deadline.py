"""A bound in time on everything that one request does on the network.

A read timeout alone is none: a server that sends one byte before each timeout, of
the headers or of a chunk's length, holds its caller for hours. Nor is a connect
timeout: the system looks a name up for as long as its name servers are silent.
"""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

from pytest_braintrust.clocks import monotonic


class Deadline(threading.local):
    """The moment at which the request that this thread is in has to be done."""

    until = math.inf
    #: When the last byte came, if one came.
    heard = -math.inf

    @contextmanager
    def within(self, seconds: float) -> Iterator[Deadline]:
        """Bound everything inside, together, by some seconds."""
        self.until, self.heard = monotonic() + seconds, -math.inf
        try:
            yield self
        finally:
            self.until = math.inf

    @property
    def over(self) -> bool:
        """Whether that moment is past."""
        return monotonic() >= self.until

    def left(self, timeout: float | None) -> float | None:
        """Seconds that the next step may take, given its own timeout.

        Raises:
            TimeoutError: none is left.
        """
        if self.until == math.inf:
            return timeout
        left = self.until - monotonic()
        if left <= 0:
            raise TimeoutError
        return left if timeout is None else min(left, timeout)


class Unresolved(OSError):
    """A host's name could not be looked up, or not in time."""


def addresses(host: str, port: int, timeout: float | None) -> list[str]:
    """The addresses of a host, looked up within some seconds.

    Nothing ends a look-up that hangs: it is left to a thread that nobody waits for.

    Raises:
        Unresolved: it has none, or they were not found in time.
    """
    answers: SimpleQueue[list[str] | Exception] = SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([str(each[4][0]) for each in found])
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            answers.put(error)

    threading.Thread(target=look_up, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except Empty:
        msg = f"no address of {host} was found within {timeout:g} seconds"
        raise Unresolved(msg) from None
    if isinstance(answer, OSError):
        raise Unresolved(str(answer)) from answer
    if isinstance(answer, Exception):
        raise answer
    return list(dict.fromkeys(answer))


class BoundedBackend:
    """What opens connections, so that their every step keeps the deadline."""

    def __init__(self, backend: Any, deadline: Deadline) -> None:
        self._backend = backend
        self._deadline = deadline

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **more: Any
    ) -> BoundedStream:
        """Open a connection, to the first address of the host that takes one.

        Raises:
            Unresolved: the host has no address.
        """
        found = addresses(host, port, self._deadline.left(timeout))
        for each in found[:-1]:
            with suppress(Exception):
                return self._connected(each, port, timeout, more)
        return self._connected(found[-1], port, timeout, more)

    def _connected(
        self, address: str, port: int, timeout: float | None, more: dict[str, Any]
    ) -> BoundedStream:
        left = self._deadline.left(timeout)
        stream = self._backend.connect_tcp(address, port, timeout=left, **more)
        return BoundedStream(stream, self._deadline)


class BoundedStream:
    """One connection, plain or TLS."""

    def __init__(self, stream: Any, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it."""
        data: bytes = self._stream.read(max_bytes, self._deadline.left(timeout))
        if data:
            self._deadline.heard = monotonic()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it."""
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> BoundedStream:
        """Speak TLS from here on.

        Behind a proxy its arguments come by position, elsewhere by name.
        """
        left = self._deadline.left(timeout)
        stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return BoundedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What the connection tells about itself."""
        return self._stream.get_extra_info(info)
