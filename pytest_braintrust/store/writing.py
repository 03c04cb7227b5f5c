"""All that changes the store: each function is one transaction, or part of one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_braintrust.events import Row
from pytest_braintrust.jsonable import clean, dumps
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment, experiment

#: JavaScript, and so Braintrust, knows no higher row version than this; no row gets
#: anywhere near it.
_PUT = """
INSERT INTO rows
    (experiment, id, nodeid, part, outcome, scores, input_hash, event, final)
VALUES (:experiment, :id, :nodeid, :part, :outcome, :scores, :input_hash, :event, :final)
ON CONFLICT (experiment, id) DO UPDATE SET
    nodeid = excluded.nodeid, part = excluded.part, outcome = excluded.outcome,
    scores = excluded.scores, input_hash = excluded.input_hash,
    event = excluded.event, final = excluded.final, version = version + 1,
    refused = NULL
"""


@dataclass(frozen=True, slots=True)
class NewExperiment:
    """A run of one project, before its first row."""

    id: str
    session_id: str
    project: str
    name: str
    created_at: float
    repo_info: Mapping[str, Any] | None
    metadata: Mapping[str, Any]
    api_url: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One row to write, or to take out."""

    experiment: int
    row: Row
    final: bool
    gone: bool = False


def add_experiment(store: Store, new: NewExperiment) -> StoredExperiment:
    """Add an experiment, or answer the one that has its id already."""
    with store.transaction() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO experiments (id, session_id, project, name, "
            "created_at, repo_info, metadata, api_url) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                new.id,
                new.session_id,
                new.project,
                new.name,
                new.created_at,
                dumps(clean(new.repo_info)),
                dumps(clean(new.metadata)),
                new.api_url,
            ),
        )
    return experiment(store, new.id)


def put(store: Store, changes: Iterable[Change]) -> None:
    """Write rows: a row with the id of an earlier one takes its place."""
    with store.transaction() as connection:
        for change in changes:
            _apply(connection, change)


def _apply(connection: sqlite3.Connection, change: Change) -> None:
    if change.gone:
        connection.execute(
            "DELETE FROM rows WHERE experiment = ? AND id = ?",
            (change.experiment, change.row["id"]),
        )
        return
    values = {**change.row, "experiment": change.experiment, "final": change.final}
    connection.execute(_PUT, values)


def finish(
    store: Store,
    session_id: str,
    *,
    at: float,
    exit_status: int,
    tests: Mapping[str, Mapping[str, int]],
) -> None:
    """Note the end of a run; its experiments without rows leave no trace.

    `tests` has, by project, how many of its tests had each outcome.
    """
    with store.transaction() as connection:
        connection.execute(
            "DELETE FROM experiments WHERE session_id = ? AND remote_id IS NULL "
            "AND number NOT IN (SELECT experiment FROM rows)",
            (session_id,),
        )
        connection.execute(
            "UPDATE experiments SET finished_at = ?, exit_status = ? "
            "WHERE session_id = ?",
            (at, exit_status, session_id),
        )
        connection.executemany(
            "UPDATE experiments SET tests = ? WHERE session_id = ? AND project = ?",
            [(json.dumps(counts), session_id, name) for name, counts in tests.items()],
        )
        # Rows of tests that were cut off while they ran are as final as they get.
        connection.execute(
            "UPDATE rows SET final = 1 WHERE final = 0 AND experiment IN "
            "(SELECT number FROM experiments WHERE session_id = ?)",
            (session_id,),
        )


def set_remote(  # noqa: PLR0913 - what Braintrust answered, field by field
    store: Store,
    number: int,
    *,
    project_id: str,
    remote_id: str,
    name: str,
    url: str | None,
    api_url: str,
) -> None:
    """Note which experiment on Braintrust the rows of this one belong to."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE experiments SET project_id = ?, remote_id = ?, remote_name = ?, "
            "url = ?, api_url = ? WHERE number = ?",
            (project_id, remote_id, name, url, api_url, number),
        )


def set_upload_error(store: Store, number: int, error: str | None) -> None:
    """Note why rows are not sent, or that they are."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE experiments SET upload_error = ? WHERE number = ? "
            "AND upload_error IS NOT ?",
            (error, number, error),
        )


def mark_sent(store: Store, sent: Iterable[tuple[int, int]]) -> None:
    """Note the version of each row, by position, that Braintrust acknowledged."""
    with store.transaction() as connection:
        connection.executemany(
            "UPDATE rows SET sent = ?, refused = NULL WHERE position = ?",
            [(version, position) for position, version in sent],
        )


def mark_refused(store: Store, position: int, reason: str) -> None:
    """Note that Braintrust does not take a row, and why."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE rows SET refused = ? WHERE position = ?", (reason, position)
        )
