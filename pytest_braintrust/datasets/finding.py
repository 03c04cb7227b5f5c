"""From a dataset's name to the one dataset on Braintrust that has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.api.models import Dataset, Project
from pytest_braintrust.datasets.wanted import Wanted
from pytest_braintrust.errors import ApiError, DatasetError

#: So many names are read to say which are close.
_MOST_NAMES = 1_000
_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A dataset and where it is."""

    dataset: Dataset
    project: Project

    @property
    def name(self) -> str:
        """Its whole name."""
        return f"{self.project.name}/{self.dataset.name}"


def find(client: BraintrustClient, wanted: Wanted) -> Found:
    """The dataset that is meant.

    Raises:
        DatasetError: there is none, or more than one; the text says which there are.
        ApiError: the server did not say.
    """
    found = find_all(client, wanted)
    if not found:
        raise DatasetError(_unknown(client, wanted))
    if len(found) > 1:
        raise DatasetError(ambiguous(client, wanted, found))
    return Found(found[0], client.get_project(str(found[0].project_id)))


def find_all(client: BraintrustClient, wanted: Wanted) -> list[Dataset]:
    """Every dataset that may be meant."""
    found = {
        dataset.id: dataset
        for project, name in wanted.places()
        for dataset in client.list_datasets(project_name=project, name=name)
    }
    return list(found.values())


def _unknown(client: BraintrustClient, wanted: Wanted) -> str:
    """What there is instead: a name is mostly wrong by a letter."""
    projects = [each.name for each in client.list_projects(limit=_MOST_NAMES)]
    *named, default = wanted.places()
    places = named or [default]
    project, name = next((place for place in places if place[0] in projects), places[0])
    if project not in projects:
        return (
            f"there is no dataset {wanted.name!r}: no project is called {project!r}"
            f"{_instead(project, projects)}"
        )
    datasets = client.list_datasets(project_name=project, limit=_MOST_NAMES)
    names = [each.name for each in datasets]
    return (
        f"there is no dataset {wanted.name!r}: project {project!r} has none called "
        f"{name!r}{_instead(name, names)}"
    )


def _instead(name: str, names: list[str]) -> str:
    lower = {each.lower(): each for each in names}
    near = [lower[each] for each in get_close_matches(name.lower(), lower, 3)]
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    if not names:
        return "; there are none yet"
    shown = ", ".join(map(repr, sorted(names)[:_MOST_SHOWN]))
    return f"; there are {shown}{', …' if len(names) > _MOST_SHOWN else ''}"


def ambiguous(
    client: BraintrustClient, wanted: Wanted, found: Iterable[Dataset]
) -> str:
    """What to say where a name may mean several datasets."""
    organizations = {each.id: each.name for each in client.me().organizations}
    told = []
    for dataset in found:
        project = client.get_project(str(dataset.project_id))
        org = organizations.get(str(project.org_id), project.org_id)
        told.append(f"{project.name}/{dataset.name} of organisation {org}")
    return (
        f"the dataset {wanted.name!r} may be {' or '.join(sorted(told))}; name its "
        "project, or the organisation by BRAINTRUST_ORG_NAME"
    )


def explained(error: ApiError, name: str) -> DatasetError:
    """An error of the server's, with the dataset that it was about."""
    return DatasetError(f"dataset {name}: {error}")
