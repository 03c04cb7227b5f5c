"""The run's side of the upload: starts the uploader, hears its check, waits at the end.

Where no process can be started, the same work is done here: the check at the start
and all of the sending at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_braintrust.child import Child
from pytest_braintrust.errors import ChildError, PluginError
from pytest_braintrust.settings import Connection
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store

#: The child's own timeouts end before this one.
_ANSWER_SECONDS = 20.0

#: How long the end waits for a server that was not once reached during the run.
UNREACHED_SECONDS = 3.0

_POLL_SECONDS = 0.05
_CLOCK, _SLEEP = (time.monotonic,), (time.sleep,)

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
    _notes: list[str] = field(default_factory=list)

    def start(self, store: Store) -> None:
        """Start the uploader; it asks the server for the project first."""
        self._child = self._started(store, self.project)

    def check(self) -> None:
        """Wait for what the server answered to the first question."""
        try:
            answer = self._answer()
        except ChildError as error:
            answer = {"state": "unreachable", "message": str(error)}
        self.state = str(answer.get("state"))
        self.message = str(answer.get("message", ""))

    def finish(self, store: Store, progress: Progress) -> None:
        """Let everything be sent, for as long as was asked for; the rest is kept."""
        until = _CLOCK[0]() + self._patience(store)
        if self._child is None or not self._child.running:
            # It could not be started, or something ended it before its time.
            self.close()
            if not self._unsent(store):
                return
            self._child = self._started(store, None)
        if self._child is None:
            self._send_here(store)
            return
        self._child.finish()
        self._wait(store, self._child, until, progress)

    def close(self) -> None:
        """End the uploader; what it has not sent is kept in the store."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _answer(self) -> dict[str, Any]:
        if self._child is not None:
            return self._child.answer(_ANSWER_SECONDS)
        from pytest_braintrust import service  # noqa: PLC0415 - httpx, only here

        return asdict(service.check(self.connection, self.project))

    def _started(self, store: Store, project: str | None) -> Child | None:
        request = {
            "task": "follow",
            "directory": str(store.directory),
            "session_id": self.session_id,
            "connection": asdict(self.connection),
            "project": project,
        }
        try:
            return Child(request)
        except ChildError:
            return None

    def _patience(self, store: Store) -> float:
        unreached = self.state != "ready" and not self._anything_sent(store)
        return min(self.flush_timeout, UNREACHED_SECONDS if unreached else 1e9)

    def _anything_sent(self, store: Store) -> bool:
        found = reading.experiments(store, session_id=self.session_id)
        return any(reading.row_counts(store, each.number).sent for each in found)

    def _unsent(self, store: Store) -> int:
        return reading.unsent_count(store, self.session_id)

    def _wait(
        self, store: Store, child: Child, until: float, progress: Progress
    ) -> None:
        total = self._unsent(store)
        while child.running and _CLOCK[0]() < until:
            progress(total - self._unsent(store), total)
            _SLEEP[0](_POLL_SECONDS)
        progress(total - self._unsent(store), total)

    def _send_here(self, store: Store) -> None:
        from pytest_braintrust import service  # noqa: PLC0415 - httpx, only here
        from pytest_braintrust.api.client import BraintrustClient  # noqa: PLC0415
        from pytest_braintrust.api.retry import RetryPolicy  # noqa: PLC0415

        policy = RetryPolicy(seconds=self._patience(store))
        try:
            with BraintrustClient.for_connection(
                self.connection, policy=policy
            ) as client:
                service.drain(store, self.session_id, client)
        except PluginError as error:
            self.message = str(error)
