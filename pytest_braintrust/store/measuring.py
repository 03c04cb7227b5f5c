"""What the rows of an experiment measured, without what they said.

Ordered by test, so that two runs of any size are compared side by side with one row
of each in memory.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from itertools import starmap
from types import MappingProxyType
from typing import Any, NamedTuple

from pytest_braintrust.events import ATTEMPTS, EARLIER
from pytest_braintrust.jsonable import decoded_start
from pytest_braintrust.store.connection import Store
from pytest_braintrust.trials import facts_of

# Scores and metrics in one text: to decode that once is half of the time.
_COLUMNS = """nodeid, part, outcome, input_hash, source,
    '[' || scores || ',' || metrics || ']' AS numbers"""
_ORDERED = """
FROM rows WHERE experiment = :number
    AND (nodeid = :among OR NOT :whole AND instr(nodeid, :among))
ORDER BY nodeid, part, position
"""

_ENDED = f"""
SELECT nodeid, source, outcome, CASE WHEN instr(event, '"{ATTEMPTS}":') THEN event END
FROM rows WHERE experiment = ? AND part = '' AND instr(nodeid, ?)
"""  # noqa: S608
_NOTHING: Mapping[str, float] = MappingProxyType({})


class Measured(NamedTuple):
    """One row: which test it is of, how it ended, its numbers.

    Attributes:
        nodeid: The test, without trial.
        part: The name of a row that the test asked for, or "".
        outcome: One of `outcomes.OUTCOMES`.
        scores: Name to a number in [0, 1]; those not scored are left out.
        metrics: Name to an amount; `duration` is in seconds.
        input_hash: The same for equal inputs.
        source: A hash of the test's source, or None where it has none.
        unscored: The scores of which it said None: there was nothing to tell.
        earlier: What attempts at the test before this one spent, by metric.
    """

    nodeid: str
    part: str
    outcome: str
    scores: Mapping[str, float]
    metrics: Mapping[str, float]
    input_hash: str
    source: str | None
    unscored: Collection[str] = ()
    earlier: Mapping[str, float] = _NOTHING

    @property
    def errored(self) -> bool:
        """Whether the infrastructure failed, so that nothing was measured."""
        return self.outcome == "errored"


class Ended(NamedTuple):
    """How a test's own row says that it ended.

    Attributes:
        nodeid: The test, without trial.
        source: A hash of the test's source, or None where it has none.
        outcome: One of `outcomes.OUTCOMES`.
        facts: What the plugin knows of it, where it was tried before.
    """

    nodeid: str
    source: str | None
    outcome: str
    facts: Mapping[str, Any]


def ended(store: Store, number: int, among: str = "") -> Iterator[Ended]:
    """How the tests of an experiment ended, in no order.

    Args:
        store: Where they are.
        number: The experiment's.
        among: What is in the node id of the tests that are meant; all have "" in it.
    """
    # Few have been tried before: other events are not read into Python.
    for nodeid, source, outcome, event in store.query(_ENDED, (number, among)):
        facts = facts_of(json.loads(event)) if event else {}
        yield Ended(nodeid, source, outcome, facts)


def node_ids(store: Store, number: int) -> set[str]:
    """The tests that have a row in an experiment."""
    found = store.query("SELECT nodeid FROM rows WHERE experiment = ?", (number,))
    return {nodeid for (nodeid,) in found}


def has_test(store: Store, number: int, nodeid: str) -> bool:
    """Whether a test of an experiment has that node id, and not as a part of it."""
    sql = "SELECT 1 FROM rows WHERE experiment = ? AND nodeid = ? LIMIT 1"
    return store.one(sql, (number, nodeid)) is not None


def measured(
    store: Store, number: int, among: str = "", *, whole: bool = False
) -> Iterator[Measured]:
    """The rows of an experiment, ordered by test and row name.

    Args:
        store: Where they are.
        number: The experiment's.
        among: What is in the node id of the tests that are meant; all have "" in it.
        whole: Whether it has to be all of the node id.
    """
    meant = {"number": number, "among": among, "whole": whole}
    return starmap(_measured, store.query(f"SELECT {_COLUMNS} {_ORDERED}", meant))


def with_events(store: Store, number: int) -> Iterator[tuple[Measured, str]]:
    """The rows of an experiment in the same order, each with its event as JSON."""
    # One by one: to sort them, SQLite would hold the events of all rows in memory.
    meant = {"number": number, "among": "", "whole": False}
    for (position,) in store.query(f"SELECT position {_ORDERED}", meant):
        found = at(store, position)
        if found is not None:
            yield found


def at(store: Store, position: int) -> tuple[Measured, str] | None:
    """The row of that place, with its event; None where there is none any more."""
    sql = f"SELECT {_COLUMNS}, event FROM rows WHERE position = ?"  # noqa: S608
    row = store.one(sql, (position,))
    if row is None:
        return None
    *columns, event = row
    return _measured(*columns), event


def _measured(  # noqa: PLR0913, PLR0917 - the columns of a row
    nodeid: str,
    part: str,
    outcome: str,
    input_hash: str,
    source: str | None,
    numbers: str,
) -> Measured:
    (scores, metrics), _ = decoded_start(numbers)
    unscored: Collection[str] = ()
    if None in scores.values():
        unscored = [name for name, each in scores.items() if each is None]
        scores = {name: each for name, each in scores.items() if each is not None}
    earlier = metrics.pop(EARLIER) if EARLIER in metrics else _NOTHING
    return Measured(
        nodeid, part, outcome, scores, metrics, input_hash, source, unscored, earlier
    )
