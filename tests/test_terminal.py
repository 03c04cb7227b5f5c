"""The `braintrust` section says what came of the run, in every mode and width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from dataclasses import replace
from typing import Any

import fake_braintrust as fake
import pytest
from conftest import Suite
from fake_braintrust import FakeBraintrust, Fault
from fake_braintrust.wire import Exchange

from pytest_braintrust.reports import markdown, terminal
from pytest_braintrust.reports.run import ExperimentReport, RunReport, Upload
from pytest_braintrust.store.reading import RowCounts, ScoreSummary

EVERYTHING = """\
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no database")

@pytest.mark.parametrize("n", range(8))
def test_model(bt_score, n):
    if n == 3:
        assert n == 4
    if n == 5:
        return bt_score(output=n, scores={"exact": None})
    scores = {"exact": n % 2, "confidence in the answer": 0.25}
    bt_score(output=n, scores=scores, metrics={"cost": 0.002})
def test_errored(bt_score, broken): pass
def test_skipped(bt_score): pytest.skip("later")
@pytest.mark.xfail
def test_xfailed(bt_score):
    bt_score(output=1)
    assert False
def test_another(): pass
"""
PASSING = "def test_it(bt_score): bt_score(output=1, scores={'exact': 1})\n"
BRAINTRUST = "=================================== braintrust ==="


def test_the_section_in_full(suite: Suite, plugin_args: list[str]) -> None:
    """Means with their counts, what has no score and why, tests, rows and the store."""
    ran = suite.write(test_it=EVERYTHING).run(
        "--braintrust-experiment=monday", "--braintrust-project=atlas", *plugin_args
    )
    assert ran.status == 1
    section = re.sub(r"(?m)(?<=duration )[\d.]+ (m|µ)?s$", "…", ran.section)
    assert section == (
        "experiment  monday in project atlas\n"
        "  score                       mean    rows\n"
        "  exact                      0.333       6\n"
        "  confidence in the answer   0.250       6\n"
        "  pass                       0.875       8\n"
        "metrics     cost 0.002, duration …\n"
        "passed tests with a score below 1: the lowest 3 of 6\n"
        "  test_it.py::test_model[0]  exact 0, confidence in the answer 0.25\n"
        "    output: 0\n"
        "  test_it.py::test_model[2]  exact 0, confidence in the answer 0.25\n"
        "    output: 2\n"
        "  test_it.py::test_model[4]  exact 0, confidence in the answer 0.25\n"
        "    output: 4\n"
        "totals      cost 0.012\n"
        "unscored    4 of 10 rows got no score; by outcome: 1 passed, 1 failed, "
        "1 errored, 1 xfailed\n"
        "tests       12 collected = 8 passed + 1 failed + 1 errored + 1 skipped + "
        "1 xfailed\n"
        "rows        10 recorded, kept here; no BRAINTRUST_API_KEY is set\n"
        "store       .braintrust"
    )


def test_quiet_runs_say_it_in_two_lines(suite: Suite) -> None:
    """And where pytest says nothing but failures, neither do we."""
    suite.write(test_it=PASSING)
    quiet = suite.run("-q").out.splitlines()
    at = [i for i, line in enumerate(quiet) if line.startswith("braintrust: ")]
    assert [quiet[i] for i in at] == [
        "braintrust: exact 1.000, pass 1.000",
        "braintrust: 1 recorded, kept here; no BRAINTRUST_API_KEY is set; .braintrust",
    ]
    assert "== braintrust ==" not in "\n".join(quiet)
    assert "braintrust" not in suite.run("-qq").out


def test_other_verbosities_have_the_section(suite: Suite) -> None:
    """More words from pytest, no header of it, another folder to start from."""
    suite.write(test_it=PASSING)
    for more in (["-v"], ["-vv"], ["--no-header"], ["--tb=no", "-rA"]):
        assert "1 recorded" in suite.run(*more).section


@pytest.mark.parametrize("mode", ["--braintrust-no-summary", "-qq", "-q"])
def test_what_went_wrong_is_said_in_every_mode(suite: Suite, mode: str) -> None:
    """A row that is not in the store, and a hook that failed, are never kept quiet."""
    conftest = """\
