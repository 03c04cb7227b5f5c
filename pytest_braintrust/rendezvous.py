"""One experiment on Braintrust for a run, whichever process needs it first.

First in creates, the rest read: under a file lock where processes share a disk, and
by Braintrust's own get-or-create by name where they do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pytest_braintrust import ends
from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.api.models import Experiment
from pytest_braintrust.errors import ApiError, BadAnswer, Refused, Rejected
from pytest_braintrust.locks import locked
from pytest_braintrust.store import reading, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

#: Where an experiment on Braintrust says which run of ours made it.
MADE_BY = "pytest_braintrust_experiment"


@dataclass(frozen=True, slots=True)
class Remote:
    """Where the rows of an experiment go on Braintrust."""

    project_id: str
    experiment_id: str
    name: str
    url: str | None


def remote_experiment(
    store: Store, experiment: StoredExperiment, client: BraintrustClient
) -> Remote:
    """Find the experiment on Braintrust in the store, or make it and note it there.

    Raises:
        ApiError: it is not there yet and could not be made.
        StoreError: the store could not be read or written.
    """
    with locked(store.directory, f"create-{experiment.id}"):
        known = reading.experiment(store, experiment.id)
        if known.remote_id is not None and known.project_id is not None:
            name = known.shown_name
            return Remote(known.project_id, known.remote_id, name, known.url)
        remote = create_remote(
            client,
            experiment_id=known.id,
            project=known.project,
            name=known.name,
            repo_info=known.repo_info,
            metadata={
                **known.metadata,
                **ends.beginning(known.created_at),
                **ends.as_metadata(store, known),
            },
            base_remote_id=_base_on_server(store, known, client),
            dataset=(known.dataset_id, known.dataset_version),
        )
        writing.set_remote(
            store,
            known.number,
            project_id=remote.project_id,
            remote_id=remote.experiment_id,
            name=remote.name,
            url=remote.url,
            api_url=client.connection.api_url,
        )
        return remote


def create_remote(  # noqa: PLR0913 - what an experiment is made of
    client: BraintrustClient,
    *,
    experiment_id: str,
    project: str,
    name: str,
    repo_info: Mapping[str, Any] | None,
    metadata: Mapping[str, Any],
    base_remote_id: str | None = None,
    dataset: tuple[str | None, str | None] = (None, None),
) -> Remote:
    """Make a fresh experiment, or find the one that this call made before.

    `ensure_new` would not be safe to repeat: a connection that breaks after the
    server did its part would leave two. So the name is asked for without it, with
    our key in the metadata: an answer with another key is another run's experiment,
    and the next name is asked for.

    Raises:
        ApiError: the server did not do it.
    """
    found = client.create_project(project)
    names = (name, f"{name}-{experiment_id[:8]}", f"{name}-{experiment_id}")
    own: dict[str, Any] = {"metadata": {**metadata, MADE_BY: experiment_id}}
    if repo_info:
        own["repo_info"] = dict(repo_info)
    links = {
        "base_exp_id": base_remote_id,
        "dataset_id": dataset[0],
        "dataset_version": dataset[1],
    }
    try:
        remote = _create(client, found.id, names, {**own, **links})
    except (Refused, Rejected) as error:
        if error.status == HTTPStatus.UNAUTHORIZED or not any(links.values()):
            raise
        # What it would be linked with may be gone from the server, or another's.
        remote = _create(client, found.id, names, own)
    return Remote(found.id, remote.id, remote.name, _url(client, remote.id))


def _create(
    client: BraintrustClient,
    project_id: str,
    names: Sequence[str],
    fields: Mapping[str, Any],
) -> Experiment:
    """Make it under the first of the names that is free, or was given to it before."""
    for name in names:
        remote = client.create_experiment(project_id, name, **fields)
        if remote.metadata.get(MADE_BY) == fields["metadata"][MADE_BY]:
            return remote
    msg = f"every name for experiment {names[0]!r} is taken by another run"
    raise BadAnswer(msg)


def _base_on_server(
    store: Store, experiment: StoredExperiment, client: BraintrustClient
) -> str | None:
    """The baseline's id on the server, so that its page compares with the same run."""
    if experiment.base is None:
        return None
    found = reading.find_experiment(store, experiment.base)
    if found is None:
        # It is on its way here, from this very server.
        return experiment.base_remote_id
    return found.remote_id if found.api_url == client.connection.api_url else None


def _url(client: BraintrustClient, remote_id: str) -> str | None:
    try:
        return client.experiment_url(remote_id)
    except ApiError:
        # A page address is nice to have; the rows arrive without it.
        return None
