"""Change what is collected: several trials of a test, or only what got worse."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from pytest_braintrust import cases, trials


class Trials:
    """Makes an item of each trial; `number` is for markers that do not say one."""

    def __init__(self, number: int, *, record_all: bool) -> None:
        self._number = number
        self._record_all = record_all

    # After every other plugin and marker, so that the trial ends the parameter id.
    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Add the parameter to a test that is recorded."""
        marks = list(metafunc.definition.iter_markers(cases.MARKER))
        said = [mark.kwargs["trials"] for mark in marks if "trials" in mark.kwargs]
        number = said[0] if said else self._number
        if number == 1 or not trials.is_number(number):
            return  # a wrong number is told of with the marker's other faults
        names = metafunc.fixturenames
        if marks or self._record_all or not cases.FIXTURES.isdisjoint(names):
            names.append(trials.ARGUMENT)
            numbers = range(1, number + 1)
            ids = [f"trial{each}" for each in numbers]
            metafunc.parametrize(trials.ARGUMENT, numbers, ids=ids)


class OnlyWorse:
    """Keeps the tests that got worse in the last comparison, all their trials."""

    def __init__(self, nodeids: Collection[str]) -> None:
        self._nodeids = frozenset(nodeids)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Deselect the others."""
        worse = [item for item in items if cases.case_id(item) in self._nodeids]
        if worse and len(worse) < len(items):
            kept = set(map(id, worse))
            others = [item for item in items if id(item) not in kept]
            config.hook.pytest_deselected(items=others)
            items[:] = worse


def select(
    config: pytest.Config, *, number: int, record_all: bool, only: Collection[str]
) -> None:
    """Let the collection of this process make trials, and keep what got worse.

    Args:
        config: The process's configuration.
        number: How many trials a test has whose marker does not say.
        record_all: Whether all tests are recorded, and so have trials.
        only: The tests that got worse, where no others are to run; or none.
    """
    config.pluginmanager.register(Trials(number, record_all=record_all))
    if only:
        config.pluginmanager.register(OnlyWorse(only))
