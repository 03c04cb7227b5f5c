"""Which metrics are times, in seconds: those that a machine under load makes longer."""

from __future__ import annotations

#: Seconds of a test's body, which the plugin itself takes, and a metric of Braintrust.
_SECONDS = frozenset({"duration", "time_to_first_token"})


def is_time(name: str) -> bool:
    """Whether a metric is a time, by its name: Braintrust's own end with `_duration`."""
    return name in _SECONDS or name.endswith("_duration")
