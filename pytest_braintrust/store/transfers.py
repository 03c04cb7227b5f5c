"""Bring rows in from elsewhere, so that nobody ever sees a part of them as the whole.

They are gathered in an experiment that no reader knows of, some hundreds in one
transaction, so that a run that goes on meanwhile can write too. At the end all of
them take their place in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_braintrust.events import Columns
from pytest_braintrust.jsonable import clean, dumps
from pytest_braintrust.outcomes import OUTCOMES
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import TRANSFER, StoredExperiment, experiment

#: Rows, and bytes of them, in one transaction.
_ROWS = 500
_BYTES = 4_000_000

_BEGIN = """
INSERT INTO experiments (id, run_id, project, name, created_at, finished_at,
    exit_status, repo_info, metadata, tests, api_url, project_id, remote_id,
    remote_name, url, transfer)
VALUES (:id, :run_id, :project, :name, :created_at, :finished_at, :exit_status,
    :repo_info, :metadata, :tests, :api_url, :project_id, :remote_id, :remote_name,
    :url, :transfer)
"""
# A page may repeat a row of an earlier one in an older version.
_GATHER = """
INSERT INTO rows (experiment, id, nodeid, part, outcome, scores, metrics, input_hash,
    source, event, final, sent, remote_version)
VALUES (:experiment, :id, :nodeid, :part, :outcome, :scores, :metrics, :input_hash,
    :source, :event, 1, :sent, :remote_version)
ON CONFLICT (experiment, id) DO UPDATE SET
    nodeid = excluded.nodeid, part = excluded.part, outcome = excluded.outcome,
    scores = excluded.scores, metrics = excluded.metrics,
    input_hash = excluded.input_hash, source = excluded.source,
    event = excluded.event, remote_version = excluded.remote_version
WHERE coalesce(excluded.remote_version, 0) >= coalesce(rows.remote_version, 0)
"""
_MERGE = """
INSERT INTO rows (experiment, id, nodeid, part, outcome, scores, metrics, input_hash,
    source, event, final, version, sent, remote_version)
SELECT :target, id, nodeid, part, outcome, scores, metrics, input_hash, source, event,
    final, version, sent, remote_version
FROM rows WHERE experiment = :staged ORDER BY position
ON CONFLICT (experiment, id) DO UPDATE SET
    nodeid = excluded.nodeid, part = excluded.part, outcome = excluded.outcome,
    scores = excluded.scores, metrics = excluded.metrics,
    input_hash = excluded.input_hash, source = excluded.source,
    event = excluded.event, final = 1, refused = NULL,
    remote_version = excluded.remote_version, version = rows.version + 1,
    sent = CASE WHEN excluded.sent THEN rows.version + 1 ELSE rows.sent END
WHERE rows.event IS NOT excluded.event
    -- What Braintrust has goes over what it had, not over what it has yet to hear;
    -- of a row that was too large it has a part only.
    AND (NOT excluded.sent
        OR (rows.final AND rows.sent >= rows.version AND rows.cut_to IS NULL))
"""
_GONE = """
DELETE FROM rows WHERE experiment = :target AND remote_version IS NOT NULL
    AND id NOT IN (SELECT id FROM rows WHERE experiment = :staged)
"""
# Where it is on Braintrust, for an experiment of which that was not known.
_WHERE_IT_IS = """
SELECT api_url, project_id, remote_id, remote_name, url FROM experiments
WHERE number = :staged
"""
_KNOWN_THERE = """
UPDATE experiments SET
    api_url = coalesce(api_url, :api_url),
    project_id = coalesce(project_id, :project_id),
    remote_id = coalesce(remote_id, :remote_id),
    remote_name = coalesce(remote_name, :remote_name),
    url = coalesce(url, :url)
WHERE number = :target
"""


@dataclass(frozen=True, slots=True)
class Incoming:
    """An experiment as another place tells of it; named as in `StoredExperiment`."""

    id: str
    run_id: str
    project: str
    name: str
    created_at: float
    finished_at: float | None = None
    exit_status: int | None = None
    repo_info: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None
    tests: Mapping[str, int] | None = None
    api_url: str | None = None
    project_id: str | None = None
    remote_id: str | None = None
    remote_name: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A row on its way in."""

    row: Columns
    #: Its version on Braintrust, where it came from there.
    remote_version: int | None = None


@dataclass(slots=True)
class Transfer:
    """Rows that are being brought in, and how far that has come."""

    number: int
    id: str
    #: What whoever brings them in needs to go on after an interruption.
    state: dict[str, Any]
    #: Whether Braintrust has the rows.
    sent: bool = True


def begin(store: Store, incoming: Incoming, *, sent: bool) -> Transfer:
    """Begin to bring an experiment in, or go on where it was interrupted."""
    with store.transaction() as connection:
        found = connection.execute(
            "SELECT number, transfer FROM experiments WHERE id = ?",
            (TRANSFER + incoming.id,),
        ).fetchone()
        if found is not None:
            number, state = found["number"], json.loads(found["transfer"])
            return Transfer(number, incoming.id, state, sent=sent)
        number = connection.execute(_BEGIN, _values(incoming)).lastrowid
    return Transfer(number or 0, incoming.id, {}, sent=sent)


