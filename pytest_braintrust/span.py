"""`braintrust_span`: the calls of the official SDK's spans, on the row of a test.

The SDK's own pytest plugin gives tests a span under this name, and a suite written for
it runs unchanged. A row has no field for some of what a span takes: that is kept in the
row's metadata, so that no call loses what it was told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from pytest_braintrust.clocks import now
from pytest_braintrust.fields import PASS, checked
from pytest_braintrust.recorder import Recording
from pytest_braintrust.scoring import BtScore, FindExperiment, parts_for_running

_FIELDS = frozenset(
    ("input", "output", "expected", "scores", "metadata", "tags", "metrics", "error")
)

#: How the SDK places a span in a trace; here it lies in the test's row.
_PLACING = ("set_current", "parent", "propagated_event", "internal")


def for_running() -> Span:
    """What the fixture gives to a test; one that keeps nothing where none is kept."""
    return Span(*parts_for_running())


class Span(BtScore):
    """Record the running test by the calls of the SDK's `Span`.

    Without `--braintrust` it takes and checks the same calls and keeps nothing.
    """

    def __init__(
        self,
        recording: Recording | None = None,
        find_experiment: FindExperiment = lambda: None,
    ) -> None:
        super().__init__(recording, find_experiment)
        self._opened: Counter[str] = Counter()

    @property
    def id(self) -> str:
        """The id of the test's row; "" where nothing is recorded."""
        return self._recording.ids.row if self._recording else ""

    @property
    def span_id(self) -> str:
        """The id of the row's span; "" where nothing is recorded."""
        return self._recording.ids.span if self._recording else ""

    @property
    def root_span_id(self) -> str:
        """The same: a test's row is the root of its trace."""
        return self.span_id

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
            self._keep(more)

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
        """Open a span within; it is kept as `metadata.spans[name]`, not as a row."""
        for each in _PLACING:
            event.pop(each, None)
        child = self._child(self._free_name(name or "subspan"))
        child.log(metrics={"start": now() if start_time is None else start_time})
        child.log(**event)
        child.set_attributes(None, type, span_attributes)
        return child

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
        """Do nothing: what the SDK traces by itself is not part of the row."""

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

    def _keep(self, more: Mapping[str, Any]) -> None:
        self(metadata=more)

    def _child(self, name: str) -> Span:
        return _Child(
            name,
            lambda more: self._keep({"spans": {name: more}}),
            self._find_experiment,
        )

    def _free_name(self, name: str) -> str:
        self._opened[name] += 1
        count = self._opened[name]
        return name if count == 1 else f"{name} {count}"


class _Child(Span):
    """A span within the test's: checked alike, and kept in the row's metadata."""

    def __init__(
        self,
        name: str,
        keep: Callable[[Mapping[str, Any]], None],
        find_experiment: FindExperiment,
    ) -> None:
        super().__init__(None, find_experiment)
        self._name = name
        self._keep_in_parent = keep

    @property
    def name(self) -> str:
        return self._name

    def log(self, **event: Any) -> None:
        known, more = _sorted_out(event)
        checked(**known)
        self._keep({**known, **more})

    def _failed(self, error: BaseException) -> None:
        self.log(error=error)

    def _keep(self, more: Mapping[str, Any]) -> None:
        self._keep_in_parent(more)


def _sorted_out(event: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a row has a field for, and the rest."""
    said = dict(event)
    if "inputs" in said:  # the SDK's old name
        said["input"] = said.pop("inputs")
    if isinstance(said.get("scores"), Mapping):
        said["scores"] = {k: v for k, v in said["scores"].items() if k != PASS}
    known = {name: each for name, each in said.items() if name in _FIELDS}
    return known, {name: each for name, each in said.items() if name not in _FIELDS}
