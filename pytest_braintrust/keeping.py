"""Keep the rows that reports bring in the store, whatever happens to its file.

Used by the one process that sees every report. A row that cannot be written now is
held and tried again with the next one; the run goes on.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from pytest_braintrust.errors import StoreCorrupt, StoreError
from pytest_braintrust.events import TAIL, Row, teardown_tail
from pytest_braintrust.store import connection, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.store.writing import End, NewExperiment, Put

#: Makes what is known of the run's experiment in a project, before its first row.
Describe = Callable[[str], NewExperiment]


@dataclass(slots=True)
class _Kept:
    """The rows of the test that a worker told of last."""

    nodeid: str
    rows: dict[str, Row]
    #: Whether they are on their way to the store, or only held in case of a crash.
    written: bool


@dataclass(frozen=True, slots=True)
class _Owed:
    """A change that is not in the store yet."""

    row: Row
    change: Put | End


@dataclass(slots=True)
class Keeper:
    """Writes rows to the store, and remembers what it owes."""

    store: Store
    describe: Describe
    #: Rows of this run that should now be in the store.
    recorded: int = 0
    problem: str | None = None
    #: What a person should know of where the rows are.
    notes: list[str] = field(default_factory=list)
    _experiments: dict[str, StoredExperiment] = field(default_factory=dict)
    _owed: list[_Owed] = field(default_factory=list)
    _last: dict[str | None, _Kept] = field(default_factory=dict)
    # Threads of a test may log after it ended, beside the reports of the next ones.
    _lock: RLock = field(default_factory=RLock)

    def keep(
        self, nodeid: str, rows: list[Row], *, final: bool, worker: str | None
    ) -> None:
        """Write the rows of a test as they stand; what they no longer have goes."""
        with self._lock:
            before = self._last.get(worker)
            known: dict[str, Row] = {}
            if before is not None and before.nodeid == nodeid and before.written:
                known = before.rows
            now = {row["id"]: row for row in rows}
            self._owe(rows, final=final)
            gone = [row for row_id, row in known.items() if row_id not in now]
            self._owe(gone, final=final, gone=True)
            self.recorded += len(now.keys() - known.keys()) - len(gone)
            self._last[worker] = _Kept(nodeid, now, written=True)
            self._write()

    def end(self, nodeid: str, teardown: float, worker: str | None) -> None:
        """Note that a test ended and told nothing new, with the next write.

        Not with one of its own: what a death in between costs is the duration of a
        teardown, and every test would pay for it.
        """
        with self._lock:
            last = self._last.get(worker)
            if last is None or last.nodeid != nodeid or not last.written:
                return
            for row in last.rows.values():
                tail = teardown_tail(row, teardown)
                self._owed.append(_Owed(row, End(row["id"], len(TAIL), tail)))

    def hold(self, nodeid: str, rows: list[Row], worker: str | None) -> None:
        """Remember the rows of a test that only starts, should its worker die."""
        with self._lock:
            before = self._last.get(worker)
            if before is None or before.nodeid != nodeid or not before.written:
                held = {row["id"]: row for row in rows}
                self._last[worker] = _Kept(nodeid, held, written=False)

    def drop(self, rows: list[Row]) -> None:
        """Take rows out again."""
        with self._lock:
            self._owe(rows, final=True, gone=True)
            self.recorded -= len(rows)
            self._write()

    def last_of(self, nodeid: str, worker: str | None) -> list[Row]:
        """The rows known so far of the test that a worker runs."""
        kept = self._last.get(worker)
        return list(kept.rows.values()) if kept and kept.nodeid == nodeid else []

    @property
    def owed(self) -> int:
        """How many writes did not reach the store."""
        return len(self._owed)

    def settle(self) -> None:
        """Try once more to write what is owed."""
        with self._lock:
            self._write()

    def _owe(self, rows: list[Row], *, final: bool, gone: bool = False) -> None:
        self._owed += [_Owed(row, Put(row, final, gone)) for row in rows]

    def _write(self) -> None:
        if not self._owed:
            return
        try:
            self._write_once()
        except StoreError:
            # A test may have closed our file: a fresh connection tells.
            try:
                self._reopen()
                self._write_once()
            except StoreError as error:
                self.problem = str(error)

    def _write_once(self) -> None:
        writing.change(
            self.store,
            [(self._experiment(each.row).number, each.change) for each in self._owed],
        )
        self._owed.clear()
        self.problem = None

    def _experiment(self, row: Row) -> StoredExperiment:
        project = row["project"] or ""
        found = self._experiments.get(project)
        if found is None:
            found = writing.add_experiment(self.store, self.describe(project))
            self._experiments[project] = found
        return found

    def _reopen(self) -> None:
        self.store.abandon()
        self.store, note = open_somewhere(self.store.directory)
        self.notes += [note] if note else []
        self._experiments.clear()


def open_somewhere(directory: Path) -> tuple[Store, str | None]:
    """Open the store, or one that can be used in its place, and say so.

    A file that is no store is set aside, never deleted. Where the directory cannot be
    used at all the rows go to a new one among the system's temporary files.

    Raises:
        StoreError: no store can be opened anywhere.
    """
    try:
        return connection.open_store(directory), None
    except StoreCorrupt:
        return _in_place_of_corrupt(directory)
    except StoreError as error:
        fallback = Path(tempfile.mkdtemp(prefix="pytest-braintrust-"))
        return connection.open_store(fallback), f"{error}; rows are kept in {fallback}"


def _in_place_of_corrupt(directory: Path) -> tuple[Store, str]:
    aside = connection.set_aside(directory, time.strftime("%Y%m%d-%H%M%S"))
    message = f"the store at {directory} could not be read; it is set aside as {aside}"
    return connection.open_store(directory), message
