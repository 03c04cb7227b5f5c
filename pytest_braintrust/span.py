"""`braintrust_span`: the calls of the official SDK's spans, on the row of a test.

The SDK's own pytest plugin gives tests a span under this name, and a suite written for
it runs unchanged. A row has no field for some of what a span takes: that is kept in the
row's metadata, so that no call loses what it was told. Spans that are opened within are
spans of the row, as are those that the SDK opens by itself (`tracing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from pytest_braintrust.clocks import now
from pytest_braintrust.cutting import fit, short_name
from pytest_braintrust.fields import PASS, Fields, checked
from pytest_braintrust.jsonable import Json, as_text, clean
from pytest_braintrust.recorder import Part, Recording
from pytest_braintrust.scoring import (
    BtScore,
    FindExperiment,
    Place,
    opened,
    parts_for_running,
)
from pytest_braintrust.spans import TracedSpan

_FIELDS = frozenset(
    ("input", "output", "expected", "scores", "metadata", "tags", "metrics", "error")
)

#: Bytes of the attributes of a span, which are a type and little more.
_MOST_ATTRIBUTES = 1_000

#: How the SDK places a span in a trace; here it lies in the test's row.
_PLACING = ("set_current", "parent", "propagated_event", "internal")


def for_running() -> Span:
    """What the fixture gives to a test; one that keeps nothing where none is kept."""
    return Span(*parts_for_running())


def at(place: Place, find_experiment: FindExperiment) -> Span:
    """The span of a row, or of a step of it."""
    if place.step is None:
        return Span(place.recording, find_experiment, place.part)
    return _Child(place, place.step, find_experiment)


class Span(BtScore):
    """Record the running test by the calls of the SDK's `Span`.

    Without `--braintrust` it takes and checks the same calls and keeps nothing.
    """

    #: What the SDK's `Eval` asks of a span: nothing is handed down to those within.
    propagated_event = None

    def __init__(
        self,
        recording: Recording | None = None,
        find_experiment: FindExperiment = lambda: None,
        part: Part | None = None,
    ) -> None:
        super().__init__(recording, find_experiment, part)

    @property
    def id(self) -> str:
        """The id of the test's row; "" where nothing is recorded."""
        own = self._part or self._recording
        return own.ids.row if own else ""

    @property
    def span_id(self) -> str:
        """The id of the row's span; "" where nothing is recorded."""
        return self._place().span_id

    @property
    def root_span_id(self) -> str:
        """The same: a test's row is the root of its trace."""
        return self._place().root

    @property
    def name(self) -> str:
        """The test's name; "" where nothing is recorded."""
        return self._recording.case.name if self._recording else ""

    def log(self, **event: Any) -> None:
        """Add to the test's row, as a call of `bt_score` does.

        Args:
            event: What `bt_score` takes, and anything else: that is kept in the row's
                metadata under its own name. A score `pass` is not kept: it is the
                test's outcome, as with the SDK's plugin.

        Raises:
            ValueError: a value is not of its kind. Nothing of the call is kept.
        """
        known, more = _sorted_out(event)
        self(**known)
        if more:
            self(metadata=more)

    def log_feedback(self, **event: Any) -> None:
        """Add scores, expected and tags; the rest is kept as `metadata.feedback`."""
        own = {"scores", "expected", "tags"}
        said = {name: each for name, each in event.items() if name in own}
        rest = {name: each for name, each in event.items() if name not in own}
        self.log(**said, **({"feedback": rest} if rest else {}))

    def start_span(
        self,
        name: str | None = None,
        type: object = None,  # noqa: A002 - the SDK's name
        span_attributes: Mapping[str, Any] | None = None,
        start_time: float | None = None,
        **event: Any,
    ) -> Span:
        """Open a span within this one: on Braintrust it has its own place in the trace.

        Raises:
            ValueError: a value of the event is not of its kind; nothing is opened.
        """
        told = {name: each for name, each in event.items() if name not in _PLACING}
        within, attributes = self._place(), _attributes(type, span_attributes)
        step = opened(within, name or "subspan", _of_span(told), attributes)
        if start_time is not None:
            step.start = float(start_time)
        if self._recording is not None:
            self._recording.open_span(step)
        may_be_current = event.get("set_current") is not False
        return _Child(
            within, step, self._find_experiment, may_be_current=may_be_current
        )

    def _place(self) -> Place:
        """The test's row, whatever block runs: a span is opened within its own."""
        return Place(self._recording, self._part)

    def set_attributes(
        self,
        name: str | None = None,
        type: object = None,  # noqa: A002 - the SDK's name
        span_attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep the attributes in the metadata: the row has its test's name and type."""
        said = {"name": name, "type": type, **(span_attributes or {})}
        given = {each: value for each, value in said.items() if value is not None}
        if given:
            self.log(span_attributes=given)

    def end(self, end_time: float | None = None) -> float:
        """Note the end; answers it. What is logged later is kept too."""
        end = now() if end_time is None else end_time
        self.log(metrics={"end": end})
        return end

    def close(self, end_time: float | None = None) -> float:
        """Do the same as `end`."""
        return self.end(end_time)

    def link(self) -> str:
        """The page of the experiment; "" where it is on no Braintrust."""
        found = self.experiment
        return (found.url if found else None) or ""

    def permalink(self) -> str:
        """The same as `link`."""
        return self.link()

    def export(self) -> str:
        """Answer "", as the SDK does for a span that is not sent."""
        return ""

    def inject(self, carrier: dict[str, Any] | None = None) -> dict[str, Any]:
        """Add nothing: what another service traces is not part of the row."""
        return {} if carrier is None else carrier

    def flush(self) -> None:
        """Do nothing: rows leave with the test's report."""

    def set_current(self) -> None:
        """Do nothing: the row of the test that runs is the current span already."""

    def unset_current(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if error is not None:
            self._failed(error)
        self.end()

    def _failed(self, error: BaseException) -> None:
        """The test's own report tells of it."""


class _Child(Span):
    """A span within the test's."""

    def __init__(
        self,
        within: Place,
        step: TracedSpan,
        find_experiment: FindExperiment,
        *,
        may_be_current: bool = True,
    ) -> None:
        super().__init__(within.recording, find_experiment, within.part)
        self._at, self._step = replace(within, step=step), step
        self._may_be_current = may_be_current
        self._current = ExitStack()

    @property
    def id(self) -> str:
        return self._step.ids.row

    @property
    def span_id(self) -> str:
        return self._step.ids.span

    @property
    def name(self) -> str:
        return self._step.name

    def log(self, **event: Any) -> None:
        said = _of_span(event)
        if self._recording is not None:
            self._recording.log_span(self._step, said)

    def set_attributes(
        self,
        name: str | None = None,
        type: object = None,  # noqa: A002 - the SDK's name
        span_attributes: Mapping[str, Any] | None = None,
    ) -> None:
        attributes = _attributes(type, span_attributes)
        if name is not None:
            self._step.name = short_name(as_text(name))
        if self._recording is not None:
            self._recording.mark_span(self._step, attributes)

    def end(self, end_time: float | None = None) -> float:
        if self._step.end is not None:
            return self._step.end
        end = now() if end_time is None else float(end_time)
        if self._recording is not None:
            self._recording.close_span(self._step, end)
        return end

    def set_current(self) -> None:
        if self._may_be_current and self._recording is not None:
            self._current.close()
            self._current.callback(self._at.enter())

    def unset_current(self) -> None:
        self._current.close()

    def __enter__(self) -> Span:
        self.set_current()
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        self.unset_current()
        super().__exit__(kind, error, at)

    def _failed(self, error: BaseException) -> None:
        self.log(error=error)

    def _place(self) -> Place:
        return self._at


def _of_span(event: Mapping[str, Any]) -> Fields:
    """What is said of a span; what it has no field for, in its metadata."""
    known, more = _sorted_out(event)
    if isinstance(known.get("metrics"), Mapping):
        # What traces the calls of a model is not to fail them for what it counts.
        known["metrics"], odd = _metrics(known["metrics"])
        more |= {"metrics": odd} if odd else {}
    said = checked(**known)
    if more:
        said.merge(checked(metadata=more))
    return said


def _metrics(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics that are some, and the others."""
    kept: dict[str, Any] = {}
    odd: dict[str, Any] = {}
    for name, value in metrics.items():
        try:
            kept |= checked(metrics={name: value}).metrics
        except ValueError:
            odd[str(name)] = value
    return kept, odd


def _attributes(
    kind: object, span_attributes: Mapping[str, Any] | None
) -> dict[str, Json]:
    said = {"type": kind, **(span_attributes or {})}
    given = {name: each for name, each in said.items() if each is not None}
    plain: Any = fit(clean(given), _MOST_ATTRIBUTES)
    return dict(plain)


def _sorted_out(event: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a row has a field for, and the rest."""
    # None is nothing said, with the SDK: its integrations end a span with `input=None`.
    said = {name: each for name, each in event.items() if each is not None}
    if "inputs" in said:  # the SDK's old name
        said["input"] = said.pop("inputs")
    if isinstance(said.get("scores"), Mapping):
        said["scores"] = {k: v for k, v in said["scores"].items() if k != PASS}
    known = {name: each for name, each in said.items() if name in _FIELDS}
    return known, {name: each for name, each in said.items() if name not in _FIELDS}
