"""A run that says too little, or too bad, is compared with only where it is named."""

from __future__ import annotations

import pytest
from conftest import Suite

GATE = "--braintrust-fail-on-regression"

TESTS = """\
import pytest

@pytest.mark.parametrize("number", range(10))
def test_answer(bt_score, number):
    {body}

def test_other(bt_score):
    bt_score(scores={{"exact": 1}})
"""

GOOD = 'bt_score(scores={"exact": 1})'
BAD = 'bt_score(scores={"exact": 0})'
DOWN = 'raise ConnectionError("no route")'


def test_a_failed_gate_fails_again(suite: Suite) -> None:
    """Beside the run that failed it nothing would have changed."""
    suite.write(test_a=TESTS.format(body=GOOD)).run()
    suite.write(test_a=TESTS.format(body=BAD))
    assert [suite.run(GATE).status for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    "part", [("-k", "other"), ("test_a.py::test_other",), ("--deselect=test_a.py::x",)]
)
def test_a_run_of_a_part_is_no_baseline_of_the_whole(
    suite: Suite, part: tuple[str, ...]
) -> None:
    """But one of the same part, or of more, is one for a part."""
    suite.write(test_a=TESTS.format(body=GOOD)).run()
    suite.run(*part)
    whole, other = suite.run(*part).experiments()[0], suite.run(*part).experiments()[1]
    suite.write(test_a=TESTS.format(body=BAD))
    ran = suite.run(GATE)
    assert ran.status == 1
    assert ran.experiments()[-1]["base"] == whole["id"] != other["id"]
    assert suite.run(*part).experiments()[-1]["base"] != whole["id"]


def test_a_run_of_a_folder_holds_those_of_its_files(suite: Suite) -> None:
    """`pytest test_a.py` is compared with `pytest .`."""
    suite.write(test_a=TESTS.format(body=GOOD), test_b="def test_b(): pass")
    first = suite.run(".").experiments()[0]["id"]
    assert suite.run("test_a.py").experiments()[-1]["base"] == first
    assert suite.run("test_a.py::test_other").experiments()[-1]["base"] != first


def test_an_outage_is_no_baseline(suite: Suite) -> None:
    """It measured next to nothing."""
    suite.ini("braintrust_infrastructure_errors = ConnectionError")
    first = suite.write(test_a=TESTS.format(body=GOOD)).run().experiments()[0]["id"]
    suite.write(test_a=TESTS.format(body=DOWN)).run()
    suite.write(test_a=TESTS.format(body=BAD))
    ran = suite.run(GATE)
    assert (ran.status, ran.experiments()[-1]["base"]) == (1, first)


def test_an_unfit_run_can_be_named(suite: Suite) -> None:
    """Who names a run means it."""
    suite.write(test_a=TESTS.format(body=GOOD)).run()
    suite.write(test_a=TESTS.format(body=BAD))
    failed = suite.run(GATE, "--braintrust-experiment=failed").experiments()[-1]["id"]
    ran = suite.run("--braintrust-baseline=failed")
    assert ran.experiments()[-1]["base"] == failed
