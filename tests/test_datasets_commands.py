"""`pytest-braintrust dataset …`: files and Braintrust, there and back, and from a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from capitals import COUNTRIES, downloads, fill, row
from conftest import XDIST, Suite
from fake_braintrust import FakeBraintrust
from test_datasets_files import CAPITALS, lines

from pytest_braintrust.api import BraintrustClient


def content(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What rows say, without what Braintrust adds."""
    names = ("id", "input", "expected", "metadata", "tags")
    kept = [{name: each[name] for name in names if each.get(name)} for each in rows]
    return sorted(kept, key=lambda each: str(each["id"]))


def test_a_file_is_pushed_once(suite: Suite, server: FakeBraintrust) -> None:
    """The same file again changes nothing, a changed one only what is different."""
    file = suite.folder / "cases.jsonl"
    file.write_text(lines(*CAPITALS), encoding="utf-8")
    suite.sends_to(server)
    ran = suite.cli("dataset", "push", "cases.jsonl", "geo/capitals")
    assert ran.status == 0, ran.err
    assert ran.out == "geo/capitals: 3 rows added, 0 changed, 0 the same\n"
    first = server.rows("capitals")
    assert [each["input"] for each in first] == [each["input"] for each in CAPITALS]
    ran = suite.cli("dataset", "push", "cases.jsonl", "geo/capitals")
    assert ran.out == "geo/capitals: 0 rows added, 0 changed, 3 the same\n"
    assert server.rows("capitals") == first
    changed = [{**CAPITALS[0], "expected": "Lyon"}, CAPITALS[1], {"input": "Chad"}]
    file.write_text(json.dumps(changed), encoding="utf-8")
    file = file.rename(suite.folder / "cases.json")
    ran = suite.cli("dataset", "push", "cases.json", "capitals", "--project=geo")
    assert ran.out == "geo/capitals: 1 row added, 1 changed, 1 the same\n"
    assert len(server.rows("capitals")) == 4
    ran = suite.cli("dataset", "push", str(file), "geo/capitals", "--prune", "--json")
    told = json.loads(ran.out)
    assert (told["same"], told["removed"], told["added"]) == (3, 1, 0)
    assert [each.get("expected") for each in server.rows("capitals")] == [
        "Lyon",
        "Canberra",
        None,
    ]
    assert len(server.datasets) == 1


def test_what_is_wrong_changes_nothing(suite: Suite, server: FakeBraintrust) -> None:
    """A wrong line at the end, a wrong name, no key: all before the first request."""
    suite.sends_to(server)
    (suite.folder / "cases.jsonl").write_text('{"input": 1}\n{"x": 1}\n', "utf-8")
    for arguments, told in (
        (("cases.jsonl", "d"), "cases.jsonl:2: the row has no input"),
        (("cases.txt", "d"), "cases.txt: a dataset's file ends with .jsonl, .json or"),
        (("none.csv", "d"), "none.csv: there is no such file in "),
    ):
        ran = suite.cli("dataset", "push", *arguments)
        assert ran.status == 1
        assert ran.err.startswith(f"pytest-braintrust: {told}")
    assert not server.requests
    del suite.environment["BRAINTRUST_API_KEY"]
    (suite.folder / "cases.jsonl").write_text('{"input": 1}\n', "utf-8")
    ran = suite.cli("dataset", "push", "cases.jsonl", "d")
    assert (ran.status, ran.err) == (
        2,
        "pytest-braintrust: no API key: set BRAINTRUST_API_KEY\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("push", "cases.jsonl", "", "--prune"),
        ("push", "cases.jsonl", " "),
        ("push", "cases.jsonl", "geo/"),
        ("push", "cases.jsonl", "/capitals"),
        ("push", "cases.jsonl", "capitals", "--project="),
        ("pull", ""),
        ("list", "--project", ""),
        ("from", "latest", "--to", ""),
    ],
    ids=" ".join,
)
def test_what_an_unset_variable_leaves_is_no_name(
    suite: Suite,
    server: FakeBraintrust,
    client: BraintrustClient,
    arguments: tuple[str, ...],
) -> None:
    """It means neither the only dataset that there is nor one of a strange name."""
    fill(client, "suite", "capitals", ["France"])
    (suite.folder / "cases.jsonl").write_text('{"input": 1}\n')
    before = len(server.requests)
    ran = suite.sends_to(server).cli("dataset", *arguments)
    assert ran.status == 2
    assert "name" in ran.err
    assert len(server.requests) == before
    assert list(client.list_datasets(name="")) == []


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv"])
def test_a_pulled_file_is_the_dataset(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient, name: str
) -> None:
    """Pushed again it changes nothing; as a test's dataset it has the same cases."""
    fill(client, "geo", "capitals", COUNTRIES)
    odd = {"id": "odd", "input": 'a "b",\n\u00e9\u2028c', "expected": ["\ud800", {}]}
    client.insert_dataset_rows(server.datasets[0]["id"], [odd])
    suite.sends_to(server)
    pulled = suite.cli("dataset", "pull", "geo/capitals", "-o", name)
    assert pulled.status == 0, pulled.err
    version = server.rows("capitals")[-1]["_xact_id"]
    assert pulled.out == (
        f"geo/capitals: 8 rows written to {name}, as of version {version}\n"
    )
    ran = suite.cli("dataset", "push", name, "geo/capitals")
    assert ran.out == "geo/capitals: 0 rows added, 0 changed, 8 the same\n"
    test = (
        "import pytest\n@pytest.mark.braintrust(dataset={!r})\ndef test(bt_row): pass"
    )
    ran = suite.write(test_it=test.format(name)).run_off("-v")
    assert "test[id-Peru] PASSED" in ran
    assert "8 passed" in ran


