"""All that asks the store; large answers are iterated, never held."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pytest_braintrust.errors import StoreError
from pytest_braintrust.store.connection import Store

#: Stands before the id of an experiment while its rows are brought in.
TRANSFER = "transfer:"


@dataclass(frozen=True, slots=True)
class StoredExperiment:
    """One run of one project, as the store knows it."""

    number: int
    id: str
    #: The same for all experiments of a run, in whichever project and process.
    run_id: str
    project: str
    name: str
    created_at: float
    finished_at: float | None
    #: pytest's own; None while the run goes on, or where it was killed.
    exit_status: int | None
    repo_info: dict[str, Any] | None
    metadata: dict[str, Any]
    tests: dict[str, int]
    api_url: str | None
    project_id: str | None
    remote_id: str | None
    remote_name: str | None
    url: str | None
    upload_error: str | None
    #: The local id of the experiment that this one is compared with.
    base: str | None
    #: Whether later runs may be compared with it by its place in history.
    fit: bool
    #: What a pull or import that is under way has come to; None: there is none.
    transfer: str | None
    #: The version of it that was pulled last.
    remote_version: int | None
    #: The dataset on Braintrust that its cases come from, where there is one.
    dataset_id: str | None
    dataset_version: str | None
    #: The id on Braintrust of the experiment that this one is compared with.
    base_remote_id: str | None

    @property
    def shown_name(self) -> str:
        """Its name on Braintrust, where it is there: a name may be taken."""
        return self.remote_name or self.name

    @property
    def branch(self) -> str | None:
        """The branch that it ran on, where that is known."""
        return (self.repo_info or {}).get("branch")

    @property
    def commit(self) -> str | None:
        """The commit that it ran on, where that is known."""
        return (self.repo_info or {}).get("commit")

    @property
    def dirty(self) -> bool:
        """Whether it ran on changes that its commit has not."""
        return bool((self.repo_info or {}).get("dirty"))


@dataclass(frozen=True, slots=True)
class UnsentRow:
    """A row that Braintrust does not have, or not in this version."""

    position: int
    version: int
    event: str


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows an experiment has, and how many of them arrived."""

    recorded: int = 0
    #: Those of which only a part was sent are among them.
    sent: int = 0
    refused: int = 0

    @property
    def pending(self) -> int:
        """Rows that Braintrust does not have; those it refused are among them."""
        return self.recorded - self.sent


@dataclass(frozen=True, slots=True)
class RowNote:
    """A row that is not on Braintrust as it is here."""

    nodeid: str
    part: str
    #: Why it was refused, or None where it was sent.
    refused: str | None
    #: How many bytes of it were sent, or None where it was refused.
    cut_to: int | None


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """One score over all rows of an experiment that have it."""

    name: str
    mean: float
    count: int


def experiment(store: Store, experiment_id: str) -> StoredExperiment:
    """The experiment of that id.

    Raises:
        StoreError: the store has none.
    """
    found = find_experiment(store, experiment_id)
    if found is None:
        msg = f"the store at {store.directory} has no experiment {experiment_id}"
        raise StoreError(msg)
    return found


def find_experiment(store: Store, experiment_id: str) -> StoredExperiment | None:
    """The experiment of that id, or None where the store has none."""
    row = store.one("SELECT * FROM experiments WHERE id = ?", (experiment_id,))
    return None if row is None else _stored(row)


def experiments(
    store: Store,
    *,
    run_id: str | None = None,
    project: str | None = None,
    unsent_only: bool = False,
) -> list[StoredExperiment]:
    """The experiments of one run, of one project or of all, oldest first."""
    sql = (
        "SELECT * FROM experiments WHERE (:run IS NULL OR run_id = :run) "
        "AND (:project IS NULL OR project = :project) AND transfer IS NULL"
    )
    if unsent_only:
        sql += (
            " AND number IN (SELECT experiment FROM rows WHERE sent < version "
            "AND refused IS NULL)"
        )
    values: Any = {"run": run_id, "project": project}
    return [_stored(row) for row in store.query(sql + " ORDER BY number", values)]


