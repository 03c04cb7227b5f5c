"""Several processes, on one machine or on many, make one experiment."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import XDIST, Ran, Suite, nodeid
from fake_braintrust import FakeBraintrust

from pytest_braintrust import ends, sharding

SHARD = """\
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_{name}(bt_score, number):
    bt_score(output=number, scores={{"exact": number % 2}})
"""
WAITING = """\
import pathlib, time

def test_waiting(bt_score):
    bt_score(scores={"exact": 1})
    pathlib.Path("started").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.05)
"""


def shard(name: str, count: int = 6) -> str:
    return SHARD.format(name=name, count=count)


def machines(suite: Suite, count: int) -> list[Suite]:
    """Copies of a suite, each in a folder of its own that shares nothing."""
    copies = []
    for number in range(count):
        folder = suite.folder.parent / f"machine-{number}" / "suite"
        shutil.copytree(suite.folder, folder)
        copies.append(Suite(folder, list(suite.plugins), dict(suite.environment)))
    return copies


def test_eight_processes_at_once_make_one_experiment(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Each with two workers, in one store: every row once, each sent by its own."""
    names = "abcdefgh"
    suite.write(**{f"test_{name}": shard(name) for name in names}).sends_to(server)
    suite.with_plugins(XDIST)
    running = [
        suite.start("--braintrust", "--braintrust-run-id=r-1", "-n2", f"test_{name}.py")
        for name in names
    ]
    ended = [suite.ended(each, seconds=240) for each in running]
    for ran in ended:
        assert ran.status == 0, ran.out + ran.err
        assert "6 recorded = 6 sent + 0 pending" in ran.section
    assert any("48 rows so far of 8 processes, all of" in each for each in ended)
    ran = ended[0]
    (local,) = ran.experiments()
    assert (local["name"], local["exit_status"]) == ("r-1", 0)
    assert json.loads(local["tests"])["passed"] == 48
    wanted = Counter(
        f"test_{name}.py::test_{name}[{number}]"
        for name in names
        for number in range(6)
    )
    assert Counter(map(nodeid, ran.rows())) == wanted
    (remote,) = server.experiments
    assert remote["name"] == "r-1"
    assert Counter(map(nodeid, server.rows(remote["id"]))) == wanted
    session_of = {row["id"]: row["session"] for row in ran.query("rows", "position")}
    assert Counter(session_of.values()) == dict.fromkeys(range(1, 9), 6)
    for request in server.requests:
        if request.path.endswith("/insert"):
            ids = [each["id"] for each in json.loads(request.body)["events"]]
            assert len({session_of[each] for each in ids}) == 1
    assert not list((ran.store / "running").iterdir())


def test_machines_without_a_shared_disk_make_one_experiment(
    suite: Suite, server: FakeBraintrust
) -> None:
    """By the name of the run, whichever is first; a later run is another one."""
    suite.write(test_a=shard("a"), test_b=shard("b")).sends_to(server)
    first, second = machines(suite, 2)
    running = [
        each.start("--braintrust", "--braintrust-run-id=r-1", name)
        for each, name in ((first, "test_a.py"), (second, "test_b.py"))
    ]
    ended = [first.ended(running[0]), second.ended(running[1])]
    for ran in ended:
        assert ran.status == 0, ran.out + ran.err
        assert len(ran.rows()) == 6
        assert "r-1: 6 rows so far of this process; others may have theirs" in ran
    (remote,) = server.experiments
    assert len(server.rows(remote["id"])) == 12
    ids = {each["id"] for ran in ended for each in ran.experiments()}
    assert ids == {remote["metadata"]["pytest_braintrust_experiment"]}
    pulled = first.cli("pull", "suite/r-1")
    assert "12 rows in the store" in pulled, pulled.err
    assert len(ended[0].experiments()) == 1
    assert len(ended[0].rows()) == 12
    first.run("--braintrust-run-id=r-2", "test_a.py")
    assert [each["name"] for each in server.experiments] == ["r-1", "r-2"]


