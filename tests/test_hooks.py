"""The hooks of a suite change rows, the experiment's name and what it says of the run."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import XDIST, Ran, Suite
from fake_braintrust import FakeBraintrust

TESTS = """\
import pytest

@pytest.mark.parametrize("name", ["ada", "bob", "eve"])
def test_it(bt_score, name):
    bt_score(input={"user": {"name": name}}, output="hello " + name, scores={"s": 0.5})
    bt_score(metadata={"seen": {"by": name}}, tags=["t"], metrics={"tokens": 3})
"""
REDACT = """\
def pytest_braintrust_row(config, item, row):
    name = row["metadata"]["seen"]["by"] if "seen" in row["metadata"] else ""
    if "ada" in row["metadata"]["pytest"]["nodeid"] and name:
        assert item is not None and config.rootpath
        row["input"]["user"]["name"] += "!"
        row["output"] = row["output"].replace(name, "[a name]")
        row["metadata"]["seen"]["by"] += "!"
        row["tags"].append("redacted")
        row["scores"]["extra"] = True
    return "bob" not in row["metadata"]["pytest"]["nodeid"]
"""


def bodies(server: FakeBraintrust) -> str:
    """All that a server was ever sent."""
    return b"".join(each.body for each in server.requests).decode()


def test_rows_are_changed_and_dropped(
    suite: Suite, server: FakeBraintrust, plugin_args: list[str]
) -> None:
    """Before they are stored or sent; False drops a row, anything else keeps it."""
    suite.write(test_it=TESTS, conftest=REDACT).sends_to(server)
    ran = suite.run(*plugin_args)
    assert ran.status == 0, ran.out
    assert len(ran.rows()) == 2
    row = ran.row("test_it[ada]")
    # Once: each call of the hook starts from what the test said.
    assert row["input"] == {"user": {"name": "ada!"}}
    assert row["output"] == "hello [a name]"
    assert row["metadata"]["seen"] == {"by": "ada!"}
    assert row["tags"] == ["t", "redacted"]
    assert row["scores"] == {"s": 0.5, "extra": 1.0, "pass": 1.0}
    assert ran.row("test_it[eve]")["output"] == "hello eve"
    (experiment,) = server.experiments
    assert len(server.rows(experiment["id"])) == 2
    assert "hello ada" not in bodies(server)
    assert "hello bob" not in bodies(server)
    assert "3 passed" in ran.section
    assert "2 recorded = 2 sent + 0 pending" in ran.section
    assert "pytest_braintrust_row" not in ran


def test_a_hook_that_drops_all_rows_is_named(
    suite: Suite, plugin_args: list[str]
) -> None:
    """Where nothing is recorded, for the tests did ask for it."""
    conftest = "def pytest_braintrust_row(): return False\n"
    suite.write(test_it=TESTS, conftest=conftest)
    ran = suite.run("--braintrust-markdown=out.md", *plugin_args)
    named = "nothing recorded: the hook pytest_braintrust_row dropped all rows"
    assert ran.section == f"{named}\ntests       3 collected = 3 passed"
    assert f"### Braintrust: {named}\n" in (suite.folder / "out.md").read_text()


RAISES = """\
import json
def pytest_braintrust_row(row):
    json.loads("no JSON, and a secret")
