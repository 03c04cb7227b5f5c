"""What the environment says of the way to any server: proxies and certificates.

Every HTTP client obeys these variables, so nobody expects a message of ours to know of
them. What they hold is not told: the address of a proxy may carry a password.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
#: A folder that is not there is no error to anybody; a file is.
_CERTIFICATES, _FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"


def trouble(error: Exception, environ: Mapping[str, str] = os.environ) -> str:
    """Why no connection can be made at all, and which variables may be at fault."""
    if isinstance(error, OSError):
        why = error.strerror or error
        return f"{_CERTIFICATES}: no certificates can be read there: {why}"
    why = "that is not the address of a proxy"
    if isinstance(error, ImportError):
        why = "for a SOCKS proxy, `pip install 'httpx[socks]'` is needed"
    spelt = (each for name in _PROXIES for each in (name, name.lower()))
    return f"{' or '.join(filter(environ.get, spelt))}: {why}"


def absolute(environ: Mapping[str, str]) -> dict[str, str]:
    """The same variables for a process that works in another folder."""
    found = {_CERTIFICATES: [environ.get(_CERTIFICATES, "")]}
    found[_FOLDER] = environ.get(_FOLDER, "").split(os.pathsep)
    return {
        name: os.pathsep.join(map(os.path.abspath, filter(None, paths)))
        for name, paths in found.items()
        if any(paths)
    }
