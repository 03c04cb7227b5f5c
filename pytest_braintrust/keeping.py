"""Keep the rows that reports bring in the store, whatever happens to its files.

Used by the one process that sees every report. Rows are safe in the run's spool before
the next report is looked at, and come into the tables many at once. What cannot be
written now is held and tried again with the next row; the run goes on.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from pytest_braintrust.clocks import monotonic
from pytest_braintrust.errors import StoreBusy, StoreCorrupt, StoreError, StoreRemoved
from pytest_braintrust.events import Row
from pytest_braintrust.locks import locked
from pytest_braintrust.store import changes, connection, reading, sessions
from pytest_braintrust.store.changes import NewExperiment
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.sessions import NewSession
from pytest_braintrust.store.spool import Spool

#: After so many bytes or seconds the tables take in what the spool has.
_LATE_BYTES, _LATE_SECONDS = 300_000, 0.5
#: How long a test waits for another process that writes to the store.
_WAIT_SECONDS = 2.0
#: After a write that failed, the next one is tried after so many seconds at least.
_AGAIN_SECONDS = 1.0

#: Makes what is known of the run's experiment in a project, before its first row.
Describe = Callable[[str], NewExperiment]


@dataclass(slots=True)
class Told:
    """What a worker told of its last test."""

    nodeid: str
    rows: dict[str, Row]
    #: Whether the test's body is known to have failed.
    failed: bool = False
    #: Whether the test ended, so that nothing more is to come.
    ended: bool = False


@dataclass(slots=True)
class _Step:
    """A part of writing, which may fail and is tried again after a while."""

    problem: str | None = None
    _again: float = 0.0

    def take(self, do: Callable[[], object], now: float, *, at_once: bool) -> None:
        if now < self._again and not at_once:
            return
        try:
            do()
            self.problem = None
        except StoreError as error:
            self.problem = str(error)
            # All that is owed is tried anew each time, and a wait may be long.
            ended = monotonic()
            self._again = ended + max(_AGAIN_SECONDS, 2 * (ended - now))


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
    #: What a person should know of where the rows are.
    notes: list[str] = field(default_factory=list)
    #: The id of the run's experiment in each project that has one.
    _experiments: dict[str, str] = field(default_factory=dict)
    #: Lines that are in no spool yet, and those that are and not in the tables.
    _owed: list[str] = field(default_factory=list)
    _late: list[str] = field(default_factory=list)
    _spool: Spool = field(init=False)
    #: When the tables take in what the spool has.
    _due: float = 0.0
    _last: dict[str | None, Told] = field(default_factory=dict)
    _settled: bool = False
    _appending: _Step = field(default_factory=_Step)
    _taking_in: _Step = field(default_factory=_Step)
    # Threads of a test may log after it ended, beside the reports of the next ones.
    _lock: RLock = field(default_factory=RLock)

    def __post_init__(self) -> None:
        self._spool = Spool(self.store.directory, self.session.id)
        self._owed += self._head()

    @property
    def problem(self) -> str | None:
        """Why what is owed could not be written, or None."""
        # A spool elsewhere may have taken what this one could not.
        owing = self._appending.problem if self._owed else None
        return owing or self._taking_in.problem

    def begin(self) -> None:
        """Let other processes of the run know of this one, where they can."""
        with contextlib.suppress(StoreError):
            self.store.wait_for_others(_WAIT_SECONDS)
            sessions.begin(self.store, self.session)

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
            self._put(rows, final=final)
            if known:
                self._take_out(known, now)
            self.recorded += len(now) - len(known)
            self._last[worker] = Told(nodeid, now, failed=failed, ended=final)
            self._write()

    def amend(self, rows: list[Row]) -> None:
        """Write what was said of a test after it ended, beside the tests after it.

        Not after `settle`: the count is made up then.
        """
        with self._lock:
            if self._settled:
                return
            self.recorded += sum(not self._is_kept(row) for row in rows)
            self._put(rows, final=True)
            self._write()

    def end(self, nodeid: str, teardown: float, worker: str | None) -> None:
        """Note that a test ended and told nothing new, with the next write.

        Not with one of its own: what a death in between costs is the duration of a
        teardown, and every test would pay for it.
        """
        with self._lock:
            last = self.last_of(nodeid, worker)
            if last is None:
                return
            last.ended = True
            self._owed += [
                changes.end(self._experiment(row), row["id"], teardown)
                for row in last.rows.values()
            ]

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

    def settle(self) -> None:
        """Bring all into the tables, and let threads no longer add to it."""
        with self._lock:
            self._settled = True
            if not self._experiments:
                return
            with contextlib.suppress(StoreError):
                self.store.wait_for_others(connection.BUSY_SECONDS)
            self._write()
            if self.problem is None:
                with contextlib.suppress(StoreError):
                    self._spool.remove(self.store)

    def close(self) -> None:
        """Let go of the store; what it could not take in stays beside it."""
        if not self._settled:
            self.settle()
        self._spool.close()
        self.store.close()

    def open(self) -> list[tuple[str | None, Told]]:
        """The tests that have a row and did not end, by worker."""
        return [
            (worker, told)
            for worker, told in self._last.items()
            if told.rows and not told.ended
        ]

    def _written(self, nodeid: str, worker: str | None) -> dict[str, Row]:
        """The rows of a test that are in the store, or on their way there."""
        told = self.last_of(nodeid, worker)
        # A second test may have the name of one that ended.
        return {} if told is None or told.ended else told.rows

    def _take_out(self, known: dict[str, Row], now: dict[str, Row]) -> None:
        """Owe that rows go which a test no longer has."""
        for row_id in known.keys() - now.keys():
            line = changes.take_out(self._experiment(known[row_id]), row_id)
            self._owed.append(line)

    def _is_kept(self, row: Row) -> bool:
        try:
            self._take_in()
            return reading.has_row(self.store, self._experiment(row), row["id"])
        except StoreError:
            # What cannot be looked up cannot be written either: the count of what
            # is missing tells of it.
            return True

    def _put(self, rows: list[Row], *, final: bool) -> None:
        session = self.session.id
        for row in rows:
            # Its experiment first: that may owe a line of its own.
            experiment = self._experiment(row)
            self._owed.append(changes.put(experiment, session, row, final=final))

    def _experiment(self, row: Row) -> str:
        project = row["project"] or ""
        found = self._experiments.get(project)
        if found is None:
            new = self.describe(project)
            self._owed.append(changes.add(new))
            found = self._experiments[project] = new.id
        return found

    def _head(self) -> list[str]:
        """What a spool starts with, so that its lines are enough to make its rows."""
        adds = [changes.add(self.describe(project)) for project in self._experiments]
        return [changes.begin(self.session), *adds]

    def _write(self) -> None:
        now = monotonic()
        # Also while the tables are locked by others: what is in the spool is safe.
        if self._owed:
            self._appending.take(self._append, now, at_once=self._settled)
        due = now > self._due or self._spool.late > _LATE_BYTES
        if due or self._settled:
            self._taking_in.take(self._take_in, now, at_once=self._settled)

    def _append(self) -> None:
        try:
            self._append_once()
        except StoreError as error:
            try:
                # A test may have removed all of the store.
                self._reopen(self._cause_of(error))
                self._append_once()
            except StoreError as still:
                self._go_elsewhere(still)

    def _append_once(self) -> None:
        self._spool.append("".join(self._owed))
        self._late += self._owed
        self._owed.clear()

    def _cause_of(self, error: StoreError) -> StoreError:
        try:
            self.store.one("SELECT 1")
        except StoreError as cause:
            return cause
        return error

    def _take_in(self) -> None:
        try:
            self._take_in_once()
        except StoreBusy as error:
            if not self._settled:
                raise
            self._go_elsewhere(error)
            self._take_in_once()
        except StoreError as error:
            self._take_in_again(error)
        self._due = monotonic() + _LATE_SECONDS

    def _take_in_again(self, error: StoreError) -> None:
        try:
            # A test may have closed our file: a fresh connection tells.
            self._reopen(error)
            self._take_in_once()
        except StoreBusy:
            raise
        except StoreError as still:
            self._go_elsewhere(still)
            self._take_in_once()

    def _take_in_once(self) -> None:
        self._spool.take_in(self.store)
        self._late.clear()
        if self._spool.is_large:
            self._spool.remove(self.store)
            self._spool = self._spool.next()
            self._owed[:0] = self._head()

    def _go_elsewhere(self, error: StoreError) -> None:
        store, note = _open_elsewhere(error)
        # For good: a run whose rows alternate between two stores is of no use.
        self._use(store, note, left_behind=self._count_here())

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
        store.wait_for_others(_WAIT_SECONDS)
        self._use_spool()

    def _use_spool(self) -> None:
        """Tell what the tables do not have anew, where the store's spool has it not."""
        before = self._spool
        if before.directory == self.store.directory and before.exists:
            return
        self._spool = Spool(self.store.directory, self.session.id, before.number + 1)
        self._owed[:0] = [*self._head(), *self._late]
        self._late.clear()
        self._append_once()
        before.discard()

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
