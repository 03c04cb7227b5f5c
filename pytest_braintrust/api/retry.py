"""How often and how long a call is tried again.

Exponential waits with full jitter: many clients that failed together do not come
back together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pytest_braintrust.clocks import monotonic
from pytest_braintrust.errors import ApiError, Overloaded, Unreachable

T = TypeVar("T")

#: More would not fit a float; no wait is that long.
_DOUBLINGS = 100


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `tries` tries within `seconds`; waits grow from `first` to `longest`.

    A server that has sent no byte for `silence` seconds is given up after two tries.
    """

    tries: int = 6
    seconds: float = 60.0
    first: float = 0.25
    longest: float = 10.0
    silence: float = math.inf

    def wait(self, attempt: int) -> float:
        """Seconds to wait after the given attempt, counted from 0."""
        # Not for secrets: any even spread will do.
        longest = self.first * 2 ** min(attempt, _DOUBLINGS)
        return random.uniform(0, min(self.longest, longest))  # noqa: S311

    def wait_after(self, error: ApiError, attempt: int) -> float:
        """The same, unless the server said itself when to come back."""
        told = error.retry_after if isinstance(error, Overloaded) else None
        return self.wait(attempt) if told is None else told


#: For a check that a person waits for.
ONCE = RetryPolicy(tries=1)
#: For downloads, whose requests small plans count by the minute. Who says nothing at
#: all is not busy, and gets no more than twice the time that a slow page may take.
PATIENT = RetryPolicy(tries=12, seconds=300.0, longest=30.0, silence=120.0)


def retrying(
    call: Callable[[], T], policy: RetryPolicy, sleep: Callable[[float], object]
) -> T:
    """Call until it succeeds, cannot succeed, or the policy's bounds are reached.

    Args:
        call: Does one try; raises an `ApiError`.
        policy: The bounds.
        sleep: Waits for some seconds.

    Raises:
        ApiError: the last try's error.
    """
    heard = monotonic()
    deadline = heard + policy.seconds
    for attempt in range(policy.tries):
        try:
            return call()
        except ApiError as error:
            wait = policy.wait_after(error, attempt)
            last = attempt == policy.tries - 1
            heard = max(heard, _heard(error))
            # A connection that died unnoticed is silent too, but the next one is not.
            until = min(deadline, heard + policy.silence) if attempt else deadline
            if not error.retryable or last or monotonic() + wait > until:
                raise
            sleep(wait)
    msg = "a retry policy has at least one try"
    raise ValueError(msg)


def _heard(error: ApiError) -> float:
    """When the server was heard last, by what came of a try."""
    return error.heard if isinstance(error, Unreachable) else monotonic()
