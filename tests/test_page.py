"""The page of a run: read as a browser reads it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tracemalloc
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import Command, Suite
from fake_braintrust import FakeBraintrust
from made_runs import Told, scored, store_run
from pages import Page, cells, read
from test_comparison import written

from pytest_braintrust.reports.page.changes import Work, beside
from pytest_braintrust.reports.page.listing import CONTENT, LISTED
from pytest_braintrust.store.connection import Store

HTML = "--braintrust-html=run.html"

#: What a browser would obey or hide, and what closes what we open.
NASTY = (
    "</script><script>alert(1)</script></style><img src=x onerror=alert(1)>"
    "\" onload='alert(1)' x=\"</td></pre></details><!-- ]]> &lt;b&gt; &#60;"
    "\x1b[31m\x00\x07\u202egnp\u2066\u200b\u2028\ufeff\U000e0041"
)
HOSTILE = f"""\
import pytest
NASTY = {NASTY!r}
@pytest.mark.parametrize("text", [NASTY])
def test_it(bt_score, text):
    with bt_score.span(NASTY, type=NASTY) as step:
        step(error=NASTY)
    with bt_score.row(NASTY) as row:
        row(output=[NASTY], scores={{NASTY: 0.5}})
    bt_score(
        output=NASTY + str(VALUE), expected={{NASTY: NASTY}}, tags=[NASTY],
        metadata={{NASTY: NASTY}}, scores={{NASTY: VALUE}}, metrics={{NASTY: 1.5}},
    )
    assert VALUE, NASTY
"""


def test_the_page_says_what_the_json_says(suite: Suite, plugin_args: list[str]) -> None:
    """The verdict, each number of each score, what changed, gates and counts."""
    suite.write(test_a=written(*[1] * 8)).run("--braintrust-experiment=monday")
    files = (HTML, "--braintrust-json=run.json", "--braintrust-metadata=model=small")
    gates = ("--braintrust-fail-under=exact=0.5", "--braintrust-max-drop=pass=0.5")
    suite.write(test_a=written(*[0] * 7, 1)).run(*plugin_args, *files, *gates)
    page = read(suite.folder / "run.html")
    told = json.loads((suite.folder / "run.json").read_text(encoding="utf-8"))
    (experiment,) = told["experiments"]
    found = experiment["comparison"]
    for each in found["measures"]:
        if each["kind"] == "score":
            low, high = each["interval"] or (0, 0)
            assert page.measure(each["name"]) == {
                "score": each["name"],
                "then": f"{each['then']:.3f}",
                "now": f"{each['now']:.3f}",
                "change": f"{each['difference']:+.3f}".replace("+0.000", "0.000"),
                "95 % interval": f"{low:+.3f}…{high:+.3f}" if low or high else "",
                "": "",
                "better": str(each["tests_better"]),
                "worse": str(each["tests_worse"]),
                "verdict": {"regressed": "▼ regressed"}.get(
                    each["verdict"], each["verdict"]
                ),
            }
    text = page.root.one("body").text
    assert page.root.one("p", class_="verdict worse").text == "▼ worse: exact regressed"
    assert page.root.one("title").text.startswith("▼ worse: exact regressed · ")
    assert experiment["name"] in page.root.one("h1").text
    assert "monday (previous run of this branch)" in text
    assert "changed: model: - → small" in text
    gates_told = [each.text for each in page.root.one("ul", class_="gates").all("li")]
    assert gates_told == [
        f"{'✓' if each['state'] == 'passed' else '✗'} {each['state']}: {each['text']}"
        for each in told["gates"]
    ]
    assert "Tests: 8 collected = 8 passed" in text
    assert len(page.listed) == 8


def test_the_worst_tests_stand_first(suite: Suite) -> None:
    """Then those that failed, errored, got better; each once, with its numbers."""
    module = """\
