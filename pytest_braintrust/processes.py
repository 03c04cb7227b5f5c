"""Which process this is: asked several times for every test, and by a look at a value.

A test may fork, and its child runs on in our code: what is the parent's to write, the
child must leave alone.
"""

from __future__ import annotations

import os


class _Current:
    """The process that runs this code."""

    __slots__ = ("pid",)

    def __init__(self) -> None:
        self.look()

    def look(self) -> None:
        """Look which one it is."""
        self.pid = os.getpid()


#: Its `pid` is that of the process it is read in, after a fork too.
CURRENT = _Current()

# Windows has no forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CURRENT.look)
