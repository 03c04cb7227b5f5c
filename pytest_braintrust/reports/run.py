"""What there is to show of one run, read from the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from pytest_braintrust.gates import Verdict
from pytest_braintrust.judging import Judge, Judgement
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import (
    RowCounts,
    RowNote,
    ScoreSummary,
    StoredExperiment,
)

#: `sent`: there is a key; `no key`; `not asked`: the run was told not to upload.
Upload: TypeAlias = Literal["sent", "no key", "not asked"]


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """One experiment of the run: a run has one for each project."""

    project: str
    name: str
    scores: tuple[ScoreSummary, ...]
    rows: RowCounts
    #: By outcome, how many rows have no score that says more than the outcome.
    unscored: Mapping[str, int] = field(default_factory=dict)
    url: str | None = None
    upload_error: str | None = None
    #: Rows that the server refused, or has only a part of.
    row_notes: tuple[RowNote, ...] = ()
    judgement: Judgement | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """A run that several processes make, as far as it is known here."""

    name: str
    #: How many processes there are, and how many of the others have not finished.
    processes: int
    going_on: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """All that the summary of a run says."""

    experiments: tuple[ExperimentReport, ...]
    #: `collected`, each outcome, `not_run`, and `uncollected`: files with an error.
    tests: Mapping[str, int]
    #: The store's directory, as a person would type it.
    store: str
    upload: Upload
    #: Rows that reports brought; fewer in the store means that some are missing.
    recorded: int
    #: Those that are in another store, as `problems` say.
    elsewhere: int = 0
    #: Whether a hook dropped rows.
    dropped: bool = False
    #: What went wrong with the run's rows, in words.
    problems: tuple[str, ...] = ()
    #: What gates say where there is nothing to judge.
    unjudged: tuple[Verdict, ...] = ()
    #: The rows of this process, where others have rows in its experiments.
    own: RowCounts | None = None
    joined: Joined | None = None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What the gates say of all experiments of the run.

        What one experiment does not measure, another one may.
        """
        judged = [each for each in self.experiments if each.judgement is not None]
        if len(judged) < 2:  # noqa: PLR2004 - of one, its project goes without saying
            told = (v for each in judged for v in _verdicts(each))
            return (*self.unjudged, *told)
        missed = Counter(v.absent for each in judged for v in _verdicts(each))
        return tuple(
            replace(verdict, text=f"{each.project}: {verdict.text}")
            for each in judged
            for verdict in _verdicts(each)
            if verdict.absent is None or missed[verdict.absent] == len(judged)
        )

    @property
    def missing(self) -> int:
        """How many rows are in no store."""
        return max(0, self.recorded - self.elsewhere - self.rows.recorded)

    @property
    def rows(self) -> RowCounts:
        """The rows of all experiments of the run, as far as this process made them."""
        return self.own or self.rows_of_all

    @property
    def rows_of_all(self) -> RowCounts:
        """The rows of all experiments of the run."""
        return RowCounts(
            recorded=sum(each.rows.recorded for each in self.experiments),
            sent=sum(each.rows.sent for each in self.experiments),
            refused=sum(each.rows.refused for each in self.experiments),
        )


def _verdicts(each: ExperimentReport) -> tuple[Verdict, ...]:
    return each.judgement.verdicts if each.judgement is not None else ()


def experiment_reports(
    store: Store, run_id: str, judge: Judge
) -> tuple[ExperimentReport, ...]:
    """Read what the experiments of a session came to, and judge them."""
    return tuple(
        experiment_report(store, each, judge.judge(store, each))
        for each in reading.experiments(store, run_id=run_id)
    )


def stored_report(
    store: Store, experiment: StoredExperiment, judgement: Judgement
) -> RunReport:
    """What there is to say of an experiment once its run is over."""
    found = experiment_report(store, experiment, judgement)
    return RunReport(
        experiments=(found,),
        # What came from elsewhere need not have all counts.
        tests=Counter(experiment.tests),
        store=str(store.directory),
        upload="not asked",
        recorded=found.rows.recorded,
    )


def experiment_report(
    store: Store, experiment: StoredExperiment, judgement: Judgement
) -> ExperimentReport:
    """Read what there is to say of one experiment beside its judgement."""
    measures = judgement.measures
    return ExperimentReport(
        project=experiment.project,
        name=experiment.shown_name,
        scores=tuple(
            ScoreSummary(name, mean, count)
            for name, count in measures.scored.items()
            if (mean := measures.scores[name].mean) is not None
        ),
        rows=reading.row_counts(store, experiment.number),
        unscored=measures.unscored,
        url=experiment.url,
        upload_error=experiment.upload_error,
        # Of what is only here there are none, and all rows are read to see that.
        row_notes=tuple(reading.row_notes(store, experiment.number))
        if experiment.remote_id is not None
        else (),
        judgement=judgement,
    )
