"""Take old runs out of the store, and what runs that died have left beside it.

What Braintrust does not have is here alone, so it goes only where that is asked for;
what goes on is never touched.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_braintrust import locks, naming
from pytest_braintrust.errors import StoreError
from pytest_braintrust.folder import JOURNALS
from pytest_braintrust.store import reading, sessions, spool, transfers, writing
from pytest_braintrust.store.connection import FILE_NAME, Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.store.sessions import Session

_DAY = 24 * 3600.0
#: No session lasts longer than this: a process with its number is another one.
_LONGEST = 7 * _DAY
#: How long one that runs where we cannot look may take.
_LONGEST_ELSEWHERE = _DAY

#: What is done under a lock to one experiment, by its id here or on Braintrust.
_LOCKS = ("create", "send", "import", "pull")


@dataclass(frozen=True, slots=True)
class Old:
    """An experiment that is old enough to go."""

    experiment: StoredExperiment
    rows: int
    #: Why it stays all the same; None: it goes.
    stays: str | None


def find_old(  # noqa: PLR0913 - what is old, and what may go
    store: Store,
    *,
    now: float,
    keep: int | None = None,
    before: float | None = None,
    project: str | None = None,
    force: bool = False,
) -> list[Old]:
    """The experiments that are to go, the newest first, and those that cannot.

    Args:
        store: Where they are.
        now: Unix seconds.
        keep: How many of the newest of each project are not old; None: any number.
        before: Those that began after that moment are not old; None: any may be.
        project: Look only at experiments of this project.
        force: Let go what Braintrust does not have.
    """
    going_on = {
        each.run_id for each in sessions.unfinished(store) if is_alive(each, now)
    }
    seen: Counter[str] = Counter()
    found = []
    for each in naming.newest_first(store, project=project):
        seen[each.project] += 1
        if keep is not None and seen[each.project] <= keep:
            continue
        if before is not None and each.created_at >= before:
            continue
        counts = reading.row_counts(store, each.number)
        stays = None
        if each.run_id in going_on:
            stays = "it goes on"
        elif counts.pending and not force:
            stays = f"{counts.pending:,} of its rows are not on Braintrust"
        found.append(Old(each, counts.recorded, stays))
    return found


def remove(store: Store, old: Iterable[Old]) -> int:
    """Remove the experiments that are to go; answers the bytes that became free.

    Raises:
        StoreError: the store could not be written; those before that are gone.
    """
    path = store.directory / FILE_NAME
    before = path.stat().st_size
    for each in old:
        if each.stays is None:
            writing.remove_experiment(store, each.experiment.number)
    # Where others use the store, or the disk is full, what became free stays in the
    # file, for rows to come.
    with suppress(StoreError):
        store.compact()
    return max(0, before - path.stat().st_size)


def clear(store: Store, *, now: float) -> None:
    """Remove what processes that died have left beside the tables.

    Journals and spools of runs, locks, and halves of pulls.

    Raises:
        StoreError: the store could not be read or written.
    """
    for transfer in transfers.begun(store):
        names = (f"pull-{transfer.remote_id}", f"import-{transfer.id}")
        recent = now - transfer.at < _DAY
        if not recent and not any(locks.is_held(store.directory, e) for e in names):
            transfers.forget(store, transfer.number)
    unfinished = sessions.unfinished(store)
    alive = {each.id for each in unfinished if is_alive(each, now)}
    dead = {each.id for each in unfinished} - alive
    for folder in _children(store.directory / JOURNALS):
        # What no session is known of may begin just now.
        old = now - _changed(folder) > _LONGEST_ELSEWHERE
        if folder.name in dead or (old and folder.name not in alive):
            shutil.rmtree(folder, ignore_errors=True)
    spool.remove_of(store, dead)
    sessions.remove_dead(store, alive)
    known = reading.every_id(store)
    for path in _children(store.directory / locks.FOLDER):
        what, _, name = path.stem.partition("-")
        if what in _LOCKS and name not in known:
            locks.remove(store.directory, path.stem)


def is_alive(session: Session, now: float) -> bool:
    """Whether a session that has not finished may still go on."""
    age = now - session.started_at
    if session.host is None or session.pid is None or age > _LONGEST:
        return False
    if session.host != socket.gethostname() or os.name != "posix":
        return age < _LONGEST_ELSEWHERE
    try:
        os.kill(session.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is another user's
    return True


def _children(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from folder.iterdir()


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
