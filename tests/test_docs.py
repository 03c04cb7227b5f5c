"""What the documents say is what the program does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Ran, Suite

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

_VARIABLE = re.compile(r"(?: \(or variable |; prefer the variable )(\w+)\)?")
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Help:
    """What `pytest --help` says of us."""

    #: By option as it is typed, its placeholder included: variable, help.
    options: dict[str, tuple[str, str]]
    #: By ini value: its kind and its help.
    ini: dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def told() -> Help:
    """The help of our plugin alone, with no line broken."""
    environment = {**os.environ, "COLUMNS": "1000"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    shown = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "pytest_braintrust.plugin", "--help"],
        env=environment,
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    options = re.findall(r"(?m)^  (--braintrust\S*)\s+(.+)$", shown)
    lines = re.findall(r"(?m)^  (braintrust_\w+) \((\w+)\):\s+(.+)$", shown)
    return Help(
        {name: _split(text) for name, text in options},
        {name: (kind, text) for name, kind, text in lines},
    )


def _split(text: str) -> tuple[str, str]:
    found = _VARIABLE.search(text)
    return (found[1] if found else "", _VARIABLE.sub("", text))


def table(path: Path, head: str) -> dict[str, list[str]]:
    """The rows of the table with that first heading, by their first cell."""
    lines = path.read_text(encoding="utf-8").split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows: dict[str, list[str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [each.strip().strip("`") for each in line.strip("|").split(" |")]
        assert cells[0] not in rows, cells
        rows[cells[0]] = cells[1:]
    return rows


def test_the_table_of_options_is_that_of_the_help(told: Help) -> None:
    """Every option with its variable and its ini value, in the words of `--help`."""
    expected: dict[str, list[str]] = {}
    for option, (variable, text) in told.options.items():
        ini = option.partition("=")[0].removeprefix("--").replace("-", "_")
        expected[option] = [variable, ini if ini in told.ini else "", text]
    assert table(DOCS / "options.md", "option") == expected


def test_the_table_of_ini_values_is_that_of_the_help(told: Help) -> None:
    """Those that no option has."""
    options = {each.partition("=")[0] for each in told.options}
    alone = {
        name: [kind, text]
        for name, (kind, text) in told.ini.items()
        if "--" + name.replace("_", "-") not in options
    }
    assert table(DOCS / "options.md", "ini value") == alone


def test_the_readme_s_options_are_options(told: Help) -> None:
    """With their placeholders, variables and ini values."""
    for option, (places, _) in table(ROOT / "README.md", "option").items():
        assert option in told.options
        for place in filter(None, re.split(r"[`, ]+", places)):
            assert place in told.ini or place == told.options[option][0], option


def sections(path: Path) -> list[list[tuple[str, str]]]:
    """The examples of a document: the blocks between two headings are one suite."""
    parts = re.split(r"(?m)^## ", path.read_text(encoding="utf-8"))
    blocks = [
        re.findall(r"(?ms)^```python\n# (\w+)\.py\n(.*?)^```$", part) for part in parts
    ]
    return [each for each in blocks if each]


def _redacted(ran: Ran) -> None:
    row = ran.row("test_mail")
    assert row["input"] == {"to": ["[address]"]}
    assert row["output"] == "a mail to [address]"


def _dropped(ran: Ran) -> None:
    assert [each["output"] for each in ran.rows()] == ["kept"]


def _named(ran: Ran) -> None:
    assert ran.experiments()[0]["name"].startswith("small-pytest-")


def _described(ran: Ran) -> None:
    metadata = json.loads(ran.experiments()[0]["metadata"])
    assert metadata["model"] == {"name": "small", "temperature": 0.2}
    assert "platform" not in metadata


def _as_with_the_sdk(ran: Ran) -> None:
    row = ran.row("test_capital")
    assert (row["input"], row["output"]) == ({"country": "France"}, "Paris")


def _traced(ran: Ran) -> None:
    spans = ran.row("test_capital")["metadata"]["pytest"]["spans"]
    named = [each["span_attributes"]["name"] for each in spans]
    assert named == ["answer", "retrieve", "complete"]


#: What each example is to come to, in the order of the document.
CLAIMS = {
    "hooks.md": (_redacted, _dropped, _named, _described),
    "official-sdk.md": (_as_with_the_sdk, _traced),
}


@pytest.mark.parametrize("document", CLAIMS)
def test_every_example_does_what_its_text_says(tmp_path: Path, document: str) -> None:
    """As it is pasted: it passes, and the store has what the text claims."""
    examples = sections(DOCS / document)
    text = (DOCS / document).read_text(encoding="utf-8")
    assert sum(map(len, examples)) == text.count("```python"), "a block has no file"
    for number, example in enumerate(examples):
        folder = tmp_path / str(number)
        folder.mkdir()
        ran = Suite(folder).ini().write(**dict(example)).run()
        assert ran.status == 0, ran.out + ran.err
        assert "the hook" not in ran.section
        CLAIMS[document][number](ran)


def test_links_between_documents_lead_somewhere() -> None:
    """To a file of the repository."""
    for path in (ROOT / "README.md", *DOCS.glob("*.md")):
        for link in _LINK.findall(path.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (path.parent / link).exists(), f"{path.name}: {link}"


def yaml_blocks() -> dict[str, Any]:
    """The YAML of docs/ci.md, parsed."""
    text = (DOCS / "ci.md").read_text(encoding="utf-8")
    found = re.findall(r"(?ms)^```yaml\n(.*?)^```$", text)
    github, gitlab = map(yaml.safe_load, found)
    return {"github": github, "gitlab": gitlab}


def test_the_workflows_are_yaml_and_name_options_of_ours(told: Help) -> None:
    """Each step does one thing, and every option that is typed exists."""
    blocks = yaml_blocks()
    steps = blocks["github"]["jobs"]["evals"]["steps"]
    assert all(("uses" in each) != ("run" in each) for each in steps)
    assert set(blocks["gitlab"]["evals"]) >= {"image", "script", "cache", "artifacts"}
    known = {each.partition("=")[0] for each in told.options}
    for document in ("ci.md", "comparison.md"):
        text = (DOCS / document).read_text(encoding="utf-8")
        assert set(re.findall(r"--braintrust[a-z-]*", text)) <= known


def test_the_workflows_own_shell_and_python_can_be_read() -> None:
    """What stands inside of the YAML is text to YAML."""
    blocks = yaml_blocks()
    steps = blocks["github"]["jobs"]["evals"]["steps"]
    shell = [each["run"] for each in steps if "run" in each]
    script = blocks["gitlab"]["evals"]["after_script"][0]
    for text in (*shell, *blocks["gitlab"]["evals"]["script"], script):
        assert subprocess.run(["bash", "-n", "-c", text], check=False).returncode == 0
    code = re.fullmatch(r"(?s)python - <<'END'\n(.*)END\n", script)
    assert code is not None
    compile(code[1], "ci.md", "exec")
