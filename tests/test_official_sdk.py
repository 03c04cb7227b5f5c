"""Where the official SDK is installed, its pytest plugin and ours get along.

Everything here runs with the real `braintrust` package.
"""

from __future__ import annotations

import pytest
from conftest import XDIST, Suite, needs
from fake_braintrust import FakeBraintrust

OURS, SDK = "pytest_braintrust.plugin", "braintrust.wrappers.pytest_plugin.plugin"

#: Entry point names given by `-p` are loaded before the other entry points.
ORDERS = {
    "entry points": (True, []),
    "entry points, ours first": (True, ["pytest_braintrust", "braintrust"]),
    "entry points, the SDK's first": (True, ["braintrust", "pytest_braintrust"]),
    "by -p, ours first": (False, [OURS, SDK]),
    "by -p, the SDK's first": (False, [SDK, OURS]),
}

#: As somebody writes it who has the SDK and has never heard of us.
GEOGRAPHY = """\
import pytest
from braintrust.span_types import SpanTypeAttribute

pytestmark = pytest.mark.braintrust

@pytest.mark.braintrust(
    input={"q": "France"}, expected="Paris", tags=["geo"], metadata={"model": "m1"}
)
def test_marked(braintrust_span):
    braintrust_span.log(output="Paris", scores={"exact": 1, "pass": 0.5})
    braintrust_span.log(metadata={"turns": 2}, metrics={"tokens": 12})

@pytest.mark.parametrize("question", ["Italy", "Spain"])
def test_parameters(question, braintrust_span):
    braintrust_span.log(inputs=question, output=None, created="today")

def test_span(braintrust_span):
    with braintrust_span.start_span("find", type=SpanTypeAttribute.TOOL) as found:
        found.log(input="q", output=["a", "b"], scores={"recall": 0.5})
        with found.start_span("rank") as ranked:
            ranked.log(output="a")
    with pytest.raises(ZeroDivisionError):
        with braintrust_span.start_span(name="find", parent="") as again:
            1 / 0
    braintrust_span.set_attributes(name="geography", type="task")
    braintrust_span.log_feedback(scores={"liked": True}, comment="nice")
    with braintrust_span as span:
        span.set_current()
        assert isinstance(span.id, str) and isinstance(span.name, str)
        assert isinstance(span.export(), str) and isinstance(span.link(), str)
        assert span.inject({"a": "b"})["a"] == "b"
        span.unset_current()
        span.flush()
    assert span.end(4_000_000_000.0) and span.close()
"""
WRONG = """\
import pytest

@pytest.mark.braintrust(project="atlas")
def test_wrong(braintrust_span):
    with pytest.raises(ValueError):
        braintrust_span.log(output="kept?", scores={"exact": 2})
    with pytest.raises(ValueError):
        braintrust_span.start_span("inner").log(scores={"exact": "1"})
"""
IN_CHARGE = f"""\
def pytest_collection_finish(session):
    plugins = session.config.pluginmanager.get_plugins()
    modules = {{getattr(each, "__name__", "") for each in plugins}}
    assert {OURS!r} in modules and {SDK!r} not in modules
def pytest_runtest_teardown(item):
    span = item.funcargs.get("braintrust_span")
    assert span is None or type(span).__module__ == "pytest_braintrust.span"
"""


@pytest.fixture(params=ORDERS, ids=str)
def both(suite: Suite, request: pytest.FixtureRequest) -> Suite:
    """A suite for the SDK's plugin, with both plugins loaded in one order."""
    suite.autoload, suite.plugins = ORDERS[request.param]
    suite.ini("addopts = --strict-markers")
    return suite.write(test_geo=GEOGRAPHY, test_wrong=WRONG, conftest=IN_CHARGE)


def test_pytest_starts_with_the_flag_off(both: Suite) -> None:
    """Ours is in charge, its marker is known, and nothing is kept."""
    ran = both.run_off()
    assert ran.status == 0, ran.out + ran.err
    assert "5 passed" in ran
    assert not ran.store.exists()


def test_one_experiment_under_xdist(both: Suite, server: FakeBraintrust) -> None:
    """Two workers and two modules make one experiment for each project named."""
    needs(XDIST)
    if not both.autoload:
        both.with_plugins(XDIST)
    both.environment["BRAINTRUST_API_URL"] = server.url
    ran = both.run(
        "-n2",
        f"--braintrust-api-key={server.api_key}",
        "--braintrust-project=countries",
        "--braintrust-experiment=monday",
    )
    assert ran.status == 0, ran.out + ran.err
    (experiment,) = server.experiments
    assert experiment["name"] == "monday"
    assert [each["name"] for each in server.projects] == ["countries"]
    rows = [e for e in server.rows(experiment["id"]) if not e["span_parents"]]
    assert len(rows) == 5
    assert "monday in project countries" in ran.section
    assert "5 recorded = 5 sent + 0 pending" in ran.section


