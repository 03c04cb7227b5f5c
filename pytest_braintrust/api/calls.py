"""What every resource's calls are made of: send, retry, page, insert."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from pytest_braintrust.api import answers, paging
from pytest_braintrust.api.answers import Answer
from pytest_braintrust.api.http import Ask, Http
from pytest_braintrust.api.retry import RetryPolicy, retrying
from pytest_braintrust.errors import BadAnswer, Refused, TooLarge
from pytest_braintrust.jsonable import Json, clean, dumps
from pytest_braintrust.settings import Connection

#: Braintrust refuses requests past 6 MB, and some gateways before it past 5 MB.
MAX_BATCH_BYTES = 2_500_000
MAX_BATCH_ROWS = 1_000


class Calls(ABC):
    """The common part of the client; subclasses add the calls of one resource each."""

    connection: Connection
    _http: Http
    _policy: RetryPolicy
    _page_policy: RetryPolicy
    _sleep: Callable[[float], object]

    def _call(self, ask: Ask) -> Any:
        return self._tried(lambda: self._http.answer(ask), self._policy)

    def _tried(self, call: Callable[[], Any], policy: RetryPolicy) -> Any:
        self._settle()
        try:
            return retrying(call, policy, self._sleep)
        except Refused as error:
            raise self._refused(error) from None

    @abstractmethod
    def _settle(self) -> None:
        """Find out what has to be known before the first call."""

    @abstractmethod
    def _refused(self, error: Refused) -> Refused:
        """The error of a call that the server refuses, with what may help."""

    @abstractmethod
    def _reach(self, base: str) -> Http:
        """Reach another server with the same key; the caller closes it."""

    def _get(self, path: str, params: Mapping[str, Any] | None = None) -> Answer:
        # A name that is empty is one that nothing has, not none that was asked for.
        ask = Ask("GET", path, params=_given(params or {}))
        return answers.an_object(self._call(ask), path)

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        *,
        repeatable: bool = True,
    ) -> Answer:
        encoded = dumps(clean(_given(body))).encode("ascii")
        ask = Ask(method, path, encoded, repeatable=repeatable)
        return answers.an_object(self._call(ask), path)

    def _delete(self, path: str) -> None:
        self._call(Ask("DELETE", path))

    def _list(
        self, path: str, params: Mapping[str, Any], limit: int | None
    ) -> Iterator[Answer]:
        size = paging.PAGE if limit is None else min(paging.PAGE, limit)

        def page(after: str | None) -> Answer:
            return self._get(path, {**params, "limit": size, "starting_after": after})

        return islice(paging.listed(page), limit)

    def _fetch(self, path: str, version: str | None, size: int) -> Iterator[Answer]:
        def page(cursor: str | None) -> Answer:
            # POST: by the document, only its body takes the cursor.
            body = {"limit": size, "cursor": cursor, "version": version}
            return self._send("POST", f"{path}/fetch", body)

        return paging.fetched(page)

    def _insert(self, path: str, events: Sequence[str]) -> None:
        body = b'{"events":[' + ",".join(events).encode("ascii") + b"]}"
        answer = self._call(Ask("POST", f"{path}/insert", body))
        ids = answer.get("row_ids") if isinstance(answer, dict) else None
        if not isinstance(ids, list) or len(ids) != len(events):
            msg = f"{len(events)} rows were sent and the answer does not name as many"
            raise BadAnswer(msg)

    def _insert_rows(self, path: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        ids: list[str] = []
        for batch in _batches(_encoded(rows, ids)):
            self._insert_halving(path, batch)
        return ids

    def _insert_halving(self, path: str, batch: Sequence[str]) -> None:
        try:
            self._insert(path, batch)
        except TooLarge:
            middle = len(batch) // 2
            if not middle:
                raise
            self._insert_halving(path, batch[:middle])
            self._insert_halving(path, batch[middle:])


def at(resource: str, name: str) -> str:
    """The path of one object; its id is quoted, whatever is in it.

    Raises:
        ValueError: the id is empty, which would be the path of all objects.
    """
    if not name:
        msg = f"an id is needed for {resource}, and this one is empty"
        raise ValueError(msg)
    # Dots too: `..` as a part of a path means the part above.
    quoted = quote(name.encode("utf-8", "replace"), safe="").replace(".", "%2E")
    return f"/v1/{resource}/{quoted}"


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not None: the document does not take null everywhere."""
    return {name: value for name, value in fields.items() if value is not None}


def _encoded(rows: Iterable[Mapping[str, Any]], ids: list[str]) -> Iterator[str]:
    """Each row as text, with an id, so that sending it again replaces it.

    Args:
        rows: The rows; one without an `id` is given one.
        ids: Where the ids are added, in the order of the rows.
    """
    for row in rows:
        name = str(row.get("id") or uuid4())
        ids.append(name)
        value: Json = clean({**row, "id": name})
        yield dumps(value)


def _batches(events: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for event in events:
        size += len(event) + 1
        if batch and (size > MAX_BATCH_BYTES or len(batch) == MAX_BATCH_ROWS):
            yield batch
            batch, size = [], len(event) + 1
        batch.append(event)
    if batch:
        yield batch
