"""What a test says while it runs, and the rows that come of it.

One `Recording` a test, kept over its reruns. Tests log from threads and tasks, so
whatever changes a recording holds its lock.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from itertools import chain, count
from threading import RLock
from types import TracebackType
from typing import Any, Protocol, cast

import pytest

from pytest_braintrust import events, spans
from pytest_braintrust.clocks import now
from pytest_braintrust.events import Attempt, Case, Ids, Row
from pytest_braintrust.fields import NOTHING, Fields
from pytest_braintrust.jsonable import Json, plain_text
from pytest_braintrust.outcomes import UNMEASURED, Outcome, Report, outcome_of
from pytest_braintrust.processes import CURRENT
from pytest_braintrust.spans import LeftOut, TracedSpan

#: Error texts of earlier attempts are kept to this many characters.
_ATTEMPT_ERROR_CHARACTERS = 4_000


#: What a row says whose test was cut off.
CUT_OFF = "the run ended while this test was running"


#: Packages that call a test's body; their frames say nothing of it.
_MACHINERY = frozenset({"_pytest", "pluggy", "pytest_braintrust"})


class PhaseReport(Report, Protocol):
    """What is read of a `pytest.TestReport` to make a row of it."""

    @property
    def when(self) -> str | None:
        """The phase: setup, call or teardown."""

    @property
    def duration(self) -> float:
        """Seconds that the phase took."""

    @property
    def longreprtext(self) -> str:
        """The failure as pytest prints it, or ""."""


@dataclass(slots=True)
class Part:
    """One row that a test asked for by `bt_score.row`."""

    name: str
    said: Fields
    ids: Ids
    start: float = field(default_factory=now)
    end: float | None = None
    raised: BaseException | None = None
    #: Where it was raised, from the block on.
    trace: TracebackType | None = None


@dataclass(slots=True)
class Recording:
    """All that is known of one test while it runs."""

    case: Case
    worker: str | None = None
    #: Names of exceptions that mean that nothing was measured, such as timeouts.
    infrastructure: frozenset[str] = frozenset()
    ids: Ids = field(default_factory=Ids)
    said: Fields = field(default_factory=lambda: NOTHING)
    parts: tuple[Part, ...] = ()
    #: What was traced in this attempt, and what more than is kept, by the row's span.
    spans: list[TracedSpan] = field(default_factory=list)
    spans_left_out: dict[str, LeftOut] = field(default_factory=dict)
    phases: dict[str, PhaseReport] = field(default_factory=dict)
    attempts: tuple[dict[str, Json], ...] = ()
    #: What failed in subtests: pytest fails the test for it, and does not raise.
    failed_inside: tuple[str, ...] = ()
    raised: BaseException | None = None
    #: Where it was raised, without who called us.
    trace: TracebackType | None = None
    start: float = 0.0
    end: float | None = None
    started: bool = False
    #: The phase that is running: setup, call, teardown or none.
    phase: str = ""
    #: Whether the report of the test's last phase was made.
    ended: bool = False
    #: Whether more is known than the last report told.
    changed: bool = False
    #: What the attempt had come to when a report told its rows; None before.
    told: Outcome | None = None
    #: Called after each word; what it does is up to who runs the test.
    on_log: Callable[[Recording], None] | None = None
    #: The process that runs the test.
    pid: int = 0
    lock: RLock = field(default_factory=RLock)
    #: What the spans hold, as `spans.held` counts it.
    _span_bytes: int = 0
    _cut_off: bool = False
    #: The rows of the attempt before, by name.
    _earlier: dict[str, Ids] | None = None

    def __post_init__(self) -> None:
        self.start, self.pid = now(), CURRENT.pid

    @property
    def body_ended(self) -> bool:
        """Whether the test's body ran, and a report told of its end."""
        return "call" in self.phases

    @property
    def forked(self) -> bool:
        """Whether this process is one that the test forked, and has no say here."""
        return CURRENT.pid != self.pid

    @property
    def said_anything(self) -> bool:
        """Whether the test logged a word, opened a row or traced in this attempt."""
        return bool(self.said or self.parts or self.spans)

    def begin(self, at: float) -> None:
        """Start the first attempt, or set the one before aside as an attempt."""
        with self.lock:
            if self.started:
                self.attempts = (*self.attempts, self._set_aside())
                self.said, self.raised, self.end = NOTHING, None, None
                self._earlier = {part.name: part.ids for part in self.parts}
                self.parts = self.failed_inside = ()
                self.spans, self.spans_left_out, self._span_bytes = [], {}, 0
                self.phases.clear()
            self.started, self.ended, self.told = True, False, None
            # pytest-forked runs the whole test in a process of its own.
            self.pid, self.phase = CURRENT.pid, "setup"
            self.start = at

    def enter_body(self, at: float) -> None:
        """Note that the test's own body starts: its time is the row's."""
        with self.lock:
            self.start, self.phase = at, "call"

    def leave_body(self, at: float, raised: BaseException | None) -> None:
        """Note the end of the body. Plugins that rerun a test report only the last."""
        with self.lock:
            self.end, self.raised, self.phase = at, raised, ""
            self.trace = None if raised is None else raised.__traceback__

    def enter_teardown(self) -> None:
        """Note that the test is taken down."""
        self.phase = "teardown"

    def saw(self, report: PhaseReport) -> bool:
        """Note a report; answers whether it is a phase's, and not a subtest's in it.

        Subtests are reported as calls, while their test's own phase is running.
        """
        with self.lock:
            if self.phase and (self.phase == "call" or report.when == "call"):
                if report.outcome == "failed":
                    self.failed_inside = (*self.failed_inside, report.longreprtext)
                return False
            self.phase = ""
            # A copy, because plugins that rerun a test change the outcome of the
            # reports of an attempt, and it is in the attempts by then.
            kept = report if report.outcome == "passed" else copy(report)
            self.phases[report.when or "call"] = kept
            self.ended = report.when == "teardown"
            if report.outcome != "passed":
                self.changed = True
            return True

    def cut_off(self) -> None:
        """Note that the test will not end."""
        with self.lock:
            self._cut_off, self.ended = True, True

    def log(self, said: Fields, part: Part | None = None) -> None:
        """Merge what one call said into its row."""
        with self.lock:
            if part is not None:
                part.said.merge(said)
            elif self.said is NOTHING:
                self.said = said
            else:
                self.said.merge(said)
            self._changed()

    def open_part(self, name: str, said: Fields) -> Part:
        """Add a row beside the test's own, known by its name or else its number."""
        with self.lock:
            name = self._free_name(name or str(len(self.parts) + 1))
            # What the attempt before had of this name is the same row.
            ids = self._earlier.pop(name, None) if self._earlier else None
            part = Part(name, said, ids or Ids())
            self.parts = (*self.parts, part)
            self._changed()
            return part

    def close_part(self, part: Part, raised: BaseException | None) -> None:
        """Note that the block of a row ended, and what it raised."""
        with self.lock:
            part.end, part.raised = now(), raised
            part.trace = None if raised is None else raised.__traceback__
            self._changed()

    def open_span(self, span: TracedSpan) -> None:
        """Add a step that is traced from now on."""
        with self.lock:
            if len(self.spans) < spans.MOST:
                self._span_bytes = spans.held(span.said, self._span_bytes)
                self.spans.append(span)
            else:
                left_out = self.spans_left_out.setdefault(span.root, LeftOut())
                span.left_out, left_out.count = True, left_out.count + 1
                left_out.add(span, span.said)
            self._changed()

    def log_span(self, span: TracedSpan, said: Fields) -> None:
        """Merge what one call said of a step."""
        with self.lock:
            if not span.left_out:
                self._span_bytes = spans.held(said, self._span_bytes)
            elif span.root in self.spans_left_out:
                self.spans_left_out[span.root].add(span, said, span.said)
            span.said.merge(said)
            self._changed()

    def mark_span(self, span: TracedSpan, attributes: Mapping[str, Json]) -> None:
        """Note attributes of a step."""
        with self.lock:
            span.attributes.update(attributes)
            self._changed()

    def close_span(self, span: TracedSpan, at: float) -> None:
        """Note the end of a step."""
        with self.lock:
            span.end = at
            self._changed()

    def _free_name(self, name: str) -> str:
        """A name that no row of this attempt has: two rows are not trials of one."""
        taken = {part.name for part in self.parts}
        numbered = (f"{name} {number}" for number in count(2))
        return next(each for each in chain((name,), numbered) if each not in taken)

    def _changed(self) -> None:
        self.changed = True
        if self.on_log is not None and not self.forked:
            self.on_log(self)

    def rows(self, outcome: Outcome) -> list[Row]:
        """Make the rows as they stand after the phases seen so far.

        Args:
            outcome: What these came to, as `outcome` says.
        """
        with self.lock:
            parts = [*self._part_rows(outcome)] if self.parts else []
            if not self._has_own_row(outcome):
                return parts
            return [
                self._own_row(outcome, silent=bool(parts and not self.said)),
                *parts,
            ]

    @property
    def outcome(self) -> Outcome:
        """What the attempt came to, after the phases seen so far."""
        told = self._told_outcome()
        if told == "failed" and _is_any_of(self.raised, self.infrastructure):
            return "errored"
        # That a body failed is a fact, also where its teardown was cut off.
        body_failed = told == "failed" and "call" in self.phases
        return "errored" if self._cut_off and not body_failed else told

    def _told_outcome(self) -> Outcome:
        if self.raised is not None and "call" not in self.phases:
            skipped = isinstance(self.raised, pytest.skip.Exception)
            return "skipped" if skipped else "failed"
        told = outcome_of(self.phases)
        passed = told in {"passed", "xpassed"}
        return "failed" if passed and self.failed_inside else told

    def _own_row(self, outcome: Outcome, *, silent: bool) -> Row:
        passed = outcome in {"passed", "xpassed"}
        error = None if passed else self._failure_text()
        attempt = self._attempt(self, outcome, error)
        if silent:
            attempt = attempt._replace(silent=True)
        return events.record(self.case, self.ids, self.said, attempt)

    def _part_rows(self, outcome: Outcome) -> Iterator[Row]:
        for part in self.parts:
            own = self._part_outcome(part, outcome)
            if own not in UNMEASURED or part.said:
                error = self._part_error(part, own)
                attempt = self._attempt(part, own, error)
                yield events.record(self.case, part.ids, part.said, attempt, part.name)

    def _part_outcome(self, part: Part, test: Outcome) -> Outcome:
        """The row's own outcome: its block's, where the test's body was measured."""
        if isinstance(part.raised, pytest.skip.Exception):
            return "skipped"
        if test in UNMEASURED or test == "errored" or part.end is None:
            return test
        if _is_any_of(part.raised, self.infrastructure):
            return "errored"
        return "passed" if part.raised is None else "failed"

    def _has_own_row(self, outcome: Outcome) -> bool:
        # How a test ended that was measured only its own row tells, in every run alike.
        return outcome not in UNMEASURED or bool(self.said) or bool(self.attempts)

    def _part_error(self, part: Part, outcome: Outcome) -> str | None:
        if outcome not in {"failed", "errored"}:
            return None
        if part.raised is None or part.raised is self.raised:
            return self._failure_text()
        # The test caught it, so that no report tells of it.
        return plain_text(_traceback_text(part.raised, part.trace))

    def _attempt(
        self, row: Recording | Part, outcome: Outcome, error: str | None
    ) -> Attempt:
        return Attempt(
            outcome=outcome,
            start=row.start,
            # A clock may be set back while a test runs.
            end=max(row.start, now() if row.end is None else row.end),
            durations={name: each.duration for name, each in self.phases.items()},
            error=error,
            worker=self.worker,
            earlier=self.attempts,
            spans=self._traced(row.ids.span) if self.spans else {},
        )

    def _traced(self, root: str) -> dict[str, Json]:
        found = [each for each in self.spans if each.root == root]
        left_out = self.spans_left_out.get(root)
        return spans.facts(found, left_out) if found or left_out else {}

    def _failure_text(self) -> str | None:
        texts = [
            each.longreprtext
            for each in self.phases.values()
            if each.outcome == "failed"
        ]
        texts += self.failed_inside
        if self.raised is not None and "call" not in self.phases:
            texts.append(_traceback_text(self.raised, self.trace))
        if self._cut_off:
            texts.append(CUT_OFF)
        return plain_text("\n\n".join(texts)) or None

    def _set_aside(self) -> dict[str, Json]:
        """The attempt so far, as the rows of the next ones keep it."""
        outcome = self.outcome
        error = self._failure_text() or ""
        scores = events.scores_of(self.said.over(self.case.given), outcome)
        told: dict[str, Json] = {
            "outcome": outcome,
            "scores": cast("Json", scores),
            "error": error[-_ATTEMPT_ERROR_CHARACTERS:] or None,
        }
        rows: list[Recording | Part] = [self, *self.parts]
        if metrics := events.amounts_of_all(self._amounts(each) for each in rows):
            told["metrics"] = metrics
        return told

    def _amounts(self, row: Recording | Part) -> dict[str, Any]:
        traced = [each for each in self.spans if each.root == row.ids.span]
        left_out = self.spans_left_out.get(row.ids.span)
        facts = {events.SPENT: spans.spent(traced, left_out)}
        told: dict[str, Any] = {}
        if row.end is not None:
            seconds = events.seconds_text(max(0.0, row.end - row.start))
            told["duration"] = float(seconds)
        told.update(row.said.over(self.case.given).metrics)
        return events.amounts_of(told, facts)


def _traceback_text(error: BaseException, part: TracebackType | None) -> str:
    """The traceback of what a body raised, from the body on."""
    while part is not None and part.tb_next is not None and _is_machinery(part):
        part = part.tb_next
    return "".join(traceback.format_exception(type(error), error, part))


def _is_machinery(part: TracebackType) -> bool:
    package = str(part.tb_frame.f_globals.get("__name__")).partition(".")[0]
    return package in _MACHINERY


def _is_any_of(error: BaseException | None, names: frozenset[str]) -> bool:
    """Whether an exception is of a class named, with or without its module."""
    if error is None or not names:
        return False
    return any(
        each.__name__ in names or f"{each.__module__}.{each.__qualname__}" in names
        for each in type(error).__mro__
    )
