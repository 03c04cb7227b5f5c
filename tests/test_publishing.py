"""What programs read of a run: JUnit XML, Markdown, JSON, GitHub's own."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import Suite
from test_comparison import written

SCORED = """\
import pytest

@pytest.fixture
def leaking():
    yield
    raise RuntimeError("late")

def test_two(bt_score):
    bt_score(scores={"exact": 0.25, "tone": None})
    bt_score(scores={"exact": 0.75})
def test_rows(bt_score):
    with bt_score.row("second turn") as row:
        row(scores={"exact": 1})
def test_failed(bt_score, record_property):
    record_property("own", "kept")
    assert 0
def test_leaking(bt_score, leaking): bt_score(scores={"exact": 0.5})
def test_plain(): pass
"""


def properties(path: Path) -> dict[str, dict[str, str]]:
    """By test, the properties in a file of JUnit XML."""
    cases = ET.parse(path).getroot().iter("testcase")
    return {
        str(case.get("name")): {
            str(each.get("name")): str(each.get("value"))
            for each in case.iter("property")
        }
        for case in cases
    }


def test_junit_xml_has_the_scores(suite: Suite, plugin_args: list[str]) -> None:
    """As properties of each test, beside those that the test records itself."""
    suite.write(test_it=SCORED).run("--junitxml=out.xml", *plugin_args)
    assert properties(suite.folder / "out.xml") == {
        "test_two": {"score.exact": "0.75", "score.pass": "1.0"},
        "test_rows": {
            "score.pass": "1.0",
            "score.second turn.exact": "1.0",
            "score.second turn.pass": "1.0",
        },
        "test_failed": {"own": "kept", "score.pass": "0.0"},
        "test_leaking": {"score.exact": "0.5"},
        "test_plain": {},
    }


def test_without_junit_xml_no_report_has_properties(suite: Suite) -> None:
    """Nor without our flag."""
    conftest = """\
def pytest_runtest_logreport(report): assert not report.user_properties
"""
    suite.write(test_it=written(1), conftest=conftest)
    assert suite.run().status == 0
    assert suite.run_off("--junitxml=out.xml").status == 0


def test_the_json_of_a_run_is_what_its_document_says(suite: Suite) -> None:
    """Every name that docs/machines.md lists, and no other."""
    suite.write(test_a=written(*[1] * 8)).run("--braintrust-experiment=monday")
    suite.write(test_a=written(*[0] * 8)).run(
        "--braintrust-json=out.json", "--braintrust-fail-under=exact=0.5"
    )
    told = json.loads((suite.folder / "out.json").read_text(encoding="utf-8"))
    (experiment,) = told["experiments"]
    assert told["format"] == 1
    assert told["tests"]["collected"] == 8
    assert told["gates"] == [
        {"state": "failed", "text": "exact is 0, 0.5 under 0.5"},
    ]
    assert experiment["scores"]["exact"] == {
        "mean": 0.0,
        "interval": [0.0, pytest.approx(0.369, abs=1e-3)],
        "tests": 8,
    }
    found = experiment["comparison"]
    assert (found["base"]["name"], found["base"]["how"]) == ("monday", "previous")
    assert (found["overall"], found["drifted"]) == ("worse", True)
    (exact,) = [each for each in found["measures"] if each["name"] == "exact"]
    assert (exact["verdict"], exact["tests_worse"]) == ("regressed", 8)
    assert found["worse"][0] == {
        "nodeid": "test_a.py::test_answer[0]",
        "row": "",
        "score": "exact",
        "then": 1.0,
        "now": 0.0,
    }
    document = Path(__file__).parents[1] / "docs" / "machines.md"
    listed = document.read_text(encoding="utf-8")
    assert names(told) <= {each for each in listed.split("`") if each}


def names(value: object) -> set[str]:
    """Every name in a document but those of scores and metrics."""
    if isinstance(value, list):
        return set().union(*map(names, value))
    if not isinstance(value, dict):
        return set()
    own = {each for each in value if each not in {"exact", "pass", "duration"}}
    return own.union(*map(names, value.values()))


def test_the_first_run_has_its_own_means_and_no_comparison(suite: Suite) -> None:
    """In Markdown and JSON; an existing file is written anew."""
    (suite.folder / "out.md").write_text("old")
    suite.write(test_a=written(1, 0)).run(
        "--braintrust-json=out.json", "--braintrust-markdown=out.md"
    )
    told = json.loads((suite.folder / "out.json").read_text(encoding="utf-8"))
    assert told["experiments"][0]["comparison"] is None
    text = (suite.folder / "out.md").read_text(encoding="utf-8")
    assert text.startswith("<!-- pytest-braintrust -->\n### ")
    assert "| exact | 0.500 | 0.095 … 0.905 | 2 |" in text
    assert "\nMetrics: duration " in text
    assert "No earlier run to compare with." in text


def test_markdown_tells_better_or_worse_first(suite: Suite) -> None:
    """Then the table, what it means, failed gates, and the tests in a fold."""
    suite.write(test_a=written(*[1] * 8)).run("--braintrust-experiment=monday")
    suite.write(test_a=written(*[0] * 8)).run(
        "--braintrust-markdown=out.md", "--braintrust-fail-on-regression"
    )
    lines = (suite.folder / "out.md").read_text(encoding="utf-8").splitlines()
    assert lines[3] == "🔴 **▼ worse: exact regressed**"
    assert lines[5] == "Compared with monday \\(previous run of this branch\\)."
    assert "- ❌ gate failed: exact regressed by 1 from 1 to 0" in "\n".join(lines)
    assert "<details><summary>8 with a lower score</summary>" in lines
    at = lines.index("- `test_a.py::test_answer[0]`: exact 1 → 0")
    assert lines[at + 1].startswith("  - input: `")


HOSTILE = """\
def test_it(bt_score):
    bt_score(output={output!r}, scores={{"a|b<i>@team": {score}}})
