"""A stand-in for Braintrust's API: a real, stateful HTTP server on loopback."""

from fake_braintrust.call import Knobs
from fake_braintrust.faults import (
    Action,
    Fault,
    answer,
    busy,
    changed,
    control_characters,
    deep_json,
    drip,
    endless,
    hang,
    html,
    raw,
    redirect,
    reset,
    revoked,
    truncated,
    wrong_types,
)
from fake_braintrust.server import FakeBraintrust
from fake_braintrust.wire import Answer, Exchange, Request

__all__ = [
    "Action",
    "Answer",
    "Exchange",
    "FakeBraintrust",
    "Fault",
    "Knobs",
    "Request",
    "answer",
    "busy",
    "changed",
    "control_characters",
    "deep_json",
    "drip",
    "endless",
    "hang",
    "html",
    "raw",
    "redirect",
    "reset",
    "revoked",
    "truncated",
    "wrong_types",
]
