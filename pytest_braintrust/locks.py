"""Locks between processes: one does a thing, the others wait."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from filelock import FileLock

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


def _file_name(what: str) -> str:
    if _NAME.fullmatch(what):
        return what
    return blake2b(what.encode("utf-8", "replace"), digest_size=16).hexdigest()
