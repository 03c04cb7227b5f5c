"""When a run ran and how it ended, as its experiment on Braintrust says it.

So that it can be a baseline from there. What several processes make has ended when
each of them has, wherever it runs; so each says when it begins, too. None of them has
ended there before its rows are there: what has a part of them is nothing to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.clocks import now
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

#: When it began and ended. The experiment may have been made much later, by a push.
TIMES = "pytest_braintrust_times"
STARTED, FINISHED = "started_at", "finished_at"

#: All that is ours of it.
NAMES = frozenset({ENDED_WITH, FIT, SESSIONS, TESTS, TIMES})

#: Of a run's rows Braintrust may refuse this share, and the rest is still the run.
_REFUSED = 0.1

#: A clock that says less was never set.
_SET = 1_000_000_000.0
#: How far apart clocks may be.
_APART = 24 * 3_600.0


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended; without a status it goes on, or was killed."""

    exit_status: int | None = None
    tests: dict[str, int] = field(default_factory=dict)
    fit: bool = True


@dataclass(frozen=True, slots=True)
class Times:
    """When a run began, and when it ended, where that is known; in unix seconds."""

    started_at: float
    finished_at: float | None


def beginning(started_at: float) -> dict[str, Any]:
    """What is known of a run from its beginning."""
    return {TIMES: {STARTED: started_at}}


def as_metadata(store: Store, experiment: StoredExperiment) -> dict[str, Any]:
    """What is known here of how a run ended, of whose rows all are on Braintrust.

    Raises:
        StoreError: the store could not be read.
    """
    found = sessions.of_run(store, experiment.run_id)
    unfit = {} if experiment.fit else {FIT: False}
    if any(each.id != experiment.run_id for each in found):
        told = {each.id: _of_session(store, experiment, each) for each in found}
        return {SESSIONS: told, **unfit}
    if experiment.exit_status is None or not _is_there(store, experiment):
        return unfit
    times = {STARTED: experiment.created_at, FINISHED: experiment.finished_at}
    ended = {ENDED_WITH: experiment.exit_status, TESTS: experiment.tests}
    return {**ended, TIMES: times, **unfit}


def _of_session(
    store: Store, experiment: StoredExperiment, each: Session
) -> dict[str, Any]:
    begun = {STARTED: each.started_at}
    if each.exit_status is None or not _is_there(store, experiment, each.id):
        return begun
    ended = {ENDED_WITH: each.exit_status, TESTS: each.tests}
    return {**begun, FINISHED: each.finished_at, **ended}


def _is_there(
    store: Store, experiment: StoredExperiment, session_id: str | None = None
) -> bool:
    """Whether no row is on its way any more, and few were refused."""
    rows = reading.row_counts(store, experiment.number, session_id)
    return rows.pending == rows.refused <= _REFUSED * rows.recorded


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


def times(metadata: Mapping[str, Any], made_at: float) -> Times:
    """When a run of ours ran, as the metadata of its experiment says.

    Where it does not, or what no clock would: from when the experiment was made.
    """
    several, alone = metadata.get(SESSIONS), metadata.get(TIMES)
    told = list(several.values()) if isinstance(several, dict) else [alone]
    found = [_times(each, made_at) for each in told]
    known = [each for each in found if each is not None]
    if not known:
        return Times(made_at, None)
    ends = [each.finished_at for each in known if each.finished_at is not None]
    ended = max(ends) if len(ends) == len(told) else None
    return Times(min(each.started_at for each in known), ended)


def _times(told: Any, made_at: float) -> Times | None:
    if not isinstance(told, dict):
        return None
    started: Any
    finished: Any
    started, finished = told.get(STARTED), told.get(FINISHED)
    if not _is_moment(started, _SET, made_at + _APART):
        return None
    ended = _is_moment(finished, started, now() + _APART)
    return Times(float(started), float(finished) if ended else None)


def _is_moment(value: Any, least: float, most: float) -> bool:
    return type(value) in {int, float} and least <= value <= most
