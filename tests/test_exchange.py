"""An experiment goes to a file and comes back: whole, once, or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Suite
from stored import a_row, a_store, add, put, rows

from pytest_braintrust.errors import ExchangeError
from pytest_braintrust.exchange import export_file, import_file
from pytest_braintrust.store import reading, writing
from pytest_braintrust.store.connection import Store


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Store]:
    """The store that exports."""
    store = a_store(tmp_path / "here")
    yield store
    store.close()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Store]:
    """The store that imports."""
    store = a_store(tmp_path / "there")
    yield store
    store.close()


def table(store: Store) -> list[tuple[Any, ...]]:
    """What is in a store's rows, without what is the store's own business."""
    found = store.query(
        "SELECT id, nodeid, part, outcome, scores, input_hash, event, version, sent "
        "FROM rows ORDER BY id"
    )
    return [tuple(row) for row in found]


def test_what_is_exported_is_what_comes_in(
    here: Store, there: Store, tmp_path: Path
) -> None:
    """The facts, the rows, and a second time nothing."""
    known = add(here, "main-1", branch="main", of=rows(20))
    path = tmp_path / "rows.jsonl"
    assert export_file(here, known, path) == 20
    imported = import_file(there, path)
    assert imported.rows == 20
    for name in ("id", "name", "project", "repo_info", "metadata", "tests"):
        assert getattr(imported.experiment, name) == getattr(known, name)
    assert table(there) == table(here)
    again = import_file(there, path)
    assert again.experiment == imported.experiment
    assert table(there) == table(here)
    second = tmp_path / "second.jsonl"
    export_file(there, imported.experiment, second)
    assert second.read_bytes() == path.read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="has no such files")
def test_what_is_no_file_is_written_and_not_replaced(
    here: Store, tmp_path: Path
) -> None:
    """As /dev/stdout, which would be gone for all; a link goes on leading to its file."""
    known = add(here, "main-1", of=rows(2))
    whole, link, pipe = (tmp_path / name for name in ("whole", "link", "pipe"))
    link.symlink_to(whole)
    export_file(here, known, link)
    assert link.is_symlink()
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    export_file(here, known, pipe)
    assert pipe.is_fifo()
    assert os.read(reader, 1_000_000) == whole.read_bytes()
    os.close(reader)
    assert sorted(tmp_path.glob("*.part")) == []


def test_a_file_has_a_line_of_facts_and_then_events(
    here: Store, tmp_path: Path
) -> None:
    """One JSON object a line, in the order of the tests."""
    known = add(here, "main-1", of=[a_row("test_b"), a_row("test_a"), a_row("test_c")])
    path = tmp_path / "rows.jsonl"
    export_file(here, known, path)
    head, *events = map(json.loads, path.read_text(encoding="ascii").splitlines())
    assert head["pytest_braintrust_export"] == 1
    assert head["experiment"]["name"] == "main-1"
    assert head["rows"] == 3
    names = [each["metadata"]["pytest"]["nodeid"][-6:] for each in events]
    assert names == ["test_a", "test_b", "test_c"]


def test_rows_that_braintrust_has_are_not_sent_again(
    here: Store, there: Store, tmp_path: Path
) -> None:
    """Of a run that was wholly sent; of any other all are pending."""
    known = add(here, "main-1", of=rows(3))
    sent = [(row["position"], 1) for row in here.query("SELECT position FROM rows")]
    writing.mark_sent(here, sent[:2])
    export_file(here, known, tmp_path / "half.jsonl")
    writing.mark_sent(here, sent)
    export_file(here, known, tmp_path / "all.jsonl")
    half = import_file(there, tmp_path / "half.jsonl").experiment
    assert reading.row_counts(there, half.number).pending == 3
    all_ = import_file(there, tmp_path / "all.jsonl").experiment
    assert all_.number == half.number


def test_a_changed_row_takes_its_place(
    here: Store, there: Store, tmp_path: Path
) -> None:
    """One with the same id is the same row, in another version."""
    row = a_row("test_a", exact=0.0)
    known = add(here, "main-1", of=[row])
    path = tmp_path / "rows.jsonl"
    export_file(here, known, path)
    import_file(there, path)
    path.write_text(path.read_text().replace('"exact":0.0', '"exact":1.0'))
    imported = import_file(there, path)
    (found,) = there.query("SELECT scores, version FROM rows")
    assert json.loads(found["scores"]) == {"exact": 1.0, "pass": 1.0}
    assert found["version"] == 2
    assert reading.row_counts(there, imported.experiment.number).pending == 1


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (2, "rows.jsonl: 2 rows, and its first line tells of 3; nothing was"),
        (4, "rows.jsonl:5: its 'id' is that of line 2: remove one, or give it its own"),
    ],
)
def test_a_file_that_lost_or_doubled_rows_is_refused(
    here: Store, there: Store, tmp_path: Path, lines: int, told: str
) -> None:
    """A copy that was cut between two lines would have other means."""
    known = add(here, "main-1", of=rows(3))
    path = tmp_path / "rows.jsonl"
    export_file(here, known, path)
    head, *events = path.read_text("ascii").splitlines(keepends=True)
    path.write_text("".join([head, *(events * 2)[:lines]]))
    with pytest.raises(ExchangeError, match=told):
        import_file(there, path)
    assert not table(there)


GOOD_HEAD = {
    "pytest_braintrust_export": 1,
    "experiment": {
        "id": "6c2d4b50-0000-4000-8000-000000000000",
        "run_id": "a",
        "project": "capitals",
        "name": "main-1",
        "created_at": 1.0,
    },
}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", ":3: "),
        ("[]", ":3: it is not an object"),
        ("NaN", ":3: NaN is not JSON"),
        ("{}", ":3: its 'id' is not a text"),
        ('{"id": "a", "scores": {"exact": 2}}', ":3: its 'scores' is not an object of"),
        ('{"id": "a", "scores": [1]}', ":3: its 'scores' is not an object"),
        ('{"id": "a", "tags": "x"}', ":3: its 'tags' is not a list of texts"),
        ("[" * 100_000, ":3: nested too deep"),
        ('{"id": "a", "scorez": {}}', ":3: there is no field 'scorez'; did you mean"),
        ('{"id": "a", "result": 1}', ":3: there is no field 'result'; a row has id, "),
        ('{"id": "good"}', ":3: its 'id' is that of line 2: remove one"),
        (
            '{"id": "a", "metadata": {"pytest": {"nodeid": "a", "outcome": "bogus"}}}',
            ":3: its outcome 'bogus' is none; there is passed, xpassed, failed",
        ),
    ],
)
def test_a_wrong_line_is_named_and_nothing_comes_in(
    there: Store, tmp_path: Path, line: str, why: str
) -> None:
    """By its number, with what is wrong with it."""
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{json.dumps(GOOD_HEAD)}\n{{"id": "good"}}\n{line}\n')
    with pytest.raises(ExchangeError) as refused:
        import_file(there, path)
    assert f"rows.jsonl{why}" in str(refused.value)
    assert "nothing was imported" in str(refused.value)
    assert not table(there)
    assert not reading.experiments(there)
    assert there.one("SELECT count(*) FROM experiments")[0] == 0  # type: ignore[index]


def changed(**facts: object) -> str:
    return json.dumps({**GOOD_HEAD, "experiment": {**GOOD_HEAD["experiment"], **facts}})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ("", "not the first line of a file that `export` wrote"),
        ('{"id": "a"}', "not the first line of a file that `export` wrote"),
        ('{"pytest_braintrust_export": 2}', "written by a later version"),
        ('{"pytest_braintrust_export": 1}', "its 'experiment' is not an object"),
        (changed(id="../../etc"), "its 'id' is not an id"),
        (changed(name=7), "its 'name' is not a text"),
        (changed(created_at="now"), "its 'created_at' is not a number of seconds"),
        (changed(exit_status=True), "its 'exit_status' is not a whole number"),
        (changed(tests={"passed": "1"}), "its 'tests' is not an object of whole"),
    ],
)
def test_a_wrong_first_line_is_named(
    there: Store, tmp_path: Path, head: str, why: str
) -> None:
    """Before anything else is looked at."""
    path = tmp_path / "rows.jsonl"
    path.write_text(head + "\n")
    with pytest.raises(ExchangeError, match=r"rows\.jsonl:1: ") as refused:
        import_file(there, path)
    assert why in str(refused.value)
    assert there.one("SELECT count(*) FROM experiments")[0] == 0  # type: ignore[index]


def test_no_more_than_five_wrong_lines_are_named(there: Store, tmp_path: Path) -> None:
    """And how many there are besides."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(GOOD_HEAD) + "\n" + "[]\n" * 20)
    with pytest.raises(ExchangeError, match="and 15 more lines"):
        import_file(there, path)


