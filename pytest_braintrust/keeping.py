"""Keep the rows that reports bring in the store, whatever happens to its file.

Used by the one process that sees every report. A row that cannot be written now is
held and tried again with the next one; the run goes on.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from pytest_braintrust.errors import StoreBusy, StoreCorrupt, StoreError, StoreRemoved
from pytest_braintrust.events import TAIL, Row, teardown_tail
from pytest_braintrust.locks import locked
from pytest_braintrust.store import connection, reading, sessions, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.store.sessions import NewSession
from pytest_braintrust.store.writing import End, NewExperiment, Put

#: How long a test waits for another process that writes to the store.
_WAIT_SECONDS = 2.0
#: After a write that failed, the next one is tried after so many seconds at least.
_AGAIN_SECONDS = 1.0

# In a tuple, because freezegun replaces what it finds by name in modules.
_CLOCK = (time.monotonic,)

#: Makes what is known of the run's experiment in a project, before its first row.
Describe = Callable[[str], NewExperiment]


@dataclass(slots=True)
class Told:
    """What a worker told of its last test."""

    nodeid: str
    rows: dict[str, Row]
    #: Those that are on their way to the store; the others are only held, in case
    #: that the worker dies.
    written: dict[str, Row]
    #: Whether the test's body is known to have failed.
    failed: bool = False
    #: Whether the test ended, so that nothing more is to come.
    ended: bool = False


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
    session: NewSession
    #: Rows of this run that should now be in the store.
    recorded: int = 0
    #: Rows among them that are in an earlier one, as `notes` say.
    left_behind: int = 0
    problem: str | None = None
    #: What a person should know of where the rows are.
    notes: list[str] = field(default_factory=list)
    _experiments: dict[str, StoredExperiment] = field(default_factory=dict)
    _session: int | None = None
    _owed: list[_Owed] = field(default_factory=list)
    _last: dict[str | None, Told] = field(default_factory=dict)
    _settled: bool = False
    #: When to try again after a write that failed.
    _again: float = 0.0
    # Threads of a test may log after it ended, beside the reports of the next ones.
    _lock: RLock = field(default_factory=RLock)

    def begin(self) -> None:
        """Let other processes of the run know of this one, where they can."""
        with contextlib.suppress(StoreError):
            self.store.wait_for_others(_WAIT_SECONDS)
            self._session_number()

    def keep(
        self,
        nodeid: str,
        rows: list[Row],
        *,
        final: bool,
        worker: str | None,
        failed: bool = False,
    ) -> None:
        """Write the rows of a test as they stand; what they no longer have goes."""
        with self._lock:
            known = self._written(nodeid, worker)
            now = {row["id"]: row for row in rows}
            self._owe(rows, final=final)
            gone = [row for row_id, row in known.items() if row_id not in now]
            self._owe(gone, final=final, gone=True)
            self.recorded += len(now.keys() - known.keys()) - len(gone)
            self._last[worker] = Told(nodeid, now, now, failed=failed, ended=final)
            self._write()

    def amend(self, rows: list[Row]) -> None:
        """Write what was said of a test after it ended, beside the tests after it.

        Not after `settle`: the count is made up then.
        """
        with self._lock:
            if self._settled:
                return
            self.recorded += sum(not self._is_kept(row) for row in rows)
            self._owe(rows, final=True)
            self._write()

    def end(self, nodeid: str, teardown: float, worker: str | None) -> None:
        """Note that a test ended and told nothing new, with the next write.

        Not with one of its own: what a death in between costs is the duration of a
        teardown, and every test would pay for it.
        """
        with self._lock:
            last = self.last_of(nodeid, worker)
            if last is None or last.rows is not last.written:
                return
            last.ended = True
            for row in last.rows.values():
                tail = teardown_tail(row, teardown)
                self._owed.append(_Owed(row, End(row["id"], len(TAIL), tail)))

    def hold(self, nodeid: str, rows: list[Row], worker: str | None) -> None:
        """Remember the rows of a test that only starts, should its worker die."""
        with self._lock:
            held = {row["id"]: row for row in rows}
            self._last[worker] = Told(nodeid, held, self._written(nodeid, worker))

    def hand_over(self, nodeid: str, worker: str | None, to: str | None) -> None:
        """Let the rows of a test that died with its worker be those of another's."""
        with self._lock:
            if worker != to and self.last_of(nodeid, worker) is not None:
                told = self._last[to] = self._last.pop(worker)
                told.ended = False

    def last_of(self, nodeid: str, worker: str | None) -> Told | None:
        """What is known so far of a test, if it is the last that a worker told of."""
        told = self._last.get(worker)
        return told if told is not None and told.nodeid == nodeid else None

    @property
    def owed(self) -> int:
        """How many writes did not reach the store."""
        return len(self._owed)

    def settle(self) -> None:
        """Try once more to write what is owed, and let threads no longer add to it."""
        with self._lock:
            self._settled = True
            with contextlib.suppress(StoreError):
                self.store.wait_for_others(connection.BUSY_SECONDS)
            self._write()

    def open(self) -> list[tuple[str | None, Told]]:
        """The tests that have a row and did not end, by worker."""
        return [
            (worker, told)
            for worker, told in self._last.items()
            if told.written and not told.ended
        ]

    def _written(self, nodeid: str, worker: str | None) -> dict[str, Row]:
        """The rows of a test that are in the store, or on their way there."""
        told = self.last_of(nodeid, worker)
        # A second test may have the name of one that ended.
        return {} if told is None or told.ended else told.written

    def _is_kept(self, row: Row) -> bool:
        if any(each.row["id"] == row["id"] for each in self._owed):
            return True
        try:
            number = self._experiment(row).number
            return reading.has_row(self.store, number, row["id"])
        except StoreError:
            # What cannot be looked up cannot be written either: the count of what
            # is missing tells of it.
            return True

    def _owe(self, rows: list[Row], *, final: bool, gone: bool = False) -> None:
        self._owed += [_Owed(row, Put(row, final, gone)) for row in rows]

    def _write(self) -> None:
        began = _CLOCK[0]()
        if not self._owed or (began < self._again and not self._settled):
            return
        try:
            self._try_to_write()
        except StoreError as error:
            self.problem = str(error)
            # All that is owed is tried anew each time, and a wait may be long.
            ended = _CLOCK[0]()
            self._again = ended + max(_AGAIN_SECONDS, 2 * (ended - began))

    def _try_to_write(self) -> None:
        try:
            self._write_once()
        except StoreBusy as error:
            if not self._settled:
                raise
            self._write_elsewhere(error)
        except StoreError as error:
            self._write_again(error)

    def _write_again(self, error: StoreError) -> None:
        try:
            # A test may have closed our file: a fresh connection tells.
            self._reopen(error)
            self._write_once()
        except StoreBusy:
            raise
        except StoreError as still:
            self._write_elsewhere(still)

    def _write_elsewhere(self, error: StoreError) -> None:
        store, note = _open_elsewhere(error)
        # For good: a run whose rows alternate between two stores is of no use.
        self._use(store, note, left_behind=self._count_here())
        self._write_once()

    def _write_once(self) -> None:
        writing.change(
            self.store,
            [(self._experiment(each.row).number, each.change) for each in self._owed],
            session=self._session_number(),
        )
        self._owed.clear()
        self.problem = None

    def _session_number(self) -> int:
        if self._session is None:
            self._session = sessions.begin(self.store, self.session)
        return self._session

    def _experiment(self, row: Row) -> StoredExperiment:
        project = row["project"] or ""
        found = self._experiments.get(project)
        if found is None:
            found = writing.add_experiment(self.store, self.describe(project))
            self._experiments[project] = found
        return found

    def _reopen(self, error: StoreError) -> None:
        directory = self.store.directory
        if isinstance(error, StoreRemoved):
            self._restore(error)
        self.store.abandon()
        # Damage in its midst shows when that is read, not when the file is opened.
        if isinstance(error, StoreCorrupt):
            self._use(*_in_place_of_corrupt(directory))
        else:
            self._use(*_open_in_place(directory))

    def _restore(self, error: StoreRemoved) -> None:
        try:
            self.store.restore()
            self.notes.append(f"{error}; what was in it is there again")
        except StoreError:
            # What is missing then is counted at the end.
            self.notes.append(str(error))

    def _use(self, store: Store, note: str | None, *, left_behind: int = 0) -> None:
        self.notes += [note] if note else []
        if left_behind:
            rows = f"{left_behind} earlier row{'s' if left_behind > 1 else ''}"
            self.notes.append(f"{rows} of this run stayed in {self.store.directory}")
        self.left_behind += left_behind
        self.store.abandon()
        self.store = store
        self._experiments.clear()
        self._session = None
        store.wait_for_others(_WAIT_SECONDS)

    def _count_here(self) -> int:
        try:
            return reading.session_counts(self.store, self.session.id).recorded
        except StoreError:
            return 0