def test_rows_say_what_the_span_was_told(suite: Suite) -> None:
    """Marker keywords, `log` and the span's other calls are in the row."""
    ran = suite.write(test_geo=GEOGRAPHY).run()
    assert ran.status == 0, ran.out
    row = ran.row("test_marked")
    assert (row["input"], row["expected"]) == ({"q": "France"}, "Paris")
    assert (row["output"], row["tags"]) == ("Paris", ["geo"])
    assert row["scores"] == {"exact": 1.0, "pass": 1.0}
    assert row["metadata"]["model"] == "m1"
    assert row["metadata"]["turns"] == 2
    assert row["metrics"]["tokens"] == 12
    row = ran.row("test_parameters[Italy]")
    assert (row["input"], row["metadata"]["created"]) == ("Italy", "today")
    row = ran.row("test_span")
    assert row["scores"] == {"liked": 1.0, "pass": 1.0}
    assert row["span_attributes"] == {"name": "test_span", "type": "eval"}
    assert row["metrics"]["end"] > row["metrics"]["start"]
    assert row["metadata"]["feedback"] == {"comment": "nice"}
    assert row["metadata"]["span_attributes"] == {"name": "geography", "type": "task"}
    find, rank, again = row["metadata"]["pytest"]["spans"]
    assert (find["input"], find["scores"]) == ("q", {"recall": 0.5})
    assert find["span_attributes"] == {"type": "tool", "name": "find"}
    assert find["span_parents"] == [row["span_id"]] == again["span_parents"]
    assert find["metrics"]["end"] >= find["metrics"]["start"]
    assert (rank["output"], rank["span_parents"]) == ("a", [find["span_id"]])
    assert "ZeroDivisionError" in again["error"]


def test_a_marker_names_the_project(suite: Suite, server: FakeBraintrust) -> None:
    """As with the SDK's plugin, and the option of that name goes before it."""
    suite.write(test_wrong=WRONG).sends_to(server)
    assert suite.run().status == 0
    assert suite.run("--braintrust-project=all").status == 0
    names = {each["id"]: each["name"] for each in server.projects}
    used = sorted(names[each["project_id"]] for each in server.experiments)
    assert used == ["all", "atlas"]


def test_no_summary_keeps_quiet(suite: Suite) -> None:
    """The fifth of the SDK's options: the rows are kept, and nothing is said."""
    ran = suite.write(test_geo=GEOGRAPHY).run("--braintrust-no-summary")
    assert ran.status == 0
    assert "== braintrust ==" not in ran
    assert len(ran.rows()) == 4


KEY = """\
import os
def test_key(): assert os.environ["BRAINTRUST_API_KEY"] == "sk-of-the-option"
"""


@pytest.mark.parametrize("xdist", [(), ("-p", "xdist", "-n1")], ids=str)
def test_the_sdk_has_the_key_of_the_option(suite: Suite, xdist: list[str]) -> None:
    """What tests call by the SDK is authorised, as it was by its plugin."""
    suite.environment["BRAINTRUST_API_KEY"] = "sk-of-the-variable"
    ran = suite.write(test_key=KEY).run(
        "--braintrust-api-key=sk-of-the-option", "--braintrust-no-upload", *xdist
    )
    assert ran.status == 0, ran.out


THEIRS = f"""\
def pytest_collection_finish(session):
    assert session.config.pluginmanager.has_plugin("braintrust")
    assert not session.config.pluginmanager.has_plugin({OURS!r})
def pytest_runtest_teardown(item):
    span = item.funcargs.get("braintrust_span")
    assert span is None or type(span).__module__ == "braintrust.logger"
"""


def test_the_sdk_s_plugin_comes_back(suite: Suite) -> None:
    """`-p no:pytest_braintrust`: its help is there again, its fixture is its own.

    And the suites above are suites that pass with it.
    """
    suite.autoload, suite.plugins = True, ["no:pytest_braintrust"]
    ran = suite.write(test_geo=GEOGRAPHY, conftest=THEIRS).run_off()
    assert ran.status == 0, ran.out
    assert "4 passed" in ran
    shown = suite.run_off("--help").out
    assert "Enable Braintrust experiment tracking" in shown
    assert "--braintrust-api-url" not in shown


def test_who_blocks_the_sdk_s_plugin_asks_for_ours(suite: Suite) -> None:
    """pytest takes `-p no:braintrust` for `no:pytest_braintrust` too: `-p` undoes it."""
    suite.autoload, suite.plugins = True, ["no:braintrust", "pytest_braintrust"]
    ran = suite.write(test_geo=GEOGRAPHY).run("--collect-only", "-q")
    assert ran.status == 0, ran.out + ran.err
