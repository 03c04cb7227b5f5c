"""What a run is: its experiment in each project, and where that is on Braintrust."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any
from uuid import uuid4

import pytest

from pytest_braintrust import child, facts, selection, sharding
from pytest_braintrust.clocks import now
from pytest_braintrust.configured import INI_FILES
from pytest_braintrust.editing import FAILURES, raised_at
from pytest_braintrust.errors import ChildError
from pytest_braintrust.facts import NewExperiment
from pytest_braintrust.git import repo_info
from pytest_braintrust.jsonable import plain_text
from pytest_braintrust.scoring import Experiment
from pytest_braintrust.settings import Connection, Settings

#: Finding the experiment waits for Braintrust, in the test that asks for its link.
_FIND_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of pytest; plain values, so that a worker can be told of it."""

    #: This process's own: it keeps journals and sends rows of no other session.
    session_id: str
    #: What all processes that make the run have in common; the same as a rule.
    run_id: str
    name: str
    started_at: float
    #: Where rows go whose test names no project.
    project: str
    #: Whether the project was named by an option, which goes before markers.
    project_forced: bool
    repo_info: dict[str, Any] | None
    metadata: dict[str, Any]
    api_url: str | None
    #: By project, the run that its experiment is compared with: its id in the store,
    #: and on Braintrust where it is there.
    bases: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    #: The tests that are run; empty: all.
    only: Sequence[str] = ()
    #: The datasets that tests make cases of, by the project that a marker names, ""
    #: for none; filled in when they were collected.
    datasets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def is_shared(self) -> bool:
        """Whether other processes make the run too."""
        return self.run_id != self.session_id

    @property
    def selection(self) -> object:
        """Which part of the suite the run is of; None: all, or others run the rest."""
        return self._metadata().get(selection.SELECTION)

    def experiment(self, project: str | None) -> NewExperiment:
        """The run's experiment in a project, which a marker may have named."""
        name = self._project(project)
        used = self._datasets(name)
        # Braintrust links an experiment to one dataset; the metadata has all.
        linked = [each for each in used if each["id"]]
        one = linked[0] if len(linked) == 1 else {}
        base, base_remote_id = self.bases.get(name, (None, None))
        return NewExperiment(
            id=facts.experiment_id(self.run_id, name),
            run_id=self.run_id,
            project=name,
            name=self.name,
            created_at=self.started_at,
            repo_info=self.repo_info,
            metadata={**self._metadata(), **({"datasets": used} if used else {})},
            api_url=self.api_url,
            base=base,
            base_remote_id=base_remote_id,
            dataset_id=one.get("id"),
            dataset_version=one.get("version"),
        )

    def _metadata(self) -> dict[str, Any]:
        """What the experiment says of the run, whoever else makes it too."""
        if not self.is_shared:
            return self.metadata
        # What is selected here is a part of the run, and others run the rest.
        return {k: v for k, v in self.metadata.items() if k != selection.SELECTION}

    def _project(self, named: str | None) -> str:
        return self.project if self.project_forced or not named else named

    def _datasets(self, project: str) -> list[dict[str, Any]]:
        found = [
            each
            for named, used in self.datasets.items()
            if self._project(named) == project
            for each in used
        ]
        return [each for at, each in enumerate(found) if each not in found[:at]]


def describe(config: pytest.Config, settings: Settings) -> Run:
    """Settle what this run is called and what its experiment says of it.

    Raises:
        pytest.UsageError: a hook of the suite raised.
    """
    at = now()
    info = repo_info(config.rootpath)
    connection = settings.connection
    session_id = str(uuid4())
    return Run(
        session_id=session_id,
        run_id=sharding.run_id(settings.run) if settings.run else session_id,
        # All that make the run must come to the same name.
        name=_name(config, settings, settings.run or facts.default_name(info, at)),
        started_at=at,
        project=settings.project,
        project_forced=settings.project_forced,
        repo_info=dict(info) if info else None,
        metadata=_metadata(config, settings),
        api_url=connection.api_url if connection else None,
    )


def _name(config: pytest.Config, settings: Settings, default: str) -> str:
    if settings.experiment is not None:
        return settings.experiment
    hook = config.hook.pytest_braintrust_experiment_name
    with _hook_errors("pytest_braintrust_experiment_name"):
        answer = str(hook(config=config, default=default) or "")
    return plain_text(answer).strip() or default