import pytest, sqlite3
@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    with sqlite3.connect(session.config.rootpath / ".braintrust/store.sqlite3") as store:
        store.execute("DELETE FROM rows WHERE nodeid LIKE '%lost%'")
def pytest_braintrust_row(row):
    if "raises" in row["metadata"]["pytest"]["nodeid"]:
        raise KeyError("secret")
"""
    tests = "def test_lost(bt_score): pass\ndef test_raises(bt_score): pass\n"
    ran = suite.write(test_it=tests, conftest=conftest).run(mode)
    assert "braintrust: MISSING: 1 of 2 rows are not in the store" in ran
    assert (
        "braintrust: the hook pytest_braintrust_row raised KeyError at conftest.py:8 "
        "for test_it.py::test_raises: kept" in " ".join(ran.out.split())
    )
    assert "== braintrust ==" not in ran
    assert "secret" not in ran


def test_without_the_terminal_plugin_nothing_is_printed(suite: Suite) -> None:
    """And the rows are kept."""
    ran = suite.write(test_it=PASSING).run("-p", "no:terminal")
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    assert len(ran.rows()) == 1


def test_nothing_recorded_is_explained(suite: Suite) -> None:
    """Either no test asked for it, or none ran."""
    suite.write(test_it="def test_it(): pass\n")
    ran = suite.run()
    assert ran.section == (
        "nothing recorded: use bt_score, the marker braintrust or --braintrust-all\n"
        "tests       1 collected = 1 passed"
    )
    ran = suite.run("-k", "nothing", "-q")
    assert "braintrust: nothing recorded: no test ran" in ran


def test_tests_that_could_not_be_collected_are_told(
    suite: Suite, plugin_args: list[str]
) -> None:
    """The sum of the tests does not pretend to be all of them."""
    suite.write(test_it=PASSING, test_broken="import nothing_of_that_name\n")
    ran = suite.run("--continue-on-collection-errors", *plugin_args)
    told = "tests       1 collected = 1 passed; 1 more not collected: see the errors"
    assert told in ran.section


def test_a_run_of_several_projects_has_a_table_each(suite: Suite) -> None:
    """One experiment for each project that a marker names."""
    text = "import pytest\n" + "\n".join(
        f"@pytest.mark.braintrust(project='{name}')\n"
        f"def test_{name}(bt_score): bt_score(scores={{'of {name}': 1}})"
        for name in ("atlas", "birds")
    )
    ran = suite.write(test_it=text).run("--braintrust-experiment=monday")
    assert "experiment  monday in project atlas\n  score  " in ran.section
    assert "experiment  monday in project birds\n  score  " in ran.section
    assert "  of birds     1.000       1" in ran.section
    assert "rows        2 recorded" in ran.section
    quiet = suite.run("-q")
    assert "braintrust: birds: of birds 1.000, pass 1.000" in quiet


def test_a_link_is_shown_for_rows_that_arrived(
    suite: Suite, server: FakeBraintrust
) -> None:
    """And none where not one did: the command that sends them is named instead."""
    suite.write(test_it=PASSING).sends_to(server)
    shown = suite.run("--braintrust-experiment=two").section
    assert re.search(
        rf"(?m)^page        {re.escape(server.app_url)}/app/\S+/two$", shown
    )
    assert "1 recorded = 1 sent + 0 pending" in shown
    server.faults.add(Fault(fake.answer(503), path="/insert", times=None))
    for mode in ("-v", "-q", "--braintrust-no-summary"):
        ran = suite.run("--braintrust-flush-timeout=0.1", mode)
        assert ran.status == 0
        assert "1 row pending, kept; send with: pytest-braintrust push" in ran
        assert "/app/" not in ran
        if mode != "--braintrust-no-summary":
            assert "1 recorded = 0 sent + 1 pending" in ran


STRANGE = {
    "escapes": "\x1b[2Jred\x1b]0;owned\x07",
    "lines": "a\nb\r\nc\u2028d",
    "turned": "abc\u202edef",
    "long": "x" * 10_000,
    "wide": "日本語" * 3,
}
STRANGE_TESTS = f"""\
import pytest
NAMES = {STRANGE!r}
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_it(bt_score, name):
    bt_score(output=1, scores={{name: 1}})
