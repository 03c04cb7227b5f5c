"""Turn any Python value into plain JSON values.

A value is copied when it is logged, so that what the test does to it later changes
nothing. No value may fail the test that logs it: what JSON has no word for becomes
readable text, and whatever a foreign object raises on the way is told in that text.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
import re
from collections import Counter, UserString
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    KeysView,
    Mapping,
    Sequence,
    ValuesView,
)
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from enum import Enum
from itertools import islice
from typing import Any, TypeAlias, TypeVar

_T = TypeVar("_T")
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

#: Braintrust reads JSON as JavaScript does: beyond this an integer loses digits.
MAX_EXACT_INTEGER = 2**53 - 1
#: Deeper than any real document, and well inside Python's recursion limit.
MAX_DEPTH = 100
#: Arrays with more elements are described, not copied.
MAX_ARRAY_ELEMENTS = 100_000
#: Members of all containers in one value, a container counting as three. More than a
#: field has room for, as a rule; without an end, a graph whose nodes know each other,
#: or a container that makes its members when asked, would hold the test for ever.
MAX_MEMBERS = 250_000
#: What the mappings that are open at that point may still have, so that the small
#: members beside a huge one stay.
_MEMBERS_AFTER = 1_000

#: How often to look again at what changes while it is looked at.
_TRIES = 20

TOO_MANY = "… [cut: too many values]"
TOO_DEEP = "<nested too deep>"
CIRCULAR = "<circular reference>"

#: How reprs tell where an object lies in memory; the second is `unittest.mock`'s.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+| id='\d+'")
#: A number with fewer digits may be any number.
_ADDRESS_DIGITS = 9
#: `str` of a Decimal or UUID says the same as its `repr`, without the noise.
_READABLE_BY_STR = frozenset({"decimal", "uuid", "datetime", "fractions", "ipaddress"})
#: The types of what most values are, and most members of others.
PLAIN = frozenset({str, int, float, bool, type(None)})
_MOCKS = frozenset({"unittest.mock", "mock", "mock.mock"})


def _encoder(*, sort_keys: bool) -> Callable[[Json], str]:
    """What makes compact ASCII text of plain JSON values.

    Python's own encoder is made anew for each text, which is most of the time for small
    values, of which every row has several; so its parts are put together here, once.
    """
    encoder = json.JSONEncoder(
        allow_nan=False,
        check_circular=False,
        separators=(",", ":"),
        sort_keys=sort_keys,
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    # In the order of the call in `json.encoder`: circles, …, indent, …, skip keys, NaN.
    options = (None, ":", ",", sort_keys, False, False)
    escape = json.encoder.encode_basestring_ascii
    parts = make(None, encoder.default, escape, *options)
    return lambda value: "".join(parts(value, 0))


#: Encodes plain JSON values as compact ASCII text.
dumps = _encoder(sort_keys=False)

#: Does the same, with the keys of mappings in order.
dumps_sorted = _encoder(sort_keys=True)


#: Does the same for text.
quoted: Callable[[str], str] = json.encoder.encode_basestring_ascii

#: Decodes the value that a text starts with; answers it, and where its text ends. What
#: `json.loads` does besides takes longer than to decode a short one.
decoded_start: Callable[[str], tuple[Any, int]] = json.JSONDecoder().raw_decode


def clean(value: object) -> Json:
    """Copy `value` into plain JSON values; never raises an `Exception` for it.

    Exact: None, bool, finite float, int up to 2**53 - 1, text, lists, mappings, and
    what is made of fields (dataclasses, attrs, named tuples, pydantic models). As
    text: everything else, without memory addresses, so that the same value reads the
    same in the next run. What is no `Exception` goes through: Ctrl-C, and the
    failure by which pytest-timeout ends a test.
    """
    if type(value) in PLAIN:
        return _plain(value)
    try:
        return _Copier().copy(value, ())
    except Exception:  # noqa: BLE001 - the test used up the stack or the memory
        return text_of(value)


def as_text(value: object) -> str:
    """The same as text: where it is not text already, as JSON."""
    plain = clean(value)
    return plain if isinstance(plain, str) else dumps(plain)


def text_of(value: object) -> str:
    """The `repr` of `value` without memory addresses, whatever it raises."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a foreign repr may raise anything
        # `object`'s own asks nothing of the value, its class or its metaclass.
        kind = object.__repr__(value)[1:].split(" object at ")[0].rpartition(".")[2]
        return f"<{plain_text(kind)} (its repr raised {type(error).__name__})>"
    text = _ADDRESS.sub("", text)
    # Others write their address as they like: it is known which one that is.
    for address in (f"{id(value):#x}", str(id(value))):
        text = text.replace(address, "…") if len(address) >= _ADDRESS_DIGITS else text
    return plain_text(text)


