"""Take in what reports and workers tell of tests: rows to the store, ends to the count.

In the one process that sees every report. A test may be told of by a report, by its
worker's output, by what a dead worker left on disk, or by nothing but its name; each
is counted once, and has its rows once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_braintrust import cases
from pytest_braintrust.crashes import Crashes
from pytest_braintrust.editing import RowEditor
from pytest_braintrust.events import Row
from pytest_braintrust.journal import Journal
from pytest_braintrust.keeping import Keeper
from pytest_braintrust.relay import KEY, Payload
from pytest_braintrust.tally import CRASH, Tally


class Intake:
    """Hands on what arrives, to the keeper of rows and to the tally."""

    def __init__(
        self,
        keeper: Keeper,
        editor: RowEditor,
        journals: Path,
        *,
        record_all: bool,
        grouped: bool,
    ) -> None:
        self._keeper = keeper
        self._editor = editor
        self._journals = journals
        self._record_all = record_all
        #: Whether pytest-xdist adds the group of a test to its node id.
        self._grouped = grouped
        self._crashes = Crashes(keeper, editor, journals)
        self.tally = Tally()
        #: What workers collected, and which of it they said is recorded.
        self._ids: Sequence[str] = ()
        self._recorded: set[str] = set()

    def each_runs_all(self, workers: int) -> None:
        """Note that every worker runs all tests."""
        self.tally.copies = workers
        self._crashes.repeats = False

    def collected_by_worker(self, worker: str, ids: Sequence[str]) -> list[str]:
        """Note what a worker collected.

        Answers node ids of which those that stand there more than once are shared.
        """
        self._ids = ids
        self.tally.collected_by_worker(len(ids))
        # Of a worker elsewhere it is not known here which of its tests record.
        shared = Journal.of(self._journals, worker).read_shared()
        return [self._clean(each) for each in ids] if shared is None else shared

    def case_ids(self, ids: Iterable[str]) -> set[str]:
        """The case ids of tests, of which a worker told the node ids."""
        return {cases.case_id_of(self._clean(each)) for each in ids}

    def report(self, report: pytest.TestReport, payload: Payload | None) -> None:
        """Take in a report, and what our recorder had put on it."""
        worker, nodeid = _worker_of(report), report.nodeid
        if self._grouped:
            nodeid = self._clean(nodeid)
        outcome = None if payload is None else payload["outcome"]
        ended = self.tally.saw(report, worker, nodeid, outcome)
        if payload is not None:
            self._take(payload, worker, ended=ended)
        if report.when == CRASH:
            self._crashes.saw(nodeid, report.longreprtext, worker, last=ended)

    def rows_of(self, report: pytest.TestReport, payload: Payload) -> Iterable[Row]:
        """The rows of the test that a report ended."""
        told = self._keeper.last_of(payload["nodeid"], _worker_of(report))
        return told.rows.values() if told else ()

    def down(self, node: Any, *, died: bool) -> None:
        """Take in the output of a worker that is gone, if it came to give any."""
        worker: str = node.gateway.id
        if died:
            self._crashes.gone(worker)
        output = getattr(node, "workeroutput", None) or {}
        # Taken, because a worker that was interrupted goes down twice.
        told = output.pop(KEY, {})
        self._keeper.amend(told.get("late", []))
        self._editor.failures.update(told.get("failures", {}))
        self._editor.dropped |= told.get("dropped", False)
        pairs = zip(self._ids, told.get("recorded") or "", strict=False)
        self._recorded.update(self._clean(each) for each, flag in pairs if flag == "1")
        self._cut_off(told.get("cut_off"), worker)

    def rest(self, cut_off: Payload | None, items: Sequence[pytest.Item]) -> None:
        """Keep what tests had said that were running when the run ended.

        Args:
            cut_off: What the test had said that ran in this process.
            items: The tests that this process collected.
        """
        self._cut_off(cut_off, None)
        for nodeid, worker in self._crashes.left_behind():
            self.tally.lost(nodeid, worker)
        self._crashes.settle(lambda nodeid: self._is_recorded(nodeid, items))

    def _take(self, payload: Payload, worker: str | None, *, ended: bool) -> None:
        payload = self._crashes.again(payload, worker)
        nodeid, rows = payload["nodeid"], payload["rows"]
        if rows is not None:
            failed = payload["failed"]
            self._keeper.keep(nodeid, rows, final=ended, failed=failed, worker=worker)
        elif ended:
            self._keeper.end(nodeid, payload["teardown"], worker)

    def _cut_off(self, payload: Payload | None, worker: str | None) -> None:
        if payload is not None:
            self._crashes.cut_off(payload, worker)
            self.tally.lost(payload["nodeid"], worker)

    def _is_recorded(self, nodeid: str, items: Sequence[pytest.Item]) -> bool:
        """Whether a test is recorded of which nothing more is known than its name."""
        return (
            self._record_all
            or nodeid in self._recorded
            or any(
                cases.is_recorded(item, record_all=False)
                for item in items
                if cases.item_id(item) == nodeid
            )
        )

    def _clean(self, nodeid: str) -> str:
        """A node id without what pytest-xdist adds to it."""
        return cases.without_group(nodeid) if self._grouped else nodeid


def _worker_of(report: pytest.TestReport) -> str | None:
    node = getattr(report, "node", None)
    return None if node is None else str(node.gateway.id)
