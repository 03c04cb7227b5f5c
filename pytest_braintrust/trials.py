"""Read which trial of its test an item is.

A trial is a parameter that no test asks for, `ARGUMENT`: so it has a stable id, works
with other parameters, classes and workers, and can be run alone by its node id.
pytest-repeat does the same, and its repetitions are trials too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ARGUMENT = "__braintrust_trial"
_REPEAT_ARGUMENT = "__pytest_repeat_step_number"
_ARGUMENTS = frozenset({ARGUMENT, _REPEAT_ARGUMENT})

#: How trial 2 ends a parameter id: `trial2`, and `2-5` with pytest-repeat.
_OWN = re.compile(r"(?:^|-)trial(\d+)$")
_REPEATED = re.compile(r"(?:^|-)(\d+)-\d+$")

#: Where a row's facts have its trial's number and node id.
TRIAL = "trial"
TRIAL_NODEID = "trial_nodeid"

#: A test is an LLM call or more: what is beyond was not meant.
MOST = 10_000


def is_number(trials: object) -> bool:
    """Whether it is a number of trials that can be run."""
    whole = isinstance(trials, int) and not isinstance(trials, bool)
    return whole and 1 <= trials <= MOST  # type: ignore[operator]


def trial_of(callspec: Any) -> tuple[str | None, int | None]:
    """The parameter id of an item without its trial, and the number of that trial.

    Args:
        callspec: The item's, or None where it has no parameters.

    The id is None where the item has none, or nothing is left of it.
    """
    if callspec is None:
        return None, None
    if _ARGUMENTS.isdisjoint(callspec.params):
        return callspec.id, None
    for argument, pattern in ((ARGUMENT, _OWN), (_REPEAT_ARGUMENT, _REPEATED)):
        found = pattern.search(callspec.id) if argument in callspec.params else None
        if found is not None:
            return callspec.id[: found.start()] or None, int(found[1])
    return callspec.id, None


def split(nodeid: str) -> tuple[str, int | None]:
    """A node id without its trial, where only the text of it is known."""
    head, bracket, rest = nodeid.rpartition("[")
    found = _OWN.search(rest[:-1]) if bracket and rest.endswith("]") else None
    if found is None:
        return nodeid, None
    param_id = rest[: found.start()]
    return f"{head}[{param_id}]" if param_id else head, int(found[1])


def nodeid_of(event: Mapping[str, Any]) -> str | None:
    """The node id by which pytest runs the trial that an event is of, if it is one."""
    found = facts_of(event).get(TRIAL_NODEID)
    return found if isinstance(found, str) else None


def number_of(event: Mapping[str, Any]) -> int:
    """The number of the trial that an event is of; 0 where it is of none."""
    found = facts_of(event).get(TRIAL)
    return found if isinstance(found, int) else 0


def facts_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """What the plugin itself knows of an event; nothing where others made it."""
    metadata = event.get("metadata")
    facts = metadata.get("pytest") if isinstance(metadata, dict) else None
    return facts if isinstance(facts, dict) else {}
