"""A file beside the test is a dataset: each of its rows is a case."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from conftest import Suite

from pytest_braintrust.datasets import conditions, table
from pytest_braintrust.datasets.reference import Reference
from pytest_braintrust.datasets.rows import digest
from pytest_braintrust.errors import DatasetError

CAPITALS: list[dict[str, Any]] = [
    {
        "input": "France",
        "expected": "Paris",
        "metadata": {"level": "easy"},
        "tags": ["europe"],
    },
    {"id": "down-under", "input": {"country": "Australia"}, "expected": "Canberra"},
    {"input": {"country": "Peru", "year": 2020}, "expected": ["Lima"]},
]

TEST = """\
import pytest

@pytest.mark.braintrust(dataset={name!r}, metadata={{"suite": "geo"}}, tags=["smoke"])
def test_capital(bt_row, bt_score):
    bt_score(output=bt_row.expected, scores={{"exact": 1}})
"""


def lines(*rows: Mapping[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(*rows: Mapping[str, Any]) -> str:
    """The same rows as a person would type them into a spreadsheet."""
    names = ["id", "input", "input.country", "input.year", "expected"]
    names = [*names[:1], *names[2:], "metadata.level", "tags"]
    out = StringIO()
    table = csv.writer(out)
    table.writerow(names)
    for row in rows:
        given = row["input"] if isinstance(row["input"], dict) else {}
        expected = row["expected"]
        table.writerow(
            [
                row.get("id", ""),
                given.get("country", row["input"]),
                given.get("year", ""),
                expected if isinstance(expected, str) else json.dumps(expected),
                row.get("metadata", {}).get("level", ""),
                ", ".join(row.get("tags", [])),
            ]
        )
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cases.jsonl", "\n" + lines(*CAPITALS) + "\n"),
        ("cases.json", json.dumps(CAPITALS, indent=2)),
    ],
    ids=["jsonl", "json"],
)
def test_each_row_is_a_case(
    suite: Suite, plugin_args: list[str], name: str, text: str
) -> None:
    """Ids, input, expected, metadata and tags of the rows are those of the events."""
    (suite.folder / name).write_text("\ufeff" + text, encoding="utf-8")
    ran = suite.write(test_geo=TEST.format(name=name)).run(*plugin_args)
    assert ran.status == 0, ran.out
    assert "3 collected = 3 passed" in ran.section
    france, australia, peru = (
        ran.row(f"[{label}]")
        for label in ("France", "down-under", digest(CAPITALS[2]["input"]))
    )
    assert (france["input"], france["expected"]) == ("France", "Paris")
    assert france["metadata"]["level"] == "easy"
    assert france["metadata"]["suite"] == "geo"
    assert france["tags"] == ["europe", "smoke"]
    assert france["output"] == "Paris"
    assert "origin" not in france
    assert australia["input"] == {"country": "Australia"}
    assert peru["expected"] == ["Lima"]


def test_a_table_is_a_dataset_with_columns_for_parts(suite: Suite) -> None:
    """Columns are fields, and parts of fields; an empty cell says nothing."""
    (suite.folder / "cases.csv").write_text(as_csv(*CAPITALS), encoding="utf-8")
    ran = suite.write(test_geo=TEST.format(name="cases.csv")).run()
    assert ran.status == 0, ran.out
    france, australia, peru = ran.rows()
    assert france["input"] == {"country": "France"}
    assert (france["metadata"]["level"], france["tags"]) == (
        "easy",
        ["europe", "smoke"],
    )
    assert australia["metadata"]["pytest"]["param_id"] == "down-under"
    assert peru["input"] == {"country": "Peru", "year": "2020"}
    assert peru["expected"] == ["Lima"]


def test_rows_are_cases_without_the_flag_too(suite: Suite) -> None:
    """Whether a run is recorded does not decide what it runs, and nothing is made."""
    (suite.folder / "cases.jsonl").write_text(lines(*CAPITALS), encoding="utf-8")
    light = (
        "import sys\n"
        "def test_light(): assert not {'httpx', 'sqlite3', 'filelock'} & {*sys.modules}"
    )
    suite.write(test_geo=TEST.format(name="cases.jsonl"), test_later=light)
    ran = suite.run_off("-v")
    assert ran.status == 0, ran.out
    assert "test_capital[down-under] PASSED" in ran
    assert not ran.store.exists()


MANY = """\
import pytest

