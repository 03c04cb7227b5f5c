"""Rows of tests that died with their worker, which no report of theirs tells of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytest_braintrust import events
from pytest_braintrust.editing import RowEditor
from pytest_braintrust.events import Row
from pytest_braintrust.keeping import Keeper
from pytest_braintrust.recorder import now
from pytest_braintrust.relay import Payload


@dataclass(slots=True)
class Crashes:
    """Turns what is left of a test into its row, until another worker runs it again."""

    keeper: Keeper
    editor: RowEditor
    _rows: dict[str, list[Row]] = field(default_factory=dict)
    _attempts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def saw(self, left: Payload, error: str, worker: str | None) -> None:
        """Keep the rows of a test as errored: its worker measured nothing.

        Args:
            left: What the test had said, with no rows where that is not known.
            error: The text of the report about the worker.
            worker: The worker that died.
        """
        nodeid = left["nodeid"]
        rows = left["rows"] or [events.encode(events.unknown(nodeid, now(), worker))]
        errored = [events.as_errored(row, error) for row in rows]
        kept = (
            self._encoded(event, row) for event, row in zip(errored, rows, strict=True)
        )
        told = [row for row in kept if row is not None]
        self.keeper.keep(nodeid, told, final=True, worker=worker)
        self._rows[nodeid] = told
        attempts = self._attempts.setdefault(nodeid, [])
        attempts += [_attempt(event, error) for event in errored[:1]]

    def again(self, payload: Payload) -> Payload:
        """What a second worker says of the test, with the first one's attempt in it."""
        nodeid, told = payload["nodeid"], payload["rows"]
        attempts = self._attempts.get(nodeid)
        if not attempts or told is None:
            return payload
        self.keeper.drop(self._rows.pop(nodeid, []))
        rows = [events.with_attempts(row, attempts) for row in told]
        return Payload({**payload, "rows": rows})

    def _encoded(self, event: dict[str, Any], row: Row) -> Row | None:
        edited = self.editor.edit(event)
        if edited is None:
            return None
        encoded = events.encode(edited, part=row["part"], project=row["project"])
        return self.editor.scrub(encoded)


def _attempt(event: dict[str, Any], error: str) -> dict[str, Any]:
    return {"outcome": "errored", "scores": event["scores"], "error": error}