import pytest
@pytest.fixture
def away(): raise OSError("away")
def test_a_same(bt_score): bt_score(scores={"exact": 1})
def test_b_better(bt_score): bt_score(scores={"exact": BETTER})
def test_c_errored(bt_score, away): pass
def test_d_failed(bt_score): assert 0
def test_e_worse(bt_score): bt_score(scores={"exact": WORSE})
def test_f_low(bt_score): bt_score(scores={"exact": 0.1})
"""
    suite.write(test_a=f"BETTER, WORSE = 0.25, 1\n{module}").run(
        "--braintrust-experiment=first"
    )
    suite.write(test_a=f"BETTER, WORSE = 0.5, 0.25\n{module}").run(
        HTML, "--braintrust-baseline=first"
    )
    page = read(suite.folder / "run.html")
    order = ["e_worse", "d_failed", "c_errored", "b_better", "f_low", "a_same"]
    assert page.names == [f"test_a.py::test_{each}" for each in order]
    assert cells(page.test("e_worse")) == ["✓ passed", "1 → 0.25 ▼", "1"]
    rows = {name: row.attributes for name, row in zip(order, page.listed, strict=True)}
    assert rows["e_worse"] == {
        "data-outcome": "passed",
        "data-way": "worse",
        "data-scores": "0.25 1",
    }
    assert rows["b_better"]["data-way"] == "better"
    assert rows["c_errored"]["data-scores"] == "- -"
    labels = [each.text for each in page.root.one("fieldset").all("label")]
    assert labels == [
        " all (6)",
        " ▼ got worse (1)",
        " ▲ got better (1)",
        " ✗ failed (1)",
        " ! errored (1)",
    ]


def test_a_test_unfolds_to_all_that_it_said(suite: Suite) -> None:
    """Input, output beside that of the baseline, expected, error, tags, and so on."""
    module = """\
import pytest
@pytest.mark.parametrize("question", ["capital of France?"])
def test_it(bt_score, question):
    with bt_score.span("retrieve", type="tool"), bt_score.span("complete"):
        pass
    bt_score(
        output=f"It is {ANSWER}.\\nReally.", expected="Paris", tags=["geo", "easy"],
        metadata={"reason": "so"}, scores={"exact": ANSWER == "Paris"},
        metrics={"cost": 0.5},
    )
    assert ANSWER == "Paris", "no"
