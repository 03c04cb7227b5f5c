"""A page as a browser reads it, by the parser of the standard library."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

#: Elements that have no end tag.
_VOID = {"meta", "input"}


@dataclass
class Element:
    """An element with all that is in it."""

    tag: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    inside: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(e if isinstance(e, str) else e.text for e in self.inside)

    def all(self, tag: str = "", **attributes: str) -> list[Element]:
        """The elements in it that are called so, at any depth."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        found = []
        for each in self.inside:
            if isinstance(each, Element):
                fits = each.tag == tag if tag else True
                if fits and wanted.items() <= each.attributes.items():
                    found.append(each)
                found += each.all(tag, **attributes)
        return found

    def one(self, tag: str = "", **attributes: str) -> Element:
        """The only one of them."""
        (found,) = self.all(tag, **attributes)
        return found


class Page(HTMLParser):
    """Reads a page, and fails where an element does not end where it should."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("")
        self._open = [self.root]
        self.feed(text)
        self.close()
        assert self._open == [self.root], [each.tag for each in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), attrs
        element = Element(tag, dict(attrs))
        self._open[-1].inside.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].inside.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    @cached_property
    def listed(self) -> list[Element]:
        """The rows of tests."""
        tables = [e for e in self.root.all("table") if "listing" in classes(e)]
        rows = [row for table in tables for row in table.all("tr")]
        return [row for row in rows if "data-outcome" in row.attributes]

    @property
    def names(self) -> list[str]:
        """The tests, in their order."""
        return [name_of(each) for each in self.listed]

    def test(self, name: str) -> Element:
        """The row of a test, by the end of its name."""
        (found,) = [e for e in self.listed if name_of(e).endswith(name)]
        return found

    def measure(self, name: str) -> dict[str, str]:
        """The row of a score or metric, by the headings of its columns."""
        table = self.root.one("table", class_="measures")
        head, *rows = table.all("tr")
        (row,) = [each for each in rows if each.one("th").text == name]
        titles = [each.text for each in _cells(head)]
        return dict(zip(titles, [e.text for e in _cells(row)], strict=True))

    def said(self, name: str) -> dict[str, str]:
        """What a test said, by field."""
        fields = self.test(name).one("dl", class_="fields")
        return {e.one("dt").text: e.one("dd").text for e in fields.all("div")}


def read(path: Path) -> Page:
    """Read a file."""
    return Page(path.read_text(encoding="utf-8"))


def classes(element: Element) -> list[str]:
    """The classes of an element."""
    return (element.attributes.get("class") or "").split()


def name_of(row: Element) -> str:
    """The test that a row is of."""
    head = row.all("th")[0]
    summaries = head.all("summary")
    return summaries[0].text if summaries else head.text


def cells(row: Element) -> list[str]:
    """What stands beside the name of a test."""
    return [each.text for each in _cells(row)[1:]]


def _cells(row: Element) -> list[Element]:
    return [e for e in row.inside if isinstance(e, Element)]
