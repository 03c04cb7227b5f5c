"""Paths as people read them, from a folder on."""

from __future__ import annotations

import os
from pathlib import Path


def told_from(folder: Path, path: str | Path) -> str:
    """A path as it is from a folder; whole where it is on another drive of Windows."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return str(path)
