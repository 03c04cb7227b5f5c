"""Lines of text for a terminal: safe to print, fitted, with a style each."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

#: Escape sequences and line breaks of foreign names never reach the terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")

#: A number stays beside what it counts.
_BESIDE_NUMBER = re.compile(r"(?<!\S)([\d,]+) (?=\w)")

#: What a sentence keeps of a foreign text, and a heading of a foreign name.
_LONGEST_TEXT, _LONGEST_NAME = 1_000, 120

#: No text is broken into columns narrower than this.
_NARROWEST = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and the mark-up that a terminal with colour gives it."""

    text: str
    style: str = ""
    #: What is done where it does not fit: text is broken, a quotation cut, and a row
    #: of a table left to the terminal.
    long: Literal["broken", "cut", "left"] = "broken"
    #: How far the continuation of a broken one is indented.
    hang: int = 2


def plain(text: str) -> str:
    """Text of foreign origin, safe to print on one line."""
    return _CONTROL.sub(" ", text)


def short(text: str) -> str:
    """The same, and not longer than somebody would read."""
    return fitted(plain(text), _LONGEST_TEXT)


def name_of(text: str) -> str:
    """A foreign name, safe to print and not longer than a name is."""
    return fitted(plain(text), _LONGEST_NAME)


def fitted(text: str, width: int) -> str:
    """Text cut to a width on the screen, with a mark where it was cut."""
    if width_of(text) <= width:
        return text
    kept = text[: max(1, width - 1)]
    while len(kept) > 1 and width_of(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…"


def padded(text: str, width: int) -> str:
    """Text filled up with blanks to a width on the screen."""
    return text + " " * (width - width_of(text))


def width_of(text: str) -> int:
    """How many columns a text takes on the screen."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(line: Line, width: int) -> Iterator[Line]:
    """The line, or what of it fits; addresses and paths stay whole."""
    if line.long == "left" or width_of(line.text) <= width:
        yield line
    elif line.long == "cut":
        yield replace(line, text=fitted(line.text, width))
    else:
        for part in _broken(line.text, width, line.hang):
            yield replace(line, text=part)


def _broken(text: str, width: int, hang: int) -> Iterator[str]:
    parts = textwrap.wrap(
        _BESIDE_NUMBER.sub("\\1\u00a0", text),
        max(width, hang + _NARROWEST),
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return (part.replace("\u00a0", " ") for part in parts)
