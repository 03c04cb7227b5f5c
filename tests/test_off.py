"""With the flag off the plugin is not there, but that a suite runs as with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import XDIST, Suite, nodeid
from fake_braintrust import FakeBraintrust

#: Everything a test may say, and everything that is refused.
CALLS = """\
import pytest

def test_calls(bt_score):
    bt_score()
    bt_score(input=1, output=[object()], expected=None, error=ValueError("x"))
    bt_score(scores={"a": True, "b": None, "c": 0.5}, metrics={"tokens": 3})
    bt_score(metadata={"a": {1: float("nan")}}, tags="t")
    with bt_score.row("second", input=2) as row:
        row(output=3)
        row(scores={"a": 1})
    with pytest.raises(KeyError):
        with bt_score.row():
            raise KeyError
    assert bt_score.experiment is None or bt_score.experiment.project

@pytest.mark.parametrize(
    "wrong",
    [
        {"scores": {"a": 2}},
        {"scores": {"a": float("nan")}},
        {"scores": {"a": "1"}},
        {"scores": {"pass": 1}},
        {"scores": [1]},
        {"scores": {1: 1}},
        {"metrics": {"a": float("inf")}},
        {"metadata": 3},
        {"tags": [3]},
    ],
)
def test_wrong_calls(bt_score, wrong):
    with pytest.raises(ValueError):
        bt_score(**wrong)
    with pytest.raises(ValueError):
        with bt_score.row(**wrong):
            pass
    with pytest.raises(TypeError):
        bt_score(ouput=1)
    with pytest.raises(TypeError):
        bt_score({"output": 1})
    with bt_score.row() as row, pytest.raises(TypeError):
        row(1, output=2)

def test_span(braintrust_span):
    braintrust_span.log(output=1, anything=2)
    with braintrust_span.start_span("inner") as span:
        span.log(output=2, scores={"a": 0.5})
    with pytest.raises(ValueError):
        braintrust_span.log(scores={"a": 2})
    with pytest.raises(ValueError):
        span.log(scores={"a": 2})
    assert braintrust_span.end(5.0) == 5.0

@pytest.mark.braintrust(project="p", input=1, expected=2, tags=["t"], metadata={})
def test_marked(): pass
"""
WATCHED = """\
import json, os, sys, threading
import pytest

def pytest_unconfigure(config):
    told = {"modules": sorted(sys.modules), "threads": threading.active_count()}
    with open(os.environ["WATCHED"], "w") as file:
        json.dump(told, file)
"""


def files(folder: Path) -> set[str]:
    """Every file below a folder but Python's caches of compiled modules."""
    found = (each.relative_to(folder).as_posix() for each in folder.rglob("*"))
    return {each for each in found if "__pycache__" not in each}


def watched(suite: Suite, *arguments: str) -> tuple[set[str], int]:
    """The modules and threads at the end of a run with the flag off."""
    path = suite.folder.parent / "watched.json"
    suite.environment["WATCHED"] = str(path)
    assert suite.run_off("-q", *arguments).status == 0
    told = json.loads(path.read_text())
    return set(told["modules"]), told["threads"]


def test_it_costs_two_modules_and_nothing_else(suite: Suite) -> None:
    """No third-party module beyond pytest's, no thread, no file, not a word."""
    suite.write(test_it="def test_it(): pass\n", conftest=WATCHED)
    modules, threads = watched(suite)
    left = files(suite.folder)
    ours = suite.run_off()
    suite.plugins = []
    without, threads_without = watched(suite)
    assert modules - without == {"pytest_braintrust", "pytest_braintrust.plugin"}
    assert (threads, left) == (threads_without, files(suite.folder))
    assert "braintrust" not in ours.out
    assert ours.err == ""


def test_calls_are_taken_and_checked_alike(
    suite: Suite, plugin_args: list[str]
) -> None:
    """The same suite passes with the flag on and off, and only one keeps anything."""
    suite.write(test_it=CALLS)
    off = suite.run_off("-p", "no:cacheprovider", *plugin_args)
    assert off.status == 0, off.out
    assert files(suite.folder) == {"pytest.ini", "test_it.py"}
    assert "== braintrust ==" not in off
    on = suite.run(*plugin_args)
    assert on.status == 0, on.out
    assert len(on.rows()) == 23


@pytest.mark.parametrize("flags", [(), ("--braintrust",)], ids=["off", "on"])
def test_a_value_without_a_name_is_told_how_to_be_given(
    suite: Suite, flags: tuple[str, ...]
) -> None:
    """The traceback ends at the call, and the message has all names."""
    suite.write(test_it="def test_it(bt_score):\n    bt_score('Paris')\n")
    ran = suite.run_off(*flags)
    assert ran.status == 1
    assert "TypeError: bt_score takes values by name, as bt_score(output=…)" in ran
    assert "test_it.py:2: TypeError" in ran
    assert "scoring.py" not in ran


