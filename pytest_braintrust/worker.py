"""In a worker of pytest-xdist: what it is told of the run, and what it does in it.

It writes nothing that a person sees and needs no disk of the controller's: rows leave
with the reports of tests, and what is known at the end with its output. What a test
says while it runs goes to the controller's disk, or to a channel where that is not seen.
"""

from __future__ import annotations

import socket
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_braintrust import cases, configured, journal
from pytest_braintrust.describing import Finder, Run
from pytest_braintrust.editing import RowEditor
from pytest_braintrust.events import Row
from pytest_braintrust.journal import Channel, Courier, Journal
from pytest_braintrust.relay import (
    KEY,
    SOURCE,
    Datasets,
    Payload,
    attach_datasets,
    run_of,
    used_datasets,
)
from pytest_braintrust.running import RECORDER, Recorder, Rules, Way
from pytest_braintrust.scoring import FINDER
from pytest_braintrust.selecting import select
from pytest_braintrust.settings import STORE_DIRECTORY, Connection, Settings

if TYPE_CHECKING:
    from pytest_braintrust.obtaining import Source


def start(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """Take up the part of a worker.

    Args:
        config: The worker's configuration.
        workerinput: What its controller told it. One that is not ours (another
            version, or none) told nothing of a run, and then nothing is recorded.
    """
    configured.share_key(config)
    if KEY in workerinput:
        worker = Worker(config, workerinput)
        config.pluginmanager.register(worker, "pytest-braintrust-worker")


def told_to_workers(
    run: Run, settings: Settings, directory: Path, channel: Channel
) -> dict[str, Any]:
    """What a worker is told of the run, in values that travel.

    Args:
        run: The run.
        settings: What the user set.
        directory: The store's directory.
        channel: Where it sends what tests say, if it does not see that directory.
    """
    from pytest_braintrust.obtaining import Source  # noqa: PLC0415 - imported when used

    connection = settings.connection
    source = asdict(Source.of(settings, None))
    del source["directory"]
    return {
        "run": asdict(run),
        "record_all": settings.record_all,
        "trials": settings.trials,
        "infrastructure": sorted(settings.infrastructure_errors),
        "api_key": settings.api_key,
        "connection": asdict(connection) if connection else None,
        "source": source,
        "directory": str(directory),
        "host": socket.gethostname(),
        "channel": channel,
    }


class Worker:
    """In a worker of pytest-xdist: records; the rows leave with the reports."""

    def __init__(self, config: pytest.Config, workerinput: dict[str, Any]) -> None:
        given = workerinput[KEY]
        self._config = config
        self._channel: Channel = given["channel"]
        self._id: str = workerinput["workerid"]
        self._rules = Rules(
            given["record_all"], frozenset(given["infrastructure"]), given["trials"]
        )
        self._editor = RowEditor(config, given["api_key"])
        self._late: dict[str, Row] = {}
        self._recorder: Recorder | None = None
        run = self._run = Run(**given["run"])
        connection = given["connection"]
        directory = _shared(given)
        finder = Finder(
            run.experiment,
            Connection(**connection) if connection else None,
            None if directory is None else str(directory),
        )
        config.stash[FINDER] = finder.find
        config.stash[SOURCE] = lambda: _source(config, given, directory)
        self._journal: Journal | None = None
        if directory is not None:
            folder = journal.folder_of(directory, run.session_id)
            self._journal = Journal.of(folder, self._id)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        way = Way(
            late=self._hand_late,
            running=(self._journal or Courier(self._channel)).write,
        )
        self._recorder = Recorder(
            self._rules, editor=self._editor, way=way, worker=self._id
        )
        self._config.pluginmanager.register(self._recorder, RECORDER)
        select(
            self._config,
            number=self._rules.trials,
            record_all=self._rules.record_all,
            only=self._run.only,
        )

    # Before pytest-xdist tells that it is done.
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        names = {item.nodeid for item in session.items}
        if self._journal is not None and len(names) < len(session.items):
            record_all = self._rules.record_all
            shared = cases.shared_ids(session.items, record_all=record_all)
            self._journal.write_shared(shared)
        datasets = used_datasets(self._config, session.items)
        if datasets:
            self._run.datasets.update(datasets)
            self._config.pluginmanager.register(Herald(self._config, datasets))

    def _hand_late(self, payload: Payload) -> None:
        for row in payload["rows"] or []:
            self._late[row["id"]] = row

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._recorder is not None:
            self._recorder.catch_up()
        # What threads said after their test ended has no report to travel with, nor
        # has a test that was cut off.
        self._config.workeroutput[KEY] = {  # type: ignore[attr-defined]
            "late": list(self._late.values()),
            "cut_off": self._recorder.cut_off() if self._recorder else None,
            "failures": self._editor.failures,
            "dropped": self._editor.dropped,
            "recorded": self._recorded(session),
        }

    def _recorded(self, session: pytest.Session) -> str:
        """A digit for each test, 1 if it is recorded: for those that die unheard."""
        flags = (
            cases.is_recorded(item, record_all=self._rules.record_all)
            for item in session.items
        )
        return "".join("1" if flag else "0" for flag in flags)


class Herald:
    """Lets the first report tell which datasets were collected here."""

    def __init__(self, config: pytest.Config, datasets: Datasets) -> None:
        self._config = config
        self._datasets = datasets

    # Before pytest-xdist sends it.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell it once."""
        attach_datasets(report, self._datasets)
        self._config.pluginmanager.unregister(self)


def _source(
    config: pytest.Config, given: dict[str, Any], directory: Path | None
) -> Source:
    """Where the datasets of a worker come from: where those of its controller do."""
    from pytest_braintrust.obtaining import Source  # noqa: PLC0415 - imported when used

    source: dict[str, Any] = dict(given["source"])
    reach = source["connection"]
    source["connection"] = Connection(**reach) if reach else None
    source["directory"] = directory or config.rootpath / STORE_DIRECTORY
    source["run"] = run_of(config)
    return Source(**source)


def _shared(given: dict[str, Any]) -> Path | None:
    """The store's directory where this worker sees the controller's disk."""
    directory = Path(given["directory"])
    same_machine: bool = given["host"] == socket.gethostname()
    folder = journal.folder_of(directory, given["run"]["session_id"])
    return directory if same_machine and folder.is_dir() else None
