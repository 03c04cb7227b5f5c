"""`push`: send the rows that Braintrust does not have yet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pytest_braintrust.cli.common import (
    EXPERIMENT,
    Commands,
    add_command,
    add_connection_options,
    opened_store,
    required_connection,
)
from pytest_braintrust.cli.describing import as_plain, called
from pytest_braintrust.cli.output import as_json, blank, say
from pytest_braintrust.errors import ApiError
from pytest_braintrust.naming import resolve
from pytest_braintrust.reports.lines import page_of
from pytest_braintrust.reports.terminal import bar, row_notes
from pytest_braintrust.settings import Connection
from pytest_braintrust.store import reading, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import RowCounts, StoredExperiment
from pytest_braintrust.words import a_number

if TYPE_CHECKING:
    from pytest_braintrust.uploader import Sender, Sent

_EXAMPLES = """\
  pytest-braintrust push                        every run that has rows pending
  pytest-braintrust push latest                 one run
"""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "push",
        run,
        text="Send rows that Braintrust does not have yet",
        more="Sending twice changes nothing.",
        examples=_EXAMPLES,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("experiment", metavar="EXPERIMENT", nargs="?", help=EXPERIMENT)
    which.add_argument("--all", action="store_true", help="every run (the default)")
    add_connection_options(parser)


def run(given: argparse.Namespace) -> int:
    """Send what is pending; 0 when nothing is pending any more."""
    connection = required_connection(given)
    with opened_store(given) as store:
        only = None if given.experiment is None else resolve(store, given.experiment)
        push = _Push(store, quiet=given.json)
        done = push.run(connection, only)
        if given.json:
            print(as_json(push.results))
    return 0 if done else 1


@dataclass(slots=True)
class _Push:
    """Sends one run after the other, and tells of each."""

    store: Store
    quiet: bool
    results: list[dict[str, Any]] = field(default_factory=list)

    def run(self, connection: Connection, only: StoredExperiment | None) -> bool:
        """Send what is pending; whether all of it is sent."""
        chosen = reading.experiments(self.store) if only is None else [only]
        for each in chosen:
            # What was refused may be taken now: the key or the project changed.
            writing.clear_refused(self.store, each.number)
        numbers = {each.number for each in chosen}
        waiting = [
            each
            for each in reading.experiments(self.store, unsent_only=True)
            if each.number in numbers
        ]
        if not waiting:
            self._say("nothing to send: every row is on Braintrust")
            return True
        # Here, because they take a fifth of a second, and most commands need no network.
        from pytest_braintrust.api import BraintrustClient  # noqa: PLC0415
        from pytest_braintrust.uploader import Sender  # noqa: PLC0415

        with BraintrustClient.for_connection(connection) as client:
            return self._send_all(Sender(self.store, client), waiting)

    def _send_all(self, sender: Sender, waiting: Sequence[StoredExperiment]) -> bool:
        """Send one after the other, as long as the server answers."""
        done = True
        for position, each in enumerate(waiting):
            error = self._send(sender, each)
            # Rows that a run records meanwhile are on their way by themselves.
            done = done and error is None and not self._counts(each).refused
            if error is not None and _for_all(error):
                if left := len(waiting) - position - 1:
                    self._say(f"not tried: {left} more of the same store")
                return False
        return done

    def _send(self, sender: Sender, each: StoredExperiment) -> ApiError | None:
        before = self._counts(each).pending
        progress = _Progress(before)
        failure: ApiError | None = None
        try:
            told = _told(sender.send(each, on_progress=progress.add))
            sender.tell_end(each)
        except ApiError as error:
            failure = error
            pending = self._counts(each).pending
            sent = a_number(before - pending, "row")
            told = f"{sent} sent, {pending} pending: {error}"
            if self._is_elsewhere(sender, each, error):
                told += f"; its first rows are on {each.api_url}"
        progress.clear()
        self._show(each, told)
        now = as_plain(self.store, reading.experiment(self.store, each.id))
        self.results.append({**now, "error": failure and str(failure)})
        return failure

    def _show(self, each: StoredExperiment, told: str) -> None:
        now = reading.experiment(self.store, each.id)
        self._say(f"{called(now)}: {told}")
        for line in row_notes(reading.row_notes(self.store, each.number)):
            self._say(f"  {line.text}")
        if now.url and self._counts(each).sent:
            self._say(f"  {page_of(now.url)}")

    def _counts(self, each: StoredExperiment) -> RowCounts:
        return reading.row_counts(self.store, each.number)

    def _is_elsewhere(
        self, sender: Sender, each: StoredExperiment, error: ApiError
    ) -> bool:
        """Whether another server has the experiment than the one that refuses it."""
        begun = each.remote_id is not None
        here = each.api_url == sender.client.connection.api_url
        return begun and not here and error.status in {403, 404}

    def _say(self, text: str) -> None:
        if not self.quiet:
            say(text)


@dataclass(slots=True)
class _Progress:
    """A bar, where there is a terminal to see it."""

    total: int
    done: int = 0

    def add(self, rows: int) -> None:
        self.done += rows
        if sys.stderr.isatty():
            shown = bar(self.done, self.total)
            print(f"\r{shown}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if sys.stderr.isatty():
            print(blank(), end="", file=sys.stderr)


def _for_all(error: ApiError) -> bool:
    """Whether the next experiment would meet with the same."""
    return error.retryable or error.status == HTTPStatus.UNAUTHORIZED


def _told(sent: Sent) -> str:
    return f"{a_number(sent.rows, 'row')} sent" + (
        f", {sent.refused} refused" * bool(sent.refused)
    )