pytestmark = pytest.mark.braintrust(dataset="data/cases.jsonl", limit=2)

def test_of_the_module(bt_row): assert bt_row.expected

def test_without_rows(): pass

@pytest.mark.braintrust(dataset=None)
def test_told_to_have_none(): pass

class TestMore:
    @pytest.mark.parametrize("model", ["small", "large"])
    def test_in_a_class(self, bt_row, model): assert bt_row.input

    @pytest.mark.braintrust(dataset="data/cases.jsonl", filter="metadata.level = 'easy'")
    def test_filtered(self, capital): assert capital == "Paris"

@pytest.mark.braintrust(dataset="data/cases.jsonl", id_field="expected")
def test_named_by_a_field(bt_row):
    bt_row.metadata.clear()
    assert not bt_row.metadata

@pytest.fixture
def capital(bt_row): return bt_row.expected
"""


def test_the_closest_marker_counts(suite: Suite, plugin_args: list[str]) -> None:
    """Modules and classes name a dataset for the tests that ask for its rows."""
    (suite.folder / "data").mkdir()
    text = lines(CAPITALS[0], {**CAPITALS[0], "expected": "Lyon", "metadata": None})
    path = suite.folder / "data" / "cases.jsonl"
    path.write_text(text, encoding="utf-8")
    ran = suite.write(test_geo=MANY).run(*plugin_args, "-rA")
    assert ran.status == 0, ran.out
    names = sorted(
        line.split("::", 1)[1]
        for line in ran.out.splitlines()
        if line.startswith("PASSED ")
    )
    assert names == [
        "TestMore::test_filtered[France]",
        "TestMore::test_in_a_class[France-2-large]",
        "TestMore::test_in_a_class[France-2-small]",
        "TestMore::test_in_a_class[France-large]",
        "TestMore::test_in_a_class[France-small]",
        "test_named_by_a_field[Lyon]",
        "test_named_by_a_field[Paris]",
        "test_of_the_module[France-2]",
        "test_of_the_module[France]",
        "test_told_to_have_none",
        "test_without_rows",
    ]
    assert ran.row("[Paris]")["metadata"]["level"] == "easy"
    asked = ran.row("[France-2-large]")
    assert asked["input"] == {"input": "France", "model": "large"}


WRONG = {
    "no-json": ('{"input": 1}\n{"input": }\n', "cases.jsonl:2: it is not JSON"),
    "nan": ('{"input": NaN}\n', "cases.jsonl:1: it is not JSON: NaN is not JSON"),
    "no-object": ("[1]\n", "cases.jsonl:1: a row is an object, and this is a list"),
    "no-input": ('\n{"expected": 1}\n', "cases.jsonl:2: the row has no input"),
    "null-input": ('{"input": null}\n', "cases.jsonl:1: the row has no input"),
    "metadata": ('{"input": 1, "metadata": [1]}\n', "cases.jsonl:1: metadata is an"),
    "tags": ('{"input": 1, "tags": "a"}\n', "cases.jsonl:1: tags is a list of texts"),
    "id": ('{"input": 1, "id": 1.5}\n', "cases.jsonl:1: the id is neither text nor"),
    "misspelt": (
        '{"input": 1, "expcted": 2}\n',
        "cases.jsonl:1: there is no field 'expcted'; did you mean 'expected'?",
    ),
    "unknown": (
        '{"input": 1, "question": 2}\n',
        "a row has id, input, expected, metadata and tags",
    ),
    "same-id": (
        lines({"input": 1, "id": 7}, {"input": 2, "id": "7"}),
        "cases.jsonl:2: the id '7' is that of cases.jsonl:1 too",
    ),
    "deep": ('{"input": ' + "[" * 100_000, "cases.jsonl:1: it is not JSON: nested"),
    "empty": ("\n", "dataset cases.jsonl has no rows"),
}


@pytest.mark.parametrize(("text", "told"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_line_is_told_with_its_place(
    tmp_path: Path, text: str, told: str
) -> None:
    """The message begins with the file and the line."""
    path = tmp_path / "cases.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError) as error:
        table.of_file(path, Reference("cases.jsonl"))
    assert told in str(error.value)


WRONG_FILES = {
    "array": ("a.json", '{"input": 1}', "a.json:1: the file is not a JSON array"),
    "item": ("a.json", '[\n{"input": 1},\n{"x": 1}\n]', "a.json:3: the row has no in"),
    "comma": ("a.json", '[{"input": 1}\n{"input": 2}]', "a.json:2: a comma or"),
    "cut": ("a.json", '[{"input": 1},\n', "a.json:2: it is not JSON"),
    "syntax": ("a.json", '[\n\n{"input" 1}]', "a.json:3: it is not JSON: Expecting"),
    "more": ("a.json", "[]\n[]", "a.json: something follows the array's end"),
    "deep": ("a.json", "[" * 100_000, "a.json:1: it is not JSON: nested too deep"),
    "header": ("a.csv", "question,answer\n", "a.csv:1: there is no field 'question'"),
    "no-input": ("a.csv", "id,expected\n1,2\n", "a.csv:1: no column is called 'input'"),
    "twice": ("a.csv", "input,input.x\n", "a.csv:1: the column 'input.x' is there"),
    "cells": ("a.csv", 'input,id\n"a\nb",1\nc\n', "a.csv:4: the line has 1 cells, and"),
    "empty": ("a.csv", "input,expected\n,1\n", "a.csv:2: the row has no input"),
    "quote": ("a.csv", 'input\n"a\n', "a.csv:2: it is not CSV"),
    "latin": ("a.csv", b"input\n\xe9\n", "a.csv:2: it is not text in UTF-8"),
}


@pytest.mark.parametrize(
    ("name", "text", "told"), WRONG_FILES.values(), ids=WRONG_FILES.keys()
)
def test_a_wrong_file_is_told_with_its_place(
    tmp_path: Path, name: str, text: str | bytes, told: str
) -> None:
    """Arrays and tables know the lines of their rows too."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatasetError) as error:
        table.of_file(path, Reference(name))
    assert told in str(error.value)


