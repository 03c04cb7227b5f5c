"""Get a dataset of Braintrust's for the tests that name it: one process asks, once.

Every worker of a run needs the same rows in the same order. The first one that comes
asks, while the others wait for its lock; what it got is pinned for the run, so that a
row that is added meanwhile is no case of the last worker alone.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_braintrust import child, folder
from pytest_braintrust.child import Progress
from pytest_braintrust.clocks import now
from pytest_braintrust.datasets.cache import FOLDER, PINS, Cache, Entry
from pytest_braintrust.datasets.wanted import Wanted
from pytest_braintrust.errors import DatasetError
from pytest_braintrust.jsonable import dumps
from pytest_braintrust.locks import locked
from pytest_braintrust.settings import Connection, Settings

_DAY = 24 * 60 * 60.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run's datasets come from.

    Attributes:
        connection: How Braintrust is reached; None: there is no key.
        offline: Whether it is not to be asked.
        directory: The store's directory, which the cache is in.
        project: The project of datasets that are named without one.
        project_forced: Whether an option named it, which goes before markers.
        page_size: Rows in a page of a download.
        run: What the processes of one run have in common; None: it has one process.
    """

    connection: Connection | None
    offline: bool
    directory: Path
    project: str
    project_forced: bool
    page_size: int
    run: str | None = None

    @classmethod
    def of(cls, settings: Settings, run: str | None) -> Source:
        """What a run was told by options, variables and ini."""
        return cls(
            settings.reach,
            settings.offline,
            settings.store,
            settings.project,
            settings.project_forced,
            settings.page_size,
            run,
        )

    def project_of(self, named: str | None) -> str:
        """The project of a dataset, for the one that the test's marker names, or none."""
        return self.project if self.project_forced or not named else named


@dataclass(frozen=True, slots=True)
class Obtained:
    """A dataset that is here, and what there is to say of how it came."""

    entry: Entry
    note: str | None = None


def obtain(
    source: Source, wanted: Wanted, progress: Progress = lambda rows: None
) -> Obtained:
    """The dataset that is wanted: the same for every process of a run.

    Raises:
        DatasetError: it is neither in the cache nor to be had.
        ChildError: the process that should ask for it failed.
    """
    try:
        folder.make(source.directory)
        with locked(source.directory, f"dataset-{wanted.key}"):
            return _once(source, wanted, progress)
    except OSError as error:
        place = source.directory / FOLDER
        msg = f"cannot write to {place}: {error.strerror or error}"
        raise DatasetError(msg) from None


def _once(source: Source, wanted: Wanted, progress: Progress) -> Obtained:
    pin = _Pin.of(source, wanted) if source.run is not None else None
    known = pin.read() if pin is not None else None
    if known is not None:
        return _pinned(source, known)
    try:
        found = _ask(source, wanted, progress)
    except DatasetError as error:
        if pin is not None:
            pin.write({"error": str(error)})
        raise
    if pin is not None:
        pin.write({"key": found.entry.kept.key, "note": found.note})
    return found


def _pinned(source: Source, known: dict[str, Any]) -> Obtained:
    if "error" in known:
        raise DatasetError(known["error"])
    entry = Cache(source.directory).entry(known["key"])
    if entry is None:
        msg = "the download that another worker made is gone"
        raise DatasetError(msg)
    return Obtained(entry, known["note"])


def _ask(source: Source, wanted: Wanted, progress: Progress) -> Obtained:
    if source.offline or source.connection is None:
        return Obtained(_cached(source, wanted, _why_not_asked(source)))
    request = {
        "task": "dataset",
        "connection": asdict(source.connection),
        "directory": str(source.directory),
        "wanted": asdict(wanted),
        "page_size": source.page_size,
    }
    # A process of ours asks: a suite may mock the network when it is imported. How
    # long a download takes nobody knows; the calls of it have their own bounds.
    answer = child.ask(request, float("inf"), progress)
    if answer["state"] == "ready":
        return _pinned(source, {"key": answer["key"], "note": None})
    if answer["state"] != "unreachable":
        raise DatasetError(answer["message"])
    entry = _cached(source, wanted, answer["message"])
    note = (
        f"dataset {wanted.name} comes from the cache, as of version "
        f"{entry.kept.version}: {answer['message']}"
    )
    return Obtained(entry, note)


def _why_not_asked(source: Source) -> str:
    if source.offline:
        return "Braintrust is not asked, because of --braintrust-offline"
    return "Braintrust cannot be asked without BRAINTRUST_API_KEY"


def _cached(source: Source, wanted: Wanted, why: str) -> Entry:
    """The version that was downloaded before.

    Raises:
        DatasetError: there is none, or it is not clear which dataset is meant.
    """
    connection = source.connection
    cache = Cache(source.directory)
    found = cache.matching(wanted, connection.api_url if connection else None)
    if not found:
        version = f" at version {wanted.version}" if wanted.version else ""
        msg = f"dataset {wanted.name}{version} was not downloaded before, and {why}"
        raise DatasetError(msg)
    if len({entry.kept.dataset_id for entry in found}) > 1:
        names = {f"{entry.kept.project}/{entry.kept.name}" for entry in found}
        msg = (
            f"more than one dataset that was downloaded may be meant by {wanted.name} "
            f"({', '.join(sorted(names))}), and {why}"
        )
        raise DatasetError(msg)
    cache.touch(found[0])
    return found[0]


@dataclass(frozen=True, slots=True)
class _Pin:
    """What the first process of a run got, for the others; written under the lock."""

    path: Path

    @classmethod
    def of(cls, source: Source, wanted: Wanted) -> _Pin:
        run = "".join(each for each in str(source.run) if each.isalnum())
        return cls(source.directory / FOLDER / PINS / run / f"{wanted.key}.json")

    def read(self) -> dict[str, Any] | None:
        try:
            known = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return None
        return known if isinstance(known, dict) else None

    def write(self, known: dict[str, Any]) -> None:
        self._sweep()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.write_text(dumps(known), encoding="ascii")

    def _sweep(self) -> None:
        """Remove the pins of runs that ended long ago."""
        for run in self.path.parent.parent.glob("*"):
            with suppress(OSError):
                if now() - run.stat().st_mtime > _DAY:
                    shutil.rmtree(run, ignore_errors=True)
