"""Paths of any text that somebody gave, and as people read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def told_from(folder: Path, path: str | Path) -> str:
    """A path as it is from a folder; whole where it is on another drive of Windows."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return str(path)


def is_file(path: Path) -> bool:
    """Whether a file is there; pathlib raises where the name is too long for one."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """The same of a folder."""
    return os.path.isdir(path)  # noqa: PTH112


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Say where to write what takes the place of a file, once it is whole.

    A pipe or a device, such as /dev/stdout, is written itself: with a file in its place
    it would be gone, for everybody.
    """
    if os.path.exists(path) and not is_file(path):  # noqa: PTH110
        yield path
        return
    # What a link leads to: the link stays.
    path = Path(os.path.realpath(path))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