"""
    suite.write(test_a=f"ANSWER = 'Paris'\n{module}").run()
    suite.write(test_a=f"ANSWER = 'Lyon'\n{module}").run(HTML)
    page = read(suite.folder / "run.html")
    said = page.said("test_it[capital of France?]")
    assert list(said) == [
        *("input", "output", "expected", "error", "tags", "metadata", "spans")
    ]
    assert said["input"] == '{"question": "capital of France?"}'
    assert said["metadata"] == '{"reason": "so"}'
    assert "AssertionError: no" in said["error"]
    row = page.test("France?]")
    assert [each.text for each in row.all("span", class_="tag")] == ["geo", "easy"]
    assert [each.text for each in row.all("del")] == ["Paris"]
    assert [each.text for each in row.all("ins")] == ["Lyon"]
    diff = row.one("table", class_="diff").one("tbody").all("tr")
    assert [[td.text for td in each.all("td")] for each in diff] == [
        ["It is Paris.", "It is Lyon."],
        ["Really."],
    ]
    steps = row.one("ul", class_="spans").all("li")
    assert [each.text.split(":")[0] for each in steps] == [
        "retrieve (tool)",
        "complete",
    ]
    assert [each.attributes["class"] for each in steps] == ["deep-0", "deep-1"]
    numbers = row.one("table", class_="numbers").one("tbody").all("tr")
    told = {e.one("th").text: [td.text for td in e.all("td")] for e in numbers}
    assert told["exact"] == ["1", "0"]
    assert told["cost"] == ["0.5", "0.5"]


def test_nothing_that_somebody_said_is_html(suite: Suite) -> None:
    """No tag, no attribute, no control character; all of it stands there as text."""
    plain = HOSTILE.replace(repr(NASTY), repr("two\nlines"))
    suite.write(test_a=f"VALUE = 1\n{plain}").run(HTML)
    suite.write(test_a=f"VALUE = 0\n{plain}").run(HTML)
    benign = read(suite.folder / "run.html")
    names = ("--braintrust-experiment=e " + NASTY.replace("\x00", ""),)
    options = (f"--braintrust-metadata=m={NASTY}".replace("\x00", ""), HTML)
    suite.write(test_a=f"VALUE = 1\n{HOSTILE}").run(*names)
    suite.write(test_a=f"VALUE = 0\n{HOSTILE}").run(*names, *options)
    text = (suite.folder / "run.html").read_text(encoding="utf-8")
    page = Page(text)
    assert used(page) <= used(benign)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u2028-\u202e\u2066\U000e0041]", text)
    assert len(page.root.all("script")) == len(page.root.all("style")) == 1
    for each in page.root.all():
        assert not [name for name in each.attributes if name.startswith("on")]
        assert "style" not in each.attributes
    shown = NASTY.partition("\x1b")[0]
    assert page.root.one("body").text.count(shown) > 10
    assert page.root.one("body").text.count("⟨U+202E⟩gnp⟨U+2066⟩") > 10


def used(page: Page) -> set[tuple[str, str]]:
    """Which elements a page has, and which attributes of them."""
    found = page.root.all()
    return {(each.tag, name) for each in found for name in ("", *each.attributes)}


def test_a_browser_runs_our_script_alone(suite: Suite) -> None:
    """The policy names the hashes of the one style and the one script, and no place."""
    suite.write(test_a=written(1)).run(HTML)
    page = read(suite.folder / "run.html")
    (policy,) = [
        str(each.attributes["content"])
        for each in page.root.all("meta")
        if each.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    told = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    for name in ("style", "script"):
        digest = sha256(page.root.one(name).text.encode()).digest()
        source = f"'sha256-{b64encode(digest).decode()}'"
        assert told.pop(f"{name}-src") == source
    assert told == dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    assert not page.root.all("link")
    assert not [e for e in page.root.all() if {"src", "href"} & e.attributes.keys()]


def test_a_browser_runs_it(suite: Suite) -> None:
    """Where there is one: the policy lets the script in, which finds all that it needs."""
    browsers = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, browsers)), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    suite.write(test_a=written(*[1] * 250)).run(HTML)
    switches = ("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom")
    folder = f"--user-data-dir={suite.temporary}"
    ran = subprocess.run(
        [browser, *switches, folder, (suite.folder / "run.html").as_uri()],
        capture_output=True,
        text=True,
        check=True,
    )
    page = Page(ran.stdout)
    assert page.root.one("html").attributes["class"] == "js"
    assert (
        page.root.one("p", class_="shown").text
        == "250 of 250 tests, the first 200 shown"
    )
    assert len(page.listed) == 200
    heads = page.root.one("table", class_="listing scores-2 ready").all(
        "th", scope="col"
    )
    sorting = [each.attributes.get("aria-sort") for each in heads]
    assert sorting[:4] == ["none"] * 4
    assert page.root.one("button", class_="more").text == "Show 50 more"


def test_a_first_run_has_its_means(suite: Suite, plugin_args: list[str]) -> None:
    """With their intervals, and says that there is nothing to compare with."""
    suite.write(test_a=written(1, 0)).run(HTML, *plugin_args)
    page = read(suite.folder / "run.html")
    assert page.measure("exact") == {
        "score": "exact",
        "mean": "0.500",
        "95 % interval": "0.095 … 0.905",
        "": "",
        "tests": "2",
    }
    assert "no earlier run to compare with" in page.root.one("body").text
    assert not page.root.all(class_="verdict")
    assert not page.root.all("table", class_="diff")


def test_rows_and_trials_are_there_once(suite: Suite, plugin_args: list[str]) -> None:
    """A further row is listed beside its test; trials stand within it, in order."""
    module = """\
import pytest
@pytest.mark.braintrust(trials=12)
def test_often(bt_score, request):
    bt_score(output=request.node.name, scores={"exact": 0.5})
def test_rows(bt_score):
    with bt_score.row("second turn") as row:
        row(output="again")
