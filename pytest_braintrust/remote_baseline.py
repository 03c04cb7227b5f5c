"""A baseline on Braintrust: found by the rules for those of the store, and pulled.

In a process of our own: it needs the network, which a test may have mocked, and it
goes on while tests run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any

from pytest_braintrust import ends, facts, pulling
from pytest_braintrust.api.answers import mapping
from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.api.http import Timeouts
from pytest_braintrust.api.models import Experiment
from pytest_braintrust.api.retry import ONCE, PATIENT
from pytest_braintrust.baseline import (
    Past,
    Picked,
    Subject,
    pick_measured,
    why_not_whole,
)
from pytest_braintrust.clocks import sleep
from pytest_braintrust.errors import ApiError, BaselineError, Overloaded, Unreachable
from pytest_braintrust.patience import Patience
from pytest_braintrust.rendezvous import MADE_BY
from pytest_braintrust.selection import SELECTED, SELECTION, covers
from pytest_braintrust.settings import Connection
from pytest_braintrust.store import connection
from pytest_braintrust.store.connection import Store

#: How many of a project's newest experiments are looked at.
_LOOKED_AT = 1_000

#: A server that cannot be connected to in this time is not there.
_TIMEOUTS = Timeouts(connect=4.0)

#: Told what was found, before its rows are here.
Tell = Callable[[Mapping[str, Any]], object]


def seek(request: Mapping[str, Any], tell: Tell, ended: Event) -> None:
    """Find the baseline of a run on Braintrust, tell of it, and bring it here.

    Args:
        request: `connection`, `directory` of the store, `asked`, and the fields of a
            `Subject` in `subject`.
        tell: Told `state`: "found" with `id`, `remote_id`, `name` and `how`; "none";
            "wrong" or "failed" with `message`.
        ended: Set when the run has ended, and waits for what was found.

    Raises:
        ApiError: what was found could not be brought here.
        StoreError: the store could not be written.
    """
    told = request["subject"]
    subject = Subject(
        told["project"],
        told["branch"],
        Path(told["root"]),
        run_id=told["run_id"],
        selection=told["selection"],
    )
    store = connection.open_store(Path(request["directory"]))
    server = Connection(**request["connection"])
    with BraintrustClient.for_connection(server) as client:
        try:
            picked = find(client, subject, request["asked"])
        except BaselineError as error:
            tell({"state": "wrong", "message": str(error)})
            return
        except ApiError as error:
            tell({"state": "failed", "message": str(error)})
            return
        if picked is None:
            tell({"state": "none"})
            return
        tell({"state": "found", **_told(store, picked)})
    with BraintrustClient.for_connection(
        server, policy=ONCE, timeouts=_TIMEOUTS
    ) as client:
        _bring(store, client, picked.thing.id, ended)


def _bring(store: Store, client: BraintrustClient, there: str, ended: Event) -> None:
    """Pull an experiment, again and again where the server is in trouble.

    A pull goes on where it stopped. The calls themselves are tried once: one that
    waits and tries again would not notice the end of the run.
    """
    patience, attempt, came = Patience(PATIENT.seconds), 0, 0

    def note(rows: int) -> None:
        nonlocal came
        came += rows

    while True:
        before = came
        try:
            pulling.pull_experiment(store, client, there, again=False, on_progress=note)
        except (Unreachable, Overloaded) as error:
            arrived = came > before
            patience.note(error, arrived=arrived)
            attempt = 0 if arrived else attempt + 1
            pause = PATIENT.wait_after(error, attempt)
            if not patience.lasts(pause, waited_for=ended.is_set()):
                raise
            # The end of the run ends a pause that is longer than it waits.
            (sleep if ended.is_set() else ended.wait)(pause)
        else:
            return


def find(
    client: BraintrustClient, subject: Subject, asked: str | None
) -> Picked[Experiment] | None:
    """Choose among the experiments of a project on Braintrust, as in the store.

    What has no rows there may be a run whose rows are kept elsewhere, or nobody's.

    Raises:
        ApiError: the server could not be asked.
        BaselineError: what was named is not there.
    """

    def has_rows(each: Experiment) -> bool:
        return any(True for _ in client.fetch_experiment(each.id, page_size=1))

    return pick_measured(list(_past(client, subject)), subject, asked, has_rows)


def _past(client: BraintrustClient, subject: Subject) -> Iterator[Past[Experiment]]:
    run_id, project = subject.run_id, subject.project
    own = None if run_id is None else facts.experiment_id(run_id, project)
    found = client.list_experiments(project_name=project, limit=_LOOKED_AT)
    for each in pulling.newest_first(found):
        if own is not None and each.metadata.get(MADE_BY) == own:
            continue
        dirty = bool(mapping(each.raw, "repo_info").get("dirty"))
        whole = covers(each.metadata.get(SELECTION), subject.selection)
        fit = whole and (MADE_BY not in each.metadata or ends.read(each.metadata).fit)
        why_not = _unusable(each.metadata)
        yield Past(pulling.candidate(project, each), dirty, fit, why_not)


def _unusable(metadata: Mapping[str, Any]) -> str:
    """Why a run cannot be compared with; what others made can, as it does not say."""
    if MADE_BY not in metadata:
        return ""
    end = ends.read(metadata)
    return why_not_whole(end.exit_status, end.tests, selected=SELECTED in metadata)


def _told(store: Store, picked: Picked[Experiment]) -> dict[str, Any]:
    return {
        "id": pulling.local_id(store, picked.thing),
        "remote_id": picked.thing.id,
        "name": picked.thing.name,
        "how": picked.how,
    }
