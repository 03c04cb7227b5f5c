"""The one place that wires rooms: what each process of a run does, hook by hook.

The process that runs tests has a `Recorder`; the one that sees every report has a
`Controller`. Without pytest-xdist, and with `-n0`, one process has both.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_braintrust import (
    cases,
    collecting,
    configured,
    gates,
    journal,
    judging,
    publishing,
    relay,
    selection,
)
from pytest_braintrust import settings as settings_room
from pytest_braintrust.baseline import SELECTED
from pytest_braintrust.clocks import now
from pytest_braintrust.crashes import Crashes
from pytest_braintrust.delivery import Delivery
from pytest_braintrust.describing import Finder, Run, describe
from pytest_braintrust.editing import RowEditor
from pytest_braintrust.errors import BaselineError, SettingsError, StoreError
from pytest_braintrust.events import Row
from pytest_braintrust.journal import Journal
from pytest_braintrust.judging import Asked, Judge
from pytest_braintrust.keeping import Keeper, open_somewhere
from pytest_braintrust.obtaining import Source
from pytest_braintrust.publishing import Places, commands, properties, publish
from pytest_braintrust.relay import Payload
from pytest_braintrust.reports.run import Joined, RunReport, Upload, experiment_reports
from pytest_braintrust.running import Recorder, Rules, Way
from pytest_braintrust.scoring import FINDER
from pytest_braintrust.seeking import Seeker
from pytest_braintrust.selecting import OnlyWorse, Trials
from pytest_braintrust.settings import STORE_DIRECTORY, Connection, Settings
from pytest_braintrust.store import reading, sessions, writing
from pytest_braintrust.store.sessions import NewSession
from pytest_braintrust.tally import CRASH, Tally
from pytest_braintrust.telling import Teller

_RECORDER = "pytest-braintrust-recorder"
_KEY = "braintrust"


def start(config: pytest.Config) -> None:
    """Take up this process's part in the run.

    Raises:
        pytest.UsageError: an option, variable or ini value cannot be used.
    """
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:
        _share_key(config)
        # A controller that is not ours (another version, or none) tells nothing.
        if _KEY in workerinput:
            worker = Worker(config, workerinput)
            config.pluginmanager.register(worker, "pytest-braintrust-worker")
        return
    try:
        read = configured.given(config)
        settings = settings_room.resolve(read, config.rootpath)
        asked = judging.asked(settings.baseline, read)
        folder = config.invocation_params.dir
        plan = Plan(settings, asked, publishing.places(read, os.environ, folder))
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    _share_key(config)
    config.pluginmanager.register(Starter(config, plan), "pytest-braintrust")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that options, variables and ini ask of a run."""

    settings: Settings
    asked: Asked
    places: Places


def _share_key(config: pytest.Config) -> None:
    """Let what tests do with the official SDK have the key of the option too."""
    key = config.getoption("braintrust_api_key")
    if key:
        patch = pytest.MonkeyPatch()
        patch.setenv("BRAINTRUST_API_KEY", key.strip())
        config.add_cleanup(patch.undo)


def _select(config: pytest.Config, rules: Rules, run: Run) -> None:
    """Let the collection of this process make trials, and keep what got worse."""
    trials = Trials(rules.trials, record_all=rules.record_all)
    config.pluginmanager.register(trials)
    if run.only:
        config.pluginmanager.register(OnlyWorse(run.only))


