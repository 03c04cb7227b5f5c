"""What the server answers of its objects and people, as values with types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_braintrust.api import answers
from pytest_braintrust.api.answers import Answer
from pytest_braintrust.api.reading import Answered, filled


@dataclass(frozen=True, slots=True)
class Project(Answered):
    """A project, as `/v1/project` answers it."""

    id: str
    name: str
    org_id: str | None = None


@dataclass(frozen=True, slots=True)
class Experiment(Answered):
    """An experiment, as `/v1/experiment` answers it."""

    id: str
    name: str
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    project_id: str | None = None
    created: str | None = None
    dataset_id: str | None = None
    dataset_version: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset(Answered):
    """A dataset, as `/v1/dataset` answers it."""

    id: str
    name: str
    project_id: str | None = None
    description: str | None = None
    created: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Role(Answered):
    """A role, such as owner, as `/v1/role` answers it.

    Those of Braintrust itself have no organisation.
    """

    id: str
    name: str
    org_id: str | None = None


@dataclass(frozen=True, slots=True)
class User(Answered):
    """A user, as `/v1/user` answers it."""

    id: str
    email: str | None = None
    given_name: str | None = None
    family_name: str | None = None


@dataclass(frozen=True, slots=True)
class Organization(Answered):
    """An organisation, as `/v1/organization` and one's own account answer it.

    `api_url` is its own address of the API, where told.
    """

    id: str
    name: str
    api_url: str | None = None


@dataclass(frozen=True, slots=True)
class Me(Answered):
    """Whose key it is, or who is impersonated, and their organisations."""

    id: str
    email: str | None = None
    organizations: tuple[Organization, ...] = ()

    @classmethod
    def read(cls, answer: Answer) -> Me:
        """Read an answer of `/api/self/me`."""
        found = answers.objects(answer, "organizations")
        return filled(cls, answer, organizations=tuple(map(Organization.read, found)))


@dataclass(frozen=True, slots=True)
class Acl(Answered):
    """A grant: what a user or group may do with an object, as `/v1/acl` answers it."""

    id: str
    object_type: str
    object_id: str
    user_id: str | None = None
    group_id: str | None = None
    role_id: str | None = None
    permission: str | None = None
