"""The run that a run is compared with is the one that was meant, in real repositories."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Suite
from made_runs import Told, scored, store_run
from test_comparison import written

from pytest_braintrust import baseline, exchange, git, selection
from pytest_braintrust.baseline import Subject
from pytest_braintrust.errors import BaselineError
from pytest_braintrust.store import reading, writing
from pytest_braintrust.store.connection import Store, open_store
from pytest_braintrust.store.reading import StoredExperiment

TESTS = scored("exact", [1.0])


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs these tests is not what they are about."""
    for name in list(os.environ):
        if name.startswith(("GITHUB_", "GIT_", "CI_", "BRANCH", "BUILD", "CHANGE_")):
            monkeypatch.delenv(name)


@dataclass
class Repository:
    """A repository of its own, whose commits have runs."""

    root: Path
    store: Store

    def git(self, *arguments: str) -> str:
        name = ("-c", "user.name=n", "-c", "user.email=e@example.com")
        command = ["git", *name, "-c", "commit.gpgsign=false", *arguments]
        return subprocess.run(
            command, cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, text: str, *more: str) -> str:
        (self.root / "file").write_text(text)
        self.git("add", "file")
        self.git("commit", "-q", "-m", text, *more)
        return self.git("rev-parse", "HEAD")

    def run(self, name: str = "", **more: object) -> StoredExperiment:
        """A run of HEAD as it stands."""
        info = git.repo_info(self.root)
        return store_run(self.store, TESTS, name=name, repo_info=info, **more)  # type: ignore[arg-type]

    def find(
        self, asked: str | None = None, *, tests: Sequence[Told] = ()
    ) -> tuple[str, str] | None:
        """The name of the baseline of a run that would start now, and how."""
        info = git.repo_info(self.root) or {}
        named = frozenset(each.nodeid for each in tests)
        subject = Subject("p", info.get("branch"), self.root, tests=named)
        found = baseline.find(self.store, subject, asked, folder=self.root)
        return None if found is None else (found.experiment.shown_name, found.how)


@pytest.fixture
def repo(tmp_path: Path, store: Store) -> Repository:
    root = tmp_path / "repo"
    root.mkdir()
    made = Repository(root, store)
    made.git("init", "-q", "-b", "main")
    made.commit("one")
    return made


def test_the_first_run_has_none(repo: Repository) -> None:
    """Whatever was asked for, but for what is neither run nor branch nor file."""
    for asked in (None, "ancestor", "previous", "main", "latest"):
        assert repo.find(asked) is None
    repo.run(project="another")
    assert repo.find() is None


def test_the_usual_one_is_the_nearest_ancestors_and_else_the_previous(
    repo: Repository,
) -> None:
    """The newest run of the nearest commit that has one, HEAD itself counted."""
    repo.run("one")
    repo.run("one again")
    repo.commit("two")
    repo.commit("three")
    assert repo.find() == ("one again", "ancestor")
    repo.run("three")
    repo.run("one on a new branch", metadata={"model": "m"})
    repo.git("checkout", "-q", "-b", "topic", "HEAD~1")
    assert repo.find() == ("one again", "ancestor")
    repo.git("checkout", "-q", "--orphan", "fresh")
    repo.commit("no past")
    assert repo.find() is None
    (repo.root / "file").write_text("changed")
    repo.run("dirty on fresh")
    assert repo.find() == ("dirty on fresh", "previous")
    assert repo.find("ancestor") is None


def test_a_dirty_run_is_no_run_of_its_commit(repo: Repository) -> None:
    """It has changes that the commit has not; it is the previous one of its branch."""
    repo.run("clean")
    (repo.root / "file").write_text("changed")
    repo.run("dirty")
    assert repo.find("ancestor") == ("clean", "ancestor")
    assert repo.find("previous") == ("dirty", "previous")


def test_a_run_that_lacks_some_of_the_tests_is_passed_over(repo: Repository) -> None:
    """For one before it that has them; not for what it never had, or who names it."""
    tests = scored("exact", [1.0] * 6)
    for name, told in (("other", [Told("x")]), ("whole", tests), ("part", tests[:3])):
        info = git.repo_info(repo.root)
        store_run(repo.store, told, name=name, repo_info=info)
    assert repo.find(tests=tests) == ("whole", "ancestor")
    assert repo.find("main", tests=tests) == ("whole", "branch")
    assert repo.find("previous", tests=tests) == ("whole", "previous")
    assert repo.find("part", tests=tests) == ("part", "name")
    new = [Told("test_new")]
    assert repo.find(tests=[*tests, *new]) == ("whole", "ancestor")
    assert repo.find(tests=[*tests[:3], *new]) == ("part", "ancestor")
    # Far back it is no news any more.
    for number in range(12):
        repo.commit(str(number))
        info = git.repo_info(repo.root)
        store_run(repo.store, tests[:3], name="later", repo_info=info)
    assert repo.find(tests=tests) == ("later", "ancestor")


