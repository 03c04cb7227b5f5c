"""Bring a dataset from Braintrust into the cache: whole, in one version, or not at all.

In little memory, however large it is: rows go to disk as they come, and so does what
is remembered of them to tell a row that comes twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

from pytest_braintrust.api.btql import Line
from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.datasets import cache, finding
from pytest_braintrust.datasets.cache import Cache, Entry, Kept
from pytest_braintrust.datasets.finding import Found
from pytest_braintrust.datasets.wanted import Wanted
from pytest_braintrust.errors import (
    ApiError,
    DatasetError,
    Overloaded,
    Rejected,
    Unreachable,
)
from pytest_braintrust.settings import DEFAULT_PAGE_SIZE

#: Told how many rows came so far.
Progress: TypeAlias = Callable[[int], object]

#: How often a dataset is read again that changed while it was read.
_TRIES = 3
#: After so many rows it is told how many came.
_TELL_ROWS = 200


def obtain(
    client: BraintrustClient,
    kept_in: Cache,
    wanted: Wanted,
    *,
    page_size: int = DEFAULT_PAGE_SIZE,
    progress: Progress = lambda rows: None,
) -> Entry:
    """The rows that are wanted, from the cache where it has this version of them.

    Raises:
        DatasetError: there is no such dataset or version, or it cannot be used.
        Unreachable, Overloaded: the server cannot be asked now.
    """
    name = wanted.name
    try:
        found = finding.find(client, wanted)
        name = found.name
        pull = _Pull(client, kept_in, found, wanted, page_size, progress)
        return pull.pinned(wanted.version) if wanted.version else pull.newest()
    except (Unreachable, Overloaded):
        raise
    except ApiError as error:
        raise finding.explained(error, name) from None


@dataclass(frozen=True, slots=True)
class _State:
    """What tells that a dataset has changed: its newest row, and how many it has."""

    version: str
    total: int | None


@dataclass(slots=True)
class _Pull:
    client: BraintrustClient
    cache: Cache
    found: Found
    wanted: Wanted
    page_size: int
    progress: Progress

    def newest(self) -> Entry:
        """The rows as they are now.

        Without naming a version to the server: that of the newest row has rows in it
        that were deleted since.
        """
        for _ in range(_TRIES):
            before = self._state()
            kept = self._kept(before.version, total=before.total)
            if before.total is not None and (entry := self._cached(kept)):
                return entry
            with self.cache.new() as made:
                rows = self._download(made, None)
                # One page is of one moment; several are if nothing changed meanwhile.
                if rows <= self.page_size or self._state() == before:
                    return self.cache.keep(made, kept, rows)
        msg = f"dataset {self.found.name} changes while it is read; name a version"
        raise DatasetError(msg)

    def pinned(self, version: str) -> Entry:
        """The rows as they were at a version."""
        kept = self._kept(version, pinned=True)
        if entry := self._cached(kept):
            return entry
        newest = self._state().version
        if not version.isdecimal() or int(version) > int(newest):
            msg = (
                f"dataset {self.found.name} has no version {version!r}; "
                f"the newest is {newest}"
            )
            raise DatasetError(msg)
        with self.cache.new() as made:
            rows = self._download(made, version)
            return self.cache.keep(made, kept, rows)

    def _cached(self, kept: Kept) -> Entry | None:
        entry = self.cache.entry(kept.key)
        if entry is not None:
            self.cache.touch(entry)
        return entry

    def _state(self) -> _State:
        dataset_id = self.found.dataset.id
        row = next(self.client.fetch_dataset(dataset_id, page_size=1), None)
        if row is None or row.version is None:
            msg = f"dataset {self.found.name} has no rows"
            raise DatasetError(msg)
        try:
            total = self.client.count_dataset_rows(dataset_id)
        except Rejected:  # an older server, of one's own
            total = None
        return _State(row.version, total)

    def _kept(
        self, version: str, *, total: int | None = None, pinned: bool = False
    ) -> Kept:
        return Kept(
            api_url=self.client.connection.api_url,
            org_id=self.found.project.org_id,
            project=self.found.project.name,
            dataset_id=self.found.dataset.id,
            name=self.found.dataset.name,
            version=version,
            pinned=pinned,
            total=total,
            limit=self.wanted.limit,
            filter=self.wanted.filter,
        )

    def _download(self, made: Path, version: str | None) -> int:
        limit = self.wanted.limit
        lines = self.client.download_lines(
            "dataset",
            self.found.dataset.id,
            version=version,
            filter=_filter(self.wanted.filter),
            page_size=self.page_size if limit is None else min(limit, self.page_size),
        )
        path = cache.rows_file(made)
        try:
            with closing(_Seen()) as seen:
                with path.open("r+b") as file:
                    rows = _write(lines, file, seen, limit, self.progress)
                # Closed by then: Windows replaces no file that is open.
                if seen.superseded:
                    _rewrite(path, seen)
        except sqlite3.Error as error:  # a disk that is full, mostly
            msg = f"dataset {self.found.name} cannot be downloaded: {error}"
            raise DatasetError(msg) from None
        return rows


def _filter(text: str | None) -> str | dict[str, object] | None:
    if text is None or not text.startswith("{"):
        return text
    tree: dict[str, object] = json.loads(text)
    return tree


def _write(
    lines: Iterator[Line],
    file: BinaryIO,
    seen: _Seen,
    limit: int | None,
    progress: Progress,
) -> int:
    offset = rows = 0
    for line in lines:
        version = str(line.row.get("_xact_id"))
        number = int(version) if version.isdecimal() else 0
        if seen.note(str(line.row["id"]), number, offset):
            offset += file.write(line.text + b"\n")
            rows = seen.count
            if rows % _TELL_ROWS == 0:
                progress(rows)
        if rows == limit:
            break
    file.flush()
    return rows


def _rewrite(path: Path, seen: _Seen) -> None:
    """Leave only the newest version of each row."""
    whole = path.with_name(f"{path.name}.whole")
    whole.touch(mode=0o600)
    with path.open("rb") as old, whole.open("wb") as new:
        for offset in seen.offsets():
            old.seek(offset)
            new.write(old.readline())
    whole.replace(path)


@dataclass(slots=True)
class _Seen:
    """The rows that came, with the version and place of each; on disk if they are many.

    Given an empty name, SQLite uses a file that nobody else sees and that is gone
    when it is closed.
    """

    count: int = 0
    #: Whether a row came again in a newer version.
    superseded: bool = False
    _connection: sqlite3.Connection = field(
        default_factory=lambda: sqlite3.connect("", isolation_level=None)
    )

    def __post_init__(self) -> None:
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute(
            "CREATE TABLE rows (id TEXT PRIMARY KEY, version TEXT, offset INTEGER) "
            "WITHOUT ROWID"
        )
        self._connection.execute("BEGIN")

    def note(self, row_id: str, version: int, offset: int) -> bool:
        """Note a row; answers whether it is new, or newer than the one before."""
        # As text of one length: a transaction's number is larger than SQLite's are.
        text = f"{version:020}"
        added = self._connection.execute(
            "INSERT OR IGNORE INTO rows VALUES (?, ?, ?)", (row_id, text, offset)
        )
        if added.rowcount:
            self.count += 1
            return True
        newer = self._connection.execute(
            "UPDATE rows SET version = ?, offset = ? WHERE id = ? AND version < ?",
            (text, offset, row_id, text),
        )
        self.superseded = self.superseded or newer.rowcount > 0
        return newer.rowcount > 0

    def offsets(self) -> Iterator[int]:
        """Where the rows are that count, in the order they came."""
        found = self._connection.execute("SELECT offset FROM rows ORDER BY offset")
        return (offset for (offset,) in found)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
