"""Choose the run that a run is compared with.

The same rules for the runs of a store and for those on Braintrust: they are pure, over
what is known of each run.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Generic, Literal, TypeAlias, TypeVar

from pytest_braintrust import git, naming, paths
from pytest_braintrust.errors import (
    BaselineError,
    BaselineUnusable,
    ExchangeError,
    NamingError,
)
from pytest_braintrust.naming import Candidate
from pytest_braintrust.selection import SELECTED, SELECTION, covers
from pytest_braintrust.store import measuring, reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

T = TypeVar("T")

#: How a baseline was found: by its place in history, or by what was named.
How: TypeAlias = Literal["ancestor", "previous", "branch", "name", "file", "stored"]

#: Where it is the place that speaks for a run, and nobody named it.
BY_PLACE = frozenset({"ancestor", "previous", "branch"})

#: How many runs before the one that was picked are looked at. One of them takes its
#: place if the picked one lacks more than this share of its tests, and so many times
#: what it lacks itself.
_LOOKED_BACK, _SHARE, _CLEARLY = 10, 0.1, 2

#: Runs that ended by themselves; interrupted ones measured a part at most.
ENDED = (0, 1)

_FILE_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The run to compare with, and how it was found."""

    experiment: StoredExperiment
    how: How
    #: Which run was meant first, and why it is none; "" where it is that one.
    note: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """The run that asks: what of it says which runs are its past."""

    project: str
    branch: str | None
    root: Path
    #: The commit whose ancestors are looked for; None: HEAD.
    commit: str | None = None
    #: When it started, where that is over: what ran since is not its past.
    started_at: float = math.inf
    #: What the processes of one run have in common: it is not its own past.
    run_id: str | None = None
    #: Which part of the suite it runs; None: all.
    selection: object = None
    #: The tests that it runs, once they are known; those without a row do no harm.
    tests: frozenset[str] = frozenset()

    @property
    def is_over(self) -> bool:
        """Whether it is a run that is looked at again."""
        return self.started_at < math.inf


@dataclass(frozen=True, slots=True)
class Past(Generic[T]):
    """A run as the rules see it."""

    candidate: Candidate[T]
    #: Whether it ran on changes that its commit has not.
    dirty: bool
    #: Whether it measured what it was to measure, and held its gates: a run that did
    #: not is compared with where it is named, and not by its place in history. Else a
    #: gate that failed would pass the next time, beside the very run that failed it.
    fit: bool = True
    #: Why it is no baseline for anybody who asks; "" if it can be one. It counts all
    #: the same where `latest~1` is looked for.
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Picked(Generic[T]):
    """The run that the rules choose, and by which of them."""

    thing: T
    how: How
    #: As in `Baseline`.
    note: str = ""


def find(
    store: Store, subject: Subject, asked: str | None, *, folder: Path | None = None
) -> Baseline | None:
    """Find the baseline that was asked for in the store, or the usual one.

    Args:
        store: Where runs are.
        subject: The run that is to be compared.
        asked: What `pick` takes, or a file that `export` wrote.
        folder: What a file's name is relative to; None: no name is a file's.

    Returns None where there is no such run yet.

    Raises:
        BaselineError: a run was named that does not exist or cannot be compared with,
            or a file is none.
        StoreError: the store could not be read.
    """
    if folder is not None and asked is not None and is_file(folder, asked):
        return _of_file(store, folder / asked)
    past = [
        Past(
            naming.candidate(each),
            dirty=each.dirty,
            fit=each.fit and covers(each.metadata.get(SELECTION), subject.selection),
            why_not=_unusable(each, subject),
        )
        for each in naming.newest_first(store, project=subject.project)
        # A run that goes on is not to be seen yet, though others of it may have begun.
        if subject.is_over or each.run_id != subject.run_id
    ]
    picked = pick_measured(
        past, subject, asked, lambda run: reading.has_rows(store, run.number)
    )
    if picked is None:
        return None
    if subject.tests and picked.how in BY_PLACE:
        picked = _fuller(store, picked, _before(picked, past, subject), subject.tests)
    return Baseline(picked.thing, picked.how, picked.note)


def _before(
    picked: Picked[StoredExperiment],
    past: Sequence[Past[StoredExperiment]],
    subject: Subject,
) -> Iterator[Picked[StoredExperiment]]:
    """The runs from before one that was picked, which the same rule would pick."""
    run = picked.thing
    if picked.how != "ancestor":
        return in_turn(past, replace(subject, branch=run.branch), "previous")
    # What was merged since has tests that it need not have had.
    return in_turn(past, replace(subject, commit=run.commit), "ancestor")