def open_somewhere(
    directory: Path, look: Callable[[Store], object] = lambda store: None
) -> tuple[Store, str | None]:
    """Open the store, or one that can be used in its place, and say so.

    A file that is no store is set aside, never deleted. Where the directory cannot be
    used at all the rows go to a new one among the system's temporary files.

    Args:
        directory: Where it is, or is to be.
        look: Reads in it what is needed first; that may show that it is damaged.

    Raises:
        StoreError: no store can be opened anywhere.
    """
    try:
        return _open_in_place(directory, look)
    except StoreError as error:
        store, note = _open_elsewhere(error)
        return _looked_at(store, look), note


def _open_in_place(
    directory: Path, look: Callable[[Store], object] = lambda store: None
) -> tuple[Store, str | None]:
    try:
        return _looked_at(connection.open_store(directory), look), None
    except StoreCorrupt:
        store, note = _in_place_of_corrupt(directory)
        return _looked_at(store, look), note


def _in_place_of_corrupt(directory: Path) -> tuple[Store, str | None]:
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


def _open_elsewhere(error: StoreError) -> tuple[Store, str]:
    try:
        directory = Path(tempfile.mkdtemp(prefix="pytest-braintrust-"))
    except OSError as none:
        msg = f"{error}; nor can rows be kept among temporary files: {none.strerror}"
        raise StoreError(msg) from none
    note = f"{error}; rows are kept in {directory}: give commands --store {directory}"
    return connection.open_store(directory), note