"""


def test_foreign_text_is_no_markdown(suite: Suite) -> None:
    """A name or an output ends no table, opens no tag and calls nobody."""
    first = HOSTILE.format(output="x", score=1)
    second = HOSTILE.format(output="`</details>` @team\n::error::x", score=0)
    suite.write(test_a=first).run()
    suite.environment["GITHUB_ACTIONS"] = "true"
    ran = suite.write(test_a=second).run("--braintrust-markdown=out.md")
    text = (suite.folder / "out.md").read_text(encoding="utf-8")
    assert "| a\\|b\\<i\\>@\u200bteam |" in text
    assert "`'</details>' @team`" in text
    commands = [line for line in ran.out.splitlines() if line.startswith("::")]
    assert len(commands) == 1
    assert commands[0].startswith("::warning file=test_a.py,line=1,title=a|b<i>@team 1")


SPENDING = """
import pytest
@pytest.fixture
def away(bt_score):
    bt_score(metrics={"tokens": 1_000, "cost": 0.5})
    raise OSError("model is away")
@pytest.mark.parametrize("n", [1, 2])
def test_it(bt_score, n):
    bt_score(metrics={"tokens": n * 1_000, "cost": n / 4, "tokens_per_second": n})
def test_errored(bt_score, away): pass
"""


def test_a_run_says_what_it_spent(suite: Suite, plugin_args: list[str]) -> None:
    """All rows count, for all were paid; a rate has no sum. `show` says the same."""
    files = ("--braintrust-json=out.json", "--braintrust-markdown=out.md")
    ran = suite.write(test_a=SPENDING).run(*plugin_args, *files)
    assert "\ntotals      tokens 4,000, cost 1.25\n" in ran.section
    told = json.loads((suite.folder / "out.json").read_text(encoding="utf-8"))
    assert told["experiments"][0]["totals"] == {"tokens": 4_000, "cost": 1.25}
    text = (suite.folder / "out.md").read_text(encoding="utf-8")
    assert "\n- totals: tokens 4,000, cost 1.25\n" in text
    shown = suite.cli("show")
    assert "\ntotals      tokens 4,000, cost 1.25\n" in shown.out


def test_a_first_run_s_markdown_names_the_lowest(suite: Suite) -> None:
    """With output and expected value, as code; a run beside another one does not."""
    text = """\
def test_it(bt_score):
    bt_score(output="Bern <b>", expected="Paris", scores={"exact": 0})