def _metadata(config: pytest.Config, settings: Settings) -> dict[str, Any]:
    metadata = facts.run_metadata(
        pytest_version=pytest.__version__,
        arguments=facts.argv_of(config.invocation_params.args),
        workers=_workers(config),
        api_key=settings.api_key,
    )
    metadata.update(settings.metadata)
    if higher := config.getini("braintrust_higher_is_better"):
        metadata[facts.HIGHER_IS_BETTER] = sorted(set(higher))
    if selected := _selection(config):
        metadata[selection.SELECTION] = selected
    with _hook_errors("pytest_braintrust_run_metadata"):
        config.hook.pytest_braintrust_run_metadata(config=config, metadata=metadata)
    return facts.without_key(metadata, settings.api_key)


def _workers(config: pytest.Config) -> int:
    """How many workers pytest-xdist is about to start; 0 where it starts none."""
    if config.getoption("dist", default="no") == "no":
        return 0
    # What `-n auto` came to; written by hand, one of them may stand for several.
    specs = [str(each).partition("*")[0] for each in config.getoption("tx")]
    return sum(int(each) if each.isdecimal() else 1 for each in specs)


def _selection(config: pytest.Config) -> dict[str, Any]:
    """What this invocation asks for of the suite; empty for all of it."""
    options = (
        "keyword",
        "markexpr",
        "deselect",
        "lf",
        "stepwise",
        "ignore",
        "ignore_glob",
        "override_ini",
    )
    overrides = config.getoption("override_ini", default=None) or ()
    overridden = _has_another_ini(config) or any(
        each.startswith("testpaths=") for each in overrides
    )
    start = selection.Start(
        root=config.rootpath,
        folder=config.invocation_params.dir,
        testpaths=() if overridden else config.getini("testpaths"),
        pyargs=config.getoption("pyargs", default=False),
    )
    usual = config.args_source == config.ArgsSource.TESTPATHS and not overridden
    return selection.of_run(
        (str(config.rootpath),) if usual else config.args,
        {name: config.getoption(name, default=None) for name in options},
        start,
    )


def _has_another_ini(config: pytest.Config) -> bool:
    """Whether `-c` names an ini file that pytest does not take by itself."""
    if not config.getoption("inifilename", default=None) or config.inipath is None:
        return False
    there = (each for each in INI_FILES if (config.rootpath / each).exists())
    return config.inipath != config.rootpath / next(there, "")


@contextmanager
def _hook_errors(name: str) -> Iterator[None]:
    """End the run before its first test where a hook of the suite raises."""
    try:
        yield
    except pytest.exit.Exception:
        raise
    except FAILURES as error:
        # Its text is the user's own, and its traceback is that of pluggy's rooms.
        msg = f"the hook {name} raised {raised_at(error)}: {error}"
        raise pytest.UsageError(msg) from error


@dataclass(slots=True)
class Finder:
    """Answers where the run's experiment is on Braintrust, making it at first use."""

    experiment: Callable[[str | None], NewExperiment]
    connection: Connection | None
    #: The store's directory, where this process sees it.
    directory: str | None
    _found: dict[str, Experiment] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def find(self, project: str | None) -> Experiment:
        """The experiment that rows of a project go to.

        Without its `id` and `url` where the run is only kept locally or Braintrust
        cannot be reached now.
        """
        new = self.experiment(project)
        with self._lock:
            if new.project not in self._found:
                self._found[new.project] = self._ask(new)
            return self._found[new.project]

    def _ask(self, new: NewExperiment) -> Experiment:
        local = Experiment(project=new.project, name=new.name)
        if self.connection is None:
            return local
        request = {
            "task": "experiment",
            "connection": asdict(self.connection),
            "experiment": asdict(new),
            "directory": self.directory,
        }
        # A process of ours asks, because a test may have mocked the network of this.
        try:
            answer = child.ask(request, _FIND_SECONDS)
        except ChildError:
            return local
        if answer.get("id") is None:
            return local
        return Experiment(
            project=new.project,
            name=str(answer["name"]),
            id=str(answer["id"]),
            url=answer.get("url"),
        )