WRONG_MARKERS = {
    'dataset="none.jsonl"': "none.jsonl: there is no such file in ",
    'dataset="cases.jsonl", version="1"': "version: the file cases.jsonl has no versi",
    'dataset="cases.jsonl", limit=0': "limit: 0 is not a number of rows",
    'dataset=""': "dataset: '' is not a name",
    'dataset="cases.yaml"': "dataset: 'cases.yaml' is no .jsonl, .json or .csv file",
    'dataset="./none"': "./none: there is no such file in ",
    'dataset="data\\\\none.tsv"': r"data\none.tsv: there is no such file in ",
    'dataset="none.yaml"': "BRAINTRUST_API_KEY; and no file none.yaml is in ",
    'dataset="data/none"': "BRAINTRUST_API_KEY; and no file data/none is in ",
    "dataset=3": "dataset: 3 is not a name",
    'dataset="cases.jsonl", datset="x"': "the marker braintrust has no keyword 'da",
    'dataset="cases.jsonl", id_field="level"': "cases.jsonl:2: id_field 'level' has no",
    'dataset="cases.jsonl", filter="level = 1"': "there is no field 'level'",
    'dataset="cases.jsonl", filter={"op": "eq"}': "filter: for a file it is a text",
    'dataset="cases.jsonl", filter="id = 1"': "has no row that the filter keeps",
}


def test_wrong_markers_are_collection_errors(suite: Suite) -> None:
    """Each is told where pytest tells of what it cannot collect, once, by its text."""
    (suite.folder / "cases.jsonl").write_text(lines(*CAPITALS), encoding="utf-8")
    (suite.folder / "cases.yaml").write_text("- input: 1\n", encoding="utf-8")
    (suite.folder / "data").mkdir()
    body = "import pytest\n@pytest.mark.braintrust({})\ndef test_it(bt_row): pass\n"
    modules = {
        f"test_{number}": body.format(said) for number, said in enumerate(WRONG_MARKERS)
    }
    modules["test_name"] = body.format('dataset="geo/capitals"')
    modules["test_more"] = body.format('dataset="cases.jsonl"').replace("bt_row", "")
    ran = suite.write(**modules).with_plugins("xdist").run("-n2")
    assert ran.status == 1, ran.out
    shown, _, _ = ran.out.partition("short test summary info")
    for told in WRONG_MARKERS.values():
        assert told in shown
    assert "no file geo/capitals" not in shown
    assert shown.count("In test_it: ") == len(modules)
    assert "In test_it: it names a dataset and has no argument bt_row" in ran
    assert "Traceback" not in ran
    assert "site-packages" not in ran


