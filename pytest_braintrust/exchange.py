"""Experiments as files: one line of facts, then one event a line.

What brings stores together where there is no Braintrust in between, and a baseline
that can lie beside the code. A file is written and read line by line, in any size.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from pytest_braintrust import __version__, paths
from pytest_braintrust.datasets.rows import decoded
from pytest_braintrust.decoding import (
    VERSION,
    check_written,
    decode,
    is_root,
    repo_info,
)
from pytest_braintrust.errors import ExchangeError
from pytest_braintrust.jsonable import clean, dumps
from pytest_braintrust.locks import locked
from pytest_braintrust.naming import is_id
from pytest_braintrust.store import reading, sessions, transfers
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.store.sessions import Session
from pytest_braintrust.store.transfers import Arrival, Incoming
from pytest_braintrust.words import a_number

#: The first line's key for the form of the file, and the form that we write.
FORM = "pytest_braintrust_export"
_VERSION = 1

#: What the first line says of the experiment.
_FACTS = (
    "id",
    "run_id",
    "project",
    "name",
    "created_at",
    "finished_at",
    "exit_status",
    "repo_info",
    "metadata",
    "tests",
    "api_url",
    "project_id",
    "remote_id",
    "remote_name",
    "url",
)

#: And of each process that made it.
_OF_SESSION = ("id", "run_id", "started_at", "finished_at", "exit_status", "tests")

#: A line is not read past this: no row of ours comes near it.
MAX_LINE_BYTES = 64 * 1024 * 1024
#: How many wrong lines an error names.
_NAMED = 5


def export_experiment(
    store: Store, experiment: StoredExperiment, file: BinaryIO
) -> int:
    """Write an experiment to a file; answers the number of rows.

    The same experiment makes the same file: rows are ordered by test, not by time.
    A run that is under way is written as it stands.

    Raises:
        StoreError: the store could not be read.
        OSError: the file could not be written.
    """
    with store.snapshot():
        known = reading.experiment(store, experiment.id)
        counts = reading.row_counts(store, known.number)
        facts: dict[str, Any] = {name: getattr(known, name) for name in _FACTS}
        head = {
            FORM: _VERSION,
            "plugin": __version__,
            "experiment": facts,
            "sessions": [
                {name: getattr(each, name) for name in _OF_SESSION}
                for each in sessions.of_run(store, known.run_id)
            ],
            "rows": counts.recorded,
            "sent": counts.recorded == counts.sent,
        }
        file.write(dumps(clean(head)).encode("ascii") + b"\n")
        file.writelines(
            event.encode("ascii") + b"\n"
            for event in reading.ordered_events(store, known.number)
        )
    return counts.recorded


def export_file(store: Store, experiment: StoredExperiment, path: Path) -> int:
    """Write an experiment to a file of that path, which is whole or as it was before.

    Raises:
        ExchangeError: it could not be written.
        StoreError: the store could not be read.
    """
    try:
        with paths.replacing(path) as there, there.open("wb") as file:
            count = export_experiment(store, experiment, file)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise ExchangeError(msg) from error
    return count


@dataclass(slots=True)
class Imported:
    """What a file came to: its experiment, and how many rows it had."""

    experiment: StoredExperiment
    rows: int


def import_file(
    store: Store,
    path: Path,
    *,
    on_progress: Callable[[int], object] = lambda rows: None,
) -> Imported:
    """Bring the experiment of a file into the store, all of it or nothing.

    An experiment that is there already is completed: a row with the id of one that
    is there takes its place. So a second time changes nothing, and the files of all
    shards of a run make one experiment.

    Args:
        store: Where it goes.
        path: A file that `export_file` wrote.
        on_progress: Told the number of rows now and then.

    Raises:
        ExchangeError: it cannot be read, or lines of it are wrong; the text names
            the first of them by number.
        StoreError: the store could not be read or written.
    """
    try:
        with path.open("rb") as file:
            return import_rows(store, file, str(path), on_progress=on_progress)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise ExchangeError(msg) from error


def import_rows(
    store: Store,
    file: BinaryIO,
    name: str,
    *,
    on_progress: Callable[[int], object] = lambda rows: None,
) -> Imported:
    """Bring the experiment of an open file into the store; see `import_file`."""
    lines = _lines(file, name)
    head = _head(next(lines, (1, b"")), name)
    incoming = head.incoming
    with locked(store.directory, f"import-{incoming.id}"):
        transfer = transfers.begin(store, incoming, sent=head.sent)
        try:
            # What an interrupted import left may have been another file.
            transfers.start_over(store, transfer)
            reader = _Rows(name, head.rows)
            count = transfers.gather(
                store, transfer, reader.arrivals(lines), on_progress
            )
            reader.check()
        except BaseException:
            transfers.forget(store, transfer.number)
            raise
        landed = transfers.land(store, transfer)
        sessions.bring_in(store, head.sessions)
        return Imported(reading.experiment(store, landed.id), count)


@dataclass(slots=True)
class _Rows:
    """Reads rows, and notes which lines are none."""

    name: str
    #: How many there are to be, where that is known.
    told: int | None
    lines: int = 0
    wrong: list[str] = field(default_factory=list)
    count: int = 0
    #: By the hash of its id, the line of each row: ids would take twice the memory.
    _seen: dict[int, int] = field(default_factory=dict)

    def arrivals(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[Arrival]:
        for number, line in lines:
            self.lines += 1
            try:
                event = decoded(line)
                if not isinstance(event, dict):
                    self._note(number, "it is not an object")
                elif is_root(event):
                    check_written(event)
                    row = decode(event)
                    if self._is_new(number, row["id"], event):
                        yield Arrival(row)
            except ValueError as error:
                self._note(number, str(error))

    def check(self) -> None:
        """Refuse all of it where a line was wrong, or not all of them are there."""
        if self.wrong:
            more = self.count - len(self.wrong)
            rest = f", and {more} more lines" if more else ""
            msg = f"{'; '.join(self.wrong)}{rest}; nothing was imported"
            raise ExchangeError(msg)
        if self.told not in {None, self.lines}:
            msg = (
                f"{self.name}: {a_number(self.lines, 'row')}, and its first line tells "
                f"of {self.told:,}; nothing was imported"
            )
            raise ExchangeError(msg)

    def _is_new(self, number: int, row_id: str, event: Mapping[str, Any]) -> bool:
        """Whether no line before has the id; pages of Braintrust may repeat a row.

        Raises:
            ValueError: one has, and it is no page of Braintrust.
        """
        first = self._seen.setdefault(hash(row_id), number)
        if first != number and VERSION not in event:
            msg = f"its 'id' is that of line {first}: remove one, or give it its own"
            raise ValueError(msg)
        return first == number

    def _note(self, number: int, why: str) -> None:
        self.count += 1
        if len(self.wrong) < _NAMED:
            self.wrong.append(f"{self.name}:{number}: {why}")


def _lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            msg = f"{name}:{number}: a line of more than {MAX_LINE_BYTES:,} bytes"
            raise ExchangeError(msg)
        if text := line.strip():
            yield number, text


@dataclass(frozen=True, slots=True)
class _Head:
    """What the first line tells."""

    incoming: Incoming
    sessions: tuple[Session, ...]
    #: Whether Braintrust has all rows.
    sent: bool
    rows: int | None


def _head(first: tuple[int, bytes], name: str) -> _Head:
    number, line = first
    try:
        head = decoded(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or FORM not in head:
        msg = f"{name}:{number}: not the first line of a file that `export` wrote"
        raise ExchangeError(msg)
    if head[FORM] != _VERSION:
        msg = (
            f"{name}:{number}: written by a later version of pytest-braintrust; "
            "update it"
        )
        raise ExchangeError(msg)
    with _named(name, number):
        return _Head(
            _incoming(head.get("experiment")),
            tuple(map(_session, _listed(head, "sessions"))),
            head.get("sent") is True,
            _maybe(head, "rows", int),
        )


@contextlib.contextmanager
def _named(name: str, number: int) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        msg = f"{name}:{number}: {error}"
        raise ExchangeError(msg) from None


def _incoming(facts: object) -> Incoming:
    if not isinstance(facts, dict):
        _wrong("experiment", "an object")
    told: Any = clean(facts)
    text = {name: _maybe(told, name, str) for name in _TEXTS}
    return Incoming(
        id=_id(text["id"]),
        run_id=_needed(text, "run_id"),
        project=_needed(text, "project"),
        name=_needed(text, "name"),
        created_at=_moment(told, "created_at") or 0.0,
        finished_at=_moment(told, "finished_at"),
        exit_status=_maybe(told, "exit_status", int),
        repo_info=repo_info(_maybe(told, "repo_info", dict) or {}),
        metadata=_maybe(told, "metadata", dict),
        tests=_counts(_maybe(told, "tests", dict) or {}),
        api_url=text["api_url"],
        project_id=text["project_id"],
        remote_id=text["remote_id"],
        remote_name=text["remote_name"],
        url=_address(text["url"]),
    )


def _listed(head: Mapping[str, Any], name: str) -> list[Any]:
    value = head.get(name, [])
    if not isinstance(value, list):
        _wrong(name, "a list")
    return value


def _session(facts: object) -> Session:
    if not isinstance(facts, dict):
        _wrong("sessions", "a list of objects")
    told: Any = clean(facts)
    text = {name: _maybe(told, name, str) for name in ("id", "run_id")}
    return Session(
        number=0,
        id=_needed(text, "id"),
        run_id=_needed(text, "run_id"),
        started_at=_moment(told, "started_at") or 0.0,
        finished_at=_moment(told, "finished_at"),
        exit_status=_maybe(told, "exit_status", int),
        tests=_counts(_maybe(told, "tests", dict) or {}),
        host=None,
        pid=None,
    )


_TEXTS = (
    "id",
    "run_id",
    "project",
    "name",
    "api_url",
    "project_id",
    "remote_id",
    "remote_name",
    "url",
)


def _needed(texts: Mapping[str, str | None], name: str) -> str:
    value = texts[name]
    if not value:
        _wrong(name, "a text")
    return value


def _id(text: str | None) -> str:
    if not text or not is_id(text):
        _wrong("id", "an id")
    return text


def _maybe(told: Mapping[str, Any], name: str, kind: type) -> Any:
    value = told.get(name)
    if value is not None and type(value) is not kind:
        _wrong(name, {str: "a text", int: "a whole number"}.get(kind, "an object"))
    return value


def _moment(told: Mapping[str, Any], name: str) -> float | None:
    value = told.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        _wrong(name, "a number of seconds")
    return float(value) if math.isfinite(value) else None


def _counts(tests: Mapping[str, Any]) -> dict[str, int]:
    if not all(type(each) is int for each in tests.values()):
        _wrong("tests", "an object of whole numbers")
    return dict(tests)


def _address(url: str | None) -> str | None:
    """The address of a page, if it is one that a terminal may show."""
    ok = url and url.isprintable() and url.startswith(("https://", "http://"))
    return url if ok else None


def _wrong(name: str, kind: str) -> NoReturn:
    msg = f"its {name!r} is not {kind}"
    raise ValueError(msg)
