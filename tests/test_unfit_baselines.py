"""A run that says too little, or too bad, is compared with only where it is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import Suite

from pytest_braintrust.selection import Start

GATE = "--braintrust-fail-on-regression"

TESTS = """\
import pytest

@pytest.mark.parametrize("number", range(10))
def test_answer(bt_score, number):
    {body}

def test_other(bt_score):
    bt_score(scores={{"exact": 1}})
"""

FOLDER = """\
import pytest

@pytest.mark.parametrize("number", range(8))
def test_{name}(bt_score, number):
    bt_score(scores={{"{name}": {score}}})
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


def folders(suite: Suite, *, b: int = 1) -> Suite:
    """Write two folders of tests, each of which has a score of its own."""
    for name, score in (("a", 1), ("b", b)):
        (suite.folder / name).mkdir(exist_ok=True)
        file = suite.folder / name / f"test_{name}.py"
        file.write_text(FOLDER.format(name=name, score=score), encoding="utf-8")
    return suite


PARTS = [
    ([], "a"),
    (["--ignore-glob=b*"], "."),
    (["--ignore=../b", ".."], "a"),
    (["-o", "testpaths=a"], "."),
    (["-c", "smoke.ini"], "."),
    (["-o", "python_files=test_a.py"], "."),
]


@pytest.mark.parametrize(("arguments", "within"), PARTS, ids=str)
def test_what_a_run_collects_is_its_part_however_it_is_asked_for(
    suite: Suite, arguments: list[str], within: str
) -> None:
    """By the folder that it is started in, a pattern or an ini value, too."""
    limit = "braintrust_fail_under = b=0.5"
    suite.ini(limit)
    smoke = f"[pytest]\n{limit}\ntestpaths = a\n"
    (suite.folder / "smoke.ini").write_text(smoke, encoding="utf-8")
    whole = folders(suite).run().experiments()[0]["id"]
    for _ in range(2):
        part = suite.run(*arguments, within=within)
        assert part.status == 0, part.out
        assert "b is not judged" in " ".join(part.section.split())
    ran = folders(suite, b=0).run(GATE, "--braintrust-fail-under=b=0")
    assert ran.experiments()[-1]["base"] == whole
    assert "GATE FAILED: b regressed" in ran


def test_what_the_ini_file_calls_the_suite_is_all_of_it(suite: Suite) -> None:
    """Whether pytest takes it from there, is told it, or is started in it."""
    suite.ini("testpaths = a*")
    folders(suite)
    ran = [suite.run(), suite.run("a"), suite.run(within="a"), suite.run(".")]
    ran.append(suite.run("-c", "pytest.ini"))
    assert "selection" not in " ".join(e["metadata"] for e in ran[-1].experiments())
    part = suite.run(within="b").experiments()[-1]
    assert '"arguments":["b"]' in part["metadata"]


