"""Two texts side by side, as `diff --side-by-side` has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from pytest_braintrust.reports.lines import Line, padded, plain, width_of

#: Lines of a text that are compared, and equal ones that are shown around others.
_LINES, _AROUND = 1_000, 2
#: No side is narrower than that.
_NARROWEST = 20
_MARKS = {"equal": " ", "replace": "|", "delete": "<", "insert": ">"}
_STYLES = {"replace": "yellow", "delete": "red", "insert": "green"}


def beside(then: str, now: str, width: int) -> Iterator[Line]:
    """What was on the left, what is on the right: `|` changed, `<` gone, `>` new.

    Lines that are too long go on below; of many equal ones the first and last few are
    shown.
    """
    left, right = _lines(then), _lines(now)
    half = max(_NARROWEST, (width - 3) // 2)
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield from _equal(left[a:b], half)
        else:
            yield from _pairs(kind, left[a:b], right[c:d], half)


def _lines(text: str) -> list[str]:
    lines = [plain(line) for line in text.expandtabs().splitlines()]
    more = len(lines) - _LINES
    return [*lines[:_LINES], f"… {more:,} more lines"] if more > 0 else lines


def _equal(lines: Sequence[str], half: int) -> Iterator[Line]:
    if len(lines) <= 2 * _AROUND + 1:
        yield from _pairs("equal", lines, lines, half)
        return
    yield from _pairs("equal", lines[:_AROUND], lines[:_AROUND], half)
    yield Line(f"… {len(lines) - 2 * _AROUND:,} equal lines")
    yield from _pairs("equal", lines[-_AROUND:], lines[-_AROUND:], half)


def _pairs(
    kind: str, left: Sequence[str], right: Sequence[str], half: int
) -> Iterator[Line]:
    for place in range(max(len(left), len(right))):
        old = _chunks(left[place], half) if place < len(left) else []
        new = _chunks(right[place], half) if place < len(right) else []
        shown = kind if old and new else "delete" if old else "insert"
        for row in range(max(len(old), len(new))):
            first = padded(old[row] if row < len(old) else "", half)
            second = new[row] if row < len(new) else ""
            text = f"{first} {_MARKS[shown]} {second}".rstrip()
            yield Line(text, _STYLES.get(shown, ""), "left")


def _chunks(line: str, half: int) -> list[str]:
    """A line in parts that are as wide as one side."""
    parts, part = [], ""
    for character in line:
        # Of the whole part: what is drawn as one with the last is not wider with it.
        if width_of(part + character) > half:
            parts.append(part)
            part = ""
        part += character
    return [*parts, part]
