"""The command `pytest-braintrust`: what it prints, for people and for programs."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command, Suite
from fake_braintrust import FakeBraintrust
from made_runs import Told, store_run
from stored import a_row, a_store, add, rows
from test_recording import CAPITALS

from pytest_braintrust.cli import main, output
from pytest_braintrust.cli.output import Column, Counter, first_parts, middle, table
from pytest_braintrust.reports.lines import Line, width_of
from pytest_braintrust.store.connection import Store

HOSTILE = "\x1b[2Jev\x07il\r\n\u202ename"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """A store with two runs."""
    store = a_store(folder)
    add(store, "main-aaaa111", branch="main", at=100, of=rows(3))
    wrong = a_row("test_wrong", exact=0.25, outcome="failed", error="no\nsuch city")
    add(store, "topic-bbbb222", branch="topic", at=200, of=[*rows(2), wrong])
    yield store
    store.close()


def test_the_first_steps(suite: Suite) -> None:
    """After a run, its experiment is listed, shown, and found from a folder below."""
    suite.write(test_geo=CAPITALS).run("--braintrust-project=capitals")
    listed = suite.cli("list")
    assert listed.status == 0
    title, line = listed.out.splitlines()
    assert title.split()[:2] == ["EXPERIMENT", "PROJECT"]
    assert line.split()[1] == "capitals"
    assert "3/3" in line
    (suite.folder / "below").mkdir()
    suite.folder /= "below"
    shown = suite.cli("show", "latest")
    assert shown.status == 0
    assert "test_geo.py::test_capital[Spain-Lisbon]" in shown
    assert "exact  0.667     3" in shown


@pytest.mark.usefixtures("store")
def test_list_shows_the_newest_first(command: Command) -> None:
    """With filters, and as JSON."""
    lines = command("list").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["topic-bbbb222", "main-aaaa111"]
    assert "main-aaaa111" not in command("list", "--branch", "topic").out
    assert command("list", "--project", "rivers", "--branch", "nope").out == (
        "no runs of branch nope in project rivers; `pytest-braintrust list` shows all\n"
    )
    limited = command("list", "--limit", "1").out
    assert "and 1 older; --limit 0 shows all" in limited
    first, second = command("list", "--json").json
    assert first["name"] == "topic-bbbb222"
    assert first["scores"]["exact"] == {"mean": 0.75, "count": 3}
    assert second["rows"] == {"recorded": 3, "sent": 0, "pending": 3, "refused": 0}
    assert second["branch"] == "main"


@pytest.mark.usefixtures("store")
def test_show_filters_rows(command: Command) -> None:
    """By score and outcome, with their output where that is asked for."""
    everything = command("show")
    assert everything.out == command("show", "latest").out
    assert "test_a.py::test_wrong" in everything.out
    assert "test_a.py::test_0" in everything.out
    wrong = command("show", "topic", "--score", "exact<0.5", "--output")
    assert "test_0" not in wrong.out
    assert "  output    TEST_WRONG" in wrong.out
    assert "  error     no\n            such city" in wrong.out
    failed = command("show", "topic", "--outcome", "failed", "--json").json
    assert [each["test"] for each in failed["rows"]] == ["test_a.py::test_wrong"]
    assert failed["rows"][0]["scores"] == {"exact": 0.25, "pass": 0.0}
    assert failed["experiment"]["name"] == "topic-bbbb222"
    assert "\nmetrics     duration " in everything.out
    assert failed["experiment"]["metrics"]["duration"]["tests"] == 3
    full = command("show", "topic", "--json", "--output", "--limit", "1").json
    assert full["rows"][0]["event"]["input"] == {"question": "test_0"}
    assert "no such rows" in command("show", "latest", "--score", "exact>1").out
    assert (
        "and 2 more; --limit 0 shows all" in command("show", "latest", "--limit=1").out
    )


TALKATIVE = """\
def test_it(bt_score):
    said = "a word " * 40
    bt_score(input="x" * 5_000, output=said, expected="line\\n" * 30,
             metadata={"judge": "Too long. " * 9, "model": "small"})
