"""What several commands share: finding the store, reaching Braintrust, options."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from pytest_braintrust.cli.output import warn
from pytest_braintrust.errors import SettingsError, StoreError
from pytest_braintrust.naming import LATEST
from pytest_braintrust.reports.lines import plain
from pytest_braintrust.settings import (
    STORE_DIRECTORY,
    Connection,
    connection_from_environment,
)
from pytest_braintrust.store import spool
from pytest_braintrust.store.connection import FILE_NAME, Store, open_store

_YEAR = 300 * 24 * 3600

#: Where commands are added.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001

#: Names what goes through a pipe, where a file is named.
STREAM = Path("-")

#: How an experiment is asked for, for the help of every command that does.
EXPERIMENT = (
    "a name, an id or a branch (its newest run), or what is unambiguous of them; "
    "`latest`; `latest~1` and `main~1` are one run before; PROJECT/NAME where several "
    "projects have it"
)


def add_command(  # noqa: PLR0913 - what a command is made of
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    text: str,
    more: str = "",
    examples: str,
) -> argparse.ArgumentParser:
    """Add a command with the options that all of them have.

    Args:
        commands: Where it is added.
        name: Its name.
        run: Does it; answers the exit status.
        text: What it does, in a line.
        more: What else is to be known.
        examples: One command line and what it does on each line.
    """
    parser = commands.add_parser(
        name,
        help=text[0].lower() + text[1:],
        description=f"{text}. {more}" if more else f"{text}.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # What was said before the command stays, where it is not said again.
    add_store_option(parser, default=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)
    return parser


def add_store_option(parser: argparse.ArgumentParser, *, default: Any = None) -> None:
    """Add the option that names the store, which may stand before a command too."""
    parser.add_argument(
        "--store",
        type=Path,
        default=default,
        metavar="DIR",
        help=f"the store's directory (default: the nearest {STORE_DIRECTORY} upwards)",
    )


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how Braintrust is reached."""
    group = parser.add_argument_group("Braintrust")
    group.add_argument("--api-key", help="prefer the variable BRAINTRUST_API_KEY")
    group.add_argument("--api-url", help="or the variable BRAINTRUST_API_URL")
    group.add_argument("--app-url", help="or the variable BRAINTRUST_APP_URL")
    group.add_argument(
        "--allow-http",
        action="store_true",
        help="let the key go to another machine by plain http; or the variable "
        "BRAINTRUST_ALLOW_HTTP",
    )
    group.add_argument("--org-name", help="or the variable BRAINTRUST_ORG_NAME")
    group.add_argument(
        "--impersonate",
        metavar="USER",
        help="act as this user, by id or e-mail address; or the variable "
        "BRAINTRUST_IMPERSONATE_USER",
    )


def add_metrics_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says which way a metric is better."""
    parser.add_argument(
        "--higher-is-better",
        action="append",
        default=[],
        metavar="METRIC",
        help="a metric of which more is better; several may be given",
    )


def add_project_option(
    parser: argparse.ArgumentParser, text: str = "look among the runs of this project"
) -> None:
    """Add the option that names a project, with what that is for."""
    parser.add_argument("--project", type=a_name, help=text)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which run is meant: the last one, where nothing is said."""
    parser.add_argument(
        "experiment", metavar="EXPERIMENT", nargs="?", default=LATEST, help=EXPERIMENT
    )
    add_project_option(parser)


def add_baseline_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names what a run is compared with."""
    parser.add_argument(
        "--baseline",
        metavar="RUN",
        help="run to compare with: ancestor, previous, a branch, name or file "
        "(default: the one it had)",
    )


def a_count(text: str) -> int:
    """A whole number of 0 or more, for argparse."""
    if not text.isascii() or not text.isdigit():
        msg = f"{text!r} is not a whole number"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def a_name(text: str) -> str:
    """A name that is one, for argparse: not what an unset variable leaves."""
    if not text.strip():
        msg = "an empty text is no name"
        raise argparse.ArgumentTypeError(msg)
    return text


def opened_store(given: argparse.Namespace, *, create: bool = False) -> closing[Store]:
    """Open the store that the options name, or the nearest one upwards.

    Args:
        given: The options.
        create: Make one in this folder where there is none.

    Raises:
        StoreError: there is none, or it cannot be opened.
    """
    named: Path | None = given.store
    directory = named or _nearest(here())
    if directory is None and create:
        directory = here() / STORE_DIRECTORY
    if directory is None:
        msg = (
            f"no {STORE_DIRECTORY} in {here()} or above; run `pytest --braintrust` "
            "first"
        )
        raise StoreError(msg)
    store = open_store(directory, create=create)
    spool.take_in_left(store)
    return closing(store)


def here() -> Path:
    """The folder that a command is run in.

    Raises:
        StoreError: it is no longer there.
    """
    try:
        return Path.cwd()
    except OSError as error:
        msg = f"the folder that this is run in cannot be used: {error.strerror}"
        raise StoreError(msg) from None


def _nearest(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        if (folder / STORE_DIRECTORY / FILE_NAME).is_file():
            return folder / STORE_DIRECTORY
    return None


def agreed(given: argparse.Namespace, question: str) -> bool:
    """Whether `--yes` was said, or is said now by a person who is asked.

    Raises:
        SettingsError: nobody is there to be asked.
    """
    if given.yes:
        return True
    if given.json or not sys.stdin.isatty():
        msg = "nobody is there to be asked: say --yes"
        raise SettingsError(msg)
    print(plain(f"{question} [y/N]"), end=" ", flush=True)
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return True
    warn("nothing was changed")
    return False


def required_connection(given: argparse.Namespace) -> Connection:
    """The connection that options and variables name.

    Raises:
        SettingsError: there is no key, or a value cannot be used.
    """
    connection = connection_from_environment(
        api_key=given.api_key,
        api_url=given.api_url,
        app_url=given.app_url,
        allow_http=given.allow_http,
        org_name=given.org_name,
        impersonate=given.impersonate,
    )
    if connection is None:
        msg = "no API key: set BRAINTRUST_API_KEY"
        raise SettingsError(msg)
    return connection


def moment(seconds: float) -> str:
    """A time as a person here reads it."""
    try:
        return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"  # noqa: DTZ006
    except (ValueError, OverflowError, OSError):
        return "unknown"


def day(seconds: float) -> str:
    """The same in eleven characters: a year ago nobody asks for the hour."""
    text = moment(seconds)
    return text[5:] if time.time() - seconds < _YEAR else text[:10]
