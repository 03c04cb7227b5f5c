"""A row that pytest reported is never lost and never doubled: each fault once."""

from __future__ import annotations

import pytest
from campaign import CASES, WORKERS, Case, tried
from conftest import XDIST, needs
from kill_loops import LOOPS, Loop

#: How often each is killed here: what a start costs decides.
KILLS = {"the uploader, and pushes beside it": 100, "pytest, -n 2": 4}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_row_is_lost_or_doubled(case: Case) -> None:
    """Whatever dies in between; and a run is one experiment."""
    if case.arguments == WORKERS:
        needs(XDIST)
    count = tried(case, seed=1)
    assert (count.lost, count.doubled, count.notes) == (0, 0, [])
    assert count.reported
    assert count.experiments == 1


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.name)
def test_no_row_is_lost_or_doubled_by_many_deaths(loop: Loop) -> None:
    """Each in the midst of what those before it left behind."""
    kills = KILLS.get(loop.name, 8)
    if loop.workers:
        needs(XDIST)
    count = loop.run(kills, 1)
    assert (count.lost, count.doubled, count.notes) == (0, 0, [])
    assert count.faults >= kills
    assert count.reported
