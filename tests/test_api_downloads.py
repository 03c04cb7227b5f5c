"""Downloads by BTQL: pages, cursors, object stores, and what is no page."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any

import pytest
from fake_braintrust import (
    Answer,
    FakeBraintrust,
    Fault,
    answer,
    busy,
    html,
    reset,
    truncated,
)

from pytest_braintrust.api import BraintrustClient, Dataset, RetryPolicy
from pytest_braintrust.errors import BadAnswer, Overloaded, Rejected

CURSOR_HEADERS = ["x-bt-cursor", "x-amz-meta-bt-cursor"]


@pytest.fixture
def dataset(client: BraintrustClient) -> Dataset:
    """Seven rows, and what they were before."""
    project = client.create_project("p")
    made = client.create_dataset(project.id, "d")
    for word in ("old", "new"):
        rows = [
            {"id": str(n), "input": n, "expected": word, "metadata": {"even": n % 2}}
            for n in range(7)
        ]
        client.insert_dataset_rows(made.id, rows)
    return made


def page(*lines: str, cursor: str = "") -> Any:
    """An action that answers a page of these lines."""
    headers = {"x-bt-cursor": cursor} if cursor else {}
    return answer(200, "\n".join(lines), headers)


@pytest.mark.parametrize("header", CURSOR_HEADERS)
def test_rows_come_page_by_page(
    client: BraintrustClient, server: FakeBraintrust, dataset: Dataset, header: str
) -> None:
    """A page is asked for when its first row is wanted; an empty one ends it."""
    server.knobs.cursor_header = header
    asked = len(server.requests)
    rows = client.download_dataset(dataset.id, page_size=3)
    assert len(server.requests) == asked
    first = next(rows)
    assert (first.input, first.expected, first.version is None) == (6, "new", False)
    assert len(server.requests) == asked + 1
    assert sorted([first.input, *(row.input for row in rows)]) == list(range(7))
    sent = [each.json for each in server.requests[asked:]]
    assert [each["query"].get("cursor") is None for each in sent] == [True] + [
        False
    ] * 3
    assert sent[0] == {
        "query": {
            "from": {
                "op": "function",
                "name": {"op": "ident", "name": ["dataset"]},
                "args": [{"op": "literal", "value": dataset.id}],
            },
            "select": [{"op": "star"}],
            "limit": 3,
        },
        "fmt": "jsonl",
    }
    assert server.requests[-1].headers["accept-encoding"] == "gzip"


def test_version_filter_and_limit_reach_the_server(
    client: BraintrustClient, dataset: Dataset
) -> None:
    newest = max(row.version or "" for row in client.download_dataset(dataset.id))
    before = str(int(newest) - 1)
    even = {
        "op": "eq",
        "left": {"op": "ident", "name": ["metadata", "even"]},
        "right": {"op": "literal", "value": 0},
    }
    rows = client.download_dataset(
        dataset.id, version=before, filter=even, limit=3, page_size=2
    )
    assert [(row.input, row.expected) for row in rows] == [
        (6, "old"),
        (4, "old"),
        (2, "old"),
    ]


def test_filter_in_words_is_sent_as_btql(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    server.faults.add(Fault(page()))
    assert list(client.download_dataset("d", filter="metadata.even = 0")) == []
    assert server.requests[0].json["query"]["filter"] == {"btql": "metadata.even = 0"}


def test_server_that_sends_more_than_the_limit(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    server.faults.add(Fault(page('{"id": "1"}', '{"id": "2"}', cursor="c")))
    assert [row.id for row in client.download_dataset("d", limit=1)] == ["1"]
    assert server.requests[0].json["query"]["limit"] == 1


def test_experiments_are_read_by_the_same_call(client: BraintrustClient) -> None:
    project = client.create_project("p")
    experiment = client.create_experiment(project.id, "e")
    client.insert_rows(experiment.id, [{"id": "1", "input": "a", "scores": {"s": 1}}])
    (row,) = client.download_experiment(experiment.id)
    assert (row.input, row.scores) == ("a", {"s": 1})


def test_lines_are_handed_on_as_they_came(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    """Numbers keep their digits, and what is not named stays."""
    sent = '{"id": "1",  "input": 1.10, "other": "\\u00e4"}'
    server.faults.add(Fault(page("", sent + "\r", "  ")))
    (line,) = client.download_lines("dataset", "d")
    assert line.text == sent.encode()
    assert line.row["other"] == "ä"


@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_page_in_an_object_store_is_fetched_without_the_key(
    client: BraintrustClient, server: FakeBraintrust, status: int
) -> None:
    """Neither the key nor whom it impersonates is for another host."""
    with BraintrustClient(
        api_key=server.api_key, api_url=server.url, impersonate_user="someone"
    ) as impersonating:
        body = gzip.compress(b'{"id": "1"}\n')
        headers = {"Content-Encoding": "gzip", "x-amz-meta-bt-cursor": "c"}
        stored = server.elsewhere.store(Answer(200, body, headers))
        there = {"Location": stored}
        server.faults.add(Fault(answer(status, b"", there)))
        server.faults.add(Fault(page()))
        assert [row.id for row in impersonating.download_dataset("d")] == ["1"]
    (arrived,) = server.elsewhere.requests
    assert arrived.method == ("POST" if status == 307 else "GET")
    assert "authorization" not in arrived.headers
    assert "x-bt-impersonate-user" not in arrived.headers
    assert server.requests[1].json["query"]["cursor"] == "c"


def test_whole_dataset_by_way_of_an_object_store(
    client: BraintrustClient, server: FakeBraintrust, dataset: Dataset
) -> None:
    server.knobs.redirect_btql = True
    rows = client.download_dataset(dataset.id, page_size=2)
    assert len([row.id for row in rows]) == 7
    assert server.elsewhere.leaks == []


def test_link_that_ran_out_is_asked_for_anew(
    client: BraintrustClient, server: FakeBraintrust, dataset: Dataset
) -> None:
    """A 403 of an object store says nothing about our key."""
    stored = server.elsewhere.store(Answer(403, b"<Error>expired</Error>"))
    server.faults.add(Fault(answer(303, b"", {"Location": stored}), path="/btql"))
    assert len(list(client.download_dataset(dataset.id))) == 7
    server.faults.add(
        Fault(answer(303, b"", {"Location": stored}), path="/btql", times=None)
    )
    with pytest.raises(Overloaded, match="the file of a page answered 403: expired"):
        list(client.download_dataset(dataset.id))


def test_broken_page_is_repeated_and_no_row_comes_twice(
    client: BraintrustClient, server: FakeBraintrust, dataset: Dataset
) -> None:
    server.faults.add(Fault(truncated(), path="/btql", nth=2, times=2))
    server.faults.add(Fault(reset(apply=True), path="/btql", nth=3))
    found = [row.input for row in client.download_dataset(dataset.id, page_size=3)]
    assert sorted(found) == list(range(7))


def test_busy_server_is_waited_for(
    client: BraintrustClient,
    server: FakeBraintrust,
    dataset: Dataset,
    waits: list[float],
) -> None:
    """Small plans count these requests by the minute: a minute is not too long."""
    server.faults.add(Fault(busy(retry_after=60), path="/btql", times=4))
    assert len(list(client.download_dataset(dataset.id))) == 7
    assert waits == [60, 60, 60, 60]


def test_own_policy_is_kept_for_downloads(server: FakeBraintrust) -> None:
    server.faults.add(Fault(busy(), times=None))
    with (
        BraintrustClient(
            api_key=server.api_key, api_url=server.url, policy=RetryPolicy(tries=1)
        ) as client,
        pytest.raises(Overloaded),
    ):
        list(client.download_dataset("d"))
    assert len(server.requests) == 1


def test_cursor_that_repeats_is_an_error(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    for cursor in ("a", "b", "a"):
        server.faults.add(Fault(page('{"id": "1"}', cursor=cursor)))
    rows = client.download_dataset("d")
    assert [next(rows).id for _ in range(3)] == ["1"] * 3
    with pytest.raises(BadAnswer, match="cursor repeats"):
        next(rows)


def test_cursor_that_is_no_cursor_is_an_error(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    server.faults.add(Fault(page('{"id": "1"}', cursor="c" * 20_000)))
    with pytest.raises(BadAnswer, match="cursor has more than"):
        list(client.download_dataset("d"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("<html>", "line 2 of a page is not a JSON object"),
        ("[1]", "line 2 of a page is not a JSON object"),
        ('{"id": "2"', "line 2 of a page is not a JSON object"),
        ('{"id": NaN}', "line 2 of a page is not a JSON object"),
        ("[" * 100_000, "line 2 of a page is not a JSON object"),
        ('{"id": 1' + "1" * 5_000 + "}", "line 2 of a page is not a JSON object"),
        ('{"input": 1}', "no 'id' that is a text"),
        ('{"id": "2", "tags": "x"}', "no 'tags' that is a list of texts"),
    ],
    ids=range(8),
)
def test_page_that_is_not_json_lines_is_an_error(
    client: BraintrustClient, server: FakeBraintrust, line: str, told: str
) -> None:
    server.faults.add(Fault(page('{"id": "1"}', line)))
    rows = client.download_dataset("d")
    assert next(rows).id == "1"
    with pytest.raises(BadAnswer, match=told):
        next(rows)


def test_login_page_is_no_page_of_rows(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    server.faults.add(Fault(html()))
    with pytest.raises(BadAnswer, match="line 1 of a page is not a JSON object"):
        list(client.download_dataset("d"))


def test_json_instead_of_lines_is_an_error(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    """A server that knows no `fmt` answers one object of all rows: not a row."""
    server.faults.add(Fault(page('{"data": [{"id": "1"}], "cursor": null}')))
    with pytest.raises(BadAnswer, match="no 'id'"):
        list(client.download_dataset("d"))


def test_lines_and_pages_are_bounded(
    client: BraintrustClient, server: FakeBraintrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_braintrust.api.bodies.MAX_ANSWER_BYTES", 1_000)
    monkeypatch.setattr("pytest_braintrust.api.bodies.MAX_PAGE_BYTES", 10_000)
    long = json.dumps({"id": "1", "input": "x" * 1_000})
    server.faults.add(Fault(page(long)))
    with pytest.raises(BadAnswer, match="a line of more than 1,000 bytes"):
        list(client.download_dataset("d"))
    server.faults.add(Fault(page(*['{"id": "1"}'] * 1_000)))
    with pytest.raises(BadAnswer, match="a page of more than 10,000 bytes"):
        list(client.download_dataset("d"))


def test_rows_are_not_all_in_memory(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    """Of a page of 20 MB, a few rows at a time."""
    line = json.dumps({"id": "1", "input": "x" * 1_000})
    server.faults.add(Fault(page(*[line] * 20_000)))
    tracemalloc.start()
    try:
        list(server.requests)  # the page itself was made before
        assert sum(1 for _ in client.download_dataset("d")) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The fake server is in this process: its copy of what it sends is in the figure.
    assert peak < 28_000_000


def test_unknown_dataset_is_an_error(
    client: BraintrustClient, server: FakeBraintrust
) -> None:
    with pytest.raises(Rejected, match="expected a UUID"):
        list(client.download_dataset("no such"))
