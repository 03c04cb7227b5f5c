"""From the store to Braintrust: what is not yet there, in batches, until it is.

Delivery is at least once and its effect exactly once: row ids are made before the
first attempt, so a batch that is sent again replaces itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytest_braintrust import rendezvous
from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.errors import ApiError, Rejected, TooLarge
from pytest_braintrust.locks import locked
from pytest_braintrust.store import reading, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment, UnsentRow

#: Braintrust refuses requests past 6 MB, and some gateways before it past 5 MB.
MAX_BATCH_BYTES = 2_500_000
MAX_BATCH_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Sent:
    """What one pass over an experiment came to."""

    rows: int = 0
    refused: int = 0

    def __add__(self, other: Sent) -> Sent:
        return Sent(self.rows + other.rows, self.refused + other.refused)


def send_experiment(
    store: Store,
    experiment: StoredExperiment,
    client: BraintrustClient,
    *,
    final_only: bool = False,
    on_progress: Callable[[int], object] = lambda rows: None,
) -> Sent:
    """Send every unsent row of an experiment.

    Args:
        store: Where the rows are.
        experiment: The experiment to send.
        client: The server to send to.
        final_only: Leave the rows of tests that are still running.
        on_progress: Told the number of rows after each batch.

    Raises:
        ApiError: the server could not take them now. Batches that it acknowledged
            are marked, the rest stays unsent; the reason is kept with the experiment.
    """
    total = Sent()
    with locked(store.directory, f"send-{experiment.id}"):
        try:
            for batch in _batches(store, experiment.number, final_only=final_only):
                remote = rendezvous.remote_experiment(store, experiment, client)
                sent = _send(store, client, remote.experiment_id, batch)
                total += sent
                on_progress(sent.rows + sent.refused)
        except ApiError as error:
            writing.set_upload_error(store, experiment.number, str(error))
            raise
        writing.set_upload_error(store, experiment.number, None)
    return total


def _batches(
    store: Store, number: int, *, final_only: bool
) -> Iterator[list[UnsentRow]]:
    after = 0
    while batch := _next_batch(store, number, after, final_only=final_only):
        yield batch
        after = batch[-1].position


def _next_batch(
    store: Store, number: int, after: int, *, final_only: bool
) -> list[UnsentRow]:
    batch: list[UnsentRow] = []
    size = 0
    found = reading.unsent(
        store, number, after=after, limit=MAX_BATCH_ROWS, final_only=final_only
    )
    for row in found:
        size += len(row.event) + 1
        if batch and size > MAX_BATCH_BYTES:
            break
        batch.append(row)
    return batch


def _send(
    store: Store, client: BraintrustClient, remote_id: str, batch: list[UnsentRow]
) -> Sent:
    try:
        client.insert(remote_id, [row.event for row in batch])
    except Rejected as error:
        return _send_apart(store, client, remote_id, batch, error)
    writing.mark_sent(store, [(row.position, row.version) for row in batch])
    return Sent(rows=len(batch))


def _send_apart(
    store: Store,
    client: BraintrustClient,
    remote_id: str,
    batch: list[UnsentRow],
    error: Rejected,
) -> Sent:
    """Halve a batch that the server refuses as a whole, down to the row at fault."""
    if len(batch) > 1:
        middle = len(batch) // 2
        first = _send(store, client, remote_id, batch[:middle])
        return first + _send(store, client, remote_id, batch[middle:])
    what = "the row is too large" if isinstance(error, TooLarge) else str(error)
    writing.mark_refused(store, batch[0].position, what)
    return Sent(refused=1)