@pytest.mark.braintrust(project=NAMES["escapes"] + NAMES["lines"] + NAMES["long"])
def test_project(): pass
"""


def test_names_cannot_harm_the_terminal(suite: Suite) -> None:
    """No escape sequence, line break or 10,000 characters of them reach it."""
    name = STRANGE["escapes"] + STRANGE["lines"] + STRANGE["long"]
    suite.environment["COLUMNS"] = "80"
    suite.write(test_it=STRANGE_TESTS)
    for mode in ("-v", "-q"):
        ran = suite.run(
            f"--braintrust-experiment={name}", mode, "-p", "no:cacheprovider"
        )
        assert ran.status == 0
        assert not re.search("[\x1b\x07\x9b\u2028\u202e\r]", ran.out)
        ours = ran.section if mode == "-v" else ran.out
        assert max(len(line) for line in ours.splitlines()) < 150
    assert len(ran.rows()) == 2 * 6


def test_a_link_that_nobody_could_follow_is_not_shown(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Only programs are given it, whole: a part of it would lead nowhere."""

    def longer(told: dict[str, Any]) -> dict[str, Any]:
        return {**told, "experiment_url": told["experiment_url"] + "x" * 10_000}

    lengthened = Fault(fake.changed(longer), path="/summarize", times=None)
    server.faults.add(lengthened)
    suite.write(test_it=PASSING).sends_to(server)
    shown = suite.run().section
    assert "page        its address is too long to show: 10," in shown
    assert "its address is too long to show: 10," in suite.cli("show", "latest")
    server.faults.add(Fault(fake.answer(503), path="/insert", times=None))
    suite.run("--braintrust-flush-timeout=0.1")
    server.faults.clear()
    server.faults.add(lengthened)
    assert "  its address is too long to show: 10," in suite.cli("push")
    quiet = suite.run("-q")
    assert "1 sent + 0 pending; its address is too long to show: 10," in quiet
    for said in (shown, quiet, suite.cli("show", "latest"), suite.cli("list")):
        assert "xxxx" not in said
    assert "x" * 10_000 in suite.cli("show", "latest", "--json")


def test_a_table_of_names_lines_up(suite: Suite) -> None:
    """The numbers stand below each other, also beside names of wide characters."""
    ran = suite.write(test_it=STRANGE_TESTS).run("-k", "wide or escapes")
    assert "  日本語日本語日本語   1.000       1" in ran.section
    assert "   [2Jred ]0;owned     1.000       1" in ran.section


def report(*, upload: Upload = "sent", name: str = "n", pending: int = 0) -> RunReport:
    """A report as large as they come."""
    outcomes = ("passed", "xpassed", "failed", "errored", "skipped", "xfailed")
    scores = [ScoreSummary(f"{each} of the answer", 0.5, 12_345) for each in outcomes]
    rows = RowCounts(123_456, 123_456 - pending, min(1, pending))
    each = ExperimentReport(
        project="language identification",
        name=name,
        scores=tuple(scores),
        rows=rows,
        unscored=dict.fromkeys(outcomes, 1_234),
        url="https://www.braintrust.dev/app/an-organisation/p/language%20identification"
        "/experiments/feature-a-name-of-a-branch-90d0498-20261125-101500",
        upload_error="the server at https://api.braintrust.dev answered 503, and said "
        "so four times: it is not available at the moment, for reasons of its own",
    )
    tests = dict.fromkeys((*outcomes, "collected", "not_run", "uncollected"), 123_456)
    return RunReport(
        experiments=(each,),
        tests=tests,
        store="examples/.braintrust",
        upload=upload,
        recorded=123_456,
        problems=("the disk is full: " + "words and " * 20,),
    )