"""


def test_what_a_row_says_can_be_read_on_a_terminal(suite: Suite) -> None:
    """Long texts go on below, up to twenty lines, and with them what a judge said."""
    suite.write(test_it=TALKATIVE).run()
    suite.environment["COLUMNS"] = "80"
    out = suite.cli("show", "--output").out
    lines = out[out.index("passed  test_it") :].splitlines()
    assert max(map(width_of, lines)) <= 80
    assert " ".join(out.split()).count("a word") == 40
    assert sum(line.endswith(" line") for line in lines) == 20
    assert "            … 10 more lines" in lines
    (input_line,) = [line for line in lines if line.startswith("  input ")]
    assert input_line.endswith("x…")
    at = next(n for n, line in enumerate(lines) if line.startswith("  metadata "))
    told = " ".join(" ".join(lines[at:]).split())
    assert told.startswith('metadata {"judge": "Too long. Too long.')
    assert told.endswith('"model": "small"}')


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("exact>0.25", 2),
        ("exact>=.25", 3),
        ("exact==1", 2),
        ("exact!=1", 1),
        ("exact>1", 0),
    ],
)
@pytest.mark.usefixtures("store")
def test_conditions_on_scores(command: Command, expression: str, count: int) -> None:
    """Each operator means what it does everywhere."""
    shown = command("show", "latest", "--json", "--score", expression).json
    assert len(shown["rows"]) == count


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "latest", "--score", "exact"], "not of the form NAME<NUMBER"),
        (
            ["show", "latest", "--score", "exct<1", "--json"],
            "no row of the run has a score exct; there is exact, pass",
        ),
        (["show", "latest", "--limit", "-1"], "'-1' is not a whole number"),
        (["show", "latest", "--outcome", "lost"], "invalid choice: 'lost'"),
        (["export"], "the following arguments are required: EXPERIMENT"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        ([], "the following arguments are required: COMMAND"),
        (["show", "nothing-like-it"], "there is no experiment nothing-like-it"),
        (["show", "i"], "i is ambiguous: it may be"),
        (["pull", "capitals/latest"], "no API key: set BRAINTRUST_API_KEY"),
        (["push", "--api-key", "k", "--api-url", "ftp://x"], "--api-url: 'ftp://x' is"),
    ],
)
@pytest.mark.usefixtures("store")
def test_wrong_usage_is_one_line_and_status_2(
    command: Command, arguments: list[str], told: str
) -> None:
    """It says what is wrong, and nothing is printed for a program to misread."""
    said = command(*arguments)
    assert said.status == 2
    (line,) = said.err.splitlines()
    assert told in line
    assert said.out == ""


@pytest.mark.parametrize("name", ["list", "show", "push", "export"])
def test_without_a_store_a_command_says_what_to_do(command: Command, name: str) -> None:
    """One line, and nothing is made."""
    needs = [name, *(["latest"] if name == "export" else [])]
    key = ["--api-key", "k"] if name == "push" else []
    said = command(*needs, *key)
    assert said.status == 1
    assert said.err.count("\n") == 1
    assert "run `pytest --braintrust` first" in said.err
    assert not list(Path.cwd().iterdir())


def test_the_store_may_be_named_before_the_command(
    store: Store, command: Command, tmp_path: Path
) -> None:
    """Or after it, which counts where both are said."""
    named = ("--store", str(store.directory))
    other = ("--store", str(tmp_path / "none"))
    with_it = command("list", *named, "--json").json
    assert command(*named, "list", "--json").json == with_it
    assert command(*other, "list", *named, "--json").json == with_it
    assert command(*other, "list").status == 1


def test_runs_go_from_store_to_store(
    command: Command, store: Store, folder: Path
) -> None:
    """By `export` and `import`, and a wrong file stops only itself."""
    assert command("export", "main", "-o", "a.jsonl").status == 0
    for printed in ((), ("-o", "-")):
        said = command("export", "topic", "--json", *printed)
        assert (said.status, said.out) == (2, "")
        assert "--json tells of a file that was written: name it with -o" in said.err
    told = command("export", "topic", "-o", "b.jsonl", "--json").json
    assert told["rows"] == 3
    Path("wrong.jsonl").write_text("{}\n")
    into = str(folder / "other" / ".braintrust")
    said = command(
        "import", "a.jsonl", "wrong.jsonl", "nowhere.jsonl", "b.jsonl", "--store", into
    )
    assert said.status == 1
    assert said.out.splitlines() == [
        "capitals/main-aaaa111: 3 rows from a.jsonl",
        "capitals/topic-bbbb222: 3 rows from b.jsonl",
    ]
    assert "wrong.jsonl:1: not the first line of a file that `export` wrote" in said.err
    assert "cannot read nowhere.jsonl: No such file or directory" in said.err
    assert len(command("list", "--store", into, "--json").json) == 2
    again = command("import", "a.jsonl", "--store", into, "--json")
    assert again.status == 0
    assert again.json[0]["rows"] == 3
    assert len(command("list", "--store", into, "--json").json) == 2


def test_a_run_goes_through_a_pipe(
    command: Command, store: Store, folder: Path
) -> None:
    """As other programs take a dash for it; no file has that name after."""
    line = [sys.executable, "-m", "pytest_braintrust"]
    export = [*line, "export", "main", "-o", "-", "--store", str(store.directory)]
    written = subprocess.run(export, check=True, capture_output=True).stdout
    into = str(folder / "other" / ".braintrust")
    taken = subprocess.run(
        [*line, "import", "-", "--store", into],
        check=True,
        capture_output=True,
        input=written,
    )
    assert b"capitals/main-aaaa111: 3 rows from -" in taken.stdout
    assert len(command("list", "--store", into, "--json").json) == 1
    cut = subprocess.run(
        [*line, "import", "-", "--store", into],
        check=False,
        capture_output=True,
        input=written[: written.rindex(b"\n{")],
    )
    assert cut.returncode == 1
    assert b"standard input: 2 rows, and its first line tells of 3" in cut.stderr
    assert not Path("-").exists()


def test_pull_and_push(suite: Suite, server: FakeBraintrust, tmp_path: Path) -> None:
    """What one machine pushes another one pulls, and shows the same."""
    suite.write(test_geo=CAPITALS).run("--braintrust-project=capitals")
    suite.sends_to(server)
    pushed = suite.cli("push")
    assert pushed.status == 0
    assert "3 rows sent" in pushed
    assert "nothing to send" in suite.cli("push")
    here = suite.cli("show", "latest", "--json")
    suite.folder = tmp_path / "elsewhere"
    suite.folder.mkdir()
    pulled = suite.cli("pull", "capitals/latest")
    assert pulled.status == 0, pulled.err
    assert "3 rows in the store" in pulled
    assert json.loads(suite.cli("pull", "capitals/latest", "--json").out)["rows"] == {
        "recorded": 3,
        "sent": 3,
        "pending": 0,
        "refused": 0,
    }
    there = suite.cli("show", "latest", "--json")
    assert json.loads(here.out)["rows"] == json.loads(there.out)["rows"]
    unknown = suite.cli("pull", "capitals/nothing-like-it")
    assert unknown.status == 2
    server.close()
    assert suite.cli("push").status == 0
    unreachable = suite.cli("pull", "capitals/latest")
    assert unreachable.status == 1
    assert unreachable.err.count("\n") == 1


def test_what_cannot_be_printed_is_told(suite: Suite) -> None:
    """A full disk, and a folder that was removed meanwhile, in a line each."""
    suite.write(test_a="def test_a(bt_score): bt_score(output=1)").run()
    line = f"{sys.executable} -m pytest_braintrust"
    for shell, why in (
        (f"{line} list > /dev/full", "No space left on device"),
        (f"mkdir x; cd x; rmdir ../x; {line} list", "No such file or directory"),
    ):
        ran = subprocess.run(
            ["sh", "-c", shell],
            cwd=suite.folder,
            env=suite.env(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 1, ran.stderr
        (told,) = ran.stderr.splitlines()
        assert told.endswith(why)


class _ClosedOnWindows(io.TextIOWrapper):
    """What Windows says of a pipe whose reader is gone."""

    def write(self, text: str) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.usefixtures("store")
def test_a_reader_that_is_gone_is_no_error_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There it has another number."""
    with (tmp_path / "out").open("wb") as file:
        monkeypatch.setattr(sys, "stdout", _ClosedOnWindows(file))
        assert main(["list"]) == 141
    assert capsys.readouterr().err == ""


