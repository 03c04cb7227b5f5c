"""Find the experiment that a person means: by name, id, branch or place in time.

One rule for every command and for baselines. What is named exactly goes before what
is shortened, and what could be two things is refused, with what it could be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, TypeVar
from uuid import UUID

from pytest_braintrust.errors import NamingError
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

T = TypeVar("T")

#: Stands for the newest experiment.
LATEST = "latest"

_BACK = re.compile(r"(?s)(.+)~(\d{1,9})")
#: Fewer characters of an id or commit are no name for it.
_SHORTEST_ID = 4
#: How many names an error tells, and how much of each.
_TOLD, _SHOWN = 5, 80


@dataclass(frozen=True, slots=True)
class Candidate(Generic[T]):
    """An experiment, and what it may be called by.

    Attributes:
        thing: What is answered when it is meant.
        project: Its project.
        names: Its name, and that on Braintrust where it is another.
        ids: Its id, and that on Braintrust.
        branch: The branch that it ran on.
        commit: The commit that it ran on.
        run: What experiments of one run in several projects have in common.
    """

    thing: T
    project: str
    names: tuple[str, ...]
    ids: tuple[str, ...]
    branch: str | None
    commit: str | None
    run: str


def resolve(
    store: Store,
    text: str,
    *,
    project: str | None = None,
    only: Callable[[StoredExperiment], bool] = lambda _: True,
) -> StoredExperiment:
    """The experiment of the store that `text` names.

    Args:
        store: Where experiments are.
        text: `latest`, a name, an id, or a branch, whose newest experiment it is;
            what is unambiguous of a name, id or commit; each of them after
            `PROJECT/`. `latest~1` is the one before the latest, `main~1` the one
            before the newest of branch main.
        project: Look among the experiments of this project.
        only: Look among the experiments that it is true of.

    Raises:
        NamingError: there is none, or more than one; the text tells what is close.
        StoreError: the store could not be read.
    """
    found = [each for each in newest_first(store, project=project) if only(each)]
    return choose([candidate(each) for each in found], text)


def newest_first(store: Store, *, project: str | None = None) -> list[StoredExperiment]:
    """The experiments in the order in which `latest~N` counts them."""
    found = reading.experiments(store, project=project)
    return sorted(found, key=lambda e: (e.created_at, e.number), reverse=True)


def candidate(each: StoredExperiment) -> Candidate[StoredExperiment]:
    """What an experiment of the store may be called by."""
    return Candidate(
        thing=each,
        project=each.project,
        names=tuple(filter(None, (each.name, each.remote_name))),
        ids=tuple(filter(None, (each.id, each.remote_id))),
        branch=each.branch,
        commit=each.commit,
        run=each.run_id,
    )


def is_id(text: str) -> bool:
    """Whether a text is an id, as experiments have here and on Braintrust."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def choose(candidates: Sequence[Candidate[T]], text: str, instead: str = "") -> T:
    """The one of the candidates, newest first, that `text` names; see `resolve`.

    Args:
        candidates: Those that may be meant.
        text: What was said.
        instead: What to say where nothing is close; "": which command shows them.

    Raises:
        NamingError: there is none, or more than one.
    """
    for step in (_exactly, _shortened):
        for scope, name in _readings(candidates, text):
            found = step(scope, name, text)
            if found is not None:
                return found.thing
    raise _unknown(candidates, text, instead or _LIST)


@dataclass(frozen=True, slots=True)
class Series(Generic[T]):
    """What a text means, the newest first."""

    things: Sequence[T]
    #: Whether it is `latest`, and they are all that there are.
    latest: bool = False


def series(candidates: Sequence[Candidate[T]], text: str) -> Series[T]:
    """The experiment that `choose` answers, then older ones of its name or branch.

    A place in time, such as `main~1`, or a shortened name means one experiment alone.

    Raises:
        NamingError: there is none, or more than one.
    """
    for scope, name in _readings(candidates, text):
        for test in (_is_latest, _has_name, _has_branch):
            if found := [each.thing for each in scope if test(each, name)]:
                return Series(found, latest=test is _is_latest)
    return Series([choose(candidates, text)])


