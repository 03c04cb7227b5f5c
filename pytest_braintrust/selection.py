"""Which part of a suite a run was asked for, and whether one part holds another.

A run of a part is no baseline for a run of more: it would be compared with a few tests
and say of the others nothing.
"""

from __future__ import annotations

import glob
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_braintrust.paths import told_from

#: Where it stands in the metadata of a run; a run of all has none.
SELECTION = "selection"

#: In the metadata of a run of those tests alone that had got worse: it says too little
#: of the suite to be compared with.
SELECTED = "selected"

#: The paths and node ids that were asked for, in `SELECTION`.
ARGUMENTS = "arguments"

#: Options whose every value leaves something out, and those of them that are paths.
_EXCLUDING = frozenset({"deselect", "ignore", "ignore_glob"})
_EXCLUDED_PATHS = frozenset({"ignore", "ignore_glob"})

#: Options of which each run makes something else.
_VARYING = frozenset({"lf", "stepwise"})

#: Ini values that decide what is collected, where `-o` sets them for one run.
_OVERRIDDEN = "override_ini"
_DECIDING = frozenset(
    {
        "collect_imported_tests",
        "norecursedirs",
        "python_classes",
        "python_files",
        "python_functions",
    }
)


@dataclass(frozen=True, slots=True)
class Start:
    """Where paths are told from, and what the suite is where none is asked for."""

    #: pytest's root.
    root: Path
    #: What relative paths start at.
    folder: Path
    #: What the ini file calls the suite; empty: all below the root.
    testpaths: Sequence[str] = ()
    #: Whether what is asked for may be a module, by its name.
    pyargs: bool = False

    def asked(self, argument: str) -> str:
        """An argument of pytest as it is from the root."""
        name, separator, rest = argument.partition("::")
        place = _place_of(name) if self.pyargs else None
        return self.told(argument if place is None else place + separator + rest)

    def told(self, argument: str) -> str:
        """A path or node id as it is from the root."""
        path, separator, rest = argument.partition("::")
        absolute = os.path.abspath(self.folder / path)  # noqa: PTH100 - links stay
        return Path(told_from(self.root, absolute)).as_posix() + separator + rest

    def is_all(self, paths: Sequence[str]) -> bool:
        """Whether paths, told from the root, hold the suite."""
        found = [
            Path(each).as_posix()
            for pattern in self.testpaths
            # As pytest looks for them; the root is no part of what it finds.
            for each in glob.glob(pattern, root_dir=self.root, recursive=True)  # noqa: PTH207
        ]
        return "." in paths or (bool(found) and all(_held(e, paths) for e in found))


def of_run(
    arguments: Sequence[str], narrowing: Mapping[str, Any], start: Start
) -> dict[str, Any]:
    """Describe a selection; empty for all of the suite.

    Args:
        arguments: The paths and node ids that pytest collects.
        narrowing: Options that leave tests out, by name, those that are not set too.
        start: Where paths are told from.
    """
    found = {name: value for name, value in narrowing.items() if value}
    for name in _EXCLUDED_PATHS & found.keys():
        found[name] = sorted({start.told(str(each)) for each in found[name]})
    deciding = sorted(e for e in found.pop(_OVERRIDDEN, ()) if _name(e) in _DECIDING)
    if deciding:
        found[_OVERRIDDEN] = deciding
    paths = sorted({start.asked(each) for each in arguments})
    return found if start.is_all(paths) else {**found, ARGUMENTS: paths}


def _place_of(module: str) -> str | None:
    """The file or folder of a module, as pytest looks for it; None: there is none.

    Nothing is imported: what a package does then is for pytest to begin.
    """
    top, *names = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = spec.submodule_search_locations
    if folders is None:
        return None if names else spec.origin
    places = [Path(folder, *names) for folder in folders]
    files = [each.with_name(f"{each.name}.py") for each in places]
    found = (str(each) for each in (*places, *files) if each.exists())
    return next(found, None)


def _name(setting: str) -> str:
    return setting.partition("=")[0].strip()


def covers(then: object, now: object) -> bool:
    """Whether a run of one selection ran all that another one is to run.

    What is no selection, because somebody else wrote it, is taken for all.
    """
    before = then if isinstance(then, dict) else {}
    after = now if isinstance(now, dict) else {}
    narrowing = {name for name in before if name != ARGUMENTS}
    if not all(_leaves(name, before[name], after.get(name)) for name in narrowing):
        return False
    wide, narrow = before.get(ARGUMENTS), after.get(ARGUMENTS)
    if not isinstance(wide, list):
        return True
    return isinstance(narrow, list) and all(_held(str(e), wide) for e in narrow)


def asks_for(
    metadata: Mapping[str, Any], other: Mapping[str, Any]
) -> Callable[[str], bool]:
    """Tell of the tests that one run had whether another run would have had them.

    Where that cannot be told, it would not.

    Args:
        metadata: Of the run that would have run them.
        other: Of the run that did.
    """
    mine, theirs = metadata.get(SELECTION), other.get(SELECTION)
    asked = mine if isinstance(mine, dict) else {}
    beside = theirs if isinstance(theirs, dict) else {}
    narrowing = asked.keys() - _EXCLUDING - {ARGUMENTS}
    told = all(asked[e] == beside.get(e) and e not in _VARYING for e in narrowing)
    if SELECTED in metadata or not told:
        return lambda nodeid: False
    if asked == beside:
        # However it is said, as by a name that is no path here.
        return lambda nodeid: True
    return lambda nodeid: _is_asked_for(nodeid, asked)


def _is_asked_for(nodeid: str, asked: Mapping[str, Any]) -> bool:
    paths = asked.get(ARGUMENTS)
    if isinstance(paths, list) and not _held(nodeid, paths):
        return False
    file = PurePosixPath(nodeid.partition("::")[0])
    places = [str(each) for each in (file, *file.parents)]
    return not (
        any(map(nodeid.startswith, _texts(asked.get("deselect"))))
        or any(each in places for each in _texts(asked.get("ignore")))
        or any(
            fnmatch(place, each)
            for each in _texts(asked.get("ignore_glob"))
            for place in places
        )
    )


def _texts(told: object) -> tuple[str, ...]:
    """What an option was given; nothing where somebody else wrote it otherwise."""
    texts = tuple(told) if isinstance(told, list) else ()
    return texts if all(isinstance(each, str) for each in texts) else ()


def _leaves(name: str, then: object, now: object) -> bool:
    """Whether what an option left out then is left out now."""
    if name in _EXCLUDING and isinstance(then, list) and isinstance(now, list):
        return all(each in now for each in then)
    return then == now


def _held(inner: str, outer: Sequence[object]) -> bool:
    return any(_holds(str(each), inner) for each in outer)


def _holds(outer: str, inner: str) -> bool:
    rest = inner.removeprefix(outer)
    return not rest or (rest != inner and rest.startswith(("/", "::", "[")))
