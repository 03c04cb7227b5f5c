"""Rows as somebody looks through them: some of them, one after the other."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from pytest_braintrust.store.connection import Store
from pytest_braintrust.trials import TRIAL_NODEID, nodeid_of, number_of

#: What may stand between a score's name and a number; a mean of text is none.
_OPERATORS = ("<=", ">=", "==", "!=", "<", ">", "=")
_CONDITION = re.compile(
    r"(?s)\s*(?P<name>.+?)\s*(?P<operator><=|>=|==|!=|<|>|=)\s*"
    r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a score has to be; a row that has no such score is not meant."""

    name: str
    operator: str
    number: float


@dataclass(frozen=True, slots=True)
class SeenRow:
    """One row."""

    id: str
    nodeid: str
    part: str
    outcome: str
    scores: Mapping[str, float | None]
    #: Whether Braintrust has it as it is; why not, where it was refused.
    sent: bool
    refused: str | None
    event: str

    @property
    def test(self) -> str:
        """The test as pytest runs it, and which of its rows."""
        name = self.trial_nodeid or self.nodeid
        return f"{name} {self.part}" if self.part else name

    @property
    def trial_nodeid(self) -> str | None:
        """The node id of its trial, where the test has several."""
        # Few have: most events need not be decoded for that.
        if TRIAL_NODEID not in self.event:
            return None
        return nodeid_of(json.loads(self.event))


@dataclass(frozen=True, slots=True)
class PlacedTest:
    """A test, or a row that it asked for, by where its rows are."""

    nodeid: str
    part: str
    #: Of the rows of its trials.
    positions: tuple[int, ...]
    #: How these ended.
    outcomes: frozenset[str]
    #: The lowest of their scores; None where they have none.
    lowest: float | None

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by."""
        return self.nodeid, self.part


def condition(text: str) -> Condition:
    """Read a condition such as `exact<0.5`.

    Raises:
        ValueError: it is none.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        msg = f"{text!r} is not of the form NAME<NUMBER, as exact<0.5"
        raise ValueError(msg)
    operator = found["operator"]
    return Condition(
        found["name"], "=" if operator == "==" else operator, float(found["number"])
    )


def rows(
    store: Store,
    number: int,
    *,
    outcomes: Sequence[str] = (),
    conditions: Sequence[Condition] = (),
    limit: int | None = None,
) -> Iterator[SeenRow]:
    """Rows of an experiment by test and trial, in one order wherever they came from.

    Args:
        store: Where they are.
        number: The experiment.
        outcomes: Those with one of these outcomes; none given: all.
        conditions: Those for which all of these hold.
        limit: How many at most.
    """
    where, values = _where(number, outcomes, conditions)
    # Places first: with the events in it, SQLite would sort in as much memory.
    what = "position, nodeid, part"
    sql = f"SELECT {what} FROM rows WHERE {where} ORDER BY nodeid, part, id"  # noqa: S608
    places = _by_trial(store, store.query(sql, values))
    for position in islice(places, limit):
        row = store.one("SELECT * FROM rows WHERE position = ?", (position,))
        if row is not None:
            yield _seen(row)


def _by_trial(store: Store, found: Iterator[sqlite3.Row]) -> Iterator[int]:
    """The places of rows that are ordered by test, with its trials in their order.

    Which trial a row is of stands in its event alone: only of tests with several rows
    is that read.
    """
    for _, rows_of_test in groupby(found, lambda row: (row["nodeid"], row["part"])):
        places = [row["position"] for row in rows_of_test]
        if len(places) > 1:
            places.sort(key=lambda position: _trial(store, position))
        yield from places


def _trial(store: Store, position: int) -> int:
    row = store.one("SELECT event FROM rows WHERE position = ?", (position,))
    return number_of(json.loads(row["event"])) if row is not None else 0


def placed(store: Store, number: int) -> Iterator[PlacedTest]:
    """The tests of an experiment by name, each with the places of its trials."""
    lowest = "(SELECT min(value) FROM json_each(rows.scores)) AS lowest"
    found = store.query(
        f"SELECT position, nodeid, part, outcome, {lowest} FROM rows "  # noqa: S608
        "WHERE experiment = ? ORDER BY nodeid, part, id",
        (number,),
    )
    for (nodeid, part), trials in groupby(found, lambda r: (r["nodeid"], r["part"])):
        rows_of_test = list(trials)
        positions = [row["position"] for row in rows_of_test]
        if len(positions) > 1:
            positions.sort(key=lambda position: _trial(store, position))
        lows = [row["lowest"] for row in rows_of_test if row["lowest"] is not None]
        outcomes = frozenset(row["outcome"] for row in rows_of_test)
        yield PlacedTest(
            nodeid, part, tuple(positions), outcomes, min(lows, default=None)
        )


def _seen(row: sqlite3.Row) -> SeenRow:
    return SeenRow(
        id=row["id"],
        nodeid=row["nodeid"],
        part=row["part"],
        outcome=row["outcome"],
        scores=json.loads(row["scores"]),
        sent=row["sent"] >= row["version"],
        refused=row["refused"],
        event=row["event"],
    )


def count(
    store: Store,
    number: int,
    *,
    outcomes: Sequence[str] = (),
    conditions: Sequence[Condition] = (),
) -> int:
    """How many rows `rows` would go through without a limit."""
    where, values = _where(number, outcomes, conditions)
    found = store.one(f"SELECT count(*) FROM rows WHERE {where}", values)  # noqa: S608
    return found[0] if found is not None else 0


def _where(
    number: int, outcomes: Sequence[str], conditions: Sequence[Condition]
) -> tuple[str, list[Any]]:
    """The condition in SQL, of our own words alone, and the values in it."""
    parts, values = ["experiment = ?"], [number]  # type: list[str], list[Any]
    if outcomes:
        parts.append(f"outcome IN ({', '.join('?' * len(outcomes))})")
        values += outcomes
    for each in conditions:
        if each.operator not in _OPERATORS:
            raise ValueError(each.operator)
        # Not by a JSON path, in which a name may mean anything.
        scores = "SELECT 1 FROM json_each(rows.scores)"
        parts.append(f"EXISTS ({scores} WHERE key = ? AND value {each.operator} ?)")
        values += [each.name, each.number]
    return " AND ".join(parts), values
