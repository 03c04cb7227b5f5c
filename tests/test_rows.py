"""`with bt_score.row(...)`: more than one row for a test."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import RERUNFAILURES, XDIST, Ran, Suite, outcome

ROWS = """\
import pytest
from concurrent.futures import ThreadPoolExecutor

@pytest.mark.braintrust(tags="all", metadata={"setup": {"name": "a"}})
@pytest.mark.parametrize(("question", "expected"), [("France", "Paris")])
def test_several(bt_score, question, expected):
    with bt_score.row("first", output=1, scores={"exact": 1}) as row:
        row(scores={"more": 0.5}, tags="one", metadata={"setup": {"size": 1}})
    with bt_score.row(input={"q": 2}, expected=None) as row:
        row(output=2)
    with bt_score.row(): pass

def test_own_row_too(bt_score):
    bt_score(output="own", scores={"exact": 1})
    with bt_score.row("further", scores={"exact": 0}): pass

def test_loop(bt_score):
    for number in range(20):
        with bt_score.row(number, input=number) as row:
            row(scores={"even": number % 2 == 0})

def test_nested(bt_score):
    with bt_score.row("outer") as outer:
        outer(scores={"before": 1})
        with bt_score.row("inner") as inner: inner(scores={"inside": 0.5})
        outer(scores={"after": 0})

def test_nested_by_itself(bt_score):
    with bt_score.row("outer") as outer:
        with outer.row("inner", output="in"): pass

def test_raises(bt_score):
    with bt_score.row("good", scores={"exact": 1}): pass
    with bt_score.row("bad", scores={"exact": 0}):
        assert "Rome" == "Paris"
    with bt_score.row("never"): pass

def test_inner_raises(bt_score):
    with bt_score.row("outer"):
        with bt_score.row("inner"): 1 / 0

def test_caught(bt_score):
    with pytest.raises(ZeroDivisionError), bt_score.row("caught", output=1):
        1 / 0
    with bt_score.row("good"): pass

def test_caught_and_failed(bt_score):
    with pytest.raises(ZeroDivisionError), bt_score.row("caught"): 1 / 0
    with bt_score.row("good"): pass
    assert "after" == "rows"

def test_skip_inside(bt_score):
    with bt_score.row("good", output=1): pass
    with bt_score.row("said", output=2): pytest.skip("no more")

def test_skip_inside_unsaid(bt_score):
    with bt_score.row("nothing"): pytest.skip("no more")

@pytest.mark.xfail
def test_xfailed(bt_score):
    with bt_score.row("said", output=2): assert False

@pytest.fixture
def leaking():
    yield
    raise RuntimeError("still in use")

def test_teardown(bt_score, leaking):
    with bt_score.row("good", scores={"exact": 1}): pass

def test_wrong_score(bt_score):
    with bt_score.row("wrong", scores={"exact": 2}): pass

def test_wrong_score_inside(bt_score):
    with bt_score.row("wrong", output="kept") as row: row(scores={"exact": 2})

def test_said_after_the_block(bt_score):
    with bt_score.row("late") as row: pass
    row(scores={"late": 1})

def test_names(bt_score):
    for name in ("a/b", "\\ud800 \\x00 é", "n" * 5_000, "n" * 5_000 + "2", None, "", 0, ("t", 1)):
        with bt_score.row(name): pass

def test_threads(bt_score):
    def work(number):
        with bt_score.row(f"row {number}", input=number) as row:
            row(output=number)
    with ThreadPoolExecutor(8) as pool: list(pool.map(work, range(50)))