def every_id(store: Store) -> set[str]:
    """The ids of all experiments, here and on Braintrust; of halves of them too."""
    found = store.query("SELECT id, remote_id FROM experiments")
    ids = {each for row in found for each in row if each}
    return ids | {each.removeprefix(TRANSFER) for each in ids}


def projects(store: Store) -> list[str]:
    """The projects that have an experiment."""
    sql = "SELECT DISTINCT project FROM experiments WHERE transfer IS NULL"
    return [row[0] for row in store.query(sql)]


def event_of(  # noqa: PLR0913 - which row is meant
    store: Store, number: int, nodeid: str, part: str, score: str, *, lowest: bool
) -> str | None:
    """The encoded event of a test's row.

    Of several trials it is the one with the lowest or highest value of a score, of
    equal ones the last.
    """
    value = "(SELECT value FROM json_each(rows.scores) WHERE key = ?)"
    row = store.one(
        "SELECT event FROM rows WHERE experiment = ? AND nodeid = ? AND part = ? "  # noqa: S608
        f"ORDER BY {value} IS NULL, {value} * ?, position DESC LIMIT 1",
        (number, nodeid, part, score, score, 1 if lowest else -1),
    )
    return None if row is None else str(row["event"])


def ordered_events(store: Store, number: int) -> Iterator[str]:
    """The events of an experiment by test and row, in the same order each time.

    By id where a test has several of a name: they have no order that every store
    would know.
    """
    # Places first: with the events in it, SQLite would sort in as much memory.
    places = store.query(
        "SELECT position FROM rows WHERE experiment = ? ORDER BY nodeid, part, id",
        (number,),
    )
    for (position,) in places:
        found = store.one("SELECT event FROM rows WHERE position = ?", (position,))
        if found is not None:
            yield found["event"]


def waiting(store: Store, session_id: str) -> list[StoredExperiment]:
    """The experiments that have rows of a session yet to be sent, oldest first."""
    found = store.query(
        "SELECT * FROM experiments WHERE run_id = "
        "(SELECT run_id FROM sessions WHERE id = :id) AND EXISTS (SELECT 1 FROM rows "
        "WHERE experiment = experiments.number AND sent < version AND refused IS NULL "
        "AND session = (SELECT number FROM sessions WHERE id = :id)) ORDER BY number",
        {"id": session_id},
    )
    return [_stored(row) for row in found]


def of_session(store: Store, session_id: str) -> list[StoredExperiment]:
    """The experiments of the run that a session makes, or helps to make."""
    found = store.query(
        "SELECT * FROM experiments WHERE run_id = "
        "(SELECT run_id FROM sessions WHERE id = ?) ORDER BY number",
        (session_id,),
    )
    return [_stored(row) for row in found]


def unsent(  # noqa: PLR0913 - which of them, and how many
    store: Store,
    number: int,
    *,
    after: int,
    limit: int,
    final_only: bool,
    session_id: str | None = None,
) -> Iterator[UnsentRow]:
    """Rows of an experiment yet to be sent, in the order they were recorded.

    Without those that Braintrust refused: it would do so again.

    Args:
        store: Where they are.
        number: The experiment.
        after: The position that they come after.
        limit: How many at most.
        final_only: Leave the rows of tests that are still running.
        session_id: Only those that this session recorded.
    """
    values: Any = {
        "number": number,
        "after": after,
        "limit": limit,
        "final_only": final_only,
        "session": session_id,
    }
    found = store.query(
        "SELECT position, version, event FROM rows WHERE experiment = :number "
        "AND sent < version AND refused IS NULL AND position > :after "
        "AND (final OR NOT :final_only) AND (:session IS NULL OR session = "
        "(SELECT number FROM sessions WHERE id = :session)) "
        "ORDER BY position LIMIT :limit",
        values,
    )
    for row in found:
        yield UnsentRow(row["position"], row["version"], row["event"])


def has_rows(store: Store, number: int) -> bool:
    """Whether an experiment has any row."""
    sql = "SELECT 1 FROM rows WHERE experiment = ? LIMIT 1"
    return store.one(sql, (number,)) is not None


def has_row(store: Store, experiment_id: str, row_id: str) -> bool:
    """Whether an experiment has a row of that id."""
    sql = (
        "SELECT 1 FROM rows WHERE id = ? AND experiment = "
        "(SELECT number FROM experiments WHERE id = ?)"
    )
    return store.one(sql, (row_id, experiment_id)) is not None


