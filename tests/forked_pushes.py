"""Fork a `pytest-braintrust push` at each word `push`, and tell how it ended at `wait`.

A program of its own, with one thread, which has imported all that a push needs.
"""

from __future__ import annotations

import os
import sys

import pytest_braintrust.api
import pytest_braintrust.uploader  # noqa: F401 - so that no push imports it
from pytest_braintrust.cli import main


def pushed() -> int:
    """Fork one; answers its process id, which is a zombie's when it has ended."""
    pid = os.fork()
    if pid == 0:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            sys.stdout = sys.stderr = nowhere
            os._exit(main(["push"]))
    return pid


pid = 0
for line in sys.stdin:
    if line == "push\n":
        told = pid = pushed()
    else:
        told = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sys.stdout.write(f"{told}\n")
    sys.stdout.flush()