def plain_text(text: str) -> str:
    """Spell lone surrogates as escapes: they have no place in UTF-8 or JSON."""
    exact = str.__str__(text)
    if exact.isascii():
        return exact
    return exact.encode("utf-8", "backslashreplace").decode("utf-8")


def is_mock(value: object) -> bool:
    """Whether `value` is a mock: it has every attribute, and none of them says a thing.

    By its type's module, as a mock may say that it is of any class.
    """
    return any(base.__module__ in _MOCKS for base in type(value).__mro__)


class _Copier:
    """Copies one value, and knows how much it may still take in."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_MEMBERS

    def copy(  # noqa: PLR0911 - a case a kind
        self, value: object, parents: tuple[int, ...]
    ) -> Json:
        kind = type(value)
        if kind in PLAIN:
            return _plain(value)
        if id(value) in parents:
            return CIRCULAR
        if len(parents) >= MAX_DEPTH:
            return TOO_DEEP
        if self.left <= 0:
            return TOO_MANY
        self.left -= 2
        inside = (*parents, id(value))
        # A copy first, which no other thread can come between.
        if kind is dict:
            return self._mapping(value.copy().items(), inside)  # type: ignore[attr-defined]
        if kind is list or kind is tuple:
            return self._list(value, inside)  # type: ignore[arg-type]
        try:
            return self._special(value, inside)
        except Exception:  # noqa: BLE001 - foreign code: any error means "as text"
            return text_of(value)

    def _special(self, value: object, inside: tuple[int, ...]) -> Json:
        if is_mock(value):
            return text_of(value)
        if isinstance(value, Enum):
            return self.copy(value.value, inside)
        if isinstance(value, os.PathLike):
            return self.copy(os.fspath(value), inside)
        scalar = _scalar(value)
        if scalar is not None:
            return scalar
        names = _field_names(type(value))
        if names is not None:
            fields = [(name, _attribute(value, name)) for name in names]
            return self._mapping(fields, inside)
        return self._container(value, inside)

    def _container(  # noqa: PLR0911 - a case a kind
        self, value: object, inside: tuple[int, ...]
    ) -> Json:
        kind = type(value)
        if callable(getattr(kind, "model_dump", None)):
            return self.copy(_dumped(value), inside)
        match value:
            case Mapping():
                return self._mapping(value.items(), inside)
            case KeysView() | ItemsView() | ValuesView() | Sequence():
                return self._list(value, inside)
            case AbstractSet():
                return sorted(self._list(value, inside), key=dumps)
        for name in ("tolist", "to_dict"):
            if callable(getattr(kind, name, None)):
                return self._converted(value, name, inside)
        if any(base.__module__ in _READABLE_BY_STR for base in kind.__mro__):
            return plain_text(_ADDRESS.sub("", str(value)))
        return text_of(value)

    def _list(self, values: Iterable[object], inside: tuple[int, ...]) -> list[Json]:
        result: list[Json] = []
        for each in _taken(values, max(self.left, 0) + 1):
            if self.left <= 0:
                result.append(TOO_MANY)
                break
            self.left -= 1
            result.append(self.copy(each, inside))
        return result

    def _mapping(
        self, items: Iterable[tuple[object, object]], inside: tuple[int, ...]
    ) -> dict[str, Json]:
        result: dict[str, Json] = {}
        repeated: Counter[str] | None = None
        for key, each in _taken(items, max(self.left, 0) + _MEMBERS_AFTER):
            if self.left <= -_MEMBERS_AFTER:
                result["…"] = TOO_MANY
                break
            self.left -= 1
            name = self._key(key, inside)
            if name in result:
                repeated = Counter() if repeated is None else repeated
                name = _another(name, type(key).__name__, result, repeated)
            result[name] = self.copy(each, inside)
        return result

    def _key(self, key: object, inside: tuple[int, ...]) -> str:
        plain = self.copy(key, inside)
        return plain if isinstance(plain, str) else dumps(plain)

    def _converted(self, value: Any, method: str, inside: tuple[int, ...]) -> Json:
        """An array or table by its own word for it, unless that is too long."""
        dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", ())
        size = math.prod(shape) if isinstance(shape, tuple) else 0
        if size > MAX_ARRAY_ELEMENTS:
            kind = type(value).__name__
            of = "" if dtype is None else f", dtype={dtype}"
            return f"<{kind} of {size} elements, shape={tuple(shape)}{of}>"
        if getattr(dtype, "kind", "") in {"m", "M"}:
            # numpy counts nanoseconds; as text it tells the moment.
            value = value.astype(str)
        plain = getattr(value, method)()
        # A number that has no equal in Python, as numpy's longdouble, answers itself.
        return (
            text_of(value) if type(plain) is type(value) else self.copy(plain, inside)
        )


def _plain(value: Any) -> Json:
    """A value of one of the `PLAIN` types, which have no members."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() else plain_text(value)
    if kind is int:
        return _integer(value)
    if kind is float:
        return _float(value)
    return value  # type: ignore[no-any-return]