class Worker:
    """In a worker of pytest-xdist: records; the rows leave with the reports."""

    def __init__(self, config: pytest.Config, workerinput: dict[str, Any]) -> None:
        given = workerinput[_KEY]
        self._config = config
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
        config.stash[collecting.SOURCE] = _source(config, given, directory)
        self._journal: Journal | None = None
        if directory is not None:
            folder = journal.folder_of(directory, run.session_id)
            self._journal = Journal.of(folder, self._id)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        way = Way(
            late=self._hand_late,
            running=self._journal.write if self._journal else None,
            with_setup=self._journal is None,
        )
        self._recorder = Recorder(
            self._rules, editor=self._editor, way=way, worker=self._id
        )
        self._config.pluginmanager.register(self._recorder, _RECORDER)
        _select(self._config, self._rules, self._run)

    # Before pytest-xdist tells that it is done.
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        names = {item.nodeid for item in session.items}
        if self._journal is not None and len(names) < len(session.items):
            record_all = self._rules.record_all
            shared = cases.shared_ids(session.items, record_all=record_all)
            self._journal.write_shared(shared)
        datasets = collecting.used(session.items)
        if datasets:
            self._run.datasets.update(datasets)
            herald = collecting.Herald(self._config, datasets)
            self._config.pluginmanager.register(herald)

    def _hand_late(self, payload: Payload) -> None:
        for row in payload["rows"] or []:
            self._late[row["id"]] = row

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # What threads said after their test ended has no report to travel with, nor
        # has a test that was cut off.
        self._config.workeroutput[_KEY] = {  # type: ignore[attr-defined]
            "late": list(self._late.values()),
            "cut_off": self._recorder.cut_off() if self._recorder else None,
            "failures": self._editor.failures,
            "recorded": self._recorded(session),
        }

    def _recorded(self, session: pytest.Session) -> str:
        """A digit for each test, 1 where it records: of those that died we know less."""
        flags = (
            cases.is_recorded(item, record_all=self._rules.record_all)
            for item in session.items
        )
        return "".join("1" if flag else "0" for flag in flags)


def _source(
    config: pytest.Config, given: dict[str, Any], directory: Path | None
) -> Source:
    """Where the datasets of a worker come from: where those of its controller do."""
    source: dict[str, Any] = dict(given["source"])
    reach = source["connection"]
    source["connection"] = Connection(**reach) if reach else None
    source["directory"] = directory or config.rootpath / STORE_DIRECTORY
    source["run"] = collecting.run_of(config)
    return Source(**source)


def _shared(given: dict[str, Any]) -> Path | None:
    """The store's directory where this worker sees the controller's disk."""
    directory = Path(given["directory"])
    same_machine: bool = given["host"] == socket.gethostname()
    folder = journal.folder_of(directory, given["run"]["session_id"])
    return directory if same_machine and folder.is_dir() else None


class Starter:
    """Before the session: opens what the run needs, and leaves the rest to others."""

    def __init__(self, config: pytest.Config, plan: Plan) -> None:
        self._config = config
        self._plan = plan

    # Before pytest-xdist starts its workers, which are told of the run.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        config, plan = self._config, self._plan
        settings = plan.settings
        run = describe(config, settings)
        folder = config.invocation_params.dir
        judge = Judge(
            plan.asked,
            config.rootpath,
            folder,
            run.repo_info,
            run_id=run.run_id,
            selection=run.metadata.get(selection.KEY),
        )
        try:
            elsewhere = settings.connection is not None
            store, note = open_somewhere(
                settings.store,
                lambda store: judge.choose(store, run.project, elsewhere=elsewhere),
            )
        except BaselineError as error:
            msg = f"--braintrust-baseline: {error}"
            raise pytest.UsageError(msg) from None
        except StoreError as error:
            msg = f"braintrust: no place for the local store: {error}"
            raise pytest.UsageError(msg) from None
        run = replace(run, bases=judge.bases())
        if settings.only_worse and (worse := judge.worse(store, run.project)):
            selected = {**run.metadata, SELECTED: "regressed"}
            run = replace(run, only=tuple(worse), metadata=selected)
        session = NewSession(
            run.session_id,
            run.run_id,
            run.started_at,
            socket.gethostname(),
            os.getpid(),
        )
        notes = [note] if note else []
        keeper = Keeper(store, run.experiment, session, notes=notes)
        controller = Controller(config, plan, run, keeper, judge)
        config.stash[FINDER] = Finder(
            run.experiment, settings.connection, str(store.directory)
        ).find
        source = replace(Source.of(settings, None), directory=store.directory)
        config.stash[collecting.SOURCE] = source
        config.pluginmanager.register(controller, "pytest-braintrust-controller")
        config.pluginmanager.register(controller.recorder, _RECORDER)
        _select(config, controller.rules, run)
        config.add_cleanup(controller.close)
        controller.start()


