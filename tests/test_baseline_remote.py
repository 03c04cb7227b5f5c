"""A run finds its baseline on Braintrust where the store has none, by the same rules."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time

import fake_braintrust as fake
import pytest
from conftest import Ran, Suite
from fake_braintrust import FakeBraintrust, Fault
from fake_braintrust.wire import Exchange
from test_comparison import written
from test_delivery import wait_until

from pytest_braintrust.api import BraintrustClient


def elsewhere(suite: Suite) -> None:
    """Take away the store, as on another machine."""
    shutil.rmtree(suite.folder / ".braintrust")


def run_elsewhere(suite: Suite, *arguments: str, **tests: str) -> Ran:
    """A run of which Braintrust has all and this machine nothing."""
    ran = suite.write(**tests).run(*arguments)
    elsewhere(suite)
    return ran


def test_the_previous_run_is_found_and_compared_with(
    suite: Suite, server: FakeBraintrust, plugin_args: list[str]
) -> None:
    """Its rows are here at the end, and the new run's page compares with it too."""
    suite.sends_to(server)
    run_elsewhere(suite, "--braintrust-experiment=monday", test_a=written(*[1] * 8))
    ran = suite.write(test_a=written(*[0] * 8)).run(*plugin_args)
    assert ran.status == 0, ran.out
    assert "baseline    monday (previous run of this branch)" in ran.section
    assert "verdict     ▼ worse: exact regressed" in ran.section
    monday, later = server.experiments
    assert later["base_exp_id"] == monday["id"]
    here = {each["name"]: each for each in ran.experiments()}
    assert here[later["name"]]["base"] == here["monday"]["id"]
    assert len(ran.rows()) == 16
    # The next run has it in the store, and asks no more.
    asked = len(server.requests)
    again = suite.run()
    assert "baseline    monday" not in again.section
    more = [each for each in server.requests[asked:] if each.method == "GET"]
    assert not [each for each in more if "project_name" in each.query]


def test_the_nearest_commits_run_is_found(suite: Suite, server: FakeBraintrust) -> None:
    """By what the experiments on Braintrust say of their commits."""

    def git(*arguments: str) -> None:
        name = ("-c", "user.name=n", "-c", "user.email=e@example.com")
        command = ["git", *name, "-c", "commit.gpgsign=false", *arguments]
        subprocess.run(command, cwd=suite.folder, check=True, capture_output=True)

    suite.sends_to(server).write(test_a=written(1))
    git("init", "-q", "-b", "main")
    git("add", "test_a.py")
    git("commit", "-q", "-m", "one")
    run_elsewhere(suite, "--braintrust-experiment=of-main")
    git("checkout", "-q", "-b", "topic")
    git("commit", "-q", "--allow-empty", "-m", "two")
    ran = suite.run()
    assert "baseline    of-main (nearest ancestor commit)" in ran.section