def _values(incoming: Incoming) -> dict[str, Any]:
    return {
        **{name: getattr(incoming, name) for name in Incoming.__slots__},
        "id": TRANSFER + incoming.id,
        "repo_info": dumps(clean(incoming.repo_info)),
        "metadata": dumps(clean(incoming.metadata or {})),
        "tests": dumps(clean(incoming.tests or {})),
        "transfer": "{}",
    }


def gather(
    store: Store,
    transfer: Transfer,
    arrivals: Iterable[Arrival],
    on_progress: Callable[[int], object] = lambda rows: None,
) -> int:
    """Keep rows; answers how many there were. They are held only while they pass."""
    count = 0
    for some in _batches(arrivals):
        values = [
            {
                **each.row,
                "experiment": transfer.number,
                "sent": transfer.sent,
                "remote_version": each.remote_version,
            }
            for each in some
        ]
        with store.transaction() as connection:
            connection.executemany(_GATHER, values)
        count += len(some)
        on_progress(len(some))
    return count


def _batches(arrivals: Iterable[Arrival]) -> Iterator[list[Arrival]]:
    batch: list[Arrival] = []
    size = 0
    for each in arrivals:
        batch.append(each)
        size += len(each.row["event"])
        if len(batch) == _ROWS or size > _BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def note(store: Store, transfer: Transfer, state: Mapping[str, Any]) -> None:
    """Note how far it has come."""
    transfer.state = dict(state)
    with store.transaction() as connection:
        connection.execute(
            "UPDATE experiments SET transfer = ? WHERE number = ?",
            (json.dumps(transfer.state), transfer.number),
        )


def start_over(store: Store, transfer: Transfer) -> None:
    """Forget what was gathered so far."""
    with store.transaction() as connection:
        connection.execute("DELETE FROM rows WHERE experiment = ?", (transfer.number,))
    note(store, transfer, {})


def forget(store: Store, number: int) -> None:
    """Forget all of it."""
    with store.transaction() as connection:
        connection.execute(
            "DELETE FROM experiments WHERE number = ? AND transfer IS NOT NULL",
            (number,),
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """A transfer that goes on, or was interrupted."""

    number: int
    id: str
    remote_id: str | None
    #: When it last came forward, in unix seconds.
    at: float


def begun(store: Store) -> list[Begun]:
    """The transfers that go on, or were interrupted."""
    found = store.query(
        "SELECT number, id, remote_id, transfer FROM experiments "
        "WHERE transfer IS NOT NULL"
    )
    return [
        Begun(
            row["number"],
            row["id"].removeprefix(TRANSFER),
            row["remote_id"],
            json.loads(row["transfer"]).get("at", 0.0),
        )
        for row in found
    ]


def land(
    store: Store,
    transfer: Transfer,
    *,
    into: str | None = None,
    remote_version: int | None = None,
) -> StoredExperiment:
    """Let all that was gathered take its place.

    Rows that are there already are replaced where they differ. Of rows that came from
    Braintrust, those that it no longer has go; those that were recorded here and are
    yet to be sent stay.

    Args:
        store: Where it all happens.
        transfer: What was gathered.
        into: The id of an experiment that is there already and that this is.
        remote_version: The version of the experiment on Braintrust.
    """
    with store.transaction() as connection:
        found = connection.execute(
            "SELECT number FROM experiments WHERE id = ?", (into or transfer.id,)
        ).fetchone()
        if found is None:
            number = transfer.number
            connection.execute(
                "UPDATE experiments SET id = ?, transfer = NULL WHERE number = ?",
                (transfer.id, number),
            )
        else:
            number = found["number"]
            numbers = {"target": number, "staged": transfer.number}
            if transfer.sent:
                connection.execute(_GONE, numbers)
            connection.execute(_MERGE, numbers)
            there = connection.execute(_WHERE_IT_IS, numbers).fetchone()
            connection.execute(_KNOWN_THERE, {**dict(there), **numbers})
            connection.execute(
                "DELETE FROM experiments WHERE number = ?", (transfer.number,)
            )
        if remote_version is not None:
            connection.execute(
                "UPDATE experiments SET remote_version = ? WHERE number = ?",
                (remote_version, number),
            )
    return experiment(store, into or transfer.id)


def count_tests(store: Store, number: int) -> dict[str, int]:
    """How many tests rows are of: `collected`, each outcome, `not_run`."""
    found = store.query(
        "SELECT outcome, count(DISTINCT nodeid) FROM rows WHERE experiment = ? "
        "GROUP BY outcome",
        (number,),
    )
    counts = dict.fromkeys(OUTCOMES, 0) | {row[0]: row[1] for row in found}
    return {"collected": sum(counts.values()), **counts, "not_run": 0}