"""
    suite.write(test_a=module).run(HTML, *plugin_args)
    page = read(suite.folder / "run.html")
    assert sorted(page.names) == [
        "test_a.py::test_often",
        "test_a.py::test_rows",
        "test_a.py::test_rows second turn",
    ]
    row = page.test("test_often")
    trials = [each.text for each in row.all("p", class_="trial")]
    assert trials == [
        f"trial {n} of 12: passed, exact 0.5, pass 1" for n in range(1, 11)
    ]
    outputs = [each.text for each in row.all("pre")]
    assert outputs == [f"test_often[trial{n}]" for n in range(1, 11)]
    assert "2 more trials in the store, not in this page" in row.text
    assert cells(row)[:2] == ["12 passed", "0.5"]


def test_what_is_long_is_cut_with_a_note(suite: Suite) -> None:
    """A field, and a test's steps; lines that are too many to compare stand as they are."""
    module = """\
def test_it(bt_score):
    for number in range(120):
        with bt_score.span("step"): pass
    bt_score(input="i" * 30_000, output="\\n".join([LINE] * 500), scores={"exact": 1})
"""
    suite.write(test_a=f"LINE = 'then'\n{module}").run()
    suite.write(test_a=f"LINE = 'now'\n{module}").run(HTML)
    page = read(suite.folder / "run.html")
    said = page.said("test_it")
    assert (
        said["input"]
        == "i" * 20_000 + "… cut here: 10,000 more characters in the store"
    )
    assert page.test("test_it").one("pre").attributes == {
        "class": "tall",
        "tabindex": "0",
    }
    assert said["spans"].count("step: ") == 100
    assert said["spans"].endswith("… more steps in the store")
    rows = page.test("test_it").one("table", class_="diff").all("tr")
    assert [each.text for each in rows] == ["thennow"] * 501


def test_tests_of_one_run_alone_are_named(suite: Suite) -> None:
    """Those that are new, and those that are gone; a renamed one keeps its output."""
    module = """\
def test_kept(bt_score): bt_score(scores={{"exact": 1}})
def test_{0}(bt_score): bt_score(input="same", output="{0}", scores={{"exact": {1}}})
def test_{2}(bt_score): bt_score(scores={{"exact": 1}})
"""
    suite.write(test_a=module.format("before", 1, "gone")).run()
    suite.write(test_a=module.format("after", 0, "new")).run(HTML)
    page = read(suite.folder / "run.html")
    changed = [e for e in page.root.all("details") if e.all("li")]
    assert [each.one("summary").text for each in changed] == [
        "1 test new",
        "1 test gone or not run",
    ]
    assert [e.text for each in changed for e in each.all("code")] == [
        "test_a.py::test_new",
        "test_a.py::test_gone",
    ]
    renamed = page.test("test_after")
    assert cells(renamed) == ["✓ passed", "1 → 0 ▼", "1"]
    assert [each.text for each in renamed.all("del")] == ["before"]
    assert "del" not in {each.tag for each in page.test("test_new").all()}


def test_much_that_changed_is_compared_as_far_as_time_allows() -> None:
    """Beyond that, lines stand one beside the other as they are."""
    then, now = "a b c\nd e f", "a x c\nd y f"
    marked = Page(beside(then, now, Work())).root
    assert [each.text for each in marked.all("del")] == ["b", "e"]
    whole = Page(beside(then, now, Work(left=5))).root
    assert [each.text for each in whole.all("ins")] == ["a x c", "d y f"]


def test_a_run_of_two_projects_has_both_in_its_page(suite: Suite) -> None:
    """With ids of their own, and the counts of the run once."""
    module = """\
import pytest
@pytest.mark.braintrust(project="one")
def test_one(bt_score): bt_score(scores={"exact": 1})
@pytest.mark.braintrust(project="two")
def test_two(bt_score): bt_score(scores={"exact": 1})
"""
    suite.write(test_a=module).run(HTML)
    page = read(suite.folder / "run.html")
    assert len(page.root.all("article")) == 2
    ids = [each.attributes["id"] for each in page.root.all() if "id" in each.attributes]
    assert len(ids) == len(set(ids)) == 2
    assert len(page.root.all("p", class_="run")) == 1
    assert sorted(page.names) == ["test_a.py::test_one", "test_a.py::test_two"]


def test_a_run_without_rows_says_so(suite: Suite) -> None:
    """A page all the same."""
    suite.write(test_a="def test_it(): pass\n").run(HTML)
    page = read(suite.folder / "run.html")
    assert "nothing recorded" in page.root.one("h1").text
    assert not page.listed


def test_what_went_wrong_with_rows_is_told(suite: Suite) -> None:
    """As the terminal tells it."""
    hook = "def pytest_braintrust_row(row): raise KeyError('lost')\n"
    suite.write(test_a=written(1), conftest=hook).run(HTML)
    body = read(suite.folder / "run.html").root.one("body").text
    assert "the hook pytest_braintrust_row raised KeyError" in body