"""


def test_a_hook_that_raises_costs_the_content_and_not_the_row(
    suite: Suite, server: FakeBraintrust, plugin_args: list[str]
) -> None:
    """What it should have redacted is kept nowhere; where it raised is said."""
    suite.write(test_it=TESTS, conftest=RAISES).sends_to(server)
    ran = suite.run(*plugin_args)
    assert ran.status == 0, ran.out
    assert len(ran.rows()) == 3
    row = ran.row("test_it[ada]")
    assert row["input"] == {"test": "test_it.py::test_it[ada]"}
    assert (row["output"], row["expected"], row["tags"]) == (None, None, [])
    why = "the hook pytest_braintrust_row raised JSONDecodeError at conftest.py:3"
    assert row["error"] == f"[withheld: {why}]"
    assert row["scores"] == {"s": 0.5, "pass": 1.0}
    assert row["metrics"]["tokens"] == 3
    assert list(row["metadata"]) == ["pytest"]
    assert f"{why} for test_it.py::test_it[" in ran.section
    assert "and 2 more: kept without what the test said" in " ".join(
        ran.section.split()
    )
    for text in ("hello", "secret"):
        assert text not in bodies(server)
        assert text not in ran
    assert "3 recorded = 3 sent + 0 pending" in ran.section


OUTCOMES = [
    "pytest.fail('a secret')",
    "pytest.skip('a secret')",
    "sys.exit('a secret')",
]


@pytest.mark.parametrize("how", OUTCOMES)
def test_an_outcome_that_a_hook_raises_is_an_error_of_the_hook(
    suite: Suite, how: str, plugin_args: list[str]
) -> None:
    """It is no outcome of the test, and ends neither the run nor a worker."""
    conftest = f"import pytest, sys\ndef pytest_braintrust_row():\n    {how}\n"
    ran = suite.write(test_it=TESTS, conftest=conftest).run_both(*plugin_args)
    assert ran.honest() == {"passed": 3}
    row = ran.row("test_it[ada]")
    assert (row["output"], row["scores"]) == (None, {"s": 0.5, "pass": 1.0})
    assert "at conftest.py:3" in row["error"]
    assert "the hook pytest_braintrust_row raised" in ran.section
    assert "secret" not in ran
    assert "INTERNALERROR" not in ran


# In a worker, pytest-xdist itself takes it for an internal error.
@pytest.mark.parametrize("arguments", [(), ("-p", XDIST, "-n0")], ids=str)
def test_a_hook_may_end_the_run(suite: Suite, arguments: tuple[str, ...]) -> None:
    """By `pytest.exit`; what was said before is kept, and that of the test withheld."""
    conftest = """\
import pytest
def pytest_braintrust_row(row):
    if row["metadata"]["pytest"]["nodeid"].endswith("[bob]"): pytest.exit("enough", 7)
"""
    ran = suite.write(test_it=TESTS, conftest=conftest).run(*arguments)
    assert ran.status == 7
    assert "enough" in ran
    assert "INTERNALERROR" not in ran
    assert ran.row("test_it[ada]")["output"] == "hello ada"
    ran.honest()
    assert "hello bob" not in str(ran.rows())
    assert "raised Exit at conftest.py:3" in ran.row("test_it[bob]")["error"]


SHAPES: dict[str, tuple[str, str]] = {
    "score": (
        "row['scores'].update(s=3, t=1)",
        "left the score 's' at 3, which must be a number from 0 to 1",
    ),
    "text": (
        "row['scores'].update(t=1, s='secret')",
        "left the score 's', which must be a number from 0 to 1",
    ),
    "nan": ("row['scores']['s'] = float('nan')", "left the score 's', which must"),
    "scores": ("row['scores'] = 'high'", "left scores of a wrong kind"),
    "tags": ("row['tags'] = 3", "left tags of a wrong kind"),
    "metrics": ("row['metrics']['tokens'] = 'many'", "left metrics of a wrong kind"),
    "metadata": ("row['metadata'] = 'secret'", "left metadata of a wrong kind"),
    "facts": ("row['metadata']['pytest'] = 'x'", "left metadata of a wrong kind"),
    "attributes": ("row['span_attributes'] = []", "left span_attributes of a wrong"),
    "field": ("row['ouput'] = 'secret'", "added 'ouput', which no row has; use"),
}


def rows_by_name(ran: Ran) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["pytest"]["nodeid"]: each for each in ran.rows()}


def test_a_hook_that_breaks_a_row_s_shape_costs_its_content(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Braintrust would refuse the whole request; the field is named instead."""
    tests = "\n".join(
        f"def test_{name}(bt_score): bt_score(output='hello')" for name in SHAPES
    )
    lines = ["def pytest_braintrust_row(row):"]
    lines += ["    nodeid = row['metadata']['pytest']['nodeid']"]
    for name, (change, _) in SHAPES.items():
        lines += [f"    if nodeid.endswith('test_{name}'):", f"        {change}"]
    suite.write(test_it=tests, conftest="\n".join(lines) + "\n").sends_to(server)
    ran = suite.run()
    assert ran.status == 0, ran.out
    assert f"{len(SHAPES)} recorded = {len(SHAPES)} sent + 0 pending" in ran.section
    rows = rows_by_name(ran)
    for name, (_, why) in SHAPES.items():
        row = rows[f"test_it.py::test_{name}"]
        assert f"the hook pytest_braintrust_row {why}" in row["error"], name
        assert row["output"] is None
    assert "secret" not in bodies(server)


