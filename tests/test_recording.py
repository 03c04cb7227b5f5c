"""What a test says and how it ends is what its row says."""

from __future__ import annotations

import pytest
from conftest import Ran, Suite, nodeid, outcome

CAPITALS = """\
import pytest

CASES = [("France", "Paris"), ("Italy", "Rome"), ("Spain", "Lisbon")]
ANSWERS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid"}

@pytest.mark.parametrize(("question", "expected"), CASES)
def test_capital(bt_score, question, expected):
    answer = ANSWERS[question]
    bt_score(output=answer, scores={"exact": answer == expected})
    assert answer
"""

OUTCOMES = """\
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no database")

@pytest.fixture
def leaking():
    yield
    raise RuntimeError("still in use")

def test_passed(bt_score): bt_score(scores={"exact": 1})
def test_failed(bt_score):
    bt_score(scores={"exact": 0})
    assert "Rome" == "Paris"
def test_setup_errored(bt_score, broken): pass
def test_teardown_errored(bt_score, leaking): bt_score(scores={"exact": 0.5})
def test_skipped(bt_score): pytest.skip("not today")
def test_skipped_late(bt_score):
    bt_score(output="half")
    pytest.skip("not today")
@pytest.mark.xfail
def test_xfailed(bt_score): assert False
@pytest.mark.xfail
def test_xfailed_late(bt_score):
    bt_score(output="half")
    assert False
@pytest.mark.xfail
def test_xpassed(bt_score): bt_score(output="whole")
def test_not_recorded(): pass
"""


def scores(ran: Ran) -> dict[str, dict[str, float]]:
    return {nodeid(each).split("::")[1]: each["scores"] for each in ran.rows()}


def test_the_issue_s_first_example(suite: Suite, plugin_args: list[str]) -> None:
    """Parameters become the input and the expected value, and scores are kept."""
    ran = suite.write(test_geo=CAPITALS).run(*plugin_args)
    assert ran.status == 0, ran.out
    row = ran.row("test_capital[Spain-Lisbon]")
    assert row["input"] == {"question": "Spain"}
    assert row["expected"] == "Lisbon"
    assert row["output"] == "Madrid"
    assert row["scores"] == {"exact": 0.0, "pass": 1.0}
    assert len(ran.rows()) == 3
    assert "3 collected = 3 passed" in ran.section
    assert "exact        0.667       3" in ran.section


def test_every_outcome_is_told_apart(suite: Suite, plugin_args: list[str]) -> None:
    """A score is only what was measured: an error, skip or xfail has no `pass`."""
    ran = suite.write(test_all=OUTCOMES).run(*plugin_args)
    assert ran.status == 1
    told = {nodeid(each).split("::")[1]: outcome(each) for each in ran.rows()}
    assert told == {
        "test_passed": "passed",
        "test_failed": "failed",
        "test_setup_errored": "errored",
        "test_teardown_errored": "errored",
        "test_skipped_late": "skipped",
        "test_xfailed_late": "xfailed",
        "test_xpassed": "xpassed",
    }
    assert scores(ran) == {
        "test_passed": {"exact": 1.0, "pass": 1.0},
        "test_failed": {"exact": 0.0, "pass": 0.0},
        "test_setup_errored": {},
        "test_teardown_errored": {"exact": 0.5},
        "test_skipped_late": {},
        "test_xfailed_late": {},
        "test_xpassed": {"pass": 1.0},
    }
    assert "assert 'Rome' == 'Paris'" in ran.row("test_failed")["error"]
    assert "no database" in ran.row("test_setup_errored")["error"]
    assert "still in use" in ran.row("test_teardown_errored")["error"]
    assert (
        "10 collected = 3 passed + 1 failed + 2 errored + 2 skipped + 2 xfailed"
        in ran.section
    )


