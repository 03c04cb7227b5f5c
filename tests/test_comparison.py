"""Two runs of a suite, side by side."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import XDIST, Suite

from pytest_braintrust.comparison.result import RunComparison
from pytest_braintrust.comparison.run import compare
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import open_store

SUITE = """\
import os
import pytest

ANSWERS = [{answers}]

@pytest.mark.parametrize("number", range(len(ANSWERS)))
def test_answer(bt_score, number):
    bt_score(scores={{"exact": ANSWERS[number]}})
"""


def written(*answers: float | None) -> str:
    return SUITE.format(answers=", ".join(map(str, answers)))


def compared(folder: Path) -> RunComparison:
    """The last two runs of a suite's store."""
    store = open_store(folder / ".braintrust", create=False)
    try:
        base, head = reading.experiments(store)[-2:]
        return compare(store, base, head)
    finally:
        store.close()


def test_a_score_that_fell_beyond_noise_regressed(suite: Suite) -> None:
    """Twenty tests of which ten got worse and none better is no noise."""
    suite.write(test_a=written(*[1] * 20)).run()
    suite.write(test_a=written(*[1] * 10, *[0] * 10)).run()
    found = compared(suite.folder)
    (exact,) = [each for each in found.scores if each.name == "exact"]
    assert (exact.numbers.then, exact.numbers.now) == (1.0, 0.5)
    assert (exact.improved, exact.worsened, exact.verdict) == (0, 10, "regressed")
    assert len(found.regressions) == 10
    assert found.regressions[0].nodeid == "test_a.py::test_answer[10]"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-n2",), "changed: workers: 0 → 2"),
        (("-d", "--tx", "1*popen", "--tx", "popen"), "changed: workers: 0 → 2"),
        (("-n0",), "changed"),
    ],
    ids=" ".join,
)
def test_another_number_of_workers_is_told(
    suite: Suite, arguments: tuple[str, ...], told: str
) -> None:
    """Tests that run beside each other take longer, which is no fault of theirs."""
    suite.write(test_a=written(1, 1, 1)).run("-p", "no:xdist")
    ran = suite.run("-p", XDIST, *arguments)
    assert ran.status == 0
    assert (told in ran.section) is ("→" in told)


def test_a_score_that_got_lost_is_told_everywhere(suite: Suite) -> None:
    """In the summary, its files and `diff`: what was not measured did not stay."""
    suite.write(test_a=written(*[1] * 20)).run()
    ran = suite.write(test_a=written(*[1] * 18, None, None)).run(
        "--braintrust-markdown=own.md", "--braintrust-json=own.json"
    )
    unscored = "2 of 20 rows got no score; by outcome: 2 passed"
    lost = ["exact: in 18 of the 20 tests in both runs", "no longer scored: exact in 2"]
    markdown = (suite.folder / "own.md").read_text(encoding="utf-8")
    for text in (ran.section, markdown, suite.cli("diff").out):
        assert all(each in text for each in lost)
    assert unscored in ran.section
    assert unscored in markdown
    told = json.loads((suite.folder / "own.json").read_text(encoding="utf-8"))
    (experiment,) = told["experiments"]
    assert experiment["unscored"] == {"passed": 2}
    measures = experiment["comparison"]["measures"]
    counts = [(e["tests"], e["tests_lost"], e["tests_unscored"]) for e in measures]
    assert counts == [(18, 2, 2), (20, 0, 0), (20, 0, 0)]


@pytest.mark.parametrize("now", [1, 0.5])
def test_a_score_that_many_tests_could_not_measure_is_not_measurable(
    suite: Suite, now: float
) -> None:
    """A judge that answers nothing is not one that finds nothing.

    Whatever it said where it answered.
    """
    suite.write(test_a=written(*[1] * 20)).run()
    ran = suite.write(test_a=written(*[now] * 17, None, None, None)).run(
        "--braintrust-markdown=own.md", "--braintrust-fail-on-regression"
    )
    assert ran.status == 1
    markdown = (suite.folder / "own.md").read_text(encoding="utf-8")
    for text in (ran.section, markdown, suite.cli("diff").out):
        assert "no score of 20 tests moved; not measurable: exact" in text
        assert "exact: not scored in 3 of 20 tests that had it" in text
    assert (
        "GATE FAILED: exact is not scored in 3 of 20 tests that had it, "
        "more than 10%" in " ".join(ran.section.split())
    )
    # It is no baseline, or the next run would not know what there was to measure.
    again = suite.write(test_a=written(*[1] * 19, 0)).run()
    assert re.search(r"exact +1.000  0.950", again.section)


