"""docs/datasets.md, done from its start to its end: every file, every command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from conftest import Ran, Suite, outcome
from fake_braintrust import FakeBraintrust

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "datasets.md"

#: A file with its name before it, or commands.
_BLOCK = re.compile(
    r"(?ms)^(?:[^\n]*`([\w.]+)`:\n\n)?```(python|json|console)\n(.*?)^```$"
)


def test_the_document_is_true(suite: Suite, server: FakeBraintrust) -> None:
    """A reader who types all of it gets what it says."""
    server.add_user("ada@example.com", server.organizations[0])
    suite.sends_to(server)
    ran: list[Ran] = []
    for name, kind, text in _BLOCK.findall(DOCUMENT.read_text("utf-8")):
        if kind != "console":
            assert name, text
            (suite.folder / name).write_text(text, encoding="utf-8")
        for line in text.splitlines() if kind == "console" else ():
            ran.append(_typed(suite, line))
            assert ran[-1].status == 0, line + ran[-1].out + ran[-1].err
        if name == "test_remote.py":
            (suite.folder / name).rename(suite.folder / "remote.py")
    first, *_ = ran
    assert sorted(each["metadata"]["pytest"]["param_id"] for each in first.rows()) == [
        "australia",
        "france",
    ]
    assert {outcome(each) for each in first.rows()} == {"passed"}
    told = [each.out for each in ran[1:7]]
    assert told[0] == "geo/capitals: 2 rows added, 0 changed, 0 the same\n"
    assert told[1] == "geo/capitals: 0 rows added, 0 changed, 2 the same, 0 removed\n"
    assert told[3].startswith("geo/capitals: 2 rows written to pulled.csv")
    assert told[4].splitlines()[0].endswith(".jsonl: 1 row")
    assert told[5].startswith("geo/hard-capitals: 1 row, 1 of them new\n")
    assert ran[-1].out.startswith("ada@example.com ")
    remote = suite.run("remote.py", "-v")
    assert "test_capital[FR] PASSED" in remote
    assert "test_capital[AU] PASSED" in remote


def _typed(suite: Suite, line: str) -> Ran:
    command, *words = shlex.split(line.removeprefix("$ "))
    if command == "pytest":
        return suite.run_off(*words)
    assert command == "pytest-braintrust"
    return suite.cli(*words)
