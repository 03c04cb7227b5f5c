"""How a run ended, as its experiment on Braintrust says it.

So that it can be a baseline from there. What several processes make has ended when
each of them has, wherever it runs; so each says when it begins, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.store import reading, sessions
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.store.sessions import Session

#: In the metadata: pytest's exit status, and how many tests had which outcome.
ENDED_WITH, TESTS = "exit_status", "tests"
#: In their place for a run of several processes: the same of each, by its id.
SESSIONS = "pytest_braintrust_sessions"

#: False where later runs may not be compared with it by its place in history.
FIT = "fit"

#: All that is ours of it.
NAMES = frozenset({ENDED_WITH, FIT, SESSIONS, TESTS})


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended; without a status it goes on, or was killed."""

    exit_status: int | None = None
    tests: dict[str, int] = field(default_factory=dict)
    fit: bool = True


def as_metadata(store: Store, experiment: StoredExperiment) -> dict[str, Any]:
    """What is known here of how a run ended.

    Raises:
        StoreError: the store could not be read.
    """
    found = sessions.of_run(store, experiment.run_id)
    unfit = {} if experiment.fit else {FIT: False}
    if any(each.id != experiment.run_id for each in found):
        return {SESSIONS: {each.id: _of_session(each) for each in found}, **unfit}
    if experiment.exit_status is None:
        return {}
    return {ENDED_WITH: experiment.exit_status, TESTS: experiment.tests, **unfit}


def _of_session(each: Session) -> dict[str, Any]:
    begun = {"started_at": each.started_at}
    if each.exit_status is None:
        return begun
    return {**begun, ENDED_WITH: each.exit_status, TESTS: each.tests}


def tell(store: Store, experiment: StoredExperiment, client: BraintrustClient) -> None:
    """Say on Braintrust what is known here of how a run ended.

    Raises:
        ApiError: the server did not take it.
        StoreError: the store could not be read.
    """
    known = reading.experiment(store, experiment.id)
    metadata = as_metadata(store, known)
    if known.remote_id is not None and metadata:
        client.patch_experiment(known.remote_id, metadata=metadata)


def read(metadata: Mapping[str, Any]) -> End:
    """How a run of ours ended, as the metadata of its experiment says."""
    told = metadata.get(SESSIONS)
    fit = metadata.get(FIT) is not False
    if not isinstance(told, dict):
        return replace(_read(metadata), fit=fit)
    found = [_read(each) if isinstance(each, dict) else End() for each in told.values()]
    status, tests = sessions.summed((each.exit_status, each.tests) for each in found)
    return End(status, tests, fit)


def _read(told: Mapping[str, Any]) -> End:
    status, tests = told.get(ENDED_WITH), told.get(TESTS)
    counts = tests.items() if isinstance(tests, dict) else ()
    return End(
        status if type(status) is int else None,
        {str(name): each for name, each in counts if type(each) is int},
    )
