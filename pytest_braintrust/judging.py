"""Choose baselines before a run, and judge it by them and by its gates after.

Between pytest's options and the pure functions of `comparison` and `gates`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_braintrust import baseline, facts, gates, naming
from pytest_braintrust.baseline import Baseline, How, Subject
from pytest_braintrust.comparison.alone import Measuring, RunMeasures, measure
from pytest_braintrust.comparison.details import Detail, details
from pytest_braintrust.comparison.lowest import Lowest, LowTest
from pytest_braintrust.comparison.result import RunComparison
from pytest_braintrust.comparison.run import compare, facts_of
from pytest_braintrust.errors import BaselineError, BaselineUnusable
from pytest_braintrust.gates import Gates, Limited, Verdict
from pytest_braintrust.given import Given, ini_name
from pytest_braintrust.selection import SELECTION, covers
from pytest_braintrust.store import measuring, reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

#: How many of the tests that got worse are looked at: as many as GitHub annotates.
DETAILED = 10

#: Gates that have a limit for each name, and of what.
_LIMITS: Mapping[str, Limited] = {
    "fail_under": "score",
    "fail_over": "metric",
    "max_drop": "score",
    "max_total": "total",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run is to be judged by."""

    baseline: str | None
    gates: Gates
    #: Metrics of which more is better, beside those that the judged run names.
    higher_is_better: frozenset[str]
    #: The option, variable or ini value that names the baseline.
    named_by: str = ""
    #: Limits of the ini file, each a gate and a name: they are there for runs of all
    #: of the suite, while those of the command line are meant for this run.
    standing: frozenset[tuple[str, str]] = frozenset()


