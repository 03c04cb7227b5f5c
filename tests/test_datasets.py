"""A dataset on Braintrust makes the cases of a test, downloaded once for a run."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from capitals import COUNTRIES, downloads, fill, row
from conftest import Ran, Suite
from fake_braintrust import (
    FakeBraintrust,
    Fault,
    Request,
    answer,
    busy,
    drip,
    html,
    reset,
    truncated,
)

from pytest_braintrust import descriptors
from pytest_braintrust.api import BraintrustClient
from pytest_braintrust.datasets import download
from pytest_braintrust.datasets.cache import Cache
from pytest_braintrust.datasets.wanted import Wanted

TEST = """\
import pytest

@pytest.mark.braintrust(dataset={name!r}{more})
def test_capital(bt_row, bt_score):
    bt_score(output=bt_row.expected, scores={{"exact": 1}})
"""


def text(name: str = "geo/capitals", more: str = "") -> str:
    return TEST.format(name=name, more=f", {more}" if more else "")


@pytest.fixture
def capitals(client: BraintrustClient) -> str:
    """The id of a dataset of seven rows."""
    return fill(client, "geo", "capitals", COUNTRIES)


def asked(server: FakeBraintrust, path: str) -> int:
    return len([each for each in server.requests if path in each.path])


def ids(ran: Ran) -> list[str]:
    return sorted(each["metadata"]["pytest"]["param_id"] for each in ran.rows())


@pytest.mark.parametrize("workers", [0, 4])
def test_each_row_is_a_case(
    suite: Suite, server: FakeBraintrust, capitals: str, workers: int
) -> None:
    """What the row says is in the event, and event and experiment say where it is from."""
    suite.write(test_geo=text(), test_more=text()).sends_to(server)
    ran = suite.with_plugins("xdist").run(f"-n{workers}")
    assert ran.status == 0, ran.out
    assert "14 collected = 14 passed" in ran.section
    (experiment,) = server.experiments
    found = {each["input"]["country"]: each for each in server.rows(experiment["id"])}
    assert sorted(found) == sorted(COUNTRIES)
    peru = found["Peru"]
    (source,) = (each for each in server.rows(capitals) if each["id"] == "id-Peru")
    assert peru["expected"] == "capital of Peru"
    assert peru["metadata"]["name"] == "PERU"
    assert peru["tags"] == ["geo"]
    assert peru["metadata"]["pytest"]["param_id"] == "id-Peru"
    assert peru["origin"] == {
        "object_type": "dataset",
        "object_id": capitals,
        "id": "id-Peru",
        "_xact_id": source["_xact_id"],
        "created": source["created"],
    }
    assert experiment["dataset_id"] == capitals
    assert experiment["dataset_version"] == source["_xact_id"]
    assert experiment["metadata"]["datasets"] == [
        {
            "name": "capitals",
            "project": "geo",
            "id": capitals,
            "version": source["_xact_id"],
        }
    ]
    # One page with the rows, and one that says that there are no more.
    assert len(downloads(server)) == 2
    assert downloads(server)[0].headers["accept-encoding"] == "gzip"


def test_rows_are_private_and_the_key_is_nowhere(
    suite: Suite, server: FakeBraintrust, capitals: str
) -> None:
    """What was downloaded is for the user alone, ignored by git, without the key.

    By a process of ours: pytest's own loads no HTTP library for it.
    """
    light = "import sys\ndef test_light(): assert 'httpx' not in sys.modules\n"
    named = text("capitals", 'project="geo"')
    suite.write(test_geo=text(), test_later=light, test_named=named).sends_to(server)
    ran = suite.run_off()
    assert ran.status == 0, ran.out
    assert "15 passed" in ran
    assert len(downloads(server)) == 2  # by either name it is the same dataset
    assert (ran.store / ".gitignore").exists()
    files = [each for each in ran.store.rglob("*") if each.is_file()]
    for each in files:
        assert server.api_key not in each.read_text("utf-8")
        if each.name in {"rows.jsonl", "manifest.json"}:
            assert each.stat().st_mode & 0o077 == 0
    assert ran.store.stat().st_mode & 0o077 == 0
    assert not list(ran.store.rglob("*.part"))
    assert not (ran.store / "store.sqlite3").exists()


OPTIONS = """\
import pytest

