"""The time of the world, whatever a suite makes of `time`.

Tests freeze clocks and mock `sleep`, some for a whole run and before the first hook:
what was measured would be wrong, and a wait would never end.
"""

from __future__ import annotations

from pytest_braintrust import REAL_TIME


def now() -> float:
    """Unix seconds."""
    return REAL_TIME[0]()


def monotonic() -> float:
    """Seconds since some moment, which no change of the date changes."""
    return REAL_TIME[1]()


def sleep(seconds: float) -> None:
    """Wait for some seconds."""
    REAL_TIME[2](seconds)
