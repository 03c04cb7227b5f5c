"""What is tried again, how often, and after how long."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from fake_braintrust import (
    Exchange,
    FakeBraintrust,
    Fault,
    answer,
    busy,
    html,
    reset,
    truncated,
)

from pytest_braintrust.api import BraintrustClient, RetryPolicy, deadline, retry
from pytest_braintrust.api.failures import retry_after
from pytest_braintrust.errors import (
    ApiError,
    BadAnswer,
    Overloaded,
    Refused,
    Rejected,
    Unreachable,
)


def test_passing_trouble_is_got_over(
    client: BraintrustClient, server: FakeBraintrust, waits: list[float]
) -> None:
    """Three kinds of it, one after another, and the project is there, once."""
    server.faults.add(Fault(reset(apply=True)))
    server.faults.add(Fault(busy(503)))
    server.faults.add(Fault(truncated()))
    assert client.create_project("p").name == "p"
    assert len(server.requests) == 4
    assert len(server.projects) == 1
    assert all(wait <= bound for wait, bound in zip(waits, (0.25, 0.5, 1), strict=True))


def test_trouble_that_stays_is_told_after_six_tries(
    client: BraintrustClient, server: FakeBraintrust, waits: list[float]
) -> None:
    server.faults.add(Fault(busy(503), times=None))
    with pytest.raises(Overloaded, match="answered 503"):
        client.create_project("p")
    assert len(server.requests) == 6
    assert len(waits) == 5


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (answer(400), Rejected),
        (answer(401), Refused),
        (answer(403), Refused),
        (answer(404), Rejected),
        (html(), BadAnswer),
    ],
)
def test_what_cannot_succeed_is_not_tried_again(
    client: BraintrustClient,
    server: FakeBraintrust,
    fault: object,
    kind: type[ApiError],
) -> None:
    server.faults.add(Fault(fault, times=None))  # type: ignore[arg-type]
    with pytest.raises(kind):
        client.create_project("p")
    assert len(server.requests) == 1


def test_server_says_when_to_come_back(
    client: BraintrustClient, server: FakeBraintrust, waits: list[float]
) -> None:
    server.faults.add(Fault(busy(retry_after=7)))
    server.faults.add(Fault(busy(503, retry_after=0)))
    client.create_project("p")
    assert waits == [7, 0]


def test_server_that_says_too_late_is_not_waited_for(
    client: BraintrustClient, server: FakeBraintrust, waits: list[float]
) -> None:
    """An hour is cut to a minute, and that is past the policy's own bound."""
    server.faults.add(Fault(busy(retry_after=3600)))
    with pytest.raises(Overloaded):
        client.create_project("p")
    assert waits == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "1e9"}, 60),
        ({"retry-after": "inf"}, 60),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": formatdate(1_000, usegmt=True)}, None),
        (
            {
                "retry-after": formatdate(1_030, usegmt=True),
                "date": formatdate(1_000, usegmt=True),
            },
            30,
        ),
        (
            {
                "retry-after": formatdate(1_000, usegmt=True),
                "date": formatdate(1_030, usegmt=True),
            },
            0,
        ),
        (
            {
                "retry-after": "Thu, 01 Jan 1970 00:16:40 GMT",
                "date": "Thu, 01 Jan 1970 00:16:40 -0000",
            },
            None,
        ),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


