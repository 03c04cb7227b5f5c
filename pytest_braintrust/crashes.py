"""Rows of tests that died with their worker, which no report of theirs tells of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_braintrust import events, journal
from pytest_braintrust.clocks import now
from pytest_braintrust.editing import RowEditor
from pytest_braintrust.events import Row
from pytest_braintrust.journal import Journal
from pytest_braintrust.keeping import Keeper
from pytest_braintrust.recorder import CUT_OFF
from pytest_braintrust.relay import Payload


@dataclass(slots=True)
class _Lost:
    """What is known of a test whose worker died, for the worker that runs it again."""

    nodeid: str
    #: The worker whose rows are those of the test.
    worker: str | None
    #: The ids of its rows, by part: the next attempt's rows take their place.
    ids: dict[str, str] = field(default_factory=dict)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    #: Whether a row tells of it.
    told: bool = False


@dataclass(slots=True)
class Crashes:
    """Turns what is left of a test into its row, until another worker runs it again."""

    keeper: Keeper
    editor: RowEditor
    #: The folder of the workers' journals.
    journals: Path
    #: Whether another worker may run a test again: not where each runs it anyhow.
    repeats: bool = True
    _lost: dict[object, _Lost] = field(default_factory=dict)
    #: Tests of which a worker itself said that it had to cut them off.
    _cut_off: set[tuple[str | None, str]] = field(default_factory=set)
    #: Workers that are gone; one that only lost its pipe may still run tests.
    _gone: set[str] = field(default_factory=set)

    def saw(
        self, nodeid: str, error: str, worker: str | None, *, last: bool = True
    ) -> None:
        """Keep the rows of a test that its worker took along.

        Args:
            nodeid: The test.
            error: The text of the report about its worker.
            worker: The worker that died.
            last: Whether no other worker was asked to run the test again.
        """
        if (worker, nodeid) not in self._cut_off:
            self._keep(self._left(nodeid, worker), error, worker, last=last)

    def settle(self, is_recorded: Callable[[str], bool]) -> None:
        """Keep a row of each test that died before a word of it arrived.

        Args:
            is_recorded: Whether a test is one that records: only workers have seen
                it, and some of them may have told of it meanwhile.
        """
        for lost in self._lost.values():
            if not lost.told and is_recorded(lost.nodeid):
                error = lost.attempts.pop()["error"]
                row = events.unknown(lost.nodeid, now(), lost.worker)
                row = _continued(row, lost)
                self._keep_rows(lost, [row], error, failed=False, last=True)

    def cut_off(self, payload: Payload, worker: str | None) -> None:
        """Keep what a test had said that was cut off by the end of its worker."""
        self._cut_off.add((worker, payload["nodeid"]))
        payload = self.again(payload, worker)
        rows = payload["rows"] or []
        self.keeper.keep(payload["nodeid"], rows, final=True, worker=worker)

    def gone(self, worker: str) -> None:
        """Note that a worker is gone: a report tells of the test that it ran."""
        self._gone.add(worker)

    def left_behind(self) -> Iterator[tuple[str, str | None]]:
        """Keep what tests had said whose workers ended before them, with the run.

        Answers node id and worker of each.
        """
        for worker, left in journal.read_all(self.journals):
            told = self.keeper.last_of(left["nodeid"], worker)
            ended = worker in self._gone or (told is not None and told.ended)
            if left["said"] and not ended:
                self._keep(self.again(left, worker), CUT_OFF, worker, last=True)
                yield left["nodeid"], worker
        for unended_worker, told in self.keeper.open():
            left = self._left(told.nodeid, unended_worker)
            self._keep(left, CUT_OFF, unended_worker, last=True)
            yield told.nodeid, unended_worker

    def again(self, payload: Payload, worker: str | None) -> Payload:
        """What a worker says of a test, with the attempts in it that killed others."""
        if not self._lost:
            return payload
        nodeid, rows = payload["nodeid"], payload["rows"]
        lost = self._lost.get(self._key(nodeid, worker))
        if lost is None or rows is None:
            return payload
        self.keeper.hand_over(nodeid, lost.worker, worker)
        lost.worker, lost.told = worker, True
        return Payload({**payload, "rows": [_continued(row, lost) for row in rows]})

    def _left(self, nodeid: str, worker: str | None) -> Payload:
        file = Journal.of(self.journals, str(worker))
        left = file.read()
        if left is not None and left["nodeid"] == nodeid:
            file.remove()
            return self.again(left, worker)
        told = self.keeper.last_of(nodeid, worker)
        return Payload(
            nodeid=nodeid,
            final=False,
            said=False,
            failed=told is not None and told.failed,
            outcome="errored",
            rows=list(told.rows.values()) if told is not None else [],
            teardown=0.0,
        )

    def _keep(
        self, left: Payload, error: str, worker: str | None, *, last: bool
    ) -> None:
        nodeid, rows = left["nodeid"], left["rows"]
        new = _Lost(nodeid, worker)
        lost = self._lost.setdefault(self._key(nodeid, worker), new)
        if rows:
            self._keep_rows(lost, rows, error, failed=left["failed"], last=last)
        else:
            lost.attempts.append({"outcome": "errored", "scores": {}, "error": error})

    def _keep_rows(
        self, lost: _Lost, rows: list[Row], error: str, *, failed: bool, last: bool
    ) -> None:
        ended = [events.with_error(row, error, failed=failed) for row in rows]
        kept = self.editor.edited(ended)
        self.keeper.keep(
            lost.nodeid, kept, final=last, failed=failed, worker=lost.worker
        )
        lost.told = True
        lost.ids.update({row["part"]: row["id"] for row in kept})
        # With those that the dead worker itself made after the ones before it died.
        earlier = max(lost.attempts, _attempts(ended[0]), key=len)
        lost.attempts = [*earlier, _attempt(ended, error)]

    def _key(self, nodeid: str, worker: str | None) -> object:
        return nodeid if self.repeats else (worker, nodeid)


def _continued(row: Row, lost: _Lost) -> Row:
    return events.with_attempts(row, lost.attempts, lost.ids.get(row["part"]))


def _attempts(row: Row) -> list[dict[str, Any]]:
    """The attempts that a row tells of: in workers that died, and then in its own."""
    event: dict[str, Any] = json.loads(row["event"])
    return events.attempts_of(event["metadata"]["pytest"])


def _attempt(rows: list[Row], error: str) -> dict[str, Any]:
    own = rows[0]
    return {
        "outcome": own["outcome"],
        "scores": json.loads(own["scores"]),
        "error": error,
        "metrics": events.amounts_of_all(json.loads(each["metrics"]) for each in rows),
    }
