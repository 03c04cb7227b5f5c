"""What a run changes in the store: as lines of text first, as rows of tables later.

One line is one change, and ASCII: an encoded event has neither tabs nor line breaks,
so it stands in its line as it is. Experiments go by their own id and not by a number
of the tables, so that the lines of a run are enough to make its rows anywhere.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, TypeAlias

from pytest_braintrust.events import Row, seconds_text, with_teardown
from pytest_braintrust.facts import NewExperiment
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


def insert(connection: sqlite3.Connection, new: NewExperiment) -> None:
    """Add an experiment, if there is none with its id."""
    plain = asdict(new)
    for name in ("repo_info", "metadata"):
        plain[name] = dumps(clean(plain[name]))
    connection.execute(_ADD, plain)


@dataclass(frozen=True, slots=True)
class Begin:
    """A session is noted, if it is not noted yet."""

    session: NewSession

    @property
    def line(self) -> str:
        """The change as text."""
        return f"begin\t{dumps(asdict(self.session))}\n"

    @classmethod
    def of(cls, rest: str) -> Begin:
        """Read a line."""
        return cls(NewSession(**json.loads(rest)))

    def make(self, batch: _Batch) -> None:
        """Make the change."""
        sessions.add(batch.connection, self.session)


@dataclass(frozen=True, slots=True)
class Add:
    """An experiment is added, if there is none with its id."""

    experiment: NewExperiment

    @property
    def line(self) -> str:
        """The change as text."""
        return f"add\t{dumps(clean(asdict(self.experiment)))}\n"

    @classmethod
    def of(cls, rest: str) -> Add:
        """Read a line."""
        return cls(NewExperiment(**json.loads(rest)))

    def make(self, batch: _Batch) -> None:
        """Make the change."""
        insert(batch.connection, self.experiment)


class Put(NamedTuple):
    """A row is written, in the place of one with its id.

    In the order of the columns of `_PUT`, but for experiment and session, which are
    their ids here.
    """

    experiment: str
    session: str
    #: 1 or 0: whether its test ended, so that it may be sent while the run goes on.
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

    @property
    def line(self) -> str:
        """The change as text."""
        source = "null" if self.source is None else quoted(self.source)
        return (
            f"put\t{self.experiment}\t{self.session}\t{self.final}\t{self.id}"
            f"\t[{quoted(self.part)},{quoted(self.nodeid)},{source}]"
            f"\t{self.outcome}\t{self.scores}\t{self.metrics}"
            f"\t{self.input_hash}\t{self.event}\n"
        )

    @classmethod
    def of(cls, rest: str) -> Put:
        """Read a line.

        Raises:
            ValueError, TypeError: it was cut.
        """
        experiment, session, final, row_id, names, *more = rest.split("\t", 9)
        told, _ = decoded_start(names)
        put = cls(experiment, session, final, row_id, *told, *more)
        if not put.event.endswith("}"):
            msg = "the line was cut"
            raise ValueError(msg)
        return put

    def make(self, batch: _Batch) -> None:
        """Make the change, with the others of its batch."""
        batch.puts[self.experiment, self.id] = self


class End(NamedTuple):
    """The test of a row ended, and its teardown took so many seconds."""

    experiment: str
    row_id: str
    seconds: str

    @property
    def line(self) -> str:
        """The change as text."""
        return f"end\t{self.experiment}\t{self.row_id}\t{self.seconds}\n"

    @classmethod
    def of(cls, rest: str) -> End:
        """Read a line.

        Raises:
            ValueError, TypeError: it was cut.
        """
        end = cls(*rest.split("\t"))
        # One that was cut within the number would spoil the event.
        float(end.seconds)
        return end

    def make(self, batch: _Batch) -> None:
        """Make the change: most rows are put and ended in one batch."""
        experiment, row_id, seconds = self
        put = batch.puts.get((experiment, row_id))
        if put is None:
            batch.end(experiment, row_id, seconds)
        elif put.final == "0":
            event = with_teardown(put.event, seconds)
            batch.puts[experiment, row_id] = put._replace(event=event, final="1")


class TakeOut(NamedTuple):
    """A row goes."""

    experiment: str
    row_id: str

    @property
    def line(self) -> str:
        """The change as text."""
        return f"out\t{self.experiment}\t{self.row_id}\n"

    @classmethod
    def of(cls, rest: str) -> TakeOut:
        """Read a line.

        Raises:
            TypeError: it was cut.
        """
        return cls(*rest.split("\t"))

    def make(self, batch: _Batch) -> None:
        """Make the change."""
        batch.puts.pop((self.experiment, self.row_id), None)
        batch.connection.execute(_DELETE, (self.row_id, self.experiment))


Change: TypeAlias = Begin | Add | Put | End | TakeOut

_KINDS: dict[str, Callable[[str], Change]] = {
    "begin": Begin.of,
    "add": Add.of,
    "put": Put.of,
    "end": End.of,
    "out": TakeOut.of,
}


def put(experiment: str, session: str, row: Row, *, final: bool) -> Put:
    """The change that writes a row.

    Args:
        experiment: The id of the row's experiment.
        session: The id of the session that records it.
        row: The row.
        final: Whether its test ended, so that it may be sent while the run goes on.
    """
    return Put(
        experiment,
        session,
        "1" if final else "0",
        row["id"],
        row["part"],
        row["nodeid"],
        row["source"],
        row["outcome"],
        row["scores"],
        row["metrics"],
        row["input_hash"],
        row["event"],
    )


def end(experiment: str, row_id: str, teardown: float) -> End:
    """The change of a row whose test ended, with the seconds that its teardown took."""
    return End(experiment, row_id, seconds_text(teardown))


def read(lines: Iterable[str]) -> Iterator[Change]:
    """The changes that lines tell.

    A line that cannot be read was cut by a full disk or a lost machine: it is left
    out, for it must not keep those after it from the tables.
    """
    for line in lines:
        kind, _, rest = line.rstrip("\n").partition("\t")
        try:
            change = _KINDS[kind](rest)
        except (KeyError, TypeError, ValueError):
            continue
        yield change


def apply(connection: sqlite3.Connection, changes: Iterable[Change]) -> None:
    """Make the changes, within a transaction of the caller."""
    batch = _Batch(connection)
    for change in changes:
        change.make(batch)
    batch.write()


@dataclass(slots=True)
class _Batch:
    """Changes that are made together."""

    connection: sqlite3.Connection
    #: Rows that are still to be written, by experiment and id.
    puts: dict[tuple[str, str], Put] = field(default_factory=dict)

    def end(self, experiment: str, row_id: str, seconds: str) -> None:
        """Note the end of the test of a row that was written before."""
        row = self.connection.execute(_FIND, (row_id, experiment)).fetchone()
        if row is not None:
            event = with_teardown(row["event"], seconds)
            self.connection.execute(_END, (event, row["position"]))

    def write(self) -> None:
        """Write the rows."""
        puts = self.puts.values()
        experiments = self._numbers("experiments", {put.experiment for put in puts})
        sessions = self._numbers("sessions", {put.session for put in puts})
        rows = [
            (experiments[put[0]], sessions.get(put[1]), *put[2:])
            for put in puts
            if put[0] in experiments
        ]
        self.connection.executemany(_PUT, rows)

    def _numbers(self, table: str, ids: set[str]) -> dict[str, int]:
        """The numbers of those that a table has."""
        select = f"SELECT number FROM {table} WHERE id = ?"  # noqa: S608 - our own names
        found = {id_: self.connection.execute(select, (id_,)).fetchone() for id_ in ids}
        return {id_: row[0] for id_, row in found.items() if row is not None}
