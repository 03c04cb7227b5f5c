"""Cut JSON values to a size, so that what is left tells what it was.

Sizes are those of ASCII JSON, which is what is stored and sent: a character that is
not ASCII takes six bytes there, or twelve.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from pytest_braintrust.jsonable import Json, dumps

#: A limit below this has no room for the note that something was cut.
MIN_LIMIT = 96
#: What a member is given at least; where that is too much for all, the first have it.
_MIN_SHARE = 256
_NOTE_BYTES = MIN_LIMIT - 8


#: Characters of a name: pytest makes ids of parameters, which may be whole documents.
MAX_NAME = 1_000


def short_name(name: str) -> str:
    """A name that is no document: a longer one ends with a hash of the whole."""
    if len(name) <= MAX_NAME:
        return name
    digest = blake2b(name.encode("utf-8"), digest_size=8).hexdigest()
    return f"{name[:MAX_NAME]}… [cut: {digest}]"


def fit(value: Json, limit: int) -> Json:
    """Cut `value` so that its encoding has at most `limit` bytes, and say so inside.

    The shape is kept and the large parts are cut: of a mapping or list each small
    member stays whole and the large ones share what is left. What fits is not
    changed. A limit below `MIN_LIMIT` counts as that.
    """
    limit = max(limit, MIN_LIMIT)
    # Encoding all of it is far quicker than measuring its parts.
    if len(dumps(value)) <= limit:
        return value
    sizes: dict[int, int] = {}
    _measure(value, sizes)
    return _Fitter(sizes).fit(value, limit)


def fit_each(members: dict[str, Json], limit: int) -> dict[str, Json]:
    """Cut the members of a mapping to about `limit` bytes together, and leave none out.

    Each that is small stays whole, as with `fit`.
    """
    share = _fair_share(sorted(len(dumps(each)) for each in members.values()), limit)
    return {name: fit(each, share) for name, each in members.items()}


def _measure(value: Json, sizes: dict[int, int]) -> int:
    """The size of `value`, noting that of each container in it, by identity."""
    if isinstance(value, dict):
        size = 2 + sum(
            len(dumps(name)) + 2 + _measure(each, sizes) for name, each in value.items()
        )
    elif isinstance(value, list):
        size = 2 + sum(1 + _measure(each, sizes) for each in value)
    else:
        return _scalar_size(value)
    # The last member has no comma after it.
    sizes[id(value)] = size = size - bool(value)
    return size


def _scalar_size(value: Json) -> int:
    # Of numbers there are many, and their encoder is made anew for each of them.
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return len(repr(value))
    return len(dumps(value))


class _Fitter:
    """Cuts one value, whose containers were measured once."""

    def __init__(self, sizes: dict[int, int]) -> None:
        self._sizes = sizes

    def fit(self, value: Json, limit: int) -> Json:
        size = self._size(value)
        if size <= limit:
            return value
        if isinstance(value, dict):
            return self._mapping(value, limit)
        if isinstance(value, list):
            return self._list(value, limit)
        return _text(str(value), size, limit)

    def _size(self, value: Json) -> int:
        if isinstance(value, (dict, list)):
            return self._sizes[id(value)]
        return _scalar_size(value)

    def _mapping(self, members: dict[str, Json], limit: int) -> dict[str, Json]:
        sizes = [len(dumps(name)) + 2 + self._size(members[name]) for name in members]
        kept: dict[str, Json] = {}
        shares = _shares(sizes, limit - 2)
        for (name, each), size, share in zip(members.items(), sizes, shares):  # noqa: B905
            if size <= share:
                kept[name] = each
            else:
                short = _name(name, len(kept), share // 2)
                kept[short] = self.fit(each, share - len(dumps(short)) - 2)
        if len(kept) < len(members):
            kept["…"] = _left_out(len(members) - len(kept), len(members))
        return kept

    def _list(self, members: list[Json], limit: int) -> list[Json]:
        sizes = [1 + self._size(each) for each in members]
        shares = _shares(sizes, limit - 2)
        kept = [self.fit(each, share - 1) for each, share in zip(members, shares)]  # noqa: B905
        if len(kept) < len(members):
            kept.append(f"… {_left_out(len(members) - len(kept), len(members))}")
        return kept


def _shares(sizes: Sequence[int], limit: int) -> Iterator[int]:
    """What each member may have; it ends where there is no room for more members."""
    fair = _fair_share(sorted(sizes), limit)
    if fair >= _MIN_SHARE:
        yield from (fair for _ in sizes)
        return
    left = limit - _NOTE_BYTES
    for size in sizes:
        left -= min(size, _MIN_SHARE)
        if left < 0:
            return
        yield _MIN_SHARE


def _fair_share(sizes: Sequence[int], limit: int) -> int:
    """The largest share such that all sizes, none counted above it, fit `limit`."""
    left = limit
    for position, size in enumerate(sizes):
        share = left // (len(sizes) - position)
        if size > share:
            return share
        left -= size
    return limit


def _left_out(count: int, of: int) -> str:
    return f"[cut: {count:,} of {of:,} left out]"


def _name(name: str, position: int, limit: int) -> str:
    """A name that fits; with its position, as two long ones may start alike."""
    if len(dumps(name)) <= limit:
        return name
    return _start(name, f"… [cut: member {position}]", limit)


def _text(text: str, size: int, limit: int) -> str:
    return _start(text, f"… [cut: was {size:,} bytes]", limit)


def _start(text: str, note: str, limit: int) -> str:
    """As much of the start of `text` as fits together with the note."""
    room = limit - len(dumps(note))
    ends = range(min(len(text), max(room, 0)) + 1)
    fitting = bisect_right(ends, room, key=lambda end: len(dumps(text[:end])) - 2)
    return text[: max(0, fitting - 1)] + note
