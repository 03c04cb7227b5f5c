"""A test that is run again has one row, of its last attempt, that tells of the others."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from conftest import RERUNFAILURES, RETRY, XDIST, Suite, nodeid, outcome
from fake_braintrust import FakeBraintrust
from test_crashes import ELSEWHERE

#: Counts the attempts of each test in files, which outlive a worker.
COUNTING = """\
import pathlib, pytest

@pytest.fixture
def attempt(request):
    path = pathlib.Path("attempts") / request.node.name
    path.parent.mkdir(exist_ok=True)
    number = len(path.read_text()) + 1 if path.exists() else 1
    path.write_text("x" * number)
    return number

@pytest.fixture
def shaky_setup(attempt):
    if attempt < 2:
        raise RuntimeError("no database yet")

@pytest.fixture
def shaky_teardown(attempt):
    yield
    if attempt < 2:
        raise RuntimeError("still in use")
"""

FLAKY = """\
import pytest

def test_third_time(bt_score, attempt):
    bt_score(output=attempt, scores={"exact": attempt / 4})
    assert attempt == 3

def test_never(bt_score, attempt):
    bt_score(scores={"exact": 0})
    assert attempt < 0, f"attempt {attempt}"

def test_at_once(bt_score): bt_score(scores={"exact": 1})

def test_rows(bt_score, attempt):
    for n in range(4 - attempt):
        with bt_score.row(f"row {n}") as row:
            row(scores={"exact": attempt / 4})
    assert attempt == 3

def test_skipped_then(bt_score, attempt):
    bt_score(output=attempt)
    if attempt == 2: pytest.skip("enough")
    assert False

def test_unrecorded(attempt): assert attempt == 2
"""

PHASES = """\
def test_setup(bt_score, shaky_setup): bt_score(scores={"exact": 1})

def test_teardown(bt_score, attempt, shaky_teardown):
    with bt_score.row(f"row {attempt}") as row: row(scores={"exact": attempt / 4})
    bt_score(output=attempt)

def test_setup_then_body(bt_score, attempt, shaky_setup):
    assert attempt == 3

def test_body_then_setup(bt_score, attempt, request):
    bt_score(output=attempt)
    assert False
"""

#: Each attempt lasts, for pytest-rerunfailures hears of it by a socket of its own.
DEATHS = """\
import os, time, pytest

@pytest.fixture(autouse=True)
def lasting(): time.sleep(0.3)

@pytest.fixture
def deadly_setup(attempt):
    if attempt < 2: os._exit(3)

@pytest.fixture
def deadly_teardown(attempt):
    yield
    if attempt < 2: os._exit(3)

def test_body(bt_score, attempt):
    bt_score(output=attempt, scores={"exact": attempt / 4})
    with bt_score.row(f"row {attempt}") as row: row(output=attempt)
    if attempt < 3: os._exit(3)

def test_setup(bt_score, deadly_setup): bt_score(scores={"exact": 1})

def test_teardown(bt_score, attempt, deadly_teardown): bt_score(output=attempt)

def test_dies_and_fails(bt_score, attempt):
    bt_score(output=attempt)
    if attempt < 2: os._exit(3)
    assert attempt == 3

@pytest.mark.flaky(reruns=1)
def test_always(bt_score, attempt):
    bt_score(output=attempt)
    os._exit(3)
"""


def attempts(event: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    found = event["metadata"]["pytest"].get("attempts", [])
    return [(each["outcome"], each["scores"]) for each in found]


@pytest.mark.parametrize(
    ("plugin", "option"),
    [(RERUNFAILURES, "--reruns=2"), (RETRY, "--retries=2")],
    ids=["rerunfailures", "retry"],
)
def test_one_row_of_the_last_attempt(
    suite: Suite, server: FakeBraintrust, how: list[str], plugin: str, option: str
) -> None:
    """It has the last attempt's scores; the others stand in its metadata."""
    suite.with_plugins(plugin).write(conftest=COUNTING, test_flaky=FLAKY)
    ran = suite.sends_to(server).run(*how, option)
    assert ran.status == 1, ran.out + ran.err
    counts = ran.honest(server)
    assert len(ran.rows()) == 6, ran.rows()
    third = ran.row("test_third_time")
    assert third["output"] == 3
    assert third["scores"] == {"exact": 0.75, "pass": 1}
    assert attempts(third) == [
        ("failed", {"exact": 0.25, "pass": 0}),
        ("failed", {"exact": 0.5, "pass": 0}),
    ]
    never = ran.row("test_never")
    assert outcome(never) == "failed"
    assert never["scores"] == {"exact": 0, "pass": 0}
    assert len(attempts(never)) == 2
    assert "attempt 3" in never["error"]
    told = never["metadata"]["pytest"]["attempts"]
    assert ["attempt 1" in each["error"] for each in told] == [True, False]
    assert ["attempt 2" in each["error"] for each in told] == [False, True]
    assert attempts(ran.row("test_at_once")) == []
    own, part = [each for each in ran.rows() if nodeid(each).endswith("test_rows")]
    assert attempts(own) == attempts(part)
    assert part["metadata"]["pytest"]["row"] == "row 0"
    assert part["scores"] == {"exact": 0.75, "pass": 1}
    assert len(attempts(part)) == 2
    skipped = ran.row("test_skipped_then")
    if plugin == RERUNFAILURES:
        assert counts == {"passed": 4, "failed": 1, "skipped": 1}
        assert outcome(skipped) == "skipped"
        assert skipped["scores"] == {}
        assert attempts(skipped) == [("failed", {"pass": 0})]
    else:
        # pytest-retry tries a test again that was skipped.
        assert counts == {"passed": 4, "failed": 2}
        assert attempts(skipped) == [("failed", {"pass": 0}), ("skipped", {})]


