"""Which dataset of Braintrust's is wanted, in a form that every process makes the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b

from pytest_braintrust.datasets.reference import Reference
from pytest_braintrust.jsonable import Json, dumps


@dataclass(frozen=True, slots=True)
class Wanted:
    """A dataset, its version and the rows of it; as in a `Reference`.

    Attributes:
        name: As it was given, with its project or without.
        project: The project that is meant where the name has none.
        version: The version; None: the newest.
        limit: How many rows at most.
        filter: A condition in BTQL, as text or as its syntax tree in JSON.
    """

    name: str
    project: str
    version: str | None = None
    limit: int | None = None
    filter: str | None = None

    @classmethod
    def of(cls, reference: Reference, project: str) -> Wanted:
        """What a marker wants, in the project that its tests belong to."""
        return cls(
            reference.name,
            project,
            reference.version,
            reference.limit,
            reference.filter,
        )

    @property
    def key(self) -> str:
        """A name for it that a file may have."""
        return key_of(asdict(self))

    def places(self) -> Iterator[tuple[str, str]]:
        """Each project and name that it may mean: names have slashes of their own."""
        parts = self.name.split("/")
        for end in range(1, len(parts)):
            project, name = "/".join(parts[:end]), "/".join(parts[end:])
            if project and name:
                yield project, name
        yield self.project, self.name


def key_of(value: Json) -> str:
    """A short name for a value, the same in every process."""
    return blake2b(dumps(value).encode("ascii"), digest_size=12).hexdigest()
