"""Runs in a store without running them: for what is asked of many runs, or large ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

from stored import put

from pytest_braintrust.events import Attempt, Case, Ids, Place, record
from pytest_braintrust.facts import NewExperiment
from pytest_braintrust.fields import Fields
from pytest_braintrust.outcomes import Outcome
from pytest_braintrust.store import reading, sessions, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.store.sessions import NewSession

_MOMENTS = count(1_700_000_000)


@dataclass(frozen=True)
class Told:
    """One row, as its test would have told it."""

    name: str
    scores: Mapping[str, float | None] = field(default_factory=dict)
    outcome: Outcome = "passed"
    input: Any = None
    output: Any = None
    expected: Any = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 1.0
    source: str = "s"
    part: str = ""
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    file: str = "test_it.py"

    @property
    def nodeid(self) -> str:
        return f"{self.file}::{self.name}"


def scored(name: str, values: Sequence[float | None], **more: Any) -> list[Told]:
    """Tests with one score each."""
    return [Told(f"test_{i}", {name: v}, **more) for i, v in enumerate(values)]


def store_run(  # noqa: PLR0913 - what a run is
    store: Store,
    told: Iterable[Told],
    *,
    name: str = "",
    project: str = "p",
    repo_info: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    exit_status: int | None = 0,
    counts: Mapping[str, int] | None = None,
    base: str | None = None,
) -> StoredExperiment:
    """Add a run; `exit_status` None leaves it as if it still went on."""
    at = float(next(_MOMENTS))
    session = NewSession(str(uuid4()), str(uuid4()), at)
    new = NewExperiment(
        id=str(uuid4()),
        run_id=session.run_id,
        project=project,
        name=name or f"run-{at:.0f}",
        created_at=at,
        repo_info=repo_info,
        metadata=metadata or {},
        api_url=None,
        base=base,
    )
    experiment = writing.add_experiment(store, new)
    put(store, experiment, (_row(each, at) for each in told), session)
    if exit_status is not None:
        sessions.finish(
            store, session, at=at, exit_status=exit_status, tests=counts or {}
        )
    return reading.experiment(store, new.id)


def _row(told: Told, at: float) -> Any:
    place = Place.of(file=told.file, function=told.name, line=7, source=told.source)
    case = Case(told.nodeid, told.name, place, Fields())
    said = Fields(output=told.output, scores=dict(told.scores))
    if told.expected is not None:
        said.expected = told.expected
    said.metrics.update(told.metrics)
    said.metadata.update(told.metadata)
    said.input = {"n": told.name} if told.input is None else told.input
    attempt = Attempt(told.outcome, at, at + told.seconds, {}, error=told.error)
    return record(case, Ids(), said, attempt, told.part)
