"""Let what the official SDK traces by itself be spans of the test that is running.

`@traced`, `start_span` and the wrapped clients of models (`wrap_openai` and its like)
ask the SDK which span is the current one, and open theirs within it. In a recorded test
that is the test's row, or what runs within it. Nothing is sent by the SDK, in the
process of a test that may mock the network: these spans leave with the row.

The SDK is never imported here: who has not imported it traces nothing by it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from pytest_braintrust import span
from pytest_braintrust.scoring import place_of_running


def follow() -> Callable[[], object]:
    """Let the SDK ask the running test, from here on; answers what ends that."""
    try:
        return _set_current(_Running())
    except Exception:  # noqa: BLE001 - another version of it may raise anything
        # Its spans are nowhere then, as before; the test is recorded all the same.
        return _nothing


def _set_current(current: object) -> Callable[[], object]:
    # What it calls private has no public name, and is not in all of its versions.
    state = getattr(sys.modules["braintrust.logger"], "_state", None)
    contexts = getattr(state, "context_manager", None)
    if contexts is None:
        return _nothing
    _leave_spans_of_others_alone(contexts)
    token = contexts.set_current_span(current)
    if token is None:
        # It keeps spans of its own only, as with `BRAINTRUST_OTEL_COMPAT`.
        return _nothing

    def leave() -> None:
        # Where a task of the test asked for its recording, the token is of that task,
        # and versions of the SDK raise for it.
        with suppress(Exception):
            contexts.unset_current_span(token)

    return leave


def _leave_spans_of_others_alone(contexts: Any) -> None:
    """Let what a test opens in an experiment or a logger of its own be whole there.

    The SDK gives such a span the ids of the current one, in whatever experiment that
    is: an `Eval` within a test would have no row that is the root of its trace. There
    is no other way to tell it than this method of its object.
    """
    find = contexts.get_parent_span_ids
    if isinstance(find, _ParentOfOthers):
        return
    contexts.get_parent_span_ids = _ParentOfOthers(contexts, find)


@dataclass(frozen=True, slots=True)
class _ParentOfOthers:
    """Finds the ids by which the SDK's own spans know their parent: never a row's."""

    contexts: Any
    find: Callable[[], Any]

    def __call__(self) -> Any:
        current = self.contexts.get_current_span_info()
        if isinstance(getattr(current, "span_object", None), _Running):
            return None
        return self.find()


def _nothing() -> None:
    """There is nothing to end."""


class _Running:
    """The SDK's current span: that of the test which is running when it is asked.

    An event loop that outlives a test keeps this as its current span, and runs other
    tests too.
    """

    #: By this the SDK tells a span of its own that has ended.
    _logged_end_time = None

    @property
    def span_id(self) -> str:
        return str(_current().span_id)

    @property
    def root_span_id(self) -> str:
        return str(_current().root_span_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(_current(), name)


def _current() -> Any:
    found = place_of_running()
    if found is None:
        return _Elsewhere()
    return span.at(*found)


class _Elsewhere:
    """What is the SDK's current span without us: none."""

    span_id = root_span_id = ""

    def start_span(self, **given: Any) -> Any:
        """Open a span wherever it goes without us: a logger, or nowhere."""

        def start() -> Any:
            _set_current(None)
            return sys.modules["braintrust.logger"].start_span(**given)

        return copy_context().run(start)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules["braintrust.logger"].NOOP_SPAN, name)
