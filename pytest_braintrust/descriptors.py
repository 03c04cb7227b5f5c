"""The descriptors that we hold open, in a process where tests close what they find.

A test that closes every descriptor closes ours too, and the files that it opens next
have their numbers: what we wrote by such a number would go into them, and closing it
would close theirs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Where a system that has it lists the descriptors of a process.
_LIST = "/dev/fd"


# In tuples, because pyfakefs replaces what it finds by name in modules.
_FSTAT, _OPEN, _CLOSE = (os.fstat,), (os.open,), (os.close,)

#: Files of pytest's and of tests have numbers below it.
_HIGH = 64


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A number by which this process has a file open."""

    number: int
    device: int
    inode: int

    @classmethod
    def of(cls, number: int) -> Descriptor:
        """The descriptor of that number, as it is now.

        Raises:
            OSError: nothing is open by that number.
        """
        found = _FSTAT[0](number)
        return cls(number, found.st_dev, found.st_ino)

    @property
    def is_ours(self) -> bool:
        """Whether the number still stands for the file that it stood for."""
        try:
            return Descriptor.of(self.number) == self
        except OSError:
            return False

    @property
    def is_removed(self) -> bool:
        """Whether its file has no name any more: nobody else will ever see it."""
        try:
            return os.fstat(self.number).st_nlink == 0
        except OSError:
            return False

    @property
    def is_usable(self) -> bool:
        """Whether it is ours, and its file has a name; asked once for every test."""
        try:
            found = _FSTAT[0](self.number)
        except OSError:
            return False
        same = found.st_ino == self.inode and found.st_dev == self.device
        return same and found.st_nlink > 0

    def close(self) -> None:
        """Close it, unless it is someone else's by now."""
        if self.is_ours:
            os.close(self.number)


def found(paths: Iterable[Path]) -> dict[Descriptor, Path]:
    """The descriptors by which this process has files open.

    None where the system has no list of them, as Windows, whose files have other
    handles than those that a test can close so easily.
    """
    try:
        numbers = [int(name) for name in os.listdir(_LIST)]  # noqa: PTH208 - numbers
    except (OSError, ValueError):
        return {}
    wanted = {_identity(path): path for path in paths}
    opened = {number: _identity(number) for number in numbers}
    return {
        Descriptor(number, *identity): wanted[identity]
        for number, identity in opened.items()
        if identity is not None and identity in wanted
    }


@contextmanager
def high_numbers() -> Iterator[None]:
    """Let what is opened inside have numbers that nobody else is likely to have had.

    Whose file a test closed may still write by its number, as pytest to the terminal
    and a buffer that is thrown away: not into ours, if that is opened after it.
    """
    held: list[int] = []
    try:
        try:
            while os.name == "posix" and (not held or held[-1] < _HIGH):
                held.append(_OPEN[0](os.devnull, os.O_RDONLY))
        except OSError:
            # There are not so many: low ones must do, and none are left but these.
            while held:
                _CLOSE[0](held.pop())
        yield
    finally:
        for number in held:
            _CLOSE[0](number)


@contextmanager
def given_back(
    files: Mapping[Descriptor, Path], replaceable: Collection[Path] = ()
) -> Iterator[None]:
    """Let lost numbers stand for their files again, while someone closes them.

    What stands there now is put aside, and back at the end.

    Args:
        files: What each number stood for.
        replaceable: Those for which an empty file does, where they are no longer.

    Raises:
        OSError: another file is no longer where it was.
    """
    theirs: list[tuple[int, int, bool]] = []
    try:
        for descriptor, path in files.items():
            if not descriptor.is_ours:
                theirs += _copies(descriptor.number)
                _give_back(descriptor, path, or_none=path in replaceable)
        yield
    finally:
        # The last first: a copy may have got the number of a later one.
        for number, copy, inheritable in reversed(theirs):
            os.dup2(copy, number, inheritable)
            os.close(copy)


def _copies(number: int) -> list[tuple[int, int, bool]]:
    """Copy what is open by a number, if anything is."""
    try:
        return [(number, os.dup(number), os.get_inheritable(number))]
    except OSError:
        return []


def _give_back(descriptor: Descriptor, path: Path, *, or_none: bool) -> None:
    real = _reopened(descriptor, path, or_none=or_none)
    if real != descriptor.number:
        os.dup2(real, descriptor.number, inheritable=False)
        os.close(real)


def _reopened(descriptor: Descriptor, path: Path, *, or_none: bool) -> int:
    # Not that of another file: who closes it may change what is in it before.
    if _identity(path) == (descriptor.device, descriptor.inode):
        return os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    if or_none:
        return os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    msg = f"{path} is another file now"
    raise OSError(msg)


def _identity(file: int | Path) -> tuple[int, int] | None:
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