def test_a_fixture_that_fails_at_first(
    suite: Suite, server: FakeBraintrust, how: list[str]
) -> None:
    """The attempt is errored; rows that it opened are gone where the next has none."""
    suite.with_plugins(RERUNFAILURES).write(conftest=COUNTING, test_phases=PHASES)
    # Long enough for the uploader to have looked for rows in between.
    ran = suite.sends_to(server).run(*how, "--reruns=2", "--reruns-delay=1.2")
    assert ran.honest(server) == {"passed": 3, "failed": 1}
    setup = ran.row("test_setup")
    assert setup["scores"] == {"exact": 1, "pass": 1}
    assert attempts(setup) == [("errored", {})]
    own, row = [each for each in ran.rows() if nodeid(each).endswith("test_teardown")]
    assert own["output"] == 2
    assert row["scores"] == {"exact": 0.5, "pass": 1}
    assert row["metadata"]["pytest"]["row"] == "row 2"
    assert attempts(own) == attempts(row) == [("errored", {})]
    assert "still in use" in own["metadata"]["pytest"]["attempts"][0]["error"]
    mixed = attempts(ran.row("test_setup_then_body"))
    assert mixed == [("errored", {}), ("failed", {"pass": 0})]


@pytest.mark.parametrize("disk", ["shared disk", "no shared disk"])
def test_a_crash_that_is_tried_again(
    suite: Suite, server: FakeBraintrust, disk: str
) -> None:
    """One row, by the worker that ran the test last, with what the dead one left."""
    elsewhere = "" if disk == "shared disk" else ELSEWHERE
    suite.with_plugins(XDIST, RERUNFAILURES).sends_to(server)
    suite.write(conftest=COUNTING + elsewhere, test_deaths=DEATHS)
    ran = suite.run("-n2", "--reruns=2", "--max-worker-restart=20")
    assert ran.honest(server) == {"passed": 4, "errored": 1}
    own, row = [each for each in ran.rows() if nodeid(each).endswith("test_body")]
    assert len(ran.rows()) == 6
    assert own["output"] == 3
    assert own["scores"] == {"exact": 0.75, "pass": 1}
    assert row["metadata"]["pytest"]["row"] == "row 3"
    assert attempts(own)[0] == ("errored", {"exact": 0.25})
    assert len(attempts(own)) == 2
    assert attempts(ran.row("test_setup")) == [("errored", {})]
    assert attempts(ran.row("test_teardown")) == [("errored", {})]
    mixed = attempts(ran.row("test_dies_and_fails"))
    assert mixed == [("errored", {}), ("failed", {"pass": 0})]
    always = ran.row("test_always")
    assert outcome(always) == "errored"
    assert always["scores"] == {}
    assert attempts(always) == [("errored", {})]
    assert always["error"].count("crashed while running") == 1


def test_both_plugins_at_once(suite: Suite, how: list[str]) -> None:
    """Every attempt of either is told of, in one row."""
    text = """\
import pytest

@pytest.mark.flaky(retries=1)
def test_it(bt_score, attempt):
    bt_score(output=attempt)
    assert attempt == 4
"""
    suite.with_plugins(RERUNFAILURES, RETRY).write(conftest=COUNTING, test_it=text)
    ran = suite.run(*how, "--reruns=1")
    assert ran.honest() == {"passed": 1}
    row = ran.row("test_it")
    assert row["output"] == 4
    assert attempts(row) == [("failed", {"pass": 0})] * 3


SPENDING = """\
import os, pytest

def test_third_time(bt_score, attempt):
    bt_score(metrics={"cost": attempt, "speed": attempt})
    with bt_score.row(f"row {attempt}") as row: row(metrics={"cost": 0.25})
    with bt_score.span("chat", type="llm", metrics={"tokens": 10 * attempt}): pass
    assert attempt == 3

def test_at_once(bt_score): bt_score(metrics={"cost": 100})
"""