def test_an_export_is_whole_or_not_there(here: Store, tmp_path: Path) -> None:
    """What was at that path before stays until the new file is complete."""
    known = add(here, "main-1", of=rows(3))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "rows.jsonl").mkdir()
    with pytest.raises(ExchangeError, match="cannot write"):
        export_file(here, known, folder / "rows.jsonl")
    with pytest.raises(ExchangeError, match="cannot write"):
        export_file(here, known, tmp_path / "nowhere" / "rows.jsonl")
    assert [each.name for each in folder.iterdir()] == ["rows.jsonl"]


def test_any_size_goes_through_little_memory(
    here: Store, there: Store, tmp_path: Path
) -> None:
    """Both ways line by line: the memory in use is a small part of the file."""
    known = add(here, "main-1", finished=False)
    for start in range(0, 2_000, 100):
        some = [
            a_row(f"test_{number}", value="x" * 20_000)
            for number in range(start, start + 100)
        ]
        put(here, known, some)
    path = tmp_path / "rows.jsonl"
    tracemalloc.start()
    export_file(here, known, path)
    import_file(there, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 40_000_000
    assert peak < path.stat().st_size / 3


def test_steps_inside_of_a_case_are_left_out(there: Store, tmp_path: Path) -> None:
    """A file that somebody made of a fetch has them."""
    path = tmp_path / "rows.jsonl"
    child = {"id": "b", "span_parents": ["a"]}
    lines = [GOOD_HEAD, {"id": "a"}, child]
    path.write_text("".join(json.dumps(each) + "\n\n" for each in lines))
    assert import_file(there, path).rows == 1


def test_rows_of_a_download_come_in(there: Store, tmp_path: Path) -> None:
    """With what Braintrust adds to them; the newest comes first and may be repeated."""
    path = tmp_path / "rows.jsonl"
    row = {"id": "a", "_xact_id": "2", "project_id": "p", "new": 1, "input": "x"}
    foreign = {"id": "b", "metadata": {"pytest": {"outcome": "bogus"}}}
    older = {**row, "_xact_id": "1", "input": "y"}
    lines = [GOOD_HEAD, row, foreign, older]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert import_file(there, path).rows == 2
    events = [json.loads(row["event"]) for row in there.query("SELECT * FROM rows")]
    assert [each["input"] for each in events] == ["x", None]


def test_a_line_without_end_is_refused(
    there: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it fills the memory."""
    monkeypatch.setattr("pytest_braintrust.exchange.MAX_LINE_BYTES", 1_000)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(GOOD_HEAD) + "\n" + "x" * 2_000)
    with pytest.raises(
        ExchangeError, match=r"rows\.jsonl:2: a line of more than 1,000"
    ):
        import_file(there, path)
    assert there.one("SELECT count(*) FROM experiments")[0] == 0  # type: ignore[index]


@pytest.mark.parametrize("sessions", [{}, [1], [{"id": 1}], [{"id": "a"}]])
def test_wrong_sessions_are_named(
    there: Store, tmp_path: Path, sessions: object
) -> None:
    """They stand in the first line."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**GOOD_HEAD, "sessions": sessions}) + "\n")
    with pytest.raises(ExchangeError, match=r"rows\.jsonl:1: its "):
        import_file(there, path)


def test_a_page_that_no_terminal_should_see_is_forgotten(
    there: Store, tmp_path: Path
) -> None:
    """Of a file from somebody else."""
    path = tmp_path / "rows.jsonl"
    path.write_text(changed(url="javascript:alert(1)") + "\n")
    assert import_file(there, path).experiment.url is None


ODD = """\
import os

def test_it(bt_score):
    bt_score(output=os.environ["SCORE"], scores={"exact": float(os.environ["SCORE"])})
"""


def test_rows_that_say_where_they_come_from_as_nobody_else_does(suite: Suite) -> None:
    """Of the place of a test others may write anything."""
    suite.write(test_it=ODD)
    for score in ("1", "0"):
        suite.environment["SCORE"] = score
        suite.run()
        assert suite.cli("export", "latest", "-o", f"{score}.jsonl").status == 0
    shutil.rmtree(suite.folder / ".braintrust")
    for score in ("1", "0"):
        file = suite.folder / f"{score}.jsonl"
        text = re.sub(r'"context":{[^}]*}', '"context":"odd"', file.read_text())
        file.write_text(text, encoding="utf-8")
        assert suite.cli("import", file.name).status == 0
    ran = suite.cli("diff", "latest~1", "latest")
    assert ran.status == 0, ran.err
    assert "test_it.py::test_it  exact 1 → 0" in ran.out
