"""Open the store, and run statements so that foreign errors end here."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from pytest_braintrust import descriptors, folder
from pytest_braintrust.descriptors import Descriptor, given_back, high_numbers
from pytest_braintrust.errors import (
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreRemoved,
    StoreTooNew,
)
from pytest_braintrust.locks import locked
from pytest_braintrust.store.schema import MIGRATIONS

FILE_NAME = "store.sqlite3"

#: SQLite's further files, the store's own last.
_SUFFIXES = ("-wal", "-shm", "")

#: What stands for the places in a statement, in their order or by their names.
Values: TypeAlias = "Sequence[Any] | Mapping[str, Any]"

#: How long one process waits while another one commits.
BUSY_SECONDS = 10.0

#: SQLITE_BUSY and SQLITE_LOCKED, and how they read where no code is given.
_BUSY = {5, 6}
_BUSY_TEXT = "is locked"

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
        self._refuse_lost_files()
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
        self._refuse_lost_files()
        try:
            self.connection.execute("BEGIN")
            yield
        except sqlite3.Error as error:
            raise _translated(self.directory, error) from error
        finally:
            self._leave_transaction()

    def query(self, sql: str, values: Values = ()) -> Iterator[sqlite3.Row]:
        """Iterate over what a SELECT finds, without holding it all in memory."""
        self._refuse_lost_files()
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

    def check(self) -> None:
        """Look through all of the file.

        Raises:
            StoreCorrupt: it is damaged.
        """
        found = self.one("PRAGMA integrity_check(1)")
        if found is None or found[0] != "ok":
            msg = f"the store at {self.directory} failed: {found and found[0]}"
            raise StoreCorrupt(msg)

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

    def wait_for_others(self, seconds: float) -> None:
        """Set how long a transaction waits for that of another process.

        Raises:
            StoreError: the connection is broken.
        """
        self.one(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")

    def close(self) -> None:
        """Close the file; another process that forked from ours leaves it alone."""
        if os.getpid() == self.pid:
            self.abandon()

    def abandon(self) -> None:
        """Let go of a connection that may no longer work, whatever it says to that."""
        beside = _files(self.directory)[:-1]
        try:
            # Without our locks on them, another process may have removed those. A
            # connection left open would keep all later ones of this process waiting.
            with given_back(self.descriptors, replaceable=beside):
                self.connection.close()
        except sqlite3.Error:
            # Its file is gone or its descriptor closed: there is nothing to keep.
            return
        except OSError:
            # Closing it would close files of a test, and write to them before that.
            _NEVER_CLOSED.append(self.connection)
        finally:
            # A second time, these numbers may be those of any file.
            self.descriptors = {}

    def restore(self) -> None:
        """Write a file that was removed anew where it was, as long as it is open.

        Raises:
            StoreError: another one is there already, or it cannot be written.
        """
        _make(self.directory)
        path = self.directory / FILE_NAME
        try:
            (mode,) = self.connection.execute("PRAGMA journal_mode").fetchone()
            self.connection.execute("VACUUM INTO ?", (str(path),))
            with closing(sqlite3.connect(path)) as restored:
                restored.execute(f"PRAGMA journal_mode = {mode}")
        except sqlite3.Error as error:
            raise _translated(self.directory, error) from error

    def _refuse_lost_files(self) -> None:
        """Refuse to write where SQLite's descriptors are of no use.

        Raises:
            StoreRemoved: what they write goes nowhere.
            StoreError: a test closed them, and they may be those of its files.
        """
        if not all(each.is_ours for each in self.descriptors):
            msg = f"something closed the files of the store at {self.directory}"
            raise StoreError(msg)
        if any(each.is_removed for each in self.descriptors):
            msg = f"something removed the files of the store at {self.directory}"
            raise StoreRemoved(msg)

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
        StoreCorrupt: what is there is no store.
        StoreError: it is not there and not to be made, or cannot be opened.
    """
    path = directory / FILE_NAME
    if create:
        _make(directory)
    elif not path.exists():
        msg = f"there is no store at {directory}; run `pytest --braintrust` first"
        raise StoreError(msg)
    if not path.is_file():
        msg = f"the store at {directory} failed: {FILE_NAME} is no file"
        raise StoreCorrupt(msg)
    try:
        with high_numbers():
            connection = _opened(path)
    except sqlite3.Error as error:
        raise _translated(directory, error) from error
    except OSError as error:
        raise _unwritable(directory, error) from error
    found = descriptors.found(_files(directory))
    return Store(directory, connection, os.getpid(), found)


def _files(directory: Path) -> list[Path]:
    """SQLite's files of a store, its own last."""
    return [directory / f"{FILE_NAME}{suffix}" for suffix in _SUFFIXES]


def _make(directory: Path) -> None:
    """Make the directory, and the file for us alone."""
    try:
        folder.make(directory)
        path = directory / FILE_NAME
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise _unwritable(directory, error) from error


def _unwritable(directory: Path, error: OSError) -> StoreError:
    why = error.strerror or error
    return StoreError(f"cannot write the store at {directory}: {why}")


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to the file, made ready by one process if it is not yet."""
    if path.stat().st_size:
        with suppress(sqlite3.OperationalError):
            return _prepared(path, wal=False)
    with locked(path.parent, "open"):
        try:
            return _prepared(path, wal=True)
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                raise
        _leave_wal(path)
        return _prepared(path, wal=False)


def _prepared(path: Path, *, wal: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.row_factory = sqlite3.Row
        _prepare(connection, path.parent, wal=wal)
    except BaseException:
        connection.close()
        raise
    return connection


def _leave_wal(path: Path) -> None:
    """Let a file have the plain journal: slower, and as safe.

    SQLite tries what WAL needs, memory that processes share, only after it made a file
    one with WAL. Where the file system has none of that, as some of networks and
    containers, one process can open it then, and alone.
    """
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = DELETE")


def _prepare(connection: sqlite3.Connection, directory: Path, *, wal: bool) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    # Once, when the file is new: it stays what it is then.
    if wal and _version(connection) == 0:
        connection.execute("PRAGMA journal_mode = WAL")
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    # A plain journal may damage the file where the machine dies, unless it is synced.
    level = "NORMAL" if mode == "wal" else "FULL"
    connection.execute(f"PRAGMA synchronous = {level}")
    if _version(connection) != len(MIGRATIONS):
        _migrate(connection, directory)


def _migrate(connection: sqlite3.Connection, directory: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")  # one process migrates, the others wait
    version = _version(connection)
    if version > len(MIGRATIONS):
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
    while aside.exists():
        aside = aside.with_name(f"{aside.name}-again")
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
    if _is_busy(error):
        return StoreBusy(text)
    damaged = _code(error) in _DAMAGED or any(
        each in str(error) for each in _DAMAGED_TEXTS
    )
    return StoreCorrupt(text) if damaged else StoreError(text)


def _is_busy(error: sqlite3.Error) -> bool:
    return _code(error) in _BUSY or _BUSY_TEXT in str(error)


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 before Python 3.11, which does not tell."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