def test_the_page_leads_to_braintrust(suite: Suite, server: FakeBraintrust) -> None:
    """To the experiment and to its baseline, where their rows are there."""
    suite.sends_to(server)
    suite.write(test_a=written(1, 1)).run()
    suite.write(test_a=written(1, 0)).run(HTML)
    page = read(suite.folder / "run.html")
    links = [str(each.attributes["href"]) for each in page.root.all("a")]
    assert len(links) == 2
    assert all(each.startswith(server.app_url) for each in links)
    assert "2 recorded, 2 on Braintrust" in page.root.one("body").text


def test_a_page_that_cannot_be_finished_is_told_of(suite: Suite) -> None:
    """The store may be damaged meanwhile; the run ends as it would have."""
    breaking = """\
from pytest_braintrust.reports.page import writing
from pytest_braintrust.errors import StoreError
def broken(*_): raise StoreError("the disk is gone")
writing.write = broken
"""
    (suite.folder / "run.html").write_text("of the run before")
    ran = suite.write(test_a=written(1), conftest=breaking).run(HTML)
    assert ran.status == 0
    assert (suite.folder / "run.html").read_text() == "of the run before"
    assert "run.html: the disk is gone" in " ".join(ran.section.split())


@pytest.mark.parametrize("option", ["--braintrust-html=run.html"])
def test_the_page_needs_a_recorded_run(suite: Suite, option: str) -> None:
    """Without our flag it would never be written."""
    ran = suite.write(test_a=written(1)).run_off(option)
    assert ran.status == 4
    assert "--braintrust-html says something of a recorded run" in ran


def test_a_stored_run_has_the_same_page(suite: Suite) -> None:
    """With the baseline that it had, or another one; `-` prints it."""
    suite.write(test_a=written(*[1] * 8)).run("--braintrust-experiment=monday")
    suite.write(test_a=written(*[0] * 8)).run("--braintrust-experiment=tuesday")
    suite.run(HTML, "--braintrust-baseline=monday")
    ran = suite.cli("report", "latest", "-o", "again.html")
    assert ran.status == 0
    assert ran.out.endswith(": 8 rows written to again.html\n")
    first, again = (read(suite.folder / f"{each}.html") for each in ("run", "again"))
    assert again.measure("exact") == first.measure("exact")
    assert again.names == first.names
    assert "monday (its baseline then)" in again.root.one("body").text
    printed = suite.cli("report", "--baseline=tuesday", "-o", "-")
    page = Page(printed.out)
    assert page.measure("exact")["verdict"] == "no evidence"
    assert "tuesday (by name)" in page.root.one("body").text
    suite.cli("export", "monday", "-o", "base.jsonl")
    assert suite.cli("report", "--baseline=base.jsonl", "-o", "run.html").status == 0
    page = read(suite.folder / "run.html")
    assert "monday (from a file)" in page.root.one("body").text


@pytest.mark.skipif(os.name != "posix", reason="has no such files")
def test_a_device_is_written_itself(suite: Suite) -> None:
    """As /dev/stdout, which would be gone for all."""
    suite.write(test_a=written(1)).run()
    said = suite.cli("report", "-o", "/dev/stdout").out
    page, _, told = said.rpartition("</html>\n")
    assert page.startswith("<!DOCTYPE html>")
    assert told.endswith(": 1 row written to /dev/stdout\n")


def test_a_page_goes_where_it_can(command: Command, store: Store) -> None:
    """What cannot be written is told in a line; as JSON, what was written."""
    made = store_run(store, scored("exact", [1, 0]), name="monday")
    at = ("report", "--store", str(store.directory))
    said = command(*at, "-o", "none/run.html")
    assert (said.status, said.out) == (1, "")
    assert "cannot write none/run.html: No such file" in said.err
    said = command(*at, "-o", "run.html", "--json")
    assert said.json == {"id": made.id, "rows": 2, "file": "run.html"}
    assert command(*at, "-o", "-", "--json").status == 2
    assert command(*at).status == 2


