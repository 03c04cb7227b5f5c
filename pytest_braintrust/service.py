"""What runs in a process of our own beside pytest: `python -m pytest_braintrust.service`.

Its own process, because tests mock: with a patched HTTP library, a frozen clock or
forbidden sockets in the test process, nothing there could be sent. The request comes
as one line of JSON on standard input, so that the key is in no process list, and
answers go to standard output as lines of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from pytest_braintrust import rendezvous
from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.api.http import Timeouts
from pytest_braintrust.api.retry import ONCE
from pytest_braintrust.errors import (
    ApiError,
    BadAnswer,
    PluginError,
    Refused,
    Rejected,
    StoreError,
)
from pytest_braintrust.settings import Connection
from pytest_braintrust.store import connection, reading, writing
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.writing import NewExperiment
from pytest_braintrust.uploader import send_experiment

#: A person waits for the check at the start of a run.
CHECK_TIMEOUTS = Timeouts(connect=4.0, read=6.0)

#: Between two looks at the store: rows that were recorded meanwhile go together.
_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Check:
    """What Braintrust answered when the run asked for its project."""

    #: `ready`; `refused`: the key or address is wrong; `unreachable`: not now.
    state: str
    message: str = ""


def check(server: Connection, project: str) -> Check:
    """Ask for the project once, as the check of address and key."""
    client = BraintrustClient.for_connection(
        server, policy=ONCE, timeouts=CHECK_TIMEOUTS
    )
    with client:
        try:
            client.create_project(project)
        except (Refused, Rejected, BadAnswer) as error:
            return Check("refused", str(error))
        except ApiError as error:
            return Check("unreachable", str(error))
    return Check("ready")


def drain(store: Store, session_id: str, client: BraintrustClient) -> None:
    """Send all that a session has recorded, finished or cut off.

    Raises:
        ApiError: not everything could be sent; the rest stays in the store.
        StoreError: the store could not be read or written.
    """
    for experiment in reading.experiments(
        store, session_id=session_id, unsent_only=True
    ):
        send_experiment(store, experiment, client)


def follow(
    directory: Path, session_id: str, server: Connection, ended: threading.Event
) -> None:
    """Send the rows of a session as they are recorded, until it ended.

    Raises:
        ApiError: at the end, not everything could be sent.
        StoreError: the store could not be read or written.
    """
    store = connection.open_store(directory)
    # The loop is its own retry: a call that waits and tries again would not notice
    # the end of the run.
    with BraintrustClient.for_connection(server, policy=ONCE) as client:
        pause = _PAUSE
        while not ended.wait(pause):
            pause = _step(store, session_id, client, pause)
    with BraintrustClient.for_connection(server) as client:
        drain(store, session_id, client)


def _step(
    store: Store, session_id: str, client: BraintrustClient, pause: float
) -> float:
    """Send what there is; answers how long to pause, longer after each trouble."""
    try:
        for experiment in reading.experiments(
            store, session_id=session_id, unsent_only=True
        ):
            send_experiment(store, experiment, client, final_only=True)
    except (ApiError, StoreError) as error:
        # The reason is in the store with the experiment; the rows stay unsent.
        told = getattr(error, "retry_after", None) or 0.0
        longer = min(pause * 2, _LONGEST_PAUSE)
        # Spread, so that the shards of one CI run do not come back together.
        return max(told, random.uniform(_PAUSE, longer))  # noqa: S311 - no secret
    return _PAUSE


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
        metadata=new.metadata,
        base_remote_id=new.base_remote_id,
    )


def main() -> int:
    """Serve the one request on standard input; 0 when all of it was done."""
    # Ctrl-C reaches the whole terminal; pytest tells us by closing our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    request = json.loads(sys.stdin.readline())
    try:
        if request["task"] == "follow":
            return _serve_follow(request, parent)
        _answer(find_experiment(request))
    except PluginError as error:
        _answer({"state": "failed", "message": str(error)})
        return 1
    return 0


def _serve_follow(request: Mapping[str, Any], parent: int) -> int:
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(ended, parent), daemon=True)
    watch.start()
    threading.Thread(target=_read_to_end, args=(sys.stdin, ended), daemon=True).start()
    server = Connection(**request["connection"])
    if request["project"] is not None:
        checked = check(server, request["project"])
        _answer(asdict(checked))
        if checked.state == "refused":
            return 1
    follow(Path(request["directory"]), request["session_id"], server, ended)
    return 0


def _read_to_end(stream: TextIO, ended: threading.Event) -> None:
    while stream.read(4096):
        pass
    ended.set()


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
