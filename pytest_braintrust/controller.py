"""The process that sees every report: what it does of a run, hook by hook.

The process that runs tests has a `Recorder`. Without pytest-xdist, and with `-n0`, one
process has both.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_braintrust import (
    cases,
    gates,
    journal,
    relay,
)
from pytest_braintrust.concluding import Conclusion
from pytest_braintrust.describing import Run
from pytest_braintrust.editing import RowEditor
from pytest_braintrust.errors import BaselineError, StoreError
from pytest_braintrust.intake import Intake
from pytest_braintrust.journal import Journal
from pytest_braintrust.judging import Judge
from pytest_braintrust.keeping import Keeper
from pytest_braintrust.processes import CURRENT
from pytest_braintrust.publishing import Places, commands, properties, publish
from pytest_braintrust.reports.run import RunReport
from pytest_braintrust.running import Recorder, Rules, Way
from pytest_braintrust.settings import Settings
from pytest_braintrust.store import writing
from pytest_braintrust.telling import Teller

if TYPE_CHECKING:
    from pytest_braintrust.delivery import Delivery
    from pytest_braintrust.seeking import Seeker


class Controller:
    """In the process that sees every report: stores rows, shows what they came to."""

    def __init__(  # noqa: PLR0913 - the parts that a run is made of
        self,
        config: pytest.Config,
        settings: Settings,
        places: Places,
        *,
        run: Run,
        keeper: Keeper,
        judge: Judge,
    ) -> None:
        self._config = config
        self._judge = judge
        self._settings = settings
        self._places = places
        self._junit = bool(config.getoption("xmlpath", default=None))
        self._run = run
        self._keeper = keeper
        editor = RowEditor(config, settings.api_key)
        self._pid = CURRENT.pid
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
        self._conclusion = Conclusion(
            settings,
            run,
            keeper,
            self._intake.tally,
            editor,
            judge,
            folder=config.invocation_params.dir,
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
        return CURRENT.pid != self._pid

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
        from pytest_braintrust.worker import told_to_workers  # noqa: PLC0415 - when used

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
        self._choose_again(self._intake.case_ids(ids))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        self._intake.down(node, died=bool(error))

    # The session

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._intake.tally.uncollected += report.failed

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._intake.tally.collected = len(session.items)
        self._run.datasets.update(relay.used_datasets(self._config, session.items))
        record_all = self._settings.record_all
        shared = cases.shared_ids(session.items, record_all=record_all)
        self._teller.note_shared_ids(shared)
        self._choose_again(
            cases.case_id(item)
            for item in session.items
            if cases.is_recorded(item, record_all=record_all)
        )

    def _choose_again(self, tests: Iterable[str]) -> None:
        """Choose baselines for the tests that there are, before there is a row."""
        # A store that cannot be read is told of by what writes to it.
        with suppress(BaselineError, StoreError):
            before = dict(self._run.bases)
            self._judge.know_tests(self._keeper.store, tests)
            self._run.bases.update(self._judge.bases())
            if self._run.bases != before:
                # A worker was told of the others, and adds what is not there yet.
                writing.add_experiment(self._keeper.store, self._run.experiment(None))

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
            self._hear_of_baseline(self._seeker, self._delivery)

    def _hear_of_baseline(self, seeker: Seeker, delivery: Delivery) -> None:
        answer: Mapping[str, Any] = {"state": "failed", "message": delivery.message}
        if delivery.state == "ready":
            answer = seeker.found()
        try:
            if not self._judge.told(self._run.project, answer):
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
        self.recorder.catch_up()
        self._intake.rest(self.recorder.cut_off(), session.items)

    def _end(self, session: pytest.Session, exit_status: int) -> None:
        self._keeper.settle()
        self._conclusion.finish(exit_status)
        ran = exit_status != pytest.ExitCode.USAGE_ERROR
        if ran:
            # While the last rows are sent, before Braintrust is told of the end.
            if self._seeker is not None:
                self._seeker.finish(self._settings.flush_timeout)
            self._conclusion.judge_experiments()
        if self._delivery is not None:
            self._teller.wait(self._delivery, self._keeper.store)
        if not ran:
            # No test ran, and pytest says why.
            return
        report = self._conclusion.report()
        self._apply_gates(session, report)
        self._publish(report)

    def _apply_gates(self, session: pytest.Session, report: RunReport) -> None:
        """Turn failed gates into pytest's exit status: the one place that does."""
        held = gates.summed(report.verdicts) == "passed"
        if not held and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _publish(self, report: RunReport) -> None:
        problems = tuple(publish(report, self._places, self._keeper.store))
        self._report = replace(report, problems=(*report.problems, *problems))


def _delivery(settings: Settings, run: Run) -> Delivery | None:
    if settings.connection is None:
        return None
    from pytest_braintrust.delivery import Delivery  # noqa: PLC0415 - imported when used

    return Delivery(
        run.session_id, settings.connection, run.project, settings.flush_timeout
    )


def _seeker(settings: Settings, judge: Judge, run: Run) -> Seeker | None:
    subject = judge.sought(run.project)
    if settings.connection is None or subject is None:
        return None
    from pytest_braintrust.seeking import Seeker  # noqa: PLC0415 - imported when used

    return Seeker(settings.connection, subject, settings.baseline)
