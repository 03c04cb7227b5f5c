"""What runs in a process of our own beside pytest: `python -m pytest_braintrust.service`.

Its own process, because tests mock: with a patched HTTP library, a frozen clock or
forbidden sockets in the test process, nothing there could be sent. The request comes
as one line of JSON on standard input, so that the key is in no process list, and
answers go to standard output as lines of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TextIO

from pytest_braintrust import ends, remote_baseline, rendezvous
from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.api.http import Timeouts
from pytest_braintrust.api.retry import ONCE, RetryPolicy, retrying
from pytest_braintrust.child import LEFT
from pytest_braintrust.clocks import monotonic, sleep
from pytest_braintrust.datasets import download
from pytest_braintrust.datasets.cache import Cache
from pytest_braintrust.datasets.wanted import Wanted
from pytest_braintrust.errors import (
    ApiError,
    BadAnswer,
    Overloaded,
    PluginError,
    Refused,
    Rejected,
    SettingsError,
    StoreError,
    Unreachable,
)
from pytest_braintrust.facts import NewExperiment
from pytest_braintrust.patience import Patience
from pytest_braintrust.settings import DEFAULT_API_URL, Connection
from pytest_braintrust.store import connection, reading, spool, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.uploader import Sender

#: A person waits for the check at the start of a run.
CHECK_TIMEOUTS = Timeouts(connect=4.0, read=6.0, total=8.0)
#: All of it, names to be resolved included, which no timeout of a request bounds.
_CHECK_SECONDS = 12.0

#: A server that cannot be connected to in this time is not there. The rest as usual:
#: what is sent may be large, and the way slow.
_FOLLOW_TIMEOUTS = Timeouts(connect=4.0)

#: Between two looks at the store: rows that were recorded meanwhile go together.
_PAUSE = 1.0
#: How long each trouble lets the looks pause, by their number in a row.
_TROUBLED = RetryPolicy(first=_PAUSE, longest=30.0)
#: The end of a run is waited for, so that it tries again sooner.
_DRAINING = RetryPolicy(seconds=60.0)
#: Of that a run ended: one call, of which nothing that is measured depends.
_TELLING = RetryPolicy(tries=5, seconds=10.0)
#: How long the death of pytest takes to show, and how often that is looked for.
_GONE_SECONDS, _LOOK_SECONDS = 1.0, 0.02

#: How often a download tells how far it is.
_TELL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Check:
    """What Braintrust answered when the run asked for its project."""

    #: `ready`; `refused`: the key or address is wrong; `unreachable`: not now.
    state: str
    message: str = ""


def check(server: Connection, project: str) -> Check:
    """Ask for the project once, as the check of address and key."""
    try:
        client = BraintrustClient.for_connection(
            server, policy=ONCE, timeouts=CHECK_TIMEOUTS
        )
    except SettingsError as error:
        return Check("refused", str(error))
    with client:
        try:
            client.create_project(project)
        except (Refused, Rejected, BadAnswer) as error:
            return Check("refused", f"{error}{_doubt(error, server)}")
        except ApiError as error:
            return Check("unreachable", str(error))
    return Check("ready")


def _doubt(error: ApiError, server: Connection) -> str:
    """What may be wrong: no API of Braintrust answers like that, or not to this key."""
    if "address" in str(error) or "BRAINTRUST_API_URL" in str(error):
        return ""
    if isinstance(error, Refused):
        own = ", and set BRAINTRUST_API_URL if your organisation has its own"
        return "; check the API key" + own * (server.api_url == DEFAULT_API_URL)
    if isinstance(error, Rejected) and error.for_content:
        return ""
    return "; is that the address of Braintrust's API?"


class Upload:
    """Brings the rows of one session to Braintrust, as long as that is of any use."""

    def __init__(
        self,
        store: Store,
        session_id: str,
        client: BraintrustClient,
        stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[int], object] = lambda rows: None,
    ) -> None:
        """Send by a client that tries each call once.

        This is its own retry: a call that waits and tries again would not notice the
        end of the run.
        """
        self._store = store
        self._session_id = session_id
        self._sender = Sender(store, client, stop, session_id)
        self._stop = stop
        self._on_progress = on_progress
        #: Experiments that the server will not take, however often it is asked.
        self._given_up: set[str] = set()
        self._troubles = 0
        #: Until when the server asked to be left alone.
        self._not_before = 0.0

    def step(self, *, final_only: bool) -> ApiError | StoreError | None:
        """Send what there is now; answers what kept a part of it from being sent.

        The reason is in the store too, with the experiment; its rows stay unsent.
        """
        trouble: ApiError | StoreError | None = None
        self._take_in()
        for experiment in self._waiting():
            try:
                self._sender.send(
                    experiment, final_only=final_only, on_progress=self._on_progress
                )
            except (Refused, Rejected):
                # Another one may be in a project that the key may write to.
                self._given_up.add(experiment.id)
            except BadAnswer as error:
                trouble = error
            except (ApiError, StoreError) as error:
                # The next one would not get through either.
                trouble = error
                break
        self._note(trouble)
        return trouble

    def pause(self, policy: RetryPolicy) -> float:
        """Seconds to leave the server alone after the troubles so far."""
        told = self._not_before - monotonic()
        return max(told, policy.wait(self._troubles - 1) if self._troubles else 0.0)

    def drain(self, seconds: float = _DRAINING.seconds) -> None:
        """Send all that is recorded, or give up after some seconds without success.

        After fewer where no connection can be made, as `Patience` has it.
        """
        patience = Patience(seconds)
        self._take_in()
        left, self._troubles = self._left(), 0
        pause = max(0.0, self._not_before - monotonic())
        while left and not self._stop() and patience.lasts(pause):
            sleep(pause)
            trouble = self.step(final_only=False)
            if trouble is None:
                return
            before, left = left, self._left()
            patience.note(trouble, arrived=left < before)
            pause = self.pause(_DRAINING)

    def tell_ends(self, seconds: float = _TELLING.seconds) -> None:
        """Say on Braintrust that the run ended, where its rows are there.

        Else no run of another machine can be compared with it, so it is tried for some
        seconds; what it came to is in its rows anyway.
        """
        policy = replace(_TELLING, seconds=min(seconds, _TELLING.seconds))
        found = reading.of_session(self._store, self._session_id)
        for experiment in found:
            if experiment.id in self._given_up or self._stop():
                continue
            tell = partial(self._sender.tell_end, experiment)
            try:
                retrying(tell, policy, sleep)
            except (ApiError, StoreError):
                return

    def _take_in(self) -> None:
        spool.take_in_left(self._store)

    def _waiting(self) -> list[StoredExperiment]:
        found = reading.waiting(self._store, self._session_id)
        return [each for each in found if each.id not in self._given_up]

    def _left(self) -> int:
        return reading.unsent_count(self._store, self._session_id)

    def _note(self, trouble: ApiError | StoreError | None) -> None:
        self._troubles = self._troubles + 1 if trouble else 0
        told = trouble.retry_after if isinstance(trouble, Overloaded) else None
        if told is not None:
            self._not_before = monotonic() + told


def follow(
    directory: Path,
    session_id: str,
    server: Connection,
    ended: threading.Event,
    on_progress: Callable[[int], object],
) -> bool:
    """Send the rows of a session as they are recorded, until it ended.

    Answers whether all of them were sent.

    Args:
        directory: That of the store.
        session_id: Whose rows are sent.
        server: Where to.
        ended: Set when the session has ended.
        on_progress: Told the number of rows after each request.

    Raises:
        StoreError: the store could not be read or written.
    """
    store = connection.open_store(directory)
    with BraintrustClient.for_connection(
        server, policy=ONCE, timeouts=_FOLLOW_TIMEOUTS
    ) as client:
        upload = Upload(store, session_id, client, on_progress=on_progress)
        while not ended.wait(max(_PAUSE, upload.pause(_TROUBLED))):
            upload.step(final_only=True)
        upload.drain()
        upload.tell_ends()
    return not reading.unsent_count(store, session_id)


def send_here(
    store: Store,
    session_id: str,
    server: Connection,
    seconds: float,
    stop: Callable[[], bool],
) -> None:
    """Send what a session recorded from this very process, within some seconds.

    Raises:
        StoreError: the store could not be read or written.
    """
    timeouts = Timeouts(connect=seconds, read=seconds, total=seconds)
    with BraintrustClient.for_connection(
        server, policy=ONCE, timeouts=timeouts
    ) as client:
        upload = Upload(store, session_id, client, stop)
        upload.drain(seconds)
        upload.tell_ends(seconds)


def find_experiment(request: Mapping[str, Any]) -> dict[str, Any]:
    """Find or make the experiment on Braintrust; answers `id`, `name` and `url`.

    Raises:
        ApiError: Braintrust did not do it.
        StoreError: the store could not be read or written.
    """
    server = Connection(**request["connection"])
    new = NewExperiment(**request["experiment"])
    with BraintrustClient.for_connection(server) as client:
        remote = _remote(request.get("directory"), new, client)
    return {"id": remote.experiment_id, "name": remote.name, "url": remote.url}


def _remote(
    directory: str | None, new: NewExperiment, client: BraintrustClient
) -> rendezvous.Remote:
    if directory is not None and (Path(directory) / connection.FILE_NAME).exists():
        store = connection.open_store(Path(directory))
        experiment = writing.add_experiment(store, new)
        return rendezvous.remote_experiment(store, experiment, client)
    # A worker on another machine: Braintrust's get-or-create by name is the meeting
    # point, and the key in the metadata says that it is the same run.
    return rendezvous.create_remote(
        client,
        experiment_id=new.id,
        project=new.project,
        name=new.name,
        repo_info=new.repo_info,
        metadata={**new.metadata, **ends.beginning(new.created_at)},
        base_remote_id=new.base_remote_id,
        dataset=(new.dataset_id, new.dataset_version),
    )


def obtain_dataset(
    request: Mapping[str, Any], progress: Callable[[int], object]
) -> dict[str, Any]:
    """Get a dataset into the cache; answers the key of its entry there.

    Raises:
        DatasetError: it cannot be had.
    """
    server = Connection(**request["connection"])
    cache = Cache(Path(request["directory"]))
    with BraintrustClient.for_connection(server) as client:
        try:
            entry = download.obtain(
                client,
                cache,
                Wanted(**request["wanted"]),
                page_size=request["page_size"],
                progress=progress,
            )
        except (Unreachable, Overloaded) as error:
            return {"state": "unreachable", "message": str(error)}
    return {"state": "ready", "key": entry.kept.key}


def main() -> int:
    """Serve the one request on standard input; 0 when all of it was done."""
    # Ctrl-C reaches the whole terminal; pytest tells us by closing our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    request = json.loads(sys.stdin.readline())
    try:
        return _served(request, parent)
    except PluginError as error:
        _answer({"state": "failed", "message": str(error)})
        return LEFT
    finally:
        _clear(request, parent)


def _clear(request: Mapping[str, Any], parent: int) -> None:
    """Remove what was made for us where nobody is left who would."""
    if os.getppid() != parent:
        shutil.rmtree(request["folder"], ignore_errors=True)


def _served(request: Mapping[str, Any], parent: int) -> int:
    def leave() -> None:
        # In the middle of whatever it is: what was not acknowledged is sent again, and
        # a download that is half done was not renamed yet.
        _clear(request, parent)
        os._exit(LEFT)

    if request["task"] == "follow":
        return _serve_follow(request, parent, leave)
    ended = _end_with_input(parent, leave)
    if request["task"] == "baseline":
        remote_baseline.seek(request, _answer, ended)
    elif request["task"] == "dataset":
        _answer(obtain_dataset(request, _Telling()))
    else:
        _answer(find_experiment(request))
    return 0


def _end_with_input(parent: int, leave: Callable[[], object]) -> threading.Event:
    """Let this process end when pytest does; answers what a line before that sets."""
    ended = threading.Event()

    def wait() -> None:
        while sys.stdin.readline():
            ended.set()
        _see_it_gone(parent)
        leave()

    threading.Thread(target=wait, daemon=True).start()
    return ended


@dataclass(slots=True)
class _Telling:
    """Tells how many rows came so far, now and then."""

    told: float = 0.0

    def __call__(self, rows: int) -> None:
        now = time.monotonic()
        if now - self.told > _TELL_SECONDS:
            self.told = now
            _answer({"progress": rows})


def _serve_follow(
    request: Mapping[str, Any], parent: int, leave: Callable[[], object]
) -> int:
    ended = threading.Event()
    arrivals = _Arrivals()
    limit = (ended, arrivals, request["seconds"], leave)
    for target, args in (
        (_watch, (ended, parent)),
        (_read_to_end, (sys.stdin, ended, parent)),
        (_end_in_time, limit),
    ):
        threading.Thread(target=target, args=args, daemon=True).start()
    server = Connection(**request["connection"])
    if request["project"] is not None:
        checked = _check_in_time(server, request["project"])
        _answer(asdict(checked))
        if checked.state == "refused":
            return LEFT
    done = follow(
        Path(request["directory"]), request["session_id"], server, ended, arrivals
    )
    return 0 if done else LEFT


@dataclass(slots=True)
class _Arrivals:
    """When rows arrived last at the server."""

    last: float = 0.0

    def __call__(self, _: int) -> None:
        self.last = monotonic()


def _end_in_time(
    ended: threading.Event,
    arrivals: _Arrivals,
    seconds: float,
    leave: Callable[[], object],
) -> None:
    """Leave where nothing arrived for as long as the end of a run may take.

    A pytest that lives ends us itself. One that was killed cannot, and a server may
    be silent for longer than anybody wants a process of a dead run to stay.
    """
    ended.wait()
    since = monotonic()
    until = since + seconds
    while (left := until - monotonic()) > 0:
        sleep(left)
        until = max(since, arrivals.last) + seconds
    leave()


def _check_in_time(server: Connection, project: str) -> Check:
    answers: SimpleQueue[Check] = SimpleQueue()
    threading.Thread(
        target=lambda: answers.put(check(server, project)), daemon=True
    ).start()
    try:
        return answers.get(timeout=_CHECK_SECONDS)
    except Empty:
        why = f"cannot be reached: no answer within {_CHECK_SECONDS:g} seconds"
        return Check("unreachable", f"{server.api_url} {why}")


def _read_to_end(stream: TextIO, ended: threading.Event, parent: int) -> None:
    # A line as well as the end: a process that a test forked may hold the pipe open.
    if not stream.readline():
        _see_it_gone(parent)
    ended.set()


def _see_it_gone(parent: int) -> None:
    """Wait for the death of a pytest that closed its files without a word.

    One that is killed does so shortly before it is gone.
    """
    until = monotonic() + _GONE_SECONDS
    while os.getppid() == parent and monotonic() < until:
        sleep(_LOOK_SECONDS)


def _watch(ended: threading.Event, parent: int) -> None:
    """Notice the death of pytest where a child that it forked holds our pipe open."""
    while os.getppid() == parent:
        time.sleep(1.0)
    ended.set()


def _answer(
    answer: Mapping[str, Any], write: Callable[[str], object] = sys.stdout.write
) -> None:
    write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