def test_a_run_that_lacks_few_tests_or_says_why_is_not_passed_over(
    repo: Repository,
) -> None:
    """A tenth is no part of a suite, and what was skipped says no more about it."""
    tests = scored("exact", [1.0] * 20)

    def ran(name: str, told: Sequence[Told], **counts: int) -> None:
        info = git.repo_info(repo.root)
        store_run(repo.store, told, name=name, repo_info=info, counts=counts)

    ran("whole", tests, skipped=2)
    ran("two less", tests[2:])
    assert repo.find(tests=tests) == ("two less", "ancestor")
    ran("three less", tests[3:])
    assert repo.find(tests=tests) == ("whole", "ancestor")
    ran("skipped", tests[9:], skipped=7, xfailed=4)
    assert repo.find(tests=tests) == ("skipped", "ancestor")
    # What was skipped before is not what this one lacks.
    ran("part", tests[9:], skipped=2)
    assert repo.find(tests=tests) == ("whole", "ancestor")


def test_a_suite_that_draws_its_tests_is_compared_with_the_nearest_run(
    repo: Repository,
) -> None:
    """Each run lacks some of the tests of another, and has others."""
    tests = scored("exact", [1.0] * 9)
    for name, told in (("one", tests[:6]), ("two", [*tests[:4], *tests[7:]])):
        store_run(repo.store, told, name=name, repo_info=git.repo_info(repo.root))
    assert repo.find(tests=tests[:8]) == ("two", "ancestor")


def test_what_was_merged_is_not_from_before(repo: Repository) -> None:
    """Its tests are new where it came to; what it did to others is to be seen."""
    tests = scored("exact", [1.0] * 4)
    store_run(repo.store, tests, name="main", repo_info=git.repo_info(repo.root))
    repo.git("checkout", "-q", "-b", "topic")
    repo.commit("topic")
    told = [*tests, Told("test_new", {"exact": 1.0})]
    store_run(repo.store, told, name="topic", repo_info=git.repo_info(repo.root))
    repo.git("checkout", "-q", "main")
    repo.commit("two")
    store_run(repo.store, tests, name="main two", repo_info=git.repo_info(repo.root))
    repo.git("merge", "-q", "--no-ff", "-s", "ours", "topic", "-m", "merged")
    assert repo.find(tests=told) == ("main two", "ancestor")


def test_a_merge_has_two_pasts_and_the_nearest_counts(repo: Repository) -> None:
    """As steps go; of two that are as near, the branch that was merged into."""
    repo.run("one")
    repo.git("checkout", "-q", "-b", "topic")
    repo.commit("topic")
    repo.run("on topic")
    repo.git("checkout", "-q", "main")
    repo.commit("two")
    repo.run("on main")
    repo.git("merge", "-q", "--no-ff", "-s", "ours", "topic", "-m", "merged")
    assert repo.find() == ("on main", "ancestor")
    repo.commit("after")
    assert repo.find() == ("on main", "ancestor")
    repo.git("checkout", "-q", "-b", "other", "topic")
    repo.commit("other")
    assert repo.find() == ("on topic", "ancestor")


