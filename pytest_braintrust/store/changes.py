"""What a run changes in the store: as lines of text first, as rows of tables later.

One line is one change, and ASCII: an encoded event has neither tabs nor line breaks,
so it stands in its line as it is. Experiments go by their own id and not by a number
of the tables, so that the lines of a run are enough to make its rows anywhere.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from pytest_braintrust.events import Row, seconds_text, with_teardown
from pytest_braintrust.jsonable import clean, decoded_start, dumps, quoted
from pytest_braintrust.store import sessions
from pytest_braintrust.store.sessions import NewSession

_ADD = """
INSERT INTO experiments (id, run_id, project, name, created_at, repo_info,
    metadata, api_url, base, base_remote_id, dataset_id, dataset_version)
VALUES (:id, :run_id, :project, :name, :created_at, :repo_info,
    :metadata, :api_url, :base, :base_remote_id, :dataset_id, :dataset_version)
-- A worker may have added it before its baseline was found.
ON CONFLICT (id) DO UPDATE SET base = coalesce(base, excluded.base),
    base_remote_id = coalesce(base_remote_id, excluded.base_remote_id)
"""
_PUT = """
INSERT INTO rows (experiment, session, final, id, part, nodeid, source, outcome, scores,
    metrics, input_hash, event)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (experiment, id) DO UPDATE SET
    nodeid = excluded.nodeid, part = excluded.part, outcome = excluded.outcome,
    scores = excluded.scores, metrics = excluded.metrics,
    input_hash = excluded.input_hash, source = excluded.source,
    event = excluded.event, final = excluded.final, version = version + 1,
    refused = NULL
"""
_FIND = """
SELECT position, event FROM rows WHERE id = ? AND NOT final
    AND experiment = (SELECT number FROM experiments WHERE id = ?)
"""
_END = "UPDATE rows SET event = ?, final = 1, version = version + 1 WHERE position = ?"
_DELETE = """
DELETE FROM rows WHERE id = ?
    AND experiment = (SELECT number FROM experiments WHERE id = ?)
"""


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


def begin(new: NewSession) -> str:
    """The line that notes a session, if it is not noted yet."""
    return f"begin\t{dumps(asdict(new))}\n"


def add(new: NewExperiment) -> str:
    """The line that adds an experiment, if there is none with its id."""
    return f"add\t{dumps(clean(asdict(new)))}\n"


def put(experiment: str, session: str, row: Row, *, final: bool) -> str:
    """The line that writes a row, in the place of one with its id.

    Args:
        experiment: The id of the row's experiment.
        session: The id of the session that records it.
        row: The row.
        final: Whether its test ended, so that it may be sent while the run goes on.
    """
    source = "null" if row["source"] is None else quoted(row["source"])
    names = f"[{quoted(row['part'])},{quoted(row['nodeid'])},{source}]"
    return (
        f"put\t{experiment}\t{session}\t{final:d}\t{row['id']}\t{names}"
        f"\t{row['outcome']}\t{row['scores']}\t{row['metrics']}"
        f"\t{row['input_hash']}\t{row['event']}\n"
    )


def end(experiment: str, row_id: str, teardown: float) -> str:
    """The line of a row whose test ended, and how many seconds its teardown took."""
    return f"end\t{experiment}\t{row_id}\t{seconds_text(teardown)}\n"


def take_out(experiment: str, row_id: str) -> str:
    """The line that takes a row out."""
    return f"out\t{experiment}\t{row_id}\n"


def insert(connection: sqlite3.Connection, new: NewExperiment) -> None:
    """Add an experiment, if there is none with its id."""
    plain = asdict(new)
    for name in ("repo_info", "metadata"):
        plain[name] = dumps(clean(plain[name]))
    connection.execute(_ADD, plain)


def apply(connection: sqlite3.Connection, lines: Iterable[str]) -> None:
    """Make the changes, within a transaction of the caller.

    A line that cannot be read was cut by a full disk or a lost machine: it is left
    out, for it must not keep those after it from the tables.
    """
    batch = _Batch(connection)
    for line in lines:
        batch.take(line)
    batch.write()


class _Put(NamedTuple):
    """A row as its line tells it, in the order of the columns of `_PUT`."""

    experiment: str
    session: str
    final: str
    id: str
    part: str
    nodeid: str
    source: str | None
    outcome: str
    scores: str
    metrics: str
    input_hash: str
    event: str

    @classmethod
    def of(cls, line: str) -> _Put:
        """Read a line.

        Raises:
            ValueError, TypeError: it was cut.
        """
        experiment, session, final, row_id, names, *more = line.split("\t", 9)
        told, _ = decoded_start(names)
        put = cls(experiment, session, final, row_id, *told, *more)
        if not put.event.endswith("}"):
            msg = "the line was cut"
            raise ValueError(msg)
        return put


@dataclass(slots=True)
class _Batch:
    """Changes that are made together: most rows are put and ended in one batch."""

    connection: sqlite3.Connection
    _puts: dict[tuple[str, str], _Put] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """Take in a line, if it can be read."""
        kind, _, rest = line.rstrip("\n").partition("\t")
        try:
            _TAKES[kind](self, rest)
        except (KeyError, TypeError, ValueError):
            return

    def begin(self, rest: str) -> None:
        sessions.add(self.connection, NewSession(**json.loads(rest)))

    def add(self, rest: str) -> None:
        insert(self.connection, NewExperiment(**json.loads(rest)))

    def put(self, rest: str) -> None:
        put = _Put.of(rest)
        self._puts[put.experiment, put.id] = put

    def end(self, rest: str) -> None:
        experiment, row_id, seconds = rest.split("\t")
        # A line that was cut within the number would spoil the event.
        float(seconds)
        put = self._puts.get((experiment, row_id))
        if put is not None:
            if put.final == "0":
                event = with_teardown(put.event, seconds)
                self._puts[experiment, row_id] = put._replace(event=event, final="1")
            return
        row = self.connection.execute(_FIND, (row_id, experiment)).fetchone()
        if row is not None:
            event = with_teardown(row["event"], seconds)
            self.connection.execute(_END, (event, row["position"]))

    def take_out(self, rest: str) -> None:
        experiment, row_id = rest.split("\t")
        self._puts.pop((experiment, row_id), None)
        self.connection.execute(_DELETE, (row_id, experiment))

    def write(self) -> None:
        puts = self._puts.values()
        experiments = self._numbers("experiments", {put.experiment for put in puts})
        sessions = self._numbers("sessions", {put.session for put in puts})
        rows = (
            (experiments[experiment], sessions.get(session), *rest)
            for experiment, session, *rest in puts
            if experiment in experiments
        )
        self.connection.executemany(_PUT, rows)

    def _numbers(self, table: str, ids: set[str]) -> dict[str, int]:
        """The numbers of those that a table has."""
        select = f"SELECT number FROM {table} WHERE id = ?"  # noqa: S608 - our own names
        found = {id_: self.connection.execute(select, (id_,)).fetchone() for id_ in ids}
        return {id_: row[0] for id_, row in found.items() if row is not None}


_TAKES: dict[str, Callable[[_Batch, str], None]] = {
    "begin": _Batch.begin,
    "add": _Batch.add,
    "put": _Batch.put,
    "end": _Batch.end,
    "out": _Batch.take_out,
}