def asked(baseline: str | None, read: Given) -> Asked:
    """Read what options and ini ask for; the command line's limits go over the ini's.

    Raises:
        SettingsError: an expression cannot be read; the text names where it stands.
    """
    standing = {
        gate: gates.limits(read.ini(gate), ini_name(gate), of)
        for gate, of in _LIMITS.items()
    }
    given = {
        gate: gates.limits(read.option(gate) or (), read.option_name(gate), of)
        for gate, of in _LIMITS.items()
    }
    return Asked(
        baseline=baseline,
        gates=Gates(
            **{gate: {**standing[gate], **given[gate]} for gate in _LIMITS},
            on_regression=read.switch("fail_on_regression"),
            require_baseline=read.switch("require_baseline"),
        ),
        higher_is_better=frozenset(read.ini("higher_is_better")),
        named_by=read.where("baseline"),
        standing=frozenset(
            (gate, name)
            for gate in _LIMITS
            for name in standing[gate].keys() - given[gate].keys()
        ),
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one experiment of a run came to beside its baseline and its gates."""

    experiment: StoredExperiment
    measures: RunMeasures
    baseline: Baseline | None
    #: Why there is no baseline, where one was asked for; else "".
    why_none: str
    comparison: RunComparison | None
    verdicts: tuple[Verdict, ...]
    #: The worst of what got worse.
    details: tuple[Detail, ...] = ()
    #: Where there is no comparison: the tests that scored lowest, and how many have a
    #: score below 1.
    lowest: tuple[LowTest, ...] = ()
    below: int = 0

    def of(self, experiment: StoredExperiment) -> Judgement:
        """The same, with what is known of the experiment now."""
        compared = self.comparison
        if compared is not None:
            compared = replace(compared, head=facts_of(experiment))
        return replace(self, experiment=experiment, comparison=compared)

    @property
    def fit(self) -> bool:
        """Whether later runs may be compared with it by its place in history."""
        failed = any(e.state == "failed" and e.of_run for e in self.verdicts)
        # Of a file that could not be imported nothing is known: not even its tests.
        collected = not self.experiment.tests.get("uncollected")
        return self.measures.counts.measurable and collected and not failed


def judgement(
    store: Store,
    experiment: StoredExperiment,
    base: Baseline | None,
    asked: Asked,
    *,
    why_none: str = "",
) -> Judgement:
    """Compare an experiment with its baseline and judge it by gates.

    Raises:
        StoreError: the store could not be read.
    """
    compared: RunComparison | None = None
    worst: list[Detail] = []
    low = Lowest()
    if base is None:
        measures = measure(store, experiment, each=low.add)
    else:
        seen = Measuring()
        compared = compare(
            store,
            base.experiment,
            experiment,
            higher_is_better=asked.higher_is_better
            | facts.higher_is_better(experiment.metadata),
            each=seen.add,
        )
        measures = seen.result()
        shown = compared.worse_tests[:DETAILED]
        worst = details(store, base.experiment, experiment, shown)
    found = gates.judge(asked.gates, measures, compared, why_none=why_none)
    not_run: set[str] = set()
    if any(each.absent in asked.standing for each in found):
        not_run = _not_run(store, experiment, base, compared)
    return Judgement(
        experiment=experiment,
        measures=measures,
        baseline=base,
        why_none=why_none,
        comparison=compared,
        verdicts=tuple(gates.excused(each, asked.standing, not_run) for each in found),
        details=tuple(worst),
        lowest=tuple(low.read(store, experiment)),
        below=low.below,
    )


def _not_run(
    store: Store,
    experiment: StoredExperiment,
    base: Baseline | None,
    compared: RunComparison | None,
) -> set[str]:
    """The scores and metrics that only tests have that the run was not asked for."""
    selected = experiment.metadata.get(SELECTION)
    if not selected:
        return set()
    if base is None or compared is None:
        return _measured_by_more(store, experiment)
    if covers(selected, base.experiment.metadata.get(SELECTION)):
        # It ran all that its baseline did: what that had and this has not is missing.
        return _measured_by_more(store, experiment) - compared.known
    return set(compared.not_run)


def _measured_by_more(store: Store, experiment: StoredExperiment) -> set[str]:
    """What the last run measured that was asked for more of the suite."""
    selected = experiment.metadata.get(SELECTION)
    for each in reversed(reading.experiments(store)):
        whole = each.metadata.get(SELECTION)
        same = each.project == experiment.project and each.exit_status is not None
        if same and covers(whole, selected) and not covers(selected, whole):
            found = measure(store, each)
            return {*found.scores, *found.metrics}
    return set()


@dataclass(frozen=True, slots=True)
class Coming:
    """A baseline that was found on Braintrust."""

    #: The id that it will have in the store.
    id: str
    remote_id: str
    name: str
    how: How

    def late(self, project: str) -> str:
        """What is said where it did not arrive in time."""
        name = f"{project}/{self.name}"
        told = naming.short(name)
        # A name that a shell or a terminal would not take as it is may be anybody's.
        exact = name if told == name else f"{project}/{self.remote_id}"
        command = f"pytest-braintrust pull {shlex.quote(exact)}"
        return f"{told} did not arrive in time; get it with: {command}"


@dataclass(slots=True)
class Judge:
    """Knows the baseline of each project from before the run to its end."""

    asked: Asked
    root: Path
    #: What the name of a file is relative to.
    folder: Path
    repo_info: Mapping[str, Any] | None
    #: What the experiments of the run itself have in common.
    run_id: str | None = None
    #: Which part of the suite it runs.
    selection: object = None
    #: Whether other processes make the run too, which must come to the same baseline.
    shared: bool = False
    _baselines: dict[str, Baseline] = field(default_factory=dict)
    #: Those that are on their way here from Braintrust, by project.
    _coming: dict[str, Coming] = field(default_factory=dict)
    #: Why it is not known whether Braintrust has one, by project.
    _unheard: dict[str, str] = field(default_factory=dict)
    _missing: BaselineError | None = None
    #: The tests that baselines were chosen for.
    _tests: frozenset[str] = frozenset()
    _judged: dict[str, Judgement] = field(default_factory=dict)

    def choose(self, store: Store, project: str, *, elsewhere: bool) -> None:
        """Choose baselines for the run's own project and for all that have runs.

        Args:
            store: Where they are looked for.
            project: The run's own.
            elsewhere: Whether what is not in the store may be on Braintrust.

        Raises:
            BaselineError: what was named exists in none of them, or cannot be used.
            StoreError: the store could not be read.
        """
        missing: list[BaselineError] = []
        for each in dict.fromkeys((project, *reading.projects(store))):
            # A file is the baseline of the run's project, whatever that was called
            # where the file was written.
            folder = self.folder if each == project else None
            asked = self.asked.baseline
            try:
                found = baseline.find(store, self._subject(each), asked, folder=folder)
            except BaselineError as error:
                # Braintrust may have another one that the same words would mean.
                if each == project and isinstance(error, BaselineUnusable):
                    raise
                missing.append(error)
                continue
            if found is not None:
                self._baselines[each] = found
        if missing and not self._baselines:
            self._missing = missing[0]
            if not elsewhere or baseline.is_file(self.folder, self.asked.baseline):
                raise self._missing

    def sought(self, project: str) -> Subject | None:
        """The run as Braintrust is to be asked about it; None: it has its baseline."""
        return None if project in self._baselines else self._subject(project)

    def told(self, project: str, answer: Mapping[str, Any]) -> bool:
        """Take in what was found on Braintrust; answers whether it is coming.

        Raises:
            BaselineError: what was named is neither here nor there.
        """
        if answer["state"] == "wrong":
            raise BaselineError(answer["message"])
        if answer["state"] == "failed":
            self._unheard[project] = (
                f"it could not be looked for on Braintrust: {answer['message']}"
            )
        if answer["state"] == "none" and self._missing is not None:
            raise self._missing
        if answer["state"] == "found":
            names = ("id", "remote_id", "name", "how")
            self._coming[project] = Coming(*(answer[name] for name in names))
        return project in self._coming

    def know_tests(self, store: Store, tests: Iterable[str]) -> None:
        """Choose again where a run was chosen that lacks some of the run's tests.

        Args:
            store: Where baselines are looked for.
            tests: The node ids of what was collected, without trials.

        Raises:
            BaselineError: a baseline that was there is not there any more.
            StoreError: the store could not be read.
        """
        if self.shared:
            # Others of the run have other tests, and one baseline with it.
            return
        known = frozenset(tests) if self._baselines else frozenset()
        if known == self._tests:
            # Each worker collects what the others do.
            return
        self._tests = known
        for project, chosen in self._baselines.items():
            number = chosen.experiment.number
            if chosen.how not in baseline.BY_PLACE:
                continue
            if known <= measuring.node_ids(store, number):
                continue
            subject = replace(self._subject(project), tests=known)
            found = baseline.find(store, subject, self.asked.baseline)
            self._baselines[project] = found or chosen

    def bases(self) -> dict[str, tuple[str, str | None]]:
        """By project, the baseline's id in the store and on Braintrust."""
        return {
            project: (each.experiment.id, each.experiment.remote_id)
            for project, each in self._baselines.items()
        } | {
            project: (each.id, each.remote_id) for project, each in self._coming.items()
        }

    def worse(self, store: Store, project: str) -> list[str]:
        """The tests that got worse in the last run of a project that was compared.

        Raises:
            StoreError: the store could not be read.
        """
        compared = (
            (each, reading.find_experiment(store, each.base))
            for each in reversed(reading.experiments(store, project=project))
            if each.base is not None and each.finished_at is not None
        )
        for head, base in compared:
            if base is not None:
                found = compare(store, base, head)
                return list(dict.fromkeys(each.nodeid for each in found.regressions))
        return []

    def judge(self, store: Store, experiment: StoredExperiment) -> Judgement:
        """Judge an experiment of the run that ended; once, however often it is asked.

        Raises:
            StoreError: the store could not be read.
        """
        known = self._judged.get(experiment.id)
        if known is None:
            known = self._judged[experiment.id] = self._judge(store, experiment)
        # Where it is on Braintrust may have come to be known since.
        return known.of(experiment)

    def _judge(self, store: Store, experiment: StoredExperiment) -> Judgement:
        found = self._chosen(store, experiment)
        why = "" if found else self._why_none(experiment.project)
        coming = self._coming.get(experiment.project)
        if coming is not None:
            arrived = reading.find_experiment(store, coming.id)
            found = None if arrived is None else Baseline(arrived, coming.how)
            why = coming.late(experiment.project)
        return judgement(store, experiment, found, self.asked, why_none=why)

    def _why_none(self, project: str) -> str:
        unheard = self._unheard.get(project)
        return unheard or baseline.why_none(self.root, self.asked.baseline)

    def _chosen(self, store: Store, experiment: StoredExperiment) -> Baseline | None:
        """The baseline of an experiment: what the first process of its run chose."""
        found = self._baselines.get(experiment.project)
        how = found.how if found else "stored"
        named = how not in {*baseline.BY_PLACE, "stored"}
        if not self.shared or named or experiment.base is None:
            return found
        stored = reading.find_experiment(store, experiment.base)
        return Baseline(stored, how) if stored else found

    def _subject(self, project: str) -> Subject:
        info = self.repo_info or {}
        return Subject(
            project,
            info.get("branch"),
            self.root,
            run_id=self.run_id,
            selection=self.selection,
        )