def test_using_the_fixture_loads_nothing_that_sends(suite: Suite) -> None:
    """No SQLite, no HTTP, no lock: what checks the calls is all that is needed."""
    suite.write(test_it=CALLS, conftest=WATCHED)
    modules, threads = watched(suite)
    assert "pytest_braintrust.scoring" in modules
    for name in ("sqlite3", "httpx", "filelock", "pytest_braintrust.session"):
        assert name not in modules
    assert threads == 1


def test_options_are_not_looked_at(suite: Suite) -> None:
    """What would be wrong is not: nothing of it is used."""
    suite.environment["BRAINTRUST_API_URL"] = "nowhere"
    suite.ini("braintrust_flush_timeout = soon")
    ran = suite.write(test_it=CALLS).run_off("--braintrust-app-url=x")
    assert ran.status == 0, ran.err


LOOKS = [
    ("--collect-only",),
    ("--fixtures",),
    ("--fixtures-per-test",),
    ("--help",),
    ("--markers",),
    ("--version",),
    ("-VV",),
    ("--setup-plan",),
    ("--setup-only",),
    ("--cache-show",),
]

LOOKS_OF_WORKERS = [("--collect-only", "-q", "-p", XDIST, "-n2")]


@pytest.mark.parametrize("looks", [LOOKS, LOOKS_OF_WORKERS], ids=["plain", "workers"])
def test_looking_creates_nothing_anywhere(
    suite: Suite, server: FakeBraintrust, looks: list[tuple[str, ...]]
) -> None:
    """With the flag on: no store, no request; a wrong setting does not matter."""
    suite.write(test_it=CALLS).sends_to(server)
    suite.environment["BRAINTRUST_FLUSH_TIMEOUT"] = "soon"
    for arguments in looks:
        ran = suite.run(*arguments)
        assert ran.status == 0, (arguments, ran.err)
        assert "== braintrust ==" not in ran
        assert not ran.store.exists(), arguments
    assert server.requests == []


def test_what_is_looked_at_is_told(suite: Suite) -> None:
    """The fixtures and the marker are listed with what they are for."""
    shown = suite.run_off("--fixtures").out
    assert "Record input, output and scores of this test" in shown
    assert "Record this test by the official SDK's calls" in shown
    assert "@pytest.mark.braintrust(project=, input=" in suite.run_off("--markers").out


def test_a_run_that_records_nothing_leaves_no_experiment(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Neither on Braintrust nor in the store."""
    suite.write(test_it="def test_it(): pass\n").sends_to(server)
    ran = suite.run()
    assert ran.status == 0, ran.out
    assert server.experiments == []
    assert ran.experiments() == []


WITHIN = """\
import pytest
@pytest.mark.parametrize("flags", [[], ["--braintrust"]])
def test_outer(bt_score, flags):
    bt_score(output="before")
    arguments = ["-q", "-p", "pytest_braintrust.plugin", *flags, "test_it.py"]
    assert pytest.main(arguments) == 0
    bt_score(scores={"exact": 1})
"""


def test_a_run_within_a_test_says_nothing_of_that_test(suite: Suite) -> None:
    """With the flag and without; the outer test goes on recording after it."""
    inner = "def test_inner(bt_score): bt_score(output='inner', scores={'other': 0})"
    suite.write(outer=WITHIN, test_it=inner)
    suite.plugins = ["pytest_braintrust.plugin"]
    ran = suite.run("outer.py", "-p", "no:pytest_braintrust")
    assert ran.status == 0, ran.out
    outer = [each for each in ran.rows() if "test_outer" in nodeid(each)]
    assert [each["output"] for each in outer] == ["before", "before"]
    assert [sorted(each["scores"]) for each in outer] == [["exact", "pass"]] * 2
    assert len(ran.rows()) == 3


@pytest.mark.parametrize("flag", ["off", "on"])
def test_pytest_may_be_run_twice_in_one_process(suite: Suite, flag: str) -> None:
    """As notebooks and pytester do; the second run knows nothing of the first."""
    arguments = ["-q", "-p", "pytest_braintrust.plugin", "test_it.py"]
    arguments += ["--braintrust"] if flag == "on" else []
    twice = f"""\
import pytest
def test_twice():
    for _ in range(2):
        assert pytest.main({arguments!r}) == 0
"""
    suite.write(outer=twice, test_it=CALLS)
    suite.plugins = ["no:pytest_braintrust"]
    ran = suite.run_off("outer.py")
    assert ran.status == 0, ran.out
    assert len(ran.experiments()) == (4 if flag == "on" else 0)
