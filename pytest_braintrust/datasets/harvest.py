"""Rows of a run as rows of a dataset: those that went badly, to be asked again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pytest_braintrust.datasets import conditions
from pytest_braintrust.datasets.conditions import Condition, Read
from pytest_braintrust.datasets.rows import digest
from pytest_braintrust.errors import DatasetError
from pytest_braintrust.events import SILENT

#: The fields of an event that a condition may name, and what is short for others.
_EVENT = ("id", "input", "output", "expected", "error", "metadata", "tags", "metrics")
_FACTS = {"outcome": "outcome", "test": "nodeid", "worker": "worker"}


@dataclass(slots=True)
class Harvest:
    """Takes the rows that a condition holds for, without those that are `SILENT`.

    Attributes:
        condition: The condition.
        experiment_id: The run's id on Braintrust; None where it is not there.
        repeated: How many rows were the same case as one before: trials, or another
            test that asked the same.
    """

    condition: Condition
    experiment_id: str | None = None
    repeated: int = 0
    _seen: set[str] = field(default_factory=set)
    #: The own row of a test that came last.
    _own: Mapping[str, Any] = field(default_factory=dict)

    def rows(self, events: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows of a dataset, each once.

        Args:
            events: The rows of the run, a test's further rows right after its own.
        """
        for event in events:
            if _part(event) is None:
                self._own = event
            if not _is_silent(event) and self.condition(event):
                row = self._row(self._case(event))
                if row["id"] in self._seen:
                    self.repeated += 1
                    continue
                self._seen.add(row["id"])
                yield row

    def _case(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row that has the case as its dataset has it.

        Of a further row that is its test's own, unless it was given another input.
        """
        of_own = (
            _part(event) is not None
            and _origin_id(event) is not None
            and _nodeid(event) == _nodeid(self._own)
            and _without_part(event) == self._own.get("input")
        )
        return self._own if of_own else event

    def _row(self, event: Mapping[str, Any]) -> dict[str, Any]:
        metadata = dict(event.get("metadata") or {})
        metadata.pop("pytest", None)
        row = {
            "id": _row_id(event),
            "input": event.get("input"),
            "expected": event.get("expected"),
            "metadata": metadata,
            "tags": event.get("tags") or [],
        }
        if self.experiment_id is not None:
            row["origin"] = {
                "object_type": "experiment",
                "object_id": self.experiment_id,
                "id": event["id"],
            }
        return row


_is_silent = conditions.at(("metadata", "pytest", SILENT))
_part = conditions.at(("metadata", "pytest", "row"))
_nodeid = conditions.at(("metadata", "pytest", "nodeid"))


def _without_part(event: Mapping[str, Any]) -> Any:
    """The input of a further row without its name, which tells it from its test's."""
    given = event.get("input")
    if isinstance(given, Mapping) and given.get("row") == _part(event):
        return {name: each for name, each in given.items() if name != "row"}
    return given


def _origin_id(event: Mapping[str, Any]) -> str | None:
    """The id of the row of a dataset on Braintrust that a test was a case of."""
    origin = event.get("origin") or {}
    found = origin.get("id") if origin.get("object_type") == "dataset" else None
    return found if isinstance(found, str) else None


def _row_id(event: Mapping[str, Any]) -> str:
    """The id of the row that the case came from, or one made of its input.

    The same from every run, so that it is one row of the dataset however often it
    went badly. A further row with an input of its own is another case.
    """
    known = None if _part(event) is not None else _origin_id(event)
    return known or digest(event.get("input"))


def condition(text: str, scores: Iterable[str]) -> Condition:
    """Read a condition on the rows of a run.

    Args:
        text: As in `conditions.parse`. `score` is the lowest of a row's scores, the
            name of a score is that score, `outcome` is how the test ended, `test` its
            node id; the rest are the fields of an event.
        scores: The names of the run's scores.

    Raises:
        DatasetError: it is no condition, or names what no row has.
    """
    known = list(scores)

    def resolve(path: tuple[str, ...]) -> Read:
        read = _reader(path, known)
        if read is None:
            raise DatasetError(_no_such(path, known))
        return read

    return conditions.parse(text, resolve)


def _reader(path: tuple[str, ...], scores: list[str]) -> Read | None:
    head, *rest = path
    if head == "scores":
        return conditions.at(path) if rest and rest[0] in scores else None
    if head in _EVENT:
        return conditions.at(path)
    if rest:
        return None
    if head == "score":
        return _lowest
    if head in _FACTS:
        return conditions.at(("metadata", "pytest", _FACTS[head]))
    return conditions.at(("scores", head)) if head in scores else None


def _lowest(event: Mapping[str, Any]) -> float | None:
    scores = event.get("scores") or {}
    return min((each for each in scores.values() if each is not None), default=None)


def _no_such(path: tuple[str, ...], scores: list[str]) -> str:
    name = path[1] if path[0] == "scores" and len(path) > 1 else path[0]
    near = get_close_matches(name, [*scores, *_EVENT, *_FACTS, "score"], 1)
    hint = f"did you mean {near[0]!r}?" if near else _what_there_is(scores)
    return f"no row has a score or field {'.'.join(path)!r}; {hint}"


def _what_there_is(scores: list[str]) -> str:
    if not scores:
        return "the run has no scores"
    return f"the scores are {', '.join(map(repr, scores))}"
