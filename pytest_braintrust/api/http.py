"""The one file that names httpx: sends a request, answers JSON, translates errors.

No error that leaves here carries a header, a body of ours or the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import httpx

from pytest_braintrust import __version__, surroundings
from pytest_braintrust.api import bodies, failures
from pytest_braintrust.api.deadline import BoundedBackend, Deadline, Unresolved
from pytest_braintrust.api.redirects import MAX_REDIRECTS, REDIRECTS, Hop, onward
from pytest_braintrust.errors import (
    ApiError,
    BadAnswer,
    Overloaded,
    SettingsError,
    Unreachable,
)

T = TypeVar("T")

#: Failures after which the server has certainly not seen the request.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, Unresolved)
_NOT_DONE = 429
_HERE = {401, 403}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait: for a connection, each piece of an answer, and all of it.

    The last two are for pages of a query, which take longer to come.
    """

    connect: float = 10.0
    read: float = 30.0
    total: float = 120.0
    page_read: float = 120.0
    page_total: float = 900.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the API."""

    method: str
    path: str
    body: bytes | None = None
    params: Mapping[str, Any] | None = None
    #: Whether it may be sent again where nobody knows if the server did it.
    repeatable: bool = True
    #: Whether it asks for a page of rows: slow, large, and by redirect at times.
    page: bool = False


class Http:
    """Sends requests to one server with one key.

    Raises:
        SettingsError: a proxy or certificates that the environment names are of no use.
    """

    def __init__(
        self,
        base: str,
        key: str,
        *,
        impersonate_user: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._base = base
        self._key = key
        self._timeouts = timeouts or Timeouts()
        self._deadline = Deadline()
        headers = {"Authorization": f"Bearer {key}"}
        if impersonate_user:
            headers["x-bt-impersonate-user"] = impersonate_user
        self._home = self._client(headers)
        self._abroad: httpx.Client | None = None

    def close(self) -> None:
        """Close the connections."""
        self._home.close()
        if self._abroad is not None:
            self._abroad.close()

    def answer(self, ask: Ask) -> Any:
        """The JSON that the server answers.

        Raises:
            ApiError: it answered nothing, a failure, or something else.
        """
        body = self._exchange(ask, lambda response: bodies.whole(_pieces(response)))
        try:
            return bodies.decoded(body)
        except ValueError:
            msg = (
                f"{self._base}{ask.path} answered something that is not JSON; is that "
                "the address of Braintrust's API?"
            )
            raise BadAnswer(msg) from None

    def save(self, ask: Ask, file: BinaryIO) -> Mapping[str, str]:
        """Write what the server answers to a file; answers the headers.

        Raises:
            ApiError: as `answer`; the file may have a part of the answer then.
        """

        def save(response: httpx.Response) -> Mapping[str, str]:
            bodies.save(_pieces(response), file)
            return response.headers

        return self._exchange(ask, save)

    def _exchange(self, ask: Ask, read: Callable[[httpx.Response], T]) -> T:
        limits = self._timeouts
        seconds = limits.page_total if ask.page else limits.total
        with self._deadline.within(seconds) as deadline:
            try:
                return self._followed(ask, read)
            except (httpx.TransportError, TimeoutError, Unresolved) as error:
                late = f"no whole answer within {seconds:g} seconds"
                why = late if deadline.over else self._told(error)
                raise self._unreachable(ask, error, why) from None
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
                msg = f"{self._base}: {self._told(error)}"
                raise BadAnswer(msg) from None

    def _followed(self, ask: Ask, read: Callable[[httpx.Response], T]) -> T:
        hop = Hop(ask.method, self._base + ask.path, ask.body)
        params = ask.params
        for _ in range(MAX_REDIRECTS + 1):
            with self._sent(ask, hop, params) as response:
                if response.is_success:
                    return read(response)
                where = response.extensions["location"]
                if response.status_code not in REDIRECTS or where is None:
                    raise self._failure(ask, hop, response)
                hop = onward(hop, response.status_code, where, reads=ask.page)
                params = None  # they are in the location already, or not wanted
        msg = f"{self._base}{ask.path} redirects more than {MAX_REDIRECTS} times"
        raise BadAnswer(msg)

    def _sent(
        self, ask: Ask, hop: Hop, params: Mapping[str, Any] | None
    ) -> AbstractContextManager[httpx.Response]:
        client = self._home if hop.at_home else self._elsewhere()
        limits = self._timeouts
        read = limits.page_read if ask.page else limits.read
        return client.stream(
            hop.method,
            hop.url,
            params=params,
            content=hop.body,
            headers=None if hop.body is None else {"Content-Type": "application/json"},
            timeout=httpx.Timeout(read, connect=limits.connect),
        )

    def _elsewhere(self) -> httpx.Client:
        """What talks to other hosts: it has no key that it could give away."""
        if self._abroad is None:
            self._abroad = self._client({})
        return self._abroad

    def _client(self, headers: Mapping[str, str]) -> httpx.Client:
        ours = {
            "User-Agent": f"pytest-braintrust/{__version__}",
            "Accept-Encoding": "gzip",
        }
        try:
            client = httpx.Client(
                headers={**ours, **headers},
                follow_redirects=False,
                event_hooks={"response": [_keep_location]},
            )
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            raise SettingsError(surroundings.trouble(error)) from None
        _bound(client, self._deadline)
        return client

    def _failure(self, ask: Ask, hop: Hop, response: httpx.Response) -> ApiError:
        status = response.status_code
        body = bodies.start(_pieces(response), failures.REASON_BYTES)
        where = f"{self._base}{ask.path}" if hop.at_home else "the file of a page"
        text = f"{where} answered {status}: {self._scrubbed(failures.reason(body))}"
        if not hop.at_home and status in _HERE:
            # Says nothing about our key: the link has run out, and a new one helps.
            return Overloaded(text)
        error = failures.failure(status, response.headers, text)
        if not ask.repeatable and status != _NOT_DONE:
            error.retryable = False
        return error

    def _unreachable(self, ask: Ask, error: Exception, why: str) -> Unreachable:
        unreachable = Unreachable(f"{self._base} cannot be reached: {why}")
        unreachable.nobody_there = isinstance(error, _NOT_SENT)
        unreachable.heard = self._deadline.heard
        if not ask.repeatable and not unreachable.nobody_there:
            unreachable.retryable = False
        return unreachable

    def _told(self, error: Exception) -> str:
        return self._scrubbed(str(error)) or type(error).__name__

    def _scrubbed(self, text: str) -> str:
        return failures.scrubbed(text, self._key)


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    encoding = response.headers.get("Content-Encoding", "")
    return bodies.inflated(response.iter_raw(), encoding)


def _keep_location(response: httpx.Response) -> None:
    """Put a redirect's address aside.

    httpx makes a request of it even where it does not follow, and fails as if the
    network had failed when it is not an address.
    """
    response.extensions["location"] = response.headers.pop("Location", None)


def _bound(client: httpx.Client, deadline: Deadline) -> None:
    """Put the deadline under a client's connections, those of its proxies too.

    httpx has no public way to its network layer. Where these names are gone, each
    wait is still bounded, if not their sum, and a test of ours fails.
    """
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        pool: Any = getattr(transport, "_pool", None)
        if hasattr(pool, "_network_backend"):
            backend = pool._network_backend  # noqa: SLF001
            pool._network_backend = BoundedBackend(backend, deadline)  # noqa: SLF001
