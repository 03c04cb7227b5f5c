"""What the running test of a worker has said so far, where its death does not reach.

A worker that dies takes what its test logged along: the report that would carry it is
never made. So each word is written to a small file beside the store, one for each
worker, overwritten by the next test; the controller reads it when a worker died. A
worker that does not see that disk sends its words to the controller, which writes them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident
from typing import Any, Protocol, cast

from pytest_braintrust.folder import JOURNALS
from pytest_braintrust.jsonable import dumps
from pytest_braintrust.relay import Payload


@dataclass(frozen=True, slots=True)
class Journal:
    """The file of one worker."""

    path: Path

    @classmethod
    def of(cls, folder: Path, worker: str) -> Journal:
        """The journal of a worker, in the folder of its session."""
        return cls(folder / f"{worker}.json")

    def write(self, payload: Payload) -> None:
        """Replace what is written. A full disk costs the copy, not the test."""
        self.write_text(_encoded(payload))

    def write_text(self, text: str) -> None:
        """Replace what is written by what a `Courier` sent."""
        # Opened each time: a test that closes descriptors would leave us one that
        # belongs to a file of its own.
        with contextlib.suppress(OSError):
            self.path.write_bytes(text.encode("ascii"))

    def read(self) -> Payload | None:
        """What the worker wrote last; None where there is nothing whole."""
        try:
            return cast("Payload", json.loads(self.path.read_bytes()))
        except (OSError, ValueError):
            return None

    def write_shared(self, nodeids: list[str]) -> None:
        """Tell which node ids several recorded tests have, each as often as it is."""
        with contextlib.suppress(OSError):
            self._shared.write_text(json.dumps(nodeids), encoding="ascii")

    def read_shared(self) -> list[str] | None:
        """What `write_shared` told; None where it did not."""
        try:
            return cast("list[str]", json.loads(self._shared.read_bytes()))
        except (OSError, ValueError):
            return None

    @property
    def _shared(self) -> Path:
        return self.path.with_suffix(".shared")

    def remove(self) -> None:
        """Take away what is written, once it is kept elsewhere."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


class Channel(Protocol):
    """What is used of a channel of execnet's."""

    def send(self, item: object) -> None:
        """Hand it to the operating system, or raise OSError."""


@dataclass(frozen=True, slots=True)
class Courier:
    """Brings what a test says to the journal of a controller on another machine."""

    channel: Channel
    #: execnet does not bear two threads that send at once, and this one sends reports.
    thread: int = field(default_factory=get_ident)

    def write(self, payload: Payload) -> None:
        """Send it. What another thread says goes along with the thread's next word."""
        if get_ident() == self.thread:
            with contextlib.suppress(OSError):
                self.channel.send(_encoded(payload))


def _encoded(payload: Payload) -> str:
    return dumps(cast("Any", payload))


def folder_of(directory: Path, session_id: str) -> Path:
    """The folder of a session's journals, in a store's directory."""
    return directory / JOURNALS / session_id


def read_all(folder: Path) -> Iterator[tuple[str, Payload]]:
    """What every worker of a session wrote last, by worker."""
    for path in sorted(folder.glob("*.json")):
        payload = Journal(path).read()
        if payload is not None:
            yield path.stem, payload


def make_folder(folder: Path) -> None:
    """Make the folder of a session's journals, for us alone."""
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True)


def remove_folder(folder: Path) -> None:
    """Remove the folder of a session's journals."""
    shutil.rmtree(folder, ignore_errors=True)