UNITTEST = """\
import pytest, unittest

class TestMethod(unittest.TestCase):
    @pytest.mark.braintrust(dataset="cases.jsonl")
    def test_it(self): pass
"""
UNITTEST_CLASS = """\
import pytest, unittest

@pytest.mark.braintrust(dataset="cases.jsonl")
class TestClass(unittest.TestCase):
    def test_it(self): pass
"""
UNITTEST_MODULE = """\
import pytest, unittest

pytestmark = pytest.mark.braintrust(dataset="cases.jsonl")

class TestWithout(unittest.TestCase):
    def test_it(self): pass
    @pytest.mark.braintrust(tags=["t"])
    def test_tagged(self): pass
"""


def test_a_dataset_for_tests_of_unittest_is_a_collection_error(suite: Suite) -> None:
    """pytest cannot make cases of them; the module's marker is for its other tests."""
    (suite.folder / "cases.jsonl").write_text(lines(*CAPITALS), encoding="utf-8")
    suite.write(test_a=UNITTEST, test_b=UNITTEST_CLASS, test_c=UNITTEST_MODULE)
    ran = suite.run_both("--continue-on-collection-errors")
    assert "In TestMethod.test_it: it names a dataset, and pytest makes no cases" in ran
    assert "In TestClass: it names a dataset, and pytest makes no cases of" in ran
    assert "2 passed, 2 errors" in ran
    assert "Traceback" not in ran


def test_a_row_without_a_dataset_is_told(suite: Suite) -> None:
    """The fixture says what it needs, and shows nothing of ours."""
    ran = suite.write(test_it="def test_it(bt_row): pass\n").run_off()
    assert ran.status == 1
    assert "bt_row is a row of the dataset that the test's marker names: @py" in ran
    assert "collecting.py" not in ran


ROW = {
    "id": "7",
    "input": {"q": "why", "n": 3},
    "metadata": {"level": "hard", "odd name": "x", "none": None},
    "tags": ["new", "geo"],
    "expected": "it's",
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("metadata.level = 'hard'", True),
        ("metadata.level != 'hard'", False),
        ("input.n < 3", False),
        ("input.n <= 3.0 AND input.n >= -1e3", True),
        ("input.n < 'a'", False),
        ("input.n > 5 or id = '7'", True),
        ("not (id = '7' and input.n = 3)", False),
        ("tags includes 'geo'", True),
        ("tags not includes 'geo'", False),
        ("input.q includes 'wh'", True),
        ("metadata.level in ('easy', \"hard\")", True),
        ("metadata.level not in ('easy')", True),
        ("metadata.none is null", True),
        ("metadata.level is not null", True),
        ("metadata.nowhere = 1", False),
        ("metadata.nowhere != 1", False),
        ("expected = 'it''s'", True),
        ('expected = "it\'s"', True),
        ('metadata."odd name" == "x"', True),
        ("not metadata.none = true", True),
    ],
)
def test_conditions_hold_as_they_read(text: str, holds: bool) -> None:  # noqa: FBT001
    """A comparison with what is not there is false."""
    assert conditions.parse(text, conditions.at)(ROW) is holds


@pytest.mark.parametrize(
    "text",
    [
        *("", "id", "id =", "id = 'a", "= 1", "id = 1 2", "(id = 1", "id is 1"),
        *("id in 1", "id = 1 and", "id not = 1", "id # 1", "id = other"),
        "(" * 1000 + "id = 1",
    ],
)
def test_a_condition_that_cannot_be_read_is_told(text: str) -> None:
    """With the text, so that it can be found."""
    with pytest.raises(DatasetError, match=r"the condition .* cannot be used: "):
        conditions.parse(text, conditions.at)