def _fuller(
    store: Store,
    picked: Picked[StoredExperiment],
    before: Iterable[Picked[StoredExperiment]],
    tests: frozenset[str],
) -> Picked[StoredExperiment]:
    """The run that was picked, or one before it that has clearly more of some tests.

    A run that lacks many tests which one before it had ran a part of the suite, whatever
    made it do that. One that lacks a few says enough, and one that skipped them says why.
    A suite that draws its cases anew lacks some each time, and gains as many.
    """
    has = tests & measuring.node_ids(store, picked.thing.number)
    for each in islice(before, _LOOKED_BACK):
        if has == tests:
            break
        had = tests & measuring.node_ids(store, each.thing.number)
        lacks = len(had - has)
        if _without_row(picked.thing) - _without_row(each.thing) >= lacks:
            continue
        if lacks > max(_SHARE * len(had), _CLEARLY * len(has - had)):
            picked, has = replace(picked, thing=each.thing), had
    return picked


def _without_row(run: StoredExperiment) -> int:
    """How many tests may have no row though nothing left them out."""
    return run.tests.get("skipped", 0) + run.tests.get("xfailed", 0)


def _unusable(run: StoredExperiment, subject: Subject) -> str:
    """Why a run cannot be compared with by anybody who asks; "" if it can."""
    if run.run_id == subject.run_id:
        return "it is the run itself"
    if run.created_at >= subject.started_at:
        return "it began after the run that is compared"
    return why_not_whole(run.exit_status, run.tests, selected=SELECTED in run.metadata)


def why_not_whole(
    exit_status: int | None, tests: Mapping[str, int], *, selected: bool
) -> str:
    """Why a run is no whole one; "" if it ended by itself and ran all it was to run."""
    if exit_status is None:
        return "it has not finished"
    if _ended_early(exit_status, tests):
        return "it did not run all that it was to run"
    return "it ran only tests that had got worse" if selected else ""


def of_stored(
    store: Store, run: StoredExperiment, asked: str | None, *, root: Path, folder: Path
) -> Baseline | None:
    """Find the baseline of a run that is over: the one it had, if nothing is asked.

    Args:
        store: Where runs are.
        run: The run that is looked at again.
        asked: As for `find`.
        root: The repository that it is a run of.
        folder: What a file's name is relative to.

    Raises:
        BaselineError: a run was named that does not exist, or a file is none.
        StoreError: the store could not be read.
    """
    had = run.base and reading.find_experiment(store, run.base)
    if asked is None and had:
        return Baseline(had, "stored")
    subject = Subject(
        project=run.project,
        branch=run.branch,
        root=root,
        commit=run.commit,
        started_at=run.created_at,
        run_id=run.run_id,
        selection=run.metadata.get(SELECTION),
        tests=frozenset(measuring.node_ids(store, run.number)),
    )
    return find(store, subject, asked, folder=folder)


def is_cut_short(run: StoredExperiment) -> bool:
    """Whether a run is known to have ended before all its tests had run."""
    return _ended_early(run.exit_status, run.tests)


def _ended_early(exit_status: int | None, tests: Mapping[str, int]) -> bool:
    ended = exit_status in {None, *ENDED}
    return not ended or bool(tests.get("not_run"))


def pick_measured(
    past: Sequence[Past[T]],
    subject: Subject,
    asked: str | None,
    has_rows: Callable[[T], bool],
) -> Picked[T] | None:
    """Choose as `pick` does, and no run that has nothing to be compared with.

    Args:
        past: As for `pick`.
        subject: As for `pick`.
        asked: As for `pick`.
        has_rows: Whether a run has any, which is dear to know: it is asked of those
            that are picked, of a few at most.

    Raises:
        BaselineError: as `pick`.
    """
    for _ in range(_LOOKED_BACK):
        picked = pick(past, subject, asked)
        if picked is None or has_rows(picked.thing):
            return picked
        past = [
            replace(each, why_not="it has no rows")
            if each.candidate.thing is picked.thing
            else each
            for each in past
        ]
    return None


def pick(
    past: Sequence[Past[T]], subject: Subject, asked: str | None
) -> Picked[T] | None:
    """Choose among the runs of a project, newest first.

    Args:
        past: All of them.
        subject: The run that is to be compared.
        asked: `previous` (the last fit run on this branch), `ancestor` (the last run of
            the nearest ancestor commit of HEAD that has one, HEAD itself counted;
            runs on uncommitted changes are no run of a commit), or what
            `naming.resolve` takes, and the same run; but `latest`, a branch, and a
            name of several runs, are the last of them that can be a baseline, and of
            a branch or a name a fit one before others. None: the ancestor's, or else
            the previous one.

    Returns None where there is no such run yet: a branch need not have one.

    Raises:
        BaselineError: what was named is no run and no branch, or cannot be used.
    """
    if asked is None or asked in {"ancestor", "previous"}:
        return next(in_turn(past, subject, asked), None)
    return _named(past, subject, asked)


