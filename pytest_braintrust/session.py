"""The one place that wires rooms: what each process of a run does, hook by hook.

The process that runs tests has a `Recorder`; the one that sees every report has a
`Controller`. Without pytest-xdist, and with `-n0`, one process has both.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
from pytest_braintrust.delivery import Delivery
from pytest_braintrust.describing import Finder, Run, describe
from pytest_braintrust.editing import RowEditor
from pytest_braintrust.errors import BaselineError, SettingsError, StoreError
from pytest_braintrust.intake import Intake
from pytest_braintrust.journal import Journal
from pytest_braintrust.judging import Asked, Judge
from pytest_braintrust.keeping import Keeper
from pytest_braintrust.obtaining import Source
from pytest_braintrust.opening import open_somewhere
from pytest_braintrust.publishing import Places, commands, properties, publish
from pytest_braintrust.reports.run import Joined, RunReport, Upload, experiment_reports
from pytest_braintrust.running import RECORDER, Recorder, Rules, Way
from pytest_braintrust.scoring import FINDER
from pytest_braintrust.seeking import Seeker
from pytest_braintrust.selecting import select
from pytest_braintrust.settings import Settings
from pytest_braintrust.store import reading, sessions, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.sessions import NewSession
from pytest_braintrust.store.spool import take_in_left
from pytest_braintrust.telling import Teller
from pytest_braintrust.worker import told_to_workers


def start(config: pytest.Config) -> None:
    """Take up the part of the process that sees every report.

    Raises:
        pytest.UsageError: an option, variable or ini value cannot be used.
    """
    try:
        read = configured.given(config)
        settings = settings_room.resolve(read, config.rootpath)
        asked = judging.asked(settings.baseline, read)
        folder = config.invocation_params.dir
        plan = Plan(settings, asked, publishing.places(read, os.environ, folder))
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    configured.share_key(config)
    config.pluginmanager.register(Starter(config, plan), "pytest-braintrust")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that options, variables and ini ask of a run."""

    settings: Settings
    asked: Asked
    places: Places


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

            def look(store: Store) -> None:
                take_in_left(store)
                judge.choose(store, run.project, elsewhere=elsewhere)

            store, note = open_somewhere(settings.store, look)
        except BaselineError as error:
            msg = f"{plan.asked.named_by}: {error}"
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
        config.pluginmanager.register(controller.recorder, RECORDER)
        select(
            config,
            number=settings.trials,
            record_all=settings.record_all,
            only=run.only,
        )
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
        self._teller = Teller(config)
        self._delivery = _delivery(settings, run)
        self._seeker = _seeker(settings, judge, run)
        self._journals = journal.folder_of(keeper.store.directory, run.session_id)
        self._intake = Intake(
            keeper,
            editor,
            self._journals,
            record_all=settings.record_all,
            grouped=config.getoption("dist", default="no") == "loadgroup",
        )
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
        self._keeper.close()

    # Workers of pytest-xdist

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[object]) -> None:
        if self._config.getoption("dist", default="no") == "each":
            self._intake.each_runs_all(len(specs))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        channel = node.gateway.newchannel()
        channel.setcallback(Journal.of(self._journals, node.gateway.id).write_text)
        node.workerinput[relay.KEY] = told_to_workers(
            self._run, self._settings, self._directory, channel
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(
        self, node: Any, ids: Sequence[str]
    ) -> None:
        shared = self._intake.collected_by_worker(node.gateway.id, ids)
        self._teller.note_shared_ids(shared)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        self._intake.down(node, died=bool(error))

    # The session

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._intake.tally.uncollected += report.failed

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._intake.tally.collected = len(session.items)
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
            msg = f"{self._judge.asked.named_by}: {error}"
            raise pytest.UsageError(msg) from None
        self._run.bases.update(self._judge.bases())

    # Before other plugins, which would write the rows wherever they write reports.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        payload, datasets = relay.detach(report)
        if datasets:
            self._run.datasets.update(datasets)
        if self._forked:
            return
        self._intake.report(report, payload)
        if self._junit and payload is not None and report.when == "teardown":
            rows = self._intake.rows_of(report, payload)
            report.user_properties += properties(rows)

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

    def _take_what_is_left(self, session: pytest.Session) -> None:
        for node, report in relay.unread(self._config):
            if report is None:
                self._intake.down(node, died=False)
            else:
                self.pytest_runtest_logreport(report)
        self._intake.rest(self.recorder.cut_off(), session.items)

    def _end(self, session: pytest.Session, exit_status: int) -> None:
        self._keeper.settle()
        problems = self._finish(exit_status)
        ran = exit_status != pytest.ExitCode.USAGE_ERROR
        if ran:
            self._judge_run()
        if self._delivery is not None:
            self._teller.wait(self._delivery, self._keeper.store)
        if not ran:
            # No test ran, and pytest says why.
            return
        report = self._reported(problems)
        self._apply_gates(session, report)
        self._publish(report)

    def _finish(self, exit_status: int) -> list[str]:
        """Note the end in the store; answers what went wrong with it."""
        store = self._keeper.store
        try:
            sessions.finish(
                store,
                self._keeper.session,
                at=now(),
                exit_status=exit_status,
                tests=self._intake.tally.as_dict(),
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
            tests=self._intake.tally.as_dict(),
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

    def _judge_run(self) -> None:
        """Note which experiments say too little, or too bad, to be a baseline.

        While the last rows are sent, and before Braintrust is told of the end.
        """
        if self._seeker is not None:
            self._seeker.finish(self._settings.flush_timeout)
        store = self._keeper.store
        # A store that cannot be read is told of with the report.
        with suppress(StoreError):
            for each in reading.experiments(store, run_id=self._run.run_id):
                if not self._judge.judge(store, each).fit:
                    writing.set_fit(store, each.number, fit=False)

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
