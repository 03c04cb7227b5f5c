"""What a run came to at its end: noted in the store, judged, and told in one report."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_braintrust import gates
from pytest_braintrust.clocks import now
from pytest_braintrust.describing import Run
from pytest_braintrust.editing import RowEditor
from pytest_braintrust.errors import StoreError
from pytest_braintrust.judging import Judge
from pytest_braintrust.keeping import Keeper
from pytest_braintrust.paths import told_from
from pytest_braintrust.reports.run import Joined, RunReport, Upload, experiment_reports
from pytest_braintrust.settings import Settings
from pytest_braintrust.store import reading, sessions, writing
from pytest_braintrust.tally import Tally


@dataclass(slots=True)
class Conclusion:
    """Draws up the end of a run from what all of its parts know."""

    settings: Settings
    run: Run
    keeper: Keeper
    tally: Tally
    editor: RowEditor
    judge: Judge
    #: The folder that paths are shown from.
    folder: Path
    _problems: list[str] = field(default_factory=list)

    def finish(self, exit_status: int) -> None:
        """Note the end in the store; what goes wrong with it is in the report."""
        store = self.keeper.store
        try:
            sessions.finish(
                store,
                self.keeper.session,
                at=now(),
                exit_status=exit_status,
                tests=self.tally.as_dict(),
            )
        except StoreError as error:
            self._problems.append(str(error))

    def judge_experiments(self) -> None:
        """Note which experiments say too little, or too bad, to be a baseline."""
        store = self.keeper.store
        # A store that cannot be read is told of with the report.
        with suppress(StoreError):
            for each in reading.experiments(store, run_id=self.run.run_id):
                if not self.judge.judge(store, each).fit:
                    writing.set_fit(store, each.number, fit=False)

    def report(self) -> RunReport:
        """All that the summary says, read from the store."""
        problems = [*self.keeper.notes, *self._problems, *self._hook_problems()]
        if self.keeper.problem:
            problems.append(self.keeper.problem)
        try:
            found = experiment_reports(self.keeper.store, self.run.run_id, self.judge)
        except StoreError as error:
            found, problems = (), [*problems, str(error)]
        return RunReport(
            experiments=found,
            tests=self.tally.as_dict(),
            store=self._shown(self.keeper.store.directory),
            upload=_upload(self.settings),
            recorded=self.keeper.recorded,
            elsewhere=self.keeper.left_behind,
            dropped=self.editor.dropped,
            problems=tuple(dict.fromkeys(problems)),
            unjudged=() if found else tuple(gates.unjudged(self.judge.asked.gates)),
            **self._shared_run(),
        )

    def _shared_run(self) -> dict[str, Any]:
        """What there is to say of a run that other processes make too."""
        name = self.settings.run
        if name is None:
            return {}
        store, run = self.keeper.store, self.run
        try:
            all_ = sessions.of_run(store, run.run_id)
            own = reading.session_counts(store, run.session_id)
        except StoreError:
            # Said already: it was asked for the experiments just before.
            return {}
        going_on = [each for each in all_ if each.finished_at is None]
        return {"own": own, "joined": Joined(name, len(all_), len(going_on))}

    def _hook_problems(self) -> list[str]:
        failures = self.editor.failures
        if not failures:
            return []
        first = next(iter(failures.values()))
        more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        text = f"the hook pytest_braintrust_row {first}{more}"
        return [f"{text}: kept without what the test said"]

    def _shown(self, path: Path) -> str:
        shown = told_from(self.folder, path)
        return str(path) if shown.startswith("..") else shown


def _upload(settings: Settings) -> Upload:
    if settings.connection is not None:
        return "sent"
    return "no key" if settings.upload else "not asked"
