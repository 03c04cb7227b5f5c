"""What rows spent together: the sums of metrics that are costs or tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_braintrust.spending import is_spent
from pytest_braintrust.store.measuring import Measured


@dataclass(slots=True)
class Spending:
    """Adds up rows, one after the other."""

    #: By metric, the sum so far; None for one that is nothing to sum.
    _sums: dict[str, float | None] = field(default_factory=dict)

    def add(self, rows: Iterable[Measured]) -> None:
        """Take in rows: those that errored were paid too, as were earlier attempts."""
        for row in rows:
            self._add(row.metrics)
            if row.earlier:
                self._add(row.earlier)

    def _add(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            if name not in self._sums:
                self._sums[name] = 0.0 if is_spent(name) else None
            total = self._sums[name]
            if total is not None:
                self._sums[name] = total + value

    def result(self) -> dict[str, float]:
        """By metric, what was spent."""
        return {name: each for name, each in self._sums.items() if each is not None}
