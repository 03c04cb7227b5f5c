"""Whole runs and whole commands against a server that is hostile: in time, in safe words.

`test_api_hostile.py` asks the client alone.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest
from capitals import COUNTRIES, fill
from conftest import Command, Ran, Said, Suite
from fake_braintrust import (
    Action,
    FakeBraintrust,
    Fault,
    Request,
    answer,
    changed,
    deep_json,
    hang,
    html,
)
from fake_braintrust.faults import CONTROL
from test_run_facts import git

from pytest_braintrust.api import BraintrustClient
from pytest_braintrust.api.retry import RetryPolicy

#: What no terminal is to see; lines end, and nothing else.
FORBIDDEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)

SUITE = """\
import pytest

@pytest.mark.parametrize("n", range(3))
def test_it(bt_score, n): bt_score(output=n, scores={"exact": n / 2})

def test_fails(bt_score):
    bt_score(scores={"exact": 0})
    assert False
"""
ROWS = 4

#: Names of fields whose texts are shown to people.
SHOWN = re.compile("name$|url$|message$|branch|commit")


Spoken = TypeVar("Spoken", Ran, Said)


def quiet(spoken: Spoken) -> Spoken:
    """Check that what a run or a command says is for people, and safe to print."""
    for text in (spoken.out, spoken.err):
        found = FORBIDDEN.search(text)
        assert not found, repr(text[max(0, found.start() - 100) : found.end()])
        assert "Traceback" not in text, text
        assert "INTERNALERROR" not in text, text
    return spoken


@pytest.fixture
def ask(
    command: Command, suite: Suite, server: FakeBraintrust, monkeypatch: Any
) -> Command:
    """Runs a command in the suite's folder, with the server that its runs have."""
    suite.sends_to(server)
    monkeypatch.chdir(suite.folder)
    for name, value in suite.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.0)
    return lambda *words: quiet(command(*words))


# ------------------------------------------------------------------------- hostilities


def everywhere(change: Callable[[str, Any], Any]) -> Action:
    """Change every value of the answers, told its name."""

    def within(value: Any) -> Any:
        if isinstance(value, list):
            return [within(each) for each in value]
        if isinstance(value, dict):
            return {name: change(name, within(each)) for name, each in value.items()}
        return value

    return changed(within)


def longer(more: str, where: re.Pattern[str] = SHOWN) -> Action:
    """Say more than was asked, in some texts."""

    def change(name: str, value: Any) -> Any:
        told = isinstance(value, str) and where.search(name)
        return value + more if told else value

    return everywhere(change)


def of_another_type(value: Any) -> Any:
    if isinstance(value, str):
        return {"\x1b[2J": 7}
    return "\x1b[2J\ud800" if isinstance(value, (dict, list)) else [value]


def wrong_within(*left: str) -> Action:
    """Every value of another type, but for some by name, at every depth."""

    def change(name: str, value: Any) -> Any:
        inner = isinstance(value, dict) and name not in {"id", "name"}
        if name in left or inner:
            return value
        return of_another_type(value)

    return everywhere(change)


def commit_of(**info: Any) -> Action:
    """Experiments that were made of a strange commit, with strange metadata."""
    strange = {"\x1b[2J": {"\x1b[2J\ud800": "\x1b[2J"}, "arguments": 7, "datasets": [7]}

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(each) for each in value]
        if not isinstance(value, dict):
            return value
        plain = {name: change(each) for name, each in value.items()}
        if "base_exp_id" in plain:
            plain["repo_info"] = info
            plain["metadata"] = {**(plain["metadata"] or {}), **strange}
        return plain

    return changed(change)


DEEP = json.loads("[" * 500 + "]" * 500)

#: By name, an answer of the server to every call but the first, which asks whether it
#: is Braintrust at all.
HOSTILE: Mapping[str, Callable[[], Action]] = {
    "control characters": lambda: longer(CONTROL),
    "control characters in all": lambda: longer(CONTROL, re.compile("")),
    "10,000 characters": lambda: longer("x" * 10_000),
    "mark-up": lambda: longer("> <img src=x> @all"),
    "surrogates": lambda: longer("\ud800\udfff\udc80"),
    "surrogates in all": lambda: longer("\ud800", re.compile("")),
    "strange commits": lambda: commit_of(
        commit={"a": [1]}, branch=["x"], dirty="seven", tag=7, author_name={}
    ),
    "loud commits": lambda: commit_of(
        commit=CONTROL * 500, branch=f"{CONTROL}\ud800" * 500, dirty=[1]
    ),
    "nested": deep_json,
    "nested within": lambda: everywhere(
        lambda name, value: DEEP if name in {"metadata", "repo_info"} else value
    ),
    "wrong types": lambda: everywhere(lambda _, value: of_another_type(value)),
    "wrong types within": lambda: wrong_within("id", "name", "row_ids", "objects"),
    "null": lambda: everywhere(lambda _, value: None),
    "a list": lambda: answer(200, "[]", apply=True),
    "a number": lambda: answer(200, '{"id": 1' + "1" * 5_000 + "}", apply=True),
    "a page": lambda: answer(
        500, f"<html><h1>{CONTROL}" + "A" * 100_000, {"Content-Type": "text/html"}
    ),
    "a login": html,
    "much": lambda: answer(200, b'{"id":"' + b"x" * 70_000_000 + b'"}', apply=True),
}