EMPTIES = """\
def pytest_braintrust_row(row):
    nodeid = row["metadata"]["pytest"]["nodeid"]
    if "ada" in nodeid:
        row.clear()
    elif "bob" in nodeid:
        for name in row:
            row[name] = None if name not in ("context", "span_attributes") else {}
    else:
        row.update(id="mine", span_parents=["x"], output=object, created=0)
        row["scores"]["pass"] = 0
        row["metadata"] = {"pytest": {"outcome": "great", "durations": 3, "mine": 1}}
"""


def test_a_hook_may_empty_a_row_and_not_make_it_another(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Which test it was and how that ended is the run's to say, not the hook's."""
    suite.write(test_it=TESTS, conftest=EMPTIES).sends_to(server)
    ran = suite.run()
    assert ran.status == 0, ran.out
    assert "3 recorded = 3 sent + 0 pending" in ran.section
    assert "failed" not in ran.section
    rows = rows_by_name(ran)
    for name in ("ada", "bob"):
        row = rows[f"test_it.py::test_it[{name}]"]
        assert (row["input"], row["output"], row["tags"]) == (None, None, [])
        assert row["scores"] == {"pass": 1.0}
        assert row["metadata"]["pytest"]["outcome"] == "passed"
    row = rows["test_it.py::test_it[eve]"]
    assert row["id"] != "mine"
    assert row["span_parents"] == []
    assert row["output"] == "<class 'object'>"
    assert row["scores"] == {"s": 0.5, "pass": 1.0}
    assert row["metadata"]["pytest"]["outcome"] == "passed"
    assert row["metadata"]["pytest"]["mine"] == 1
    assert set(row["metadata"]["pytest"]["durations"]) == {"setup", "call", "teardown"}


def test_a_folder_s_conftest_edits_the_rows_of_its_tests(suite: Suite) -> None:
    """As with every hook of pytest that is about a test."""
    folder = suite.folder / "inner"
    folder.mkdir()
    hook = "def pytest_braintrust_row(row): row['output'] = 'edited'\n"
    (folder / "conftest.py").write_text(hook)
    (folder / "test_inner.py").write_text(TESTS)
    ran = suite.write(test_outer=TESTS).run()
    assert ran.row("inner/test_inner.py::test_it[ada]")["output"] == "edited"
    assert ran.row("test_outer.py::test_it[ada]")["output"] == "hello ada"


NAMES = """\
import os
class Odd:
    def __repr__(self): raise ValueError
def pytest_braintrust_experiment_name(config, default):
    return f"  {config.rootpath.name}\\ud800 after {default[:6]} "
def pytest_braintrust_run_metadata(config, metadata):
    metadata["model"] = "small"
    metadata["odd"] = [Odd(), {1, 2}, float("nan"), b"x"]
    metadata["key"] = "Bearer " + os.environ["BRAINTRUST_API_KEY"]
    metadata[3] = metadata
    del metadata["platform"]
"""


def test_the_experiment_is_named_and_described(
    suite: Suite, server: FakeBraintrust, plugin_args: list[str]
) -> None:
    """Any value may be said of the run, as of a row; the key is in none of them."""
    suite.write(test_it=TESTS, conftest=NAMES).sends_to(server)
    ran = suite.run(*plugin_args)
    assert ran.status == 0, ran.out
    (experiment,) = server.experiments
    assert experiment["name"].startswith("suite")
    assert experiment["name"].endswith(" after pytest")
    metadata = experiment["metadata"]
    assert metadata["model"] == "small"
    assert metadata["odd"][1:] == [[1, 2], "NaN", "x"]
    assert metadata["key"] == "Bearer [redacted]"
    assert "platform" not in metadata
    assert metadata["pytest"]
    named = suite.run("--braintrust-experiment=mine", *plugin_args)
    assert "experiment  mine in project suite" in named.section


@pytest.mark.parametrize("answer", ["None", "''", "'  '"])
def test_a_hook_that_names_nothing_leaves_the_default(
    suite: Suite, answer: str
) -> None:
    """None and blanks are no names."""
    conftest = f"def pytest_braintrust_experiment_name(): return {answer}\n"
    ran = suite.write(test_it=TESTS, conftest=conftest).run()
    assert ran.experiments()[0]["name"].startswith("pytest-")


@pytest.mark.parametrize("hook", ["experiment_name", "run_metadata"])
def test_a_hook_of_the_run_that_raises_ends_it_before_the_first_test(
    suite: Suite, hook: str, plugin_args: list[str]
) -> None:
    """Under a wrong name every row would be in the wrong place: better none is."""
    conftest = f"def pytest_braintrust_{hook}():\n    return {{}}['model']\n"
    ran = suite.write(test_it=TESTS, conftest=conftest).run(*plugin_args)
    assert ran.status == 4, ran.out
    told = (
        f"the hook pytest_braintrust_{hook} raised KeyError at conftest.py:2: 'model'"
    )
    assert f"ERROR: {told}" in ran.err
    assert "Traceback" not in ran
    assert "INTERNALERROR" not in ran
    assert ran.rows() == []


@pytest.mark.parametrize("hook", ["experiment_name", "run_metadata"])
@pytest.mark.parametrize("how", OUTCOMES)
def test_an_outcome_that_a_hook_of_the_run_raises_ends_it_too(
    suite: Suite, hook: str, how: str
) -> None:
    """As any other error; `pytest.exit` ends it as everywhere."""
    conftest = f"import pytest, sys\ndef pytest_braintrust_{hook}(): {{}}\n"
    suite.write(test_it=TESTS, conftest=conftest.format(how))
    ran = suite.run()
    assert ran.status == 4, ran.out
    assert f"ERROR: the hook pytest_braintrust_{hook} raised" in ran.err
    suite.write(conftest=conftest.format("pytest.exit('enough', 7)"))
    ended = suite.run()
    assert ended.status == 7
    assert "the hook" not in ended


def test_hooks_do_nothing_with_the_flag_off(suite: Suite) -> None:
    """A conftest that has them loads, and none is called."""
    conftest = "\n".join(
        f"def pytest_braintrust_{name}(config): 1 / 0"
        for name in ("row", "experiment_name", "run_metadata")
    )
    ran = suite.write(test_it=TESTS, conftest=conftest).run_off()
    assert ran.status == 0, ran.out


DIES = """\
import os
def test_dies(bt_score):
    bt_score(output="hello zoe")
    os._exit(1)
def test_lives(bt_score): bt_score(output="hello bob")
"""
SEES = """\
def pytest_braintrust_row(item, row):
    row["output"] = str(row["output"]).replace("zoe", "[a name]")
    row["metadata"]["item"] = item is not None
    return {answer}
"""


def test_a_test_that_dies_with_its_worker_passes_the_hook_too(suite: Suite) -> None:
    """What it had said is edited where it ran; what is added later, where it is kept."""
    suite.write(test_it=DIES, conftest=SEES.format(answer=None)).with_plugins("xdist")
    ran = suite.run("-n1", "-p", "no:cacheprovider")
    assert ran.row("test_dies")["output"] == "hello [a name]"
    assert ran.row("test_dies")["metadata"]["item"] is False
    assert ran.row("test_lives")["metadata"]["item"] is True
    assert "zoe" not in str(ran.rows())


def test_a_row_that_was_dropped_does_not_come_back(suite: Suite) -> None:
    """Not even when its test dies with its worker: then it is dropped again."""
    answer = "'dies' not in row['metadata']['pytest']['nodeid']"
    suite.write(test_it=DIES, conftest=SEES.format(answer=answer)).with_plugins("xdist")
    ran = suite.run("-n1")
    assert [each["output"] for each in ran.rows()] == ["hello bob"]
