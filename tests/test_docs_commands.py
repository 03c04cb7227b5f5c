"""The documents of the commands: their table is the help, their sessions are run."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import Command, Suite
from fake_braintrust import FakeBraintrust
from test_docs import DOCS, table
from test_shards import shard

from pytest_braintrust import sharding
from pytest_braintrust.cli import COMMANDS, parser_of_all

GEO = """\
import pytest

CASES = [("France", "Paris"), ("Italy", "Rome"), ("Spain", "Lisbon")]
ANSWERS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid"}

@pytest.mark.parametrize(("question", "expected"), CASES)
def test_capital(bt_score, question, expected):
    answer = ANSWERS[question]
    bt_score(output=answer, scores={"exact": answer == expected})
    assert answer == expected
"""
COMMON = {"--help", "--store", "--json"}
CONNECTION = {
    "--api-key",
    "--api-url",
    "--app-url",
    "--allow-http",
    "--org-name",
    "--impersonate",
}


def helps(command: Command, *names: str) -> dict[str, str]:
    """The help of every command, by its name."""
    text = command(*names, "--help").out
    own = re.findall(r"(?m)^    (\w[\w-]*)(?: |$)", text.partition("\ncommands:\n")[2])
    if not own:
        return {" ".join(names): text}
    found: dict[str, str] = {}
    for name in own:
        found |= helps(command, *names, name)
    return found


def test_the_table_is_that_of_the_help(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command, with the options that are its own and its description."""
    monkeypatch.setenv("COLUMNS", "1000")
    expected = {}
    for name, text in helps(command).items():
        options = re.findall(r"(?m)^  (?:-\w(?: \S+)?, )?(--[\w-]+)", text)
        own = [f"`{each}`" for each in options if each not in COMMON | CONNECTION]
        mark = ["B"] if set(options) >= CONNECTION else []
        meaning = text.split("\n\n")[1].split(". ")[0].rstrip(".")
        expected[name] = [" ".join([*own, *mark]).strip("`"), meaning]
    assert len(expected) > len(COMMANDS)
    assert table(DOCS / "commands.md", "command") == expected


def examples(text: str) -> list[str]:
    """The command lines under a help's heading `examples:`."""
    block = text.partition("\nexamples:\n")[2].split("\n\n")[0]
    lines = block.replace("\\\n", " ").splitlines()
    return [re.split(r" {3,}", line.strip())[0] for line in lines]


def test_every_help_has_examples_that_can_be_typed(command: Command) -> None:
    """Each is a command line that the parser takes."""
    every = {"": command("--help").out} | helps(command)
    for name, text in every.items():
        found = examples(text)
        assert found, name
        for line in found:
            words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
            assert words[0] == "pytest-braintrust"
            given = parser_of_all().parse_args(words[1:])
            assert callable(given.run), line


def sessions(path: Path) -> list[tuple[str, list[str]]]:
    """The command lines of a document, with the lines that are to follow each."""
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```$", path.read_text("utf-8"))
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def matches(said: list[str], printed: str) -> bool:
    """Whether it was printed: `…` is anything, and alone on its line any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n"
        for line in said
    )
    return re.fullmatch(pattern, printed) is not None


@pytest.mark.parametrize(
    ("document", "before"),
    [
        ("commands.md", ""),
        ("sharding.md", "pytest --braintrust --braintrust-run-id=nightly-7"),
    ],
)
def test_the_sessions_happen_as_they_are_printed(
    suite: Suite, server: FakeBraintrust, document: str, before: str
) -> None:
    """From top to bottom, in one folder."""
    suite.folder = suite.folder / "geo"
    suite.folder.mkdir()
    suite.ini().write(test_geo=GEO, test_rivers=shard("rivers", 2))
    if document == "commands.md":
        (suite.folder / "test_rivers.py").unlink()
    environment = suite.env() | {"COLUMNS": "100"}
    known = {
        "pytest": shlex.join(suite.command()),
        "pytest-braintrust": shlex.join([*suite.command()[:2], "pytest_braintrust"]),
    }
    lines = [*([(before, ["…"])] if before else []), *sessions(DOCS / document)]
    for line, said in lines:
        if line.startswith("pytest-braintrust pu") and "BRAINTRUST_API_KEY" not in (
            environment
        ):
            environment |= suite.sends_to(server).environment
        if line.endswith("&"):
            continue  # what it says is another's
        name, _, rest = line.partition(" ")
        done = subprocess.run(
            f"{known[name]} {rest}",
            shell=True,
            check=False,
            cwd=suite.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode in {0, 1}, done.stderr
        assert matches(said, done.stdout), f"{line}\n{done.stdout}{done.stderr}"


def test_the_table_of_cis_is_what_is_known() -> None:
    """The variables make the id that is printed."""
    for variables, example in table(DOCS / "sharding.md", "CI").values():
        names = re.findall(r"\w+", variables)
        values = example.strip("`").split("-", 1)[1].rsplit("-", 1)
        if len(names) == 1:
            values = ["-".join(values)]
        if names == ["BUILD_TAG"]:
            values = [example.strip("`")]
        environ = dict(zip(names, values, strict=False))
        assert sharding.from_ci(environ) == example.strip("`"), example
