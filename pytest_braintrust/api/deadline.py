"""A bound in time on everything that one request does on the network.

A read timeout alone is none: a server that sends one byte before each timeout, of
the headers or of a chunk's length, holds its caller for hours.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytest_braintrust.clocks import monotonic


class Deadline(threading.local):
    """The moment at which the request that this thread is in has to be done."""

    until = math.inf

    @contextmanager
    def within(self, seconds: float) -> Iterator[Deadline]:
        """Bound everything inside, together, by some seconds."""
        self.until = monotonic() + seconds
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


class BoundedBackend:
    """What opens connections, so that their every step keeps the deadline."""

    def __init__(self, backend: Any, deadline: Deadline) -> None:
        self._backend = backend
        self._deadline = deadline

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **more: Any
    ) -> BoundedStream:
        """Open a connection."""
        left = self._deadline.left(timeout)
        stream = self._backend.connect_tcp(host, port, timeout=left, **more)
        return BoundedStream(stream, self._deadline)


class BoundedStream:
    """One connection, plain or TLS."""

    def __init__(self, stream: Any, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it."""
        data: bytes = self._stream.read(max_bytes, self._deadline.left(timeout))
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
