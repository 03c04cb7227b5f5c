"""Files of changes that are not in the tables yet: one for each run that goes on.

A transaction for each test would cost more than a quick test does. So a run appends
its changes to a file, where its death does not reach them, and whoever opens the store
takes in what is new there, many changes in one transaction: the run itself now and
then, the uploader, or the first command after a run was killed. How far a file was
taken in is noted in the same transaction, so no change is made twice.
"""

from __future__ import annotations

import errno
import io
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pytest_braintrust.clocks import now
from pytest_braintrust.descriptors import Descriptor, high_numbers
from pytest_braintrust.errors import StoreError
from pytest_braintrust.store import changes
from pytest_braintrust.store.changes import Change
from pytest_braintrust.store.connection import Store

FOLDER = "spool"
_SUFFIX = ".changes"

#: Lines, and bytes of them, that are taken in with one transaction.
_LINES = 500
_BYTES = 4_000_000

#: A file of this size is left for a new one.
_LARGE_BYTES = 32_000_000

#: What a run leaves behind is removed by others when it did not change for so long.
_LEFT_BEHIND_SECONDS = 86_400.0

# In tuples, because pyfakefs and mocks replace what they find by name in modules: what
# a test does to files must not reach ours.
_OPEN, _WRITE = (os.open,), (os.write,)
_FSTAT, _CUT, _SIZE = (os.fstat,), (os.ftruncate,), (os.path.getsize,)
_OPEN_FILE, _REMOVE = (io.open,), (os.unlink,)
#: Whether the system removes a file that somebody has open.
_WHILE_OPEN = os.name == "posix"
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


@dataclass(slots=True)
class Spool:
    """The file that a run appends to; its next one, when that grew large."""

    directory: Path
    session_id: str
    number: int = 1
    #: Bytes that it has, and how many of them are not taken in.
    size: int = 0
    late: int = 0
    _path: Path = field(init=False)
    #: When that was, in Unix seconds.
    _wrote: float = field(default_factory=now)
    _descriptor: Descriptor | None = None

    def __post_init__(self) -> None:
        name = f"{self.session_id}-{self.number}{_SUFFIX}"
        self._path = self.directory / FOLDER / name

    def next(self) -> Spool:
        """The file after this one."""
        return Spool(self.directory, self.session_id, self.number + 1)

    @property
    def is_large(self) -> bool:
        """Whether it takes much room for what is in the tables too."""
        return self.size > _LARGE_BYTES

    @property
    def exists(self) -> bool:
        """Whether the file is there."""
        return self._path.exists()

    def append(self, lines: str) -> None:
        """Add lines, all or none.

        Raises:
            StoreError: they could not be written.
        """
        data = lines.encode("ascii")
        held, before, self._wrote = self._descriptor, self._wrote, now()
        try:
            # Kept open, for opening costs more than writing. A test that closes
            # descriptors leaves us a number that may be a file of its own, and one
            # that removes files leaves us a file that nobody will see.
            if held is None or not held.is_usable:
                held = self._descriptor = self._opened()
            written = _WRITE[0](held.number, data)
            if written < len(data):
                _CUT[0](held.number, _FSTAT[0](held.number).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
            slept = self._wrote - before > _LEFT_BEHIND_SECONDS / 2
            if slept and held.is_removed:
                # Just now, by who takes us for dead; nobody may have read that line.
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))  # noqa: TRY301
        except OSError as error:
            msg = f"cannot write the store at {self.directory}: {error.strerror}"
            raise StoreError(msg) from error
        self.size += len(data)
        self.late += len(data)

    def _opened(self) -> Descriptor:
        if not self.size:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
        with high_numbers():
            return Descriptor.of(_OPEN[0](self._path, _FLAGS, 0o600))

    def close(self) -> None:
        """Let go of the file."""
        held, self._descriptor = self._descriptor, None
        if held is not None:
            held.close()

    def take_in(self, store: Store, late: Iterable[Change]) -> None:
        """Take in what is new.

        Args:
            store: The store.
            late: What was appended since the last time.

        Raises:
            StoreError: the file could not be read, or the store not be written.
        """
        # What is known need not be read, unless another process was quicker.
        if not (self.late and self._took_in(store, late)):
            take_in(store, self._path)
        self.late = 0

    def _took_in(self, store: Store, late: Iterable[Change]) -> bool:
        with store.transaction() as connection:
            if _taken(store, self._path) != self.size - self.late:
                return False
            changes.apply(connection, late)
            _note(connection, self._path, self.size)
        return True

    def remove(self, store: Store) -> None:
        """Remove the file, of which all was taken in.

        Raises:
            StoreError: the store could not be written.
        """
        self.close()
        _remove(store, self._path)

    def discard(self) -> None:
        """Remove the file, whose lines are elsewhere by now, if that can be done."""
        self.close()
        with suppress(OSError):
            _REMOVE[0](self._path)


