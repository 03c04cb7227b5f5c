"""The connection that a program asks for, completed from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pytest_braintrust.errors import SettingsError
from pytest_braintrust.given import Given, Reader
from pytest_braintrust.settings import (
    DEFAULT_API_URL,
    DEFAULT_APP_URL,
    Connection,
    InClear,
    checked_header,
    checked_url,
)


def connection(  # noqa: PLR0913 - what a connection is made of
    *,
    api_key: str | None,
    api_url: str | None,
    app_url: str | None,
    org_name: str | None,
    allow_http: bool,
    environ: Mapping[str, str] = os.environ,
) -> Connection:
    """Complete what was given from `BRAINTRUST_API_KEY` and its like.

    Raises:
        SettingsError: there is no key, or something cannot be used.
    """
    key, where = _given_or_set("api_key", api_key, environ)
    if key is None:
        msg = "there is no API key: pass api_key, or set BRAINTRUST_API_KEY"
        raise SettingsError(msg)
    in_clear = InClear(allow_http or _set("allow_http", environ), "allow_http=True")
    return Connection(
        checked_header(key, where, "the API key"),
        _url(_given_or_set("api_url", api_url, environ), DEFAULT_API_URL, in_clear),
        _url(_given_or_set("app_url", app_url, environ), DEFAULT_APP_URL, in_clear),
        _given_or_set("org_name", org_name, environ)[0],
    )


def _url(given: tuple[str | None, str], default: str, in_clear: InClear) -> str:
    text, where = given
    return default if text is None else checked_url(text, where, in_clear)


def _set(name: str, environ: Mapping[str, str]) -> bool:
    """Whether a variable switches something on.

    Raises:
        SettingsError: it is no word for yes or no.
    """
    nothing: Reader = lambda _: None  # noqa: E731 - a reader that has nothing
    return Given(nothing, nothing, environ).switch(name)


def _given_or_set(
    name: str, given: str | None, environ: Mapping[str, str]
) -> tuple[str | None, str]:
    """The stripped value, or None, and the name of the place that it came from."""
    variable = f"BRAINTRUST_{name.upper()}"
    if given is not None:
        return given.strip() or None, name
    return environ.get(variable, "").strip() or None, variable
