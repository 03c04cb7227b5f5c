"""What a test may say of a row, checked at the call and merged.

Braintrust answers one wrong score by refusing the whole request, so a wrong value is
stopped here, in the test that gives it, with its name and value.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pytest_braintrust.jsonable import (
    MAX_EXACT_INTEGER,
    Json,
    as_text,
    clean,
    is_mock,
    plain_text,
    text_of,
)


class Unset:
    """The type of `UNSET`, which tells "not said" from a logged `None`."""

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> Literal[False]:
        return False


UNSET: Final = Unset()

#: Beyond, no variance of metrics can be worked out.
LARGEST_METRIC: Final = 1e100

#: So far a score may lie outside of [0, 1] by the rounding of floats.
FLOAT_NOISE = 1e-9

#: The score that follows the test's outcome; no test may give it itself.
PASS = "pass"  # noqa: S105 - a score, not a password


#: Metrics of which Braintrust takes whole numbers only.
_WHOLE = frozenset({"tokens", "prompt_tokens", "completion_tokens"})
#: Metadata of which Braintrust takes text only.
_MODEL = "model"

_NUMBERS = frozenset({bool, int, float})

#: Characters of a wrong value that its message shows.
_SHOWN = 200


@dataclass(slots=True)
class Fields:
    """What has been said of one row so far, as plain JSON values."""

    input: Json | Unset = UNSET
    output: Json | Unset = UNSET
    expected: Json | Unset = UNSET
    error: str | Unset | None = UNSET
    scores: dict[str, float | None] = field(default_factory=dict)
    metadata: dict[str, Json] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    #: Where on Braintrust the case comes from; known before the test, never said.
    origin: dict[str, Json] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything was said at all."""
        return bool(
            self.output is not UNSET
            or self.scores
            or self.input is not UNSET
            or self.expected is not UNSET
            or self.error is not UNSET
            or self.metadata
            or self.tags
            or self.metrics
        )

    def over(self, given: Fields) -> Fields:
        """What is said here, and what was given where nothing is; only to be read."""
        both = Fields(
            given.input if self.input is UNSET else self.input,
            given.output if self.output is UNSET else self.output,
            given.expected if self.expected is UNSET else self.expected,
            given.error if self.error is UNSET else self.error,
            {**given.scores, **self.scores},
            self.metadata,
            self.tags,
            {**given.metrics, **self.metrics},
            self.origin or given.origin,
        )
        if given.metadata:
            both.metadata = dict(given.metadata)
            _merge_deep(both.metadata, self.metadata)
        if given.tags:
            both.tags = _both(given.tags, self.tags)
        return both

    def merge(self, said: Fields) -> None:
        """Take in a later word: mappings merge, tags add up, the rest is replaced."""
        # Spelled out, as this is done for every test.
        if said.input is not UNSET:
            self.input = said.input
        if said.output is not UNSET:
            self.output = said.output
        if said.expected is not UNSET:
            self.expected = said.expected
        if said.error is not UNSET:
            self.error = said.error
        if said.scores:
            self.scores.update(said.scores)
        if said.metrics:
            self.metrics.update(said.metrics)
        if said.metadata:
            _merge_deep(self.metadata, said.metadata)
        if said.tags:
            self.tags = _both(self.tags, said.tags)
        self.origin = said.origin or self.origin


#: What has been said of a row before the first word: never changed.
NOTHING: Final = Fields()


class Speaking(ABC):
    """A parameter that says itself what its row has: a row of a dataset."""

    @abstractmethod
    def fields(self) -> Fields:
        """What it says; nothing, where it cannot: the test will tell why."""


def checked(  # noqa: PLR0913 - the fields of a Braintrust event
    *,
    input: object = UNSET,  # noqa: A002 - Braintrust's name
    output: object = UNSET,
    expected: object = UNSET,
    scores: object = None,
    metadata: object = None,
    tags: object = None,
    metrics: object = None,
    error: object = UNSET,
) -> Fields:
    """Check and copy what one call says.

    Raises:
        ValueError: a score is not a number in [0, 1], a metric is not a finite
            number, or metadata and tags are not of their kind. Nothing of the call
            is kept then.
    """
    # Most calls say two or three of these.
    return Fields(
        UNSET if input is UNSET else clean(input),
        UNSET if output is UNSET else clean(output),
        UNSET if expected is UNSET else clean(expected),
        UNSET if error is UNSET else None if error is None else as_text(error),
        {} if scores is None else _scores(scores),
        {} if metadata is None else _metadata(metadata),
        [] if tags is None else _tags(tags),
        {} if metrics is None else _metrics(metrics),
    )


