"""Paths of any text that somebody gave, and as people read them."""

from __future__ import annotations

import os
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