class Controller:
    """In the process that sees every report: stores rows, shows what they came to."""

    def __init__(
        self,
        config: pytest.Config,
        plan: Plan,
        run: Run,
        keeper: Keeper,
        judge: Judge,
    ) -> None:
        self._config = config
        self._judge = judge
        settings = self._settings = plan.settings
        self._places = plan.places
        self._junit = bool(config.getoption("xmlpath", default=None))
        self._run = run
        self._keeper = keeper
        editor = self._editor = RowEditor(config, settings.api_key)
        self._pid = os.getpid()
        self._tally = Tally()
        self._teller = Teller(config)
        self._delivery = _delivery(settings, run)
        self._seeker = _seeker(settings, judge, run)
        self._journals = journal.folder_of(keeper.store.directory, run.session_id)
        self._crashes = Crashes(keeper, editor, self._journals)
        #: What workers collected, and which of it they said is recorded.
        self._ids: Sequence[str] = ()
        self._recorded: set[str] = set()
        self._report: RunReport | None = None
        self.rules = Rules(
            settings.record_all, settings.infrastructure_errors, settings.trials
        )
        self.recorder = Recorder(
            self.rules,
            editor=editor,
            way=Way(late=lambda payload: keeper.amend(payload["rows"] or [])),
            worker=None,
        )

    @property
    def _directory(self) -> Path:
        return self._keeper.store.directory

    @property
    def _forked(self) -> bool:
        """Whether this process is one that a test forked, and runs on as pytest."""
        return os.getpid() != self._pid

    def start(self) -> None:
        """Start what goes on beside the tests."""
        journal.make_folder(self._journals)
        self._keeper.begin()
        if self._delivery is not None:
            self._delivery.start(self._keeper.store)
        if self._seeker is not None:
            self._seeker.start(self._keeper.store)

    def close(self) -> None:
        """End what goes on beside the tests, however the run ended."""
        if self._forked:
            return
        if self._delivery is not None:
            self._delivery.close()
        if self._seeker is not None:
            self._seeker.close()
        journal.remove_folder(self._journals)
        self._keeper.store.close()

    # Workers of pytest-xdist

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[object]) -> None:
        if self._config.getoption("dist", default="no") == "each":
            self._tally.copies = len(specs)
            self._crashes.repeats = False

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        connection = self._settings.connection
        node.workerinput[_KEY] = {
            "run": asdict(self._run),
            "record_all": self._settings.record_all,
            "trials": self._settings.trials,
            "infrastructure": sorted(self._settings.infrastructure_errors),
            "api_key": self._settings.api_key,
            "connection": asdict(connection) if connection else None,
            "source": self._source(),
            "directory": str(self._directory),
            "host": socket.gethostname(),
        }

    def _source(self) -> dict[str, Any]:
        source = asdict(Source.of(self._settings, None))
        del source["directory"]
        return source

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(
        self, node: Any, ids: Sequence[str]
    ) -> None:
        self._ids = ids
        self._tally.collected_by_worker(len(ids))
        # Of a worker elsewhere it is not known here which of its tests record.
        shared = Journal.of(self._journals, node.gateway.id).read_shared()
        if shared is None:
            shared = [self._clean(each) for each in ids]
        self._teller.note_shared_ids(shared)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        worker: str = node.gateway.id
        if error:
            self._crashes.gone(worker)
        self._take_output(node, worker)

    def _take_output(self, node: Any, worker: str) -> None:
        # A worker that died never got to give its output.
        output = getattr(node, "workeroutput", None) or {}
        # Taken, because a worker that was interrupted goes down twice.
        told = output.pop(_KEY, {})
        self._keeper.amend(told.get("late", []))
        self._editor.failures.update(told.get("failures", {}))
        pairs = zip(self._ids, told.get("recorded") or "", strict=False)
        self._recorded.update(self._clean(each) for each, flag in pairs if flag == "1")
        cut_off = told.get("cut_off")
        if cut_off is not None:
            self._crashes.cut_off(cut_off, worker)
            self._tally.lost(cut_off["nodeid"], worker)

    # The session

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._tally.uncollected += report.failed

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._tally.collected = len(session.items)
        self._run.datasets.update(collecting.used(session.items))
        record_all = self._settings.record_all
        shared = cases.shared_ids(session.items, record_all=record_all)
        self._teller.note_shared_ids(shared)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        if self._delivery is None:
            return
        self._delivery.check()
        if self._delivery.state == "refused":
            msg = f"braintrust: {self._delivery.message}"
            raise pytest.UsageError(msg)
        if self._delivery.state != "ready":
            self._teller.warn_unreachable(self._delivery.message, self._directory)
        if self._seeker is not None:
            self._hear_of_baseline(self._seeker, self._delivery.state)

    def _hear_of_baseline(self, seeker: Seeker, state: str) -> None:
        try:
            if state != "ready" or not self._judge.told(
                self._run.project, seeker.found()
            ):
                # Nobody waits at the end for what is not to come.
                seeker.close()
        except BaselineError as error:
            msg = f"--braintrust-baseline: {error}"
            raise pytest.UsageError(msg) from None
        self._run.bases.update(self._judge.bases())

    # Before other plugins, which would write the rows wherever they write reports.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        payload = relay.detach(report)
        self._run.datasets.update(relay.detach_datasets(report))
        if self._forked:
            return
        node = getattr(report, "node", None)
        worker: str | None = None if node is None else node.gateway.id
        nodeid = self._clean(report.nodeid)
        outcome = None if payload is None else payload["outcome"]
        ended = self._tally.saw(report, worker, nodeid, outcome)
        if payload is not None:
            self._take(payload, report, worker, ended=ended)
            if self._junit and report.when == "teardown":
                told = self._keeper.last_of(payload["nodeid"], worker)
                rows = told.rows.values() if told else ()
                report.user_properties += properties(rows)
        if report.when == CRASH:
            self._crashes.saw(nodeid, report.longreprtext, worker, last=ended)

    # Around the end of pytest-xdist's workers, whatever interrupts that, and inside
    # of the terminal's own wrapper, which has the summary shown.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            if not self._forked:
                self._take_what_is_left(session)
                self._end(session, int(exitstatus))

    def pytest_terminal_summary(self) -> None:
        self._show()

    def pytest_unconfigure(self) -> None:
        # pytest leaves its summary out where a run ended by an error of its own, by a
        # second Ctrl-C, or with an exit status that a test chose.
        self._show()

    def _show(self) -> None:
        report, self._report = self._report, None
        if report is not None:
            self._teller.show(report, summary=self._settings.summary)
            github = self._places.github
            if github is not None:
                root = self._config.rootpath
                self._teller.command(commands(report, github, root))

    def _take(
        self,
        payload: Payload,
        report: pytest.TestReport,
        worker: str | None,
        *,
        ended: bool,
    ) -> None:
        payload = self._crashes.again(payload, worker)
        nodeid, rows = payload["nodeid"], payload["rows"]
        if rows is not None and report.when == "setup" and report.passed:
            self._keeper.hold(nodeid, rows, worker)
        elif rows is not None:
            failed = payload["failed"]
            self._keeper.keep(nodeid, rows, final=ended, failed=failed, worker=worker)
        elif ended:
            self._keeper.end(nodeid, payload["teardown"], worker)

    def _end(self, session: pytest.Session, exit_status: int) -> None:
        self._keeper.settle()
        problems = self._finish(exit_status)
        if self._delivery is not None:
            self._teller.wait(self._delivery, self._keeper.store)
        if exit_status == pytest.ExitCode.USAGE_ERROR:
            # No test ran, and pytest says why.
            return
        if self._seeker is not None:
            self._seeker.finish(self._settings.flush_timeout)
        report = self._reported(problems)
        self._note_unfit(report)
        self._apply_gates(session, report)
        self._publish(report)

    def _take_what_is_left(self, session: pytest.Session) -> None:
        """Keep what tests had said that were running when the run ended."""
        for node, report in relay.unread(self._config):
            if report is None:
                self._take_output(node, node.gateway.id)
            else:
                self.pytest_runtest_logreport(report)
        cut_off = self.recorder.cut_off()
        if cut_off is not None:
            self._crashes.cut_off(cut_off, None)
            self._tally.lost(cut_off["nodeid"], None)
        for nodeid, worker in self._crashes.left_behind():
            self._tally.lost(nodeid, worker)
        self._crashes.settle(lambda nodeid: self._is_recorded(session, nodeid))

    def _is_recorded(self, session: pytest.Session, nodeid: str) -> bool:
        """Whether a test is recorded of which nothing more is known than its name."""
        return (
            self._settings.record_all
            or nodeid in self._recorded
            or any(
                cases.is_recorded(item, record_all=False)
                for item in session.items
                if cases.clean_nodeid(item) == nodeid
            )
        )

    def _clean(self, nodeid: str) -> str:
        """A node id without what pytest-xdist adds to it."""
        groups = self._config.getoption("dist", default="no") == "loadgroup"
        return cases.without_group(nodeid) if groups else nodeid

    def _finish(self, exit_status: int) -> list[str]:
        """Note the end in the store; answers what went wrong with it."""
        store = self._keeper.store
        try:
            sessions.finish(
                store,
                self._keeper.session,
                at=now(),
                exit_status=exit_status,
                tests=self._tally.as_dict(),
            )
        except StoreError as error:
            return [str(error)]
        return []

    def _reported(self, problems: list[str]) -> RunReport:
        problems = [*self._keeper.notes, *problems, *self._editor_problems()]
        if self._keeper.problem:
            problems.append(self._keeper.problem)
        try:
            found = experiment_reports(
                self._keeper.store, self._run.run_id, self._judge
            )
        except StoreError as error:
            found, problems = (), [*problems, str(error)]
        return RunReport(
            experiments=found,
            tests=self._tally.as_dict(),
            store=self._shown(self._directory),
            upload=_upload(self._settings),
            recorded=self._keeper.recorded,
            elsewhere=self._keeper.left_behind,
            problems=tuple(dict.fromkeys(problems)),
            unjudged=() if found else tuple(gates.unjudged(self._judge.asked.gates)),
            **self._shared_run(),
        )

    def _shared_run(self) -> dict[str, Any]:
        """What there is to say of a run that other processes make too."""
        name = self._settings.run
        if name is None:
            return {}
        store, run = self._keeper.store, self._run
        try:
            all_ = sessions.of_run(store, run.run_id)
            own = reading.session_counts(store, run.session_id)
        except StoreError:
            # Said already: it was asked for the experiments just before.
            return {}
        going_on = [each for each in all_ if each.finished_at is None]
        return {"own": own, "joined": Joined(name, len(all_), len(going_on))}

    def _note_unfit(self, report: RunReport) -> None:
        """Note which experiments say too little, or too bad, to be a baseline."""
        judged = (each.judgement for each in report.experiments)
        unfit = [each for each in judged if each is not None and not each.fit]
        # A store that cannot be written has been told of by now.
        with suppress(StoreError):
            for each in unfit:
                number = each.experiment.number
                writing.set_fit(self._keeper.store, number, fit=False)

    def _apply_gates(self, session: pytest.Session, report: RunReport) -> None:
        """Turn failed gates into pytest's exit status: the one place that does."""
        held = gates.summed(report.verdicts) == "passed"
        if not held and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _publish(self, report: RunReport) -> None:
        problems = tuple(publish(report, self._places))
        self._report = replace(report, problems=(*report.problems, *problems))

    def _editor_problems(self) -> list[str]:
        failures = self._editor.failures
        if not failures:
            return []
        first = next(iter(failures.values()))
        more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        text = f"the hook pytest_braintrust_row {first}{more}"
        return [f"{text}: kept without what the test said"]

    def _shown(self, path: Path) -> str:
        invocation = self._config.invocation_params.dir
        shown = os.path.relpath(path, invocation)
        return str(path) if shown.startswith("..") else shown


def _delivery(settings: Settings, run: Run) -> Delivery | None:
    if settings.connection is None:
        return None
    return Delivery(
        run.session_id, settings.connection, run.project, settings.flush_timeout
    )


def _seeker(settings: Settings, judge: Judge, run: Run) -> Seeker | None:
    subject = judge.sought(run.project)
    if settings.connection is None or subject is None:
        return None
    return Seeker(settings.connection, subject, settings.baseline)


def _upload(settings: Settings) -> Upload:
    if settings.connection is not None:
        return "sent"
    return "no key" if settings.upload else "not asked"
