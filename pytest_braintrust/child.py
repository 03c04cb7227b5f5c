"""Start processes of our own beside pytest, and hear their answers.

No thread and no socket in the test process, and nothing that a test can mock in its
way: an answer is read from a file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest_braintrust
from pytest_braintrust import surroundings
from pytest_braintrust.clocks import monotonic, sleep
from pytest_braintrust.descriptors import Descriptor
from pytest_braintrust.errors import ChildError
from pytest_braintrust.jsonable import dumps

_MODULE = "pytest_braintrust.service"
_POLL_SECONDS = 0.02
_ANSWERS, _TROUBLE = "answers", "trouble"
#: The key of a line that only tells how far the work is.
_PROGRESS = "progress"

#: Told how many rows came so far.
Progress = Callable[[int], object]

#: The exit status of a process of ours that could not do all of its work. Not 1: that
#: is Python's own, for a process that never came to it.
LEFT = 3

#: A secret of fewer characters is part of many a word that is none.
_LONG = 8


class Child:
    """One process of ours: takes a request, and ends when its input is closed."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        # For us alone, and empty: `-m` looks for modules in the current directory
        # first, so that is neither the suite's nor a shared one.
        self._path = _made_folder()
        self._read = 0
        try:
            self._process, self._input = _spawn(self._path, _secret(request))
            self._send({**request, "folder": str(self._path)})
        except Exception as error:
            # Any error: a suite may have put something of its own in Popen's place.
            self._clear()
            msg = f"a process of our own could not be started: {error}"
            raise ChildError(msg) from error

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def gave_up(self) -> bool:
        """Whether it came to its work, and ended with what could not be done."""
        return self._process.poll() == LEFT

    def answer(
        self, seconds: float, on_progress: Progress = lambda count: None
    ) -> dict[str, Any] | None:
        """Wait for its first answer that is not about its progress.

        None where it ended without one.

        Args:
            seconds: How long to wait.
            on_progress: Told what it tells on the way.

        Raises:
            ChildError: the time was up.
        """
        until = monotonic() + seconds
        while True:
            running = self.running
            for line in self._new_lines():
                if _PROGRESS not in line:
                    return line
                on_progress(line[_PROGRESS])
            if not running:
                return None
            if monotonic() > until:
                msg = f"a process of our own did not answer in {seconds:g} seconds"
                raise ChildError(msg)
            sleep(_POLL_SECONDS)

    def tell_end(self) -> bool:
        """Tell it that the run ended, by a line; its input stays open.

        Answers whether that was news to it: it ends by itself where something closed
        its input before.
        """
        if not self._input.is_ours:
            return False
        try:
            os.write(self._input.number, b"\n")
        except OSError:
            return False
        return True

    def finish(self) -> bool:
        """Tell it that the run ended, as `tell_end`, and close its input.

        It does what is left to do, and ends.
        """
        told = self.tell_end()
        self._input.close()
        return told

    def close(self) -> None:
        """End it now, if it has not ended, and let go of what it used."""
        self.finish()
        if self.running:
            self._process.kill()
        self._process.wait()
        self._clear()

    def _clear(self) -> None:
        # On Windows a process that was ended may be in its folder for a moment more,
        # as that which the `python` of a virtual environment starts.
        shutil.rmtree(self._path, ignore_errors=True)

    def _send(self, request: Mapping[str, Any]) -> None:
        line = dumps(dict(request)).encode("ascii") + b"\n"
        try:
            while line:
                line = line[os.write(self._input.number, line) :]
        except OSError as error:
            self._process.kill()
            self._process.wait()
            msg = f"{error}{self._why()}"
            raise ValueError(msg) from error

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        """The answers that were not read before, as far as they are whole."""
        with (self._path / _ANSWERS).open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield json.loads(line)

    def _why(self) -> str:
        text = (self._path / _TROUBLE).read_text(encoding="utf-8", errors="replace")
        lines = text.split("\n")
        told = [line for line in lines if line.strip()]
        return f": {told[-1].strip()}" if told else ""


def ask(
    request: Mapping[str, Any],
    seconds: float,
    on_progress: Progress = lambda count: None,
) -> dict[str, Any]:
    """Let a process of our own do one thing, and answer what it answers.

    Args:
        request: What to do.
        seconds: How long to wait for the answer.
        on_progress: Told how far it is, where it tells that.

    Raises:
        ChildError: it could not be started, failed, or the time was up.
    """
    child = Child(request)
    try:
        answer = child.answer(seconds, on_progress)
    finally:
        child.close()
    if answer is None:
        msg = "a process of our own ended without an answer"
        raise ChildError(msg)
    return answer


def _made_folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="pytest-braintrust-"))
    except OSError as error:
        msg = f"a process of our own has no folder for temporary files: {error}"
        raise ChildError(msg) from error


def _spawn(folder: Path, secret: str) -> tuple[subprocess.Popen[bytes], Descriptor]:
    """Start the process; answers it and the end of its input that is ours."""
    if not sys.executable:
        msg = "this Python has no executable"
        raise ValueError(msg)
    # A pipe of our own: Popen's would close its number, whosever that is by then.
    reading, writing = os.pipe()
    ours = Descriptor.of(writing)
    try:
        return _popen(folder, secret, reading), ours
    except BaseException:
        ours.close()
        raise
    finally:
        os.close(reading)


def _popen(folder: Path, secret: str, stdin: int) -> subprocess.Popen[bytes]:
    answers, trouble = folder / _ANSWERS, folder / _TROUBLE
    with answers.open("wb") as stdout, trouble.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", _MODULE],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=_environment(secret),
            cwd=folder,
            # Ctrl-C in a terminal goes to its whole group; ours ends by its input.
            start_new_session=os.name == "posix",
        )
    if not isinstance(getattr(process, "pid", None), int):
        msg = "something else stands in the place of subprocess.Popen"
        raise TypeError(msg)
    return process


def _secret(request: Mapping[str, Any]) -> str:
    connection = request.get("connection") or {}
    return str(connection.get("api_key") or "")


def _environment(secret: str) -> dict[str, str]:
    """The environment, so that the child finds this very package and stays quiet.

    Without the key, which others of the same user can read there, by whatever name:
    it goes with the request.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if value != secret and (len(secret) < _LONG or secret not in value)
    }
    environment |= surroundings.absolute(environment)
    environment.pop("PYTHONWARNINGS", None)
    environment.pop("BRAINTRUST_API_KEY", None)
    here = str(Path(pytest_braintrust.__file__).resolve().parent.parent)
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    paths = [*(os.path.abspath(each) for each in given if each), here]  # noqa: PTH100
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
