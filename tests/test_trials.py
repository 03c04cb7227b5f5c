"""A test that is run several times is one test with so many trials."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from conftest import Suite, nodeid
from test_comparison import compared

TRIALS = """\
import pytest

@pytest.fixture(scope="session")
def calls():
    return {}

@pytest.mark.parametrize("question", ["a", "b"])
def test_steady(bt_score, question):
    bt_score(scores={"exact": 1})

class TestGroup:
    @pytest.mark.braintrust(trials=2)
    def test_twice(self): pass

def test_shaky(bt_score, request):
    assert "trial2" not in request.node.name

@pytest.mark.braintrust(trials=1)
def test_once(): pass

def test_not_recorded(): pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_trials_are_items_with_stable_ids_and_rows_of_one_test(
    suite: Suite, workers: str
) -> None:
    """Input and node id are the test's; the trial stands in the metadata."""
    suite.write(test_t=TRIALS).with_plugins("xdist")
    ran = suite.run("--braintrust-trials", "3", "-n", workers)
    rows = ran.rows()
    told: dict[str, list[int | None]] = {}
    for row in rows:
        facts = row["metadata"]["pytest"]
        told.setdefault(nodeid(row), []).append(facts.get("trial"))
    assert {name: sorted(each, key=str) for name, each in told.items()} == {
        "test_t.py::test_steady[a]": [1, 2, 3],
        "test_t.py::test_steady[b]": [1, 2, 3],
        "test_t.py::TestGroup::test_twice": [1, 2],
        "test_t.py::test_shaky": [1, 2, 3],
        "test_t.py::test_once": [None],
    }
    inputs = {str(each["input"]) for each in rows if "steady" in nodeid(each)}
    assert inputs == {"{'question': 'a'}", "{'question': 'b'}"}
    assert "13 collected = 12 passed + 1 failed" in ran.section
    assert (
        "trials      of 4 tests, passed 3 always, 1 sometimes, 0 never" in ran.section
    )


WAVERING = """\
import pytest

@pytest.mark.parametrize("least", [0, {least}])
def test_judged(bt_score, request, least):
    trial = int(request.node.name.rpartition("trial")[2].rstrip("]"))
    bt_score(scores={{"tone": max(least, trial / 10), "exact": 1}})
"""


@pytest.mark.parametrize(
    ("least", "told"),
    [
        (1, "of 1 test, other scores differ between trials"),
        (0.15, "of 2 tests, other scores differ between trials"),
    ],
)
def test_scores_that_differ_between_trials_are_told(
    suite: Suite, least: float, told: str
) -> None:
    """A test that asserts nothing always passes, which says little of it."""
    suite.write(test_t=WAVERING.format(least=least))
    ran = suite.run("--braintrust-trials=3")
    always = "trials      of 2 tests, passed 2 always, 0 sometimes, 0 never"
    assert f"{always}\n            {told}\n" in ran.section


def test_files_tell_how_steady_tests_are(suite: Suite) -> None:
    """For a pull request and for programs, as the terminal does."""
    suite.write(test_t=TRIALS)
    suite.run(
        "--braintrust-trials=3",
        "--braintrust-json=out.json",
        "--braintrust-markdown=out.md",
    )
    told = json.loads((suite.folder / "out.json").read_text("utf-8"))
    assert told["experiments"][0]["trials"] == {
        "tests": 4,
        "always": 3,
        "sometimes": 1,
        "never": 0,
        "varied": 0,
    }
    page = (suite.folder / "out.md").read_text("utf-8")
    assert "\n- trials: of 4 tests, passed 3 always, 1 sometimes, 0 never\n" in page


def test_steady_scores_are_not_told(suite: Suite) -> None:
    """Nothing is said where there is nothing to see."""
    ran = suite.write(test_t=TRIALS).run("--braintrust-trials=3", "-k", "steady")
    assert "passed 2 always" in ran.section
    assert "differ" not in ran.section


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n2")])
def test_trials_are_shown_in_their_order(
    suite: Suite, arguments: tuple[str, ...]
) -> None:
    """Also where a limit is among them, and whichever worker was faster."""
    suite.write(test_t=TRIALS).run("--braintrust-trials=11", *arguments)
    shown = json.loads(suite.cli("show", "--json", "--limit=13").out)["rows"]
    trials = [each["trial_nodeid"] for each in shown if "shaky" in each["test"]]
    assert trials == [f"test_t.py::test_shaky[trial{n}]" for n in range(1, 11)]


def test_a_trial_can_be_run_by_its_node_id(suite: Suite) -> None:
    """As the terminal prints it."""
    suite.write(test_t=TRIALS)
    ran = suite.run("--braintrust-trials=3", "test_t.py::test_steady[b-trial2]")
    assert [each["metadata"]["pytest"]["trial"] for each in ran.rows()] == [2]


def test_repetitions_of_pytest_repeat_are_trials(suite: Suite) -> None:
    """Their node ids end with their number; their rows are of one test."""
    suite.write(test_t=TRIALS).with_plugins("pytest_repeat")
    ran = suite.run("--count", "2", "-k", "steady")
    assert sorted({nodeid(each) for each in ran.rows()}) == [
        "test_t.py::test_steady[a]",
        "test_t.py::test_steady[b]",
    ]
    assert len(ran.rows()) == 4


