"""Experiments in a store, written as a run writes them, without running one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from pytest_braintrust import events
from pytest_braintrust.events import Attempt, Case, Ids, Place
from pytest_braintrust.facts import NewExperiment
from pytest_braintrust.fields import Fields
from pytest_braintrust.outcomes import Outcome
from pytest_braintrust.store import changes, reading, sessions, writing
from pytest_braintrust.store.changes import Change
from pytest_braintrust.store.connection import Store, open_store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.store.sessions import NewSession


def a_row(
    name: str,
    *,
    exact: float = 1.0,
    outcome: Outcome = "passed",
    value: object = None,
    error: str | None = None,
) -> events.Row:
    """The row of a test of that name."""
    said = Fields(scores={"exact": exact})
    said.input = {"question": name}
    said.output = value if value is not None else name.upper()  # type: ignore[assignment]
    place = Place.of(file="test_a.py", function=name, line=1)
    case = Case(f"test_a.py::{name}", name, place, Fields())
    attempt = Attempt(outcome, 1_000.0, 1_001.0, durations={"call": 1.0}, error=error)
    return events.record(case, Ids(), said, attempt)


def rows(count: int) -> list[events.Row]:
    """As many rows as that."""
    return [a_row(f"test_{number}") for number in range(count)]


def add(  # noqa: PLR0913 - what an experiment is made of
    store: Store,
    name: str,
    *,
    project: str = "capitals",
    branch: str | None = None,
    commit: str = "a" * 40,
    at: float = 1_000.0,
    run: str | None = None,
    of: Iterable[events.Row] = (),
    finished: bool = True,
) -> StoredExperiment:
    """Add an experiment."""
    session = run or str(uuid4())
    info = {"branch": branch, "commit": commit} if branch else None
    new = NewExperiment(
        id=str(uuid4()),
        run_id=session,
        project=project,
        name=name,
        created_at=at,
        repo_info=info,
        metadata={"model": "small"},
        api_url=None,
    )
    made = writing.add_experiment(store, new)
    put(store, made, of, NewSession(session, session, at))
    if finished:
        sessions.finish(
            store,
            NewSession(session, session, at),
            at=at + 60,
            exit_status=0,
            tests={"collected": 1, "passed": 1},
        )
    return reading.experiment(store, made.id)


def put(
    store: Store,
    experiment: StoredExperiment,
    of: Iterable[events.Row],
    session: NewSession | None = None,
) -> None:
    """Write rows of tests that ended."""
    by = session.id if session else "unknown"
    made: list[Change] = [changes.put(experiment.id, by, row, final=True) for row in of]
    if session:
        made.insert(0, changes.Begin(session))
    with store.transaction() as connection:
        changes.apply(connection, made)


def a_store(folder: Path) -> Store:
    """A new store in a folder."""
    return open_store(folder / ".braintrust")


def event_of(row: events.Row) -> dict[str, Any]:
    """The event of a row."""
    found: dict[str, Any] = json.loads(row["event"])
    return found