def test_rows_that_no_store_has_are_not_called_unrecorded() -> None:
    """Where the Markdown has no experiment to show, in the terminal they are missing."""
    lost = replace(report(), experiments=())
    assert "### Braintrust: no row of this run is in the store\n" in markdown.render(
        lost
    )
    text = [line.text for line in terminal.render(lost, width=80)]
    assert "MISSING: 123456 of 123456 rows are not in the store" in text


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_text_fits_the_width_and_nothing_is_cut(width: int, quiet: object) -> None:
    """Long lines are broken between words; addresses and commands stay whole."""
    name = "feature-a-name-of-a-branch-90d0498-20261125-101500"
    large = report(name=name, pending=3_456)
    lines = terminal.render(large, width=width, quiet=bool(quiet))
    for line in lines:
        longest = max(map(len, line.text.split()))
        assert len(line.text) <= max(width, longest + 12), line
    text = re.sub(r"\s+", " ", " ".join(line.text for line in lines))
    assert "…" not in text or width == 40
    assert "123456 recorded = 120000 sent + 3456 pending" in text
    assert quiet or "7,404 of 123,456 rows got no score" in text
    assert "3,456 rows pending, kept; send with: pytest-braintrust push" in text
    assert str(large.experiments[0].url) in text
    assert "the disk is full" in text
    assert quiet or f"{name} in project language identification" in text
    assert quiet or "123456 more not collected: see the errors" in text


@pytest.mark.parametrize("upload", ["sent", "no key", "not asked"])
def test_at_80_columns_the_usual_section_needs_no_second_lines(upload: Upload) -> None:
    """A run with six figures of rows, named after a branch, in 80 columns."""
    usual = report(upload=upload, name="main-90d0498-20261125-101500")
    lines = [line.text for line in terminal.render(usual, width=80)]
    heads = [line.split()[0] for line in lines if not line.startswith("  ")]
    assert heads[:4] == ["experiment", "unscored", "tests", "rows"]
    assert len([line for line in lines if line.startswith("rows")]) == 1
    assert all(len(line) <= 80 for line in lines if "://" not in line)


def test_colour_is_as_pytest_was_asked(suite: Suite) -> None:
    """`--color=yes` has it, `NO_COLOR` and a file have none."""
    suite.write(test_it=EVERYTHING)
    ran = suite.run("--color=yes")
    assert re.search(r"\x1b\[1mexperiment  [^\x1b]+\x1b\[0m", ran.out)
    assert re.search(r"\x1b\[33munscored  [^\x1b]+\x1b\[0m", ran.out)
    assert "\x1b" not in suite.run().out
    suite.environment.update(
        NO_COLOR="1", FORCE_COLOR="", GITHUB_ACTIONS="true", CI="1"
    )
    assert "\x1b" not in suite.run().out


def in_a_terminal(suite: Suite, *arguments: str, columns: int = 80) -> str:
    """Run pytest in a terminal of its own; answers all that was written to it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**suite.env(), "TERM": "xterm"}
    environment.pop("COLUMNS")
    process = subprocess.Popen(
        suite.command("--braintrust", *arguments),
        cwd=suite.folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:
        pass  # how Linux says that the other side was closed
    os.close(ours)
    assert process.wait(60) == 0, written.decode()
    return written.decode()


def slowly(exchange: Exchange) -> None:
    """Let a person see that something is on its way."""
    time.sleep(0.5)
    exchange.send(exchange.apply())


def test_a_terminal_shows_rows_on_their_way(
    suite: Suite, server: FakeBraintrust
) -> None:
    """A bar while the end of the run waits, gone when it is over; a file has none."""
    server.faults.add(Fault(slowly, path="/insert", times=None))
    suite.write(test_it=PASSING).sends_to(server)
    shown = in_a_terminal(suite)
    assert re.search(r"\[100%\][^\r\n]*\r\n\rbraintrust: sending \[", shown)
    last = shown.rindex("braintrust: sending [")
    assert re.search(r"\r *\r", shown[last:])
    assert "1 recorded = 1 sent + 0 pending" in shown[last:]
    assert "sending" not in suite.run().out
    assert "sending" not in in_a_terminal(suite, "-q")