def test_time_bounds_the_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy ends by whichever comes first, its tries or its seconds."""
    now = [0.0]
    monkeypatch.setattr(retry, "monotonic", lambda: now[0])
    tries = []

    def call() -> None:
        tries.append(now[0])
        now[0] += 4
        raise Unreachable

    def sleep(seconds: float) -> None:
        now[0] += seconds

    policy = RetryPolicy(tries=100, seconds=10, longest=0)
    with pytest.raises(Unreachable):
        retry.retrying(call, policy, sleep)
    assert tries == [0, 4, 8]


@pytest.mark.parametrize(
    ("said", "asked"), [(b"", 2), (b"HTTP/1.1 200 OK\r\n", 3)], ids=["silent", "slow"]
)
def test_page_that_a_server_says_nothing_of_is_not_waited_for(
    client: BraintrustClient,
    server: FakeBraintrust,
    monkeypatch: pytest.MonkeyPatch,
    said: bytes,
    asked: int,
) -> None:
    """Two minutes are enough of that, on two connections, and each byte starts anew."""
    now = [0.0]
    for each in (retry, deadline):
        monkeypatch.setattr(each, "monotonic", lambda: now[0])

    def late(exchange: Exchange) -> None:
        now[0] += 130
        exchange.write(said)
        exchange.hang_up()

    server.faults.add(Fault(late, times=2))
    server.faults.add(Fault(answer(400)))
    with pytest.raises(Rejected if said else Unreachable):
        list(client.download_dataset("d"))
    assert len(server.requests) == asked


def test_page_of_a_busy_server_is_waited_for(
    client: BraintrustClient,
    server: FakeBraintrust,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Longer than for a silent one: it says itself that it is there."""
    now = [0.0]
    monkeypatch.setattr(retry, "monotonic", lambda: now[0])

    def late(exchange: Exchange) -> None:
        now[0] += 130
        busy(503)(exchange)

    server.faults.add(Fault(late, times=None))
    with pytest.raises(Overloaded):
        list(client.download_dataset("d"))
    assert len(server.requests) == 3


def test_waits_grow_and_are_spread() -> None:
    policy = RetryPolicy(first=1, longest=5)
    for attempt, most in enumerate((1, 2, 4, 5, 5)):
        waits = [policy.wait(attempt) for _ in range(200)]
        assert 0 <= min(waits) < most * 0.3
        assert most * 0.7 < max(waits) <= most


def test_policy_has_at_least_one_try() -> None:
    with pytest.raises(ValueError, match="at least one try"):
        retry.retrying(lambda: None, RetryPolicy(tries=0), lambda seconds: None)


# ---------------------------------------------------------- calls that may happen once


@pytest.fixture
def project_id(client: BraintrustClient) -> str:
    return client.create_project("p").id


@pytest.mark.parametrize(
    "fault", [reset(apply=True), busy(503), answer(500, apply=True), truncated()]
)
@pytest.mark.parametrize("name", ["e", None])
def test_new_experiment_is_not_asked_for_twice(
    client: BraintrustClient,
    server: FakeBraintrust,
    project_id: str,
    fault: object,
    name: str | None,
) -> None:
    """Nobody knows whether the server made it: a second try would make another."""
    server.faults.add(Fault(fault, path="experiment"))  # type: ignore[arg-type]
    with pytest.raises((Unreachable, Overloaded)) as caught:
        client.create_experiment(project_id, name, ensure_new=name is not None)
    assert not caught.value.retryable
    assert len(server.requests) == 2


def test_new_experiment_is_asked_for_again_where_it_was_not_made(
    client: BraintrustClient, server: FakeBraintrust, project_id: str
) -> None:
    server.faults.add(Fault(busy(429), path="experiment"))
    client.create_experiment(project_id, "e", ensure_new=True)
    assert len(server.experiments) == 1


def test_server_that_is_not_there_was_not_asked(waits: list[float]) -> None:
    with (
        BraintrustClient(
            api_key="k", api_url="http://127.0.0.1:9", sleep=waits.append
        ) as client,
        pytest.raises(Unreachable) as caught,
    ):
        client.create_experiment("p", ensure_new=True)
    assert caught.value.retryable
    assert len(waits) == 5


def test_rows_are_sent_again_and_are_there_once(
    client: BraintrustClient, server: FakeBraintrust, project_id: str
) -> None:
    """Each row has its id before it is first sent."""
    experiment = client.create_experiment(project_id, "e")
    server.faults.add(Fault(reset(apply=True), path="insert"))
    client.insert_rows(experiment.id, [{"input": 1}, {"input": 2}])
    assert [row["input"] for row in server.rows("e")] == [1, 2]