@pytest.mark.braintrust(dataset="capitals", limit=2, id_field="name")
def test_limited(bt_row): pass

@pytest.mark.braintrust(dataset="capitals", filter="metadata.length = 4", id_field="country")
def test_filtered(bt_row): pass

@pytest.mark.braintrust(dataset="capitals", version="{version}")
def test_old(bt_row): pass

@pytest.mark.braintrust(dataset="capitals", id_field="metadata.length", filter={{
    "op": "gt",
    "left": {{"op": "ident", "name": ["metadata", "length"]}},
    "right": {{"op": "literal", "value": 5}},
}})
def test_tree(bt_row): pass
"""


def test_a_marker_chooses_rows_version_and_ids(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient, capitals: str
) -> None:
    """Limit, filter and version are the server's work; a field names the cases."""
    old = server.rows(capitals)[0]["_xact_id"]
    client.insert_dataset_rows(capitals, [row("Norway")])
    suite.write(test_geo=OPTIONS.format(version=old)).sends_to(server)
    ran = suite.run("--braintrust-project=geo", "-p", "xdist", "-n2")
    assert ran.status == 0, ran.out
    names = sorted(each["metadata"]["pytest"]["nodeid"][13:] for each in ran.rows())
    assert names == [
        "test_filtered[Peru]",
        "test_limited[KENYA]",
        "test_limited[NORWAY]",
        *(f"test_old[id-{each}]" for each in sorted(COUNTRIES)),
        "test_tree[6-id-France]",
        "test_tree[6-id-Norway]",
    ]
    (experiment,) = server.experiments
    assert experiment["dataset_id"] is None  # in two versions, it is not the one
    versions = {each["version"] for each in experiment["metadata"]["datasets"]}
    assert versions == {old, server.rows(capitals)[-1]["_xact_id"]}


def test_an_unchanged_dataset_is_not_downloaded_again(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient, capitals: str
) -> None:
    """A row that is added, changed or deleted is noticed; nothing else costs a page."""
    suite.write(test_geo=text()).sends_to(server)
    assert len(ids(suite.run())) == 7
    assert len(downloads(server)) == 2
    assert len(ids(suite.run())) == 14
    assert len(downloads(server)) == 2
    client.insert_dataset_rows(capitals, [{"id": "id-Peru", "_object_delete": True}])
    assert "6 collected = 6 passed" in suite.run()
    client.insert_dataset_rows(capitals, [{**row("Italy"), "expected": "Rome"}])
    assert "6 collected = 6 passed" in (ran := suite.run())
    assert [each["expected"] for each in ran.rows()].count("Rome") == 1
    assert len(downloads(server)) == 6


def test_pages_are_followed_and_repeated_rows_keep_their_newest_version(
    suite: Suite, server: FakeBraintrust, capitals: str
) -> None:
    """The other name of the cursor's header, redirects, outdated repetitions: all fine."""
    server.knobs.repeat_older_rows = True
    server.knobs.redirect_btql = True
    suite.write(test_geo=text()).sends_to(server)
    suite.environment["BRAINTRUST_PAGE_SIZE"] = "3"
    ran = suite.run()
    assert ids(ran) == sorted(f"id-{each}" for each in COUNTRIES)
    assert not any(each["metadata"].get("outdated") for each in ran.rows())
    assert [each.json["query"]["limit"] for each in downloads(server)] == [3] * 4


def test_a_row_that_comes_in_a_newer_version_replaces_the_older_one(
    suite: Suite, server: FakeBraintrust, capitals: str
) -> None:
    """Whichever comes first."""
    server.faults.add(Fault(oldest_first, path="/btql", nth=1))
    suite.write(test_geo=text()).sends_to(server)
    ran = suite.run()
    assert ids(ran) == sorted(f"id-{each}" for each in COUNTRIES)
    assert not any(each["metadata"].get("old") for each in ran.rows())


