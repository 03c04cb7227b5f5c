"""An output beside that of the baseline, with what is not the same marked in both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from pytest_braintrust.reports.page.markup import Safe, tag, together

#: Lines of an output, and words of a line, that are compared: beyond them they are
#: taken as they stand, one beside the other.
_LINES, _WORDS = 400, 300
#: Pairs of lines, and of words, that are looked at for a page: some seconds.
_PAIRS = 20_000_000
_WORD = re.compile(r"\s+|\w+|.")


@dataclass(slots=True)
class Work:
    """How much is still compared: the time that it takes grows with the pairs."""

    left: int = _PAIRS

    def takes(self, before: Sequence[str], after: Sequence[str], most: int) -> bool:
        """Whether two texts are to be compared part by part."""
        pairs = len(before) * len(after)
        if max(len(before), len(after)) > most or pairs > self.left:
            return False
        self.left -= pairs
        return True


def beside(then: str, now: str, work: Work) -> Safe:
    """A table of two columns: a line of each in a row, and equal lines once."""
    before, after = then.split("\n"), now.split("\n")
    head = tag("tr", tag("th", "then", scope="col"), tag("th", "now", scope="col"))
    rows = together(*_rows(before, after, work))
    return tag("table", tag("thead", head), tag("tbody", rows), class_="diff")


def _rows(before: Sequence[str], after: Sequence[str], work: Work) -> Iterator[Safe]:
    for kind, a, b, c, d in _blocks(before, after, work):
        if kind == "equal":
            for line in before[a:b]:
                yield tag("tr", tag("td", line or " ", colspan=2))
            continue
        for place in range(max(b - a, d - c)):
            old = before[a + place] if place < b - a else None
            new = after[c + place] if place < d - c else None
            yield tag("tr", *_pair(old, new, work))


def _blocks(
    before: Sequence[str], after: Sequence[str], work: Work
) -> Sequence[tuple[str, int, int, int, int]]:
    if not work.takes(before, after, _LINES):
        return [("replace", 0, len(before), 0, len(after))]
    return SequenceMatcher(None, before, after, autojunk=False).get_opcodes()


def _pair(old: str | None, new: str | None, work: Work) -> tuple[Safe, Safe]:
    if old is None:
        return tag("td"), tag("td", tag("ins", new or " "), class_="new")
    if new is None:
        return tag("td", tag("del", old or " "), class_="old"), tag("td")
    gone, come = _words(old, new, work)
    return tag("td", gone, class_="old"), tag("td", come, class_="new")


def _words(old: str, new: str, work: Work) -> tuple[Safe, Safe]:
    """Two lines, with the words marked that are not the same."""
    before, after = _WORD.findall(old), _WORD.findall(new)
    if not work.takes(before, after, _WORDS):
        return tag("del", old), tag("ins", new)
    gone: list[str] = []
    come: list[str] = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        left, right = "".join(before[a:b]), "".join(after[c:d])
        gone.append(left if kind == "equal" or not left else tag("del", left))
        come.append(right if kind == "equal" or not right else tag("ins", right))
    return together(*gone), together(*come)
