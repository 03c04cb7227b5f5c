"""Reads fields of an answer; one of a wrong type is a `BadAnswer` that names it.

Text is made encodable: a lone surrogate from outside ends whoever prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

from pytest_braintrust.errors import BadAnswer
from pytest_braintrust.jsonable import plain_text

#: A JSON object of an answer.
Answer: TypeAlias = Mapping[str, Any]


def text(answer: Answer, name: str) -> str:
    """A text that is there and not empty."""
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        _wrong(name, "a text")
    return plain_text(value)


def maybe_text(answer: Answer, name: str) -> str | None:
    """A text, or None where it is missing or null."""
    value = answer.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        _wrong(name, "a text")
    return plain_text(value)


def maybe_number(answer: Answer, name: str) -> float | None:
    """A number, or None where it is missing or null."""
    value = answer.get(name)
    if value is None:
        return None
    if not _is_number(value):
        _wrong(name, "a number")
    number: float = value
    return number


def number(answer: Answer, name: str) -> float:
    """A number that is there."""
    value = maybe_number(answer, name)
    if value is None:
        _wrong(name, "a number")
    return value


def mapping(answer: Answer, name: str) -> Answer:
    """An object; an empty one where it is missing or null."""
    value = answer.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        _wrong(name, "an object")
    return value


def numbers(answer: Answer, name: str) -> Mapping[str, float | None]:
    """An object of numbers and nulls; an empty one where it is missing or null."""
    value = mapping(answer, name)
    # Not by its own name: that came from outside, and may be anything.
    if not all(each is None or _is_number(each) for each in value.values()):
        _wrong(name, "an object of numbers")
    return value


def mappings(answer: Answer, name: str) -> Mapping[str, Answer]:
    """An object of objects; an empty one where it is missing or null."""
    value = mapping(answer, name)
    if not all(isinstance(each, dict) for each in value.values()):
        _wrong(name, "an object of objects")
    return value


def texts(answer: Answer, name: str) -> tuple[str, ...]:
    """A list of texts; an empty one where it is missing or null."""
    value = answer.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        _wrong(name, "a list of texts")
    return tuple(map(plain_text, value))


def objects(answer: Answer, name: str) -> list[Answer]:
    """A list of objects that is there."""
    value = answer.get(name)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        _wrong(name, "a list of objects")
    return value


def an_object(value: Any, what: str) -> Answer:
    """The value itself, which has to be an object."""
    if not isinstance(value, dict):
        msg = f"{what} answered something that is not an object"
        raise BadAnswer(msg)
    return value


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can be: JSON has larger ones."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def _wrong(name: str, kind: str) -> NoReturn:
    msg = f"the server's answer has no {name!r} that is {kind}"
    raise BadAnswer(msg)
