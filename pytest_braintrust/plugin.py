"""The entry point: declares options, ini values, hooks, the marker and the fixtures.

pytest loads this module in every run of every suite that has the plugin installed.
It imports nothing beyond pytest until `--braintrust` asks for us; the hooks that we
offer are declared here for that reason too.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_braintrust.datasets import DatasetRow
    from pytest_braintrust.scoring import BtScore
    from pytest_braintrust.span import Span

#: The pytest plugin of the official SDK, by entry point and by module.
_OFFICIAL = ("braintrust", "braintrust.wrappers.pytest_plugin.plugin")

_MARKER = (
    "braintrust(project=, input=, expected=, tags=, metadata=, trials=): record this "
    "test as a row of the run's experiment, with --braintrust; trials= runs it so "
    "often; with dataset=, version=, limit=, filter=, id_field=: a case of each row of "
    "that dataset, in the fixture bt_row"
)

#: Options with a value, each of which may stand in a variable and in the ini too.
_VALUES = (
    ("project", "NAME", "Braintrust project; the root folder's name by default"),
    (
        "experiment",
        "NAME",
        "Name of this run's experiment; branch, commit and time by default",
    ),
    (
        "run_id",
        "ID",
        "Run that this process makes with others of that id; auto: the CI's own",
    ),
    (
        "api_url",
        "URL",
        "Address of Braintrust's API, for other regions and self-hosting",
    ),
    ("app_url", "URL", "Address of Braintrust's pages"),
    ("org_name", "NAME", "Braintrust organisation, for keys that belong to several"),
    ("impersonate", "USER", "Act as this user, by id or e-mail; for owners"),
    (
        "baseline",
        "RUN",
        "Run to compare with: ancestor, previous, a branch, name or file",
    ),
    ("trials", "N", "Times that each recorded test is run; a marker may say otherwise"),
    (
        "page_size",
        "ROWS",
        "Rows in one page of a dataset's download; fewer where they are megabytes",
    ),
    (
        "flush_timeout",
        "SECONDS",
        "How long the end of the run waits for rows to be sent; 30 by default",
    ),
)

#: Options that may be given several times, and stand one on a line in the ini.
_REPEATED = (
    ("fail_under", "NAME=MEAN", "Fail the run if a score's mean is lower; all=MEAN"),
    ("fail_over", "NAME=MEAN", "Fail the run if a metric's mean is higher"),
    ("max_drop", "NAME=DROP", "Fail the run if a score's mean fell by more"),
    ("max_total", "NAME=SUM", "Fail the run if all of a cost or of tokens is more"),
    ("metadata", "NAME=VALUE", "What this run is of, such as model=NAME"),
)

_FILES = (
    ("markdown", "Write the summary as Markdown, for a pull request"),
    ("json", "Write the summary as JSON, for programs"),
    ("html", "Write the run as a page for a browser, with what its tests said"),
)

_INI_LISTS = (
    ("higher_is_better", "Metrics of which more is better, such as throughput"),
    (
        "infrastructure_errors",
        "Exceptions that mean a test errored and measured nothing",
    ),
)

#: Options without a value; in a variable or in the ini they are 1 or 0.
_SWITCHES = (
    ("all", "Record every test, with or without fixture and marker"),
    ("allow_http", "Let the API key go to another machine by plain http"),
    ("no_upload", "Keep the run in the local store, also where there is a key"),
    ("offline", "Ask nothing of Braintrust: datasets come from the cache"),
    ("no_summary", "Leave out the braintrust section at the end of the run"),
    ("no_github", "Write no summary and annotations on GitHub Actions"),
    ("fail_on_regression", "Fail the run if a score is worse beyond noise"),
    ("require_baseline", "Fail the run if there is no run to compare with"),
)


#: Asked of a run that is not recorded, these would do nothing, and look as if they did.
_NEED_FLAG = frozenset(
    f"--braintrust-{each}"
    for each in (
        "fail-under",
        "fail-over",
        "max-drop",
        "max-total",
        "fail-on-regression",
        "require-baseline",
        "regressed",
        "markdown",
        "json",
        "html",
    )
)


def pytest_addoption(
    parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager
) -> None:
    """Declare options and ini values, in the place of the official SDK's plugin."""
    _replace_official_plugin(pluginmanager)
    group = parser.getgroup("braintrust", "braintrust: record the run as an experiment")
    text = "Record this run as a Braintrust experiment"
    _add(group, "--braintrust", text, action="store_true")
    text = f"API key of Braintrust; prefer the {_variable('api_key')}"
    _add(group, "--braintrust-api-key", text, metavar="KEY")
    for name, metavar, text in _VALUES:
        said = f"{text} (or {_variable(name)})"
        _add(group, _option(name), said, metavar=metavar)
        parser.addini(f"braintrust_{name}", text, default=None)
    for name, text in _SWITCHES:
        said = f"{text} (or {_variable(name)})"
        _add(group, _option(name), said, action="store_true")
        parser.addini(f"braintrust_{name}", text, type="bool", default=False)
    for name, metavar, text in _REPEATED:
        _add(group, _option(name), text, action="append", metavar=metavar)
        parser.addini(f"braintrust_{name}", text, type="linelist", default=[])
    text = "Run only the tests that got worse in the last comparison, if any did"
    _add(group, "--braintrust-regressed", text, action="store_true")
    for name, text in _FILES:
        _add(group, _option(name), text, metavar="FILE")
        parser.addini(f"braintrust_{name}", text, default=None)
    for name, text in _INI_LISTS:
        parser.addini(f"braintrust_{name}", text, type="args", default=[])