def in_turn(
    past: Sequence[Past[T]], subject: Subject, asked: str | None
) -> Iterator[Picked[T]]:
    """The runs that are chosen by their place in history, one in the place of another.

    Args:
        past: As for `pick`.
        subject: As for `pick`.
        asked: `ancestor` or `previous`; None: the one, then the other.
    """
    fit = [each for each in past if each.fit and not each.why_not]
    if asked != "previous":
        yield from _ancestors(fit, subject)
    if asked != "ancestor":
        yield from _previous(fit, subject)


def _ancestors(past: Sequence[Past[T]], subject: Subject) -> Iterator[Picked[T]]:
    by_commit: dict[str, list[Candidate[T]]] = defaultdict(list)
    for each in past:
        if each.candidate.commit and not each.dirty:
            by_commit[each.candidate.commit].append(each.candidate)
    near = git.ancestors(subject.root, subject.commit) if by_commit else ()
    for commit in near:
        for found in by_commit.get(commit, ()):
            yield Picked(found.thing, "ancestor")


def _previous(past: Sequence[Past[T]], subject: Subject) -> Iterator[Picked[T]]:
    for each in past:
        if each.candidate.branch == subject.branch:
            yield Picked(each.candidate.thing, "previous")


def _named(past: Sequence[Past[T]], subject: Subject, asked: str) -> Picked[T] | None:
    usable = [each for each in past if not each.why_not]
    try:
        series = naming.series([each.candidate for each in past], asked)
    except NamingError as error:
        # The first run of a project, or of a branch, is no mistake.
        if not usable or git.is_branch(subject.root, asked):
            return None
        raise BaselineError(str(error)) from None
    meant = set(map(id, series.things))
    newest = next(each for each in past if each.candidate.thing is series.things[0])
    found = [each for each in usable if id(each.candidate.thing) in meant]
    # Who compares a run with itself did not mean the one before it.
    itself = newest.candidate.run == subject.run_id
    if found and series.latest and not itself:
        note = "" if newest is found[0] else _is_none(newest)
        return Picked(found[0].candidate.thing, "name", note)
    if found and not series.latest:
        # An unfit run may be named, but there may be a better one of its name.
        best = next((each for each in found if each.fit), found[0])
        how: How = "branch" if best.candidate.branch == asked else "name"
        return Picked(best.candidate.thing, how)
    # Of a run that goes on, it may be the name that its own first finished run has.
    expected = not usable and not subject.is_over
    if expected or asked == newest.candidate.branch:
        return None
    raise _named_unusable(newest, asked)


def _is_none(run: Past[T]) -> str:
    name = naming.short(run.candidate.names[0])
    return f"{name} is no baseline: {run.why_not}"


def _named_unusable(run: Past[T], asked: str) -> BaselineUnusable:
    name = naming.short(run.candidate.names[0])
    if asked in (*run.candidate.names, *run.candidate.ids):
        return BaselineUnusable(_is_none(run))
    told = f"{naming.short(asked)} is {name}, which is no baseline: {run.why_not}"
    return BaselineUnusable(f"{told}; name another, or say previous")


def why_none(root: Path, asked: str | None) -> str:
    """Say why there is no baseline, where one was asked for; else ""."""
    if asked is None:
        return ""
    if asked == "previous":
        return "this branch has no earlier finished run"
    if asked != "ancestor":
        return f"{naming.short(asked)} has no finished run"
    if git.is_shallow(root):
        return "this clone is shallow: fetch its history to find earlier commits"
    return "neither this commit nor one before it has a finished run"


def is_file(folder: Path, asked: str | None) -> bool:
    """Whether a name is meant as a file: by its ending where there is none."""
    if asked is None:
        return False
    path = folder / asked
    return paths.is_file(path) or path.suffix == _FILE_SUFFIX


def _of_file(store: Store, path: Path) -> Baseline:
    from pytest_braintrust import exchange  # noqa: PLC0415 - imported when used

    try:
        known = exchange.import_file(store, path).experiment
    except ExchangeError as error:
        raise BaselineError(str(error)) from None
    if known.exit_status not in ENDED:
        msg = f"the run in {path} did not end by itself: export one that did"
        raise BaselineError(msg)
    return Baseline(known, "file")
