"""What the user set, by option, environment or ini, in that order; checked at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pytest_braintrust.errors import SettingsError
from pytest_braintrust.jsonable import plain_text

DEFAULT_API_URL = "https://api.braintrust.dev"
DEFAULT_APP_URL = "https://www.braintrust.dev"
DEFAULT_FLUSH_TIMEOUT = 30.0

#: Where the store lies, under the rootdir.
STORE_DIRECTORY = ".braintrust"

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

#: Reads one option, or one ini value, by its name; None or "" where not set.
Reader = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Connection:
    """How Braintrust is reached."""

    api_key: str = field(repr=False)
    api_url: str = DEFAULT_API_URL
    app_url: str = DEFAULT_APP_URL
    org_name: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that one run was asked for."""

    project: str
    #: Whether an option named the project, which then goes before markers.
    project_forced: bool
    experiment: str | None
    #: What the run declares about itself, such as the model.
    metadata: Mapping[str, str]
    #: The run to compare with, as it was named; None: the usual one.
    baseline: str | None
    #: None where there is no key, or no upload was asked for.
    connection: Connection | None
    #: The key, also where nothing is uploaded: it is taken out of what is kept.
    api_key: str | None = field(repr=False)
    record_all: bool
    #: Names of exceptions that mean that a test measured nothing.
    infrastructure_errors: frozenset[str]
    summary: bool
    upload: bool
    flush_timeout: float
    store: Path


def resolve(
    option: Reader, ini: Reader, environ: Mapping[str, str], rootdir: Path
) -> Settings:
    """Settle every setting.

    Raises:
        SettingsError: a value cannot be used; the text names where it was given.
    """
    read = _Sources(option, ini, environ)
    upload = not (option("braintrust_no_upload") or ini("braintrust_no_upload"))
    connection = connection_from(read) if upload else None
    return Settings(
        project=read.text("project") or rootdir.name or "pytest",
        project_forced=bool(option("braintrust_project")),
        experiment=read.text("experiment"),
        metadata=_declared(option, ini),
        baseline=read.text("baseline"),
        connection=connection,
        api_key=read.text("api_key", from_ini=False),
        record_all=bool(option("braintrust_all") or ini("braintrust_all")),
        infrastructure_errors=frozenset(ini("braintrust_infrastructure_errors")),
        summary=not (option("braintrust_no_summary") or ini("braintrust_no_summary")),
        upload=upload,
        flush_timeout=_seconds(read),
        store=rootdir / STORE_DIRECTORY,
    )


def _declared(option: Reader, ini: Reader) -> dict[str, str]:
    """What `--braintrust-metadata` and its ini value say, the command line last."""
    found: dict[str, str] = {}
    given = (
        ("ini braintrust_metadata", ini("braintrust_metadata")),
        ("--braintrust-metadata", option("braintrust_metadata")),
    )
    for where, expressions in given:
        for each in expressions or ():
            name, equals, value = each.partition("=")
            if not equals or not name.strip():
                msg = f"{where}: {each!r} is not of the form NAME=VALUE, as model=small"
                raise SettingsError(msg)
            found[plain_text(name.strip())] = plain_text(value.strip())
    return found


def connection_from_environment(
    environ: Mapping[str, str] = os.environ, **given: str | None
) -> Connection | None:
    """The connection that variables and a command's options name; None: no key."""
    none: Reader = lambda _: None  # noqa: E731 - a reader that has nothing
    options: Reader = lambda name: given.get(name.removeprefix("braintrust_"))  # noqa: E731
    return connection_from(_Sources(options, none, environ, dashes="--"))


def connection_from(read: _Sources) -> Connection | None:
    """The connection that the sources name; None where there is no key."""
    api_key = read.text("api_key", from_ini=False)
    # Checked without a key too: a wrong address is wrong at once, not next week.
    api_url = _url(read, "api_url", DEFAULT_API_URL)
    app_url = _url(read, "app_url", DEFAULT_APP_URL)
    if api_key is None:
        return None
    if not api_key.isascii() or any(each.isspace() for each in api_key):
        where = read.where("api_key", from_ini=False)
        msg = f"{where}: the API key has characters that no key has; copy it again"
        raise SettingsError(msg)
    return Connection(api_key, api_url, app_url, read.text("org_name"))


class _Sources:
    """The three places that a setting may come from, the nearest first."""

    def __init__(
        self,
        option: Reader,
        ini: Reader,
        environ: Mapping[str, str],
        dashes: str = "--braintrust-",
    ) -> None:
        self._option = option
        self._ini = ini
        self._environ = environ
        self._dashes = dashes

    def text(self, name: str, *, from_ini: bool = True) -> str | None:
        """The stripped value, or None where it is set nowhere.

        Raises:
            SettingsError: an option was given without a value.
        """
        given = self._option(f"braintrust_{name}")
        if given is not None and not given.strip():
            msg = f"{self._option_name(name)} was given an empty value"
            raise SettingsError(msg)
        value = given or self._environ.get(f"BRAINTRUST_{name.upper()}")
        if not (value and value.strip()) and from_ini:
            value = self._ini(f"braintrust_{name}")
        return plain_text(value.strip()) or None if value else None

    def where(self, name: str, *, from_ini: bool = True) -> str:
        """The name of the place that the value of a setting came from."""
        if self._option(f"braintrust_{name}"):
            return self._option_name(name)
        if (self._environ.get(f"BRAINTRUST_{name.upper()}") or "").strip():
            return f"BRAINTRUST_{name.upper()}"
        return f"ini braintrust_{name}" if from_ini else f"BRAINTRUST_{name.upper()}"

    def _option_name(self, name: str) -> str:
        return self._dashes + name.replace("_", "-")


def _url(read: _Sources, name: str, default: str) -> str:
    text = read.text(name)
    return default if text is None else checked_url(text, read.where(name))


def checked_url(text: str, where: str) -> str:
    """A base address without the trailing slash or `/v1` that people paste with it.

    Raises:
        SettingsError: it is not an http or https address, carries a user name,
            query or fragment, or is plain http to another machine.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        msg = f"{where}: {text!r} is not an address: {error}"
        raise SettingsError(msg) from None
    if parts.scheme not in {"http", "https"} or not host or any(map(str.isspace, text)):
        msg = f"{where}: {text!r} is not an address; it looks like {DEFAULT_API_URL}"
        raise SettingsError(msg)
    if parts.username or parts.query or parts.fragment:
        msg = f"{where}: an address has no user name, query or fragment"
        raise SettingsError(msg)
    if parts.scheme == "http" and host not in _LOOPBACK:
        msg = f"{where}: {text!r} would send the API key in the clear; use https"
        raise SettingsError(msg)
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _seconds(read: _Sources) -> float:
    text = read.text("flush_timeout")
    if text is None:
        return DEFAULT_FLUSH_TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        msg = f"{read.where('flush_timeout')}: {text!r} is not a number of seconds"
        raise SettingsError(msg)
    return seconds