def _option(name: str) -> str:
    return "--braintrust-" + name.replace("_", "-")


def _variable(name: str) -> str:
    # One of them says more than its option does.
    full = {"impersonate": "impersonate_user"}.get(name, name)
    return f"variable BRAINTRUST_{full.upper()}"


def _add(group: pytest.OptionGroup, option: str, text: str, **more: Any) -> None:
    try:
        group.addoption(option, help=text, **more)
    except ValueError:
        # The official plugin was loaded before us and declared it with this meaning.
        if option not in _OFFICIAL_OPTIONS:
            raise


_OFFICIAL_OPTIONS = {
    "--braintrust",
    "--braintrust-project",
    "--braintrust-experiment",
    "--braintrust-api-key",
    "--braintrust-no-summary",
}


def _replace_official_plugin(pluginmanager: pytest.PytestPluginManager) -> None:
    """Take over from the SDK's plugin: two that add one option end every start."""
    for name in _OFFICIAL:
        plugin = pluginmanager.get_plugin(name)
        if plugin is not None:
            pluginmanager.unregister(plugin)
        # In its place, not only blocked: a `-p` that follows would unblock it.
        pluginmanager.register(_InPlaceOfOfficial(), name)


class _InPlaceOfOfficial:
    """Holds a name of the SDK's plugin, so that it is not loaded after us."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Offer our hooks, flag or not: a conftest that has them must load."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; start recording where the run asks for it."""
    config.addinivalue_line("markers", _MARKER)
    scoring = sys.modules.get("pytest_braintrust.scoring")
    if scoring is not None:
        # A run within a test, as pytester makes them, does not record for that test.
        config.add_cleanup(scoring.apart())
    if not config.getoption("braintrust"):
        _refuse_without_flag(config)
    elif not _only_looks(config):
        _start(config)


def _start(config: pytest.Config) -> None:
    # Here, because a worker does without half of what the controller imports.
    try:
        if hasattr(config, "workerinput"):
            from pytest_braintrust import worker  # noqa: PLC0415 - asked for just now

            worker.start(config, config.workerinput)
        else:
            from pytest_braintrust import session  # noqa: PLC0415 - asked for just now

            session.start(config)
    except RuntimeError as error:
        # Before Python 3.12 a Ctrl-C within the `__set_name__` of a class that is
        # being made comes as the cause of another error: pytest would call it its own.
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__ from None
        raise