def page_of(command: Command, store: Store) -> Page:
    """The page of the last run of a store."""
    at = ("--store", str(store.directory))
    assert command("report", *at, "-o", "run.html").status == 0
    return read(Path("run.html"))


def test_a_page_tells_what_the_run_is_of(command: Command, store: Store) -> None:
    """Commit, branch, when, what it declares; no time where it has none that is one."""
    info = {"commit": "ab" * 20, "branch": "main", "dirty": True}
    told = scored("exact", [1, 0])
    made = store_run(store, told, repo_info=info, metadata={"model": {"name": "m"}})
    facts = page_of(command, store).root.one("dl", class_="facts")
    found = {each.one("dt").text: each.one("dd").text for each in facts.all("div")}
    assert found["commit"] == "abababababab on main, with changes"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC", found["when"])
    assert found["model"] == '{"name": "m"}'
    with store.transaction() as connection:
        sql = "UPDATE experiments SET created_at = 1e300 WHERE id = ?"
        connection.execute(sql, (made.id,))
    facts = page_of(command, store).root.one("dl", class_="facts")
    assert "when" not in {each.text for each in facts.all("dt")}


def test_what_one_run_alone_has_is_said(command: Command, store: Store) -> None:
    """Scores, lines of an output, more tests than anybody reads the names of."""
    old = [Told("test_it", {"exact": 1, "tone": 1}, output="one\ntwo\nthree")]
    base = store_run(store, old, name="then")
    new = [Told("test_it", {"exact": 1, "grade": 0}, output="two\nthree\nfour")]
    store_run(store, [*new, *scored("exact", [1] * 250)], name="now", base=base.id)
    page = page_of(command, store)
    grade = page.measure("grade")
    assert (grade["verdict"], grade["then"], grade["now"]) == ("new", "", "0.000")
    row = page.test("test_it")
    assert cells(row) == ["✓ passed", "1", "0", "1"]
    numbers = row.one("table", class_="numbers").one("tbody").all("tr")
    told = {e.one("th").text: [td.text for td in e.all("td")] for e in numbers}
    assert (told["tone"], told["grade"]) == (["1", "-"], ["-", "0"])
    diff = row.one("table", class_="diff").one("tbody").all("tr")
    assert [[td.text for td in each.all("td")] for each in diff] == [
        ["one", ""],
        ["two"],
        ["three"],
        ["", "four"],
    ]
    assert "250 tests new" in page.root.one("body").text
    assert "and 50 more" in page.root.one("body").text


def test_a_large_run_has_a_page_of_bounded_size(
    command: Command, store: Store, folder: Path
) -> None:
    """With what the worst tests said, and how much is left out."""
    text = "word " * 200
    base = store_run(store, large(1.0, f"{text}then"), name="monday")
    store_run(store, large(0.5, f"{text}now"), name="tuesday", base=base.id)
    said = command("report", "--store", str(store.directory), "-o", "run.html")
    assert said.status == 0
    assert (folder / "run.html").stat().st_size < CONTENT + LISTED * 400
    page = read(folder / "run.html")
    assert len(page.names) == len(set(page.names)) == LISTED
    assert page.names[0] == "test_it.py::test_0"
    unfold = [bool(each.all("details")) for each in page.listed]
    count = sum(unfold)
    assert unfold == [True] * count + [False] * (LISTED - count)
    assert 1_000 < count < LISTED
    told = page.root.one("p", class_="left-out").text
    assert told.startswith(
        f"Of 20,100 tests this page has what the first {count:,} said. "
        f"{LISTED - count:,} are listed with their numbers alone. 100 are not listed."
    )


def large(score: float, output: str) -> list[Told]:
    """20,100 tests, of which the first got another score each time."""
    return [
        Told(f"test_{n}", {"exact": score if n == 0 else 1.0}, output=output)
        for n in range(20_100)
    ]


def test_a_page_is_written_in_little_memory(command: Command, store: Store) -> None:
    """Less than what the tests said: they are read one after the other."""
    told = [Told(f"test_{n}", output=f"{n} " + "w" * 100_000) for n in range(300)]
    store_run(store, told)
    del told
    tracemalloc.start()
    said = command("report", "--store", str(store.directory), "-o", "run.html")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said.status == 0
    assert peak < 10_000_000
