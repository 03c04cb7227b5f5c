"""Make cases of the rows of datasets, when pytest collects the tests that name them.

With `--braintrust` and without it: which cases a test has does not depend on whether
the run is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext as nothing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_braintrust import cases, configured, settings
from pytest_braintrust.datasets import reference, table
from pytest_braintrust.datasets.reference import Reference
from pytest_braintrust.datasets.rows import DatasetRow
from pytest_braintrust.datasets.table import About, Table
from pytest_braintrust.datasets.wanted import Wanted
from pytest_braintrust.errors import DatasetError, PluginError
from pytest_braintrust.fields import Fields, Speaking
from pytest_braintrust.jsonable import plain_text
from pytest_braintrust.paths import is_file
from pytest_braintrust.relay import SOURCE, USED, Datasets, run_of
from pytest_braintrust.reports.lines import plain

if TYPE_CHECKING:
    from pytest_braintrust.obtaining import Source

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
        # The marker of a class or module is for those of its tests that have the argument.
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
    metafunc.config.stash[USED] = used
    parameters = [RowParameter(found, index) for index in range(len(found.labels))]
    metafunc.parametrize(FIXTURE, parameters, indirect=True, ids=found.labels)


def refuse_datasets(kind: type) -> None:
    """Refuse markers with a dataset on a class of `unittest`, or on a test of it.

    Raises:
        pytest.Collector.CollectError: there is one.
    """
    tests = (name for name in dir(kind) if name.startswith("test"))
    for each in (kind, *(getattr(kind, name) for name in tests)):
        if any(map(_names_dataset, _own_marks(each))):
            msg = (
                f"In {each.__qualname__}: it names a dataset, and pytest makes no cases "
                "of tests of unittest.TestCase; make it a plain function or class"
            )
            raise pytest.Collector.CollectError(msg)


def _own_marks(thing: object) -> list[pytest.Mark]:
    found: Any = getattr(thing, "pytestmark", ())
    several = found if isinstance(found, list | tuple) else [found]
    # A class body may have decorators in a list of its own.
    return [e.mark if isinstance(e, pytest.MarkDecorator) else e for e in several]


def _names_dataset(mark: pytest.Mark) -> bool:
    return mark.name == cases.MARKER and mark.kwargs.get("dataset") is not None


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


def used(items: Iterable[pytest.Item]) -> Datasets:
    """The datasets that tests are cases of, by the project that their marker names."""
    found: dict[tuple[str, About], None] = {}
    for item in items:
        callspec = getattr(item, "callspec", None)
        row = callspec.params.get(FIXTURE) if callspec is not None else None
        if isinstance(row, RowParameter):
            found[cases.project_of(item) or "", row.table.about] = None
    datasets: Datasets = {}
    for project, about in found:
        datasets.setdefault(project, []).append(asdict(about))
    return datasets


def _dataset_marks(node: pytest.Item) -> Iterator[pytest.Mark]:
    marks = node.iter_markers(cases.MARKER)
    return (mark for mark in marks if "dataset" in mark.kwargs)


def _table(node: pytest.Item, wanted: Reference) -> Table:
    """The dataset, read once in this process however many tests name it."""
    known = node.config.stash.setdefault(_TABLES, {})
    # Files are looked for beside the test, other datasets in the test's project.
    place = str(node.path.parent) if wanted.is_file else cases.project_of(node) or ""
    if (place, wanted) not in known:
        try:
            known[place, wanted] = _read(node, wanted)
        except PluginError as error:
            known[place, wanted] = error
    found = known[place, wanted]
    if isinstance(found, PluginError):
        raise found
    return found


def _read(node: pytest.Item, wanted: Reference) -> Table:
    path = node.path.parent / wanted.name
    if not wanted.is_file:
        if is_file(path):
            raise reference.no_file(wanted.name)
        return _asked_for(node, wanted)
    root = node.config.rootpath
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    return table.of_file(path, replace(wanted, name=plain_text(shown.as_posix())))


def _asked_for(node: pytest.Item, wanted: Reference) -> Table:
    """A dataset on Braintrust, unless what names it can only be a path."""
    folder = node.path.parent
    likely = reference.likely_file(wanted.name, folder)
    there = plain_text(str(folder))
    if likely == "certain":
        msg = f"{wanted.name}: there is no such file in {there}"
        raise DatasetError(msg)
    try:
        return _downloaded(node, wanted)
    except DatasetError as error:
        if likely == "no":
            raise
        msg = f"{error}; and no file {wanted.name} is in {there}"
        raise DatasetError(msg) from None


def _downloaded(node: pytest.Item, wanted: Reference) -> Table:
    # Imported when used: a dataset in a file takes no lock, cache or process.
    from pytest_braintrust import obtaining  # noqa: PLC0415

    source = _source(node.config)
    needed = Wanted.of(wanted, source.project_of(cases.project_of(node)))
    progress = _Progress(node.config, wanted.name)
    try:
        obtained = obtaining.obtain(source, needed, progress.show)
    finally:
        progress.end()
    if obtained.note is not None:
        _warn(node, obtained.note)
    kept = obtained.entry.kept
    about = About(kept.name, kept.project, kept.dataset_id, kept.version)
    return table.of_lines(obtained.entry.path, about, wanted)


def _source(config: pytest.Config) -> Source:
    """Where datasets come from, as a controller told it or as it is set here."""
    from pytest_braintrust.obtaining import Source  # noqa: PLC0415 - imported when used

    if SOURCE not in config.stash:
        found = settings.resolve(configured.given(config), config.rootpath)
        here = Source.of(found, run_of(config))
        config.stash[SOURCE] = lambda: here
    source: Source = config.stash[SOURCE]()
    return source


def _warn(node: pytest.Item, text: str) -> None:
    try:
        node.warn(pytest.PytestWarning(plain(text)))
    except pytest.PytestWarning as warning:  # a suite may ask for errors
        raise DatasetError(str(warning)) from None


class _Progress:
    """One line that tells how many rows came, where a person is looking."""

    def __init__(self, config: pytest.Config, name: str) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._reporter = reporter if getattr(reporter, "isatty", False) else None
        self._name = name
        self._shown = False

    def show(self, rows: int) -> None:
        """Show it."""
        self._shown = True
        self._rewrite(f"braintrust: {plain(self._name)}: {rows:,} rows downloaded")

    def end(self) -> None:
        """Take it away again."""
        if self._shown:
            self._rewrite("")

    def _rewrite(self, text: str) -> None:
        if self._reporter is None:
            return
        # What is written while modules are collected is captured.
        with (
            self._capture.global_and_fixture_disabled() if self._capture else nothing()
        ):
            self._reporter.rewrite(text, erase=True, flush=True)


def _fail(metafunc: pytest.Metafunc, why: str) -> NoReturn:
    """End the collection of a module, as it ends where a file cannot be imported.

    With this very error: pytest shows its text alone, and pytest-xdist shows the same
    text of several workers once.
    """
    msg = f"In {metafunc.function.__name__}: {plain(why)}"
    raise pytest.Collector.CollectError(msg) from None
