"""The run's side of the upload: starts the uploader, hears its check, waits at the end.

Where no process can be started, the same work is done here: the check at the start
and all of the sending at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from pytest_braintrust.child import Child
from pytest_braintrust.clocks import monotonic, sleep
from pytest_braintrust.errors import ChildError
from pytest_braintrust.settings import Connection
from pytest_braintrust.store import reading, writing
from pytest_braintrust.store.connection import Store

#: The child's own timeouts end before this one.
_ANSWER_SECONDS = 20.0

#: How long the end waits for a server that was not once reached during the run.
UNREACHED_SECONDS = 3.0

_POLL_SECONDS = 0.05
#: Counting rows takes longer than asking whether a process lives.
_LOOK_SECONDS = 0.2
#: Told (rows sent so far, rows to send) now and then during the wait.
Progress = Callable[[int, int], object]


@dataclass(slots=True)
class Delivery:
    """Brings the rows of one session to Braintrust."""

    session_id: str
    connection: Connection
    project: str
    flush_timeout: float
    #: `ready`, `refused` or `unreachable`, once the server was asked.
    state: str = "unknown"
    message: str = ""
    _child: Child | None = None
    #: The store that the child reads: the run's rows may be in another by now.
    _store: Store | None = None

    def start(self, store: Store) -> None:
        """Start the uploader; it asks the server for the project first."""
        self._start(store, self.project)

    def check(self) -> None:
        """Wait for what the server answered to the first question."""
        try:
            answer = self._answer()
        except ChildError as error:
            answer = {"state": "unreachable", "message": str(error)}
        self.state = answer.get("state", "")
        self.message = answer.get("message", "")

    def finish(self, store: Store, progress: Progress) -> None:
        """Let everything be sent, for as long as was asked for; the rest is kept."""
        wait = _Wait(self, store, progress)
        if not self._by_child(wait):
            # None could be started, or something ended it before its time.
            self.close()
            self._start(store, None)
            if not self._by_child(wait):
                self._here(wait)
        self.close()
        if wait.over and wait.left:
            self._note_time_up(wait)

    def close(self) -> None:
        """End the uploader; what it has not sent is kept in the store."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _start(self, store: Store, project: str | None) -> None:
        request = {
            "task": "follow",
            "directory": str(store.directory),
            "session_id": self.session_id,
            "connection": asdict(self.connection),
            "project": project,
            "seconds": self.flush_timeout,
        }
        try:
            self._child = Child(request)
        except ChildError:
            self._child = None
        self._store = store

    def _answer(self) -> dict[str, str]:
        if self._child is not None:
            answer = self._child.answer(_ANSWER_SECONDS)
            if answer is not None:
                return answer
        from pytest_braintrust import service  # noqa: PLC0415 - httpx, only here

        try:
            return asdict(service.check(self.connection, self.project))
        except Exception as error:  # noqa: BLE001 - what a suite mocked may raise any
            return {"state": "unreachable", "message": f"Braintrust: {error!r}"}

    def _by_child(self, wait: _Wait) -> bool:
        """Let the uploader come to its end; whether that is all that can be done."""
        child = self._child
        if child is None:
            return not wait.left
        # One that ended before may have done so before the last rows were there.
        in_time = child.finish()
        while child.running and not wait.over:
            sleep(_POLL_SECONDS)
            wait.look()
        wait.count()
        here = self._store is wait.store
        return wait.over or not wait.left or (in_time and child.gave_up and here)

    def _here(self, wait: _Wait) -> None:
        from pytest_braintrust import service  # noqa: PLC0415 - httpx, only here

        def stop() -> bool:
            wait.look()
            return wait.over

        try:
            service.send_here(
                wait.store, self.session_id, self.connection, wait.seconds, stop
            )
        except Exception as error:  # noqa: BLE001 - what a suite mocked may raise any
            self._note(wait.store, f"sending failed: {error!r}")

    def _note_time_up(self, wait: _Wait) -> None:
        why = f"{self.connection.api_url} did not answer during this run"
        if wait.reached:
            why = f"not all rows were acknowledged within {wait.seconds:g} seconds"
        self._note(wait.store, why)

    def _note(self, store: Store, why: str) -> None:
        """Keep why rows are left, where the uploader did not."""
        for each in reading.waiting(store, self.session_id):
            if each.upload_error is None:
                writing.set_upload_error(store, each.number, why)


class _Wait:
    """The wait at the end of a run: how far the rows are, and whether it is over."""

    def __init__(self, delivery: Delivery, store: Store, progress: Progress) -> None:
        self.store = store
        self._delivery = delivery
        self._progress = progress
        self._start = self._looked = monotonic()
        self._total = self.left = self._unsent()
        self.reached = delivery.state == "ready" or reading.anything_sent(
            store, delivery.session_id
        )

    @property
    def seconds(self) -> float:
        """How long it may take in all: little where the server was never reached."""
        asked = self._delivery.flush_timeout
        return asked if self.reached else min(asked, UNREACHED_SECONDS)

    @property
    def over(self) -> bool:
        """Whether its time is up."""
        return monotonic() - self._start >= self.seconds

    def look(self) -> None:
        """Count what is left, if that was not done just now."""
        if monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = monotonic()
            self.count()

    def count(self) -> None:
        """Count what is left, and tell."""
        self.left = self._unsent()
        self.reached = self.reached or self.left < self._total
        self._progress(self._total - self.left, self._total)

    def _unsent(self) -> int:
        return reading.unsent_count(self.store, self._delivery.session_id)
