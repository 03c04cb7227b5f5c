"""How long to go on trying at the end of a run, while somebody waits for us."""

from __future__ import annotations

from pytest_braintrust.clocks import monotonic
from pytest_braintrust.errors import PluginError, Unreachable

#: How long the end of a run tries where not even a connection can be made.
GONE_SECONDS = 3.0


class Patience:
    """Says whether another try is worth the wait.

    Args:
        seconds: How long tries may go on without a row that arrives.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: When rows arrived last, and when there was last a sign of the server.
        self._arrived = self._heard = monotonic()
        self._gone = False

    def lasts(self, pause: float, *, waited_for: bool = True) -> bool:
        """Whether another try after a pause is within the time.

        Args:
            pause: Seconds until then.
            waited_for: Whether somebody waits for it: then a server that no connection
                can be made to is given up after `GONE_SECONDS`.
        """
        until = self._arrived + self._seconds
        if self._gone and waited_for:
            until = min(until, self._heard + GONE_SECONDS)
        return monotonic() + pause < until

    def note(self, trouble: PluginError, *, arrived: bool) -> None:
        """Note what came of a try."""
        self._gone = isinstance(trouble, Unreachable) and trouble.nobody_there
        if arrived:
            self._arrived = monotonic()
        if arrived or not self._gone:
            self._heard = monotonic()
