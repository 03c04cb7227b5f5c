"""What markers and parameters say of a test, the same in every run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import XDIST, Ran, Suite, nodeid

MARKED = """\
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.braintrust(tags="module", metadata={"from": "module", "deep": {"m": 1}}),
]

@pytest.mark.braintrust(tags=["class"], metadata={"from": "class", "deep": {"c": 2}})
class TestMarked:
    pytestmark = [pytest.mark.braintrust(input={"q": "class"})]

    def test_by_class(self): pass

    @pytest.mark.braintrust(input={"q": "function"}, tags=["function", "class"])
    def test_by_function(self): pass

    @pytest.mark.braintrust(expected="outer", metadata={"from": "outer", "outer": 1})
    @pytest.mark.braintrust(expected="inner", metadata={"from": "inner", "inner": 1})
    def test_stacked(self): pass

    class TestInner:
        def test_inner(self): pass

def test_by_module(): pass

def test_logs_too(bt_score):
    bt_score(tags="logged", metadata={"from": "call", "deep": {"l": 3}}, expected=None)

@pytest.mark.braintrust(input=None, expected=None, tags=None, metadata=None)
@pytest.mark.parametrize("n", [1])
def test_none_is_not_said(n): pass

@pytest.mark.braintrust(input={"q": "marker"}, expected="marker")
@pytest.mark.parametrize(("n", "expected"), [(1, "parameter")])
def test_over_parameters(n, expected): pass

@pytest.mark.braintrust(project="elsewhere")
def test_elsewhere(): pass

@pytest.mark.parametrize(
    "n", [1, pytest.param(2, marks=pytest.mark.braintrust(project="of a parameter"))]
)
def test_by_parameter(n): pass
"""
UNMARKED = """\
import pytest

@pytest.mark.slow
def test_unmarked(): pass

@pytest.mark.braintrust
@pytest.mark.skip
def test_skipped(): pass

@pytest.mark.braintrust
def test_bare(): pass
"""
INI = ("markers = slow",)


def test_markers_of_every_place_add_up(suite: Suite, plugin_args: list[str]) -> None:
    """Module, class, function and parameter: the closest has the last word."""
    suite.ini(*INI).write(test_marked=MARKED, test_unmarked=UNMARKED)
    ran = suite.run(*plugin_args)
    assert ran.status == 0, ran.out
    ran.honest()

    by_class = ran.row("test_by_class")
    assert by_class["input"] == {"q": "class"}
    assert by_class["tags"] == ["module", "class"]
    assert said(by_class) == {"from": "class", "deep": {"m": 1, "c": 2}}
    assert by_class["metadata"]["pytest"]["markers"] == ["slow"]
    by_function = ran.row("test_by_function")
    assert by_function["input"] == {"q": "function"}
    assert by_function["tags"] == ["module", "class", "function"]
    stacked = ran.row("test_stacked")
    assert stacked["expected"] == said(stacked)["from"] == "inner"
    assert {"outer", "inner"} <= said(stacked).keys()
    assert ran.row("test_inner")["tags"] == ["module", "class"]

    by_module = ran.row("test_by_module")
    assert by_module["input"] == {"test": "test_marked.py::test_by_module"}
    logged = ran.row("test_logs_too")
    assert logged["tags"] == ["module", "logged"]
    assert said(logged) == {"from": "call", "deep": {"m": 1, "l": 3}}
    assert by_module["metadata"]["deep"] == {"m": 1}
    none = ran.row("test_none_is_not_said[1]")
    assert (none["input"], none["expected"]) == ({"n": 1}, None)
    over = ran.row("test_over_parameters[1-parameter]")
    assert (over["input"], over["expected"]) == ({"q": "marker"}, "marker")

    assert [nodeid(each) for each in ran.rows() if "unmarked" in nodeid(each)] == [
        "test_unmarked.py::test_bare"
    ]
    assert by_project(ran) == {
        "suite": len(ran.rows()) - 2,
        "elsewhere": 1,
        "of a parameter": 1,
    }


def test_an_option_goes_before_the_project_of_a_marker(suite: Suite) -> None:
    """All rows go to the one project that was asked for."""
    ran = suite.ini(*INI).write(test_marked=MARKED).run("--braintrust-project=asked")
    assert by_project(ran) == {"asked": len(ran.rows())}


def test_all_tests_are_recorded_where_that_is_asked(suite: Suite) -> None:
    """Without marker and fixture too."""
    ran = suite.ini(*INI).write(test_unmarked=UNMARKED).run("--braintrust-all")
    assert {nodeid(each) for each in ran.rows()} == {
        "test_unmarked.py::test_unmarked",
        "test_unmarked.py::test_bare",
    }


def said(event: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a row without the plugin's own."""
    return {name: each for name, each in event["metadata"].items() if name != "pytest"}


def by_project(ran: Ran) -> dict[str, int]:
    """How many rows each project has, by an experiment of its own."""
    names = {each["number"]: each["project"] for each in ran.experiments()}
    counts = dict.fromkeys(names.values(), 0)
    for row in ran.query("rows", "position"):
        counts[names[row["experiment"]]] += 1
    return counts


