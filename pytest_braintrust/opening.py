"""Open a run's store, or one that can be used in its place, and say so.

A file that is no store is set aside, never deleted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pytest_braintrust.errors import StoreCorrupt, StoreError
from pytest_braintrust.locks import locked
from pytest_braintrust.store import connection
from pytest_braintrust.store.connection import Store


def open_somewhere(
    directory: Path, look: Callable[[Store], object] = lambda store: None
) -> tuple[Store, str | None]:
    """Open the store, or one that can be used in its place, and say so.

    Where the directory cannot be used at all the rows go to a new one among the
    system's temporary files.

    Args:
        directory: Where it is, or is to be.
        look: Reads in it what is needed first; that may show that it is damaged.

    Raises:
        StoreError: no store can be opened anywhere.
    """
    try:
        return open_in_place(directory, look)
    except StoreError as error:
        store, note = open_elsewhere(error)
        return _looked_at(store, look), note


def open_in_place(
    directory: Path, look: Callable[[Store], object] = lambda store: None
) -> tuple[Store, str | None]:
    """Open the store where it is, or a new one in place of what is damaged.

    Raises:
        StoreError: the directory cannot be used.
    """
    try:
        return _looked_at(connection.open_store(directory), look), None
    except StoreCorrupt:
        store, note = in_place_of_corrupt(directory)
        return _looked_at(store, look), note


def in_place_of_corrupt(directory: Path) -> tuple[Store, str | None]:
    """Set aside a store that is damaged, and open a new one in its place.

    Raises:
        StoreError: the directory cannot be used.
    """
    try:
        with locked(directory, "set-aside"):
            return _whole_or_new(directory)
    except OSError as error:
        msg = f"cannot set the store at {directory} aside: {error.strerror}"
        raise StoreError(msg) from error


def _whole_or_new(directory: Path) -> tuple[Store, str | None]:
    try:
        # Another process may have been here before us, and has a new one already.
        return _looked_at(connection.open_store(directory), Store.check), None
    except StoreCorrupt:
        aside = connection.set_aside(directory, time.strftime("%Y%m%d-%H%M%S"))
    note = f"the store at {directory} could not be read; it is set aside as {aside}"
    return connection.open_store(directory), note


def _looked_at(store: Store, look: Callable[[Store], object]) -> Store:
    try:
        look(store)
    except BaseException:
        store.close()
        raise
    return store


def open_elsewhere(error: StoreError) -> tuple[Store, str]:
    """Open a new store among temporary files, as `error` says why.

    Raises:
        StoreError: that cannot be done either.
    """
    try:
        directory = Path(tempfile.mkdtemp(prefix="pytest-braintrust-"))
    except OSError as none:
        msg = f"{error}; nor can rows be kept among temporary files: {none.strerror}"
        raise StoreError(msg) from none
    note = f"{error}; rows are kept in {directory}: give commands --store {directory}"
    return connection.open_store(directory), note
