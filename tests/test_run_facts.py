"""What an experiment on Braintrust says of its run, and what no row may say."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest
from conftest import Suite
from fake_braintrust import FakeBraintrust
from test_delivery import delivered
from test_recording import CAPITALS

from pytest_braintrust import __version__, redacting

OPTIONS = """\
def pytest_addoption(parser):
    for name in ("--api-key", "--service", "--env", "--header"):
        parser.addoption(name, action="append")
"""

#: None of these may be found anywhere.
SECRETS = (
    "hunter2-of-option",
    "hunter2-of-env",
    "hunter2-of-url",
    "hunter2-of-addopts",
)


def git(folder: Path, *words: str, **environment: str) -> str:
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(suite: Suite) -> Suite:
    """A suite that is in git, with one commit."""
    suite.write(test_geo=CAPITALS, conftest=OPTIONS)
    (suite.folder / ".gitignore").write_text(".*cache\n__pycache__\n")
    git(suite.folder, "init", "-q", "-b", "main")
    git(suite.folder, "add", ".")
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Zoë O'Hara"), ("EMAIL", "zoe@example.com"))
    }
    message = "Ask for capitals\n\nAll of them, in Zürich too.\n"
    git(suite.folder, "commit", "-q", "-m", message, **who)
    return suite


def test_an_experiment_tells_where_it_came_from(
    repository: Suite, server: FakeBraintrust
) -> None:
    """The commit, the versions, the machine, and how pytest was called."""
    suite = repository.sends_to(server)
    suite.environment["PYTEST_ADDOPTS"] = "--env 'MY_TOKEN=hunter2-of-addopts and more'"
    ran = suite.run(
        *("--api-key", "hunter2-of-option"),
        *("--env=DB_PASSWORD=hunter2-of-env",),
        *("--service", "https://me:hunter2-of-url@service.example/path?x=1"),
        *("--header", "Authorization: Bearer hunter2-of-option"),
        "test_geo.py",
        "--braintrust-metadata=model=small",
    )
    assert ran.status == 0, ran.out
    delivered(ran, server, 3)
    (experiment,) = server.experiments
    info = experiment["repo_info"]
    commit = git(suite.folder, "rev-parse", "HEAD")
    assert info["commit"] == commit
    assert info["branch"] == "main"
    assert info["dirty"] is False
    assert info["author_name"] == "Zoë O'Hara"
    assert info["author_email"] == "zoe@example.com"
    assert info["commit_message"] == "Ask for capitals\n\nAll of them, in Zürich too."
    assert info["commit_time"] == git(suite.folder, "log", "-1", "--format=%cI")
    assert experiment["name"].startswith(f"main-{commit[:7]}-")
    told = experiment["metadata"]
    assert told["pytest"] == pytest.__version__
    assert told["pytest_braintrust"] == __version__
    assert told["python"] == platform.python_version()
    assert told["platform"].startswith(platform.system())
    assert told["model"] == "small"
    arguments = " ".join(told["arguments"])
    assert "https://[redacted]@service.example/path?x=1" in arguments
    assert "test_geo.py" in arguments
    assert "DB_PASSWORD=[redacted]" in arguments
    assert "MY_TOKEN=[redacted]" in arguments
    for secret in SECRETS:
        assert secret not in str(experiment)
        assert secret not in ran.out
        assert not [e for e in suite.holding(secret) if e.suffix != ".pyc"]


def test_a_ci_checks_out_a_commit_and_says_the_branch(
    repository: Suite, server: FakeBraintrust
) -> None:
    """A detached HEAD has a branch by the CI's variable, and the run's page a link."""
    suite = repository.sends_to(server)
    git(suite.folder, "checkout", "-q", "--detach")
    git(suite.folder, "tag", "v1.0")
    suite.write(conftest=OPTIONS + "# changed\n")
    suite.environment.update(
        GITHUB_HEAD_REF="topic/capitals",
        GITHUB_REF_NAME="12/merge",
        GITHUB_REPOSITORY="example/capitals",
        GITHUB_RUN_ID="4711",
    )
    assert suite.run().status == 0
    (experiment,) = server.experiments
    assert experiment["repo_info"]["branch"] == "topic/capitals"
    assert experiment["repo_info"]["tag"] == "v1.0"
    assert experiment["repo_info"]["dirty"] is True
    assert experiment["name"].startswith("topic/capitals-")
    link = "https://github.com/example/capitals/actions/runs/4711"
    assert experiment["metadata"]["ci"] == link


@pytest.mark.parametrize("without", ["git", "repository"])
def test_without_git_nothing_is_said_of_it(
    suite: Suite, server: FakeBraintrust, without: str
) -> None:
    """No repository, or no command to ask: a name by the time, and no complaint."""
    suite.write(test_geo=CAPITALS).sends_to(server)
    if without == "git":
        git(suite.folder, "init", "-q")
        suite.environment["PATH"] = str(suite.temporary)
    ran = suite.run()
    assert ran.status == 0, ran.out
    (experiment,) = server.experiments
    assert not experiment["repo_info"]
    assert experiment["name"].startswith("pytest-")
    assert "fatal" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--api-key", "x"], ["--api-key", "[redacted]"]),
        (["--env=API_KEY=x"], ["--env=API_KEY=[redacted]"]),
        (["-H", "Authorization: Bearer x"], ["-H", "Authorization: [redacted]"]),
        (["-H", "X-Api-Key: x"], ["-H", "X-Api-Key: [redacted]"]),
        (['{"token": "x", "a": 1}'], ['{"token": "[redacted]", "a": 1}']),
        (["https://h/?sig=1&token=x"], ["https://h/?sig=1&token=[redacted]"]),
        (["postgres://u:p@ss@h/db"], ["postgres://[redacted]@h/db"]),
        (["sk-proj-aB3dEfGh1jKl"], ["[redacted]"]),
        (["eyJhbGciOiJIUzI1NiJ9.e30.x"], ["[redacted]"]),
        (["Basic dXNlcjpwYXNz"], ["Basic [redacted]"]),
        (["the-key-itself"], ["[redacted]"]),
        # What only looks like it at a glance is kept.
        (["tests/test_tokens.py::test_auth[key-1]"], None),
        (["-k", "token and not slow", "--durations=3"], None),
        (["tests/sk-learn-evaluation-suite.py"], None),
        (["--password", "--co"], None),
    ],
)
def test_arguments_are_kept_without_secrets(
    given: list[str], kept: list[str] | None
) -> None:
    """By the name they are given, by their shape, and the key itself."""
    assert redacting.arguments(given, "the-key-itself") == (kept or given)


def test_a_long_argument_takes_no_time(suite: Suite) -> None:
    """A secret's name is looked for once in each word, not from each of its letters."""
    ran = suite.write(test_geo=CAPITALS).run(f"--braintrust-experiment={'x' * 100_000}")
    assert ran.status == 0
    (experiment,) = ran.experiments()
    assert len(experiment["name"]) == 100_000