def test_a_package_that_is_asked_for_by_name_is_its_folder(suite: Suite) -> None:
    """So is a module its file, and of a part of one run the other is a baseline."""
    package = suite.folder / "package" / "a"
    package.mkdir(parents=True)
    for each in (package, package.parent):
        (each / "__init__.py").touch()
    file = package / "test_a.py"
    file.write_text(FOLDER.format(name="a", score=1), encoding="utf-8")
    suite.run("--pyargs", "package.a")
    suite.run("package/a")
    for argument in ("package.a.test_a::test_a", "package/a", "sys.b", "..c"):
        ran = suite.run("--pyargs", argument)
    first, second, third, fourth = (
        (each["base"], json.loads(each["metadata"])["selection"]["arguments"])
        for each in ran.experiments()[:4]
    )
    whole = ran.experiments()[0]["id"]
    assert (first, second) == ((None, ["package/a"]), (whole, ["package/a"]))
    assert third[1] == ["package/a/test_a.py::test_a"]
    assert fourth[1] == ["package/a"]
    text = FOLDER.format(name="a", score=0).replace("test_a", "test_b")
    file.write_text(text, encoding="utf-8")
    ran = suite.run("--pyargs", "package.a", GATE)
    assert "8 tests in both runs, 8 renamed" in ran
    assert "GATE FAILED: a regressed" in ran


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("spacious.inner", "spacious/inner"),
        ("spacious.inner.test_it::test_a", "spacious/inner/test_it.py::test_a"),
        ("spacious", "spacious"),
        ("spacious.nothing", "spacious.nothing"),
    ],
)
def test_a_package_needs_no_init_to_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, told: str
) -> None:
    """Nor is it imported; what is no module is a path."""
    (tmp_path / "spacious" / "inner").mkdir(parents=True)
    (tmp_path / "spacious" / "inner" / "test_it.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert Start(tmp_path, tmp_path, pyargs=True).asked(argument) == told
    assert Start(tmp_path, tmp_path).asked("spacious.inner") == "spacious.inner"
    assert "spacious" not in sys.modules


def test_a_run_that_leaves_less_out_holds_one_that_leaves_more_out(
    suite: Suite,
) -> None:
    """Each of what is left out counts by itself."""
    folders(suite).run("--ignore=b")
    less, more = "--ignore=c", "--ignore=b"
    first = suite.run(less).experiments()[-1]["id"]
    assert suite.run(less, more).experiments()[-1]["base"] == first
    assert suite.run(less).experiments()[-1]["base"] == first


def test_a_run_of_which_a_file_did_not_collect_is_no_baseline(suite: Suite) -> None:
    """It is not known which tests it should have run; who names it means it."""
    first = folders(suite).run().experiments()[0]["id"]
    broken = suite.folder / "b" / "test_b.py"
    broken.write_text("import nowhere_to_be_found", encoding="utf-8")
    named = "--braintrust-experiment=broken"
    ran = suite.run("--continue-on-collection-errors", named)
    second = ran.experiments()[1]["id"]
    ran = folders(suite, b=0).run(GATE)
    assert (ran.status, ran.experiments()[-1]["base"]) == (1, first)
    ran = suite.run("--braintrust-baseline=broken")
    assert ran.experiments()[-1]["base"] == second


CONFTEST = """\
import os
PART = os.environ.get("PART")
collect_ignore = ["b"] if PART == "ignored" else []
def pytest_collection_modifyitems(items):
    if PART == "dropped":
        items[:] = [item for item in items if "test_a" in item.nodeid]
"""
SKIPPED = """\
import os
import pytest
if os.environ.get("PART") == "skipped":
    pytest.skip("not now", allow_module_level=True)
"""


@pytest.mark.parametrize(
    ("plugin_args", "part"),
    [([], "ignored"), ([], "dropped"), (["-p", "xdist", "-n2"], "skipped")],
)
def test_a_run_that_lacks_tests_of_the_one_before_it_is_passed_over(
    suite: Suite, plugin_args: list[str], part: str
) -> None:
    """Whatever left them out, and though it has a test of its own."""
    suite.write(conftest=CONFTEST)
    first = folders(suite).run(*plugin_args).experiments()[0]["id"]
    file = suite.folder / "b" / "test_b.py"
    file.write_text(SKIPPED + FOLDER.format(name="b", score=0), encoding="utf-8")
    suite.environment["PART"] = part
    suite.write(test_c='def test_a(bt_score): bt_score(scores={"a": 1})')
    suite.run(*plugin_args)
    # A run of the same part is compared with it.
    second, third = suite.run(*plugin_args).experiments()[1:]
    assert third["base"] == second["id"]
    suite.environment["PART"] = ""
    ran = suite.run(GATE, *plugin_args)
    assert "GATE FAILED: b regressed" in ran
    assert ran.experiments()[-1]["base"] == first
    suite.environment["PART"] = part
    assert "b regressed" in suite.cli("gate", "latest", "--fail-on-regression")
    command = ("gate", "latest", "--fail-on-regression", "--baseline", "previous")
    assert "b regressed" in suite.cli(*command)


@pytest.mark.parametrize("plugin_args", [[], ["-p", "xdist", "-n2"]])
def test_a_skipped_test_does_not_tie_the_baseline_to_an_old_run(
    suite: Suite, plugin_args: list[str]
) -> None:
    """Nor one that is known to fail, though neither has a row and both are collected."""
    suite.write(test_a=TESTS.format(body=BAD)).run(*plugin_args)
    marks = "@pytest.mark.skip\ndef test_other", "@pytest.mark.xfail(run=False)\ndef"
    better = TESTS.format(body=GOOD).replace("def test_other", marks[0])
    suite.write(test_a=f"{better}\n{marks[1]} test_more(bt_score): pass\n")
    bases = [e["base"] for e in suite.run(*plugin_args).experiments()]
    ran = [suite.run(*plugin_args) for _ in range(2)][-1]
    first, second, third, fourth = ran.experiments()
    assert bases == [None, first["id"]]
    assert (third["base"], fourth["base"]) == (second["id"], third["id"])


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
