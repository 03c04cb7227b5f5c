"""Makes values with types of answers: the type of a field says how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, NamedTuple, TypeVar, get_type_hints

from pytest_braintrust.api import answers
from pytest_braintrust.api.answers import Answer

T = TypeVar("T", bound="Answered")

#: In a field's metadata: what answers call it, where that is another name.
KEY = "key"


@dataclass(frozen=True, slots=True)
class Answered:
    """A value that is read from an answer.

    Its fields are of the types in `_READERS`, or are given to `filled`.

    Attributes:
        raw: The answer that it was read from, for what has no name here.
    """

    raw: Answer = field(default_factory=dict, repr=False, compare=False, kw_only=True)

    @classmethod
    def read(cls: type[T], answer: Answer) -> T:
        """Read an answer.

        Raises:
            BadAnswer: a field that has to be there is not, or one is of a wrong type.
        """
        return filled(cls, answer)


def filled(kind: type[T], answer: Answer, **given: Any) -> T:
    """A value with the fields of an answer, but for those that are given.

    Raises:
        BadAnswer: as `Answered.read`.
    """
    # mypy asks a class for the hash of its instances.
    readings = _readings(kind, frozenset(given))  # type: ignore[arg-type]
    read = {each.name: each.reader(answer, each.key) for each in readings}
    return kind(raw=answer, **read, **given)


class _Reading(NamedTuple):
    """How one field is read."""

    name: str
    key: str
    reader: Callable[[Answer, str], Any]


def _anything(answer: Answer, name: str) -> Any:
    return answer.get(name)


_READERS: Mapping[Any, Callable[[Answer, str], Any]] = {
    str: answers.text,
    str | None: answers.maybe_text,
    float: answers.number,
    float | None: answers.maybe_number,
    tuple[str, ...]: answers.texts,
    Mapping[str, Any]: answers.mapping,
    Mapping[str, float | None]: answers.numbers,
    Any: _anything,
}


@cache
def _readings(kind: type[Answered], given: frozenset[str]) -> tuple[_Reading, ...]:
    """How the fields of a kind of `Answered` are read that are not given."""
    types = get_type_hints(kind)
    return tuple(
        _Reading(
            each.name, each.metadata.get(KEY, each.name), _READERS[types[each.name]]
        )
        for each in fields(kind)
        if each.name not in given and each.name != "raw"
    )
