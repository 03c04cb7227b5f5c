"""The walkthrough's programs do what they say, run as a reader runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_braintrust import FakeBraintrust

from pytest_braintrust.api import BraintrustClient

ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / "examples" / "walkthrough"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def server() -> Iterator[FakeBraintrust]:
    with FakeBraintrust() as fake:
        yield fake


@pytest.fixture
def run(server: FakeBraintrust, tmp_path: Path) -> Run:
    """Runs a program with the server's key and address in the environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BRAINTRUST_")
    }
    environment = {
        **kept,
        "BRAINTRUST_API_KEY": server.api_key,
        "BRAINTRUST_API_URL": server.url,
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
    }

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", PROGRAMS / name, *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env=environment,
            timeout=60,
            check=False,
        )

    return run


def test_experiment_is_made_filled_and_summarized(
    server: FakeBraintrust, run: Run
) -> None:
    first = run("experiment.py")
    assert first.returncode == 0, first.stderr
    assert "capitals: 3 rows inserted" in first.stdout
    assert "  Australia: Sydney {'exact': 0.0}" in first.stdout
    assert "exact: 67%" in first.stdout
    assert first.stdout.endswith("/app/test-org/p/walkthrough/experiments/capitals\n")
    again = run("experiment.py")
    assert "exact: 67% (+0%)" in again.stdout
    assert len(server.experiments) == 2


def test_dataset_is_downloaded_page_by_page(
    server: FakeBraintrust, run: Run, tmp_path: Path
) -> None:
    with BraintrustClient(api_key=server.api_key, api_url=server.url) as client:
        project = client.create_project("p")
        dataset = client.create_dataset(project.id, "d")
        client.insert_dataset_rows(dataset.id, ({"input": n} for n in range(25)))
    ran = run("download_dataset.py", "p", "d", "rows.jsonl", "--page-size", "10")
    assert (ran.stdout, ran.stderr) == ("rows.jsonl: 25 rows of d\n", "")
    lines = (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()
    assert sorted(json.loads(line)["input"] for line in lines) == list(range(25))
    assert len([each for each in server.requests if each.path == "/btql"]) == 4
    assert [each.name for each in tmp_path.iterdir()] == ["rows.jsonl"]


def test_dataset_that_is_not_there_is_told(run: Run) -> None:
    ran = run("download_dataset.py", "p", "none", "rows.jsonl")
    assert ran.returncode == 1
    assert ran.stderr == "project 'p' has no dataset 'none'\n"


def test_somebody_is_acted_as_once_one_owns_the_organisation(
    server: FakeBraintrust, run: Run
) -> None:
    ada = server.add_user("ada@example.com", server.organizations[0])
    with BraintrustClient(api_key=server.api_key, api_url=server.url) as client:
        client.create_project("shared")
    refused = run("impersonate.py", "ada@example.com")
    assert refused.returncode == 1
    assert refused.stdout == "test-org: nothing makes you an owner; --grant does\n"
    assert "takes the owner role" in refused.stderr
    assert "Traceback" not in refused.stderr
    granted = run("impersonate.py", "ada@example.com", "--grant")
    assert granted.stdout.splitlines() == [
        "test-org: you are an owner now",
        "dev@example.com acts as ada@example.com, who sees:",
        "  shared",
    ]
    assert server.requests[-1].impersonated == ada["id"]
    again = run("impersonate.py", "ada@example.com")
    assert again.stdout.startswith("test-org: you are an owner\n")


def test_somebody_unknown_is_told(run: Run) -> None:
    ran = run("impersonate.py", "nobody@example.com")
    assert ran.returncode == 1
    assert ran.stderr == (
        "no user of your organisations has the address 'nobody@example.com'\n"
    )


@pytest.mark.parametrize("program", sorted(each.name for each in PROGRAMS.glob("*.py")))
def test_docstring_says_how_to_run(program: str) -> None:
    text = (PROGRAMS / program).read_text("utf-8")
    head = text.split('"""')[1]
    assert f"BRAINTRUST_API_KEY=sk-… python examples/walkthrough/{program}" in head
    assert "BRAINTRUST_API_URL" in head
