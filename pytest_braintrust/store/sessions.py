"""The processes that make a run: one as a rule, several where it is sharded.

What a run came to is what all of its sessions came to, so it has no end while one of
them goes on, or was killed.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_braintrust.jsonable import clean, dumps
from pytest_braintrust.store.connection import Store

#: pytest's exit status where a session had no tests.
_NO_TESTS = 5


@dataclass(frozen=True, slots=True)
class NewSession:
    """A process that starts to record."""

    id: str
    run_id: str
    started_at: float
    host: str | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A process that records, or has recorded."""

    number: int
    id: str
    run_id: str
    started_at: float
    finished_at: float | None
    #: pytest's own; None while it goes on, or where it was killed.
    exit_status: int | None
    tests: dict[str, int]
    host: str | None
    pid: int | None


def begin(store: Store, new: NewSession) -> int:
    """Note that a session began; answers its number. A second time changes nothing."""
    with store.transaction() as connection:
        return add(connection, new)


def add(connection: sqlite3.Connection, new: NewSession) -> int:
    """Do the same in a transaction of the caller."""
    added = connection.execute(
        "INSERT OR IGNORE INTO sessions (id, run_id, started_at, host, pid) "
        "VALUES (?, ?, ?, ?, ?)",
        (new.id, new.run_id, new.started_at, new.host, new.pid),
    )
    if added.rowcount:
        # The run goes on, whatever its other sessions have come to.
        connection.execute(
            "UPDATE experiments SET finished_at = NULL, exit_status = NULL "
            "WHERE run_id = ?",
            (new.run_id,),
        )
    found = connection.execute("SELECT number FROM sessions WHERE id = ?", (new.id,))
    number: int = found.fetchone()[0]
    return number


def finish(
    store: Store,
    session: NewSession,
    *,
    at: float,
    exit_status: int,
    tests: Mapping[str, int],
) -> None:
    """Note the end of a session; a run without rows leaves no trace.

    `tests` has how many were collected and how many had each outcome, `not_run` too.
    """
    with store.transaction() as connection:
        number = add(connection, session)
        connection.execute(
            "UPDATE sessions SET finished_at = ?, exit_status = ?, tests = ? "
            "WHERE number = ?",
            (at, exit_status, json.dumps(dict(tests)), number),
        )
        # Rows of tests that were cut off while they ran are as final as they get.
        connection.execute(
            "UPDATE rows SET final = 1 WHERE final = 0 AND session = ?", (number,)
        )
        _sum_up(connection, session.run_id)
        _remove_empty(connection, session.run_id)


def bring_in(store: Store, told: Iterable[Session]) -> None:
    """Take in sessions of elsewhere; what is known of one already stays."""
    with store.transaction() as connection:
        for each in told:
            connection.execute(
                "INSERT INTO sessions (id, run_id, started_at, finished_at, "
                "exit_status, tests) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO "
                "UPDATE SET finished_at = excluded.finished_at, exit_status = "
                "excluded.exit_status, tests = excluded.tests "
                "WHERE finished_at IS NULL AND host IS NULL",
                (
                    each.id,
                    each.run_id,
                    each.started_at,
                    each.finished_at,
                    each.exit_status,
                    dumps(clean(each.tests)),
                ),
            )
            _sum_up(connection, each.run_id)


def of_run(store: Store, run_id: str) -> list[Session]:
    """The sessions of a run, in the order in which they began."""
    found = store.query(
        "SELECT * FROM sessions WHERE run_id = ? ORDER BY started_at, id", (run_id,)
    )
    return [_session(row) for row in found]


def unfinished(store: Store) -> list[Session]:
    """The sessions that go on, or were killed."""
    found = store.query("SELECT * FROM sessions WHERE finished_at IS NULL")
    return [_session(row) for row in found]


def remove_dead(store: Store, alive: Iterable[str]) -> None:
    """Forget sessions that have died and left no experiment."""
    kept = set(alive)
    dead = [(each.number,) for each in unfinished(store) if each.id not in kept]
    with store.transaction() as connection:
        connection.executemany(
            "DELETE FROM sessions WHERE number = ? AND finished_at IS NULL "
            "AND run_id NOT IN (SELECT run_id FROM experiments)",
            dead,
        )


def _session(row: sqlite3.Row) -> Session:
    plain: dict[str, Any] = {name: row[name] for name in Session.__slots__}
    return Session(**{**plain, "tests": json.loads(row["tests"])})


def summed(
    told: Iterable[tuple[int | None, Mapping[str, int]]],
) -> tuple[int | None, dict[str, int]]:
    """What sessions came to together: the worst status, and the sum of their tests.

    Without a status while one of them has none.
    """
    all_ = list(told)
    tests: Counter[str] = Counter()
    for _, counts in all_:
        tests.update(counts)
    statuses = [status for status, _ in all_ if status is not None]
    if len(statuses) < len(all_):
        return None, dict(tests)
    # No tests are no harm where others of the run had some.
    ran = [status for status in statuses if status != _NO_TESTS]
    return max(ran or statuses, default=None), dict(tests)


def _sum_up(connection: sqlite3.Connection, run_id: str) -> None:
    """Note in the run's experiments what its sessions came to."""
    found = connection.execute("SELECT * FROM sessions WHERE run_id = ?", (run_id,))
    all_ = [_session(row) for row in found]
    status, tests = summed((each.exit_status, each.tests) for each in all_)
    ended = [each.finished_at for each in all_ if each.finished_at is not None]
    connection.execute(
        "UPDATE experiments SET finished_at = ?, exit_status = ?, tests = ? "
        "WHERE run_id = ? AND transfer IS NULL",
        (
            max(ended, default=None) if len(ended) == len(all_) else None,
            status,
            json.dumps(tests),
            run_id,
        ),
    )


def _remove_empty(connection: sqlite3.Connection, run_id: str) -> None:
    """Remove experiments without rows, once no session can add any."""
    going_on = connection.execute(
        "SELECT 1 FROM sessions WHERE run_id = ? AND finished_at IS NULL", (run_id,)
    ).fetchone()
    if going_on is not None:
        return
    connection.execute(
        "DELETE FROM experiments WHERE run_id = ? AND remote_id IS NULL "
        "AND number NOT IN (SELECT experiment FROM rows)",
        (run_id,),
    )
    # Of a run that is one process's own; others may still join a named one.
    connection.execute(
        "DELETE FROM sessions WHERE run_id = ? AND id = run_id "
        "AND run_id NOT IN (SELECT run_id FROM experiments)",
        (run_id,),
    )
