"""One of every kind of value that a test may log, by name.

Factories, because some are used up or changed by a look. Imported by the tests and,
as a file of the suite, by the runs that they start.
"""

from __future__ import annotations

import array
import asyncio
import builtins
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import itertools
import pathlib
import re
import sys
import threading
import types
import typing
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import attrs
import httpx
import numpy as np
import pydantic

UTC = dt.timezone.utc


@dataclasses.dataclass
class Point:
    x: object
    y: object = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    point: Point
    names: frozenset[str]


@dataclasses.dataclass
class Half:
    """One field was never set, and another one raises."""

    gone: list[int] = dataclasses.field(default_factory=list)
    whole: int = 1
    raising: int = 2


Half.raising = property(lambda self: 1 / 0)  # type: ignore[assignment]


class Model(pydantic.BaseModel):
    name: str
    at: dt.datetime
    tags: set[str] = set()
    inner: Model | None = None
    secret: pydantic.SecretStr = pydantic.SecretStr("hunter2")
    left_out: str = pydantic.Field(default="x", exclude=True)


class Root(pydantic.RootModel[list[int]]):
    pass


class Raising(pydantic.BaseModel):
    value: int = 1

    @pydantic.field_serializer("value")
    def _serialize(self, value: int) -> str:
        msg = "no"
        raise RuntimeError(msg)


@attrs.define
class Attrs:
    a: int
    b: list[str]


class Named(typing.NamedTuple):
    left: int
    right: str


class Typed(typing.TypedDict):
    key: str


class Color(enum.Enum):
    RED = "red"
    BLUE = (0, 0, 255)


class Level(enum.IntEnum):
    LOW = 1


class Word(str, enum.Enum):
    YES = "yes"


class Bits(enum.Flag):
    A = 1
    B = 2


