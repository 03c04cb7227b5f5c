"""Carry rows from the process that runs a test to the one that stores them.

They travel as an attribute of the test's report: pytest and pytest-xdist carry
reports between processes already (local, ssh and socket workers, forked tests), so
no channel, file or thread of our own is needed, and a report that arrives brings its
rows with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import Empty
from typing import Any, TypeAlias, TypedDict

import pytest

from pytest_braintrust.events import Row
from pytest_braintrust.outcomes import Outcome

#: Under this name workers are told of the run, and tell at their end.
KEY = "braintrust"

_ATTRIBUTE = "braintrust_payload"
_DATASETS = "braintrust_datasets"

#: The datasets that a process made cases of, as `Run.datasets` has them.
Datasets: TypeAlias = dict[str, list[dict[str, Any]]]


#: Tells where datasets come from, as an `obtaining.Source`. Most runs have none: what
#: they need is imported by the first test that names one.
SOURCE = pytest.StashKey[Callable[[], Any]]()

#: Tells which datasets tests are cases of; set when the first one is.
USED = pytest.StashKey[Callable[[Iterable[pytest.Item]], Datasets]]()


def run_of(config: pytest.Config) -> str | None:
    """What pytest-xdist calls the run that a worker is of; None without workers."""
    workerinput = getattr(config, "workerinput", {})
    name = workerinput.get("testrunuid")
    return None if name is None else str(name)


def used_datasets(config: pytest.Config, items: Iterable[pytest.Item]) -> Datasets:
    """The datasets that tests are cases of."""
    used = config.stash.get(USED, None)
    return {} if used is None else used(items)


class Payload(TypedDict):
    """The rows of one test as they stand when a report is made."""

    nodeid: str
    #: Whether the test ended with this report, so that the rows may be sent.
    final: bool
    #: Whether the test has said anything yet.
    said: bool
    #: Whether the test's body is known to have failed.
    failed: bool
    #: What the test came to so far.
    outcome: Outcome
    #: Rows of the test so far; what is in an earlier payload and not here is gone.
    #: None: as in the payload before, the test only ended.
    rows: list[Row] | None
    #: Seconds that the teardown took, where that is all there is to tell.
    teardown: float


def attach(report: pytest.TestReport, payload: Payload) -> None:
    """Put a payload on a report, in place of an earlier one."""
    setattr(report, _ATTRIBUTE, payload)


def detach(report: pytest.TestReport) -> tuple[Payload | None, Datasets | None]:
    """Take what is ours off a report, so that no other plugin writes it anywhere."""
    attributes = report.__dict__
    return attributes.pop(_ATTRIBUTE, None), attributes.pop(_DATASETS, None)


def attach_datasets(report: pytest.TestReport, datasets: Datasets) -> None:
    """Let a report tell which datasets its process made cases of."""
    setattr(report, _DATASETS, datasets)


def unread(config: pytest.Config) -> Iterator[tuple[Any, pytest.TestReport | None]]:
    """What workers sent that pytest-xdist did not come to read before the run ended.

    It stops reading at Ctrl-C, and the tests of these reports have ended all the same.
    Answers the node that sent each report, and None for the report where the worker
    itself ended.
    """
    queue = getattr(config.pluginmanager.get_plugin("dsession"), "queue", None)
    while queue is not None:
        try:
            name, told = queue.get_nowait()
        except Empty:
            return
        if name == "testreport":
            told["rep"].node = told["node"]
            yield told["node"], told["rep"]
        elif name == "workerfinished":
            yield told["node"], None