PARAMETERS = """\
import pytest

class Client:
    def __init__(self, name): self.name = name

class Plain:
    def __repr__(self): return f"Plain({id(self)})"

def a_function(): pass

@pytest.mark.parametrize(("question", "expected"), [("France", "Paris")])
def test_expected(bt_score, question, expected): pass

@pytest.mark.parametrize("expected", ["Paris"])
def test_only_expected(bt_score, expected): pass

@pytest.fixture
def client(request): return Client(request.param)

@pytest.mark.parametrize("client", ["small"], indirect=True)
def test_indirect(bt_score, client): assert client.name == "small"

@pytest.fixture(params=["a", "b"])
def variant(request): return request.param.upper()

def test_fixture(bt_score, variant): assert variant in "AB"

@pytest.mark.parametrize("value", [Client("x"), Plain(), a_function, Client, {"b", "a"}])
def test_object(bt_score, value): pass

@pytest.mark.parametrize("text", ["é日本", "two\\nlines", "a::b[c]", "a/b", " ", "", "\\ud800"])
def test_text(bt_score, text): pass

@pytest.mark.parametrize("text", ["long " * 30_000, "long " * 30_000 + "!"])
def test_long(bt_score, text): pass

@pytest.mark.parametrize("case", [{"n": 1}, {"n": 1}, {"n": 1}], ids=["x", "x", "x"])
def test_same_ids(bt_score, case): pass

@pytest.mark.parametrize("b", [1, 2])
@pytest.mark.parametrize("a", [1, 2])
@pytest.mark.xdist_group("g")
def test_two(bt_score, a, b): pass

@pytest.mark.parametrize("a", [[1]])
def test_changed(bt_score, a): a.append("by the test")

@pytest.mark.parametrize("value", [float("nan"), 10**30, b"\\xff", None, True, 1.5])
def test_scalar(bt_score, value): pass
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Ran, Ran]:
    """Three runs of one suite, each with hash seed, mode and order of its own."""
    modes = {
        "1": (),
        "2": ("-p", XDIST, "-n2", "--dist=loadgroup"),
        "3": ("-p", XDIST, "-n0", "test_parameters.py"),
    }
    ended = []
    for seed, arguments in modes.items():
        folder = tmp_path_factory.mktemp("runs") / "suite"
        folder.mkdir()
        suite = (
            Suite(folder).ini("markers = xdist_group").write(test_parameters=PARAMETERS)
        )
        suite.environment["PYTHONHASHSEED"] = seed
        ended.append(suite.run(*arguments))
        assert ended[-1].status == 0, ended[-1].out
        ended[-1].honest()
    first, second, third = ended
    return first, second, third


def test_the_same_test_in_two_runs_is_the_same(runs: tuple[Ran, Ran, Ran]) -> None:
    """Node id, input and hash: in another process, folder, mode and hash seed."""
    first, *others = [identities(each) for each in runs]
    assert len(first) == len(runs[0].rows()) == 33
    for each in others:
        assert each == first


def identities(ran: Ran) -> set[tuple[str, ...]]:
    """What says which test a row is of, and in what it was the same."""
    return {
        (row["nodeid"], row["input_hash"], json.dumps(event["input"]), expected(event))
        for row in ran.query("rows", "position")
        for event in [json.loads(row["event"])]
    }


def expected(event: dict[str, Any]) -> str:
    """What else of an event must not change."""
    facts = event["metadata"]["pytest"]
    names = ("nodeid", "param_id", "function", "file")
    told = [event["expected"], event["span_attributes"], event["context"]]
    return json.dumps([*told, *(facts[name] for name in names)])


def test_parameters_are_the_input(runs: tuple[Ran, Ran, Ran]) -> None:
    """But for `expected`; those of fixtures too, as they were before the test."""
    ran = runs[0]
    row = ran.row("test_expected[France-Paris]")
    assert (row["input"], row["expected"]) == ({"question": "France"}, "Paris")
    only = ran.row("test_only_expected[Paris]")
    assert only["input"] == {"test": "test_parameters.py::test_only_expected[Paris]"}
    assert only["expected"] == "Paris"
    assert ran.row("test_indirect[small]")["input"] == {"client": "small"}
    assert ran.row("test_fixture[b]")["input"] == {"variant": "b"}
    assert ran.row("test_changed[a0]")["input"] == {"a": [1]}
    inputs = [each["input"]["value"] for each in ran.rows() if "object" in nodeid(each)]
    assert inputs == [
        "<test_parameters.Client object>",
        "Plain(…)",
        "<function a_function>",
        "<class 'test_parameters.Client'>",
        ["a", "b"],
    ]
    assert ran.row("test_scalar[nan]")["input"] == {"value": "NaN"}


def test_ids_of_any_text_are_kept_in_short(runs: tuple[Ran, Ran, Ran]) -> None:
    """pytest makes them of whole documents; two that start alike stay apart."""
    ran = runs[0]
    long = [each for each in ran.rows() if "test_long" in nodeid(each)]
    assert len({nodeid(each) for each in long}) == 2
    for each in long:
        assert len(json.dumps(each)) < 170_000
        assert len(each["input"]["text"]) >= 150_000
        assert len(nodeid(each)) < 1_100
    texts = {each["input"].get("text") for each in ran.rows()}
    assert {"é日本", "two\nlines", "a::b[c]", "a/b", " ", "", "\\ud800"} <= texts
    ids = {nodeid(each) for each in ran.rows() if "same_ids" in nodeid(each)}
    assert len(ids) == 3


CRASHES = """\
import os, pytest

@pytest.mark.parametrize("text", ["long " * 30_000, "a::b[c]", "é"])
def test_crashes(bt_score, text):
    bt_score(output=text[:5])
    os._exit(3)
"""


def test_a_long_id_is_the_same_where_the_worker_died(suite: Suite) -> None:
    """Its row is found by the report that tells of the worker."""
    ran = suite.write(test_crash=CRASHES).run("-p", XDIST, "-n1")
    assert ran.honest() == {"errored": 3}
    assert {each["output"] for each in ran.rows()} == {"long ", "a::b[", "é"}
    assert all(len(nodeid(each)) < 1_100 for each in ran.rows())
