"""Conditions on a row in words: `metadata.level = 'hard' and not tags includes 'old'`.

A part of BTQL, for rows that are here and not on Braintrust: what a file's `filter`
and `--where` take. A comparison with what a row does not have is false.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from pytest_braintrust.errors import DatasetError
from pytest_braintrust.jsonable import plain_text

#: Tells whether a row is one of those that are meant.
Condition: TypeAlias = Callable[[Mapping[str, Any]], bool]
#: Reads a field of a row by its path, None where the row has none.
Read: TypeAlias = Callable[[Mapping[str, Any]], Any]
#: Answers how to read the field of a path, or None where there is no such field.
Resolve: TypeAlias = Callable[[tuple[str, ...]], "Read | None"]

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<text>'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<name>[^\W\d]\w*(?:\.(?:\w+|"[^"]+"|`[^`]+`))*)
    | (?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONSTANTS = {"true": True, "false": False, "null": None}
_WORDS = {"and", "or", "not", "is", "in", "includes", *_CONSTANTS}
_MAX_DEPTH = 50


def parse(text: str, resolve: Resolve) -> Condition:
    """Read a condition.

    Args:
        text: Comparisons of a field with a number, text, true or false by `=`, `!=`,
            `<`, `<=`, `>`, `>=`, `in (…)`, `includes`, `is null`, `is not null`;
            joined by `and`, `or`, `not` and parentheses.
        resolve: Knows the fields.

    Raises:
        DatasetError: it is no such text; the message shows it.
    """
    parser = _Parser(text, list(_tokens(text)), resolve)
    condition = parser.alternatives(0)
    if parser.next.kind != "end":
        parser.fail(f"{parser.next.text!r} is not expected here")
    return condition


def at(path: tuple[str, ...]) -> Read:
    """Reads what is at a path in a row."""

    def read(row: Mapping[str, Any]) -> Any:
        value: Any = row
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return read


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            _fail(text, f"{text[place:].strip()[:20]!r} cannot be read")
        place = found.end()
        kind = str(found.lastgroup)
        word = found[kind]
        if kind == "name" and word.lower() in _WORDS:
            kind, word = "word", word.lower()
        yield _Token(kind, word)
    yield _Token("end", "the end")


@dataclass(slots=True)
class _Parser:
    """Recursive descent: alternatives of conjunctions of comparisons."""

    text: str
    tokens: list[_Token]
    resolve: Resolve
    place: int = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def fail(self, why: str) -> NoReturn:
        _fail(self.text, why)

    def alternatives(self, depth: int) -> Condition:
        parts = [self._conjunction(depth)]
        while self._took("or"):
            parts.append(self._conjunction(depth))
        if len(parts) == 1:
            return parts[0]
        return lambda row: any(part(row) for part in parts)

    def _conjunction(self, depth: int) -> Condition:
        parts = [self._negation(depth)]
        while self._took("and"):
            parts.append(self._negation(depth))
        if len(parts) == 1:
            return parts[0]
        return lambda row: all(part(row) for part in parts)

    def _negation(self, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            self.fail("it is nested too deep")
        if self._took("not"):
            negated = self._negation(depth + 1)
            return lambda row: not negated(row)
        if self._took("("):
            inside = self.alternatives(depth + 1)
            self._need(")")
            return inside
        return self._comparison()

    def _comparison(self) -> Condition:
        read = self._field()
        if self._took("is"):
            wanted = not self._took("not")
            self._need("null")
            return lambda row: (read(row) is None) is wanted
        negated = self._took("not")
        if self._took("in"):
            values = self._values()
            return lambda row: (read(row) in values) is not negated
        if self._took("includes"):
            value = self._value()
            return lambda row: _includes(read(row), value) is not negated
        compare = _COMPARISONS.get(self.next.text)
        if compare is None or negated:
            self.fail(f"a comparison is missing before {self.next.text!r}")
        self.place += 1
        value = self._value()
        return lambda row: _compared(compare, read(row), value)

    def _field(self) -> Read:
        token = self._take("name", "the name of a field")
        path = tuple(part.strip('"`') for part in _parts(token.text))
        read = self.resolve(path)
        if read is None:
            self.fail(f"there is no field {plain_text(token.text)!r}")
        return read

    def _values(self) -> list[Any]:
        self._need("(")
        values = [self._value()]
        while self._took(","):
            values.append(self._value())
        self._need(")")
        return values

    def _value(self) -> Any:
        token = self.next
        self.place += 1
        if token.kind == "number":
            return float(token.text) if {*".eE"} & {*token.text} else int(token.text)
        if token.kind == "text":
            return _unquoted(token.text)
        if token.kind != "word" or token.text not in _CONSTANTS:
            what = "a number, a quoted text, true or false"
            self.fail(f"{what} is missing before {token.text!r}")
        return _CONSTANTS[token.text]

    def _took(self, text: str) -> bool:
        taken = self.next.text == text and self.next.kind in {"word", "sign"}
        self.place += taken
        return taken

    def _need(self, text: str) -> None:
        if not self._took(text):
            self.fail(f"{text!r} is missing before {self.next.text!r}")

    def _take(self, kind: str, what: str) -> _Token:
        token = self.next
        if token.kind != kind:
            self.fail(f"{what} is missing before {token.text!r}")
        self.place += 1
        return token


def _parts(name: str) -> Iterator[str]:
    return (found[0] for found in re.finditer(r'\w+|"[^"]+"|`[^`]+`', name))


def _unquoted(text: str) -> str:
    inside = text[1:-1]
    if text[0] == "'":
        inside = inside.replace("''", "'")
    return re.sub(r"\\(.)", r"\1", inside)


def _includes(value: Any, part: Any) -> bool:
    if isinstance(value, str):
        return isinstance(part, str) and part in value
    return isinstance(value, (list, tuple)) and part in value


def _compared(compare: Callable[[Any, Any], Any], left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    try:
        return bool(compare(left, right))
    except TypeError:  # a text and a number have no order
        return False


def _fail(text: str, why: str) -> NoReturn:
    msg = f"the condition {plain_text(text)!r} cannot be used: {why}"
    raise DatasetError(msg)
