"""The run's side of a baseline on Braintrust: starts the search, hears what was found.

The search is a process of our own. It has found the run, or not, before the first
test; the run's rows arrive while tests run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_braintrust.baseline import Subject
from pytest_braintrust.child import Child
from pytest_braintrust.clocks import monotonic, sleep
from pytest_braintrust.errors import ChildError
from pytest_braintrust.settings import Connection
from pytest_braintrust.store.connection import Store

#: The first test waits no longer than this; then there is no baseline.
_ANSWER_SECONDS = 15.0
_POLL_SECONDS = 0.05


@dataclass(slots=True)
class Seeker:
    """Looks for the baseline of a run on Braintrust."""

    connection: Connection
    subject: Subject
    asked: str | None
    _child: Child | None = field(default=None, init=False)

    def start(self, store: Store) -> None:
        """Begin to look."""
        request = {
            "task": "baseline",
            "connection": asdict(self.connection),
            "directory": str(store.directory),
            "asked": self.asked,
            "subject": {
                "project": self.subject.project,
                "branch": self.subject.branch,
                "root": str(self.subject.root),
                "selection": self.subject.selection,
                "run_id": self.subject.run_id,
            },
        }
        try:
            self._child = Child(request)
        except ChildError:
            # Where no process can be started there is no baseline from elsewhere.
            self._child = None

    def found(self) -> Mapping[str, Any]:
        """Wait for what was found; `state` as `remote_baseline.seek` tells it."""
        unknown = {"state": "failed", "message": "no process could be started for it"}
        if self._child is None:
            return unknown
        try:
            return self._child.answer(_ANSWER_SECONDS) or unknown
        except ChildError as error:
            return {"state": "failed", "message": str(error)}

    def finish(self, seconds: float) -> None:
        """Wait for the rows of what was found, no longer than that."""
        until = monotonic() + seconds
        if self._child is not None:
            self._child.tell_end()
        while self._child is not None and self._child.running and monotonic() < until:
            sleep(_POLL_SECONDS)
        self.close()

    def close(self) -> None:
        """Stop looking; what was brought here is kept for the next time."""
        if self._child is not None:
            self._child.close()
            self._child = None
