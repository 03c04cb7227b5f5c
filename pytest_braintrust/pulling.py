"""From Braintrust to the store: the rows of an experiment, page by page.

A pull remembers its place, so one that was interrupted goes on where it stopped;
until it is whole nobody sees any of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pytest_braintrust import ends, naming
from pytest_braintrust.api.answers import mapping
from pytest_braintrust.api.btql import Line
from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.api.models import Experiment
from pytest_braintrust.decoding import decode, is_root, repo_info
from pytest_braintrust.ends import End, Times
from pytest_braintrust.errors import BadAnswer, NamingError, Rejected
from pytest_braintrust.locks import locked
from pytest_braintrust.naming import Candidate
from pytest_braintrust.rendezvous import MADE_BY
from pytest_braintrust.settings import DEFAULT_PAGE_SIZE
from pytest_braintrust.store import reading, transfers, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.store.transfers import Arrival, Incoming, Transfer

#: How many of a project's newest experiments a name is looked for among.
_CANDIDATES = 1_000
#: What the metadata of a run of ours has for us alone.
_OURS = ends.NAMES | {MADE_BY}
#: How many slashes of a name may end its project: each is a question to the server.
_MAX_READINGS = 8
#: After this long an interrupted pull starts anew.
_RESUMABLE_SECONDS = 3_600.0


def pull_experiment(  # noqa: PLR0913 - what is pulled, from where, and how
    store: Store,
    client: BraintrustClient,
    name: str,
    *,
    project: str | None = None,
    again: bool = True,
    page_size: int = DEFAULT_PAGE_SIZE,
    on_progress: Callable[[int], object] = lambda rows: None,
) -> StoredExperiment:
    """Bring an experiment of Braintrust into the store, or up to date there.

    A run of ours that the store has already is completed, not doubled: it is known
    by the key in its metadata. Rows that were recorded here and not sent yet stay as
    they are. Spans inside of a case are left out.

    Args:
        store: Where it goes.
        client: The server that has it.
        name: What it is called there: as in `naming.resolve`, among the experiments
            of the project; or its id.
        project: Its project; None: `name` begins with it and a slash.
        again: Read it again where its newest row is known from an earlier pull: what
            was deleted on Braintrust since then is seen by that alone.
        page_size: Rows in one request.
        on_progress: Told the number of rows now and then.

    Raises:
        NamingError: Braintrust has no such experiment, or several.
        ApiError: not all of it could be read. What was read is kept for the next
            try, and is no experiment yet.
        StoreError: the store could not be read or written.
    """
    there = find_remote(client, name, project=project)
    if not naming.is_id(there.id):
        msg = f"{client.connection.api_url} answered an id that is none"
        raise BadAnswer(msg)
    with locked(store.directory, f"pull-{there.id}"):
        return _Pull(store, client, there, again, page_size, on_progress).run()


def find_remote(
    client: BraintrustClient, name: str, *, project: str | None = None
) -> Experiment:
    """The experiment on Braintrust that `name` names; see `pull_experiment`.

    Raises:
        NamingError: there is none, or more than one.
        ApiError: the server could not be asked.
    """
    if project is None and naming.is_id(name):
        return client.get_experiment(name)
    for called, rest in _readings(name, project):
        exactly = client.list_experiments(project_name=called, name=rest, limit=1)
        if rest != naming.LATEST and (found := next(exactly, None)) is not None:
            return found
        if naming.is_id(rest):
            return client.get_experiment(rest)
        listed = client.list_experiments(project_name=called, limit=_CANDIDATES)
        if candidates := [candidate(called, each) for each in newest_first(listed)]:
            return naming.choose(candidates, rest, naming.newest(candidates))
    shown = naming.short(name)
    if project is not None:
        msg = f"project {naming.short(project)} has no experiments on Braintrust"
    elif "/" in name:
        msg = f"Braintrust has no project with experiments that {shown} begins with"
    else:
        msg = f"{shown} names no project: say PROJECT/EXPERIMENT"
    raise NamingError(msg)


def _readings(name: str, project: str | None) -> Iterator[tuple[str, str]]:
    """A name as project and experiment: both may have slashes, the project seldom."""
    if project is not None:
        yield project, name
        return
    parts = name.split("/")
    for count in range(1, min(len(parts), _MAX_READINGS + 1)):
        called, rest = "/".join(parts[:count]), "/".join(parts[count:])
        if called and rest:
            yield called, rest


def candidate(project: str, each: Experiment) -> Candidate[Experiment]:
    """What an experiment on Braintrust may be called by."""
    info = mapping(each.raw, "repo_info")
    branch, commit = info.get("branch"), info.get("commit")
    return Candidate(
        thing=each,
        project=project,
        names=(each.name,),
        ids=(each.id,),
        branch=branch if isinstance(branch, str) else None,
        commit=commit if isinstance(commit, str) else None,
        run=each.id,
    )


@dataclass(frozen=True, slots=True)
class _Pull:
    """One experiment on its way, and how it is read."""

    store: Store
    client: BraintrustClient
    there: Experiment
    again: bool
    page_size: int
    on_progress: Callable[[int], object]

    def run(self) -> StoredExperiment:
        store, there = self.store, self.there
        version = _version(self.client, there)
        here = _already_here(store, there)
        if here is not None and not self.again and _is_known(here, version):
            return here if here.tests else _with_its_end(store, here, there)
        incoming = _incoming(self.client, there, here)
        transfer = transfers.begin(store, incoming, sent=True)
        if not _goes_on(transfer.state, version):
            transfers.start_over(store, transfer)
        if version is not None:
            self._gather_all(transfer, version)
        into = here.id if here else None
        landed = transfers.land(store, transfer, into=into, remote_version=version)
        return _with_its_end(store, landed, there)

    def _gather_all(self, transfer: Transfer, version: int) -> None:
        try:
            self._gather(transfer, version)
        except Rejected:
            if not transfer.state:
                raise
            # The server does not know its own cursor any more.
            transfers.start_over(self.store, transfer)
            self._gather(transfer, version)

    def _gather(self, transfer: Transfer, version: int) -> None:
        if transfer.state.get("whole"):
            return
        pages = self.client.download_pages(
            "experiment",
            self.there.id,
            page_size=self.page_size,
            cursor=transfer.state.get("cursor"),
        )
        for page in pages:
            transfers.gather(
                self.store, transfer, _arrivals(page.lines), self.on_progress
            )
            whole = page.cursor is None
            state = {"version": version, "cursor": page.cursor, "whole": whole}
            state["at"] = transfer.state.get("at", time.time())
            transfers.note(self.store, transfer, state)


def _goes_on(state: Mapping[str, Any], version: int | None) -> bool:
    """Whether what was read before is still what the experiment has.

    Nothing is written since; that nothing was deleted either, nobody can tell.
    """
    recent = time.time() - state.get("at", 0.0) < _RESUMABLE_SECONDS
    return recent and state.get("version") == version


def _is_known(here: StoredExperiment, version: int | None) -> bool:
    return version is not None and here.remote_version == version


def _version(client: BraintrustClient, there: Experiment) -> int | None:
    """The version of an experiment: that of its newest row; None without rows."""
    newest = next(iter(client.fetch_experiment(there.id, page_size=1)), None)
    return None if newest is None else _number(newest.version)


def _number(version: str | None) -> int | None:
    return int(version) if version and version.isascii() and version.isdigit() else None


def local_id(store: Store, there: Experiment) -> str:
    """The id that an experiment of Braintrust has in the store, or will have."""
    return _id_of(there, _already_here(store, there))


def _id_of(there: Experiment, here: StoredExperiment | None) -> str:
    if here is not None:
        return here.id
    key = there.metadata.get(MADE_BY)
    return key if isinstance(key, str) and naming.is_id(key) else there.id


def _already_here(store: Store, there: Experiment) -> StoredExperiment | None:
    key = there.metadata.get(MADE_BY)
    if isinstance(key, str) and (found := reading.find_experiment(store, key)):
        return found
    found = reading.find_experiment(store, there.id)
    if found is not None:
        return found
    every = reading.experiments(store)
    return next((each for each in every if each.remote_id == there.id), None)


def _incoming(
    client: BraintrustClient, there: Experiment, here: StoredExperiment | None
) -> Incoming:
    metadata = dict(there.metadata)
    if MADE_BY in metadata:
        metadata = {name: each for name, each in metadata.items() if name not in _OURS}
    project_id = there.project_id
    times = when(there)
    return Incoming(
        id=_id_of(there, here),
        # No run of ours has such an id: it was not run here.
        run_id=there.id,
        project=here.project if here else _project_name(client, there),
        name=there.name,
        created_at=times.started_at,
        finished_at=times.finished_at,
        repo_info=repo_info(mapping(there.raw, "repo_info")),
        metadata=metadata,
        api_url=client.connection.api_url,
        project_id=project_id,
        remote_id=there.id,
        remote_name=there.name,
        url=client.experiment_url(there.id),
    )


def _project_name(client: BraintrustClient, there: Experiment) -> str:
    if there.project_id is None:
        msg = f"experiment {there.id} does not say which project it is of"
        raise BadAnswer(msg)
    return client.get_project(there.project_id).name


def when(there: Experiment) -> Times:
    """When the run ran that an experiment is of; of others', when it was made."""
    made_at = _seconds(there.created)
    if MADE_BY in there.metadata:
        return ends.times(there.metadata, made_at)
    return Times(made_at, made_at)


