"""Let the hooks of a suite change or drop a row, and take the API key out of it."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_braintrust.events import Row
from pytest_braintrust.fields import PASS, checked
from pytest_braintrust.jsonable import clean

#: What a row keeps when a hook that should redact it failed: what the plugin itself
#: wrote, and nothing that the test did.
_OWN = ("id", "span_id", "root_span_id", "span_parents", "created", "context")

REDACTED = "[redacted]"


class RowEditor:
    """Applies `pytest_braintrust_row`, and keeps what went wrong in it."""

    def __init__(self, config: pytest.Config, api_key: str | None) -> None:
        self._config = config
        self._api_key = api_key
        self.failures: list[str] = []

    def edit(
        self, event: dict[str, Any], item: pytest.Item | None = None
    ) -> dict[str, Any] | None:
        """Answer the event to keep, or None to drop it."""
        hook = (item.ihook if item else self._config.hook).pytest_braintrust_row
        if not hook.get_hookimpls():
            return event
        bare = _without_content(event)
        try:
            answers = hook(config=self._config, item=item, row=event)
            if any(answer is False for answer in answers):
                return None
            return _checked_again(event)
        except Exception as error:  # noqa: BLE001 - a suite's hook is foreign code
            name = type(error).__name__
            self.failures.append(f"{bare['metadata']['pytest']['nodeid']}: {name}")
            bare["error"] = f"[withheld: the hook pytest_braintrust_row raised {name}]"
            return bare

    def scrub(self, row: Row) -> Row:
        """Take the API key out of an encoded row, wherever a test logged it."""
        if self._api_key and self._api_key in row["event"]:
            row["event"] = row["event"].replace(self._api_key, REDACTED)
        if self._api_key and self._api_key in row["nodeid"]:
            row["nodeid"] = row["nodeid"].replace(self._api_key, REDACTED)
        return row


def _checked_again(event: dict[str, Any]) -> dict[str, Any]:
    """What a hook left, held to the same rules as what a test says."""
    plain: Any = clean(event)
    given = {name: each for name, each in plain["scores"].items() if name != PASS}
    checked(scores=given, tags=plain["tags"], metrics=plain["metrics"])
    needed = plain["id"], plain["metadata"]["pytest"]["nodeid"]
    if not all(isinstance(each, str) for each in needed):
        msg = "a row keeps its id and metadata.pytest.nodeid"
        raise ValueError(msg)
    for name in ("input", "output", "expected", "error"):
        plain.setdefault(name, None)
    return plain  # type: ignore[no-any-return]


def _without_content(event: dict[str, Any]) -> dict[str, Any]:
    """The row without anything that the test said, but for its numbers."""
    facts = dict(event["metadata"]["pytest"])
    facts.pop("attempts", None)
    return {
        **{name: event[name] for name in _OWN},
        "input": {"test": facts["nodeid"]},
        "output": None,
        "expected": None,
        "error": None,
        "scores": dict(event["scores"]),
        "metadata": {"pytest": facts},
        "tags": [],
        "metrics": dict(event["metrics"]),
        "span_attributes": dict(event["span_attributes"]),
    }
