"""All that changes the store: each function is one transaction, or part of one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_braintrust.events import Row
from pytest_braintrust.jsonable import clean, dumps
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment, experiment

_PUT = """
INSERT INTO rows
    (experiment, id, nodeid, part, outcome, scores, input_hash, event, final, session)
VALUES (:experiment, :id, :nodeid, :part, :outcome, :scores, :input_hash, :event,
    :final, :session)
ON CONFLICT (experiment, id) DO UPDATE SET
    nodeid = excluded.nodeid, part = excluded.part, outcome = excluded.outcome,
    scores = excluded.scores, input_hash = excluded.input_hash,
    event = excluded.event, final = excluded.final, version = version + 1,
    refused = NULL
"""
_END = """
UPDATE rows SET event = substr(event, 1, length(event) - ?) || ?, final = 1,
    version = version + 1 WHERE experiment = ? AND id = ?
"""
_DELETE = "DELETE FROM rows WHERE experiment = ? AND id = ?"


@dataclass(frozen=True, slots=True)
class NewExperiment:
    """A run of one project, before its first row."""

    id: str
    #: What the experiments of a run have in common, whichever process adds them.
    run_id: str
    project: str
    name: str
    created_at: float
    repo_info: Mapping[str, Any] | None
    metadata: Mapping[str, Any]
    api_url: str | None
    #: The experiment that it is compared with: here, and on Braintrust.
    base: str | None = None
    base_remote_id: str | None = None
    #: The dataset on Braintrust that its cases come from, where there is one.
    dataset_id: str | None = None
    dataset_version: str | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """A row to write, or to take out."""

    row: Row
    final: bool
    gone: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """A row whose test ended: the last characters of its event become others."""

    row_id: str
    cut: int
    tail: str


def add_experiment(store: Store, new: NewExperiment) -> StoredExperiment:
    """Add an experiment, or answer the one that has its id already.

    A worker may have added it before its baseline was found.
    """
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO experiments (id, run_id, project, name, created_at, "
            "repo_info, metadata, api_url, base, base_remote_id, dataset_id, "
            "dataset_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET base = coalesce(base, excluded.base), "
            "base_remote_id = coalesce(base_remote_id, excluded.base_remote_id)",
            (
                new.id,
                new.run_id,
                new.project,
                new.name,
                new.created_at,
                dumps(clean(new.repo_info)),
                dumps(clean(new.metadata)),
                new.api_url,
                new.base,
                new.base_remote_id,
                new.dataset_id,
                new.dataset_version,
            ),
        )
    return experiment(store, new.id)


def change(
    store: Store,
    changes: Iterable[tuple[int, Put | End]],
    *,
    session: int | None = None,
) -> None:
    """Apply changes, each to the rows of an experiment by number, all or none.

    A row with the id of an earlier one takes its place. `session` is the number of
    the one that records them.
    """
    with store.transaction() as connection:
        for number, each in changes:
            if isinstance(each, End):
                connection.execute(_END, (each.cut, each.tail, number, each.row_id))
            elif each.gone:
                connection.execute(_DELETE, (number, each.row["id"]))
            else:
                own = {"experiment": number, "final": each.final, "session": session}
                connection.execute(_PUT, {**each.row, **own})


def remove_experiment(store: Store, number: int) -> None:
    """Remove an experiment with its rows, and what is known of a run that has none."""
    with store.transaction() as connection:
        found = connection.execute(
            "SELECT run_id FROM experiments WHERE number = ?", (number,)
        ).fetchone()
        connection.execute("DELETE FROM experiments WHERE number = ?", (number,))
        if found is not None:
            connection.execute(
                "DELETE FROM sessions WHERE run_id = ? AND finished_at IS NOT NULL "
                "AND run_id NOT IN (SELECT run_id FROM experiments)",
                (found["run_id"],),
            )


def set_end(
    store: Store, number: int, *, exit_status: int, tests: Mapping[str, int]
) -> None:
    """Note how a run ended that was not run here, by what its rows say."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE experiments SET exit_status = ?, tests = ?, "
            "finished_at = coalesce(finished_at, created_at) WHERE number = ?",
            (exit_status, json.dumps(dict(tests)), number),
        )


def set_fit(store: Store, number: int, *, fit: bool) -> None:
    """Note whether later runs may be compared with it by its place in history."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE experiments SET fit = ? WHERE number = ?", (fit, number)
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


def mark_sent(
    store: Store, sent: Iterable[tuple[int, int]], *, cut_to: int | None = None
) -> None:
    """Note the version of each row, by position, that Braintrust acknowledged.

    `cut_to` is how many bytes of a row were sent, where that was not all of it.
    """
    with store.transaction() as connection:
        connection.executemany(
            "UPDATE rows SET sent = ?, cut_to = ?, refused = NULL WHERE position = ?",
            [(version, cut_to, position) for position, version in sent],
        )


def clear_refused(store: Store, number: int) -> None:
    """Let the rows that Braintrust refused be tried again."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE rows SET refused = NULL WHERE experiment = ? "
            "AND refused IS NOT NULL",
            (number,),
        )


def mark_refused(store: Store, position: int, version: int, reason: str) -> None:
    """Note that Braintrust does not take a row as it was in a version, and why."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE rows SET refused = ? WHERE position = ? AND version = ?",
            (reason, position, version),
        )