def _refuse_without_flag(config: pytest.Config) -> None:
    """Refuse a gate that would seem to hold: nothing is measured without the flag.

    What stands in the ini is for the runs that have it.
    """
    for each in config.invocation_params.args:
        option = str(each).partition("=")[0]
        if option in _NEED_FLAG:
            msg = f"{option} says something of a recorded run: add --braintrust"
            raise pytest.UsageError(msg)


def _only_looks(config: pytest.Config) -> bool:
    """Whether this invocation shows something and runs no test."""
    looks = ("help", "version", "markers", "showfixtures", "show_fixtures_per_test")
    names = (*looks, "cacheshow", "collectonly", "setupplan", "setuponly")
    return any(config.getoption(name, default=None) for name in names)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a case of each row of the dataset that a test's marker names."""
    marks = metafunc.definition.iter_markers("braintrust")
    if any("dataset" in mark.kwargs for mark in marks):
        from pytest_braintrust import collecting  # noqa: PLC0415 - asked for just now

        collecting.parametrize(metafunc)


# Before pytest's own, which make the tests.
@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(obj: object) -> None:
    """Refuse a dataset for tests of `unittest`, of which pytest makes no cases."""
    unittest = sys.modules.get("unittest")
    if unittest is None or not isinstance(obj, type):
        return
    if issubclass(obj, unittest.TestCase):
        from pytest_braintrust import collecting  # noqa: PLC0415 - asked for just now

        collecting.refuse_datasets(obj)


@pytest.fixture
def bt_row(request: pytest.FixtureRequest) -> DatasetRow:
    """Give the row of the dataset that this case is: `bt_row.input`, `.expected`."""
    from pytest_braintrust import collecting  # noqa: PLC0415 - imported when used

    return collecting.row_of(request)


@pytest.fixture
def bt_score() -> BtScore:
    """Record input, output and scores of this test: `bt_score(output=…, scores=…)`."""
    # Of the module: a package is asked for its modules anew at each import.
    from pytest_braintrust.scoring import current  # noqa: PLC0415 - when used

    return current()


@pytest.fixture
def braintrust_span() -> Span:
    """Record this test by the official SDK's calls: `braintrust_span.log(output=…)`."""
    from pytest_braintrust import span  # noqa: PLC0415 - imported when used

    return span.for_running()


class Hooks:
    """Hooks that a conftest or another plugin may implement."""

    @staticmethod
    @pytest.hookspec
    def pytest_braintrust_row(
        config: pytest.Config, item: pytest.Item | None, row: dict[str, Any]
    ) -> object:
        """Change or drop a row before it is stored or sent anywhere.

        Args:
            config: The run's configuration.
            item: The test, or None where a worker died with it.
            row: The event as Braintrust takes it: change it in place. Its test is
                `row["metadata"]["pytest"]["nodeid"]`.

        Return False to drop the row; anything else keeps it. It may be called several
        times for a row, each time with what the test said so far. A row whose hook
        raises, or leaves what Braintrust would refuse, is kept with its scores and
        without its content, and the run's summary says so.
        """

    @staticmethod
    @pytest.hookspec(firstresult=True)
    def pytest_braintrust_experiment_name(
        config: pytest.Config, default: str
    ) -> str | None:
        """Name this run's experiment, where neither option nor variable names it.

        Args:
            config: The run's configuration.
            default: The name it would have: branch, commit and time.
        """

    @staticmethod
    @pytest.hookspec
    def pytest_braintrust_run_metadata(
        config: pytest.Config, metadata: dict[str, Any]
    ) -> None:
        """Add to what the experiment says of the run: change `metadata` in place.

        Args:
            config: The run's configuration.
            metadata: Versions, platform, arguments and the CI's link so far.
        """