"""


def rows_of(ran: Ran, test: str) -> dict[str, dict[str, Any]]:
    """The rows of a test by name; "" is its own."""
    found = {}
    for each in ran.rows():
        facts = each["metadata"]["pytest"]
        if facts["function"] == test:
            assert facts.get("row", "") not in found
            found[facts.get("row", "")] = each
    return found


def further(ran: Ran, test: str) -> dict[str, dict[str, Any]]:
    """The rows that a test opened, by name."""
    return {name: row for name, row in rows_of(ran, test).items() if name}


def told(rows: dict[str, dict[str, Any]]) -> dict[str, tuple[str, float | None]]:
    """What came of each row."""
    return {name: (outcome(r), r["scores"].get("pass")) for name, r in rows.items()}


@pytest.fixture(
    scope="module", params=[(), ("-p", XDIST, "-n0"), ("-p", XDIST, "-n2")], ids=str
)
def ran(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    """One run of all of these tests in each mode."""
    suite = Suite(tmp_path_factory.mktemp("suite")).ini().write(test_rows=ROWS)
    ended = suite.run(*request.param)
    assert ended.status == 1, ended.out + ended.err
    ended.honest()
    return ended


def test_each_row_has_its_own_words(ran: Ran) -> None:
    """Unsaid, input and expected are the parameters', and the row's name beside."""
    several = further(ran, "test_several")
    first, second, third = several.values()
    assert list(several) == ["first", "2", "3"]
    assert first["input"] == {"question": "France", "row": "first"}
    assert (first["output"], first["expected"]) == (1, "Paris")
    assert first["scores"] == {"exact": 1, "more": 0.5, "pass": 1}
    assert first["tags"] == ["all", "one"]
    assert first["metadata"]["setup"] == {"name": "a", "size": 1}
    assert first["span_attributes"]["name"] == "test_several[France-Paris] first"
    assert (second["input"], second["expected"]) == ({"q": 2}, None)
    assert second["metadata"]["setup"] == {"name": "a"}
    assert second["tags"] == ["all"]
    assert third["input"] == {"question": "France", "row": "3"}


def test_rows_stand_beside_the_test_s_own(ran: Ran) -> None:
    """In loops and in each other, too, and where the test says nothing more."""
    assert told(rows_of(ran, "test_own_row_too")) == {
        "": ("passed", 1),
        "further": ("passed", 1),
    }
    own, *_ = rows_of(ran, "test_loop").values()
    assert (own["output"], own["scores"]) == (None, {"pass": 1})
    loop = further(ran, "test_loop")
    assert [each["input"] for each in loop.values()] == list(range(20))
    assert loop["0"]["scores"]["even"] == 1

    nested = rows_of(ran, "test_nested")
    assert nested["outer"]["scores"] == {"before": 1, "after": 0, "pass": 1}
    assert nested["inner"]["scores"] == {"inside": 0.5, "pass": 1}
    assert set(rows_of(ran, "test_nested_by_itself")) == {"", "outer", "inner"}


def test_a_block_that_raises_fails_its_row(ran: Ran) -> None:
    """With the error, as it fails the test's own."""
    raises = rows_of(ran, "test_raises")
    assert told(raises) == {
        "": ("failed", 0),
        "good": ("passed", 1),
        "bad": ("failed", 0),
    }
    assert raises["good"]["error"] is None
    for name in ("", "bad"):
        assert "assert 'Rome' == 'Paris'" in raises[name]["error"]
    inner_raises = rows_of(ran, "test_inner_raises")
    failed = ("failed", 0)
    assert told(inner_raises) == {"": failed, "outer": failed, "inner": failed}
    assert "ZeroDivisionError" in inner_raises["outer"]["error"]


def test_what_the_test_catches_fails_the_row_alone(ran: Ran) -> None:
    """With a traceback of its own, from the test on."""
    caught = rows_of(ran, "test_caught")
    assert told(caught) == {
        "": ("passed", 1),
        "caught": ("failed", 0),
        "good": ("passed", 1),
    }
    assert "ZeroDivisionError: division by zero" in caught["caught"]["error"]
    assert "pytest_braintrust" not in caught["caught"]["error"]
    both = rows_of(ran, "test_caught_and_failed")
    assert told(both) == {
        "": ("failed", 0),
        "caught": ("failed", 0),
        "good": ("passed", 1),
    }
    assert "assert 'after' == 'rows'" in both[""]["error"]
    assert "assert 'after' == 'rows'" not in both["caught"]["error"]


def test_what_the_test_did_not_measure_its_rows_did_not(ran: Ran) -> None:
    """They are kept where they say something, without `pass`."""
    skipped = rows_of(ran, "test_skip_inside")
    assert told(skipped) == {"good": ("skipped", None), "said": ("skipped", None)}
    assert not rows_of(ran, "test_skip_inside_unsaid")
    assert told(rows_of(ran, "test_xfailed")) == {"said": ("xfailed", None)}
    torn = rows_of(ran, "test_teardown")
    assert told(torn) == {"": ("errored", None), "good": ("errored", None)}
    assert torn["good"]["scores"] == {"exact": 1}
    assert "still in use" in torn["good"]["error"]


def test_wrong_scores_and_late_ones(ran: Ran) -> None:
    """A wrong one at the opening is refused before there is a row."""
    assert told(rows_of(ran, "test_wrong_score")) == {"": ("failed", 0)}
    inside = rows_of(ran, "test_wrong_score_inside")
    assert told(inside) == {"": ("failed", 0), "wrong": ("failed", 0)}
    assert inside["wrong"]["output"] == "kept"
    after = rows_of(ran, "test_said_after_the_block")
    assert after["late"]["scores"] == {"late": 1, "pass": 1}


def test_any_name_will_do(ran: Ran) -> None:
    """Without one a row has its number; a long one is cut and stays apart."""
    names = list(further(ran, "test_names"))
    assert names[:2] == ["a/b", "\\ud800 \x00 é"]
    assert all(len(name) < 1_100 for name in names)
    assert names[4:] == ["5", "6", "0", '["t",1]']


def test_threads_have_rows_of_their_own(ran: Ran) -> None:
    """Each is whole."""
    threads = further(ran, "test_threads")
    assert sorted(each["input"] for each in threads.values()) == list(range(50))
    assert all(each["input"] == each["output"] for each in threads.values())


