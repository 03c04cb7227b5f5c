"""Open the store, and run statements so that foreign errors end here."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from pytest_braintrust import descriptors, folder
from pytest_braintrust.descriptors import Descriptor, given_back
from pytest_braintrust.errors import StoreCorrupt, StoreError, StoreTooNew
from pytest_braintrust.store.schema import MIGRATIONS

FILE_NAME = "store.sqlite3"

#: SQLite's further files, the store's own last.
_SUFFIXES = ("-wal", "-shm", "")

#: What stands for the places in a statement, in their order or by their names.
Values: TypeAlias = "Sequence[Any] | Mapping[str, Any]"

#: How long one process waits while another one commits.
BUSY_SECONDS = 20.0

#: SQLITE_CORRUPT and SQLITE_NOTADB, and how they read where no code is given.
_DAMAGED = {11, 26}
_DAMAGED_TEXTS = ("malformed", "not a database")


#: Connections that must stay open until the process ends.
_NEVER_CLOSED: list[sqlite3.Connection] = []


@dataclass(slots=True)
class Store:
    """An open store. For one process: a forked child must not use it."""

    directory: Path
    connection: sqlite3.Connection
    pid: int
    #: By which SQLite has its files open.
    descriptors: Mapping[Descriptor, Path] = field(default_factory=dict)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements that are all kept or all not.

        Raises:
            StoreError: the store could not be written; nothing of it was kept.
        """
        self._check()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._leave_transaction()
            raise _translated(self.directory, error) from error
        except BaseException:
            self._leave_transaction()
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that is read inside be of one moment, whoever writes meanwhile.

        Raises:
            StoreError: the store could not be read.
        """
        self._check()
        try:
            self.connection.execute("BEGIN")
            yield
        except sqlite3.Error as error:
            raise _translated(self.directory, error) from error
        finally:
            self._leave_transaction()

    def query(self, sql: str, values: Values = ()) -> Iterator[sqlite3.Row]:
        """Iterate over what a SELECT finds, without holding it all in memory."""
        self._check()
        try:
            # Not `yield from`: that would close the cursor with an iteration that is
            # given up, which may be after the store itself was closed.
            for row in self.connection.execute(sql, values):  # noqa: UP028
                yield row
        except sqlite3.Error as error:
            raise _translated(self.directory, error) from error

    def one(self, sql: str, values: Values = ()) -> sqlite3.Row | None:
        """The first row that a SELECT finds."""
        return next(iter(list(self.query(sql, values))), None)

    def compact(self) -> None:
        """Make the file as small as its content.

        Raises:
            StoreError: another process uses it, or there is no room for a copy.
        """
        try:
            self.connection.execute("VACUUM")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise _translated(self.directory, error) from error

    def close(self) -> None:
        """Close the file; another process that forked from ours leaves it alone."""
        if os.getpid() == self.pid:
            self.abandon()

    def abandon(self) -> None:
        """Let go of a connection that may no longer work, whatever it says to that."""
        try:
            with given_back(self.descriptors):
                self.connection.close()
        except sqlite3.Error:
            # Its file is gone or its descriptor closed: there is nothing to keep.
            return
        except OSError:
            # Closing it would close files of a test, and write to them before that.
            _NEVER_CLOSED.append(self.connection)

    def _check(self) -> None:
        """Refuse to write where SQLite's descriptors are those of a test's files.

        Raises:
            StoreError: a test closed them.
        """
        if not all(each.is_ours for each in self.descriptors):
            msg = f"something closed the files of the store at {self.directory}"
            raise StoreError(msg)

    def _leave_transaction(self) -> None:
        try:
            if self.connection.in_transaction:
                self.connection.rollback()
        except sqlite3.Error:
            # The connection itself is broken; its file rolls back when next opened.
            return


def open_store(directory: Path, *, create: bool = True) -> Store:
    """Open the store in `directory`, bringing its tables up to date.

    Raises:
        StoreTooNew: a later version of this plugin wrote it.
        StoreError: it is not there and not to be made, or cannot be opened.
    """
    path = directory / FILE_NAME
    if create:
        _make(directory)
    elif not path.exists():
        msg = f"there is no store at {directory}; run `pytest --braintrust` first"
        raise StoreError(msg)
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        _prepare(connection, directory)
    except sqlite3.Error as error:
        raise _translated(directory, error) from error
    files = [path.with_name(path.name + suffix) for suffix in _SUFFIXES]
    return Store(directory, connection, os.getpid(), descriptors.found(files))


def _make(directory: Path) -> None:
    """Make the directory, and the file for us alone."""
    try:
        folder.make(directory)
        path = directory / FILE_NAME
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        msg = f"cannot write the store at {directory}: {error.strerror or error}"
        raise StoreError(msg) from error


def _prepare(connection: sqlite3.Connection, directory: Path) -> None:
    # Where the file system has no shared memory, SQLite answers with another mode
    # than WAL and goes on: slower, as safe.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")  # one process migrates, the others wait
    version = _version(connection)
    if version > len(MIGRATIONS):
        connection.execute("ROLLBACK")
        msg = (
            f"the store at {directory} was written by a later version of "
            "pytest-braintrust; update it, or move that folder away"
        )
        raise StoreTooNew(msg)
    for step in MIGRATIONS[version:]:
        for statement in filter(str.strip, step.split(";")):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def set_aside(directory: Path, mark: str) -> Path:
    """Rename the files of a store that cannot be read; answers the new path.

    Raises:
        StoreError: they cannot be renamed.
    """
    path = directory / FILE_NAME
    aside = directory / f"{FILE_NAME}.corrupt-{mark}"
    try:
        for suffix in _SUFFIXES:
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        msg = f"cannot set the store at {path} aside: {error.strerror or error}"
        raise StoreError(msg) from error
    return aside


def _translated(directory: Path, error: sqlite3.Error) -> StoreError:
    text = f"the store at {directory} failed: {error}"
    code = getattr(error, "sqlite_errorcode", None)  # from Python 3.11 on
    damaged = code in _DAMAGED or any(each in str(error) for each in _DAMAGED_TEXTS)
    return StoreCorrupt(text) if damaged else StoreError(text)
