"""`push`: send the rows that Braintrust does not have yet."""

from __future__ import annotations

import argparse
import sys
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
from pytest_braintrust.reports.terminal import bar
from pytest_braintrust.store import reading, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.uploader import send_experiment

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
        results = [_push(store, each, client) for each in waiting]
    return 0 if all(results) else 1


def _push(store: Store, each: StoredExperiment, client: BraintrustClient) -> bool:
    total = reading.row_counts(store, each.number).pending
    done = 0

    def progress(rows: int) -> None:
        nonlocal done
        done += rows
        if sys.stderr.isatty():
            print(f"\r{bar(done, total)}", end="", file=sys.stderr, flush=True)

    failure: str | None = None
    try:
        sent = send_experiment(store, each, client, on_progress=progress)
        told = f"{sent.rows} rows sent"
        if sent.refused:
            told += f", {sent.refused} refused"
    except ApiError as error:
        failure = str(error)
        told = f"{done} rows sent, {total - done} pending: {failure}"
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    now = reading.experiment(store, each.id)
    print(plain(f"{now.project}/{now.remote_name or now.name}: {told}"))
    if now.url and done:
        print(plain(f"  {now.url}"))
    return failure is None and not reading.row_counts(store, each.number).pending