def test_a_run_on_many_machines_ends_when_all_have(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Braintrust says so then, and a later run finds it there as a baseline."""
    suite.write(test_w=shard("first", 2) + WAITING, test_a=shard("a"))
    suite.sends_to(server)
    first, second, third = machines(suite, 3)
    waiting = first.start("--braintrust", "--braintrust-run-id=r-1", "test_w.py")
    started(first)
    server.wait_until(lambda: server.experiments and server.rows("r-1"), 60)
    early = second.run("--braintrust-run-id=r-1", "test_a.py")
    assert early.status == 0, early.out
    assert "baseline" not in early.section.replace("no baseline", "")
    assert ends.read(server.experiments[0]["metadata"]).exit_status is None
    (first.folder / "go").touch()
    assert first.ended(waiting).status == 0
    (remote,) = server.experiments
    end = ends.read(remote["metadata"])
    assert (end.exit_status, end.tests["passed"]) == (0, 9)
    pulled = third.cli("pull", "suite/r-1", "--json")
    assert json.loads(pulled.out)["tests"]["passed"] == 9
    later = third.run("--braintrust-baseline=r-1", "test_a.py")
    assert "r-1" in later.section


def test_shards_come_together_without_braintrust(suite: Suite) -> None:
    """Each exports, one imports: one experiment, with what all of them came to."""
    suite.write(test_a=shard("a"), test_b=shard("b", 4))
    first, second = machines(suite, 2)
    for each, name in ((first, "a"), (second, "b")):
        assert each.run("--braintrust-run-id=r-1", f"test_{name}.py").status == 0
        each.cli("export", "latest", "-o", str(suite.folder / f"{name}.jsonl"))
    for _ in range(2):
        imported = suite.cli("import", "a.jsonl", "b.jsonl")
        assert imported.status == 0, imported.err
        (shown,) = json.loads(suite.cli("list", "--json").out)
        assert shown["name"] == "r-1"
        assert shown["rows"]["recorded"] == 10
        assert shown["tests"]["passed"] == shown["tests"]["collected"] == 10
        assert shown["exit_status"] == 0
    # And what was there stays where the run itself goes on here.
    assert suite.run("--braintrust-run-id=r-1", "test_a.py").status == 0
    (shown,) = json.loads(suite.cli("list", "--json").out)
    assert shown["rows"]["recorded"] == 16


def test_gates_of_shards_judge_what_their_store_has(suite: Suite) -> None:
    """Each its own part; what comes together is judged as a whole."""
    suite.write(test_a=shard("a"), test_b=shard("b", 1))
    gate = ("--braintrust-run-id=r-1", "--braintrust-fail-under=exact=0.4")
    for each, name, status in zip(machines(suite, 2), "ab", (0, 1), strict=True):
        assert each.run(*gate, f"test_{name}.py").status == status
        each.cli("export", "latest", "-o", str(suite.folder / f"{name}.jsonl"))
    suite.cli("import", "a.jsonl", "b.jsonl")
    assert suite.cli("gate", "r-1", "--fail-under=exact=0.42").status == 0
    assert suite.cli("gate", "r-1", "--fail-under=exact=0.44").status == 1


def started(suite: Suite) -> None:
    """Wait until the test that waits has started."""
    until = time.monotonic() + 60
    while not (suite.folder / "started").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_summary_says_that_others_have_not_finished(suite: Suite) -> None:
    """Once a process; the last one says that all have."""
    suite.write(test_w=WAITING, test_a=shard("a"))
    waiting = suite.start("--braintrust", "--braintrust-run-id=r-1", "test_w.py")
    started(suite)
    early = suite.run("--braintrust-run-id=r-1", "test_a.py")
    assert "2 processes, 1 of which has not finished" in early.section
    quiet = suite.run("--braintrust-run-id=r-1", "-q", "test_a.py")
    assert "3 processes, 1 of which has not finished" in quiet
    assert "unfinished" in suite.cli("list")
    (suite.folder / "go").touch()
    late = suite.ended(waiting)
    assert "r-1: 13 rows so far of 3 processes, all of which have finished" in late
    assert late.out.count("= braintrust =") == 1
    assert "unfinished" not in suite.cli("list")


def test_a_shard_that_was_killed_leaves_the_run_unfinished(suite: Suite) -> None:
    """Its rows stay, and nothing takes a part of a run for the whole."""
    suite.write(test_w=WAITING, test_a=shard("a"))
    waiting = suite.start("--braintrust", "--braintrust-run-id=r-1", "test_w.py")
    started(suite)
    waiting.send_signal(signal.SIGKILL)
    suite.ended(waiting)
    ran = suite.run("--braintrust-run-id=r-1", "test_a.py")
    (local,) = ran.experiments()
    assert (local["finished_at"], local["exit_status"]) == (None, None)


def test_a_run_is_not_its_own_baseline(suite: Suite) -> None:
    """What another process of it has finished is no past."""
    suite.write(test_a=shard("a"))
    suite.run("--braintrust-run-id=r-1")
    second = suite.run("--braintrust-run-id=r-1")
    assert "baseline" not in second.section.replace("no baseline", "")
    third = suite.run("--braintrust-run-id=r-2")
    assert "r-1" in third.section


def test_all_that_make_a_run_have_one_baseline(suite: Suite) -> None:
    """Whichever of its tests each runs, and whatever else has run since one began."""
    suite.write(test_a=shard("a"), test_b=shard("b"))
    parts = [("r-1", "test_a.py"), ("r-1", "test_b.py"), ("r-2", "test_a.py")]
    parts += [("r-3", "test_a.py"), ("r-4", "test_a.py"), ("r-3", "test_b.py")]
    suite.run("test_b.py", "--braintrust-experiment=part")
    ran = [suite.run(f"--braintrust-run-id={run}", name) for run, name in parts]
    told = [next(e for e in r.section.splitlines() if "baseline" in e) for r in ran[2:]]
    assert [each.split()[1] for each in told] == ["r-1", "r-2", "r-3", "r-2"]
    experiments = {each["name"]: each for each in ran[-1].experiments()}
    assert experiments["r-1"]["base"] is None
    assert experiments["r-3"]["base"] == experiments["r-2"]["id"]


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"GITHUB_RUN_ID": "123", "GITHUB_RUN_ATTEMPT": "1"}, "github-123-1"),
        ({"GITHUB_RUN_ID": "123", "GITHUB_RUN_ATTEMPT": "2"}, "github-123-2"),
        ({"GITHUB_RUN_ID": "123"}, "github-123-1"),
        ({"CI_PIPELINE_ID": "55"}, "gitlab-55"),
        ({"CI_PIPELINE_ID": "55", "CI_JOB_RETRY_COUNT": "0"}, "gitlab-55"),
        ({"CI_PIPELINE_ID": "55", "CI_JOB_RETRY_COUNT": "2"}, "gitlab-55-2"),
        ({"CIRCLE_WORKFLOW_ID": "aa-bb"}, "circleci-aa-bb"),
        ({"BUILDKITE_BUILD_ID": "cc-dd"}, "buildkite-cc-dd-0"),
        (
            {"BUILDKITE_BUILD_ID": "cc-dd", "BUILDKITE_RETRY_COUNT": "1"},
            "buildkite-cc-dd-1",
        ),
        ({"BUILD_TAG": "jenkins-evals-7"}, "jenkins-evals-7"),
        ({"GITHUB_RUN_ID": "", "CI": "true"}, None),
    ],
)
def test_a_ci_tells_which_run_it_is(environ: dict[str, str], name: str | None) -> None:
    """Another attempt is another run."""
    assert sharding.from_ci(environ) == name


def test_auto_asks_the_ci(suite: Suite) -> None:
    """Where there is none that is known it says so; in the ini, only inside of a CI."""
    suite.write(test_a=shard("a", 1))
    suite.environment["GITHUB_RUN_ID"] = "123"
    ran = suite.run("--braintrust-run-id=auto")
    assert "experiment  github-123-1 in project suite" in ran.section
    del suite.environment["GITHUB_RUN_ID"]
    refused = suite.run("--braintrust-run-id=auto")
    assert refused.status == 4
    assert "--braintrust-run-id: auto knows GitHub Actions, GitLab" in refused
    suite.ini("braintrust_run_id = auto")
    alone: Ran = suite.run()
    assert alone.status == 0
    assert "processes" not in alone.section
    suite.environment["CI"] = "true"
    unknown = suite.run()
    assert unknown.status == 4
    assert "ini braintrust_run_id: auto knows" in unknown


def test_a_name_of_any_kind_is_an_id(suite: Suite, server: FakeBraintrust) -> None:
    """Slashes, quotes, and a thousand characters."""
    suite.write(test_a=shard("a", 1)).sends_to(server)
    name = "nightly/'\"日本 " + "x" * 1_000
    suite.environment["BRAINTRUST_RUN_ID"] = name
    for _ in range(2):
        assert suite.run().status == 0
    (remote,) = server.experiments
    assert remote["name"] == name
    assert len(server.rows(remote["id"])) == 2
    assert not list(Path(suite.folder).rglob("*xxx*"))
