"""Where a redirect leads, and with what.

The key and the impersonated user are for one host: to any other, such as the object
store that large answers lie in, a request goes without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from pytest_braintrust.errors import BadAnswer

#: One to an object store is usual, one more from an old address to a new one.
MAX_REDIRECTS = 5

#: Statuses that are redirects, where they come with a `Location`.
REDIRECTS = {301, 302, 303, 307, 308}

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Statuses that ask for the same request again; after the others it is a GET.
_SAME_REQUEST = {307, 308}


@dataclass(frozen=True, slots=True)
class Hop:
    """One request on the way to an answer."""

    method: str
    url: str
    body: bytes | None
    #: Whether it goes to the host that the key is for.
    at_home: bool = True


def onward(hop: Hop, status: int, location: str, *, reads: bool) -> Hop:
    """The request that follows a redirect.

    Args:
        hop: The request that was redirected.
        status: The answer's status.
        location: The answer's `Location`.
        reads: Whether the call reads only. One that writes is not turned into a
            GET, whose success would say nothing about it.

    Raises:
        BadAnswer: the redirect leads nowhere that may be followed.
    """
    url = _joined(hop.url, location)
    source, target = urlsplit(hop.url), urlsplit(url)
    if target.scheme not in {source.scheme, "https"}:
        msg = f"the server redirects from {source.scheme} to {target.scheme}"
        raise BadAnswer(msg)
    at_home = hop.at_home and _origin(source) == _origin(target)
    if status in _SAME_REQUEST or hop.method == "GET":
        return Hop(hop.method, url, hop.body, at_home)
    if not reads:
        msg = "the server redirects a request that writes; is that the API's address?"
        raise BadAnswer(msg)
    return Hop("GET", url, None, at_home)


def _joined(url: str, location: str) -> str:
    try:
        joined = urljoin(url, location)
        parts = urlsplit(joined)
        if parts.scheme in _DEFAULT_PORTS and parts.hostname and _origin(parts):
            return joined
    except ValueError:
        pass
    msg = "the server redirects to something that is not an address"
    raise BadAnswer(msg)


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    return parts.scheme, parts.hostname, port
