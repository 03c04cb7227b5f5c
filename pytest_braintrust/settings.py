"""What the user set, by option, environment or ini, in that order; checked at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pytest_braintrust import sharding
from pytest_braintrust.errors import SettingsError
from pytest_braintrust.given import Given, Reader, ini_name
from pytest_braintrust.jsonable import plain_text
from pytest_braintrust.trials import MOST, is_number

DEFAULT_API_URL = "https://api.braintrust.dev"
DEFAULT_APP_URL = "https://www.braintrust.dev"
DEFAULT_FLUSH_TIMEOUT = 30.0
#: Many: small plans of Braintrust allow some twenty pages a minute.
DEFAULT_PAGE_SIZE = 5_000

#: Where the store lies, under the rootdir.
STORE_DIRECTORY = ".braintrust"

#: Braintrust's own have more than fifty characters.
_SHORTEST_KEY = 8

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

#: What may be a password never stands in a message.
_USER_INFO = re.compile(r"//[^/]*@")


@dataclass(frozen=True, slots=True)
class Connection:
    """How Braintrust is reached."""

    api_key: str = field(repr=False)
    api_url: str = DEFAULT_API_URL
    app_url: str = DEFAULT_APP_URL
    org_name: str | None = None
    #: The id or e-mail address of the user that every call runs as.
    impersonate_user: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that one run was asked for."""

    project: str
    #: Whether an option named the project, which then goes before markers.
    project_forced: bool
    experiment: str | None
    #: The run that this process makes with others; None: it is a run by itself.
    run: str | None
    #: What the run declares about itself, such as the model.
    metadata: Mapping[str, str]
    #: The run to compare with, as it was named; None: the usual one.
    baseline: str | None
    #: None where there is no key, or no upload was asked for.
    connection: Connection | None
    #: The same, also where nothing is to be uploaded: datasets come from there.
    reach: Connection | None
    #: Whether nothing is to be asked of Braintrust.
    offline: bool
    #: Rows in one page of a dataset's download.
    page_size: int
    #: The key, also where nothing is uploaded: it is taken out of what is kept.
    api_key: str | None = field(repr=False)
    record_all: bool
    #: How many times a test is run whose marker does not say.
    trials: int
    #: Whether only tests are run that got worse in the last comparison.
    only_worse: bool
    #: Names of exceptions that mean that a test measured nothing.
    infrastructure_errors: frozenset[str]
    summary: bool
    upload: bool
    flush_timeout: float
    store: Path


def resolve(read: Given, rootdir: Path) -> Settings:
    """Settle every setting.

    Raises:
        SettingsError: a value cannot be used; the text names where it was given.
    """
    connection = connection_from(read)
    offline = read.switch("offline")
    upload = not offline and not read.switch("no_upload")
    return Settings(
        project=read.text("project") or plain_text(rootdir.name) or "pytest",
        project_forced=bool(read.option("project")),
        experiment=read.text("experiment"),
        run=_run(read),
        metadata=_declared(read),
        baseline=read.text("baseline"),
        connection=connection if upload else None,
        reach=connection,
        offline=offline,
        page_size=_page_size(read),
        api_key=_secret(read.text("api_key", from_ini=False)),
        record_all=read.switch("all"),
        trials=_trials(read),
        only_worse=bool(read.option("regressed")),
        infrastructure_errors=frozenset(read.ini("infrastructure_errors")),
        summary=not read.switch("no_summary"),
        upload=upload,
        flush_timeout=_seconds(read),
        store=rootdir / STORE_DIRECTORY,
    )


def _run(read: Given) -> str | None:
    """The run to join, by the name that was given or by the CI's own."""
    text = read.text("run_id")
    if text != sharding.AUTO:
        return text
    found = sharding.from_ci(read.environ)
    where = read.where("run_id")
    # In the ini file it is for the CI: on a desk a run is a run by itself.
    on_a_desk = where == ini_name("run_id") and not sharding.in_ci(read.environ)
    if found is None and not on_a_desk:
        msg = (
            f"{where}: auto knows GitHub Actions, GitLab, CircleCI, Buildkite and "
            "Jenkins, and finds the variables of none; give an id that all processes "
            "of the run have in common"
        )
        raise SettingsError(msg)
    return None if found is None else plain_text(found)


