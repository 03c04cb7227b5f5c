"""A row that pytest reported is never lost and never doubled: each fault once."""

from __future__ import annotations

import pytest
from campaign import CASES, Case, Count, tried


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_row_is_lost_or_doubled(case: Case) -> None:
    """Whatever dies in between; and a run is one experiment."""
    count = Count()
    tried(case, seed=1, count=count)
    assert (count.lost, count.doubled, count.notes) == (0, 0, [])
    assert count.reported
    assert count.experiments == 1
