"""Write a run's changes to its store, whatever happens to the store's files.

Changes are safe in the run's spool at once, and come into the tables many at once. What
cannot be written now is held and tried again with the next change; where the store
cannot be used any more, the run goes on with another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from pytest_braintrust import opening
from pytest_braintrust.clocks import monotonic
from pytest_braintrust.errors import StoreBusy, StoreCorrupt, StoreError, StoreRemoved
from pytest_braintrust.store import connection, reading
from pytest_braintrust.store.changes import Change
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.spool import Spool
from pytest_braintrust.words import a_number

#: After so many bytes or seconds the tables take in what the spool has.
_LATE_BYTES, _LATE_SECONDS = 300_000, 0.5
#: How long a test waits for another process that writes to the store.
WAIT_SECONDS = 2.0
#: After a write that failed, the next one is tried after so many seconds at least.
_AGAIN_SECONDS = 1.0


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
class Ledger:
    """The changes that a run makes, and the store that they go to."""

    store: Store
    session_id: str
    #: Answers what a spool starts with: enough to make its rows anywhere.
    head: Callable[[], list[Change]]
    #: Rows of this run that are in an earlier store, as `notes` say.
    left_behind: int = 0
    #: What a person should know of where the rows are.
    notes: list[str] = field(default_factory=list)
    #: Those that are in no spool yet; whoever has one adds it, and calls `write`.
    owed: list[Change] = field(default_factory=list)
    #: Whether the run has ended: nothing waits for a later call then.
    settled: bool = False
    #: Those that are in a spool and not in the tables.
    _late: list[Change] = field(default_factory=list)
    _spool: Spool = field(init=False)
    #: When the tables take in what the spool has.
    _due: float = 0.0
    _appending: _Step = field(default_factory=_Step)
    _taking_in: _Step = field(default_factory=_Step)

    def __post_init__(self) -> None:
        self._spool = Spool(self.store.directory, self.session_id)
        self.owed += self.head()

    @property
    def problem(self) -> str | None:
        """Why what is owed could not be written, or None."""
        # A spool elsewhere may have taken what this one could not.
        owing = self._appending.problem if self.owed else None
        return owing or self._taking_in.problem

    def settle(self) -> None:
        """Bring all into the tables."""
        self.settled = True
        with suppress(StoreError):
            self.store.wait_for_others(connection.BUSY_SECONDS)
        self.write()
        if self.problem is None:
            with suppress(StoreError):
                self._spool.remove(self.store)

    def close(self) -> None:
        """Let go of the store; what it could not take in stays beside it."""
        self._spool.close()
        self.store.close()

    def write(self) -> None:
        """Write what is owed; what fails is tried again with a later call."""
        now = monotonic()
        # Also while the tables are locked by others: what is in the spool is safe.
        if self.owed:
            self._appending.take(self._append, now, at_once=self.settled)
        due = now > self._due or self._spool.late > _LATE_BYTES
        if due or self.settled:
            self._taking_in.take(self.take_in, now, at_once=self.settled)

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
        self._spool.append("".join([each.line for each in self.owed]))
        self._late += self.owed
        self.owed.clear()

    def _cause_of(self, error: StoreError) -> StoreError:
        try:
            self.store.one("SELECT 1")
        except StoreError as cause:
            return cause
        return error

    def take_in(self) -> None:
        """Let the tables take in what the spool has.

        Raises:
            StoreError: they cannot, here and elsewhere.
        """
        try:
            self._take_in_once()
        except StoreBusy as error:
            if not self.settled:
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
        self._spool.take_in(self.store, self._late)
        self._late.clear()
        if self._spool.is_large:
            self._spool.remove(self.store)
            self._spool = self._spool.next()
            self.owed[:0] = self.head()

    def _go_elsewhere(self, error: StoreError) -> None:
        store, note = opening.open_elsewhere(error)
        # For good: a run whose rows alternate between two stores is of no use.
        self._use(store, note, left_behind=self._count_here())

    def _reopen(self, error: StoreError) -> None:
        directory = self.store.directory
        if isinstance(error, StoreRemoved):
            self._restore(error)
        self.store.abandon()
        # Damage in its midst shows when that is read, not when the file is opened.
        if isinstance(error, StoreCorrupt):
            self._use(*opening.in_place_of_corrupt(directory))
        else:
            self._use(*opening.open_in_place(directory))

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
            rows = a_number(left_behind, "earlier row")
            self.notes.append(f"{rows} of this run stayed in {self.store.directory}")
        self.left_behind += left_behind
        self.store.abandon()
        self.store = store
        store.wait_for_others(WAIT_SECONDS)
        self._use_spool()

    def _use_spool(self) -> None:
        """Tell what the tables do not have anew, where the store's spool has it not."""
        before = self._spool
        if before.directory == self.store.directory and before.exists:
            return
        self._spool = Spool(self.store.directory, self.session_id, before.number + 1)
        self.owed[:0] = [*self.head(), *self._late]
        self._late.clear()
        self._append_once()
        before.discard()

    def _count_here(self) -> int:
        try:
            return reading.session_counts(self.store, self.session_id).recorded
        except StoreError:
            return 0