# ----------------------------------------------------------------------- what rows may say

STRICT = """\
import dataclasses, datetime
import pytest

@dataclasses.dataclass
class Model:
    name: str = "small"
    version: int = 2

MODELS = ["small", None, 7, ["a", "ß"], {"name": "a"}, Model(), datetime.date(2026, 1, 1)]

@pytest.mark.parametrize("n", range(len(MODELS)))
def test_model(bt_score, n):
    bt_score(metadata={"model": MODELS[n], "deep": {"model": 7}}, output=n)

@pytest.mark.braintrust(metadata={"model": 3}, tags=["a", "a"])
def test_marked(bt_score):
    bt_score(tags=["a", "b", "b"])
    bt_score(tags="a", metrics={"tokens": 3.0, "prompt_tokens": 2, "cost": 0.5})
    bt_score(metrics={"cost": None, "completion_tokens": True})
    bt_score(metadata={"model": {"a": 1}})
    bt_score(metadata={"model": {"b": 2}})

@pytest.mark.parametrize("name", ["tokens", "prompt_tokens", "completion_tokens"])
def test_wrong(bt_score, name):
    with pytest.raises(ValueError, match=f"metric '{name}' is 2.5; it must be a whole"):
        bt_score(metrics={name: 2.5})

def test_edited(bt_score):
    bt_score(output=1)
"""
EDITING = """\
def pytest_braintrust_row(item, row):
    if "edited" in item.nodeid:
        row["metadata"]["model"] = {"by": "hook"}
        row["tags"] = ["a", "a"]
        row["metrics"]["cost"] = None
        row["metrics"]["tokens"] = 4.0
"""


def test_nothing_is_sent_that_braintrust_would_refuse(
    suite: Suite, server: FakeBraintrust
) -> None:
    """`model` is text, token counts are whole, tags are told once, no metric is null."""
    suite.write(test_strict=STRICT, conftest=EDITING)
    ran = suite.sends_to(server).run()
    assert ran.status == 0, ran.out
    delivered(ran, server, 12)
    rows = server.rows(server.experiments[0]["id"])
    models = [
        row["metadata"]["model"]
        for row in sorted(rows, key=lambda row: str(row["output"]))
        if "test_model" in row["metadata"]["pytest"]["nodeid"]
    ]
    assert models == [
        "small",
        None,
        "7",
        '["a", "ß"]',
        '{"name": "a"}',
        '{"name": "small", "version": 2}',
        "2026-01-01",
    ]
    marked, edited = ran.row("test_marked"), ran.row("test_edited")
    assert marked["metadata"]["model"] == '{"b": 2}'
    assert marked["tags"] == ["a", "b"]
    assert marked["metrics"]["tokens"] == 3
    assert "cost" in marked["metrics"]
    assert edited["metadata"]["model"] == '{"by": "hook"}'
    assert edited["tags"] == ["a"]
    assert "cost" not in edited["metrics"]
