"""Turn any Python value into plain JSON values, and keep them within a size.

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
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from enum import Enum
from typing import Any, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

#: Braintrust reads JSON as JavaScript does: beyond this an integer loses digits.
MAX_EXACT_INTEGER = 2**53 - 1
#: Deeper than any real document, and well inside Python's recursion limit.
MAX_DEPTH = 100
#: Arrays with more elements are described, not copied.
MAX_ARRAY_ELEMENTS = 100_000

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
#: `str` of a Decimal or UUID says the same as its `repr`, without the noise.
_READABLE_BY_STR = {"decimal", "uuid", "datetime", "fractions", "ipaddress"}
_ENCODER = json.JSONEncoder(
    ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":")
)


def dumps(value: Json) -> str:
    """Encode plain JSON values as compact ASCII text."""
    return _ENCODER.encode(value)


def clean(value: object) -> Json:
    """Copy `value` into plain JSON values; never raises an `Exception` for it.

    Exact: None, bool, finite float, int up to 2**53 - 1, text, lists, mappings, and
    what is made of fields (dataclasses, attrs, named tuples, pydantic models). As
    text: everything else, without memory addresses, so that the same value reads the
    same in the next run.
    """
    return _clean(value, ())


def text_of(value: object) -> str:
    """The `repr` of `value` without memory addresses, whatever it raises."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a foreign repr may raise anything
        kind = type(value).__name__
        return f"<{kind} (its repr raised {type(error).__name__})>"
    return plain_text(_ADDRESS.sub("", text))


def plain_text(text: str) -> str:
    """Spell lone surrogates as escapes: they have no place in UTF-8 or JSON."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _clean(value: object, parents: tuple[int, ...]) -> Json:  # noqa: PLR0911 - a case a kind
    kind = type(value)
    if kind is str:
        return plain_text(value)  # type: ignore[arg-type]
    if value is None or kind is bool:
        return value  # type: ignore[return-value]
    if kind is int:
        return _integer(value)  # type: ignore[arg-type]
    if kind is float:
        return _float(value)  # type: ignore[arg-type]
    if id(value) in parents:
        return "<circular reference>"
    if len(parents) >= MAX_DEPTH:
        return "<nested too deep>"
    inside = (*parents, id(value))
    if kind is dict:
        return _mapping(value, inside)  # type: ignore[arg-type]
    if kind is list or kind is tuple:
        return [_clean(each, inside) for each in value]  # type: ignore[attr-defined]
    try:
        return _special(value, inside)
    except Exception:  # noqa: BLE001 - foreign code: any error means "as text"
        return text_of(value)


def _special(  # noqa: PLR0911, PLR0912 - a case a kind
    value: object, inside: tuple[int, ...]
) -> Json:
    match value:
        case Enum():
            return _clean(value.value, inside)
        case str():
            return plain_text(str.__str__(value))
        case bool():
            return bool(value)
        case int():
            return _integer(int(value))
        case float():
            return _float(float(value))
        case bytes() | bytearray() | memoryview():
            return _bytes(bytes(value))
        case datetime() | date() | time():
            return value.isoformat()
        case os.PathLike():
            return _clean(os.fspath(value), inside)
        case BaseException():
            return plain_text(_ADDRESS.sub("", f"{type(value).__name__}: {value}"))
    fields = _fields(value)
    if fields is not None:
        return _mapping(fields, inside)
    match value:
        case Mapping():
            return _mapping(value, inside)
        case AbstractSet():
            return sorted((_clean(each, inside) for each in value), key=dumps)
        case Sequence():
            return [_clean(each, inside) for each in value]
    if callable(getattr(type(value), "tolist", None)):
        return _array(value, inside)
    if type(value).__module__ in _READABLE_BY_STR:
        return plain_text(str(value))
    return text_of(value)


def _fields(value: object) -> Mapping[object, object] | None:
    """The named fields of an object that is made of such, or None."""
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        names: Iterable[str] = (each.name for each in dataclasses.fields(kind))
    elif hasattr(kind, "__attrs_attrs__"):
        names = (each.name for each in kind.__attrs_attrs__)
    elif isinstance(value, tuple) and hasattr(kind, "_fields"):
        names = kind._fields
    elif callable(getattr(kind, "model_dump", None)):
        return value.model_dump()  # type: ignore[attr-defined, no-any-return]
    else:
        return None
    return {name: getattr(value, name, None) for name in names}


def _mapping(value: Mapping[Any, object], inside: tuple[int, ...]) -> dict[str, Json]:
    result: dict[str, Json] = {}
    for key, each in value.items():
        name = _key(key, inside)
        # 1 and "1" are two keys in Python and one in JSON: keep both values.
        while name in result:
            name = f"{name} ({type(key).__name__})"
        result[name] = _clean(each, inside)
    return result


def _key(key: object, inside: tuple[int, ...]) -> str:
    plain = _clean(key, inside)
    return plain if isinstance(plain, str) else dumps(plain)


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


def _array(value: Any, inside: tuple[int, ...]) -> Json:
    size = getattr(value, "size", 0)
    if isinstance(size, int) and size > MAX_ARRAY_ELEMENTS:
        shape, dtype = getattr(value, "shape", "?"), getattr(value, "dtype", "?")
        return f"<{type(value).__name__} of {size} elements, {shape=}, {dtype=!s}>"
    return _clean(value.tolist(), inside)


def fit(value: Json, limit: int) -> Json:
    """Cut `value` so that its encoding is about `limit` bytes, and say so inside.

    The shape is kept and the large parts are cut: of a mapping or list each small
    member stays whole and the large ones share what is left.
    """
    size = len(dumps(value))
    if size <= limit:
        return value
    if isinstance(value, dict):
        return _fit_members(value, limit)
    if isinstance(value, list):
        kept = _fit_members({str(i): each for i, each in enumerate(value)}, limit)
        return list(kept.values())
    return _fit_text(str(value), size, limit)


def _fit_text(text: str, size: int, limit: int) -> str:
    note = f"… [cut: {size:,} bytes, the limit is {limit:,}]"
    room = max(0, limit - len(dumps(note)))
    # One character may take six bytes (`\uXXXX`) or twelve: shrink to what fits.
    kept = text[:room]
    while (over := len(dumps(kept)) - room) > 0 and kept:
        kept = kept[: max(0, len(kept) - max(1, over // 12))]
    return kept + note


def _fit_members(members: dict[str, Json], limit: int) -> dict[str, Json]:
    sizes = {
        name: len(dumps(name)) + len(dumps(each)) + 2 for name, each in members.items()
    }
    share = _fair_share(sorted(sizes.values()), limit)
    if share < 64:  # noqa: PLR2004 - too many members for each to be readable
        return _first_members(members, sizes, limit)
    return {
        name: each if sizes[name] <= share else fit(each, share - len(dumps(name)) - 2)
        for name, each in members.items()
    }


def _fair_share(sizes: Sequence[int], limit: int) -> int:
    """The largest share such that all sizes, none counted above it, fit `limit`."""
    left = limit
    for position, size in enumerate(sizes):
        share = left // (len(sizes) - position)
        if size > share:
            return share
        left -= size
    return limit


def _first_members(
    members: dict[str, Json], sizes: dict[str, int], limit: int
) -> dict[str, Json]:
    kept: dict[str, Json] = {}
    room = limit - 100
    for name, each in members.items():
        room -= sizes[name]
        if room < 0:
            break
        kept[name] = each
    kept["…"] = f"[cut: {len(members) - len(kept):,} of {len(members):,} left out]"
    return kept
