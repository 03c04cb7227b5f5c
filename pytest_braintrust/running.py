"""In the process that runs tests: make the rows and hand them on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field

import pytest

from pytest_braintrust import cases, relay
from pytest_braintrust.clocks import now
from pytest_braintrust.editing import RowEditor
from pytest_braintrust.outcomes import Outcome
from pytest_braintrust.recorder import Recording
from pytest_braintrust.relay import Payload
from pytest_braintrust.scoring import Running, begun

# In a tuple, because freezegun replaces what it finds by name in modules.
_CLOCK = (time.perf_counter,)

#: Seconds, and the share of a test's time, that go into telling what it said so far.
_FREE_SECONDS = 0.2
_SHARE = 0.1


#: The name of the plugin that records.
RECORDER = "pytest-braintrust-recorder"


@dataclass(frozen=True, slots=True)
class Way:
    """How rows leave this process other than with a report."""

    #: Takes what was said after the test's last report.
    late: Callable[[Payload], object]
    #: Takes what a test has said so far, or None where nobody outlives this process.
    running: Callable[[Payload], object] | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Which tests are recorded, and what of them counts as measured."""

    #: Whether a test needs neither fixture nor marker to be recorded.
    record_all: bool = False
    #: Names of exceptions that mean that nothing was measured, such as timeouts.
    infrastructure: frozenset[str] = frozenset()
    #: How many times a test is run whose marker does not say.
    trials: int = 1


@dataclass(slots=True)
class _Allowance:
    """How much of a test's time may go into telling what it said so far.

    All of it is told anew with each word: of a test that says a thousand, that would
    be most of the time. A death then costs the words of the last moments.
    """

    began: float = field(default_factory=_CLOCK[0])
    spent: float = 0.0

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Count the time of the block; answers whether there was any left."""
        before = _CLOCK[0]()
        yield self.spent <= _FREE_SECONDS + _SHARE * (before - self.began)
        self.spent += _CLOCK[0]() - before


class Recorder:
    """The hooks around a test.

    Registered when the session starts, after every other plugin, so that its
    wrappers are the outermost and see reports as they are at the end.
    """

    def __init__(
        self, rules: Rules, *, editor: RowEditor, way: Way, worker: str | None
    ) -> None:
        self._rules = rules
        self._editor = editor
        self._way = way
        self._worker = worker
        self._cases = cases.Cases()
        self._running: Running | None = None
        #: The tests that ended and of which more was said than was handed on.
        self._behind: dict[int, tuple[pytest.Item, Recording]] = {}
        self._over = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        # As an error of the module: pytest and pytest-xdist tell of those alike.
        faults = "\n".join(cases.marker_faults(report.result or ()))
        if faults:
            report.outcome, report.longrepr, report.result = "failed", faults, []
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        running = self._running = Running(item, self._record)
        try:
            with begun(running):
                if cases.is_recorded(item, record_all=self._rules.record_all):
                    running.asked()
                return (yield)
        finally:
            # They hold what the test raised, which holds the frames that hold them.
            running.steps.clear()
            if running.leave is not None:
                running.leave()
            recording = running.recording
            if recording is None:
                self._running = None
            elif recording.ended:
                self._let_go(item, recording)

    def _record(self, running: Running) -> Recording:
        """Start the recording of a test, with what it went through so far."""
        case = self._cases.case_of(running.item)
        recording = Recording(case, self._worker, self._rules.infrastructure)
        for step, told in running.steps:
            step(recording, *told)
        if self._way.running is not None:
            self._tell_running(running.item, recording, self._way.running)
        if "braintrust.logger" in sys.modules:
            from pytest_braintrust import tracing  # noqa: PLC0415 - imported when used

            running.leave = tracing.follow()
        return recording

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        running = self._running_of(item)
        if running is None:
            return
        running.went(Recording.begin, now())
        recording = running.recording
        if recording and recording.attempts and recording.on_log is not None:
            recording.on_log(recording)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        running = self._running_of(item)
        if running is None:
            yield
            return
        running.went(Recording.enter_body, now())
        try:
            yield
        except BaseException as error:
            running.went(Recording.leave_body, now(), error)
            raise
        running.went(Recording.leave_body, now(), None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        running = self._running_of(item)
        if running is not None:
            running.went(Recording.enter_teardown)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        running = self._running_of(item)
        if running is None:
            return report
        recording = running.recording
        if recording is None:
            # A copy, because plugins that rerun a test change the outcome of it.
            kept = report if report.outcome == "passed" else copy(report)
            running.went(Recording.saw, kept)
        elif not recording.forked:
            with recording.lock:
                if recording.saw(report):
                    self._tell(item, recording, report)
        return report

    def _tell(
        self, item: pytest.Item, recording: Recording, report: pytest.TestReport
    ) -> None:
        if report.when == "setup" and report.outcome == "passed":
            return
        if recording.ended and recording.told and not recording.changed:
            ended = _only_ended(recording, recording.told, report.duration)
            relay.attach(report, ended)
        else:
            payload = self._payload(item, recording, final=recording.ended)
            relay.attach(report, payload)
            recording.changed, recording.told = False, payload["outcome"]
            if payload["failed"] and not payload["final"] and self._way.running:
                # Should the worker die in the teardown, the body's failure counts.
                self._way.running(payload)

    def catch_up(self) -> None:
        """Hand on what was said after tests ended, all of it, and from now on at once."""
        self._over = True
        while self._behind:
            _, (item, recording) = self._behind.popitem()
            self._way.late(self._payload(item, recording, final=True))

    def cut_off(self) -> Payload | None:
        """The rows of the test that was running when the run ended, if it has any."""
        running = self._running
        recording = running.recording if running else None
        if running is None or recording is None or recording.ended:
            return None
        if not recording.said_anything and not recording.told:
            return None
        recording.cut_off()
        return self._payload(running.item, recording, final=True)

    def _running_of(self, item: pytest.Item) -> Running | None:
        running = self._running
        return running if running is not None and running.item is item else None

    def _tell_running(
        self,
        item: pytest.Item,
        recording: Recording,
        tell: Callable[[Payload], object],
    ) -> None:
        allowance = _Allowance()

        def on_log(told: Recording) -> None:
            with allowance.taken() as granted:
                if granted:
                    tell(self._payload(item, told, final=False))

        recording.on_log = on_log
        on_log(recording)

    def _let_go(self, item: pytest.Item, recording: Recording) -> None:
        """End the test; words of threads that outlive it still reach its row."""
        allowance = _Allowance()

        def on_log(told: Recording) -> None:
            with allowance.taken() as granted:
                if granted or self._over:
                    self._way.late(self._payload(item, told, final=True))
                else:
                    self._behind[id(told)] = item, told

        with recording.lock:
            recording.on_log = on_log
            if recording.changed:
                on_log(recording)
        self._running = None

    def _payload(
        self, item: pytest.Item, recording: Recording, *, final: bool
    ) -> Payload:
        with recording.lock:
            outcome = recording.outcome
            rows = recording.rows(outcome)
        return {
            "nodeid": recording.case.item_id,
            "final": final,
            "said": recording.said_anything,
            "failed": outcome == "failed" and recording.body_ended,
            "outcome": outcome,
            "rows": self._editor.edited(rows, item),
            "teardown": 0.0,
        }


def _only_ended(recording: Recording, outcome: Outcome, teardown: float) -> Payload:
    return {
        "nodeid": recording.case.item_id,
        "final": True,
        "said": True,
        "failed": False,
        "outcome": outcome,
        "rows": None,
        "teardown": teardown,
    }
