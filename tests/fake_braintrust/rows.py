"""The rows of one experiment or dataset, each version of them, and pages of them."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fake_braintrust.contract import Problem

Row = dict[str, Any]
#: Where a version stands in the log, and the row as it was then.
Version = tuple[int, Row]

#: As large as real ones, which do not fit a double.
FIRST_XACT = 1000192656880881099

# What merging leaves as it was.
_KEPT = ("id", "created", "span_id", "root_span_id", "span_parents")


@dataclass(frozen=True, slots=True)
class Query:
    """Which page: `limit` counts groups of rows that have one value in `by`."""

    by: str
    limit: int
    cursor: str | None = None
    version: int | None = None
    #: Later pages show the older versions of rows, as the real `fetch` does.
    history: bool = False
    #: Later pages show one row of the first in an older version, made up if need be.
    repeat: bool = False
    keep: Callable[[Row], bool] = lambda row: True


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and where to go on unless there are none."""

    rows: list[Row]
    cursor: str | None


class RowLog:
    """Every version of every row, oldest first."""

    def __init__(self, fields: Sequence[str], fixed: Mapping[str, Any]) -> None:
        self._fields = [name for name in fields if not name.startswith("_")]
        self._fixed = fixed
        self._versions: list[Row] = []
        self._latest: dict[str, Row] = {}

    def insert(self, event: Row, xact: str, now: str) -> str:
        """Make, replace, merge or delete a row; answers its id."""
        row_id = event.get("id") or str(uuid4())
        old = self._latest.get(row_id, {})
        if event.get("_object_delete"):
            new: Row = {"id": row_id, "_object_delete": True}
        elif event.get("_is_merge") and old and not old.get("_object_delete"):
            given = {k: v for k, v in self._known(event).items() if k not in _KEPT}
            stops = {tuple(path) for path in event.get("_merge_paths") or ()}
            new = deep_merge(old, given, stops)
        else:
            new = self._fresh({**self._known(event), "id": row_id}, now)
        new["_xact_id"] = xact
        self._versions.append(new)
        self._latest[row_id] = new
        return row_id

    def current(
        self, version: int | None = None, before: int | None = None
    ) -> dict[str, Version]:
        """The rows that are not deleted, as of a transaction or place in the log."""
        found = {
            row["id"]: (place, row)
            for place, row in enumerate(self._versions[:before])
            if version is None or int(row["_xact_id"]) <= version
        }
        return {
            row_id: (place, row)
            for row_id, (place, row) in found.items()
            if not row.get("_object_delete")
        }

    def page(self, query: Query) -> Page:
        """The newest rows, or those after the cursor."""
        before = _place(query.cursor) if query.cursor else None
        groups: dict[str, list[Version]] = {}
        for place, row in self._unseen(query, before):
            if query.keep(row):
                groups.setdefault(row[query.by], []).append((place, row))
        newest = sorted(groups.values(), key=_newest, reverse=True)[: query.limit]
        rows = [
            {**dict.fromkeys(self._fields), **row}
            for group in newest
            for _, row in sorted(group, key=lambda each: each[0], reverse=True)
        ]
        if not rows:
            return Page([], None)
        if before is not None and query.repeat:
            rows.append(self._outdated(query.version))
        return Page(rows, _cursor(_newest(newest[-1])))

    def _unseen(self, query: Query, before: int | None) -> list[Version]:
        now = self.current(query.version)
        if before is None:
            return list(now.values())
        newest: dict[str, int] = {}
        for place, row in now.values():
            newest[row[query.by]] = max(place, newest.get(row[query.by], 0))
        return [
            (place, row)
            for row_id, (place, row) in self.current(query.version, before).items()
            if row_id in now
            and (
                newest[now[row_id][1][query.by]] < before
                or (query.history and place != now[row_id][0])
            )
        ]

    def _outdated(self, version: int | None) -> Row:
        row_id, (place, row) = max(
            self.current(version).items(), key=lambda item: item[1][0]
        )
        older = self.current(version, place).get(row_id)
        made_up = {"_xact_id": str(FIRST_XACT - 1), "metadata": {"outdated": True}}
        return older[1] if older else {**row, **made_up}

    def _known(self, event: Row) -> Row:
        return {key: event[key] for key in self._fields if key in event}

    def _fresh(self, given: Row, now: str) -> Row:
        span_id = given.get("span_id") or str(uuid4())
        return {
            **given,
            **self._fixed,
            "created": given.get("created") or now,
            "span_id": span_id,
            "root_span_id": given.get("root_span_id") or span_id,
            "is_root": not given.get("span_parents"),
        }


def deep_merge(
    old: Row, new: Row, stops: set[tuple[str, ...]], at: tuple[str, ...] = ()
) -> Row:
    """A row with another laid over it, objects in objects, but not below the stops."""
    merged = dict(old)
    for key, value in new.items():
        path, below = (*at, key), old.get(key)
        nested = isinstance(value, dict) and isinstance(below, dict)
        if nested and path not in stops:
            merged[key] = deep_merge(below, value, stops, path)  # type: ignore[arg-type]
        else:
            merged[key] = value
    return merged


def _newest(group: list[Version]) -> int:
    return max(place for place, _ in group)


def _cursor(place: int) -> str:
    return urlsafe_b64encode(f"before:{place}".encode()).decode()


def _place(cursor: str) -> int:
    try:
        return int(urlsafe_b64decode(cursor).removeprefix(b"before:"))
    except ValueError:
        raise Problem(400, "cursor: not one of ours") from None
