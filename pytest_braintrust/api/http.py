"""The one file that names httpx: sends a request, answers JSON, translates errors.

No error that leaves here carries a header, a body of ours or the key.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from pytest_braintrust import __version__
from pytest_braintrust.errors import (
    ApiError,
    BadAnswer,
    Overloaded,
    Refused,
    Rejected,
    TooLarge,
    Unreachable,
)

if TYPE_CHECKING:
    from pytest_braintrust.settings import Connection

#: The largest answer that is read: a hostile or broken server must not fill memory.
MAX_ANSWER_BYTES = 64 * 1024 * 1024

_MESSAGE_CHARACTERS = 300
_REASON_BYTES = 100_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LATER = {408, 425, 429}
_MAX_RETRY_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for a connection, and for each piece of an answer."""

    connect: float = 10.0
    read: float = 30.0


class Http:
    """Sends requests to one server with one key."""

    def __init__(
        self, connection: Connection, timeouts: Timeouts | None = None
    ) -> None:
        limits = timeouts or Timeouts()
        self._base = connection.api_url
        self._key = connection.api_key
        self._client = httpx.Client(
            headers={
                "Authorization": f"Bearer {connection.api_key}",
                "User-Agent": f"pytest-braintrust/{__version__}",
            },
            timeout=httpx.Timeout(limits.read, connect=limits.connect),
            # httpx drops the Authorization header when a redirect leaves the host.
            follow_redirects=True,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """GET a path below the base address; answers the decoded JSON."""
        return self._send("GET", path, params=params)

    def post(self, path: str, body: bytes) -> Any:
        """POST encoded JSON; answers the decoded JSON."""
        headers = {"Content-Type": "application/json"}
        return self._send("POST", path, content=body, headers=headers)

    def _send(self, method: str, path: str, **request: Any) -> Any:
        url = self._base + path
        try:
            with self._client.stream(method, url, **request) as response:
                body = _limited(response)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            msg = f"{self._base}: {self._scrubbed(str(error) or type(error).__name__)}"
            raise BadAnswer(msg) from None
        if response.is_success:
            return self._decoded(body, path)
        raise self._error(response, body, path)

    def _decoded(self, body: bytes, path: str) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            msg = (
                f"{self._base}{path} answered something that is not JSON; is that the "
                "address of Braintrust's API?"
            )
            raise BadAnswer(msg) from None

    def _error(self, response: httpx.Response, body: bytes, path: str) -> ApiError:
        status = response.status_code
        text = f"{self._base}{path} answered {status}: {self._scrubbed(_reason(body))}"
        if status in {401, 403}:
            return Refused(text)
        if status in _LATER or status >= 500:  # noqa: PLR2004 - HTTP's own bound
            return Overloaded(text, retry_after=_retry_after(response))
        return TooLarge(text) if status == 413 else Rejected(text)  # noqa: PLR2004

    def _unreachable(self, error: httpx.TransportError) -> ApiError:
        if isinstance(error, httpx.UnsupportedProtocol):
            return BadAnswer(f"{self._base}: {self._scrubbed(str(error))}")
        what = self._scrubbed(str(error)) or type(error).__name__
        return Unreachable(f"{self._base} cannot be reached: {what}")

    def _scrubbed(self, text: str) -> str:
        plain = _CONTROL.sub(" ", text.replace(self._key, "[redacted]")).strip()
        if len(plain) > _MESSAGE_CHARACTERS:
            return plain[:_MESSAGE_CHARACTERS] + "…"
        return plain


def _limited(response: httpx.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            msg = f"an answer of more than {MAX_ANSWER_BYTES:,} bytes was cut off"
            raise BadAnswer(msg)
    return bytes(body)


def _reason(body: bytes) -> str:
    """The server's own words: Braintrust answers JSON, gateways answer HTML."""
    text = body[:_REASON_BYTES].decode("utf-8", "replace")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        told = answer.get("message") or answer.get("error") or answer.get("Message")
        if isinstance(told, dict):
            told = told.get("message")
        if isinstance(told, str):
            return told
    return re.sub(r"<[^>]*>", " ", text)


def _retry_after(response: httpx.Response) -> float | None:
    # The other form, a date, is not worth trusting two clocks for.
    try:
        seconds = float(response.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _MAX_RETRY_AFTER)
