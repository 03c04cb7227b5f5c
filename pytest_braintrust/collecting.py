"""Make cases of the rows of datasets, when pytest collects the tests that name them.

With `--braintrust` and without it: which cases a test has does not depend on whether
the run is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import pytest

from pytest_braintrust import cases
from pytest_braintrust.datasets import reference, table
from pytest_braintrust.datasets.reference import Reference
from pytest_braintrust.datasets.rows import DatasetRow
from pytest_braintrust.datasets.table import Table
from pytest_braintrust.errors import DatasetError, PluginError
from pytest_braintrust.fields import Fields, Speaking

FIXTURE = "bt_row"

#: The datasets that were read in this process, or why they could not be.
_TABLES = pytest.StashKey[dict[tuple[str, Reference], "Table | PluginError"]]()


@dataclass(frozen=True, slots=True, repr=False)
class RowParameter(Speaking):
    """One row as the parameter of a case; it is decoded when it is asked for."""

    table: Table
    index: int

    def __repr__(self) -> str:
        return self.table.labels[self.index]

    def row(self) -> DatasetRow:
        """Decode the row.

        Raises:
            DatasetError: it can no longer be read.
        """
        return self.table.row(self.index)

    def fields(self) -> Fields:
        """What the row says of the event; nothing where it can no longer be read."""
        try:
            return self.row().fields()
        except DatasetError:
            return Fields()


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Make the cases of a test whose closest marker with a dataset names one.

    Raises:
        pytest.Collector.CollectError: the dataset, or a row of it, cannot be used.
    """
    definition = metafunc.definition
    mark = next(_dataset_marks(definition))
    if mark.kwargs["dataset"] is None:
        return
    if FIXTURE not in metafunc.fixturenames:
        # Of a class or module whose other tests have the rows, this one has none.
        if mark in definition.own_markers:
            _fail(metafunc, f"it names a dataset and has no argument {FIXTURE}")
        return
    fault = next(cases.faults(mark), None)
    if fault is not None:
        _fail(metafunc, fault)
    try:
        found = _table(definition, reference.read(mark.kwargs))
    except PluginError as error:
        _fail(metafunc, str(error))
    parameters = [RowParameter(found, index) for index in range(len(found.labels))]
    metafunc.parametrize(FIXTURE, parameters, indirect=True, ids=found.labels)


def row_of(request: pytest.FixtureRequest) -> DatasetRow:
    """What the fixture gives to a test.

    Raises:
        pytest.fail.Exception: the test names no dataset, or the row is gone.
    """
    parameter = getattr(request, "param", None)
    if not isinstance(parameter, RowParameter):
        msg = (
            f"{FIXTURE} is a row of the dataset that the test's marker names: "
            '@pytest.mark.braintrust(dataset="cases.jsonl")'
        )
        raise pytest.fail.Exception(msg, pytrace=False)
    try:
        return parameter.row()
    except DatasetError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _dataset_marks(node: pytest.Item) -> Iterator[pytest.Mark]:
    return (
        mark for mark in node.iter_markers(cases.MARKER) if "dataset" in mark.kwargs
    )


def _table(node: pytest.Item, wanted: Reference) -> Table:
    """The dataset, read once in this process however many tests name it."""
    known = node.config.stash.setdefault(_TABLES, {})
    folder = node.path.parent if wanted.is_file else node.config.rootpath
    key = (str(folder), wanted)
    if key not in known:
        try:
            known[key] = _read(node, wanted)
        except PluginError as error:
            known[key] = error
    found = known[key]
    if isinstance(found, PluginError):
        raise found
    return found


def _read(node: pytest.Item, wanted: Reference) -> Table:
    return table.of_file(node.path.parent / wanted.name, wanted)


def _fail(metafunc: pytest.Metafunc, why: str) -> NoReturn:
    """End the collection of a module, as it ends where a file cannot be imported.

    With this very error: pytest shows its text alone, and pytest-xdist shows the same
    text of several workers once.
    """
    msg = f"In {metafunc.function.__name__}: {why}"
    raise pytest.Collector.CollectError(msg) from None
