"""Downloads by `POST /btql`: page after page of JSON lines, in little memory.

A page goes to a temporary file first. So a connection that breaks in the middle
repeats the page and not rows that were handed on already, and whoever takes the rows
may take their time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Literal, cast

from pytest_braintrust.api import bodies
from pytest_braintrust.api.answers import Answer, text
from pytest_braintrust.api.calls import Calls
from pytest_braintrust.api.http import Ask
from pytest_braintrust.api.paging import Cursors
from pytest_braintrust.api.rows import DatasetRow, Event
from pytest_braintrust.errors import BadAnswer
from pytest_braintrust.jsonable import clean, dumps
from pytest_braintrust.settings import DEFAULT_PAGE_SIZE

#: How much of a page is held in memory before it goes to disk.
_IN_MEMORY = 1024 * 1024
#: The second is what an object store calls it.
_CURSOR_HEADERS = ("x-bt-cursor", "x-amz-meta-bt-cursor")
_MAX_CURSOR = 16_384


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a download: as it was sent, without the line's end, and decoded."""

    text: bytes
    row: Answer


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a download: its rows, for as long as no further page was asked for."""

    lines: Iterator[Line]
    #: Where the next page begins; None: this is the last one.
    cursor: str | None


class Downloads(Calls):
    """`POST /btql`, for whole datasets and experiments."""

    def download_dataset(
        self,
        dataset_id: str,
        *,
        version: str | None = None,
        filter: str | Mapping[str, Any] | None = None,  # noqa: A002 - its name in BTQL
        limit: int | None = None,
        page_size: int = DEFAULT_PAGE_SIZE,
    ) -> Iterator[DatasetRow]:
        """The rows of a dataset; see `download_lines`."""
        lines = self.download_lines(
            "dataset",
            dataset_id,
            version=version,
            filter=filter,
            limit=limit,
            page_size=page_size,
        )
        return (DatasetRow.read(line.row) for line in lines)

    def download_experiment(
        self,
        experiment_id: str,
        *,
        version: str | None = None,
        filter: str | Mapping[str, Any] | None = None,  # noqa: A002 - its name in BTQL
        limit: int | None = None,
        page_size: int = DEFAULT_PAGE_SIZE,
    ) -> Iterator[Event]:
        """The rows of an experiment; see `download_lines`."""
        lines = self.download_lines(
            "experiment",
            experiment_id,
            version=version,
            filter=filter,
            limit=limit,
            page_size=page_size,
        )
        return (Event.read(line.row) for line in lines)

    def download_lines(  # noqa: PLR0913 - what a download is made of
        self,
        kind: Literal["dataset", "experiment"],
        object_id: str,
        *,
        version: str | None = None,
        filter: str | Mapping[str, Any] | None = None,  # noqa: A002 - its name in BTQL
        limit: int | None = None,
        page_size: int = DEFAULT_PAGE_SIZE,
    ) -> Iterator[Line]:
        """The rows of a dataset or experiment as lines of JSON, one by one.

        A row that comes twice is handed on twice: who cannot have that keeps the one
        with the larger `_xact_id`, and knows better than we do where to keep it.

        Args:
            kind: `dataset` or `experiment`.
            object_id: Its id.
            version: Read as of this version; None: the latest, which may change
                from page to page.
            filter: An expression in BTQL, as text or as its syntax tree.
            limit: How many rows at most; None: all.
            page_size: Rows in a page; fewer where they are large.

        Raises:
            BadAnswer: a page is not JSON lines with an `id` each, or a cursor comes
                again.
        """
        pages = self.download_pages(
            kind,
            object_id,
            version=version,
            filter=filter,
            page_size=page_size if limit is None else min(page_size, limit),
        )
        return islice((line for page in pages for line in page.lines), limit)

    def download_pages(  # noqa: PLR0913 - what a download is made of
        self,
        kind: Literal["dataset", "experiment"],
        object_id: str,
        *,
        version: str | None = None,
        filter: str | Mapping[str, Any] | None = None,  # noqa: A002 - its name in BTQL
        page_size: int = DEFAULT_PAGE_SIZE,
        cursor: str | None = None,
    ) -> Iterator[Page]:
        """The rows as pages, for whoever wants to go on later where a page ended.

        Args:
            kind: `dataset` or `experiment`.
            object_id: Its id.
            version: Read as of this version, which a later part has to name too.
            filter: An expression in BTQL, as text or as its syntax tree.
            page_size: Rows in a page; fewer where they are large.
            cursor: Where to begin, as an earlier page told; None: at the start.

        Raises:
            BadAnswer: as `download_lines`.
            Rejected: the server does not know the cursor any more.
        """
        query = {
            "from": _source(kind, object_id),
            "select": [{"op": "star"}],
            "limit": page_size,
            **({"filter": _filter(filter)} if filter else {}),
        }
        more = {"version": version} if version else {}
        return self._pages(query, more, cursor)

    def _pages(
        self, query: Mapping[str, Any], more: Mapping[str, Any], cursor: str | None
    ) -> Iterator[Page]:
        cursors = Cursors()
        while True:
            part = {"cursor": cursors.follow(cursor)} if cursor else {}
            body = {"query": {**query, **part}, "fmt": "jsonl", **more}
            with SpooledTemporaryFile(_IN_MEMORY) as spool:
                file = cast("BinaryIO", spool)
                cursor = self._page(body, file)
                first = next(rows := _rows(file), None)
                if first is None:
                    return
                yield Page(chain((first,), rows), cursor)
            if not cursor:
                return

    def _page(self, body: Mapping[str, Any], file: BinaryIO) -> str | None:
        """Save a page to a file; answers the cursor of the next one."""
        ask = Ask("POST", "/btql", dumps(clean(body)).encode("ascii"), page=True)
        headers = self._tried(lambda: self._http.save(ask, file), self._page_policy)
        found = next((headers[name] for name in _CURSOR_HEADERS if name in headers), "")
        if len(found) > _MAX_CURSOR:
            msg = f"the server's cursor has more than {_MAX_CURSOR:,} characters"
            raise BadAnswer(msg)
        return found or None


def _source(kind: str, object_id: str) -> dict[str, Any]:
    return {
        "op": "function",
        "name": {"op": "ident", "name": [kind]},
        "args": [{"op": "literal", "value": object_id}],
    }


def _filter(given: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"btql": given} if isinstance(given, str) else given


def _rows(file: BinaryIO) -> Iterator[Line]:
    for number, line in enumerate(bodies.lines(file), 1):
        try:
            row = bodies.decoded(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            msg = f"line {number} of a page is not a JSON object: no page of rows"
            raise BadAnswer(msg)
        text(row, "id")
        yield Line(line, row)
