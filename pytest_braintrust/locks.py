"""Locks between processes: one does a thing, the others wait."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from filelock import FileLock, Timeout

#: Where the lock files are, in a store's directory.
FOLDER = "locks"

#: What may be the name of a file everywhere; ids of others may be anything.
_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Hold the lock of that name; one that a killed process held is free."""
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(folder / f"{_file_name(what)}.lock"):
        yield


def is_held(directory: Path, what: str) -> bool:
    """Whether a process holds the lock of that name now."""
    path = directory / FOLDER / f"{_file_name(what)}.lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def remove(directory: Path, what: str) -> None:
    """Remove the file of a lock that nobody will ask for again, unless it is held."""
    path = directory / FOLDER / f"{_file_name(what)}.lock"
    with suppress(OSError, Timeout), FileLock(path, timeout=0):
        path.unlink()


def _file_name(what: str) -> str:
    if _NAME.fullmatch(what):
        return what
    return blake2b(what.encode("utf-8", "replace"), digest_size=16).hexdigest()