def test_trials_and_reruns(suite: Suite) -> None:
    """Each trial is rerun by itself and has one row."""
    suite.write(test_t=TRIALS).with_plugins("pytest_rerunfailures")
    ran = suite.run("--braintrust-trials=3", "--reruns=1", "-k", "shaky")
    attempts = [len(e["metadata"]["pytest"].get("attempts", ())) for e in ran.rows()]
    assert sorted(attempts) == [0, 0, 1]


def test_trials_of_a_test_are_one_cluster(suite: Suite) -> None:
    """The comparison counts the test once."""
    suite.write(test_t=TRIALS).run("--braintrust-trials=3")
    suite.run("--braintrust-trials=3")
    found = compared(suite.folder)
    assert found.shared == 5
    (exact,) = [each for each in found.scores if each.name == "exact"]
    assert exact.numbers.tests == 2


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_wrong_number_of_trials_is_a_usage_error(suite: Suite, value: str) -> None:
    """Before collection."""
    ran = suite.write(test_t=TRIALS).run(f"--braintrust-trials={value}")
    assert ran.status == 4
    assert f"--braintrust-trials: '{value}' is not a number from 1" in ran


REGRESSING = """\
import pytest

@pytest.mark.parametrize("number", range(4))
def test_answer(bt_score, number):
    bt_score(scores={{"exact": {answer}}})

def test_other(): pass
"""


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n2")])
def test_only_what_got_worse_is_run(suite: Suite, arguments: tuple[str, ...]) -> None:
    """As `--lf` does for failures; such a run is nobody's baseline."""
    suite.write(test_r=REGRESSING.format(answer="1")).run()
    suite.write(test_r=REGRESSING.format(answer="number % 2")).run()
    ran = suite.run("--braintrust-regressed", *arguments)
    assert "2 collected = 2 passed" in ran.section
    last = ran.experiments()[-1]["id"]
    suite.run()
    assert suite.run().experiments()[-1]["base"] != last


def test_all_is_run_where_nothing_got_worse(suite: Suite) -> None:
    """There may be nothing to compare with yet."""
    ran = suite.write(test_r=REGRESSING.format(answer="1")).run(
        "--braintrust-regressed"
    )
    assert "5 collected = 5 passed" in ran.section


def test_all_is_run_where_nothing_can_be_read_of_what_got_worse(suite: Suite) -> None:
    """A store whose rows are damaged is set aside, as any that is no store."""
    suite.write(test_r=REGRESSING.format(answer="1")).run()
    ran = suite.write(test_r=REGRESSING.format(answer="number % 2")).run()
    path = ran.store / "store.sqlite3"
    with closing(sqlite3.connect(path)) as store:
        of_rows = "SELECT rootpage FROM sqlite_master WHERE name = 'rows'"
        (page,), (size,) = (
            store.execute(sql).fetchone() for sql in (of_rows, "PRAGMA page_size")
        )
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    ran = suite.run("--braintrust-regressed")
    assert "5 collected = 5 passed" in ran.section
    assert "it is set aside as" in " ".join(ran.out.split())


SHAKY = """\
import pytest

ANSWERS = {answers}

@pytest.mark.parametrize("question", ["a", "b"])
@pytest.mark.braintrust(trials=3)
def test_shaky(bt_score, request, question):
    answer = ANSWERS[int(request.node.nodeid[-2])]
    bt_score(output=answer, scores={{"exact": answer == "Rome"}})
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_of_trials_the_one_that_did_worst_is_shown_to_be_run_again(
    suite: Suite, workers: str
) -> None:
    """By the node id that pytest knows, and beside the best one then."""
    suite.with_plugins("xdist")
    suite.write(test_t=SHAKY.format(answers=["", "Bari", "Rome", "Rome"])).run()
    suite.write(test_t=SHAKY.format(answers=["", "Rome", "Oslo", "Bari"]))
    ran = suite.run("-n", workers)
    trial = "test_t.py::test_shaky[a-trial"
    shown = ran.section.splitlines()
    at = next(i for i, line in enumerate(shown) if line.startswith(f"  {trial}"))
    name, told = shown[at].split("  ", 2)[1:]
    assert told == "exact 0.667 → 0.333 over 3 trials"
    outputs = {f"{trial}2]": "Oslo", f"{trial}3]": "Bari"}
    assert shown[at + 1 : at + 3] == ["    - Rome", f"    + {outputs[name]}"]
    assert len(suite.run(name).rows()) == 13
    listed = suite.cli("show", "latest~1").out
    assert all(f"test_shaky[b-trial{each}]\n" in listed for each in (1, 2, 3))
    (row,) = json.loads(suite.cli("show", "--json").out)["rows"]
    assert (row["test"], row["trial_nodeid"]) == ("test_t.py::test_shaky[a]", name)


def test_a_repetition_of_pytest_repeat_is_shown_by_its_node_id(suite: Suite) -> None:
    """Which is not made as those of our trials are."""
    suite.write(test_t=TRIALS).with_plugins("pytest_repeat")
    suite.run("--count", "2", "-k", "steady")
    assert "test_t.py::test_steady[b-2-2]\n" in suite.cli("show").out