def but_the_first() -> Callable[[Request], bool]:
    """All calls after the one that asks for the project before the first test."""
    seen: list[Request] = []

    def strikes(request: Request) -> bool:
        asks = request.method == "POST" and request.path.endswith("/v1/project")
        if asks and not seen:
            seen.append(request)
            return False
        return True

    return strikes


@pytest.fixture
def told(suite: Suite, server: FakeBraintrust) -> Suite:
    """A suite of which the server, and no store, has an earlier run."""
    suite.write(test_it=SUITE).sends_to(server)
    assert suite.run().status == 1
    shutil.rmtree(suite.folder / ".braintrust")
    return suite


#: The worst of them: elsewhere the others would add time and little else.
WORST = (
    *("control characters in all", "wrong types within", "nested within"),
    *("surrogates in all", "much", "a page"),
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_against_a_hostile_server(
    told: Suite, server: FakeBraintrust, ask: Command, name: str
) -> None:
    """Its status is that of its tests, its rows are here, and each command ends."""
    server.faults.add(Fault(HOSTILE[name](), when=but_the_first(), times=None))
    ran = quiet(told.run("--braintrust-flush-timeout=2", "--braintrust-markdown=it.md"))
    assert ran.status == 1
    assert len(ran.rows()) >= ROWS
    assert f"{ROWS} collected = 3 passed + 1 failed" in ran.section
    markdown = (told.folder / "it.md").read_text()
    assert not FORBIDDEN.search(markdown)
    assert "> <img" not in markdown
    for words in ("list", "show latest", "show latest --output", "diff latest latest"):
        assert ask(*words.split()).status == 0, words
    for words in ("push", "pull suite/latest"):
        said = ask(*words.split())
        assert said.status in {0, 1, 2}, words
        assert 0 < len(said.out + said.err) < 50_000
    for words in ("list", "show latest", "show latest --output"):
        assert ask(*words.split()).status == 0, words
    for words in ("diff latest", "history", "gate latest --fail-on-regression"):
        assert ask(*words.split()).status in {0, 1, 2}, words


def test_names_of_baselines_are_safe_to_print(
    told: Suite, server: FakeBraintrust
) -> None:
    """In the command that gets one that is late, and where a misspelt one is told."""
    server.faults.add(Fault(longer(f"'; echo {CONTROL}"), path="/v1/experiment$"))
    server.faults.add(Fault(hang(600), path="/btql", times=None))
    late = quiet(told.run("--braintrust-flush-timeout=1"))
    (experiment, *_) = server.experiments
    command = f"get it with: pytest-braintrust pull suite/{experiment['id']}"
    assert command in " ".join(late.section.split())
    shutil.rmtree(told.folder / ".braintrust")
    server.faults.add(Fault(longer(CONTROL), path="/v1/experiment$"))
    misspelt = quiet(told.run(f"--braintrust-baseline={experiment['name']}~x"))
    assert misspelt.status == pytest.ExitCode.USAGE_ERROR
    assert "there is no experiment" in misspelt.err


def test_a_commit_of_elsewhere_is_no_option_of_git(
    suite: Suite, server: FakeBraintrust, ask: Command
) -> None:
    """Git has options that write files; it is asked what was before a run's commit."""
    suite.write(test_it=SUITE)
    (suite.folder / ".gitignore").write_text("*\n")
    git(suite.folder, "init", "-q")
    git(suite.folder, "config", "user.name", "n")
    git(suite.folder, "config", "user.email", "e@example.com")
    git(suite.folder, "commit", "-q", "--allow-empty", "-m", "one")
    assert suite.run("--braintrust-no-upload").status == 1
    store, aside = suite.folder / ".braintrust", suite.folder / "aside"
    store.rename(aside)
    assert suite.run().status == 1
    shutil.rmtree(store)
    aside.rename(store)
    server.faults.add(Fault(commit_of(commit="--output=written"), times=None))
    assert ask("pull", "suite/latest").status == 0
    assert ask("diff", "latest").status in {0, 2}
    assert not (suite.folder / "written").exists()


# ------------------------------------------------------------------- what a suite says

STRANGE = """\
import pytest

SIDE = {side}
LONG, LOUD = "x" * 10_000, "a" + {loud!r} + "\\t"
STRANGE = [
    *(LONG, LOUD, LONG + LOUD, "n\\x00l", "../../etc/passwd", "a/b", "<b>`|*"),
    *("%s{{0}}", "-o", " ", "\\u0e01" * 3_000, "\\u00e9" * 5_000, "@all"),
]

@pytest.mark.parametrize("q", STRANGE, ids=lambda q: q)
def test_it(bt_score, q):
    name = q[:200].strip() or "none"
    scores = {{"exact": SIDE, name: 0.5}}
    bt_score(output=q if SIDE else q[::-1], scores=scores, metadata={{name: q}})
    with bt_score.row(q) as row:
        row(output=q, scores={{"exact": SIDE}}, tags=[name])
"""


def test_strange_tests_against_a_server(suite: Suite, ask: Command) -> None:
    """Node ids, parameters, scores, projects and names of any length and kind."""
    suite.ini(
        "disable_test_id_escaping_and_forfeit_all_rights_to_community_support = 1"
    )
    names = (
        f"--braintrust-experiment=e{'x' * 10_000}",
        f"--braintrust-project=p{CONTROL}",
    )
    for side in (1, 0):
        suite.write(test_it=STRANGE.format(side=side, loud=CONTROL))
        ran = suite.run(*names, "--braintrust-markdown=it.md", "--junitxml=it.xml")
        assert ran.status == 0, ran.out[-3000:]
        assert not FORBIDDEN.search(ran.section)
        assert not FORBIDDEN.search((suite.folder / "it.md").read_text())
        assert "13 collected = 13 passed" in ran.section
        assert "26 recorded = 26 sent + 0 pending" in ran.section
    assert "regressed" in ran.section
    for words in (
        "list",
        "list --json",
        "show latest --limit 0",
        "show latest --limit 0 --output",
        "show latest --json",
        "diff latest",
        "diff latest --output --worse",
        "diff latest~1 latest --json",
        "history",
        "history --json",
        "push",
        "export latest -o it.jsonl",
        "import it.jsonl",
    ):
        assert ask(*words.split()).status == 0, words
    assert ask("gate", "latest", "--fail-on-regression").status == 1
    assert ask("pull", f"p{CONTROL}/latest").status == 0
    for name in (f"\x1b[2J{'x' * 10_000}", f"p/{CONTROL}"):
        assert ask("show", name).status == 2
        assert ask("pull", name).status == 2


# ----------------------------------------------------------- the first call, and others


@pytest.mark.parametrize("name", WORST)
def test_a_server_that_is_hostile_from_the_first_call(
    suite: Suite, server: FakeBraintrust, ask: Command, name: str
) -> None:
    """It is no server of Braintrust's, or one that is kept waiting; so say commands."""
    suite.write(test_it=SUITE)
    server.faults.add(Fault(HOSTILE[name](), times=None))
    ran = quiet(suite.run("--braintrust-flush-timeout=2"))
    assert ran.status in {1, pytest.ExitCode.USAGE_ERROR}
    if ran.status == 1:
        assert len(ran.rows()) == ROWS
    else:
        assert "ERROR: braintrust: " in ran.err + ran.out
    for words in (
        "dataset list",
        "dataset pull suite/cases -o cases.jsonl",
        "dataset push strange.jsonl suite/cases",
        "access whoami",
        "access find a@example.com",
        "access grant-owner a@example.com --yes",
    ):
        (suite.folder / "strange.jsonl").write_text('{"input": 1}\n')
        said = ask(*words.split())
        assert said.status in {0, 1, 2}, words
        assert len(said.out + said.err) < 50_000


OF_DATASET = """\
import pytest

@pytest.mark.braintrust(dataset="suite/cases")
def test_it(bt_row, bt_score): bt_score(output=bt_row.input, scores={"exact": 1})
"""


@pytest.mark.parametrize("name", WORST)
def test_a_dataset_of_a_hostile_server(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient, name: str
) -> None:
    """Its cases are run as they are, or the run says why there are none."""
    fill(client, "suite", "cases", COUNTRIES[:3])
    suite.write(test_it=OF_DATASET).sends_to(server)
    server.faults.add(Fault(HOSTILE[name](), path="dataset|btql", times=None))
    ran = quiet(suite.run("-v", "-rA", "--braintrust-flush-timeout=2"))
    assert ran.status in {0, 2, 4}
    if ran.status == 0:
        assert "3 recorded" in ran.section
    else:
        assert "suite/cases" in ran
