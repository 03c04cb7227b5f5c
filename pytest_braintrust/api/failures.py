"""From an answer that is no success to an error of ours, in words that are safe.

What a server says is text from outside: the key is taken out of it, what is not
printable becomes a space, and only its start is kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from pytest_braintrust.api import bodies
from pytest_braintrust.errors import (
    ApiError,
    BadAnswer,
    Overloaded,
    Refused,
    Rejected,
    TooLarge,
)

#: How much of an answer is looked at for the reason of a failure.
REASON_BYTES = 100_000

_MESSAGE_CHARACTERS = 300
_LATER = {408, 425, 429}
_MAX_RETRY_AFTER = 60.0
# Not `<[^>]*>`: on a page of nothing but `<` that takes the square of its length.
_TAG = re.compile(r"<[^<>]*>")


def failure(status: int, headers: Mapping[str, str], text: str) -> ApiError:
    """The error for an answer with that status.

    Args:
        status: Any status that is no success.
        headers: The answer's headers, by names in lower case.
        text: The error's text.
    """
    if status in {401, 403}:
        return Refused(text, status=status)
    if status in _LATER or status >= 500:  # noqa: PLR2004 - HTTP's own bound
        return Overloaded(text, status=status, retry_after=retry_after(headers))
    if status < 400:  # noqa: PLR2004 - HTTP's own bound
        return BadAnswer(text, status=status)
    kind = TooLarge if status == 413 else Rejected  # noqa: PLR2004 - HTTP's own
    return kind(text, status=status)


def scrubbed(text: str, secret: str) -> str:
    """`text` without the secret and what is not printable, and not too long."""
    plain = _printable(text.replace(secret, "[redacted]"))
    if len(plain) > _MESSAGE_CHARACTERS:
        return plain[:_MESSAGE_CHARACTERS] + "…"
    return plain


def reason(body: bytes) -> str:
    """The server's own words: Braintrust answers JSON, gateways answer HTML."""
    text = body.decode("utf-8", "replace")
    try:
        answer = bodies.decoded(text)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        told = _told(answer)
        if isinstance(told, dict):
            told = _told(told)
        if isinstance(told, str):
            return told
    return _TAG.sub(" ", text)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds after which to come back, at most a minute; None where not told."""
    told = headers.get("retry-after", "").strip()
    try:
        seconds = float(told)
    except ValueError:
        seconds = _until(told, headers.get("date", ""))
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def _until(moment: str, now: str) -> float:
    """Seconds between two HTTP dates of one server: ours may tell another time."""
    try:
        between = parsedate_to_datetime(moment) - parsedate_to_datetime(now)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return between.total_seconds()


def _told(answer: Mapping[str, object]) -> object:
    return next(
        (answer[name] for name in ("message", "error", "Message") if answer.get(name)),
        None,
    )


def _printable(text: str) -> str:
    spaced = (each if each.isprintable() else " " for each in text)
    return " ".join("".join(spaced).split())
