"""A marker that says what we do not know is an error of its module, at collection."""

from __future__ import annotations

import pytest
from conftest import Suite

WRONG = """\
import pytest

@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.braintrust(inputs=1)
def test_keyword(n): 1 / 0
@pytest.mark.braintrust("France")
def test_position(): 1 / 0
@pytest.mark.braintrust(project="  ")
def test_project(): 1 / 0
@pytest.mark.braintrust(tags=[1])
def test_tags(): 1 / 0
@pytest.mark.braintrust(metadata="m")
def test_metadata(): 1 / 0
@pytest.mark.braintrust(limit=3)
def test_limit(): 1 / 0
"""
WRONG_CLASS = """\
import pytest

@pytest.mark.braintrust(project=3)
class TestIt:
    def test_a(self): 1 / 0
    def test_b(self): 1 / 0
"""
RIGHT = """\
import pytest

@pytest.mark.braintrust(
    project="p", input=object(), expected=None, tags="t", metadata={1: object()}
)
def test_right(): pass
"""


def test_wrong_markers_are_told_at_collection(
    suite: Suite, plugin_args: list[str]
) -> None:
    """Each with its test and what would be right; none of the module's tests runs."""
    suite.write(test_right=RIGHT, test_wrong=WRONG, test_class=WRONG_CLASS)
    ran = suite.run("--continue-on-collection-errors", *plugin_args)
    assert ran.status == 1, ran.out
    assert "ERROR collecting test_wrong.py" in ran
    for why in (
        "test_wrong.py::test_keyword[1]: the marker braintrust has no keyword 'inputs'",
        "; it takes project, input, expected, ",
        "test_wrong.py::test_position: the marker braintrust takes no positional",
        "test_wrong.py::test_project: the marker braintrust: project is '  '; give",
        "test_wrong.py::test_tags: the marker braintrust: tag 1 is not text",
        "test_wrong.py::test_metadata: the marker braintrust: metadata is 'm'; give",
        "test_wrong.py::test_limit: the marker braintrust: limit= is said of a dataset",
        "test_class.py::TestIt::test_a: the marker braintrust: project is 3; give",
    ):
        assert why in ran, why
    assert "test_keyword[2]" not in ran
    assert "TestIt::test_b" not in ran
    assert "ZeroDivisionError" not in ran
    assert "INTERNALERROR" not in ran
    assert "1 passed, 2 errors" in ran
    assert [each["metadata"]["1"] for each in ran.rows()]


def test_a_wrong_marker_ends_the_run_as_other_collection_errors_do(
    suite: Suite,
) -> None:
    """pytest's own exit status for it, and the flag off changes nothing of the run."""
    suite.write(test_wrong=WRONG_CLASS.replace("1 / 0", "pass"))
    assert suite.run().status == 2
    assert suite.run_off().status == 0


@pytest.mark.parametrize("strict", ["--strict-markers", "-Werror"])
def test_the_marker_is_known_with_the_flag_off(suite: Suite, strict: str) -> None:
    """No warning of an unknown mark, ever."""
    ran = suite.write(test_right=RIGHT).run_off(strict)
    assert ran.status == 0, ran.out
    assert "warning" not in ran.out.lower()
