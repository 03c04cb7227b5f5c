"""Rows of experiments and datasets, and what the server makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_braintrust.api import answers
from pytest_braintrust.api.answers import Answer


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A row of a dataset; `version` is that of the row (`_xact_id`)."""

    id: str
    input: Any = None
    expected: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    version: str | None = None
    created: str | None = None
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer) -> DatasetRow:
        """Read a row as fetched, or as one line of a download."""
        return cls(
            id=answers.text(answer, "id"),
            input=answer.get("input"),
            expected=answer.get("expected"),
            metadata=answers.mapping(answer, "metadata"),
            tags=answers.texts(answer, "tags"),
            version=answers.maybe_text(answer, "_xact_id"),
            created=answers.maybe_text(answer, "created"),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Event:
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
    version: str | None = None
    created: str | None = None
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_root(self) -> bool:
        """Whether it is the case itself, not a step inside it."""
        told = self.raw.get("is_root")
        return told if isinstance(told, bool) else not self.span_parents

    @classmethod
    def read(cls, answer: Answer) -> Event:
        """Read a row as fetched, or as one line of a download."""
        return cls(
            id=answers.text(answer, "id"),
            input=answer.get("input"),
            output=answer.get("output"),
            expected=answer.get("expected"),
            error=answer.get("error"),
            scores=answers.numbers(answer, "scores"),
            metadata=answers.mapping(answer, "metadata"),
            tags=answers.texts(answer, "tags"),
            metrics=answers.mapping(answer, "metrics"),
            origin=answers.mapping(answer, "origin"),
            span_id=answers.maybe_text(answer, "span_id"),
            root_span_id=answers.maybe_text(answer, "root_span_id"),
            span_parents=answers.texts(answer, "span_parents"),
            version=answers.maybe_text(answer, "_xact_id"),
            created=answers.maybe_text(answer, "created"),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """One score or metric of a summary; `diff` is None without a comparison."""

    name: str
    value: float
    diff: float | None = None
    improvements: float | None = None
    regressions: float | None = None
    unit: str | None = None
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer, value: str) -> Measure:
        """Read an entry whose value has that name: `score` or `metric`."""
        return cls(
            name=answers.text(answer, "name"),
            value=answers.number(answer, value),
            diff=answers.maybe_number(answer, "diff"),
            improvements=answers.maybe_number(answer, "improvements"),
            regressions=answers.maybe_number(answer, "regressions"),
            unit=answers.maybe_text(answer, "unit"),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """An experiment in numbers, alone or beside another one."""

    project_name: str
    experiment_name: str
    experiment_url: str | None
    comparison_experiment_name: str | None = None
    scores: Mapping[str, Measure] = field(default_factory=dict)
    metrics: Mapping[str, Measure] = field(default_factory=dict)
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer) -> Summary:
        """Read an answer of `summarize`."""
        return cls(
            project_name=answers.text(answer, "project_name"),
            experiment_name=answers.text(answer, "experiment_name"),
            experiment_url=page_address(answer, "experiment_url"),
            comparison_experiment_name=answers.maybe_text(
                answer, "comparison_experiment_name"
            ),
            scores=_measures(answer, "scores", "score"),
            metrics=_measures(answer, "metrics", "metric"),
            raw=answer,
        )


def page_address(answer: Answer, name: str) -> str | None:
    """The address of a page for people, if it is one that a terminal may show."""
    url = answer.get(name)
    if not isinstance(url, str) or not url.isprintable():
        return None
    return url if url.startswith(("https://", "http://")) else None


def _measures(answer: Answer, name: str, value: str) -> dict[str, Measure]:
    found = answers.mappings(answer, name)
    return {key: Measure.read(each, value) for key, each in found.items()}