def test_one_test_that_changed_is_no_evidence(suite: Suite) -> None:
    """And nothing more is claimed of it."""
    suite.write(test_a=written(*[1] * 20)).run()
    suite.write(test_a=written(*[1] * 19, 0)).run()
    (exact,) = [e for e in compared(suite.folder).scores if e.name == "exact"]
    assert (exact.worsened, exact.verdict) == (1, "no evidence")


def test_a_renamed_test_is_the_same_by_its_input(suite: Suite) -> None:
    """It is paired, and said; what shares its input with another is not."""
    suite.write(test_a=written(1, 1)).run()
    (suite.folder / "test_a.py").rename(suite.folder / "test_b.py")
    suite.run()
    found = compared(suite.folder)
    assert found.renamed == (
        ("test_a.py::test_answer[0]", "test_b.py::test_answer[0]"),
        ("test_a.py::test_answer[1]", "test_b.py::test_answer[1]"),
    )
    assert (found.shared, found.new, found.gone) == (2, (), ())


TWO_OF_AN_INPUT = """\
import pytest

@pytest.mark.parametrize("question", ["q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"])
def test_{name}(bt_score, question):
    bt_score(scores={{"exact": {score}}})
"""

PARTS = [
    ("-k", "hard"),
    ("test_b.py",),
    ("--deselect=test_a.py::test_easy",),
    ("--ignore=test_a.py",),
    ("--ignore-glob=*_a.py",),
]


@pytest.mark.parametrize("part", PARTS, ids=" ".join)
def test_a_test_that_was_not_asked_for_was_not_renamed(
    suite: Suite, part: tuple[str, ...]
) -> None:
    """A new one over the same inputs is new, and the gate holds."""
    suite.write(test_a=TWO_OF_AN_INPUT.format(name="easy", score=1)).run()
    suite.write(test_b=TWO_OF_AN_INPUT.format(name="hard", score=0))
    ran = suite.run(*part, "--braintrust-fail-on-regression")
    assert compared(suite.folder).renamed == ()
    assert "renamed" not in ran.section
    assert "regressed" not in ran.section
    assert ran.status == 0
    assert "passed; this run was asked for none of the baseline's tests" in ran.section
    # All of the suite is to have what it had.
    (suite.folder / "test_a.py").unlink()
    suite.write(test_b=TWO_OF_AN_INPUT.format(name="hard", score=0).replace("q", "r"))
    assert "GATE NOT MEASURABLE" in suite.run("--braintrust-max-drop=exact=1")


@pytest.mark.parametrize(
    "part", [(".",), ("-k", "test"), ("--ignore=x",), ("test_a.py",)]
)
def test_a_test_of_the_same_part_is_renamed(
    suite: Suite, part: tuple[str, ...]
) -> None:
    """Where both runs were to run it."""
    suite.write(test_a=TWO_OF_AN_INPUT.format(name="easy", score=1)).run(*part)
    suite.write(test_a=TWO_OF_AN_INPUT.format(name="hard", score=0)).run(*part)
    assert len(compared(suite.folder).renamed) == 8


def test_a_failed_gate_ends_the_run_with_status_1(suite: Suite) -> None:
    """It says which gate, by how much; a run that holds its gates keeps its status."""
    suite.write(test_a=written(1, 1, 1, 0))
    held = suite.run("--braintrust-fail-under", "exact=0.75")
    assert held.status == 0
    failed = suite.run("--braintrust-fail-under", "exact=0.8")
    assert failed.status == 1
    assert "GATE FAILED: exact is 0.75, 0.05 under 0.8" in failed.section


def test_a_wrong_gate_is_a_usage_error(suite: Suite) -> None:
    """Before collection, naming the option."""
    ran = suite.write(test_a=written(1)).run("--braintrust-fail-under", "exact=high")
    assert ran.status == 4
    assert "--braintrust-fail-under: in 'exact=high', 'high' is not a number" in ran


def test_github_gets_a_summary_and_annotations(suite: Suite) -> None:
    """By itself on GitHub Actions, on the line of the test that got worse."""
    summary = suite.folder / "summary.md"
    suite.environment |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_WORKSPACE": str(suite.folder.parent),
    }
    suite.write(test_a=written(*[1] * 10)).run()
    ran = suite.write(test_a=written(*[0] * 10)).run("--braintrust-markdown=own.md")
    (line, *_) = [e for e in ran.out.splitlines() if e.startswith("::warning")]
    assert line.startswith(
        "::warning file=suite/test_a.py,line=6,title=exact 1 → 0::"
        "test_a.py::test_answer[0]"
    )
    text = (suite.folder / "own.md").read_text(encoding="utf-8")
    assert (
        "| exact | 1.000 | 0.000 | -1.000 | -1.000…-1.000 | 0 | 10 | 🔴 regressed |"
        in text
    )
    assert summary.read_text(encoding="utf-8").endswith(text)