def _taken(values: Iterable[_T], count: int) -> list[_T]:
    """The first values, taken at once: another thread may be changing them."""
    for _ in range(_TRIES):
        try:
            return list(islice(values, count))
        except RuntimeError:  # it changed between the first look and the next
            if iter(values) is values:
                raise
    return list(values)


def _another(
    name: str, kind: str, taken: Mapping[str, Json], repeated: Counter[str]
) -> str:
    """A free name: 1 and "1" are two keys in Python, and one in JSON."""
    start = f"{name} ({kind}"
    while True:
        repeated[start] += 1
        free = f"{start})" if repeated[start] == 1 else f"{start} {repeated[start]})"
        if free not in taken:
            return free


def _scalar(value: object) -> Json:  # noqa: PLR0911 - a case a kind
    """What has no members; None where `value` is of no such kind.

    The methods of a subclass are passed by: they may say what they like.
    """
    match value:
        case str():
            return plain_text(value)
        case UserString():
            return plain_text(value.data)
        case bool():
            return bool(value)
        case int():
            return _integer(int.__int__(value))
        case float():
            return _float(float.__float__(value))
        case bytes() | bytearray() | memoryview():
            return _bytes(bytes(value))
        case datetime() | date() | time():
            return plain_text(value.isoformat())
        case BaseException():
            return _exception(value)
        case range():
            return text_of(value)
    return None


def _field_names(kind: type) -> Iterable[str] | None:
    """The names of the fields that an object of this type is made of, or None."""
    if dataclasses.is_dataclass(kind):
        return [each.name for each in dataclasses.fields(kind)]
    if hasattr(kind, "__attrs_attrs__"):
        return [each.name for each in kind.__attrs_attrs__]
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return kind._fields  # type: ignore[no-any-return]
    return None


def _attribute(value: object, name: str) -> object:
    try:
        return getattr(value, name, None)
    except Exception as error:  # noqa: BLE001 - a property may raise anything
        return f"<it raised {type(error).__name__}>"


def _dumped(value: Any) -> object:
    """What a model says that it consists of: pydantic's, or one like it."""
    if hasattr(type(value), "__pydantic_serializer__"):
        # Without the warnings of fields that are not of their type.
        return value.model_dump(warnings=False)
    return value.model_dump()


def _integer(value: int) -> int | str:
    if -MAX_EXACT_INTEGER <= value <= MAX_EXACT_INTEGER:
        return value
    try:
        return str(value)
    except ValueError:  # beyond sys.get_int_max_str_digits(): hex has no such limit
        return hex(value)


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _bytes(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        encoded = base64.b64encode(value).decode("ascii")
        return f"data:application/octet-stream;base64,{encoded}"


def _exception(error: BaseException, indent: str = "") -> str:
    """Kind, text and notes of an exception, and of those that it groups."""
    kind, text = type(error).__name__, str(error)
    lines = [f"{kind}: {text}" if text else kind]
    notes = getattr(error, "__notes__", None)
    lines += [str(each) for each in notes] if isinstance(notes, list) else []
    told = "\n".join(indent + _ADDRESS.sub("", line) for line in lines)
    grouped = getattr(error, "exceptions", None)
    if isinstance(grouped, tuple) and len(indent) < MAX_DEPTH:
        inner = [each for each in grouped if isinstance(each, BaseException)]
        told = "\n".join([told, *(_exception(each, indent + "  ") for each in inner)])
    return plain_text(told)
