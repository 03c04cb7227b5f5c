"""The bytes of an answer: inflated, bounded, and decoded.

Inflated here, in steps of a known size, because a library that inflates each piece
whole lets a server turn a few kilobytes into gigabytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NoReturn

from pytest_braintrust.errors import BadAnswer

#: The largest answer, and the largest line of a download, that is read.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
#: The largest page of a download: it lies on disk, which is not to be filled either.
MAX_PAGE_BYTES = 4 * 1024 * 1024 * 1024

_STEP = 256 * 1024
#: Tells zlib to find out by itself whether it reads gzip or zlib.
_EITHER = zlib.MAX_WBITS | 32


def inflated(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The pieces of a body without its content encoding.

    Raises:
        BadAnswer: an encoding that was not asked for, damaged, or cut off.
    """
    kind = encoding.strip().lower()
    if kind in {"", "identity"}:
        yield from pieces
    elif kind in {"gzip", "x-gzip", "deflate"}:
        yield from _inflated(pieces)
    else:
        msg = "the answer has a content encoding that was not asked for"
        raise BadAnswer(msg)


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_EITHER)
    for piece in pieces:
        rest = piece
        while rest:
            if inflater.eof:  # a gzip file may have several members
                inflater = zlib.decompressobj(_EITHER)
            try:
                data = inflater.decompress(rest, _STEP)
            except zlib.error:
                msg = "the answer is damaged: it cannot be inflated"
                raise BadAnswer(msg) from None
            rest = inflater.unconsumed_tail or inflater.unused_data
            if data:
                yield data
    if not inflater.eof:
        msg = "the answer is cut off: its compressed body has no end"
        raise BadAnswer(msg)


def start(pieces: Iterable[bytes], size: int) -> bytes:
    """The first `size` bytes of a body; the rest is not read."""
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) >= size:
            break
    return bytes(body[:size])


def whole(pieces: Iterable[bytes]) -> bytes:
    """All of a body, within `MAX_ANSWER_BYTES`."""
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            _too_large("an answer", MAX_ANSWER_BYTES)
    return bytes(body)


def save(pieces: Iterable[bytes], file: BinaryIO) -> None:
    """Write a body to a file from its start, within `MAX_PAGE_BYTES`."""
    file.seek(0)
    file.truncate()
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_PAGE_BYTES:
            _too_large("a page", MAX_PAGE_BYTES)
        file.write(piece)
    file.seek(0)


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file that are not blank, each within `MAX_ANSWER_BYTES`."""
    while line := file.readline(MAX_ANSWER_BYTES + 1):
        if len(line) > MAX_ANSWER_BYTES:
            _too_large("a line", MAX_ANSWER_BYTES)
        if text := line.strip():
            yield text


def decoded(body: bytes | str) -> Any:
    """The JSON value of some text.

    Raises:
        ValueError: it is not JSON, or nested too deep to be any document of ours.
    """
    try:
        return json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        msg = "nested too deep"
        raise ValueError(msg) from None


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _too_large(what: str, size: int) -> NoReturn:
    msg = f"{what} of more than {size:,} bytes was cut off"
    raise BadAnswer(msg)
