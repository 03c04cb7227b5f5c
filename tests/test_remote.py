"""The rows of a run arrive on Braintrust once each, in one experiment."""

from __future__ import annotations

from conftest import Suite
from fake_braintrust import FakeBraintrust
from test_recording import CAPITALS


def test_rows_arrive_once_each(
    suite: Suite, server: FakeBraintrust, plugin_args: list[str]
) -> None:
    """One experiment with the run's facts, every row in it, and its page's link."""
    ran = suite.write(test_geo=CAPITALS).sends_to(server).run(*plugin_args)
    assert ran.status == 0, ran.out
    assert "3 recorded = 3 sent + 0 pending" in ran.section
    (experiment,) = server.experiments
    assert f"{server.app_url}/app/" in ran.section
    rows = server.rows(experiment["id"])
    assert sorted(each["input"]["question"] for each in rows) == [
        "France",
        "Italy",
        "Spain",
    ]
    assert {each["id"] for each in rows} == {each["id"] for each in ran.rows()}
    assert experiment["metadata"]["pytest_braintrust"]
