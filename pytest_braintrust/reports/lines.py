"""Lines of text for a terminal: safe to print, fitted, with a style each."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Escape sequences and line breaks of foreign names never reach the terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")

#: What a person pastes is of no use cut.
_WHOLE = ("://", "pytest-braintrust ")


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and the mark-up that a terminal with colour gives it."""

    text: str
    style: str = ""


def plain(text: str) -> str:
    """Text of foreign origin, safe to print on one line."""
    return _CONTROL.sub(" ", text)


def fitted(text: str, width: int) -> str:
    """A line that fits; what must stay whole to be of use is not cut."""
    if len(text) <= width or any(each in text for each in _WHOLE):
        return text
    return text[: max(1, width - 1)] + "…"