def test_a_detached_head_has_ancestors_and_no_branch(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the CI says which branch it checked out."""
    repo.run("one")
    repo.commit("two")
    repo.git("checkout", "-q", "--detach")
    assert repo.find() == ("one", "ancestor")
    assert repo.find("previous") is None
    monkeypatch.setenv("GITHUB_HEAD_REF", "main")
    assert repo.find("previous") == ("one", "previous")


def test_a_shallow_clone_knows_few_ancestors(
    repo: Repository, store: Store, tmp_path: Path
) -> None:
    """The previous run of the branch stands in; asked for, it is said why."""
    repo.run("one")
    repo.commit("two")
    clone = tmp_path / "clone"
    address = f"file://{repo.root}"
    repo.git("clone", "-q", "--depth=1", address, str(clone))
    shallow = Repository(clone, store)
    assert shallow.find("ancestor") is None
    assert shallow.find() == ("one", "previous")
    assert baseline.why_none(clone, "ancestor").startswith("this clone is shallow")
    assert not git.is_shallow(repo.root)


def test_without_a_repository_runs_have_no_branch_in_common(
    store: Store, tmp_path: Path
) -> None:
    """And are each other's past."""
    plain = Repository(tmp_path, store)
    plain.run("earlier")
    assert git.repo_info(tmp_path) is None
    assert plain.find() == ("earlier", "previous")


def test_a_run_that_did_not_end_is_none(repo: Repository) -> None:
    """Interrupted, killed, still running, stopped by -x, or of a part of the suite."""
    repo.run("whole")
    repo.run("interrupted", exit_status=2)
    repo.run("killed", exit_status=None)
    repo.run("stopped", counts={"not_run": 3})
    repo.run("selected", metadata={"selected": "regressed"})
    for asked in (None, "ancestor", "previous", "main"):
        name, _ = repo.find(asked) or ("", "")
        assert name == "whole"
    with pytest.raises(BaselineError, match="interrupted is no baseline"):
        repo.find("interrupted")
    repo.run("failed", exit_status=1)
    assert repo.find() == ("failed", "ancestor")


def test_a_name_a_branch_or_a_place_in_time(repo: Repository) -> None:
    """As every command takes them."""
    repo.run("monday")
    repo.git("checkout", "-q", "-b", "topic")
    repo.commit("topic")
    repo.run("tuesday")
    assert repo.find("monday") == ("monday", "name")
    assert repo.find("main") == ("monday", "branch")
    assert repo.find("topic") == ("tuesday", "branch")
    assert repo.find("latest~1") == ("monday", "name")
    assert repo.find("tue") == ("tuesday", "name")
    assert repo.find("p/monday") == ("monday", "name")


def test_a_misspelt_name_is_an_error_and_a_branch_without_runs_is_none(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Branches of this clone, of its remotes, and the one that a CI merges into."""
    repo.run("monday")
    with pytest.raises(BaselineError, match="there is no experiment mondey; close"):
        repo.find("mondey")
    repo.git("branch", "release/1")
    assert repo.find("release/1") is None
    repo.git("update-ref", "refs/remotes/origin/elsewhere", "HEAD")
    assert repo.find("elsewhere") is None
    monkeypatch.setenv("GITHUB_BASE_REF", "stable")
    assert repo.find("stable") is None
    assert baseline.why_none(repo.root, "stable") == "stable has no finished run"


@pytest.mark.parametrize("finished", [False, True])
def test_a_named_run_that_cannot_be_used_says_why(
    repo: Repository, *, finished: bool
) -> None:
    """By its name or id; a run that goes on may yet be the first of that name."""
    if finished:
        repo.run("monday")
    stopped = repo.run("stopped", exit_status=2)
    repo.run("half", exit_status=1, counts={"not_run": 3})
    repo.run("killed", exit_status=None)
    repo.run("again", metadata={selection.SELECTED: "regressed"})
    looked_at = repo.run("looked at")
    repo.run("later")

    def found(asked: str) -> baseline.Baseline | None:
        return baseline.of_stored(
            repo.store, looked_at, asked, root=repo.root, folder=repo.root
        )

    why = {
        "stopped": "stopped is no baseline: it did not run all that it was to run",
        stopped.id: "stopped is no baseline: it did not run all",
        "half": "half is no baseline: it did not run all that it was to run",
        "killed": "killed is no baseline: it has not finished",
        "again": "again is no baseline: it ran only tests that had got worse",
        "looked at": "looked at is no baseline: it is the run itself",
        "later": "later is no baseline: it began after the run that is compared",
    }
    for asked, told in why.items():
        with pytest.raises(BaselineError, match=told):
            found(asked)
    assert found("main") is None or finished
    # Before any finished, a run that starts is told in its summary.
    repo.store.connection.execute("UPDATE experiments SET exit_status = 2")
    assert repo.find("stopped") is None
    repo.run("tuesday")
    with pytest.raises(BaselineError, match="stopped is no baseline"):
        repo.find("stopped")


def test_a_place_in_time_is_the_same_run_everywhere(repo: Repository) -> None:
    """That of the list, one that failed its gates too; one that cannot be used says so.

    Of a branch, of several runs of one name, and by `latest`, the last that can be used
    is meant.
    """
    repo.run("nightly")
    held = repo.run("nightly", counts={"passed": 8})
    failed = repo.run("failed")
    writing.set_fit(repo.store, failed.number, fit=False)
    assert repo.find("latest") == ("failed", "name")
    assert repo.find("latest~1") == ("nightly", "name")
    looked_at = repo.run("looked at")
    repo.run("nightly", exit_status=2)

    def found(asked: str) -> baseline.Baseline:
        run = baseline.of_stored(
            repo.store, looked_at, asked, root=repo.root, folder=repo.root
        )
        assert run is not None
        return run

    assert found("latest~2").experiment == reading.experiment(repo.store, failed.id)
    assert found("main~2").experiment.name == "failed"
    assert found("nightly~1").experiment.id == held.id
    assert found("main").experiment.id == held.id
    assert found("nightly").experiment.id == held.id
    with pytest.raises(BaselineError, match="latest~1 is looked at, which is no basel"):
        found("latest~1")
    with pytest.raises(BaselineError, match=r"it began after .*, or say previous"):
        found("latest~0")
    assert found("latest").experiment.name == "failed"
    assert repo.find("latest") == repo.find("p/latest") == ("looked at", "name")
    with pytest.raises(BaselineError, match=r"it did not run all .*, or say previous"):
        repo.find("latest~0")


def test_a_file_that_export_wrote(repo: Repository, tmp_path: Path) -> None:
    """Whatever its project was called; a second time it is the same run."""
    elsewhere = open_store(tmp_path / "elsewhere")
    run = store_run(elsewhere, TESTS, name="committed", project="called otherwise")
    exchange.export_file(elsewhere, run, repo.root / "base.jsonl")
    cut = store_run(elsewhere, TESTS, exit_status=2)
    exchange.export_file(elsewhere, cut, repo.root / "cut.jsonl")
    elsewhere.close()
    assert repo.find("base.jsonl") == ("committed", "file")
    assert repo.find("base.jsonl") == ("committed", "file")
    with pytest.raises(BaselineError, match="did not end by itself"):
        repo.find("cut.jsonl")
    with pytest.raises(BaselineError, match=r"cannot read .*none.jsonl: No such file"):
        repo.find("none.jsonl")
    with pytest.raises(BaselineError, match="not the first line of a file that"):
        repo.find("file")


def test_a_run_notes_its_baseline_and_says_it(suite: Suite) -> None:
    """In the store, by the id of the run; what is asked for and not there is told."""
    suite.write(test_a=written(1, 1))
    first = suite.run("--braintrust-baseline=main", "--braintrust-experiment=monday")
    assert first.status == 0
    assert "baseline    none: main has no finished run" in first.section
    second = suite.run()
    assert "baseline    monday (previous run of this branch)" in second.section
    monday, later = second.experiments()
    assert (monday["base"], later["base"]) == (None, monday["id"])
    wrong = suite.run("--braintrust-baseline=mondey")
    assert wrong.status == 4
    assert "--braintrust-baseline: there is no experiment mondey; close are" in wrong
    assert len(wrong.experiments()) == 2
    suite.environment["BRAINTRUST_BASELINE"] = "mondey"
    assert "ERROR: BRAINTRUST_BASELINE: there is no experiment mondey" in suite.run()
    del suite.environment["BRAINTRUST_BASELINE"]
    suite.ini("braintrust_baseline = mondey")
    assert "ERROR: ini braintrust_baseline: there is no experiment" in suite.run()
    suite.ini("braintrust_baseline = monday")
    assert "baseline    monday (by name)" in suite.run().section


def test_a_run_that_was_killed_does_not_stop_who_asks_for_the_latest(
    suite: Suite,
) -> None:
    """The one before it is meant, and the end of the run says so."""
    latest = "--braintrust-baseline=latest"
    suite.write(test_a=written(1))
    assert "none: latest has no finished run" in suite.run(latest).section
    killed = f"{written(1)}\ndef test_z(): import os; os.kill(os.getpid(), 9)\n"
    first = suite.run(latest, "--braintrust-experiment=whole").experiments()[-1]
    suite.write(test_a=killed).run("--braintrust-experiment=killed")
    ran = suite.write(test_a=written(1)).run(latest)
    told = " ".join(ran.section.split())
    assert "(by name; killed is no baseline: it has not finished)" in told
    assert ran.experiments()[-1]["base"] == first["id"]
    # Who names it is told, and so is who counts.
    for asked in ("killed", "latest~1"):
        assert suite.run(f"--braintrust-baseline={asked}").status == 4


def test_a_run_that_was_stopped_is_no_baseline(suite: Suite) -> None:
    """`-x` and Ctrl-C leave runs that measured a part."""
    stopped = "def test_a(bt_score): assert 0\ndef test_b(bt_score): pass\n"
    assert suite.write(test_a=stopped).run("-x").status == 1
    interrupted = "def test_a(bt_score): raise KeyboardInterrupt\n"
    assert suite.write(test_a=interrupted).run().status == 2
    assert "baseline" not in suite.write(test_a=written(1)).run().section
