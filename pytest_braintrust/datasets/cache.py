"""Downloaded datasets on disk: each in a folder of its own that never changes again.

A download is written under another name and renamed when it is whole, manifest
included. So what has its name is whole, whenever whoever wrote it was killed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_braintrust import folder
from pytest_braintrust.datasets.wanted import Wanted, key_of
from pytest_braintrust.errors import DatasetError

FOLDER = "datasets"
#: Where the runs of several processes note what they use, beside the downloads.
PINS = "pins"
_ROWS, _MANIFEST = "rows.jsonl", "manifest.json"
_PART = ".part"

_DAY = 24 * 60 * 60.0
#: Nobody writes that long at a download.
_PART_SECONDS = _DAY
#: What was not used for so long goes when something new comes.
_UNUSED_SECONDS = 30 * _DAY


@dataclass(frozen=True, slots=True)
class Kept:
    """What a download is of; with all of this the same, its rows are the same.

    Attributes:
        api_url: The server.
        org_id: The organisation, None where the server does not tell.
        project: The project's name.
        dataset_id: The dataset's id.
        name: Its name.
        version: The newest transaction in it, or the one that was asked for.
        pinned: Whether it was asked for: then it may be an old one.
        total: How many rows the newest version has in all, as the server counted them;
            None where it does not. A row that is deleted changes this and not the
            version.
        limit: How many rows were wanted; None: all.
        filter: The condition on them.
    """

    api_url: str
    org_id: str | None
    project: str
    dataset_id: str
    name: str
    version: str
    pinned: bool
    total: int | None
    limit: int | None
    filter: str | None

    @property
    def key(self) -> str:
        """The name of its folder. Names may change, and are not in it."""
        value = asdict(self)
        del value["project"], value["name"]
        return key_of(value)


@dataclass(frozen=True, slots=True)
class Entry:
    """A whole download."""

    kept: Kept
    #: The file of its rows, one JSON object a line.
    path: Path
    rows: int


class Cache:
    """The downloads under a store's directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._folder = directory / FOLDER

    def entry(self, key: str) -> Entry | None:
        """The download in the folder of that name, if it is whole."""
        home = self._folder / key
        try:
            manifest = json.loads((home / _MANIFEST).read_bytes())
            path = home / _ROWS
            if path.stat().st_size != manifest["bytes"]:
                return None
            return Entry(Kept(**manifest["kept"]), path, manifest["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def touch(self, entry: Entry) -> None:
        """Note that it is still of use."""
        with suppress(OSError):
            os.utime(entry.path.parent / _MANIFEST)

    def matching(
        self, wanted: Wanted, api_url: str | None, org_id: str | None = None
    ) -> list[Entry]:
        """The downloads of what is wanted, the best one first.

        Args:
            wanted: The dataset. Without a version, every version matches; one that
                was once the newest goes before one that somebody asked for.
            api_url: The server; None: any.
            org_id: The organisation; None: any.
        """
        places = set(wanted.places())
        found = [
            ((not entry.kept.pinned, entry.kept.version.zfill(20), used), entry)
            for used, entry in self._entries()
            if (entry.kept.project, entry.kept.name) in places
            and wanted.version in {None, entry.kept.version}
            and (wanted.limit, wanted.filter) == (entry.kept.limit, entry.kept.filter)
            and api_url in {None, entry.kept.api_url}
            and org_id in {None, entry.kept.org_id}
        ]
        found.sort(key=lambda each: each[0], reverse=True)
        return [entry for _, entry in found]

    def _entries(self) -> Iterator[tuple[float, Entry]]:
        for path in sorted(self._folder.glob(f"*/{_MANIFEST}")):
            entry = self.entry(path.parent.name)
            if entry is not None and not path.parent.name.endswith(_PART):
                with suppress(OSError):
                    yield path.stat().st_mtime, entry

    @contextmanager
    def new(self) -> Iterator[Path]:
        """A folder to write a download in, that is gone at the end.

        Raises:
            DatasetError: the disk does not take it.
        """
        try:
            folder.make(self._directory)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._sweep()
            # Its own, so that two that write at a time do not meet.
            made = Path(tempfile.mkdtemp(suffix=_PART, dir=self._folder))
        except OSError as error:
            raise _unwritable(self._folder, error) from None
        try:
            yield made
        except OSError as error:
            raise _unwritable(self._folder, error) from None
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def keep(self, made: Path, kept: Kept, rows: int) -> Entry:
        """Give the folder of a download its name; from here on it is used."""
        home = self._folder / kept.key
        manifest: dict[str, Any] = {
            "kept": asdict(kept),
            "rows": rows,
            "bytes": (made / _ROWS).stat().st_size,
        }
        text = json.dumps(manifest, indent=1)
        (made / _MANIFEST).write_text(text, encoding="utf-8")
        (made / _MANIFEST).chmod(0o600)
        if self.entry(kept.key) is None:
            shutil.rmtree(home, ignore_errors=True)  # one that was damaged
            with suppress(FileExistsError):
                made.rename(home)
        found = self.entry(kept.key)
        if found is None:
            msg = f"the download in {home} cannot be read back"
            raise DatasetError(msg)
        return found

    def _sweep(self) -> None:
        """Remove what killed downloads left, and what nobody used for long."""
        now = time.time()
        for each in self._folder.iterdir():
            if each.name == PINS:
                continue
            with suppress(OSError):
                mark = each / _MANIFEST
                used = (mark if mark.exists() else each).stat().st_mtime
                limit = _PART_SECONDS if each.name.endswith(_PART) else _UNUSED_SECONDS
                if each.is_dir() and now - used > limit:
                    shutil.rmtree(each, ignore_errors=True)


def rows_file(made: Path) -> Path:
    """Where the rows of a download are written, for us alone."""
    path = made / _ROWS
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    return path


def _unwritable(place: Path, error: OSError) -> DatasetError:
    return DatasetError(f"cannot write to {place}: {error.strerror or error}")
