"""A traced step of a test in one line: what it is called, how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_braintrust.events import amounts_of
from pytest_braintrust.reports.scales import amount
from pytest_braintrust.spending import is_spent


def step(span: Mapping[str, Any]) -> str:
    """Its name and type, its time, what it spent, and the first line of its error."""
    attributes, amounts = span["span_attributes"], amounts_of(span["metrics"])
    kind = f" ({attributes['type']})" if attributes.get("type") else ""
    took = amounts.pop("duration", None)
    told = [] if took is None else [amount("duration", took)]
    told += [f"{n} {amount(n, each)}" for n, each in amounts.items() if is_spent(n)]
    if span.get("error"):
        told += str(span["error"]).splitlines()[:1]
    return f"{attributes.get('name')}{kind}{': ' if told else ''}{', '.join(told)}"
