"""Rows into a dataset on Braintrust, so that a second time changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.api.models import Dataset
from pytest_braintrust.datasets import finding
from pytest_braintrust.datasets.rows import digest
from pytest_braintrust.datasets.wanted import Wanted
from pytest_braintrust.datasets.writing import plain
from pytest_braintrust.errors import DatasetError


@dataclass(slots=True)
class Pushed:
    """What a push came to."""

    name: str
    dataset_id: str
    added: int = 0
    changed: int = 0
    same: int = 0
    removed: int = 0


def push(
    client: BraintrustClient,
    wanted: Wanted,
    rows: Iterable[Mapping[str, Any]],
    *,
    prune: bool = False,
    progress: Callable[[int], object] = lambda rows: None,
) -> Pushed:
    """Add the rows that the dataset has not, and replace those that differ.

    Args:
        client: The server.
        wanted: The dataset; it is made if it is not there.
        rows: Rows with an `id` each.
        prune: Remove the rows that are in the dataset and not among these.
        progress: Told the number of rows that were looked at.

    Raises:
        DatasetError: the name is ambiguous.
        ApiError: not all of it could be done. What was done stays, and the next push
            does the rest.
    """
    name, dataset = _found_or_made(client, wanted)
    pushed = Pushed(name, dataset.id)
    there = {row.id: _content(row.raw) for row in client.download_dataset(dataset.id)}
    new = _differing(rows, there, pushed, progress)
    client.insert_dataset_rows(dataset.id, new)
    if prune and there:
        pushed.removed = len(there)
        gone = ({"id": row_id, "_object_delete": True} for row_id in there)
        client.insert_dataset_rows(dataset.id, gone)
    return pushed


def _differing(
    rows: Iterable[Mapping[str, Any]],
    there: dict[str, str],
    pushed: Pushed,
    progress: Callable[[int], object],
) -> Iterator[Mapping[str, Any]]:
    """The rows that are not there as they are; takes those that were seen out."""
    for row in rows:
        progress(1)
        known = there.pop(str(row["id"]), None)
        if known == _content(row):
            pushed.same += 1
            continue
        pushed.added += known is None
        pushed.changed += known is not None
        yield row


def _content(row: Mapping[str, Any]) -> str:
    """What makes two rows the same: neither when they came nor where from."""
    return digest(plain(row))


def _found_or_made(client: BraintrustClient, wanted: Wanted) -> tuple[str, Dataset]:
    found = finding.find_all(client, wanted)
    if len(found) == 1:
        project = client.get_project(str(found[0].project_id)).name
        return f"{project}/{found[0].name}", found[0]
    if found:
        raise DatasetError(finding.ambiguous(client, wanted, found))
    named, name = next(iter(wanted.places()))
    project_id = client.create_project(named).id
    return f"{named}/{name}", client.create_dataset(project_id, name)