"""
    suite.write(test_a=text)
    first = suite.run("--braintrust-markdown=out.md")
    told = (suite.folder / "out.md").read_text(encoding="utf-8")
    assert (
        "<details><summary>passed tests with a score below 1: 1</summary>\n\n"
        "- `test_a.py::test_it`: exact 0\n"
        "  - output: `Bern <b>`, expected: `Paris`\n\n</details>\n"
    ) in told
    assert "output: Bern <b> | expected: Paris" in first.section
    other = suite.run("-q", "--braintrust-project=other")
    assert "below 1" not in other.out
    assert "below 1" not in suite.run("--braintrust-markdown=out.md").section
    assert "below 1" not in (suite.folder / "out.md").read_text(encoding="utf-8")


def test_a_comparison_says_what_both_runs_spent(
    suite: Suite, plugin_args: list[str]
) -> None:
    """Where they ran the same tests in one line, else of those in both in another."""
    suite.write(test_a=SPENDING).run("--braintrust-experiment=first")
    # With as many errors as it has, no run chooses it by itself.
    beside_it = (*plugin_args, "--braintrust-baseline=first")
    suite.write(test_a=SPENDING.replace("n / 4", "n").replace("1_000,", "1_001,"))
    files = ("--braintrust-json=out.json", "--braintrust-markdown=out.md")
    ran = suite.run(*beside_it, *files)
    assert "\ntotals      tokens 4,000 → 4,004, cost 1.25 → 3.5\n" in ran.section
    told = json.loads((suite.folder / "out.json").read_text(encoding="utf-8"))
    assert told["experiments"][0]["comparison"]["totals"] == {
        "tokens": {"then": 4_000, "now": 4_004},
        "cost": {"then": 1.25, "now": 3.5},
    }
    text = (suite.folder / "out.md").read_text(encoding="utf-8")
    assert "\n- totals: tokens 4,000 → 4,004, cost 1.25 → 3.5\n" in text
    beside = suite.cli("diff", "latest")
    assert "\ntotals    tokens 4,000 → 4,004, cost 1.25 → 3.5\n" in beside.out
    part = suite.run("-k", "test_it", *beside_it)
    assert (
        "\ntotals      tokens 3,003, cost 3\n"
        "            of the 2 tests in both runs: tokens 3,000 → 3,003, cost 0.75 → 3\n"
    ) in part.section


def test_github_can_be_told_nothing(suite: Suite) -> None:
    """By option or ini; and outside of GitHub nothing is written."""
    summary = suite.folder / "summary.md"
    suite.environment |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    suite.write(test_a=written(1)).run()
    suite.write(test_a=written(0))
    ran = suite.run("--braintrust-no-github")
    assert "::warning" not in ran.out
    suite.ini("braintrust_no_github = true")
    suite.run()
    assert summary.read_text(encoding="utf-8").count("###") == 1
    suite.ini()
    ran = suite.run("--braintrust-fail-under=exact=1")
    assert "::error title=braintrust gate::exact is 0, 1 under 1" in ran.out


@pytest.mark.parametrize(
    "option", ["--braintrust-markdown", "--braintrust-json", "--braintrust-html"]
)
def test_a_file_that_cannot_be_written_is_told_before_the_run(
    suite: Suite, option: str
) -> None:
    """And one that turns bad while tests run is a warning at the end."""
    ran = suite.write(test_a=written(1)).run(f"{option}=none/out")
    assert ran.status == 4
    assert f"{option}: 'none/out' is no file in a folder that exists" in ran
    breaking = "import shutil\ndef test_a(bt_score): shutil.rmtree('gone')\n"
    (suite.folder / "gone").mkdir()
    ran = suite.write(test_a=breaking).run(f"{option}=gone/out")
    assert ran.status == 0
    assert "cannot write" in ran.section


def test_the_ini_file_may_name_files(suite: Suite) -> None:
    """Relative to pytest's root, wherever it is started; the command line goes first."""
    (suite.folder / "within").mkdir()
    suite.ini("braintrust_json = own.json", "braintrust_html = own.html")
    suite.write(test_a=written(1)).run(
        "--braintrust-html=out.html", "..", within="within"
    )
    assert (suite.folder / "own.json").is_file()
    assert (suite.folder / "within" / "out.html").is_file()
    assert not (suite.folder / "own.html").exists()
    suite.ini("braintrust_json = none/own.json")
    ran = suite.run()
    assert ran.status == 4
    assert "ini braintrust_json: 'none/own.json' is no file in a folder" in ran
