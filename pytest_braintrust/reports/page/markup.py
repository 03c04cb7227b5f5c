"""HTML in small pieces: what is not marked as such is text, and is escaped.

So that nothing that a test, a model or a server said can become a tag or an attribute.
"""

from __future__ import annotations

import re
from html import escape

#: What a browser would obey, or hide: control characters, marks that turn the direction
#: of what follows, letters that nobody sees, halves of a character.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    r"\U000e0000-\U000e007f]"
)


class Safe(str):
    """HTML of our own making."""

    __slots__ = ()


def text(value: str) -> Safe:
    """Any text, as a person is to see it: what could not be seen is named."""
    return Safe(escape(_UNSEEN.sub(_named, value)))


def _named(found: re.Match[str]) -> str:
    return f"⟨U+{ord(found[0]):04X}⟩"


def tag(name: str, /, *inside: str, **attributes: str | int | None) -> Safe:
    """An element: what is inside is text, where it is not `Safe`.

    Args:
        name: The element's.
        inside: What stands in it.
        attributes: By name, `class_` and `data_at` for `class` and `data-at`; None
            leaves one out.
    """
    content = "".join(map(_safe, inside))
    return Safe(f"{opening(name, **attributes)}{content}</{name}>")


def opening(name: str, /, **attributes: str | int | None) -> Safe:
    """A start tag alone: of an element that has no content, or much of it."""
    told = "".join(
        f' {each.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for each, value in attributes.items()
        if value is not None
    )
    return Safe(f"<{name}{told}>")


def together(*parts: str) -> Safe:
    """Parts side by side."""
    return Safe("".join(map(_safe, parts)))


def link(name: str, address: str | None) -> Safe:
    """A link, where the address is one that a browser may follow."""
    if address is None or not address.startswith(("https://", "http://")):
        return text(name)
    return tag("a", name, href=address, rel="noreferrer noopener")


def _safe(part: str) -> Safe:
    return part if isinstance(part, Safe) else text(part)