def _secret(api_key: str | None) -> str | None:
    """A key that is to be taken out of what is kept; None for a stand-in.

    What suites run with where there is no real one, such as `test`, are words that
    their node ids and outputs have too.
    """
    return api_key if api_key and len(api_key) >= _SHORTEST_KEY else None


def _declared(read: Given) -> dict[str, str]:
    """What `--braintrust-metadata` and its ini value say, the command line last."""
    found: dict[str, str] = {}
    given = (
        (ini_name("metadata"), read.ini("metadata")),
        (read.option_name("metadata"), read.option("metadata")),
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
    environ: Mapping[str, str] = os.environ, **given: str | bool | None
) -> Connection | None:
    """The connection that variables and a command's options name; None: no key."""
    none: Reader = lambda _: None  # noqa: E731 - a reader that has nothing
    options: Reader = lambda name: given.get(name.removeprefix("braintrust_"))  # noqa: E731
    return connection_from(Given(options, none, environ, dashes="--"))


def connection_from(read: Given) -> Connection | None:
    """The connection that the sources name; None where there is no key."""
    api_key = read.text("api_key", from_ini=False)
    # Checked without a key too: a wrong address is wrong at once, not next week.
    in_clear = InClear(read.switch("allow_http"), read.option_name("allow_http"))
    api_url = _url(read, "api_url", DEFAULT_API_URL, in_clear)
    app_url = _url(read, "app_url", DEFAULT_APP_URL, in_clear)
    if api_key is None:
        return None
    where = read.where("api_key", from_ini=False)
    key = checked_header(api_key, where, "the API key")
    user = read.text("impersonate")
    if user is not None and "@" not in user:
        checked_header(user, read.where("impersonate"), "the user's id")
    return Connection(key, api_url, app_url, read.text("org_name"), user)


def checked_header(text: str, where: str, what: str) -> str:
    """Text that can be sent as a header.

    Raises:
        SettingsError: it has white space or what is not ASCII; the text is not told.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        msg = f"{where}: {what} has characters that none has; copy it again"
        raise SettingsError(msg)
    return text


@dataclass(frozen=True, slots=True)
class InClear:
    """Whether the key may go to another machine by plain http."""

    allowed: bool
    #: What allows it, as messages name it.
    switch: str


def _url(read: Given, name: str, default: str, in_clear: InClear) -> str:
    text = read.text(name)
    return default if text is None else checked_url(text, read.where(name), in_clear)


def checked_url(text: str, where: str, in_clear: InClear) -> str:
    """A base address without the trailing slash or `/v1` that people paste with it.

    Raises:
        SettingsError: it is not an http or https address, carries a user name,
            query or fragment, or is plain http to another machine and that is not
            allowed.
    """
    shown = repr(_USER_INFO.sub("//", text))
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        msg = f"{where}: {shown} is not an address: {error}"
        raise SettingsError(msg) from None
    strange = not text.isprintable() or " " in text
    if parts.scheme not in {"http", "https"} or not host or strange:
        msg = f"{where}: {shown} is not an address; it looks like {DEFAULT_API_URL}"
        raise SettingsError(msg)
    if "@" in parts.netloc or parts.query or parts.fragment:
        msg = f"{where}: an address has no user name, query or fragment"
        raise SettingsError(msg)
    if parts.scheme == "http" and host not in _LOOPBACK and not in_clear.allowed:
        msg = (
            f"{where}: {shown} would send the API key in the clear; use https, or say "
            f"{in_clear.switch} where the network is your own"
        )
        raise SettingsError(msg)
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _trials(read: Given) -> int:
    text = read.text("trials")
    number = int(text) if text is not None and text.isdecimal() else 0
    if text is None:
        return 1
    if not is_number(number):
        msg = f"{read.where('trials')}: {text!r} is not a number from 1 to {MOST:,}"
        raise SettingsError(msg)
    return number


def _page_size(read: Given) -> int:
    text = read.text("page_size")
    if text is None:
        return DEFAULT_PAGE_SIZE
    if not text.isdecimal() or int(text) < 1:
        msg = f"{read.where('page_size')}: {text!r} is not a number of rows"
        raise SettingsError(msg)
    return int(text)


def _seconds(read: Given) -> float:
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
