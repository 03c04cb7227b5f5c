"""All that changes the store: each function is one transaction, or part of one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pytest_braintrust.facts import NewExperiment
from pytest_braintrust.store import changes
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment, experiment


def add_experiment(store: Store, new: NewExperiment) -> StoredExperiment:
    """Add an experiment, or answer the one that has its id already."""
    with store.transaction() as connection:
        changes.insert(connection, new)
    return experiment(store, new.id)


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


def set_times(
    store: Store, number: int, created_at: float, finished_at: float | None
) -> None:
    """Note when a run ran that was not run here."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE experiments SET created_at = ?, finished_at = ? WHERE number = ?",
            (created_at, finished_at, number),
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
