"""`history --flaky`: the tests that both passed and failed, the least sure first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_braintrust.cli.output import Column, as_json, say, screen_width, table
from pytest_braintrust.comparison.flaky import FlakyTest, flaky
from pytest_braintrust.reports.machine import plain_interval
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.words import a_number

_COLUMNS = (
    Column("PASSED", right=True),
    Column("RATE", right=True),
    Column("95 % INTERVAL"),
    Column("RUNS", right=True),
    Column("TEST", least=20, middle=True),
)


def print_flaky(
    store: Store, runs: Sequence[StoredExperiment], test: str, *, for_programs: bool
) -> None:
    """Print how often tests passed that did not always, or never.

    Args:
        store: Where the runs are.
        runs: Which they are, the newest first.
        test: What is in the node id of the tests that are meant; all have "" in it.
        for_programs: Whether it is to be JSON.

    Raises:
        StoreError: the store could not be read.
    """
    found = flaky(store, runs, test)
    if for_programs:
        print(as_json([_plain(each) for each in found]))
        return
    of = f" with {test} in the node id" if test else ""
    last = "the last run" if len(runs) == 1 else f"the last {len(runs):,} runs"
    where = f"in {last} of project {runs[0].project}"
    if not found:
        say(f"no test{of} both passed and failed {where}")
        return
    say(f"{a_number(len(found), 'test')}{of} both passed and failed {where}")
    for line in table(_COLUMNS, _rows(found), screen_width()):
        print(line)


def _rows(found: Sequence[FlakyTest]) -> Iterator[list[str]]:
    for each in found:
        low, high = each.interval or (0.0, 1.0)
        yield [
            f"{each.passed:,} of {each.passed + each.failed:,}",
            f"{each.rate:.3f}",
            f"{low:.3f} … {high:.3f}",
            f"{each.runs:,}",
            each.nodeid,
        ]


def _plain(each: FlakyTest) -> dict[str, object]:
    return {
        "test": each.nodeid,
        "source": each.source,
        "runs": each.runs,
        "passed": each.passed,
        "failed": each.failed,
        "rate": each.rate,
        "interval": plain_interval(each.interval),
    }