def _readings(
    candidates: Sequence[Candidate[T]], text: str
) -> Iterator[tuple[Sequence[Candidate[T]], str]]:
    """A text as a name, and as a project with a name of it: both may have slashes."""
    yield candidates, text
    for project in dict.fromkeys(each.project for each in candidates):
        if text.startswith(project + "/"):
            scope = [each for each in candidates if each.project == project]
            yield scope, text[len(project) + 1 :]


def _exactly(
    scope: Sequence[Candidate[T]], name: str, text: str
) -> Candidate[T] | None:
    back = _BACK.fullmatch(name)
    places = [(name, 0), *([(back[1], int(back[2]))] if back else [])]
    for called, place in places:
        for test in (_is_latest, _has_name, _has_branch):
            found = [each for each in scope if test(each, called)]
            if found:
                return _at(found, place, text)
    return None


def _is_latest(_: Candidate[T], called: str) -> bool:
    return called == LATEST


def _has_name(each: Candidate[T], called: str) -> bool:
    return called in each.names or called in each.ids


def _has_branch(each: Candidate[T], called: str) -> bool:
    return called == each.branch


def _at(found: Sequence[Candidate[T]], place: int, text: str) -> Candidate[T]:
    """The one that is `place` runs before the newest."""
    runs = list(dict.fromkeys(each.run for each in found))
    if place >= len(runs):
        there = "is 1 run" if len(runs) == 1 else f"are {len(runs)} runs"
        msg = f"{short(text)} goes back too far: there {there} of that name"
        raise NamingError(msg)
    return _only([each for each in found if each.run == runs[place]], text)


def _shortened(
    scope: Sequence[Candidate[T]], name: str, text: str
) -> Candidate[T] | None:
    for test in (_starts, _contains):
        found = [each for each in scope if name and test(each, name)]
        if found:
            return _only(found, text)
    return None


def _starts(each: Candidate[T], name: str) -> bool:
    ids = [*each.ids, each.commit or ""] if len(name) >= _SHORTEST_ID else []
    return any(full.startswith(name) for full in (*each.names, *ids))


def _contains(each: Candidate[T], name: str) -> bool:
    return any(name in full for full in each.names)


def _only(found: Sequence[Candidate[T]], text: str) -> Candidate[T]:
    if len(found) == 1:
        return found[0]
    shown = [short(f"{each.project}/{each.names[0]}") for each in found[:_TOLD]]
    if len(set(shown)) < len(shown):
        shown = [each.ids[0] for each in found[:_TOLD]]
    more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    msg = f"{short(text)} is ambiguous: it may be {', '.join(shown)}{more}"
    raise NamingError(msg)


def _unknown(
    candidates: Iterable[Candidate[T]], text: str, instead: str
) -> NamingError:
    known: dict[str, None] = {}
    for each in candidates:
        names = (*each.names, each.branch or "", f"{each.project}/{each.names[0]}")
        known.update(dict.fromkeys(filter(None, names)))
    if not known:
        return NamingError("there are no experiments yet")
    close = get_close_matches(text[:1_000], known, n=_TOLD, cutoff=0.5)
    told = f"close are {', '.join(map(short, close))}" if close else instead
    return NamingError(f"there is no experiment {short(text)}; {told}")


def newest(candidates: Sequence[Candidate[T]]) -> str:
    """The names of the first few, for an error where no command shows them."""
    shown = [short(each.names[0]) for each in candidates[:_TOLD]]
    return f"the newest are {', '.join(shown)}"


_LIST = "`pytest-braintrust list` shows what there is"


def short(text: str) -> str:
    """A name as an error tells it, for a terminal and for somebody who reads it."""
    shown = "".join(each if each.isprintable() else " " for each in text[:_SHOWN])
    return shown if len(text) <= _SHOWN else shown[:-1] + "…"
