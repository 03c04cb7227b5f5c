"""Page after page as one generator, with an end that no server can put off for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_braintrust.api import answers
from pytest_braintrust.api.answers import Answer
from pytest_braintrust.errors import BadAnswer

#: Objects in one page of a list; rows, or whole traces, in one page of a fetch.
PAGE = 1_000
#: Later pages repeat rows of earlier ones; this many of nothing else are no answer.
_IDLE_PAGES = 100


class Cursors:
    """The cursors that were followed: one that comes again would never end."""

    def __init__(self) -> None:
        self._followed: set[str] = set()

    def follow(self, cursor: str) -> str:
        """Note that a cursor is followed.

        Raises:
            BadAnswer: it was followed before.
        """
        if cursor in self._followed:
            msg = "the server's cursor repeats: its pages have no end"
            raise BadAnswer(msg)
        self._followed.add(cursor)
        return cursor


def listed(page: Callable[[str | None], Answer]) -> Iterator[Answer]:
    """The objects of a list, each once.

    Args:
        page: Answers the objects after the one with that id.
    """
    seen: set[str] = set()
    after: str | None = None
    # A page of nothing new ends it too: not every list knows `starting_after`.
    while new := _new(answers.objects(page(after), "objects"), seen):
        yield from new
        after = answers.text(new[-1], "id")


def fetched(page: Callable[[str | None], Answer]) -> Iterator[Answer]:
    """The rows of an object, each once, in its first version that comes: the newest.

    Args:
        page: Answers the rows at that cursor.

    Raises:
        BadAnswer: the pages have no end.
    """
    seen: set[str] = set()
    cursors = Cursors()
    cursor: str | None = None
    idle = 0
    while idle < _IDLE_PAGES:
        answer = page(cursor)
        found = answers.objects(answer, "events")
        new = _new(found, seen)
        idle = 0 if new else idle + 1
        yield from new
        cursor = answers.maybe_text(answer, "cursor")
        if not found or not cursor:
            return
        cursors.follow(cursor)
    msg = f"the server sent {_IDLE_PAGES} pages of rows that it had sent before"
    raise BadAnswer(msg)


def _new(found: list[Answer], seen: set[str]) -> list[Answer]:
    """Those that were not seen, which they are from here on."""
    new = []
    for each in found:
        name = answers.text(each, "id")
        if name not in seen:
            seen.add(name)
            new.append(each)
    return new
