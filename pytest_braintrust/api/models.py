"""What the server answers, as values with types.

Each keeps the answer that it was read from in `raw`, for what has no name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_braintrust.api import answers
from pytest_braintrust.api.answers import Answer


@dataclass(frozen=True, slots=True)
class Project:
    """A project."""

    id: str
    name: str
    org_id: str | None = None
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer) -> Project:
        """Read an answer of `/v1/project`."""
        return cls(
            id=answers.text(answer, "id"),
            name=answers.text(answer, "name"),
            org_id=answers.maybe_text(answer, "org_id"),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment."""

    id: str
    name: str
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    project_id: str | None = None
    created: str | None = None
    dataset_id: str | None = None
    dataset_version: str | None = None
    tags: tuple[str, ...] = ()
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer) -> Experiment:
        """Read an answer of `/v1/experiment`."""
        return cls(
            id=answers.text(answer, "id"),
            name=answers.text(answer, "name"),
            metadata=answers.mapping(answer, "metadata"),
            project_id=answers.maybe_text(answer, "project_id"),
            created=answers.maybe_text(answer, "created"),
            dataset_id=answers.maybe_text(answer, "dataset_id"),
            dataset_version=answers.maybe_text(answer, "dataset_version"),
            tags=answers.texts(answer, "tags"),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset."""

    id: str
    name: str
    project_id: str | None = None
    description: str | None = None
    created: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer) -> Dataset:
        """Read an answer of `/v1/dataset`."""
        return cls(
            id=answers.text(answer, "id"),
            name=answers.text(answer, "name"),
            project_id=answers.maybe_text(answer, "project_id"),
            description=answers.maybe_text(answer, "description"),
            created=answers.maybe_text(answer, "created"),
            metadata=answers.mapping(answer, "metadata"),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Role:
    """A role, such as owner; those of Braintrust itself have no organisation."""

    id: str
    name: str
    org_id: str | None = None
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer) -> Role:
        """Read an answer of `/v1/role`."""
        return cls(
            id=answers.text(answer, "id"),
            name=answers.text(answer, "name"),
            org_id=answers.maybe_text(answer, "org_id"),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class User:
    """A user."""

    id: str
    email: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer) -> User:
        """Read an answer of `/v1/user`."""
        return cls(
            id=answers.text(answer, "id"),
            email=answers.maybe_text(answer, "email"),
            given_name=answers.maybe_text(answer, "given_name"),
            family_name=answers.maybe_text(answer, "family_name"),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Organization:
    """An organisation; `api_url` is its own address of the API, where told."""

    id: str
    name: str
    api_url: str | None = None
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer) -> Organization:
        """Read an answer of `/v1/organization`, or an entry of one's own account."""
        return cls(
            id=answers.text(answer, "id"),
            name=answers.text(answer, "name"),
            api_url=answers.maybe_text(answer, "api_url"),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Me:
    """Whose key it is, or who is impersonated, and their organisations."""

    id: str
    email: str | None = None
    organizations: tuple[Organization, ...] = ()
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer) -> Me:
        """Read an answer of `/api/self/me`."""
        found = answers.objects(answer, "organizations")
        return cls(
            id=answers.text(answer, "id"),
            email=answers.maybe_text(answer, "email"),
            organizations=tuple(map(Organization.read, found)),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Acl:
    """A grant: what a user or group may do with an object."""

    id: str
    object_type: str
    object_id: str
    user_id: str | None = None
    group_id: str | None = None
    role_id: str | None = None
    permission: str | None = None
    raw: Answer = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, answer: Answer) -> Acl:
        """Read an answer of `/v1/acl`."""
        return cls(
            id=answers.text(answer, "id"),
            object_type=answers.text(answer, "object_type"),
            object_id=answers.text(answer, "object_id"),
            user_id=answers.maybe_text(answer, "user_id"),
            group_id=answers.maybe_text(answer, "group_id"),
            role_id=answers.maybe_text(answer, "role_id"),
            permission=answers.maybe_text(answer, "permission"),
            raw=answer,
        )
