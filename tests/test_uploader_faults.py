"""Whatever goes wrong on the way, the server ends up with exactly what was recorded."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fake_braintrust import FakeBraintrust
from fake_braintrust.faults import (
    Action,
    Fault,
    answer,
    busy,
    drip,
    html,
    raw,
    reset,
    truncated,
    wrong_types,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import put

from pytest_braintrust import events
from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.api.http import Timeouts
from pytest_braintrust.api.retry import ONCE
from pytest_braintrust.errors import ApiError
from pytest_braintrust.events import Attempt, Case, Ids, Place, Row
from pytest_braintrust.facts import NewExperiment
from pytest_braintrust.fields import Fields, checked
from pytest_braintrust.settings import Connection
from pytest_braintrust.store import reading, writing
from pytest_braintrust.store.connection import Store, open_store
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.uploader import Sender

FAULTS: dict[str, Callable[[], Action]] = {
    "429": lambda: busy(429),
    "503": lambda: busy(503),
    "500": lambda: answer(500),
    "413": lambda: answer(413),
    "reset before": lambda: reset(apply=False),
    "reset after": lambda: reset(apply=True),
    "cut off": truncated,
    "HTML": lambda: html(200),
    "no HTTP": lambda: raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "wrong types": wrong_types,
    "slow": drip,
}

FAULTY = st.tuples(
    st.sampled_from(sorted(FAULTS)),
    st.sampled_from(["/insert$", "/insert$", "/insert$", "/experiment$", "/project$"]),
    st.integers(1, 3),
)

#: A round: sizes of rows to record, faults that lie in wait, how often it is tried.
ROUNDS = st.lists(
    st.tuples(
        st.lists(st.integers(1, 3_000), max_size=6),
        st.lists(FAULTY, max_size=3),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=4,
)


def recorded(number: int, size: int) -> Row:
    """A row of one test, with an output of that size."""
    place = Place.of(file="test_a.py", function="test", line=1)
    case = Case(f"test_a.py::test[{number}]", "test", place, Fields())
    attempt = Attempt("passed", 1.0, 2.0, durations={"call": 1.0})
    said = checked(output="x" * size, scores={"exact": number % 2})
    return events.record(case, Ids(), said, attempt)


def experiment(store: Store) -> StoredExperiment:
    return writing.add_experiment(
        store,
        NewExperiment(
            id="6f2c1f0a-7d0b-4a35-9e4e-3f6b7f1c2d10",
            run_id="run",
            project="geo",
            name="a run",
            created_at=1.0,
            repo_info=None,
            metadata={},
            api_url=None,
        ),
    )


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(ROUNDS)
def test_any_interleaving_of_faults_leaves_what_was_recorded(
    rounds: list[tuple[list[int], list[tuple[str, str, int]], int]],
) -> None:
    """Rows are recorded, requests fail in every way, and it is tried again."""
    with tempfile.TemporaryDirectory() as name, FakeBraintrust() as server:
        store = open_store(Path(name) / "store")
        run = experiment(store)
        kept: dict[str, Row] = {}
        server_at = Connection(server.api_key, server.url, server.app_url)
        timeouts = Timeouts(connect=1, read=0.3, total=0.6)
        with BraintrustClient.for_connection(
            server_at, policy=ONCE, timeouts=timeouts
        ) as client:
            sender = Sender(store, client)
            for sizes, faults, tries in rounds:
                rows = [recorded(len(kept) + i, size) for i, size in enumerate(sizes)]
                kept |= {row["id"]: row for row in rows}
                put(store, run, rows)
                for fault, path, times in faults:
                    server.faults.add(Fault(FAULTS[fault](), path=path, times=times))
                for _ in range(tries):
                    with suppress(ApiError):
                        sender.send(run)
            server.faults.clear()
            # Rows that a 413 had refused although they are small.
            writing.clear_refused(store, run.number)
            sender.send(run)
        counts = reading.row_counts(store, run.number)
        assert (counts.recorded, counts.pending) == (len(kept), 0)
        store.close()
        assert len(server.experiments) == bool(kept)
        arrived = server.rows("a run") if kept else []
        assert sorted(each["id"] for each in arrived) == sorted(kept)
        for each in arrived:
            wanted = json.loads(kept[each["id"]]["event"])
            assert each["output"] == wanted["output"]
            assert each["scores"] == wanted["scores"]