def _both(tags: Iterable[str], more: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*tags, *more]))


def _merge_deep(into: dict[str, Json], said: Mapping[str, Json]) -> None:
    for name, value in said.items():
        if not isinstance(value, dict):
            into[name] = value
            continue
        # Copied: what several rows have in common is not changed by one of them.
        present = into.get(name)
        merged = dict(present) if isinstance(present, dict) else {}
        _merge_deep(merged, value)
        into[name] = merged


def _scores(scores: object) -> dict[str, float | None]:
    named = _named("scores", scores, 'scores={"exact": 0.5}')
    for name, value in named.items():
        named[name] = _score(name, value)
    return named


def _score(name: str, value: Any) -> float | None:
    if name == PASS:
        msg = (
            f"score {PASS!r} follows the test's outcome and cannot be given; "
            "use another name"
        )
        raise ValueError(msg)
    if value is None:
        return None
    if type(value) in _NUMBERS and 0 <= value <= 1:
        return float(value)
    number = _number(value)
    if number is not None and -FLOAT_NOISE <= number <= 1 + FLOAT_NOISE:
        # A cosine similarity of 1.0000000000000002 is 1: Braintrust would refuse it.
        number = min(max(number, 0.0), 1.0)
    if number is None or not 0 <= number <= 1:
        msg = (
            f"score {name!r} is {_shown(value)}; it must be a number from 0 to 1, "
            "a bool, or None for not scored"
        )
        raise ValueError(msg)
    return number


def _metrics(metrics: object) -> dict[str, float]:
    named = _named("metrics", metrics, 'metrics={"tokens": 312}')
    return {
        name: _metric(name, value) for name, value in named.items() if value is not None
    }


def _metric(name: str, value: Any) -> float:
    number = _number(value)
    if number is None or math.isnan(number) or abs(number) > LARGEST_METRIC:
        msg = f"metric {name!r} is {_shown(value)}; it must be a finite number up to 1e100"
        raise ValueError(msg)
    if name in _WHOLE and not number.is_integer():
        msg = f"metric {name!r} is {_shown(value)}; it must be a whole number"
        raise ValueError(msg)
    whole = isinstance(value, int) or name in _WHOLE
    return int(number) if whole and abs(number) <= MAX_EXACT_INTEGER else number


def _number(value: Any) -> float | None:
    """`value` as a float, or None when it is not a number.

    Text never is; nor is an array, even of one number; nor a mock, which would count
    as the 1.0 that it answers to everything that asks it for a number.
    """
    known = type(value) in _NUMBERS
    if not known and (isinstance(value, (str, bytes, bytearray)) or is_mock(value)):
        return None
    try:
        single = known or (
            hasattr(value, "__float__") and not getattr(value, "shape", ())
        )
        return float(value) if single else None
    except Exception:  # noqa: BLE001 - a foreign __float__ may raise anything
        return None


def _shown(value: object) -> str:
    text = text_of(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _metadata(metadata: object) -> dict[str, Json]:
    plain = clean(metadata)
    if not isinstance(plain, dict):
        msg = f'metadata is {_shown(metadata)}; give a mapping, as in {{"model": "a"}}'
        raise ValueError(msg)  # noqa: TRY004
    model = plain.get(_MODEL)
    if model is not None and not isinstance(model, str):
        plain[_MODEL] = json.dumps(model, ensure_ascii=False)
    return plain


def _tags(tags: object) -> list[str]:
    if isinstance(tags, str):
        tags = [tags]
    if not isinstance(tags, Iterable) or isinstance(tags, (bytes, Mapping)):
        msg = f'tags is {_shown(tags)}; give text, as in tags=["slow", "geo"]'
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for wrong values
    plain: dict[str, None] = {}
    for tag in tags:
        if not isinstance(tag, str):
            msg = f"tag {_shown(tag)} is not text"
            raise ValueError(msg)  # noqa: TRY004
        plain[plain_text(tag)] = None
    # A set has another order in the next process.
    return sorted(plain) if isinstance(tags, AbstractSet) else list(plain)


def _named(what: str, value: object, example: str) -> dict[str, Any]:
    if type(value) is not dict and not isinstance(value, Mapping):
        msg = f"{what} is {_shown(value)}; give a mapping of names, as in {example}"
        raise ValueError(msg)
    named: dict[str, Any] = {}
    for name, each in value.items():
        if not isinstance(name, str) or not name.strip():
            msg = f"{what} has the name {_shown(name)}; a name is non-empty text"
            raise ValueError(msg)
        named[plain_text(name)] = each
    return named
