"""`push`: send the rows that Braintrust does not have yet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from pytest_braintrust.api import BraintrustClient
from pytest_braintrust.cli.common import (
    add_connection_options,
    add_store_option,
    opened_store,
    required_connection,
)
from pytest_braintrust.errors import ApiError
from pytest_braintrust.reports.lines import plain
from pytest_braintrust.reports.terminal import bar, row_notes
from pytest_braintrust.store import reading, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.uploader import Sender, Sent

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "push",
        help="send rows that Braintrust does not have yet",
        description="Send every row in the store that Braintrust does not have yet. "
        "Sending twice changes nothing.",
    )
    add_store_option(parser)
    add_connection_options(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Send what is pending; 0 when nothing is pending any more."""
    connection = required_connection(given)
    store = opened_store(given)
    for each in reading.experiments(store):
        writing.clear_refused(store, each.number)
    waiting = reading.experiments(store, unsent_only=True)
    if not waiting:
        print("nothing to send: every row is on Braintrust")
        return 0
    with BraintrustClient.for_connection(connection) as client:
        return 0 if _push_all(Sender(store, client), waiting) else 1


def _push_all(sender: Sender, waiting: Sequence[StoredExperiment]) -> bool:
    """Send one after the other, as long as the server answers; whether all is sent."""
    done = True
    for position, each in enumerate(waiting):
        error = _push(sender, each)
        done = done and error is None and not _pending(sender.store, each)
        if error is not None and _for_all(error):
            if left := len(waiting) - position - 1:
                print(f"not tried: {left} more of the same store")
            return False
    return done


def _for_all(error: ApiError) -> bool:
    """Whether the next experiment would meet with the same."""
    return error.retryable or error.status == HTTPStatus.UNAUTHORIZED


def _push(sender: Sender, each: StoredExperiment) -> ApiError | None:
    total, done = _pending(sender.store, each), 0

    def progress(rows: int) -> None:
        nonlocal done
        done += rows
        if sys.stderr.isatty():
            print(f"\r{bar(done, total)}", end="", file=sys.stderr, flush=True)

    failure: ApiError | None = None
    told = ""
    try:
        told = _told(sender.send(each, on_progress=progress))
    except ApiError as error:
        failure = error
        pending = _pending(sender.store, each)
        told = f"{total - pending} rows sent, {pending} pending: {error}"
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    _show(sender.store, each, told)
    return failure


def _told(sent: Sent) -> str:
    return f"{sent.rows} rows sent" + (f", {sent.refused} refused" * bool(sent.refused))


def _show(store: Store, each: StoredExperiment, told: str) -> None:
    now = reading.experiment(store, each.id)
    print(plain(f"{now.project}/{now.remote_name or now.name}: {told}"))
    for line in row_notes(reading.row_notes(store, each.number)):
        print(f"  {line.text}")
    if now.url and reading.row_counts(store, each.number).sent:
        print(plain(f"  {now.url}"))


def _pending(store: Store, each: StoredExperiment) -> int:
    return reading.row_counts(store, each.number).pending
