"""Which part of a suite a run was asked for, and whether one part holds another.

A run of a part is no baseline for a run of more: it would be compared with a few tests
and say of the others nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Where it stands in the metadata of a run; a run of all has none.
KEY = "selection"

#: The paths and node ids that were asked for, in `KEY`.
ARGUMENTS = "arguments"


def of_run(
    arguments: Sequence[str], narrowing: Mapping[str, Any], *, root: Path, folder: Path
) -> dict[str, Any]:
    """Describe a selection; empty for all of the suite.

    Args:
        arguments: Paths and node ids of the command line, none for the usual ones.
        narrowing: Options that leave tests out, by name, those that are not set too.
        root: pytest's root, which paths are told from.
        folder: What relative paths start at.
    """
    found = {name: value for name, value in narrowing.items() if value}
    paths = sorted({_from_root(each, root, folder) for each in arguments})
    return {**found, **({ARGUMENTS: paths} if paths and "." not in paths else {})}


def _from_root(argument: str, root: Path, folder: Path) -> str:
    path, separator, rest = argument.partition("::")
    absolute = os.path.abspath(folder / path)  # noqa: PTH100 - links stay as typed
    return Path(os.path.relpath(absolute, root)).as_posix() + separator + rest


def covers(then: object, now: object) -> bool:
    """Whether a run of one selection ran all that another one is to run.

    What is no selection, because somebody else wrote it, is taken for all.
    """
    before = then if isinstance(then, dict) else {}
    after = now if isinstance(now, dict) else {}
    narrowing = {name for name in before if name != ARGUMENTS}
    if any(before[name] != after.get(name) for name in narrowing):
        return False
    wide, narrow = before.get(ARGUMENTS), after.get(ARGUMENTS)
    if not isinstance(wide, list):
        return True
    return isinstance(narrow, list) and all(
        any(_holds(str(outer), str(inner)) for outer in wide) for inner in narrow
    )


def _holds(outer: str, inner: str) -> bool:
    rest = inner.removeprefix(outer)
    return not rest or (rest != inner and rest.startswith(("/", "::", "[")))
