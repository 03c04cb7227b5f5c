"""What commands print: safe for a terminal, as wide as it is, or JSON for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import TextIO

from pytest_braintrust.jsonable import clean
from pytest_braintrust.reports.lines import Line, fit, fitted, plain, safe, width_of

#: A table is fitted to this many of its rows; those that follow stream by.
_LOOKED_AT = 500
_GAP = "  "
#: Consoles of Windows that obey escapes say so by one of these; older ones print them.
_ON_WINDOWS, _OBEDIENT = (
    os.name == "nt",
    ("WT_SESSION", "ConEmuANSI", "ANSICON", "TERM"),
)
_COLOURS = {"red": 31, "green": 32, "yellow": 33, "bold": 1}
#: No column becomes narrower than this, and none is as wide as that.
_NARROWEST, _ENDLESS = 3, sys.maxsize


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, and how it gives way where room is short."""

    title: str
    #: How narrow it may become. A column that may not is 0.
    least: int = 0
    #: Whether the middle of a long text is left out, not its end.
    middle: bool = False
    #: How many parts it shows, if it has some: the others are left out and counted.
    parts: int = 0
    right: bool = False
    #: Whether it is left out where the others would have no room: the last one first.
    dispensable: bool = False


def prepare() -> None:
    """Let every text be printed, also where the encoding has no word for it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence() -> None:
    """Write to nowhere from here on: nobody takes what we print."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def say(text: str) -> None:
    """Print a line that may have foreign text in it."""
    print(plain(text))


def warn(text: str) -> None:
    """Print a line about what went wrong."""
    print(f"pytest-braintrust: {plain(text)}", file=sys.stderr)


def as_json(value: object) -> str:
    """A value as text for programs: ASCII, so that no terminal obeys it."""
    return json.dumps(clean(value), indent=2)


def show(lines: Iterable[Line]) -> None:
    """Print lines as a report has them, with colour where a terminal shows it."""
    width = screen_width()
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    coloured = wanted and _obeys_escapes()
    for line in map(safe, lines):
        for part in fit(line, width) if width is not None else (line,):
            colour = _COLOURS.get(part.style) if coloured else None
            print(f"\x1b[{colour}m{part.text}\x1b[0m" if colour else part.text)


def _obeys_escapes() -> bool:
    """Whether a terminal here knows escape sequences."""
    return not _ON_WINDOWS or any(map(os.environ.get, _OBEDIENT))


def blank() -> str:
    """What takes a line away that was written without an end."""
    if _obeys_escapes():
        return "\r\x1b[K"
    return f"\r{' ' * (shutil.get_terminal_size().columns - 1)}\r"


def screen_width() -> int | None:
    """Columns of the terminal; None where the output goes to a file or a pipe."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None
) -> Iterator[str]:
    """Rows as lines, with their titles above; nothing where there are none."""
    coming = ([plain(cell) for cell in row] for row in rows)
    first = list(islice(coming, _LOOKED_AT))
    if not first:
        return
    columns = [replace(each, title=plain(each.title)) for each in columns]
    natural = [
        max(width_of(text) for text in (column.title, *_texts(column, place, first)))
        for place, column in enumerate(columns)
    ]
    kept = _kept(columns, natural, width)
    columns = [columns[place] for place in kept]
    widths = _shared(columns, [natural[place] for place in kept], width)
    yield _line(columns, widths, [column.title for column in columns])
    for row in chain(first, coming):
        yield _line(columns, widths, [row[place] for place in kept])


def _texts(column: Column, place: int, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """What a column shows where it has all the room that it can take."""
    cut = _cut(column)
    return (cut(row[place], _ENDLESS) for row in rows)


def _kept(
    columns: Sequence[Column], natural: Sequence[int], width: int | None
) -> list[int]:
    """The places of the columns that are shown: all where they have room."""
    kept = list(range(len(columns)))
    for place in reversed(kept.copy()):
        least = [min(columns[at].least or natural[at], natural[at]) for at in kept]
        if width is None or sum(least) + len(_GAP) * (len(least) - 1) <= width:
            break
        if columns[place].dispensable:
            kept.remove(place)
    return kept


def _shared(
    columns: Sequence[Column], natural: Sequence[int], width: int | None
) -> list[int]:
    """The width of each column: those that may give way do, the widest first."""
    widths = list(natural)
    if width is None:
        return widths
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    leasts = [each.least or width for each in columns]
    over = _narrowed(widths, leasts, over)
    # On a screen that is too narrow for that, all of them do.
    _narrowed(widths, [_NARROWEST] * len(widths), over)
    return widths


def _narrowed(widths: list[int], leasts: Sequence[int], over: int) -> int:
    """Take what is too much from the widths; answers how much is left of it."""
    for left in range(over, 0, -1):
        room, widest = max(
            (width - least, place)
            for place, (width, least) in enumerate(zip(widths, leasts, strict=True))
        )
        if room <= 0:
            return left
        widths[widest] -= 1
    return min(over, 0)


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str]) -> str:
    cells = []
    for column, width, cell in zip(columns, widths, row, strict=True):
        text = _cut(column)(cell, width)
        blank = " " * (width - width_of(text))
        cells.append(blank + text if column.right else text + blank)
    return _GAP.join(cells).rstrip()


def _cut(column: Column) -> Callable[[str, int], str]:
    if column.middle:
        return middle
    return partial(first_parts, most=column.parts) if column.parts else fitted


def first_parts(text: str, width: int, most: int) -> str:
    """As many parts of a text as fit, and how many there are besides."""
    parts = text.split(_GAP)
    # To say that one is left out takes the room of that one.
    fewest = len(parts) - most if len(parts) > most + 1 else 0
    for left in range(fewest, len(parts)):
        shown = parts[: len(parts) - left] + _more(left)
        if width_of(_GAP.join(shown)) <= width:
            return _GAP.join(shown)
    name, blank, number = parts[0].rpartition(" ")
    end = _GAP.join([blank + number, *_more(len(parts) - 1)])
    room = width - width_of(end)
    return f"{fitted(name, room)}{end}" if name and room > 1 else fitted(text, width)


def _more(left: int) -> list[str]:
    return [f"+{left}"] if left else []


def middle(text: str, width: int) -> str:
    """Text cut to a width in its middle: its end tells as much as its start."""
    if width_of(text) <= width or width <= _NARROWEST:
        return fitted(text, width)
    half = (width - 1) // 2
    end = text[len(text) - half :]
    while width_of(end) > half:
        end = end[1:]
    return fitted(text, width - width_of(end)) + end


@dataclass(slots=True)
class Counter:
    """A line on the terminal that counts rows while they pass; elsewhere nothing."""

    what: str
    rows: int = 0
    stream: TextIO | None = None

    def __post_init__(self) -> None:
        if self.stream is None and sys.stderr.isatty():
            self.stream = sys.stderr

    def add(self, rows: int) -> None:
        """Count more rows."""
        self.rows += rows
        if self.stream is not None:
            print(f"\r{self.what} {self.rows:,} rows", end="", file=self.stream)
            self.stream.flush()

    def at(self, rows: int) -> None:
        """Show that so many rows have passed in all."""
        self.add(rows - self.rows)

    def clear(self) -> None:
        """Take the line away."""
        if self.stream is not None and self.rows:
            print(blank(), end="", file=self.stream, flush=True)