@pytest.mark.parametrize(
    ("plugin", "option", "hook"),
    [
        (RERUNFAILURES, "--reruns=2", ""),
        (RETRY, "--retries=2", ""),
        (RERUNFAILURES, "--reruns=2", "pass"),
        (RERUNFAILURES, "--reruns=2", "row['extra'] = 1"),
    ],
    ids=["rerunfailures", "retry", "a hook", "a hook that fails"],
)
def test_what_earlier_attempts_spent_was_spent(
    suite: Suite, plugin_args: list[str], plugin: str, option: str, hook: str
) -> None:
    """All of it counts in the totals, once, and in no mean; a broken hook or not."""
    hooked = f"\ndef pytest_braintrust_row(row): {hook}\n" if hook else ""
    suite.with_plugins(plugin).write(conftest=COUNTING + hooked, test_it=SPENDING)
    ran = suite.run(option, "--braintrust-json=out.json", *plugin_args)
    (told,) = json.loads((suite.folder / "out.json").read_text())["experiments"]
    assert told["totals"] == {"cost": 106.75, "tokens": 60}
    assert told["metrics"]["cost"]["mean"] == pytest.approx((3 + 0.25 + 100) / 3)
    assert told["metrics"].keys() == {"duration", "cost", "speed", "tokens"}
    own = next(each for each in ran.rows() if nodeid(each).endswith("third_time"))
    first, second = own["metadata"]["pytest"]["attempts"]
    assert {**first["metrics"], "duration": 0} == {
        "cost": 1.25,
        "speed": 1,
        "tokens": 10,
        "duration": 0,
    }
    assert (second["metrics"]["cost"], second["metrics"]["tokens"]) == (2.25, 20)
    assert suite.cli("export", "latest", "-o", "base.jsonl").status == 0
    shutil.rmtree(ran.store)
    assert suite.cli("import", "base.jsonl").status == 0
    shown = json.loads(suite.cli("show", "--json").out)
    assert shown["experiment"]["totals"] == told["totals"]


def test_a_test_that_passes_only_when_rerun_is_flaky(
    suite: Suite, plugin_args: list[str]
) -> None:
    """Its attempts count, those of tests that pass at once or never do not."""
    suite.with_plugins(RERUNFAILURES).write(conftest=COUNTING, test_flaky=FLAKY)
    suite.run("--reruns=2", *plugin_args)
    told = json.loads(suite.cli("history", "--flaky", "--json").out)
    assert [(each["test"], each["passed"], each["failed"]) for each in told] == [
        ("test_flaky.py::test_rows", 1, 2),
        ("test_flaky.py::test_third_time", 1, 2),
    ]


SPENT_AND_DIED = """\
import os, time, pytest

def test_dies(bt_score, attempt):
    bt_score(metrics={"cost": 10 ** attempt})
    with bt_score.row("turn") as row: row(metrics={"cost": 0.5})
    time.sleep(0.3)
    if attempt == 2: os._exit(3)
    assert attempt == 4
"""


@pytest.mark.parametrize("disk", ["shared disk", "no shared disk"])
def test_what_a_dead_worker_spent_was_spent(suite: Suite, disk: str) -> None:
    """Also in the attempt before, which ended in that worker."""
    elsewhere = "" if disk == "shared disk" else ELSEWHERE
    suite.with_plugins(XDIST, RERUNFAILURES)
    suite.write(conftest=COUNTING + elsewhere, test_deaths=SPENT_AND_DIED)
    ran = suite.run("-n2", "--reruns=3", "--max-worker-restart=20")
    assert ran.honest() == {"passed": 1}
    own = next(e for e in ran.rows() if "row" not in e["metadata"]["pytest"])
    assert [each for each, _ in attempts(own)] == ["failed", "errored", "failed"]
    assert "totals      cost 11,112" in ran.section


LATE = """\
def test_late(request, attempt):
    assert attempt > 1, "before it asked"
    request.getfixturevalue("bt_score")(output=attempt)
    assert attempt == 3

def test_setup(request, shaky_setup):
    request.getfixturevalue("bt_score")(output="here")

def test_asked_before(request, attempt):
    if attempt == 1: request.getfixturevalue("bt_score")(output=attempt)
    assert attempt == 3, f"attempt {attempt}"

def test_never_asked(attempt): assert attempt == 2
"""


@pytest.mark.parametrize(
    ("plugin", "option"),
    [(RERUNFAILURES, "--reruns=2"), (RETRY, "--retries=2")],
    ids=["rerunfailures", "retry"],
)
def test_a_test_that_asks_in_a_later_attempt(
    suite: Suite, how: list[str], plugin: str, option: str
) -> None:
    """Its row tells of the attempts before it asked, and after."""
    suite.with_plugins(plugin).write(conftest=COUNTING, test_late=LATE)
    ran = suite.run(*how, option)
    ran.honest()
    late = ran.row("test_late")
    assert (late["output"], late["scores"]) == (3, {"pass": 1})
    assert attempts(late) == [("failed", {"pass": 0})] * 2
    first = late["metadata"]["pytest"]["attempts"][0]
    assert "before it asked" in first["error"]
    again = ran.row("test_asked_before")
    assert (again["output"], again["scores"]) == (None, {"pass": 1})
    assert attempts(again) == [("failed", {"pass": 0})] * 2
    if plugin == RERUNFAILURES:
        assert attempts(ran.row("test_setup")) == [("errored", {})]
    assert len(ran.rows()) == 2 + (plugin == RERUNFAILURES)
