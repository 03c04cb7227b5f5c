"""Keep the rows that reports bring: what each test's are, and how many there are.

Used by the one process that sees every report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from threading import RLock

from pytest_braintrust.errors import StoreError
from pytest_braintrust.events import Row
from pytest_braintrust.facts import NewExperiment
from pytest_braintrust.ledger import WAIT_SECONDS, Ledger
from pytest_braintrust.store import changes, reading, sessions
from pytest_braintrust.store.changes import Change
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.sessions import NewSession

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


class Keeper:
    """Knows the rows of the run's tests, and owes the store each change of them."""

    def __init__(
        self,
        store: Store,
        describe: Describe,
        session: NewSession,
        notes: Iterable[str] = (),
    ) -> None:
        self.session = session
        #: Rows of this run that should now be in the store.
        self.recorded = 0
        self._describe = describe
        #: The id of the run's experiment in each project that has one.
        self._experiments: dict[str, str] = {}
        self._last: dict[str | None, Told] = {}
        # Threads of a test may log after it ended, beside the reports of the next ones.
        self._lock = RLock()
        self._ledger = Ledger(store, session.id, self._head, notes=[*notes])

    @property
    def store(self) -> Store:
        """Where the rows are, which may be elsewhere than where the run began."""
        return self._ledger.store

    @property
    def notes(self) -> list[str]:
        """What a person should know of where the rows are."""
        return self._ledger.notes

    @property
    def left_behind(self) -> int:
        """Rows among those recorded that are in an earlier store, as `notes` say."""
        return self._ledger.left_behind

    @property
    def problem(self) -> str | None:
        """Why rows could not be written, or None."""
        return self._ledger.problem

    def begin(self) -> None:
        """Let other processes of the run know of this one, where they can."""
        with suppress(StoreError):
            self.store.wait_for_others(WAIT_SECONDS)
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
            self._ledger.write()

    def amend(self, rows: list[Row]) -> None:
        """Write what was said of a test after it ended, beside the tests after it.

        Not after `settle`: the count is made up then.
        """
        with self._lock:
            if self._ledger.settled:
                return
            self.recorded += sum(not self._is_kept(row) for row in rows)
            self._put(rows, final=True)
            self._ledger.write()

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
            self._ledger.owed += [
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
            self._ledger.settled = True
            if self._experiments:
                self._ledger.settle()

    def close(self) -> None:
        """Let go of the store; what it could not take in stays beside it."""
        if not self._ledger.settled:
            self.settle()
        self._ledger.close()

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
        # What has the name of a test that ended is another one.
        return {} if told is None or told.ended else told.rows

    def _take_out(self, known: dict[str, Row], now: dict[str, Row]) -> None:
        """Owe that rows go which a test no longer has."""
        for row_id in known.keys() - now.keys():
            gone = changes.TakeOut(self._experiment(known[row_id]), row_id)
            self._ledger.owed.append(gone)

    def _is_kept(self, row: Row) -> bool:
        try:
            self._ledger.take_in()
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
            self._ledger.owed.append(changes.put(experiment, session, row, final=final))

    def _experiment(self, row: Row) -> str:
        project = row["project"] or ""
        found = self._experiments.get(project)
        if found is None:
            new = self._describe(project)
            self._ledger.owed.append(changes.Add(new))
            found = self._experiments[project] = new.id
        return found

    def _head(self) -> list[Change]:
        """What a spool starts with, so that its lines are enough to make its rows."""
        adds = [changes.Add(self._describe(project)) for project in self._experiments]
        return [changes.Begin(self.session), *adds]