def test_no_file_that_is_open_is_replaced(
    server: FakeBraintrust,
    client: BraintrustClient,
    capitals: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows refuses that."""
    replace, replaced = Path.replace, []

    def as_windows(path: Path, target: Path) -> Path:
        if descriptors.found([path, target]):
            raise PermissionError(errno.EACCES, "used by another process", str(path))
        replaced.append(target)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", as_windows)
    server.faults.add(Fault(oldest_first, path="/btql", nth=1))
    wanted = Wanted("geo/capitals", "geo")
    entry = download.obtain(client, Cache(tmp_path), wanted)
    assert entry.rows == len(COUNTRIES)
    assert len(entry.path.read_bytes().splitlines()) == len(COUNTRIES)
    assert len(replaced) == 1


def oldest_first(exchange: Any) -> None:
    """The real page, with an outdated version of its last row at its start."""
    exchange.request.headers["accept-encoding"] = "identity"
    real = exchange.apply()
    lines = real.body.splitlines(keepends=True)
    old = {**json.loads(lines[-1]), "_xact_id": "1", "metadata": {"old": True}}
    body = b"".join([json.dumps(old).encode() + b"\n", *lines])
    exchange.send(type(real)(real.status, body, real.headers))


def test_a_dataset_that_changes_while_it_is_read_is_read_again(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient, capitals: str
) -> None:
    """Half of the pages from before and half from after are no version of it."""

    def change(exchange: Any) -> None:
        client.insert_dataset_rows(capitals, [row("Norway")])
        exchange.send(exchange.apply())

    server.faults.add(Fault(change, path="/btql", nth=2))
    suite.write(test_geo=text()).sends_to(server)
    suite.environment["BRAINTRUST_PAGE_SIZE"] = "3"
    ran = suite.run()
    assert "8 collected = 8 passed" in ran.section, ran.out
    (experiment,) = server.experiments
    assert experiment["dataset_version"] == server.rows(capitals)[-1]["_xact_id"]


NO_SOCKETS = """\
import socket

class Forbidden:
    def __init__(self, *args, **more): raise RuntimeError("no sockets")

socket.socket = Forbidden
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own")
def test_a_terminal_shows_how_far_a_download_is(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient
) -> None:
    """In a suite, too, that has taken the network away before it is collected."""
    fill(client, "geo", "capitals", [f"country {number}" for number in range(400)])
    suite.write(test_geo=text(), conftest=NO_SOCKETS).sends_to(server)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        suite.command("-q"), cwd=suite.folder, env=suite.env(), stdout=theirs
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux tells that nobody writes any more
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    assert process.wait() == 0, shown
    assert b"\rbraintrust: geo/capitals: 200 rows downloaded" in shown
    assert b"400 passed" in shown


# Offline, and without a key


def test_a_mocked_clock_lets_go_of_no_other_dataset(
    suite: Suite, server: FakeBraintrust, capitals: str
) -> None:
    """What a run's workers have in common is not old, whatever its tests call now."""
    mocked = "import time\ntime.time = lambda: 4e9"
    suite.write(conftest=mocked, test_geo=text(), test_some=text(more="limit=2"))
    ran = suite.with_plugins("xdist").sends_to(server).run("-n2")
    assert ran.status == 0, ran.out
    assert len([*suite.folder.glob(".braintrust/datasets/pins/*/*.json")]) == 2


def test_offline_uses_the_cached_version(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient, capitals: str
) -> None:
    """Nothing is asked: neither for the dataset nor for the rows' experiment."""
    suite.write(test_geo=text()).sends_to(server)
    ran = suite.run("--braintrust-offline")
    assert ran.status == 2
    assert (
        "In test_capital: dataset geo/capitals was not downloaded before, and "
        "Braintrust is not asked, because of --braintrust-offline" in ran
    )
    assert not server.requests[3:]
    assert suite.run("--braintrust-no-upload").status == 0
    client.insert_dataset_rows(capitals, [row("Norway")])
    before = len(server.requests)
    for arguments in ((), ("-p", "xdist", "-n2")):
        ran = suite.run("--braintrust-offline", *arguments)
        assert "7 collected = 7 passed" in ran.section
        assert "7 recorded, kept here as asked" in ran.section
    assert len(server.requests) == before
    del suite.environment["BRAINTRUST_API_KEY"]
    assert "7 passed" in suite.run_off()
    suite.environment["BRAINTRUST_API_URL"] = "https://other.example"
    ran = suite.run_off()
    assert "7 passed" in ran  # without a key, nobody knows of which server it is
    suite.environment["BRAINTRUST_API_KEY"] = "k"
    assert "was not downloaded before" in suite.run_off("--braintrust-offline")


def test_a_server_that_is_away_is_a_warning_where_there_is_a_cache(
    suite: Suite, server: FakeBraintrust, capitals: str
) -> None:
    """The run goes on with the version that is here, and says so."""
    suite.write(test_geo=text()).sends_to(server)
    assert "7 passed" in suite.run_off()
    server.faults.add(Fault(busy(503, 0), path="/v1/dataset", times=None))
    ran = suite.run_off("-p", "xdist", "-n2")
    assert "7 passed, 2 warnings" in ran or "7 passed, 1 warning" in ran
    assert "dataset geo/capitals comes from the cache, as of version 1000" in ran
    ran = suite.run_off("-W", "error::pytest.PytestWarning")
    assert ran.status == 2
    assert "In test_capital: dataset geo/capitals comes from the cache" in ran
    shutil.rmtree(ran.store / "datasets")
    ran = suite.run_off("-p", "xdist", "-n2")
    told = "In test_capital: dataset geo/capitals was not downloaded before, and http"
    assert told in ran
    assert "answered 503" in ran


# What goes wrong is told at collection, by its text alone.


def told_at_collection(suite: Suite, wrong: Mapping[str, tuple[str, ...]]) -> None:
    """Run a module for each wrong dataset: plain and with workers, all has to be told."""
    modules = {f"test_{name}": text(*of) for name, (_, *of) in wrong.items()}
    suite.write(**modules).with_plugins("xdist")
    for workers in ("-n0", "-n2"):
        ran = suite.run(workers)
        shown, _, _ = ran.out.partition("short test summary info")
        for what, *_ in wrong.values():
            assert f"In test_capital: {what}" in shown, ran.out
        assert shown.count("In test_capital: ") == len(wrong)
        assert ran.status in {1, 2}
        assert "Traceback" not in ran.out + ran.err
        assert "pytest_braintrust/" not in ran.out
        assert ran.rows() == []


def test_a_dataset_that_cannot_be_used_is_told(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient, capitals: str
) -> None:
    """By its text alone: what there is instead, which row is wrong."""
    newest = server.rows(capitals)[-1]["_xact_id"]
    no_version = "dataset geo/capitals has no version {!r}; the newest is {}"
    late = "9999999999999999999"
    fill(client, "geo", "both", ["France"])
    fill(client, "suite", "geo/both", ["France"])
    fill(client, "geo", "empty", [])
    odd = fill(client, "geo", "odd", ["France"])
    client.insert_dataset_rows(odd, [{"id": "bad", "expected": "x"}])
    org = "of organisation test-org"
    near = (
        "there is no dataset 'geo/capital': project 'geo' has none called 'capital'; "
        "did you mean 'capitals'?"
    )
    project = (
        "there is no dataset 'elsewhere/x': no project is called 'elsewhere'; "
        "there are 'geo', 'suite'"
    )
    own_project = (
        "there is no dataset 'capitals': project 'suite' has none called 'capitals'; "
        "there are 'geo/both'"
    )
    ambiguous = (
        f"the dataset 'geo/both' may be geo/both {org} or suite/geo/both {org}; name "
        "its project, or the organisation"
    )
    told_at_collection(
        suite.sends_to(server),
        {
            "near": (near, "geo/capital"),
            "project": (project, "elsewhere/x"),
            "own_project": (own_project, "capitals"),
            "ambiguous": (ambiguous, "geo/both"),
            "late": (
                no_version.format(late, newest),
                "geo/capitals",
                f"version={late!r}",
            ),
            "word": (
                no_version.format("new", newest),
                "geo/capitals",
                "version='new'",
            ),
            "early": (
                "dataset geo/capitals has no rows at version 1",
                "geo/capitals",
                "version=1",
            ),
            "filtered": (
                "dataset geo/capitals has no row that the filter keeps",
                "geo/capitals",
                "filter='metadata.length = 99'",
            ),
            "empty": ("dataset geo/empty has no rows", "geo/empty"),
            "odd": ("row bad of dataset geo/odd: the row has no input", "geo/odd"),
            "unnamed": (
                "row id-Kenya of dataset geo/capitals: id_field 'nick' has no text or num",
                "geo/capitals",
                "id_field='nick'",
            ),
        },
    )


def test_an_answer_that_is_none_is_told(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient
) -> None:
    """With the dataset that it was about."""
    faults = {
        "html": (html(), "/btql", "line 1 of a page is not a JSON object: no page"),
        "no_id": (answer(200, b'{"input": 1}\n'), "/btql", "has no 'id' that is a te"),
        "cursor": (
            answer(200, b'{"id": "a"}\n', {"x-bt-cursor": "c"}),
            "/btql",
            "the server's cursor repeats: its pages have no end",
        ),
        "refused": (answer(403), "/btql", "/btql answered 403: fault: 403"),
        "no_list": (answer(403), "/v1/dataset$", "/v1/dataset answered 403: fault"),
        "no_json": (html(), "/fetch$", "something that is not JSON"),
    }
    for name, (action, path, _) in faults.items():
        known = fill(client, "geo", name, ["France"])
        strikes = partial(_is_about, name, known)
        server.faults.add(Fault(action, path=path, when=strikes, times=None))
    suite.sends_to(server)
    wrong = {name: (f"dataset geo/{name}: ", f"geo/{name}") for name in faults}
    told_at_collection(suite, wrong)
    ran = suite.run()
    for *_, told in faults.values():
        assert told in ran


def _is_about(name: str, dataset_id: str, request: Request) -> bool:
    """Whether a request is about that dataset."""
    named = request.param("dataset_name") == name
    return named or dataset_id in request.path or dataset_id.encode() in request.body


def test_broken_connections_are_tried_again(
    suite: Suite, server: FakeBraintrust, capitals: str
) -> None:
    """A page that breaks off is asked for again, and no row is there twice."""
    for fault in (reset(apply=True), truncated(), busy(429, 0)):
        server.faults.add(Fault(fault, path="/btql"))
    ran = suite.write(test_geo=text()).sends_to(server).run_off()
    assert "7 passed" in ran


def test_a_download_that_was_killed_is_done_anew(
    suite: Suite, server: FakeBraintrust, capitals: str
) -> None:
    """What it left is not used; the process that downloads ends with pytest."""
    suite.write(test_geo=text()).sends_to(server)
    suite.environment["BRAINTRUST_PAGE_SIZE"] = "3"
    slow = server.faults.add(Fault(drip(), path="/btql", nth=2))
    process = suite.start("-p", "xdist", "-n2", start_new_session=True)
    server.wait_until(lambda: slow.struck, 60)
    os.killpg(process.pid, signal.SIGKILL)
    suite.ended(process)
    folder = suite.folder / ".braintrust" / "datasets"
    assert not list(folder.glob("*/manifest.json"))
    ran = suite.run_off("-p", "xdist", "-n2")
    assert "7 passed" in ran
    assert ran.status == 0


def test_a_damaged_cache_is_not_used(
    suite: Suite, server: FakeBraintrust, capitals: str
) -> None:
    """A file that is not as long as its manifest says is downloaded again."""
    suite.write(test_geo=text()).sends_to(server)
    assert "7 passed" in suite.run_off()
    (path,) = (suite.folder / ".braintrust" / "datasets").glob("*/rows.jsonl")
    path.write_bytes(path.read_bytes()[:-100])
    assert "7 passed" in suite.run_off()
    assert len(downloads(server)) == 4