def test_a_run_is_found_by_name_and_a_misspelt_one_is_not(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The misspelt name ends the run before its first test."""
    suite.sends_to(server)
    for name in ("monday", "tuesday"):
        run_elsewhere(suite, f"--braintrust-experiment={name}", test_a=written(1))
    found = suite.run("--braintrust-baseline=monday")
    assert "baseline    monday (by name)" in found.section
    elsewhere(suite)
    wrong = suite.run("--braintrust-baseline=mondey")
    assert wrong.status == 4
    assert "--braintrust-baseline: there is no experiment mondey; close" in wrong.err
    assert wrong.experiments() == []
    none = suite.run("--braintrust-baseline=main")
    assert (none.status, "baseline    none: main has" in none.section) == (0, True)


def test_a_run_that_is_here_and_cannot_be_used_is_not_looked_for(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The same words would mean another run there."""
    suite.sends_to(server)
    run_elsewhere(suite, "--braintrust-experiment=there", test_a=written(1))
    stopped = (
        "def test_a(bt_score): bt_score(scores={'e': 1})\n"
        "def test_b(): raise KeyboardInterrupt\n"
    )
    kept = ("--braintrust-no-upload", "--braintrust-experiment=stopped")
    suite.run("--braintrust-experiment=before", "--braintrust-no-upload")
    suite.write(test_a=stopped).run(*kept)
    wrong = suite.run("--braintrust-baseline=latest~0")
    assert wrong.status == 4
    assert "latest~0 is stopped, which is no baseline" in wrong.err
    ran = suite.run("--braintrust-baseline=latest")
    assert "baseline    before (by name; stopped is no baseline" in ran.section


def test_runs_that_did_not_end_are_none(suite: Suite, server: FakeBraintrust) -> None:
    """Nor those that were stopped; what a run's end was is told to Braintrust."""
    suite.sends_to(server)
    stopped = (
        "def test_a(bt_score): bt_score(scores={'e': 1})\ndef test_b(): assert 0\n"
    )
    more = "def test_c(bt_score): pass\n"
    run_elsewhere(suite, "-x", test_a=stopped + more)
    interrupted = stopped.replace("assert 0", "raise KeyboardInterrupt")
    run_elsewhere(suite, test_a=interrupted + more)
    ended = [each["metadata"]["exit_status"] for each in server.experiments]
    assert ended == [1, 2]
    assert "baseline" not in suite.write(test_a=written(1)).run().section


def test_a_run_that_failed_its_gates_is_none_by_its_place(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Or a gate that failed would pass the next time; by its name it can be."""
    suite.sends_to(server)
    gate = "--braintrust-max-drop=exact=0.1"
    run_elsewhere(suite, "--braintrust-experiment=good", test_a=written(*[1] * 8))
    bad = suite.write(test_a=written(*[0] * 8)).run(gate, "--braintrust-experiment=bad")
    assert bad.status == 1
    elsewhere(suite)
    again = suite.run(gate)
    assert again.status == 1
    assert "baseline    good (previous run of this branch)" in again.section
    elsewhere(suite)
    named = suite.run(gate, "--braintrust-baseline=bad")
    assert (named.status, "baseline    bad (by name)" in named.section) == (0, True)


def test_a_run_that_was_pushed_late_is_not_the_previous_one(
    suite: Suite, server: FakeBraintrust
) -> None:
    """It is as old as it is, also where it is looked for on Braintrust."""
    suite.sends_to(server).write(test_a=written(1))
    suite.run("--braintrust-experiment=late", "--braintrust-no-upload")
    suite.run("--braintrust-experiment=newer")
    suite.cli("push", "late")
    assert [each["name"] for each in server.experiments] == ["newer", "late"]
    elsewhere(suite)
    assert "baseline    newer (previous run" in suite.run().section


GATED = ("--braintrust-fail-on-regression", "--braintrust-require-baseline")


def test_a_run_whose_rows_are_not_there_is_none(
    suite: Suite, server: FakeBraintrust
) -> None:
    """It has no end on Braintrust before its rows are there, as by a later push."""
    suite.sends_to(server)
    run_elsewhere(suite, "--braintrust-experiment=good", test_a=written(*[1] * 8))
    server.faults.add(Fault(fake.busy(429, 3600), path=r"/insert$", times=None))
    suite.write(test_a=written(*[0] * 8))
    late = suite.run("--braintrust-experiment=late", "--braintrust-flush-timeout=5")
    assert "0 sent + 8 pending" in late.section
    kept = suite.folder.rename(suite.folder.with_name("kept"))
    suite.folder.mkdir()
    server.faults.clear()
    gated = suite.write(test_a=written(*[0] * 8)).run(*GATED)
    assert "baseline    good (previous run of this branch)" in gated.section
    assert gated.status == 1
    shutil.rmtree(suite.folder)
    kept.rename(suite.folder)
    assert suite.cli("push").status == 0
    elsewhere(suite)
    assert "baseline    late (previous run" in suite.run(*GATED).section


def test_a_run_of_which_many_rows_were_refused_is_none(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Those that are there are a part of it, which no run is compared with."""
    suite.sends_to(server)
    run_elsewhere(suite, "--braintrust-experiment=good", test_a=written(*[1] * 8))
    refused = fake.answer(400, {"message": "a row that is none"})
    for_one = Fault(
        refused, path="/insert$", when=lambda r: b"[7" in r.body, times=None
    )
    server.faults.add(for_one)
    part = suite.write(test_a=written(*[0] * 8)).run("--braintrust-experiment=part")
    assert "7 sent + 1 pending" in part.section
    server.faults.clear()
    elsewhere(suite)
    assert "baseline    good (previous run of this branch)" in suite.run(*GATED).section


def test_an_experiment_without_rows_is_none(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient
) -> None:
    """As the SDK leaves one where it was killed; nor is it one that was pulled."""
    suite.sends_to(server)
    run_elsewhere(suite, "--braintrust-experiment=good", test_a=written(*[1] * 8))
    client.create_experiment(server.projects[0]["id"], "empty")
    suite.write(test_a=written(*[0] * 8))
    named = suite.run("--braintrust-baseline=empty")
    assert named.status == 4
    assert "empty is no baseline: it has no rows" in named.err
    for _ in range(2):
        gated = suite.run(*GATED)
        assert "baseline    good (previous run of this branch)" in gated.section
        assert gated.status == 1
        elsewhere(suite)
        assert suite.cli("pull", "suite/empty").status == 0
        assert suite.cli("pull", "suite/good").status == 0


def test_that_a_run_ended_is_told_again_where_it_was_not_heard(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Or one busy moment would leave a run that nothing can be compared with."""
    fault = Fault(fake.busy(503), method="PATCH", times=2)
    server.faults.add(fault)
    suite.sends_to(server)
    run_elsewhere(suite, "--braintrust-experiment=monday", test_a=written(1))
    assert fault.struck == 2
    assert "baseline    monday (previous run" in suite.run().section


def test_what_the_sdk_made_can_be_a_baseline(
    suite: Suite, server: FakeBraintrust
) -> None:
    """It says nothing of its end, and its cases are known by their input."""
    suite.sends_to(server)
    run_elsewhere(suite, test_a=written(*[1] * 8))
    (first,) = server.experiments
    with server.state.lock:
        made = server.state.get("experiment", first["id"])
        assert made is not None
        made["metadata"] = {"model": "small"}
        made["name"] = "by the SDK"
    ran = suite.write(test_a=written(*[0] * 8)).run()
    assert "baseline    by the SDK (previous run of this branch)" in ran.section
    assert "8 tests in both runs" in ran.section


def test_a_baseline_that_cannot_be_asked_for_is_none(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The run goes on and its rows are sent; that it is the first is not said."""
    suite.sends_to(server)
    run_elsewhere(suite, test_a=written(1))
    server.faults.add(
        Fault(fake.answer(403), method="GET", path="/v1/experiment$", times=99)
    )
    ran = suite.run("--braintrust-fail-on-regression")
    assert ran.status == 0
    assert "1 recorded = 1 sent + 0 pending" in ran.section
    told = " ".join(ran.section.split())
    assert "baseline none: it could not be looked for on Braintrust: http" in told
    assert "answered 403: fault: 403" in told
    assert "passed; there is no baseline to compare with" in told
    assert suite.run("--braintrust-require-baseline").status == 0  # that one is here


def slowly(exchange: Exchange) -> None:
    """Take longer than the run waits."""
    time.sleep(4)
    exchange.send(exchange.apply())


def test_a_baseline_that_is_late_is_told(suite: Suite, server: FakeBraintrust) -> None:
    """With the command that gets it; a gate that needs it says so."""
    suite.sends_to(server)
    run_elsewhere(suite, "--braintrust-experiment=monday", test_a=written(1))
    server.faults.add(Fault(slowly, path="/btql", times=99))
    ran = suite.run("--braintrust-flush-timeout=1", "--braintrust-require-baseline")
    assert ran.status == 1
    assert "monday did not arrive in time; get it with:" in ran.section
    assert "GATE FAILED: there is no baseline to compare with" in ran.section


DYING = """\
import pathlib, socket, time

def test_it(bt_score):
    bt_score(scores={"exact": 1})
    pathlib.Path("began").touch()
    while True:
        try:
            socket.create_connection(("127.0.0.1", PORT)).close()
        except OSError:
            return
        time.sleep(0.02)
"""


@pytest.mark.parametrize("when", ["at its first row", "between its pages"])
def test_a_server_that_dies_with_the_baseline_is_not_waited_for(
    suite: Suite, server: FakeBraintrust, when: str
) -> None:
    """Its rows are asked for as long as tests run, and then for a few seconds."""

    def die(exchange: Exchange) -> None:
        while not (suite.folder / "began").exists():
            exchange.wait(0.02)
        threading.Thread(target=server.close).start()
        exchange.reset()

    suite.sends_to(server)
    run_elsewhere(suite, "--braintrust-experiment=monday", test_a=written(*[1] * 8))
    nth = 1 if when == "at its first row" else 2
    server.faults.add(Fault(die, path="/btql", nth=nth))
    port = server.url.rpartition(":")[2]
    suite.write(test_a=DYING.replace("PORT", port))
    ran = suite.run("--braintrust-flush-timeout=600", seconds=60)
    assert ran.status == 0
    assert "monday did not arrive in time; get it with:" in ran.section
    assert "send with: pytest-braintrust push" in ran.section


def test_nothing_is_left_of_a_search_whose_pytest_was_killed(
    suite: Suite, server: FakeBraintrust
) -> None:
    """No process that goes on, and no folder that was for it."""
    suite.sends_to(server)
    run_elsewhere(suite, test_a=written(1))
    silence = server.faults.add(Fault(fake.hang(600), path="/btql", times=None))
    suite.write(test_a="import time\ndef test_it(bt_score): time.sleep(600)\n")
    running = suite.start("--braintrust")
    server.wait_until(lambda: silence.struck)
    assert list(suite.temporary.glob("pytest-braintrust-*"))
    running.kill()
    running.communicate()
    wait_until(lambda: not list(suite.temporary.glob("pytest-braintrust-*")))


def test_a_baseline_is_asked_for_again_while_tests_run(
    suite: Suite, server: FakeBraintrust
) -> None:
    """From where its pull was broken off."""
    suite.sends_to(server)
    run_elsewhere(suite, "--braintrust-experiment=monday", test_a=written(*[1] * 8))
    for action in (fake.busy(503), fake.reset(apply=True), fake.busy(429, 0.1)):
        server.faults.add(Fault(action, path="/btql"))
    ran = suite.write(test_a=written(*[0] * 8)).run()
    assert "baseline    monday (previous run of this branch)" in ran.section
    assert "8 tests in both runs" in ran.section


@pytest.mark.parametrize("option", ["--braintrust-no-upload", "--braintrust-offline"])
def test_who_keeps_a_run_local_is_not_asked(
    suite: Suite, server: FakeBraintrust, option: str
) -> None:
    """Nothing is sent and nothing fetched."""
    suite.sends_to(server)
    run_elsewhere(suite, test_a=written(1))
    before = len(server.requests)
    assert "baseline" not in suite.run(option).section
    assert len(server.requests) == before


LINKED = """\
import os
import pytest

@pytest.mark.parametrize("number", range(int(os.environ["NUMBER"])))
def test_answer(bt_score, number):
    assert bt_score.experiment.id
    bt_score(scores={"exact": 1})
"""


def test_a_baseline_that_is_passed_over_is_none_on_braintrust_either(
    suite: Suite, server: FakeBraintrust, plugin_args: list[str]
) -> None:
    """Also where a test asks for its experiment before there is a row."""
    suite.sends_to(server).write(test_a=LINKED)
    for number in ("4", "2", "4"):
        suite.environment["NUMBER"] = number
        assert suite.run(*plugin_args).status == 0
    first, second, third = server.experiments
    assert (second["base_exp_id"], third["base_exp_id"]) == (first["id"], first["id"])
