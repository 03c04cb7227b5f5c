"""Things that go wrong between a client and a server, on purpose and on cue.

A fault says which requests it strikes, its action what becomes of the exchange. An
action that sends an answer of the real call applies that call first.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fake_braintrust.wire import Answer, Exchange, Request, json_answer

Action = Callable[[Exchange], None]

#: What a terminal, a log or a header must not take as it is.
CONTROL = "\x1b[2J\x1b]0;owned\x07\r\nX-Injected: 1\u202e\x9b"


@dataclass(slots=True)
class Fault:
    """Strikes requests that match, from the `nth` one on, `times` times."""

    action: Action
    #: Regular expressions: all of the method, any part of the path.
    method: str = ".*"
    path: str = ""
    when: Callable[[Request], bool] = lambda request: True
    nth: int = 1
    #: None: always.
    times: int | None = 1
    probability: float = 1.0
    seed: int = 0
    #: How many requests matched, and how many of them were struck.
    matched: int = field(default=0, init=False)
    struck: int = field(default=0, init=False)
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def strikes(self, request: Request) -> bool:
        """Whether it strikes a request, which is counted."""
        if not self._matches(request):
            return False
        self.matched += 1
        spent = self.times is not None and self.struck >= self.times
        if self.matched < self.nth or spent:
            return False
        return self._random.random() < self.probability

    def _matches(self, request: Request) -> bool:
        return bool(
            re.fullmatch(self.method, request.method)
            and re.search(self.path, request.path)
            and self.when(request)
        )


class Faults:
    """The faults of a server; of several that strike a request, the first does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Add a fault, and answer it for its counts."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Take every fault away."""
        with self._lock:
            self._faults.clear()

    def action(self, request: Request) -> Action:
        """What becomes of a request."""
        with self._lock:
            striking = [each for each in self._faults if each.strikes(request)]
            if not striking:
                return applied
            striking[0].struck += 1
            return striking[0].action


def applied(exchange: Exchange) -> None:
    """No fault: the call is applied and answered."""
    exchange.send(exchange.apply())


def answer(
    status: int,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    apply: bool = False,
) -> Action:
    """Another answer: bytes and text as they are, anything else as JSON."""
    if isinstance(body, (bytes, str)):
        encoded = body.encode() if isinstance(body, str) else body
        made = Answer(status, encoded, dict(headers or {}))
    else:
        told = {"message": f"fault: {status}"} if body is None else body
        made = json_answer(told, status, headers)

    def act(exchange: Exchange) -> None:
        if apply:
            exchange.apply()
        exchange.send(made)

    return act


def busy(status: int = 429, retry_after: float | str | None = None) -> Action:
    """A 429 or 503 that may say when to come back."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return answer(status, headers=headers)


def revoked() -> Action:
    """The key is not valid any more: with `times=None` from some request on."""
    return answer(401, {"message": "Invalid authorization token"})


def html(status: int = 200) -> Action:
    """A page of a captive portal or a gateway."""
    page = f"<html><title>{status}</title><body><h1>Please log in</h1></body></html>"
    return answer(status, page, {"Content-Type": "text/html"})


def reset(*, apply: bool) -> Action:
    """A RST, before the call is applied or after."""

    def act(exchange: Exchange) -> None:
        if apply:
            exchange.apply()
        exchange.reset()

    return act


def hang(seconds: float, *, apply: bool = False) -> Action:
    """Silence; then the connection ends if the call was applied, or its answer comes."""

    def act(exchange: Exchange) -> None:
        if apply:
            exchange.apply()
            exchange.wait(seconds)
            exchange.hang_up()
        else:
            exchange.wait(seconds)
            applied(exchange)

    return act


def truncated(missing: int = 1000) -> Action:
    """An answer that ends before its Content-Length."""

    def act(exchange: Exchange) -> None:
        real = exchange.apply()
        length = f"Content-Length: {len(real.body) + missing}"
        exchange.write(real.head(length) + real.body)
        exchange.hang_up()

    return act


def endless(piece: bytes = b"x" * 65536) -> Action:
    """An answer without end: until the client leaves or the server closes."""

    def act(exchange: Exchange) -> None:
        real = replace(exchange.apply(), headers={"Content-Type": "application/json"})
        exchange.write(real.head("Transfer-Encoding: chunked"))
        while True:
            exchange.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            exchange.wait(0)

    return act


def raw(data: bytes, *, apply: bool = False) -> Action:
    """Bytes that need not be HTTP, then the end of the connection."""

    def act(exchange: Exchange) -> None:
        if apply:
            exchange.apply()
        exchange.write(data)
        exchange.hang_up()

    return act


def drip(pause: float = 0.05, size: int = 1) -> Action:
    """The real answer, a few bytes at a time."""

    def act(exchange: Exchange) -> None:
        real = exchange.apply()
        data = real.head() + real.body
        for start in range(0, len(data), size):
            exchange.write(data[start : start + size])
            exchange.wait(pause)

    return act


def redirect(location: str | None = None, status: int = 307) -> Action:
    """A redirect: to a host that must not see the key, unless told where."""

    def act(exchange: Exchange) -> None:
        where = location or exchange.elsewhere + exchange.request.path
        exchange.send(Answer(status, headers={"Location": where}))

    return act


def deep_json(depth: int = 100_000) -> Action:
    """JSON that is nested deeper than a parser goes."""
    return answer(200, b'{"id": ' + b"[" * depth + b"]" * depth + b"}", apply=True)


def changed(change: Callable[[Any], Any]) -> Action:
    """The real answer's JSON, changed; of a page each line."""

    def act(exchange: Exchange) -> None:
        real = exchange.apply()
        headers = {**real.headers}
        zipped = headers.pop("Content-Encoding", None)
        lines = (gzip.decompress(real.body) if zipped else real.body).splitlines()
        told = [json.dumps(change(json.loads(line))).encode() for line in lines]
        exchange.send(Answer(real.status, b"\n".join(told), headers))

    return act


def wrong_types() -> Action:
    """The real answer, each of its values of another type."""
    return changed(lambda value: {name: _wrong(each) for name, each in value.items()})


def _wrong(value: Any) -> Any:
    if isinstance(value, str):
        return 7
    if isinstance(value, list):
        return {"0": value}
    return [value] if isinstance(value, dict) else "seven"


def control_characters(text: str = CONTROL) -> Action:
    """The real answer, with control characters in its names and addresses."""
    return changed(lambda value: _marked(value, text))


def _marked(value: Any, text: str) -> Any:
    if isinstance(value, list):
        return [_marked(each, text) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: each + text
        if isinstance(each, str) and re.search("name$|url$|message$", key)
        else _marked(each, text)
        for key, each in value.items()
    }
