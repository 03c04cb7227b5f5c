"""What several commands share: finding the store, reaching Braintrust, options."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_braintrust.errors import SettingsError, StoreError
from pytest_braintrust.settings import (
    STORE_DIRECTORY,
    Connection,
    connection_from_environment,
)
from pytest_braintrust.store.connection import FILE_NAME, Store, open_store


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the store."""
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help=f"the store's directory (default: the nearest {STORE_DIRECTORY} upwards)",
    )


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how Braintrust is reached."""
    group = parser.add_argument_group("Braintrust")
    group.add_argument("--api-key", help="prefer the variable BRAINTRUST_API_KEY")
    group.add_argument("--api-url", help="or the variable BRAINTRUST_API_URL")
    group.add_argument("--app-url", help="or the variable BRAINTRUST_APP_URL")
    group.add_argument("--org-name", help="or the variable BRAINTRUST_ORG_NAME")


def opened_store(given: argparse.Namespace) -> Store:
    """Open the store that the options name, or the nearest one upwards.

    Raises:
        StoreError: there is none, or it cannot be opened.
    """
    named: Path | None = given.store
    return open_store(named or _nearest(Path.cwd()), create=False)


def _nearest(start: Path) -> Path:
    for folder in (start, *start.parents):
        if (folder / STORE_DIRECTORY / FILE_NAME).is_file():
            return folder / STORE_DIRECTORY
    msg = f"no {STORE_DIRECTORY} in {start} or above; run `pytest --braintrust` first"
    raise StoreError(msg)


def required_connection(given: argparse.Namespace) -> Connection:
    """The connection that options and variables name.

    Raises:
        SettingsError: there is no key, or a value cannot be used.
    """
    connection = connection_from_environment(
        api_key=given.api_key,
        api_url=given.api_url,
        app_url=given.app_url,
        org_name=given.org_name,
    )
    if connection is None:
        msg = "no API key: set BRAINTRUST_API_KEY"
        raise SettingsError(msg)
    return connection