def session_counts(store: Store, session_id: str) -> RowCounts:
    """Count the rows of a session."""
    row = store.one(
        "SELECT count(*) AS recorded, coalesce(sum(sent >= version), 0) AS sent, "
        "count(refused) AS refused FROM rows WHERE experiment IN "
        "(SELECT experiments.number FROM experiments JOIN sessions USING (run_id) "
        "WHERE sessions.id = ?) "
        "AND session = (SELECT number FROM sessions WHERE id = ?)",
        (session_id, session_id),
    )
    return RowCounts(**dict(row)) if row is not None else RowCounts()


def row_counts(store: Store, number: int, session_id: str | None = None) -> RowCounts:
    """Count the rows of an experiment, or those that one session recorded."""
    row = store.one(
        "SELECT count(*) AS recorded, coalesce(sum(sent >= version), 0) AS sent, "
        "count(refused) AS refused FROM rows WHERE experiment = :number "
        "AND (:session IS NULL OR session = "
        "(SELECT number FROM sessions WHERE id = :session))",
        {"number": number, "session": session_id},
    )
    return RowCounts(**dict(row)) if row is not None else RowCounts()


def row_notes(store: Store, number: int) -> list[RowNote]:
    """The rows that Braintrust refused or has only a part of, as they were recorded."""
    found = store.query(
        "SELECT nodeid, part, refused, cut_to FROM rows WHERE experiment = ? "
        "AND (refused IS NOT NULL OR cut_to IS NOT NULL) ORDER BY position",
        (number,),
    )
    return [RowNote(*row) for row in found]


def anything_sent(store: Store, session_id: str) -> bool:
    """Whether Braintrust acknowledged a row of a session."""
    row = store.one(
        "SELECT EXISTS (SELECT 1 FROM rows WHERE sent > 0 AND session = sessions.number "
        "AND experiment IN (SELECT number FROM experiments WHERE "
        "run_id = sessions.run_id)) FROM sessions WHERE id = ?",
        (session_id,),
    )
    return row is not None and bool(row[0])


def unsent_count(store: Store, session_id: str) -> int:
    """How many rows of a session are yet to be sent."""
    row = store.one(
        "SELECT count(*) FROM rows WHERE sent < version AND refused IS NULL "
        "AND experiment IN (SELECT experiments.number FROM experiments "
        "JOIN sessions USING (run_id) WHERE sessions.id = :id) "
        "AND session = (SELECT number FROM sessions WHERE id = :id)",
        {"id": session_id},
    )
    return row[0] if row is not None else 0


def score_summaries(store: Store, number: int) -> list[ScoreSummary]:
    """The mean of each score, `pass` last; rows not scored or errored do not count.

    Each test counts once, however many trials it has, as in comparisons and gates. A
    test whose fixture broke after it scored may have scored what was broken.
    """
    found = store.query(
        "SELECT key, avg(mean), sum(count) FROM (SELECT key, avg(value) AS mean, "
        "count(value) AS count, min(position) AS first, min(json_each.id) AS place "
        "FROM rows, json_each(rows.scores) WHERE experiment = ? "
        "AND outcome <> 'errored' AND value IS NOT NULL GROUP BY nodeid, part, key) "
        "GROUP BY key ORDER BY key = 'pass', min(first), min(place)",
        (number,),
    )
    return [ScoreSummary(*row) for row in found]


def score_names(store: Store, number: int) -> list[str]:
    """The names of all scores of an experiment, in the order they were first given."""
    found = store.query(
        "SELECT key FROM rows, json_each(rows.scores) WHERE experiment = ? "
        "GROUP BY key ORDER BY min(position), min(json_each.id)",
        (number,),
    )
    return [row[0] for row in found]


def _stored(row: sqlite3.Row) -> StoredExperiment:
    plain = {name: row[name] for name in row.keys()}  # noqa: SIM118 - not a mapping
    for name in ("repo_info", "metadata", "tests"):
        plain[name] = json.loads(plain[name])
    plain["fit"] = bool(plain["fit"])
    return StoredExperiment(**plain)