@pytest.mark.parametrize("value", ["2", "-0.1", "float('nan')", "'1'", "[1]"])
def test_a_wrong_score_is_an_error_at_the_call(suite: Suite, value: str) -> None:
    """What is not in [0, 1] fails the test that says it, with name and value."""
    text = f"def test_it(bt_score):\n    bt_score(scores={{'exact': {value}}})\n"
    ran = suite.write(test_wrong=text).run()
    assert ran.status == 1
    assert "ValueError: score 'exact' is " in ran.out
    assert ran.row("test_it")["scores"] == {"pass": 0.0}


def test_an_error_of_the_infrastructure_measured_nothing(suite: Suite) -> None:
    """A timeout that the user listed, by name or with module, is never a 0."""
    text = """\
class RateLimitError(Exception): pass
class Busy(RateLimitError): pass

def test_limited(bt_score): raise Busy
def test_slow(bt_score): raise TimeoutError("no answer")
def test_wrong(bt_score): raise KeyError
"""
    suite.ini("braintrust_infrastructure_errors = RateLimitError builtins.TimeoutError")
    ran = suite.write(test_infra=text).run()
    assert {nodeid(each).split("::")[1]: outcome(each) for each in ran.rows()} == {
        "test_limited": "errored",
        "test_slow": "errored",
        "test_wrong": "failed",
    }
    assert ran.row("test_limited")["scores"] == {}
    assert ran.honest() == {"failed": 1, "errored": 2}


ASKED_LATE = """\
import pytest

@pytest.fixture
def answer(request): return request.getfixturevalue("bt_score")

@pytest.fixture
def broken(answer):
    answer(output="before")
    raise RuntimeError("no database")

@pytest.fixture
def leaking():
    yield
    raise RuntimeError("still in use")

@pytest.mark.parametrize("question", ["France"])
def test_in_the_body(request, question):
    request.getfixturevalue("bt_score")(output="Paris", scores={"exact": 1})
def test_in_a_fixture(answer): answer(scores={"exact": 0.5})
def test_span(request): request.getfixturevalue("braintrust_span").log(output="span")
def test_failed(request):
    request.getfixturevalue("bt_score")(scores={"exact": 0})
    assert "Rome" == "Paris"
def test_setup_errored(broken): pass
def test_teardown_errored(answer, leaking): answer(scores={"exact": 0.5})
def test_skipped(answer): pytest.skip("not today")
def test_skipped_late(answer):
    answer(output="half")
    pytest.skip("not today")
@pytest.mark.xfail
def test_xfailed_late(request):
    request.getfixturevalue("bt_score")(output="half")
    assert False
def test_not_asked(request): assert False
def test_not_asked_either(leaking): pass
"""


def test_a_test_that_asks_while_it_runs_is_recorded(
    suite: Suite, plugin_args: list[str]
) -> None:
    """As one that names the fixture, however it ends, and no other is."""
    ran = suite.write(test_late=ASKED_LATE).run_both(*plugin_args)
    ran.honest()
    told = {nodeid(each).split("::")[1]: outcome(each) for each in ran.rows()}
    assert told == {
        "test_in_the_body[France]": "passed",
        "test_in_a_fixture": "passed",
        "test_span": "passed",
        "test_failed": "failed",
        "test_setup_errored": "errored",
        "test_teardown_errored": "errored",
        "test_skipped_late": "skipped",
        "test_xfailed_late": "xfailed",
    }
    row = ran.row("test_in_the_body[France]")
    assert (row["input"], row["output"]) == ({"question": "France"}, "Paris")
    assert row["scores"] == {"exact": 1, "pass": 1}
    durations = row["metadata"]["pytest"]["durations"]
    assert set(durations) == {"setup", "call", "teardown"}
    # The body's time, as of any other: it began after the setup.
    assert 0 <= row["metrics"]["start"] <= row["metrics"]["end"]
    assert "assert 'Rome' == 'Paris'" in ran.row("test_failed")["error"]
    broken = ran.row("test_setup_errored")
    assert broken["output"] == "before"
    assert "no database" in broken["error"]
    assert "still in use" in ran.row("test_teardown_errored")["error"]
