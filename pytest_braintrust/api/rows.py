"""Rows of experiments and datasets, and what the server makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_braintrust.api import answers
from pytest_braintrust.api.answers import Answer
from pytest_braintrust.api.reading import KEY, Answered, filled


@dataclass(frozen=True, slots=True)
class DatasetRow(Answered):
    """A row of a dataset; `version` is that of the row (`_xact_id`)."""

    id: str
    input: Any = None
    expected: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    version: str | None = field(default=None, metadata={KEY: "_xact_id"})
    created: str | None = None


@dataclass(frozen=True, slots=True)
class Event(Answered):
    """A row of an experiment: a span of a trace, the root of which is the case."""

    id: str
    input: Any = None
    output: Any = None
    expected: Any = None
    error: Any = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    span_id: str | None = None
    root_span_id: str | None = None
    span_parents: tuple[str, ...] = ()
    version: str | None = field(default=None, metadata={KEY: "_xact_id"})
    created: str | None = None

    @property
    def is_root(self) -> bool:
        """Whether it is the case itself, not a step inside it."""
        told = self.raw.get("is_root")
        return told if isinstance(told, bool) else not self.span_parents


@dataclass(frozen=True, slots=True)
class Measure(Answered):
    """One score or metric of a summary; `diff` is None without a comparison."""

    name: str
    value: float
    diff: float | None = None
    improvements: float | None = None
    regressions: float | None = None
    unit: str | None = None

    @classmethod
    def valued(cls, answer: Answer, key: str) -> Measure:
        """Read an entry whose value has that name: `score` or `metric`.

        Raises:
            BadAnswer: as `read`.
        """
        return filled(cls, answer, value=answers.number(answer, key))


@dataclass(frozen=True, slots=True)
class Summary(Answered):
    """An experiment in numbers, alone or beside another one."""

    project_name: str
    experiment_name: str
    experiment_url: str | None
    comparison_experiment_name: str | None = None
    scores: Mapping[str, Measure] = field(default_factory=dict)
    metrics: Mapping[str, Measure] = field(default_factory=dict)

    @classmethod
    def read(cls, answer: Answer) -> Summary:
        """Read an answer of `summarize`."""
        return filled(
            cls,
            answer,
            experiment_url=page_address(answer, "experiment_url"),
            scores=_measures(answer, "scores", "score"),
            metrics=_measures(answer, "metrics", "metric"),
        )


def page_address(answer: Answer, name: str) -> str | None:
    """The address of a page for people, if it is one that a terminal may show."""
    url = answer.get(name)
    if not isinstance(url, str) or not url.isprintable():
        return None
    return url if url.startswith(("https://", "http://")) else None


def _measures(answer: Answer, name: str, key: str) -> dict[str, Measure]:
    found = answers.mappings(answer, name)
    return {each: Measure.valued(found[each], key) for each in found}