class LoudStr(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__

    def isascii(self) -> bool:
        raise RuntimeError

    def encode(self, *_: Any) -> bytes:
        raise RuntimeError


class LoudInt(int):
    def __int__(self) -> int:
        return 666

    __index__ = __int__


class LoudDict(dict[Any, Any]):
    def items(self) -> Any:
        raise RuntimeError


class LoudList(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


class Hostile:
    """Raises at whatever it is asked."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __iter__ = __len__ = __eq__ = __hash__ = __bool__ = __repr__  # type: ignore[assignment]
    __fspath__ = __float__ = keys = items = __repr__

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError

    @property
    def __class__(self) -> Any:
        raise RuntimeError

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


class HostileMeta(type):
    def __getattr__(cls, name: str) -> Any:
        raise RuntimeError

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError


class OfHostileMeta(metaclass=HostileMeta):
    def __repr__(self) -> str:
        raise RuntimeError


class Liar:
    """Says that it is a dict."""

    @property
    def __class__(self) -> Any:
        return dict

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


class Endless(Sequence[int]):
    """A sequence that makes its members as it is asked, and has no last one."""

    def __getitem__(self, index: Any) -> Any:
        return index

    def __len__(self) -> int:
        return sys.maxsize


class Nest(Mapping[str, Any]):
    """A mapping that holds two new ones like itself, and so on."""

    def __getitem__(self, key: str) -> Any:
        return Nest()

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __len__(self) -> int:
        return 2


class Table:
    """As data frames are: a shape, and a way to a dictionary."""

    shape = (2, 1)

    def to_dict(self) -> dict[str, Any]:
        return {"column": {0: 1.5, 1: float("nan")}}


class Gone:
    shape = "none"

    def tolist(self) -> Any:
        raise RuntimeError


def deep(depth: int, kind: Callable[[Any], Any] = lambda inner: [inner]) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = kind(value)
    return value


def cycle() -> Any:
    value: dict[str, Any] = {"list": []}
    value["list"].append(value)
    return value


def graph(nodes: int = 60) -> Any:
    """Each node knows all others: more paths than there is time for."""
    all_of_them: list[Point] = [Point(number) for number in range(nodes)]
    for node in all_of_them:
        node.y = list(all_of_them)
    return all_of_them[0]


def shared(levels: int = 40) -> Any:
    """Small, with 2**levels leaves."""
    value: Any = "leaf"
    for _ in range(levels):
        value = [value, value]
    return value


def generator() -> Iterator[int]:
    yield 1


def array_of_itself() -> Any:
    value = np.empty(1, dtype=object)
    value[0] = value
    return value


def coroutine() -> Any:
    async def nothing() -> None: ...

    made = nothing()
    made.close()
    return made


def group() -> Any:
    kind = getattr(builtins, "ExceptionGroup", None)  # from Python 3.11 on
    inner: Any = ValueError("inner")
    if kind is None:
        return inner
    inner.add_note("a note")
    return kind("outer", [inner, kind("more", [KeyError("k")])])


def raised() -> object:
    try:
        return 1 / 0
    except ArithmeticError as error:
        return error


def used_mock() -> Any:
    made = mock.MagicMock(name="judge")
    made.score(1)
    return made


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


#: Kept as JSON has it: what is logged, and what it is then.
EXACT: dict[str, tuple[Callable[[], object], object]] = {
    "none": (lambda: None, None),
    "true": (lambda: True, True),
    "int": (lambda: -7, -7),
    "largest exact int": (lambda: 2**53 - 1, 2**53 - 1),
    "huge int": (lambda: 2**53, str(2**53)),
    "int past the limit of digits": (lambda: 10**5000, hex(10**5000)),
    "float": (lambda: 0.1, 0.1),
    "negative zero": (lambda: -0.0, -0.0),
    "smallest float": (lambda: 5e-324, 5e-324),
    "nan": (lambda: float("nan"), "NaN"),
    "inf": (lambda: float("inf"), "Infinity"),
    "-inf": (lambda: float("-inf"), "-Infinity"),
    "text": (lambda: "naïve 日本語 😀", "naïve 日本語 😀"),
    "nul": (lambda: "a\x00b", "a\x00b"),
    "lone surrogate": (lambda: "a\ud800b", "a\\ud800b"),
    "surrogate in key": (lambda: {"\udfff": 1}, {"\\udfff": 1}),
    "separators": (lambda: "\u2028\u2029\x7f\x1b[31m", "\u2028\u2029\x7f\x1b[31m"),
    "tuple": (lambda: (1, (2,)), [1, [2]]),
    "dict": (lambda: {"b": 1, "a": 2}, {"b": 1, "a": 2}),
    "keys of all kinds": (
        lambda: {1: "a", "1": "b", None: 3, False: 4, 1.5: 5, (1, "x"): 6, b"k": 7},
        {
            "1": "a",
            "1 (str)": "b",
            "null": 3,
            "false": 4,
            "1.5": 5,
            '[1,"x"]': 6,
            "k": 7,
        },
    ),
    "keys that collide": (
        lambda: {"1": "a", 1: "b", b"1": "d", "1 (int)": "e"},
        {"1": "a", "1 (int)": "b", "1 (bytes)": "d", "1 (int) (str)": "e"},
    ),
    "dataclass": (
        lambda: Slotted(Point(1, {"k": {2}}), frozenset("ba")),
        {"point": {"x": 1, "y": {"k": [2]}}, "names": ["a", "b"]},
    ),
    "pydantic": (
        lambda: Model(
            name="n",
            at=dt.datetime(2024, 1, 2, tzinfo=UTC),
            tags={"z", "y", "x"},
            inner=Model(name="i", at=dt.datetime(2024, 1, 2, 3)),  # noqa: DTZ001
        ),
        {
            "name": "n",
            "at": "2024-01-02T00:00:00+00:00",
            "tags": ["x", "y", "z"],
            "inner": {
                "name": "i",
                "at": "2024-01-02T03:00:00",
                "tags": [],
                "inner": None,
                "secret": "SecretStr('**********')",
            },
            "secret": "SecretStr('**********')",
        },
    ),
    "pydantic root": (lambda: Root([1, 2]), [1, 2]),
    "pydantic of a wrong type": (
        lambda: Model.model_construct(name=3, tags=None),
        {"name": 3, "tags": None, "inner": None, "secret": "SecretStr('**********')"},
    ),
    "pydantic whose serializer raises": (Raising, "Raising(value=1)"),
    "pydantic class": (lambda: Model, "<class 'odd_values.Model'>"),
    "attrs": (lambda: Attrs(1, ["b"]), {"a": 1, "b": ["b"]}),
    "named tuple": (lambda: Named(1, "r"), {"left": 1, "right": "r"}),
    "typed dict": (lambda: Typed(key="v"), {"key": "v"}),
    "datetime": (
        lambda: dt.datetime(2024, 2, 3, 4, 5, 6, 7, UTC),
        "2024-02-03T04:05:06.000007+00:00",
    ),
    "date": (lambda: dt.date(2024, 2, 3), "2024-02-03"),
    "time": (lambda: dt.time(1, 2), "01:02:00"),
    "timedelta": (lambda: dt.timedelta(days=1, seconds=2), "1 day, 0:00:02"),
    "timezone": (lambda: UTC, "UTC"),
    "path": (lambda: pathlib.PurePosixPath("/a/b"), "/a/b"),
    "enum": (lambda: Color.RED, "red"),
    "enum of a tuple": (lambda: Color.BLUE, [0, 0, 255]),
    "int enum": (lambda: Level.LOW, 1),
    "str enum": (lambda: Word.YES, "yes"),
    "flag": (lambda: Bits.A | Bits.B, 3),
    "enum as key": (lambda: {Word.YES: 1, Color.RED: 2}, {"yes": 1, "red": 2}),
    "set": (lambda: {"b", "a", "c"}, ["a", "b", "c"]),
    "set of all kinds": (
        lambda: frozenset({1, "1", None, 1.5, (2, 1), frozenset({"y", "x"})}),
        ["1", 1, 1.5, ["x", "y"], [2, 1], None],
    ),
    "bytes of text": ("é".encode, "é"),
    "bytes": (
        lambda: b"\xff\x00",
        "data:application/octet-stream;base64,/wA=",
    ),
    "bytearray": (lambda: bytearray(b"abc"), "abc"),
    "memoryview": (lambda: memoryview(b"abcd")[::2], "ac"),
    "array.array": (lambda: array.array("i", [1, 2]), [1, 2]),
    "numpy int": (lambda: np.int64(3), 3),
    "numpy float": (lambda: np.float32(0.5), 0.5),
    "numpy bool": (lambda: np.bool_(True), True),
    "numpy nan": (lambda: np.float64("nan"), "NaN"),
    "numpy text": (lambda: np.str_("a\ud800"), "a\\ud800"),
    "numpy datetime": (
        lambda: np.datetime64("2024-01-01T00:00:00.000000001"),
        "2024-01-01T00:00:00.000000001",
    ),
    "numpy complex": (lambda: np.complex128(1 + 2j), "(1+2j)"),
    "numpy array": (
        lambda: np.array([[1.0, np.nan], [np.inf, -1.5]]),
        [[1.0, "NaN"], ["Infinity", -1.5]],
    ),
    "numpy datetimes": (
        lambda: np.array(["2024-01-01", "NaT"], dtype="datetime64[D]"),
        ["2024-01-01", "NaT"],
    ),
    "numpy objects": (
        lambda: np.array([None, {"k": {1}}, Point(1)], dtype=object),
        [None, {"k": [1]}, {"x": 1, "y": None}],
    ),
    "numpy record": (
        lambda: np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        [[1, 2.5]],
    ),
    "numpy 0-d": (lambda: np.array(5), 5),
    "numpy that holds itself": (array_of_itself, ["<circular reference>"]),
    "huge array": (
        lambda: np.zeros((1000, 1000), dtype="int8"),
        "<ndarray of 1000000 elements, shape=(1000, 1000), dtype=int8>",
    ),
    "table": (Table, {"column": {"0": 1.5, "1": "NaN"}}),
    "decimal": (lambda: decimal.Decimal("1.10"), "1.10"),
    "fraction": (lambda: fractions.Fraction(1, 3), "1/3"),
    "uuid": (lambda: uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "address": (lambda: ipaddress.ip_address("::1"), "::1"),
    "complex": (lambda: 1 + 2j, "(1+2j)"),
    "range": (lambda: range(10**12), "range(0, 1000000000000)"),
    "default dict": (lambda: collections.defaultdict(list, a=[1]), {"a": [1]}),
    "ordered dict": (lambda: collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "counter": (lambda: collections.Counter("aab"), {"a": 2, "b": 1}),
    "proxy": (lambda: types.MappingProxyType({"a": 1}), {"a": 1}),
    "user dict": (lambda: collections.UserDict(a=1), {"a": 1}),
    "user list": (lambda: collections.UserList([1]), [1]),
    "user string": (lambda: collections.UserString("ab"), "ab"),
    "chain map": (lambda: collections.ChainMap({"a": 1}, {"b": 2}), {"b": 2, "a": 1}),
    "deque": (lambda: collections.deque([1, 2]), [1, 2]),
    "views": (
        lambda: [{"b": 1, "a": 2}.keys(), {"b": 1}.values(), {"b": 1}.items()],
        [["b", "a"], [1], [["b", 1]]],
    ),
    "headers": (lambda: httpx.Headers({"A": "b"}), {"a": "b"}),
    "response": (lambda: httpx.Response(200, text="body"), "<Response [200 OK]>"),
    "str subclass": (lambda: LoudStr("exact"), "exact"),
    "int subclass": (lambda: LoudInt(5), 5),
    "cycle": (cycle, {"list": ["<circular reference>"]}),
    "keys that read alike": (
        lambda: {object(): number for number in range(4)},
        {
            "<object object>": 0,
            "<object object> (object)": 1,
            "<object object> (object 2)": 2,
            "<object object> (object 3)": 3,
        },
    ),
    "exception": (raised, "ZeroDivisionError: division by zero"),
    "exception without text": (AssertionError, "AssertionError"),
    "base exception": (lambda: SystemExit(3), "SystemExit: 3"),
    "exception with an address": (
        lambda: ValueError(object()),
        "ValueError: <object object>",
    ),
    "sentinel": (lambda: mock.sentinel.it, "sentinel.it"),
    "any": (lambda: mock.ANY, "<ANY>"),
    "calls": (
        lambda: used_mock().mock_calls,
        "[call.score(1)]",
    ),
    "mock": (used_mock, "<MagicMock name='judge'>"),
    "mock of a dict": (lambda: mock.Mock(spec=dict), "<Mock spec='dict'>"),
    "mock in a list": (lambda: [mock.AsyncMock()], ["<AsyncMock>"]),
    "class": (lambda: Point, "<class 'odd_values.Point'>"),
    "function": (lambda: generator, "<function generator>"),
    "lambda": (lambda: lambda: 0, "<function <lambda>.<locals>.<lambda>>"),
    "method": (
        lambda: Table().to_dict,
        "<bound method Table.to_dict of <odd_values.Table object>>",
    ),
    "partial": (
        lambda: functools.partial(generator),
        "functools.partial(<function generator>)",
    ),
    "builtin": (lambda: len, "<built-in function len>"),
    "module": (lambda: sys, "<module 'sys' (built-in)>"),
    "pattern": (lambda: re.compile("a"), "re.compile('a')"),
    "alias": (lambda: list[int], "list[int]"),
    "generator": (generator, "<generator object generator>"),
    "iterator": (lambda: iter([1]), "<list_iterator object>"),
    "count": (itertools.count, "count(0)"),
    "coroutine": (coroutine, "<coroutine object coroutine.<locals>.nothing>"),
    "file": (lambda: io.StringIO("x"), "<_io.StringIO object>"),
    "object": (object, "<object object>"),
    "weird class": (OfHostileMeta, "<OfHostileMeta (its repr raised RuntimeError)>"),
    "hostile": (Hostile, "<Hostile (its repr raised RuntimeError)>"),
    "liar": (Liar, "<odd_values.Liar object>"),
    "loud dict": (lambda: LoudDict(a=1), "{'a': 1}"),
    "loud list": (lambda: LoudList([1]), "[1]"),
    "gone": (Gone, "<odd_values.Gone object>"),
    "released": (released, "<released memory>"),
    "half a dataclass": (
        lambda: Half.__new__(Half),
        {"gone": None, "whole": 1, "raising": "<it raised ZeroDivisionError>"},
    ),
}

#: Kept as some text or cut short: only that they are kept is said.
OTHER: dict[str, Callable[[], object]] = {
    "deep lists": lambda: deep(10_000),
    "deep dicts": lambda: deep(10_000, lambda inner: {"k": inner}),
    "deep dataclasses": lambda: deep(10_000, Point),
    "deep tuples as keys": lambda: {deep(200, lambda inner: (inner,)): 1},
    "deep exceptions": lambda: deep(5_000, ValueError),
    "graph": graph,
    "shared": shared,
    "endless": Endless,
    "nest": Nest,
    "lock": threading.Lock,
    "event loop policy": asyncio.Queue,
    "longdouble": lambda: np.longdouble("1.5"),
    "void": lambda: np.void(b"ab"),
    "group": group,
    "long text": lambda: "long text " * 200_000,
    "long text, not ASCII": lambda: "日本語😀" * 200_000,
    "many keys that read alike": lambda: {object(): None for _ in range(20_000)},
    "long list": lambda: list(range(300_000)),
    "long set": lambda: {str(number) for number in range(50_000)},
    "large beside small": lambda: {"large": [0] * 300_000, "small": "here"},
}
