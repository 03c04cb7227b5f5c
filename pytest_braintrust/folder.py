"""The folder that everything local lies in, made like pytest's own cache folder."""

from __future__ import annotations

from pathlib import Path

#: Where each session keeps its journals, in it.
JOURNALS = "running"

_GITIGNORE = "# Written by pytest-braintrust.\n*\n"


def make(directory: Path) -> None:
    """Make it, ignored by git and for us alone, if it is not there yet.

    Raises:
        OSError: it cannot be made.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = directory / ".gitignore"
    if not ignore.exists():
        ignore.write_text(_GITIGNORE, encoding="utf-8")
