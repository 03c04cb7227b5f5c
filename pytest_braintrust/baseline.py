"""Choose the run that a run is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pytest_braintrust.errors import BaselineError
from pytest_braintrust.git import ancestors
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

#: How a baseline was found: by its place in history, or by what was named.
How: TypeAlias = Literal["ancestor", "previous", "branch", "name"]

#: Runs that ended by themselves; interrupted ones measured a part at most.
_ENDED = (0, 1)


#: In the metadata of a run of those tests alone that had got worse: it says too little
#: of the suite to be compared with.
SELECTED = "selected"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The run to compare with, and how it was found."""

    experiment: StoredExperiment
    how: How

    @property
    def name(self) -> str:
        """What it is called where people look it up."""
        return self.experiment.remote_name or self.experiment.name


@dataclass(frozen=True, slots=True)
class Subject:
    """The run that asks: what of it says which runs are its past."""

    project: str
    branch: str | None
    commit: str | None
    root: Path
    #: The run itself, where it has started, is not its own past.
    number: int | None = None


def find(store: Store, subject: Subject, asked: str | None) -> Baseline | None:
    """Find the baseline that was asked for, or the usual one.

    Args:
        store: Where runs are.
        subject: The run that is to be compared.
        asked: `previous` (the last finished run of the project on this branch),
            `ancestor` (the nearest ancestor commit of HEAD that has a finished run),
            the name of an experiment, or a branch, whose last finished run it is.
            None: the ancestor's, or else the previous one.

    Returns None where there is no such run yet and nothing was named.

    Raises:
        BaselineError: what was named does not exist in the store.
        StoreError: the store could not be read.
    """
    candidates = _finished(store, subject)
    if asked is None:
        return _ancestor(candidates, subject) or _previous(candidates, subject)
    if asked == "ancestor":
        return _ancestor(candidates, subject)
    if asked == "previous":
        return _previous(candidates, subject)
    found = _named(candidates, asked) or _of_branch(candidates, asked)
    if found is None:
        msg = (
            f"no finished run of project {subject.project!r} is named {asked!r} or on "
            "a branch of that name; `pytest-braintrust list` shows what there is"
        )
        raise BaselineError(msg)
    return found


def _finished(store: Store, subject: Subject) -> list[StoredExperiment]:
    """Runs of the project that ended by themselves, newest first."""
    return [
        each
        for each in reversed(reading.experiments(store, project=subject.project))
        if each.exit_status in _ENDED
        and each.number != subject.number
        and SELECTED not in each.metadata
    ]


def _ancestor(
    candidates: Sequence[StoredExperiment], subject: Subject
) -> Baseline | None:
    """The newest run of the nearest ancestor; of HEAD itself where it is changed."""
    by_commit: dict[str, StoredExperiment] = {}
    for each in candidates:
        info = each.repo_info or {}
        if info.get("commit") and not info.get("dirty"):
            by_commit.setdefault(info["commit"], each)
    for commit in ancestors(subject.root) if by_commit else ():
        if commit in by_commit:
            return Baseline(by_commit[commit], "ancestor")
    return None


def _previous(
    candidates: Sequence[StoredExperiment], subject: Subject
) -> Baseline | None:
    found = (
        each
        for each in candidates
        if (each.repo_info or {}).get("branch") == subject.branch
    )
    return _first(found, "previous")


def _named(candidates: Sequence[StoredExperiment], name: str) -> Baseline | None:
    found = (each for each in candidates if name in {each.name, each.remote_name})
    return _first(found, "name")


def _of_branch(candidates: Sequence[StoredExperiment], branch: str) -> Baseline | None:
    found = (
        each for each in candidates if (each.repo_info or {}).get("branch") == branch
    )
    return _first(found, "branch")


def _first(found: Iterator[StoredExperiment], how: How) -> Baseline | None:
    first = next(found, None)
    return None if first is None else Baseline(first, how)