def newest_first(found: Iterable[Experiment]) -> list[Experiment]:
    """Experiments in the order in which `latest~N` counts them, as in the store."""
    return sorted(found, key=lambda each: when(each).started_at, reverse=True)


def _seconds(created: str | None) -> float:
    try:
        return datetime.fromisoformat(
            (created or "").replace("Z", "+00:00")
        ).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _arrivals(lines: Iterable[Line]) -> Iterator[Arrival]:
    for line in lines:
        if not is_root(line.row):
            continue
        try:
            row = decode(line.row)
        except ValueError as error:
            msg = f"the server sent a row of which {error}"
            raise BadAnswer(msg) from None
        told: Any = line.row.get("_xact_id")
        yield Arrival(row, _number(told) if isinstance(told, str) else None)


def _with_its_end(
    store: Store, each: StoredExperiment, there: Experiment
) -> StoredExperiment:
    """Note when a run that was not made here ran, and how it ended.

    Of an experiment that others made, its rows tell how. A run of ours says so itself,
    unless it was killed or goes on.
    """
    if each.run_id != each.remote_id:
        return each
    times = when(there)
    writing.set_times(store, each.number, times.started_at, times.finished_at)
    tests = transfers.count_tests(store, each.number)
    end = End(1 if tests["failed"] + tests["errored"] else 0, tests)
    if MADE_BY in there.metadata:
        end = ends.read(there.metadata)
        writing.set_fit(store, each.number, fit=end.fit)
    if end.exit_status is not None:
        writing.set_end(
            store, each.number, exit_status=end.exit_status, tests=end.tests or tests
        )
    return reading.experiment(store, each.id)
