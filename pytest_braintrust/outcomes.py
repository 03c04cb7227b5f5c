"""Which of its outcomes a test had, read from the reports of its phases.

Pure and without pytest: the process that runs the test derives the outcome of a row
from these rules, and the controller counts by the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias, get_args

Outcome: TypeAlias = Literal[
    "passed", "xpassed", "failed", "errored", "skipped", "xfailed"
]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

#: The outcomes that measured the test's own body, and the score that says so. A
#: failing fixture or a lost worker measured nothing.
PASS_SCORE: Mapping[str, float] = {"passed": 1.0, "xpassed": 1.0, "failed": 0.0}

#: Kept only when the test logged something: nothing else is known of them.
UNMEASURED: frozenset[str] = frozenset({"skipped", "xfailed"})


class Report(Protocol):
    """What is read of a `pytest.TestReport`."""

    @property
    def outcome(self) -> str:
        """One of passed, failed and skipped."""


def outcome_of(phases: Mapping[str, Report]) -> Outcome:
    """The outcome of a test from its reports so far, by phase name.

    A body that failed stays "failed" when a teardown fails after it: that its body
    raised is a fact, and the error text has both.
    """
    setup, call = phases.get("setup"), phases.get("call")
    teardown = phases.get("teardown")
    if call is not None and call.outcome == "failed":
        return "failed"
    if setup is not None and setup.outcome == "failed":
        return "errored"
    if teardown is not None and teardown.outcome == "failed":
        return "errored"
    ran = call or setup
    if ran is None:
        return "errored"
    if ran.outcome == "skipped":
        return "xfailed" if hasattr(ran, "wasxfail") else "skipped"
    return "xpassed" if hasattr(ran, "wasxfail") else "passed"