RERUN = """\
attempts = []

def test_flaky(bt_score):
    attempts.append(1)
    for name in ("a", "b") if len(attempts) == 1 else ("b", "c"):
        with bt_score.row(name, scores={"attempt": len(attempts) / 2}): pass
    assert len(attempts) == 2
"""


@pytest.mark.parametrize("arguments", [(), ("-p", XDIST, "-n1")], ids=str)
def test_rows_of_a_test_that_is_run_again(
    suite: Suite, arguments: tuple[str, ...]
) -> None:
    """Those of the last attempt, and no others."""
    suite.write(test_rerun=RERUN).with_plugins(RERUNFAILURES)
    again = suite.run("--reruns=2", *arguments)
    assert again.status == 0, again.out
    rows = rows_of(again, "test_flaky")
    assert {name: each["scores"] for name, each in rows.items() if name} == {
        "b": {"attempt": 1, "pass": 1},
        "c": {"attempt": 1, "pass": 1},
    }


MANY = """\
def test_many(bt_score):
    for number in range(1_000):
        with bt_score.row(input=number) as row: row(output="x" * 100)
"""


def test_many_rows_of_one_test_in_a_worker(suite: Suite) -> None:
    """What a worker notes of them, should it die, does not hold the test up."""
    many = suite.write(test_many=MANY).run("-p", XDIST, "-n1")
    assert many.status == 0, many.out
    assert len(many.rows()) == 1_001


ONLY_ROWS = """\
import pytest

@pytest.fixture
def shaky(request):
    if {broken}: raise OSError

@pytest.mark.parametrize("question", range(6))
def test_turns(bt_score, shaky, question, request):
    with bt_score.row("turn") as row: row(output=question, scores={{"exact": 1}})
    assert not {failing}
"""
FIRST_TRIAL = "'trial1' in request.node.name"


def test_failures_of_tests_that_only_open_rows_are_judged(suite: Suite) -> None:
    """They are the same tests as before, which passed then."""
    suite.write(test_turns=ONLY_ROWS.format(broken=False, failing=False)).run()
    suite.write(test_turns=ONLY_ROWS.format(broken=False, failing=True))
    ran = suite.run("--braintrust-fail-on-regression")
    assert "pass regressed by 0.5 from 1 to 0.5" in ran.section
    assert "test_turns.py::test_turns[0]" in ran.section
    assert " new" not in ran.section
    assert "unscored" not in ran.section


def test_trials_of_tests_that_only_open_rows_are_told(suite: Suite) -> None:
    """How they ended no row tells that was closed before."""
    suite.write(test_turns=ONLY_ROWS.format(broken=False, failing=FIRST_TRIAL))
    failing = suite.run("--braintrust-trials=2").section
    assert "trials      of 12 tests, passed 6 always, 6 sometimes" in failing
    assert "unscored" not in failing
    suite.write(test_turns=ONLY_ROWS.format(broken=FIRST_TRIAL, failing=False))
    broken = suite.run("--braintrust-trials=2").section
    assert "unscored    6 of 18 rows got no score; by outcome: 6 errored" in broken


def test_what_has_no_score_beside_rows_that_have(suite: Suite) -> None:
    """Rows without one are told of, and a test's own is none of those."""
    text = """\
def test_rows(bt_score):
    for number in range(3):
        with bt_score.row(scores={"exact": 1} if number else None): pass
def test_own(bt_score): bt_score(scores={"exact": 1})
def test_nothing(bt_score): bt_score(output=1)
"""
    ran = suite.write(test_rows=text).run()
    assert "unscored    2 of 6 rows got no score; by outcome: 2 passed" in ran.section


OFF = """\
import pytest

def test_off(bt_score):
    with bt_score.row("a", input=1) as row:
        row(output=1)
        with row.row("b"): pass
    with pytest.raises(ZeroDivisionError), bt_score.row("c"): 1 / 0
    with pytest.raises(ValueError), bt_score.row("d", scores={"x": 2}): pass
    with pytest.raises(TypeError), bt_score.row("e", score=1): pass
"""


def test_with_the_flag_off_blocks_do_the_same(suite: Suite) -> None:
    """They check what they are told, and keep nothing."""
    off = suite.write(test_off=OFF).run_off()
    assert off.status == 0, off.out
    assert not off.store.exists()


def test_rows_of_one_name_are_told_apart(suite: Suite) -> None:
    """They are two rows of the test, not two trials of one."""
    text = """\
def test_it(bt_score):
    for number in range(3):
        with bt_score.row("turn") as row:
            row(scores={"exact": number / 2})
"""
    ran = suite.write(test_rows=text).run()
    assert list(rows_of(ran, "test_it")) == ["", "turn", "turn 2", "turn 3"]
    assert "trials" not in ran.section


def test_a_row_that_is_called_says_how_it_is_opened(suite: Suite) -> None:
    """It is a block, and a call would be lost."""
    text = "def test_it(bt_score):\n    bt_score.row('turn')(output=1)\n"
    ran = suite.write(test_rows=text).run()
    assert "TypeError: a row is a block: `with bt_score.row(" in ran.out