def test_a_version_is_pulled_and_cached(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient
) -> None:
    """The default is a file of the dataset's name; what is here is not asked for."""
    dataset = fill(client, "geo", "big/capitals", COUNTRIES)
    old = server.rows(dataset)[0]["_xact_id"]
    client.insert_dataset_rows(dataset, [row("Norway")])
    suite.sends_to(server)
    for _ in range(2):
        ran = suite.cli(
            *("dataset", "pull", "geo/big/capitals", "--json"),
            *("--version", old, "--page-size", "3"),
        )
        told = json.loads(ran.out)
        assert told == {
            "file": "big-capitals.jsonl",
            "rows": 7,
            "id": dataset,
            "version": old,
        }
    assert len(downloads(server)) == 4
    text = (suite.folder / "big-capitals.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert content(rows) == sorted(map(row, COUNTRIES), key=lambda each: each["id"])
    ran = suite.cli(
        *("dataset", "pull", "geo/big/capitals", "--limit=2", "-o", "a.csv"),
        *("--filter", "metadata.length = 5"),
    )
    assert ": 2 rows written to a.csv" in ran
    assert not [each for each in suite.folder.iterdir() if "part" in each.name]
    ran = suite.cli("dataset", "pull", "geo/capital")
    assert ran.status == 1
    assert "did you mean" in ran.err or "there are" in ran.err


def test_datasets_are_listed(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient
) -> None:
    """With the name that a marker takes."""
    suite.sends_to(server)
    assert suite.cli("dataset", "list").out == "no datasets\n"
    fill(client, "geo", "capitals", [])
    fill(client, "other", "rivers\x1b[2J", [])
    ran = suite.cli("dataset", "list")
    assert [line.split()[0] for line in ran.out.splitlines()] == [
        "DATASET",
        "other/rivers",
        "geo/capitals",
    ]
    assert "\x1b" not in ran.out
    (only,) = json.loads(suite.cli("dataset", "list", "--project=geo", "--json").out)
    assert (only["project"], only["name"]) == ("geo", "capitals")


RUN = """\
import pytest

@pytest.mark.braintrust(dataset="cases.jsonl")
@pytest.mark.parametrize("trial", [1, 2])
def test_capital(bt_row, bt_score, trial):
    bt_score(input=bt_row.input, scores={"exact": bt_row.expected == "Paris", "fast": 1})
    assert bt_row.input != {"country": "Australia"}

def test_other(bt_score):
    bt_score(input="other", scores={"exact": None})
"""


def test_a_run_that_went_badly_becomes_a_dataset(
    suite: Suite, server: FakeBraintrust
) -> None:
    """In a file without an account, or on Braintrust; each case once."""
    (suite.folder / "cases.jsonl").write_text(lines(*CAPITALS), encoding="utf-8")
    ran = suite.write(test_geo=RUN).run("--braintrust-experiment=bad run/1")
    assert ran.status == 1
    command = ("dataset", "from", "latest")
    ran = suite.cli(*command, "--where", "score<0.5")
    assert ran.status == 0, ran.err
    assert ran.out.splitlines() == [
        "bad run-1.jsonl: 2 rows",
        "2 rows more had the input of one of these, and are not there twice",
        'use it with @pytest.mark.braintrust(dataset="bad run-1.jsonl")',
    ]
    text = (suite.folder / "bad run-1.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert [each["input"] for each in rows] == [
        CAPITALS[2]["input"],
        CAPITALS[1]["input"],
    ]
    assert all("pytest" not in each.get("metadata", {}) for each in rows)
    for where, count in (
        ("outcome = 'failed'", 1),
        ("exact >= 0.5", 1),
        ("scores.fast = 1 and tags includes 'europe'", 1),
        ("exact is null", 1),
        ("test includes 'test_other' or input.country = 'Peru'", 2),
    ):
        ran = suite.cli(*command, "--where", where, "-o", "some.csv", "--json")
        assert json.loads(ran.out)["rows"] == count, where
    there = suite.cli(*command)
    assert (there.status, "bad run-1.jsonl is there already" in there.err) == (1, True)
    assert (suite.folder / "bad run-1.jsonl").read_text("utf-8") == text
    assert json.loads(suite.cli(*command, "--force", "--json").out)["rows"] == 4
    for where, status, told in (
        ("exat<1", 2, "no row has a score or field 'exat'; did you mean 'exact'?"),
        ("zzz<1", 2, "'zzz'; the scores are 'exact', 'fast', 'pass'"),
        ("exact<", 2, "the condition 'exact<' cannot be used: "),
        ("exact<0", 1, "has no such row; nothing was made"),
    ):
        ran = suite.cli(*command, "--where", where, "-o", "none.csv")
        assert (ran.status, ran.out) == (status, "")
        assert told in ran.err
    assert not (suite.folder / "none.csv").exists()


FURTHER = """\
def test_turns(bt_score):
    for turn in ("first", "second"):
        with bt_score.row(turn, input=turn) as row: row(output=1)
    assert False
def test_both(bt_score):
    bt_score(input="own")
    with bt_score.row(input="further"): pass
def test_alone(): pass
"""


@pytest.mark.parametrize("xdist", [(), ("-p", XDIST, "-n1")])
def test_a_test_s_own_row_is_no_case_where_it_said_all_in_further_rows(
    suite: Suite, xdist: tuple[str, ...]
) -> None:
    """It only tells how the test ended; what the test said of itself is a case."""
    suite.write(test_turns=FURTHER).run("--braintrust-all", *xdist)
    suite.cli("dataset", "from", "latest", "-o", "all.jsonl")
    text = (suite.folder / "all.jsonl").read_text("utf-8")
    assert [json.loads(line)["input"] for line in text.splitlines()] == [
        {"test": "test_turns.py::test_alone"},
        "own",
        "further",
        "first",
        "second",
    ]
    ran = suite.cli("dataset", "from", "latest", "--where", "outcome = 'failed'")
    assert "has no such row; nothing was made" in ran.err


def test_bad_rows_of_a_dataset_keep_their_id(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient
) -> None:
    """So that the same case is one row, however often it goes badly."""
    fill(client, "geo", "capitals", COUNTRIES)
    test = RUN.replace("cases.jsonl", "geo/capitals").replace("[1, 2]", "[1]")
    suite.write(test_geo=test).sends_to(server).run()
    command = ("dataset", "from", "latest", "--where", "exact < 1", "--to", "geo/hard")
    ran = suite.cli(*command)
    assert ran.out.startswith("geo/hard: 7 rows, 7 of them new\n"), ran.out + ran.err
    hard = server.rows("hard")
    assert sorted(each["id"] for each in hard) == sorted(f"id-{x}" for x in COUNTRIES)
    (experiment,) = server.experiments
    assert {each["origin"]["object_id"] for each in hard} == {experiment["id"]}
    ran = suite.cli(*command)
    assert ran.out.startswith("geo/hard: 7 rows, 0 of them new\n")
    assert server.rows("hard") == hard


TURNS = """\
import pytest

@pytest.mark.braintrust(dataset="geo/capitals")
def test_turns(bt_row, bt_score):
    with bt_score.row("turn", expected="of the turn", scores={"exact": 0}): pass
    with bt_score.row("other", input="of the row"): pass
"""


@pytest.mark.parametrize("wrapped", [True, False])
def test_further_rows_leave_a_case_of_a_dataset_as_it_is_there(
    suite: Suite, server: FakeBraintrust, client: BraintrustClient, *, wrapped: bool
) -> None:
    """They stand for it, or for another case where they have another input."""
    dataset = client.create_dataset(client.create_project("geo").id, "capitals")
    cases = [row(each) for each in COUNTRIES]
    if not wrapped:
        cases = [{**each, "input": each["input"]["country"]} for each in cases]
    client.insert_dataset_rows(dataset.id, cases)
    before = {each["id"]: each for each in server.rows("capitals")}
    suite.write(test_turns=TURNS).sends_to(server).run()
    command = ("dataset", "from", "latest", "--to", "geo/capitals", "--where")
    for where, added in (("exact < 1", 0), ("exact is null", 1)):
        ran = suite.cli(*command, where)
        assert f"{added} of them new" in ran.out, ran.out + ran.err
        now = {each["id"]: each for each in server.rows("capitals")}
        for id_, each in before.items():
            assert now[id_]["input"] == each["input"]
            assert now[id_]["expected"] == each["expected"]
        assert len(now) == len(before) + added


def test_names_of_files_stay_here(suite: Suite, tmp_path: Path) -> None:
    """A run may be called anything; its file lies in this folder."""
    test = "def test_it(bt_score): bt_score(input=1)\n"
    suite.write(test_it=test).run("--braintrust-experiment=../../up")
    ran = suite.cli("dataset", "from", "latest")
    assert ran.out.startswith("-..-up.jsonl: 1 row\n")
    assert not list(tmp_path.glob("*.jsonl"))