class _Console(io.StringIO):
    """A terminal that a person looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("variable", ["WT_SESSION", None])
def test_a_console_of_windows_that_knows_no_escapes_gets_none(
    monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    """It would print them as they stand."""
    monkeypatch.setattr(output, "_ON_WINDOWS", True)
    for each in (*output._OBEDIENT, "NO_COLOR"):
        monkeypatch.delenv(each, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(sys, "stdout", console := _Console())
    output.show([Line("it is worse", "red")])
    counter = Counter("pulling:", stream=console)
    counter.add(1_000)
    counter.clear()
    shown = console.getvalue()
    assert "it is worse" in shown
    assert shown.endswith("\r" if variable is None else "\r\x1b[K")
    assert ("\x1b" in shown) is (variable is not None)


def test_a_reader_that_is_gone_is_no_error(suite: Suite) -> None:
    """`show | head -1` ends quietly, however much there was to say."""
    store = a_store(suite.folder)
    add(store, "main-1", of=rows(3_000))
    store.close()
    line = f"{sys.executable} -m pytest_braintrust"
    shell = f"{line} show latest --limit 0 | head -1; {line} show --help | head -1"
    done = subprocess.run(
        shell,
        shell=True,
        check=False,
        cwd=suite.folder,
        env=suite.env(),
        capture_output=True,
    )
    first, second = done.stdout.decode().splitlines()
    assert first.startswith("experiment  main-1")
    assert second.startswith("usage: pytest-braintrust show")
    assert done.stderr == b""


def test_a_foreign_name_cannot_command_the_terminal(
    command: Command, folder: Path
) -> None:
    """Names, scores, outputs and errors are printed without what a terminal obeys."""
    store = a_store(folder)
    row = a_row(HOSTILE, outcome="failed", value=HOSTILE, error=HOSTILE)
    found = add(store, HOSTILE, project=HOSTILE, branch=HOSTILE, of=[row])
    with store.transaction() as connection:
        connection.execute(
            "UPDATE experiments SET upload_error = ?, url = ?", (HOSTILE, HOSTILE)
        )
    store.close()
    for arguments in (
        ["list"],
        ["show", "latest"],
        ["show", "latest", "--output"],
        ["show", HOSTILE + "~3"],
        ["show", "ev"],
        ["list", "--json"],
        ["show", "latest", "--json", "--output"],
        ["export", found.id, "-o", "a.jsonl"],
        ["import", "a.jsonl"],
    ):
        said = command(*arguments)
        printed = (said.out + said.err).replace("\n", "")
        assert printed.isprintable(), arguments
        assert "\u202e" not in printed


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_tables_fit_the_terminal(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """Also where characters are two columns wide."""
    monkeypatch.setenv("COLUMNS", str(columns))
    store = a_store(folder)
    long = "日本語の長い名前" * 20
    add(store, long, project=long, branch=long, of=[a_row(long), a_row("x" * 500)])
    store.close()
    for arguments in (["list"], ["show", "latest"]):
        lines = command(*arguments).out.splitlines()
        told = [
            line
            for line in lines
            if not line.startswith(("experiment", "id", "commit"))
        ]
        assert max(map(width_of, told)) <= columns


def test_a_table_gives_way_where_it_may() -> None:
    """The widest columns first, none below its least, and the middle of a test."""
    columns = (Column("name", least=5), Column("n", right=True), Column("t", 9, True))
    rows = [["abcdefghijkl", "1", "test_a.py::test_b[case-1]"], ["x", "22", "y"]]
    assert list(table(columns, rows, 24)) == [
        "name      n  t",
        "abcdef…   1  test_…se-1]",
        "x        22  y",
    ]
    assert list(table(columns, rows, None))[1].endswith("test_a.py::test_b[case-1]")
    assert list(table(columns, [], 20)) == []
    assert list(table(columns, rows, 1))[2] == "x    2…  y"


def test_scores_that_have_no_room_are_counted() -> None:
    """None is shown by half, unless there is no room for one."""
    text = "exact 0.500  close 0.250  pass 1.000"
    assert first_parts(text, 36, 4) == text
    assert first_parts(text, 35, 4) == "exact 0.500  close 0.250  +1"
    assert first_parts(text, 20, 4) == "exact 0.500  +2"
    assert first_parts(text, 14, 4) == "exa… 0.500  +2"
    assert first_parts(text, 8, 4) == "exact 0…"
    assert first_parts("", 8, 4) == ""


def test_of_many_scores_the_first_are_shown() -> None:
    """However much room there is; for one alone its own room is taken."""
    text = "a 0.500  b 0.250  c 1.000"
    assert first_parts(text, 99, 1) == "a 0.500  +2"
    assert first_parts(text, 99, 2) == text
    column = Column("scores", least=18, parts=1)
    assert list(table((column, Column("n")), [[text, "1"]], None)) == [
        "scores       n",
        "a 0.500  +2  1",
    ]


def test_columns_that_others_say_too_are_left_out_first() -> None:
    """Before a name is cut so that nobody could ask for it."""
    columns = (
        Column("name", least=8, middle=True),
        Column("branch", least=4, dispensable=True),
        Column("commit", dispensable=True),
        Column("n"),
    )
    rows = [["main-1234567", "main", "1234567", "1"]]
    titles = {width: next(iter(table(columns, rows, width))) for width in (27, 20, 10)}
    assert titles[27].split() == ["name", "bra…", "commit", "n"]
    assert titles[20].split() == ["name", "bran…", "n"]
    assert titles[10].split() == ["name", "n"]


@pytest.mark.parametrize(
    ("columns", "shown"), [("80", 5), ("60", 2), ("20", 1), ("", 8)]
)
def test_scores_have_columns_while_the_test_has_room(
    command: Command,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
    shown: int,
) -> None:
    """Its node id is there to be copied; which scores have none is said."""
    names = [f"s{each}" for each in range(9)]
    store = a_store(folder)
    store_run(store, [Told("test_it", dict.fromkeys(names, 0.5))])
    store.close()
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    else:
        monkeypatch.delenv("COLUMNS", raising=False)
    said = command("show").out
    heads = next(e for e in said.splitlines() if e.startswith("out")).split()[1:-1]
    assert heads == names[:shown]
    left = ", ".join([*names[shown:], "pass"])
    told = f"not shown: {left}; --output and --json have all"
    assert told in " ".join(said.split())


@pytest.mark.parametrize("width", range(2, 12))
def test_the_middle_is_cut_to_any_width(width: int) -> None:
    """Never wider, and as wide as it can be."""
    assert width_of(middle("abcdefghijklmnop", width)) == width
    assert width_of(middle("日本語の長い名前", width)) <= max(width, 3)


def test_progress_is_for_terminals() -> None:
    """There it counts on one line, and goes away."""
    terminal = io.StringIO()
    counter = Counter("pulling:", stream=terminal)
    counter.add(1_000)
    counter.add(500)
    counter.clear()
    assert terminal.getvalue() == ("\rpulling: 1,000 rows\rpulling: 1,500 rows\r\x1b[K")
    quiet = Counter("pulling:")
    quiet.add(5)
    quiet.clear()
    assert quiet.stream is None


def test_any_encoding_will_do(suite: Suite) -> None:
    """What it has no character for is spelled."""
    store = a_store(suite.folder)
    add(store, "日本", of=rows(1))
    store.close()
    suite.environment["PYTHONIOENCODING"] = "ascii"
    listed = suite.cli("list")
    assert listed.status == 0
    assert "\\u65e5\\u672c" in listed


def test_ctrl_c_is_told_in_one_line(
    command: Command, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the status that shells know."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_braintrust.cli.listing.chosen", interrupted)
    said = command("list")
    assert (said.status, said.err) == (
        130,
        "pytest-braintrust: interrupted; nothing is lost\n",
    )


def test_push_sends_one_run_or_all(
    command: Command,
    store: Store,
    server: FakeBraintrust,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And tells a program what it sent."""
    monkeypatch.setenv("BRAINTRUST_API_KEY", server.api_key)
    monkeypatch.setenv("BRAINTRUST_API_URL", server.url)
    one = command("push", "main")
    assert one.status == 0
    assert one.out.startswith("capitals/main-aaaa111: 3 rows sent\n  http")
    assert [each["name"] for each in server.experiments] == ["main-aaaa111"]
    assert "nothing to send" in command("push", "main").out
    (rest,) = command("push", "--all", "--json").json
    assert rest["name"] == "topic-bbbb222"
    assert rest["rows"] == {"recorded": 3, "sent": 3, "pending": 0, "refused": 0}
    assert rest["error"] is None
    assert command("push", "main", "--all").status == 2
    add(store, "third", of=rows(1))
    monkeypatch.setenv("BRAINTRUST_API_KEY", "wrong")
    refused = command("push")
    assert refused.status == 1
    assert "1 pending" in refused.out
    (told,) = command("push", "--json").json
    assert "401" in told["error"]