def take_in_all(store: Store) -> None:
    """Take in what is new in the files of all runs.

    Raises:
        StoreError: a file could not be read, or the store not be written.
    """
    for path in _files(store):
        take_in(store, path)
        with suppress(OSError):
            if now() - path.stat().st_mtime > _LEFT_BEHIND_SECONDS:
                _remove_left_behind(store, path)


def remove_of(store: Store, dead: Collection[str]) -> None:
    """Take in what is new in the files of sessions, and remove them.

    Args:
        store: Where they are.
        dead: The ids of sessions that died: one that lives begins another file.

    Raises:
        StoreError: the store could not be written.
    """
    for path in _files(store):
        if path.name.rpartition("-")[0] in dead:
            with suppress(OSError):
                _remove_left_behind(store, path)


def _files(store: Store) -> list[Path]:
    return sorted((store.directory / FOLDER).glob(f"*{_SUFFIX}"))


def take_in_left(store: Store) -> None:
    """Do what `take_in_all` does, if it can be done now; otherwise a later one does."""
    with suppress(StoreError):
        take_in_all(store)


def take_in(store: Store, path: Path) -> None:
    """Take in what is new in a file.

    Raises:
        StoreError: it could not be read, or the store not be written.
    """
    try:
        while _SIZE[0](path) > _taken(store, path):
            if not _take_in_some(store, path):
                return
    except FileNotFoundError:
        # Its run took it in to the end, and removed it.
        return
    except OSError as error:
        msg = f"the store at {store.directory} failed: {error.strerror or error}"
        raise StoreError(msg) from error


def _remove(store: Store, path: Path) -> None:
    with store.transaction() as connection:
        with suppress(FileNotFoundError):
            _REMOVE[0](path)
        connection.execute("DELETE FROM spooled WHERE name = ?", (path.name,))


def _remove_left_behind(store: Store, path: Path) -> None:
    """Remove a file whose run is dead, as it seems: one may live that slept for long.

    What such a run appends before the removal is read after it; what it appends after
    the removal, it tells again in another file. Windows removes no file that is open,
    by us or by such a run.
    """
    with store.transaction() as connection:
        with _OPEN_FILE[0](path, "rb") as file:
            file.seek(_taken(store, path))
            if _WHILE_OPEN:
                _REMOVE[0](path)
            changes.apply(connection, _read(file))
        if not _WHILE_OPEN:
            _REMOVE[0](path)
        connection.execute("DELETE FROM spooled WHERE name = ?", (path.name,))


def _take_in_some(store: Store, path: Path) -> bool:
    with store.transaction() as connection:
        # Asked again: another process may have been here before.
        taken = _taken(store, path)
        lines = list(_lines(path, taken))
        changes.apply(connection, _read(lines))
        _note(connection, path, taken + sum(map(len, lines)))
    return bool(lines)


def _read(lines: Iterable[bytes]) -> Iterator[Change]:
    return changes.read(line.decode("ascii", "replace") for line in lines)


def _note(connection: sqlite3.Connection, path: Path, taken: int) -> None:
    """Note how much of a file is in the tables."""
    connection.execute(
        "INSERT OR REPLACE INTO spooled (name, taken) VALUES (?, ?)",
        (path.name, taken),
    )


def _taken(store: Store, path: Path) -> int:
    row = store.one("SELECT taken FROM spooled WHERE name = ?", (path.name,))
    return 0 if row is None else int(row["taken"])


def _lines(path: Path, start: int) -> Iterator[bytes]:
    """Whole lines from a place on; one without its end is being written, or was cut."""
    size = 0
    with _OPEN_FILE[0](path, "rb") as file:
        file.seek(start)
        for _, line in zip(range(_LINES), file, strict=False):
            if not line.endswith(b"\n"):
                return
            yield line
            size += len(line)
            if size > _BYTES:
                return
