"""A process of ours beside pytest: started, and ended, whatever the system allows."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from pathlib import Path

import pytest

from pytest_braintrust import service
from pytest_braintrust.child import Child
from pytest_braintrust.errors import ChildError


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_it_used_is_removed(temporary: Path) -> None:
    """Its folder, whether it did its work or not."""
    child = Child({"task": "none"})
    assert list(temporary.iterdir())
    child.close()
    assert not list(temporary.iterdir())


def test_a_folder_that_cannot_be_removed_is_left(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses it where another process is in there."""

    def refuse(path: str, **_: object) -> None:
        raise PermissionError(errno.EACCES, "used by another process", path)

    child = Child({"task": "none"})
    with monkeypatch.context() as windows:
        for name in ("rmdir", "unlink"):
            windows.setattr(os, name, refuse)
        child.close()
    assert len(list(temporary.iterdir())) == 1


def test_without_a_folder_for_temporary_files_there_is_none(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears of it, and does the work itself."""
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "none"))
    with pytest.raises(ChildError, match="no folder for temporary files"):
        Child({"task": "none"})


def test_a_clock_that_goes_on_ends_no_wait_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time may be up between two looks at it."""
    times = iter([0.0, 0.5, *[1.5] * 9])
    slept: list[float] = []
    ended, left = threading.Event(), threading.Event()
    ended.set()
    monkeypatch.setattr(service, "monotonic", lambda: next(times))
    monkeypatch.setattr(service, "sleep", slept.append)
    service._end_in_time(ended, service._Arrivals(), 1.0, left.set)
    assert left.is_set()
    assert min(slept) > 0
