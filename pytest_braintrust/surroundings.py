"""What the environment says of the way to any server: proxies and certificates.

Every HTTP client obeys these variables, so nobody expects a message of ours to know of
them. What they hold is not told: the address of a proxy may carry a password.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_PROXIES: tuple[str, ...] = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
#: What is reached without one; httpx reads no network of IPv6 there, as `::1/128`.
_EXCEPTIONS = "NO_PROXY"
#: A folder that is not there is no error to anybody; a file is.
_CERTIFICATES, _FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"


def trouble(error: Exception, environ: Mapping[str, str] = os.environ) -> str:
    """Why no connection can be made at all, and which variables may be at fault."""
    if isinstance(error, OSError):
        why = error.strerror or error
        return f"{_CERTIFICATES}: no certificates can be read there: {why}"
    names, why = _PROXIES, "that is not the address of a proxy"
    if isinstance(error, ImportError):
        why = "for a SOCKS proxy, `pip install 'httpx[socks]'` is needed"
    elif not isinstance(error, ValueError) and _has(_EXCEPTIONS, environ):
        names = (*_PROXIES, _EXCEPTIONS)
        why = "what stands there cannot be read as an address"
    # Windows and macOS have settings of their own.
    named = [spelt for name in names for spelt in _has(name, environ)]
    return f"{' or '.join(named) or 'the proxy of the system'}: {why}"


def _has(name: str, environ: Mapping[str, str]) -> list[str]:
    return [spelt for spelt in (name, name.lower()) if environ.get(spelt)]


def absolute(environ: Mapping[str, str]) -> dict[str, str]:
    """The same variables for a process that works in another folder."""
    found = {_CERTIFICATES: [environ.get(_CERTIFICATES, "")]}
    found[_FOLDER] = environ.get(_FOLDER, "").split(os.pathsep)
    return {
        name: os.pathsep.join(map(os.path.abspath, filter(None, paths)))
        for name, paths in found.items()
        if any(paths)
    }
