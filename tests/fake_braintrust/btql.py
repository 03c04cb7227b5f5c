"""`POST /btql`: rows of one experiment or dataset, a page at a time."""

from __future__ import annotations

import gzip
import json
import operator
from collections.abc import Callable
from typing import Any

from fake_braintrust import contract
from fake_braintrust.call import Call, capped, version
from fake_braintrust.contract import Problem, expect, nullable, one_of
from fake_braintrust.rows import Page, Query, Row
from fake_braintrust.state import ROWS
from fake_braintrust.wire import Answer

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_BODY = {
    "query": contract.record({"cursor": nullable(contract.text)}),
    "fmt": nullable(one_of("json", "jsonl")),
    "version": nullable(contract.text),
}


def btql(call: Call) -> Any:
    body = call.checked(_BODY, "query")
    query = body["query"]
    stars = query.get("select") == [{"op": "star"}]
    expect(stars, "query.select", "this fake server knows a star only")
    page = call.state.logs[_source(call, query.get("from"))].page(
        Query(
            by="id",
            limit=capped(call, query.get("limit")),
            cursor=query.get("cursor"),
            version=version(body.get("version")),
            repeat=call.knobs.repeat_older_rows,
            keep=lambda row: bool(evaluated(query.get("filter"), row)),
        )
    )
    header = "x-amz-meta-bt-cursor" if call.knobs.redirect_btql else None
    answer = _answer(call, page, body.get("fmt"), header or call.knobs.cursor_header)
    if not call.knobs.redirect_btql:
        return answer
    return Answer(303, headers={"Location": call.store_elsewhere(answer)})


def _source(call: Call, source: Any) -> str:
    try:
        (kind,), (argument,) = source["name"]["name"], source["args"]
        object_id = argument["value"]
    except (KeyError, TypeError, ValueError):
        raise Problem(400, "query.from: expected a function of one literal") from None
    expect(kind in ROWS, "query.from", f"no rows of {kind} here")
    return str(call.find(kind, object_id)["id"])


def _answer(call: Call, page: Page, fmt: str | None, cursor_header: str) -> Answer:
    cursor = {cursor_header: page.cursor} if page.cursor else {}
    if fmt == "jsonl":
        body = "".join(json.dumps(row) + "\n" for row in page.rows).encode()
        kind = "application/x-ndjson"
    else:
        body = json.dumps({"data": page.rows, "cursor": page.cursor}).encode()
        kind = "application/json"
    headers = {"Content-Type": kind, **cursor}
    if "gzip" not in call.request.headers.get("accept-encoding", ""):
        return Answer(200, body, headers)
    return Answer(200, gzip.compress(body, 1), {**headers, "Content-Encoding": "gzip"})


def evaluated(expression: Any, row: Row) -> Any:
    """The value of a filter, or of a part of it, for a row."""
    if expression is None:
        return True
    try:
        return _evaluated(_parsed(expression), row)
    except (KeyError, TypeError, ValueError):
        raise Problem(400, f"query.filter: {expression!r} is not known here") from None


def _parsed(expression: Any) -> Any:
    """The tree of a filter: of those in words, a field and what it is equal to."""
    if "btql" not in expression:
        return expression
    field, _, value = (part.strip() for part in expression["btql"].partition("="))
    literal = value[1:-1] if value[:1] == value[-1:] == "'" else json.loads(value)
    return {
        "op": "eq",
        "left": {"op": "ident", "name": field.split(".")},
        "right": {"op": "literal", "value": literal},
    }


def _evaluated(expression: Any, row: Row) -> Any:
    op = expression["op"]
    if op == "literal":
        return expression["value"]
    if op == "ident":
        return _field(expression["name"], row)
    if op in {"and", "or"}:
        parts = expression.get("children") or [expression["left"], expression["right"]]
        return (all if op == "and" else any)(_evaluated(part, row) for part in parts)
    if op == "not":
        return not _evaluated(expression["expr"], row)
    left, right = (_evaluated(expression[side], row) for side in ("left", "right"))
    if None in (left, right):
        return op == "eq" and left is right
    return _COMPARISONS[op](left, right)


def _field(path: list[str], row: Row) -> Any:
    value: Any = row
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
