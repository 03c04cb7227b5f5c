"""Take secrets out of what a run says of itself: known ones, and what looks like one.

Rather too much than too little: an argument that is not kept whole is a nuisance, a
key on a server is an incident.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_braintrust.jsonable import plain_text

REDACTED = "[redacted]"

_WORDS = r"(?:key|token|secret|passw|passphrase|pwd|credential|auth|cookie|session)"
#: The name of an option whose value is the next argument.
_OPTION = re.compile(rf"-[\w.-]*{_WORDS}[\w.-]*", re.IGNORECASE)
#: A name and its value, as in `a=b`, `"a": "b"` and a header; not a node id's `a::b`.
#: Names are looked at from their start alone: else ten thousand characters of one, as
#: an experiment may have, take seconds.
_ASSIGNED = re.compile(
    rf"(?<![\w.-])(?=[\w.-]*{_WORDS})([\w.-]+[\"']?\s*(?:=|:\s)\s*[\"']?)"
    r"(?:(?:bearer|basic|token)\s+)?[^\s\"'&;,]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b((?:bearer|basic)\s+)[^\s\"']{8,}", re.IGNORECASE)
#: Shapes of keys that services hand out. A digit is in each of them, and not in names
#: of files that begin alike.
_SHAPE = re.compile(
    r"\b(?:(?:sk|pk|rk|gh[pousr]|github_pat|glpat|xox[abeprs]|bt-st|hf|npm|pypi)[-_]"
    r"|eyJ|AKIA|ASIA|AIza)(?=[\w.-]*\d)[\w.-]{12,}"
)
_USER_INFO = re.compile(r"(://)[^/\s]+@")


def arguments(given: Iterable[str], api_key: str | None) -> list[str]:
    """Command line arguments without the secrets that are known or look like one."""
    result: list[str] = []
    is_value = False
    for each in given:
        shown = text(each, api_key)
        if is_value and not each.startswith("-"):
            shown = REDACTED
        is_value = _OPTION.fullmatch(each) is not None
        result.append(shown)
    return result


def text(given: str, api_key: str | None) -> str:
    """Text without the secrets that are known or look like one."""
    shown = plain_text(given)
    if api_key:
        shown = shown.replace(api_key, REDACTED)
    shown = _USER_INFO.sub(rf"\1{REDACTED}@", shown)
    for pattern in (_ASSIGNED, _BEARER):
        shown = pattern.sub(rf"\1{REDACTED}", shown)
    return _SHAPE.sub(REDACTED, shown)
