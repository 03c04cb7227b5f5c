"""From the store to Braintrust: what is not yet there, in batches, until it is.

Delivery is at least once and its effect exactly once: row ids are made before the
first attempt, so a batch that is sent again replaces itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pytest_braintrust import ends, events, rendezvous, spans
from pytest_braintrust.api.calls import MAX_BATCH_BYTES, MAX_BATCH_ROWS
from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.errors import ApiError, Rejected, TooLarge
from pytest_braintrust.locks import locked
from pytest_braintrust.store import reading, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment, UnsentRow

#: A row is not cut below this: what is left would say nothing.
_LEAST_ROW_BYTES = 5_000


@dataclass(frozen=True, slots=True)
class Sent:
    """What one pass over an experiment came to; rows that were cut are among `rows`."""

    rows: int = 0
    cut: int = 0
    refused: int = 0

    def __add__(self, other: Sent) -> Sent:
        return Sent(
            self.rows + other.rows, self.cut + other.cut, self.refused + other.refused
        )


@dataclass(slots=True)
class Sender:
    """Sends rows of one store to one server, and learns how much it takes at once."""

    store: Store
    client: BraintrustClient
    #: Asked before each batch; true leaves the rest for another time.
    stop: Callable[[], bool] = field(default=lambda: False)
    #: Whose rows are sent; None: those of every session.
    session_id: str | None = None
    _batch_bytes: int = MAX_BATCH_BYTES
    #: The runs of several processes that know of this one.
    _joined: set[str] = field(default_factory=set)

    def send(
        self,
        experiment: StoredExperiment,
        *,
        final_only: bool = False,
        on_progress: Callable[[int], object] = lambda rows: None,
    ) -> Sent:
        """Send every unsent row of an experiment.

        Args:
            experiment: The experiment to send.
            final_only: Leave the rows of tests that are still running.
            on_progress: Told the number of rows after each request.

        Raises:
            ApiError: the server could not take them now. Batches that it acknowledged
                are marked, the rest stays unsent; the reason is kept with the
                experiment.
            StoreError: the store could not be read or written.
        """
        total = Sent()
        with locked(self.store.directory, f"send-{experiment.id}"):
            try:
                for batch in self._batches(experiment.number, final_only=final_only):
                    remote = rendezvous.remote_experiment(
                        self.store, experiment, self.client
                    )
                    self._join(experiment)
                    total += self._send(remote.experiment_id, batch, on_progress)
            except ApiError as error:
                writing.set_upload_error(self.store, experiment.number, str(error))
                raise
            writing.set_upload_error(self.store, experiment.number, None)
        return total

    def _join(self, experiment: StoredExperiment) -> None:
        """Let a run that others make too know of this session, before its first row."""
        alone = self.session_id in {None, experiment.run_id}
        if not alone and experiment.id not in self._joined:
            ends.tell(self.store, experiment, self.client)
            self._joined.add(experiment.id)

    def tell_end(self, experiment: StoredExperiment) -> None:
        """Say on Braintrust that a run ended, where it did.

        Raises:
            ApiError: the server did not take it.
            StoreError: the store could not be read.
        """
        ends.tell(self.store, experiment, self.client)

    def _batches(self, number: int, *, final_only: bool) -> Iterator[list[UnsentRow]]:
        after, full = 0, True
        # A batch that is not full was the last: rows that were recorded while it was
        # sent go together with the next ones, not by twos and threes.
        while full and not self.stop():
            batch, full = self._next_batch(number, after, final_only=final_only)
            if batch:
                yield batch
                after = batch[-1].position

    def _next_batch(
        self, number: int, after: int, *, final_only: bool
    ) -> tuple[list[UnsentRow], bool]:
        """The rows of one request, and whether there was no room for more."""
        batch: list[UnsentRow] = []
        size = count = 0
        found = reading.unsent(
            self.store,
            number,
            after=after,
            limit=MAX_BATCH_ROWS,
            final_only=final_only,
            session_id=self.session_id,
        )
        for row in found:
            size += len(row.event) + 1
            count += spans.count(row.event)
            if batch and (size > self._batch_bytes or count > MAX_BATCH_ROWS):
                return batch, True
            batch.append(row)
        return batch, len(batch) == MAX_BATCH_ROWS

    def _send(
        self,
        remote_id: str,
        batch: list[UnsentRow],
        on_progress: Callable[[int], object],
    ) -> Sent:
        insertion = _Insertion(self.store, self.client, remote_id, on_progress)
        insertion.send(batch)
        if insertion.too_large:
            self._batch_bytes = min(self._batch_bytes, insertion.too_large // 2)
        return insertion.sent


@dataclass(slots=True)
class _Insertion:
    """Brings one batch to the server, in as many requests as its rows need.

    A server that refuses a batch for one row of it is sent the halves, so that a bad
    row among `n` costs about two requests for each doubling of `n`.
    """

    store: Store
    client: BraintrustClient
    remote_id: str
    on_progress: Callable[[int], object]
    sent: Sent = field(default_factory=Sent)
    #: Bytes of the smallest batch of several rows that was too large.
    too_large: int = 0

    def send(self, batch: list[UnsentRow]) -> None:
        """Send all of a batch; a row that the server does not take is marked so.

        Raises:
            ApiError: the server could not take it now.
        """
        try:
            sent = [each for row in batch for each in spans.sent(row.event)]
            self.client.insert(self.remote_id, sent)
        except Rejected as error:
            if not error.for_content:
                raise
            self._apart(batch, error)
        else:
            self._mark(batch)

    def _apart(self, batch: list[UnsentRow], error: Rejected) -> None:
        if len(batch) == 1:
            self._alone(batch[0], error)
            return
        if isinstance(error, TooLarge):
            self.too_large = sum(len(row.event) + 1 for row in batch)
        middle = len(batch) // 2
        self.send(batch[:middle])
        self.send(batch[middle:])

    def _alone(self, row: UnsentRow, error: Rejected) -> None:
        """Send a row in part, where the server takes a part of it."""
        if self._apart_from_its_spans(row):
            return
        limit = len(row.event) // 2
        while isinstance(error, TooLarge) and limit >= _LEAST_ROW_BYTES:
            try:
                self.client.insert(self.remote_id, [events.shortened(row.event, limit)])
            except Rejected as again:
                error, limit = again, limit // 2
            else:
                self._mark([row], cut_to=limit)
                return
        reason = "it is too large" if isinstance(error, TooLarge) else str(error)
        writing.mark_refused(self.store, row.position, row.version, reason)
        self._count(Sent(refused=1))

    def _apart_from_its_spans(self, row: UnsentRow) -> bool:
        """Send a row and those of its spans that are taken; whether it is itself."""
        own, *steps = spans.sent(row.event)
        if not steps:
            return False
        try:
            self.client.insert(self.remote_id, [own])
            taken = self._taken(steps)
            refused = len(steps) - len(taken)
            if refused:
                told = spans.told_left_out(own, refused)
                self.client.insert(self.remote_id, [told])
        except Rejected as error:
            if not error.for_content:
                raise
            return False
        part = len(own) + sum(map(len, taken))
        self._mark([row], cut_to=part if refused else None)
        return True

    def _taken(self, steps: list[str]) -> list[str]:
        """Send spans, and answer which of them the server took."""
        try:
            self.client.insert(self.remote_id, steps)
        except Rejected as error:
            if not error.for_content:
                raise
            middle = len(steps) // 2
            if not middle:
                return []
            return [*self._taken(steps[:middle]), *self._taken(steps[middle:])]
        return steps

    def _mark(self, batch: list[UnsentRow], cut_to: int | None = None) -> None:
        taken = [(row.position, row.version) for row in batch]
        writing.mark_sent(self.store, taken, cut_to=cut_to)
        self._count(Sent(rows=len(batch), cut=len(batch) if cut_to else 0))

    def _count(self, more: Sent) -> None:
        self.sent += more
        self.on_progress(more.rows + more.refused)
