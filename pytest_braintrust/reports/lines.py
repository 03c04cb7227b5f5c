"""Lines of text for a terminal: safe to print, fitted, with a style each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

#: Escape sequences and line breaks of foreign names never reach the terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")

#: A number stays beside what it counts.
_BESIDE_NUMBER = re.compile(r"(?<!\S)([\d,]+) (?=\w)")

#: A word, and the blanks before it.
_WORDS = re.compile("( *)([^ ]+)")

#: Categories of characters that take no column: what is drawn over another one, and
#: marks that are not drawn. The vowels and ends of a Korean syllable in parts, too.
_NOTHING, _SOFT_HYPHEN, _JAMO = ("Mn", "Me", "Cf"), "\u00ad", ("\u1160", "\u11ff")
#: What joins emoji into one, what makes one of a letter, and colours of skin.
_JOINER, _AS_EMOJI, _SKINS = (
    "\u200d",
    "\ufe0f",
    "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff",
)
#: Columns of a character of Chinese, Japanese and Korean, and of an emoji.
_WIDE = 2

#: What a sentence keeps of a foreign text, and a heading of a foreign name.
_LONGEST_TEXT, _LONGEST_NAME = 1_000, 120

#: Of more names than this a sentence has the first ones.
NAMED = 3

#: No browser is sure to follow a longer address.
_LONGEST_ADDRESS = 2_000

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


def safe(line: Line) -> Line:
    """The same line, whatever foreign text came into it."""
    return replace(line, text=plain(line.text))


def short(text: str) -> str:
    """Foreign text, safe to print and not longer than somebody would read."""
    return fitted(plain(text), _LONGEST_TEXT)


def name_of(text: str) -> str:
    """A foreign name, safe to print and not longer than a name is."""
    return fitted(plain(text), _LONGEST_NAME)


def names_of(names: Sequence[str]) -> str:
    """Foreign names as a list in a sentence: the first ones, and how many more."""
    shown = [name_of(name) for name in names]
    if len(shown) > NAMED:
        shown = [*shown[: NAMED - 1], f"{len(shown) - NAMED + 1} more"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def page_of(address: str) -> str:
    """The address of a page, or what stands for one that is too long to print.

    One that was cut would lead nowhere.
    """
    if len(address) <= _LONGEST_ADDRESS:
        return plain(address)
    return f"its address is too long to show: {len(address):,} characters"


def fitted(text: str, width: int) -> str:
    """Text cut to a width on the screen, with a mark where it was cut."""
    kept = 1
    for place, end in enumerate(_ends(text), 1):
        if end > width:
            return text[:kept] + "…"
        if end < width:
            kept = place
    return text


def padded(text: str, width: int) -> str:
    """Text filled up with blanks to a width on the screen."""
    return text + " " * (width - width_of(text))


def width_of(text: str) -> int:
    """How many columns a text takes on the screen.

    As terminals count that draw what belongs together as one: an accent and its letter,
    an emoji with its colour of skin, a family that is joined of several.
    """
    return len(text) if text.isascii() else max(_ends(text))


def _ends(text: str) -> Iterator[int]:
    """How wide a text is up to each character."""
    width, last, joined = 0, 0, False
    for character in text:
        columns = _columns(character)
        if joined or (character in _SKINS and last == _WIDE):
            columns = 0
        elif character == _AS_EMOJI and last == 1:
            # What was drawn as a letter is an emoji by this, and as wide as those.
            columns = 1
        joined = character == _JOINER
        width += columns
        last = columns or last
        yield width


def _columns(character: str) -> int:
    if unicodedata.category(character) in _NOTHING and character != _SOFT_HYPHEN:
        return 0
    if _JAMO[0] <= character <= _JAMO[1]:
        return 0
    return _WIDE if unicodedata.east_asian_width(character) in "WF" else 1


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
    width, line = max(width, hang + _NARROWEST), ""
    for gap, word in _WORDS.findall(_BESIDE_NUMBER.sub("\\1\u00a0", text)):
        longer = f"{line}{gap}{word}"
        # What is too long for every line stands beside its label, not below it.
        alone = width_of(line + gap) <= hang and hang + width_of(word) > width
        if not line or alone or width_of(longer) <= width:
            line = longer
        else:
            yield line.replace("\u00a0", " ")
            line = " " * hang + word
    yield line.replace("\u00a0", " ")
