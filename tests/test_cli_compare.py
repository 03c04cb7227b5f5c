"""`diff`, `history` and `gate`: runs that are over, looked at again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command, Suite
from made_runs import Told, scored, store_run
from test_comparison import written

from pytest_braintrust.outcomes import Outcome
from pytest_braintrust.reports import sides
from pytest_braintrust.reports.lines import width_of
from pytest_braintrust.store import writing
from pytest_braintrust.store.connection import Store, open_store


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of the folder that commands run in, on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    opened = open_store(folder / ".braintrust")
    yield opened
    opened.close()


OLD = '{"answer": "Rome"}'


def two_runs(store: Store) -> None:
    """One that is called monday, and one that is worse."""
    asked = {"city": "?"}
    held: dict[str, float] = {"exact": 1.0, "tone": 0.5}
    then = [Told(f"t{i}", held, input=asked, output=OLD) for i in range(8)]
    fell: dict[str, float] = {"exact": 0.0, "tone": 0.5}
    now = [
        Told(f"t{i}", fell, input=asked, output="Paris", expected="Rome\nItaly")
        for i in range(8)
    ]
    monday = store_run(store, then, name="monday")
    store_run(store, now, name="tuesday", base=monday.id)


def test_diff_shows_a_run_beside_its_baseline(store: Store, command: Command) -> None:
    """The last one, if none is named; the worst five tests, or all."""
    two_runs(store)
    said = command("diff")
    assert said.status == 0
    assert said.out.startswith(
        "then      p/monday\nnow       p/tuesday\nverdict   ▼ worse: exact regressed\n"
    )
    assert "tests with a lower score: the worst 5 of 8\n" in said.out
    assert said.out.count("\n    - {") == 5
    assert said.out == command("diff", "latest").out
    assert said.out == command("diff", "monday", "tuesday").out
    assert command("diff", "--worse").out.count("\n    - {") == 8
    assert max(map(width_of, said.out.splitlines())) <= 80
    assert "\x1b" not in said.out


def test_diff_the_other_way_round_is_the_mirror(store: Store, command: Command) -> None:
    """What regressed improved."""
    two_runs(store)
    said = command("diff", "tuesday", "monday")
    assert "verdict   ▲ better: exact improved" in said.out
    assert "lower score" not in said.out


def test_diff_of_one_score(store: Store, command: Command) -> None:
    """Nothing of the others; a name that is none is refused with those there are."""
    two_runs(store)
    said = command("diff", "--score", "tone")
    assert said.out.count("exact") == 1
    wrong = command("diff", "--score", "exakt")
    assert wrong.status == 2
    assert "no score exakt in both runs; there is exact, tone, pass, dur" in wrong.err


@pytest.mark.parametrize("name", ["exact", "tone", "pass", "duration"])
def test_what_is_shown_is_not_what_is_judged(
    store: Store, command: Command, name: str
) -> None:
    """The verdict is that of the runs, whichever scores or metrics are looked at."""
    two_runs(store)
    said = command("diff", "--score", name).out
    assert "verdict   ▼ worse: exact regressed\n" in said
    assert "a score moved and nothing that the runs recorded changed" in said
    told = command("diff", "--score", name, "--json").json
    assert (told["overall"], told["drifted"]) == ("worse", True)
    assert [each["name"] for each in told["measures"]] == [name]
    assert len(told["worse"]) == (8 if name == "exact" else 0)


def test_diff_shows_both_outputs_side_by_side(store: Store, command: Command) -> None:
    """Of each test that is listed."""
    two_runs(store)
    said = command("diff", "--output")
    asked = 'input     {"city": "?"}\nexpected  Rome Italy'
    assert f"\ntest_it.py::t0  exact 1 → 0\n{asked}\n{OLD:38} | Paris\n" in said.out


def test_diff_as_json(store: Store, command: Command) -> None:
    """As docs/machines.md says; with the outputs where they are asked for."""
    two_runs(store)
    told = command("diff", "--json").json
    assert (told["base"]["name"], told["head"]["name"]) == ("monday", "tuesday")
    assert (told["overall"], len(told["worse"])) == ("worse", 8)
    assert (told["tests"]["then"], told["tests"]["now"]) == (8, 8)
    assert "outputs" not in told
    told = command("diff", "--json", "--output").json
    assert told["outputs"][0] == {
        "nodeid": "test_it.py::t0",
        "row": "",
        "input": '{"city": "?"}',
        "expected": "Rome\nItaly",
        "then": OLD,
        "now": "Paris",
        "error": None,
    }


def test_diff_without_a_baseline_asks_for_two_runs(
    store: Store, command: Command
) -> None:
    """Or finds the previous one by itself."""
    store_run(store, scored("exact", [1.0]), name="only")
    said = command("diff")
    assert said.status == 2
    assert "p/only has no baseline: name the run to compare with" in said.err
    store_run(store, scored("exact", [1.0]), name="second")
    assert "then      p/only\nnow       p/second\n" in command("diff").out
    assert command("diff", "nothing").status == 2


def test_side_by_side_marks_what_changed() -> None:
    """Changed, gone and new lines; many equal ones are counted; long ones go on."""
    then = "\n".join(["a", "old", *map(str, range(9)), "gone"])
    now = "\n".join(["a", "new " * 12, *map(str, range(9)), "gone", "more"])
    assert [line.text for line in sides.beside(then, now, 50)] == [
        "a                         a",
        "old                     | new new new new new new",
        "                        |  new new new new new ne",
        "                        | w",
        "0                         0",
        "1                         1",
        "… 6 equal lines",
        "8                         8",
        "gone                      gone",
        "                        > more",
    ]
    assert list(sides.beside("", "", 50)) == []


def test_history_has_a_line_a_run_and_a_chart(store: Store, command: Command) -> None:
    """The newest last; the first score is drawn, with its interval."""
    for value in (0.2, 0.5, 0.9):
        told = scored("exact", [value, value, value + 0.05], seconds=value)
        store_run(store, told, name=f"run at {value}")
    store_run(store, scored("exact", [1.0]), name="cut", exit_status=2)
    store_run(store, scored("other", [1.0]), name="elsewhere", project="q")
    said = command("history", "--project", "p")
    lines = said.out.splitlines()
    assert lines[0] == "exact in project p"
    heads, ends = lines[1].split()[:4], lines[1].split()[4:]
    assert heads == ["WHEN", "EXPERIMENT", "TESTS", "MEAN"]
    assert ends == ["0.145", "1.000"]
    assert [line.split()[1:4] for line in lines[2:5]] == [
        ["run", "at", "0.2"],
        ["run", "at", "0.5"],
        ["run", "at", "0.9"],
    ]
    places = [line.index("●") for line in lines[2:6]]
    assert places == sorted(places)
    assert lines[5].endswith("interrupted")
    assert lines[6] == "not shown: pass; --score NAME draws one"
    assert max(map(width_of, lines)) <= 80
    assert command("history").out.startswith("other in project q\n")


def test_history_of_one_test(store: Store, command: Command) -> None:
    """By its node id, or a part of it; a run that has not got it says so."""
    for value in (0.2, 0.5):
        told = [Told("test_a[1]", {"exact": value}), Told("test_b[1]", {"exact": 1.0})]
        store_run(store, told)
    store_run(store, [Told("test_b[1]", {"exact": 1.0})])
    said = command("history", "--test", "test_it.py::test_a[1]")
    assert said.out.startswith("exact of test_it.py::test_a[1] in project p\n")
    rows = [line.split()[2:4] for line in said.out.splitlines()[2:5]]
    assert rows == [["1", "0.200"], ["1", "0.500"], ["0", "-"]]
    told = command("history", "--test", "[1]", "--json").json
    assert [each["tests"] for each in told] == [2, 2, 1]
    # Its node id begins those of the others.
    store_run(store, [Told(f"test_b{more}") for more in ("", "[2]", "bed")])
    one = command("history", "--test", "test_it.py::test_b", "--json").json
    assert [each["tests"] for each in one] == [0, 0, 0, 1]
    wrong = command("history", "--test", "test_c")
    assert wrong.status == 2
    assert "no test of these runs has test_c in its node id" in wrong.err


def test_history_is_readable_in_80_columns(store: Store, command: Command) -> None:
    """Also where trials errored: the chart is whole, and so is what it goes from to."""
    trials = [Told("a", {"exact": n / 9}) for n in range(8)]
    trials += [Told("a", outcome="errored")] * 12
    for _ in range(2):
        store_run(store, trials, name="main-6112e68-20261129-130147")
    _, head, first, *_ = command("history").out.splitlines()
    assert "…" not in head
    assert first.endswith("  12 trials errored")
    assert width_of(first) <= 80


def test_runs_that_were_cut_short_are_marked(store: Store, command: Command) -> None:
    """They are no baselines, and their means are of a part."""
    told = scored("exact", [1.0])
    counts = {"collected": 10, "passed": 7, "failed": 1, "not_run": 2}
    store_run(store, told, name="at-the-first", exit_status=1, counts=counts)
    store_run(store, told, name="stopped", exit_status=2, counts=counts)
    whole = {"collected": 10, "passed": 8, "failed": 2}
    store_run(store, told, name="failed", exit_status=1, counts=whole)
    _, failed, stopped, first = command("list").out.splitlines()
    assert "7/10 cut short " in first
    assert "7/10 cut short " in stopped
    assert "8/10 " in failed
    assert "cut short" not in failed
    *_, first, stopped, failed = (
        line for line in command("history").out.splitlines() if "●" in line
    )
    assert first.endswith("cut short")
    assert stopped.endswith("interrupted")
    assert "cut short" not in failed


def test_history_of_a_branch_is_of_the_project_that_ran_on_it_last(
    store: Store, command: Command
) -> None:
    """Whatever ran elsewhere since."""
    store_run(store, scored("exact", [1.0]), repo_info={"branch": "main"})
    store_run(store, scored("other", [1.0]), project="q")
    assert command("history", "--branch", "main").out.startswith("exact in project p\n")


def test_history_of_a_metric_and_as_json(store: Store, command: Command) -> None:
    """In its unit; a name that no run has is refused."""
    for seconds in (0.002, 0.004):
        store_run(store, scored("exact", [1.0, 0.5], seconds=seconds))
    said = command("history", "--score", "duration", "--limit", "1")
    assert said.out.startswith("duration, ms in project p\n")
    assert "  4.000  " in said.out
    assert "1 older; --limit 0 shows all" in said.out
    told = command("history", "--json").json
    assert [each["metrics"]["duration"]["mean"] for each in told] == [
        pytest.approx(0.002, abs=1e-6),
        pytest.approx(0.004, abs=1e-6),
    ]
    assert told[0]["scores"]["exact"]["mean"] == 0.75
    listed = command("list", "--json").json
    assert {e["created_at"] for e in told} == {e["created_at"] for e in listed}
    wrong = command("history", "--score", "exakt")
    assert wrong.status == 2
    assert "no run has a score exakt; there is exact, pass, duration" in wrong.err


def test_history_of_a_small_metric_is_not_zero(store: Store, command: Command) -> None:
    """One scale for all runs, as a table of a comparison has it."""
    for cost in (0.00002, 0.00045):
        store_run(store, [Told("a", {"exact": 1.0}, metrics={"cost": cost})])
    lines = command("history", "--score", "cost").out.splitlines()
    assert lines[0] == "cost, thousandths in project p"
    assert [line.split()[-4] for line in lines[2:]] == ["0.020", "0.450"]


@pytest.mark.parametrize(("columns", "shown"), [(80, 0), (112, 2), (None, 4)])
def test_history_leaves_out_whole_scores_where_there_is_no_room(
    store: Store,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    columns: int | None,
    shown: int,
) -> None:
    """The one that most runs have is drawn; which ones are left out is said."""
    names = ["exact", "in the style of ours", "to the point", "brief", "kind", "new"]
    store_run(store, [Told("a", {"new": 0.5})])
    for _ in range(2):
        told = Told("a", dict.fromkeys(names[:-1], 0.5))
        store_run(store, [told, Told("b", outcome="errored")])
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(columns))
    said = command("history").out
    lines = said.splitlines()
    assert lines[0] == "exact in project p"
    assert lines[3].endswith("1 errored")
    others = [*names[1:], "pass"]
    heads = " ".join(lines[1].split())
    assert heads.endswith(" ".join(["0.500", *others[:shown]]))
    left = f"not shown: {', '.join(others[shown:])}; --score NAME draws one"
    assert left in " ".join(said.split())
    assert columns is None or max(map(width_of, lines)) <= columns


def test_history_names_the_tests_that_passed_and_failed(
    store: Store, command: Command
) -> None:
    """Once each trial; from where their source changed on, and only as far as asked."""
    fell = [Told("sure"), Told("edited", outcome="failed"), Told("never", {}, "failed")]
    store_run(store, [*fell, Told("shaky", outcome="failed")])
    ended: list[Outcome] = ["passed", "failed", "errored", "skipped", "xfailed"]
    for outcome in ended:
        now = [Told("shaky", outcome=outcome), Told("shaky", outcome="passed")]
        edited = Told("edited", source="other")
        store_run(store, [Told("sure"), Told("never", {}, "failed"), edited, *now])
    said = command("history", "--flaky").out.splitlines()
    assert said == [
        "1 test both passed and failed in the last 6 runs of project p",
        "PASSED   RATE  95 % INTERVAL  RUNS  TEST",
        "6 of 8  0.750  0.409 … 0.929     6  test_it.py::shaky",
    ]
    (told,) = json.loads(command("history", "--flaky", "--json").out)
    assert told == {
        "test": "test_it.py::shaky",
        "source": "s",
        "runs": 6,
        "passed": 6,
        "failed": 2,
        "rate": 0.75,
        "interval": [pytest.approx(0.409, abs=1e-3), pytest.approx(0.929, abs=1e-3)],
    }
    last = command("history", "--flaky", "--limit", "1").out
    assert last == "no test both passed and failed in the last run of project p\n"
    assert command("history", "--flaky", "--json", "--test", "sure").out == "[]\n"
    none = command("history", "--flaky", "--test", "sure").out
    assert "no test with sure in the node id both passed and failed" in none
    store_run(store, [Told("shaky[1]", outcome=each) for each in ended])
    two = command("history", "--flaky", "--test", "shaky").out
    assert two.startswith("2 tests with shaky in the node id both passed and failed")
    whole = command("history", "--flaky", "--test", "test_it.py::shaky", "--json").out
    assert [each["test"] for each in json.loads(whole)] == ["test_it.py::shaky"]
    wrong = command("history", "--flaky", "--score", "exact")
    assert (wrong.status, "leave out --score" in wrong.err) == (2, True)
    assert "no runs of project q" in command("history", "--flaky", "--project", "q").out


def test_history_of_nothing(store: Store, command: Command) -> None:
    """Says how to begin."""
    assert "no runs yet" in command("history").out
    store_run(store, [Told("a", outcome="skipped")])
    assert "no score in project p" in command("history").out
    assert "no runs of branch main" in command("history", "--branch", "main").out


def test_gate_judges_a_stored_run(store: Store, command: Command) -> None:
    """By its own baseline or another; the exit status says what came of it."""
    two_runs(store)
    passed = command("gate", "monday", "--fail-under", "exact=1")
    assert (passed.status, passed.out) == (
        0,
        "experiment  p/monday\nPASSED: exact is 1, at least 1\n",
    )
    failed = command("gate", "--fail-on-regression", "--fail-under", "all=0.5")
    assert failed.status == 1
    assert failed.out.splitlines()[:3] == [
        "experiment  p/tuesday",
        "baseline    monday (its baseline then)",
        "FAILED: exact is 0, 0.5 under 0.5",
    ]
    unknown = command("gate", "--fail-under", "exakt=1", "--max-drop", "tone=0")
    assert unknown.status == 3
    assert "NOT MEASURABLE: exakt: no test has it; there is exact, tone" in unknown.out
    both = command("gate", "--fail-under", "exakt=1", "--fail-under", "exact=1")
    assert both.status == 1
    none = command("gate", "monday", "--require-baseline", "--baseline", "main")
    assert none.status == 1
    assert "baseline    none: main has no finished run" in none.out
    slow = command("gate", "--fail-over", "duration=0.5")
    assert "FAILED: duration is 1, 0.5 over 0.5" in slow.out
    dear = command("gate", "--max-total", "duration=1")
    assert (dear.status, "--max-total: 'duration' has no total" in dear.err) == (2, 1)


def test_gate_and_diff_mean_the_same_runs(store: Store, command: Command) -> None:
    """By the places that `list` shows, whatever came of the runs."""
    for name in ("run1", "run2", "run3"):
        run = store_run(store, scored("exact", [1.0] * 4), name=name)
        writing.set_fit(store, run.number, fit=name != "run2")
    gated = command("gate", "latest", "--baseline", "latest~1", "--max-drop", "all=0")
    assert "baseline    run2 (by name)" in gated.out
    assert "then      p/run2" in command("diff", "latest~1", "latest").out
    itself = command("gate", "latest", "--baseline", "latest", "--max-drop", "all=0")
    assert (itself.status, "it is the run itself" in itself.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "no gate was asked for"),
        (("--fail-under", "exact"), "--fail-under: 'exact' is not of the form"),
        (("nothing", "--fail-under", "exact=1"), "there is no experiment nothing"),
        (("--max-drop=a=1", "--baseline", "mondey"), "there is no experiment mondey"),
        (("--max-drop=a=1", "--baseline", "no.jsonl"), "cannot read"),
    ],
)
def test_a_gate_that_cannot_be_asked_is_wrong_usage(
    store: Store, command: Command, arguments: tuple[str, ...], text: str
) -> None:
    """Status 2, with what is wrong."""
    two_runs(store)
    said = command("gate", *arguments)
    assert said.status == 2
    assert text in said.err


def test_gate_as_json(store: Store, command: Command) -> None:
    """The numbers, the comparison, the verdicts."""
    two_runs(store)
    said = command("gate", "--max-drop", "all=0.5", "--json")
    assert said.status == 1
    assert (said.json["name"], said.json["state"]) == ("tuesday", "failed")
    assert said.json["gates"][0]["text"].startswith("exact dropped by 1 from 1 to 0")
    assert said.json["comparison"]["base"]["how"] == "stored"


def test_a_run_is_judged_again_as_it_was(suite: Suite) -> None:
    """By the metrics of which its ini file said that more is better, and by others."""
    test = (
        "import pytest\n"
        "@pytest.mark.parametrize('n', range(10))\n"
        "def test_a(bt_score, n): bt_score(metrics={'speed': %d + n, 'size': %d + n})\n"
    )
    suite.ini("braintrust_higher_is_better = speed")
    suite.write(test_a=test % (10, 10)).run()
    ran = suite.write(test_a=test % (90, 90)).run()

    def verdicts(text: str) -> dict[str, str]:
        lines = [line.split() for line in text.splitlines()]
        return {each[0]: each[-1] for each in lines if "…" in "".join(each[4:5])}

    assert verdicts(ran.section)["speed"] == "improved"
    suite.ini()
    looked = verdicts(suite.cli("diff").out)
    assert (looked["speed"], looked["size"]) == ("improved", "regressed")
    looked = verdicts(suite.cli("diff", "--higher-is-better=size").out)
    assert (looked["speed"], looked["size"]) == ("improved", "improved")
    assert "higher_is_better" not in suite.cli("diff").out
    assert "speed regressed" not in suite.cli("gate", "--fail-on-regression").out


def test_what_a_failed_gate_says_to_type_works(suite: Suite) -> None:
    """`pytest-braintrust diff latest`, in the folder of the run."""
    suite.write(test_a=written(*[1] * 8)).run()
    failed = suite.write(test_a=written(*[0] * 8)).run(
        "--braintrust-fail-on-regression"
    )
    assert "look closer with: pytest-braintrust diff latest" in failed
    looked = suite.cli("diff", "latest")
    assert looked.status == 0
    assert "verdict   ▼ worse: exact regressed" in looked.out
    assert suite.cli("gate", "--fail-on-regression").status == 1


def test_what_most_tests_have_is_shown_first(store: Store, command: Command) -> None:
    """In `list` and `history`: a score of two tests says little of the run."""
    few = [Told(f"a{n}", {"recall": 0.5}) for n in range(2)]
    store_run(store, [*few, *(Told(f"b{n}", {"exact": 1.0}) for n in range(9))])
    assert "  exact 1.000  +2 " in command("list").out
    assert command("history").out.startswith("exact in project p\n")


def by_model(store: Store) -> None:
    """A run of two models, and of a test that has none."""
    told = [
        Told(
            f"t[{model}-{n}]",
            {"exact": float(n < right)},
            input={"model": model, "question": n},
            metrics={"cost": cost},
        )
        for model, right, cost in (("small", 2, 0.001), ("large", 4, 0.008))
        for n in range(4)
    ]
    told += [Told("t[large-4]", outcome="errored", input={"model": "large"})]
    store_run(store, [*told, Told("other", {"tone": 0.5})])


def test_a_run_is_split_by_what_its_rows_have(store: Store, command: Command) -> None:
    """What can be compared comes first, what errored is told, and the rest is last."""
    by_model(store)
    said = command("show", "--by", "model").out.splitlines()
    at = said.index("model  TESTS  exact   pass  cost, thousandths  duration, s") + 1
    assert [line.split() for line in said[at : at + 3]] == [
        ["large", "5", "1.000", "1.000", "8.000", "1.000"],
        ["small", "4", "0.500", "1.000", "1.000", "1.000"],
        ["-", "1", "-", "1.000", "-", "1.000"],
    ]
    assert said[at + 3 :] == ["large: 1 errored (left out)"]
    assert command("show", "--by", "input.model").out.count("large ") == 1
    limited = command("show", "--by", "model", "--limit", "1").out
    assert "and 2 more; --limit 0 shows all" in limited


@pytest.mark.parametrize(
    ("by", "values"),
    [
        ("model", ["large", "small", None]),
        ("question", ["0", "1", "2", "3", None]),
        ("test", ["test_it.py::other", "test_it.py::t"]),
        ("file", ["test_it.py"]),
    ],
)
def test_a_run_is_split_for_programs(
    store: Store, command: Command, by: str, values: list[str | None]
) -> None:
    """As docs/machines.md says."""
    by_model(store)
    told = command("show", "--by", by, "--json").json
    assert told["by"] == by
    assert {each["value"] for each in told["parts"]} == set(values)
    if by == "model":
        (large,) = [each for each in told["parts"] if each["value"] == "large"]
        assert (large["tests"], large["errored"]) == (5, 1)
        assert large["scores"]["exact"]["mean"] == 1
        assert large["totals"] == {"cost": pytest.approx(0.032)}


def test_a_split_of_many_measures_fits_the_terminal(
    store: Store, command: Command
) -> None:
    """Those that have no room are named."""
    names = [f"a_score_{n}" for n in range(8)]
    store_run(store, [Told("t", dict.fromkeys(names, 0.5), input={"m": "x" * 90})])
    lines = command("show", "--by", "m").out.splitlines()
    assert max(map(width_of, lines)) <= 80
    assert lines[-2].startswith("not shown: a_score_")


def test_a_split_that_says_nothing_is_refused(store: Store, command: Command) -> None:
    """By a name that no row has, or of some rows."""
    by_model(store)
    said = command("show", "--by", "modle")
    assert said.status == 2
    assert "no row of the run has modle: name what is in their metadata" in said.err
    some = command("show", "--by", "model", "--outcome", "passed")
    assert some.status == 2
    assert "leave out --score, --outcome and --output" in some.err


def two_models(store: Store) -> None:
    """A run in which one of two models gets more right, and costs more."""
    told = [
        Told(
            f"t[{place}-{n}]",
            {"exact": float(n < right)},
            metrics={"cost": cost},
            input={"model": model, "question": n},
        )
        for place, model, right, cost in (
            ("b", "small", 4, 1.0),
            ("a", "large", 9, 8.0),
        )
        for n in range(12)
    ]
    asked = {"model": "large", "question": "more"}
    told.append(Told("t[new]", {"exact": 1.0}, input=asked))
    store_run(store, told, name="both")


def test_two_parts_of_a_run_are_compared_test_by_test(
    store: Store, command: Command
) -> None:
    """Each with the one that was asked the same, whatever their node ids are."""
    two_models(store)
    said = command("diff", "--by", "model", "small", "large")
    assert said.status == 0
    lines = said.out.splitlines()
    assert lines[:2] == [
        "then      p/both with model small",
        "now       p/both with model large",
    ]
    rows = {line.split()[0]: line.split() for line in lines if line}
    assert rows["exact"][1:4] == ["0.333", "0.750", "+0.417"]
    assert rows["exact"][-4:-2] == ["5", "0"]
    assert rows["cost"][-4:] == ["0", "12", "▼", "regressed"]
    assert "12 tests in both runs, 1 new" in said.out
    assert "changed: model: small → large" in said.out
    assert "drifted" not in said.out
    back = command("diff", "both", "--by", "input.model", "large", "small").out
    assert " -0.417 " in back
    told = command("diff", "--by", "model", "small", "large", "--json").json
    assert told["changed"] == [{"what": "model", "then": "small", "now": "large"}]
    assert (told["tests"]["shared"], told["tests"]["new"]) == (
        12,
        ["test_it.py::t[new]"],
    )
    one = command("diff", "--by", "model", "small", "large", "--score", "cost").out
    assert "exact  " not in one


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--by", "model", "small", "huge"), "no row of the run has model huge"),
        (("--by", "modle", "small", "large"), "no row of the run has modle small"),
        (("--by", "model", "small", "small"), "both parts are model small"),
        (("--by", "tags", "a", "b"), "as metadata.NAME or input.NAME"),
        (("--by", "", "small", "large"), "an empty text is no name"),
        (("both", "both", "--by", "model", "small", "large"), "leave out B, --output"),
    ],
)
def test_parts_that_are_none_are_refused(
    store: Store, command: Command, arguments: tuple[str, ...], why: str
) -> None:
    """With what there is."""
    two_models(store)
    said = command("diff", *arguments)
    assert said.status == 2
    assert why in said.err


@pytest.mark.parametrize("by", ["config.model", "input.config.model"])
def test_parts_are_told_by_a_name_within_another(
    store: Store, command: Command, by: str
) -> None:
    """As of a parameter that is a mapping, whose other values stay what was asked."""
    told = [
        Told(f"t[{m}-{n}]", {"exact": 1.0}, input={"config": {"model": m, "n": n}})
        for m in ("", "large")
        for n in range(3)
    ]
    store_run(store, told)
    assert "3 tests in both runs\n" in command("diff", "--by", by, "", "large").out


def test_parts_are_told_by_metadata_of_the_name_of_a_parameter(
    store: Store, command: Command
) -> None:
    """Which is no part of what was asked then, named in full or not."""
    told = [
        Told(f"t[{m}]", {"exact": 1.0}, input={"model": m}, metadata={"model": m})
        for m in ("small", "large")
    ]
    store_run(store, told)
    said = command("diff", "--by", "metadata.model", "small", "large").out
    assert "1 test in both runs\n" in said


def test_a_folder_may_have_brackets_in_its_name(store: Store, command: Command) -> None:
    """Two functions in it are two."""
    told = [
        Told(
            f"{name}[{m}]", {"exact": right}, input={"model": m}, file="[id]/test_it.py"
        )
        for name, right in (("first", 1.0), ("second", 0.0))
        for m in ("small", "large")
    ]
    store_run(store, told)
    parts = command("show", "--by", "test", "--json").json["parts"]
    assert {each["value"]: each["scores"]["exact"]["mean"] for each in parts} == {
        "[id]/test_it.py::first": 1,
        "[id]/test_it.py::second": 0,
    }
    said = command("diff", "--by", "model", "small", "large").out
    assert "2 tests in both runs\n" in said


def test_parts_that_were_asked_other_things_are_refused(
    store: Store, command: Command
) -> None:
    """As by a name for what a parameter says in other words."""
    told = [
        Told(f"t[{m}]", {"exact": 1.0}, input={"model": m}, metadata={"size": m})
        for m in ("small", "large")
    ]
    store_run(store, told)
    said = command("diff", "--by", "size", "small", "large")
    assert said.status == 2
    assert "no test with size small was asked the same as one with size" in said.err


def test_a_test_of_no_name_has_no_history(store: Store, command: Command) -> None:
    """As an unset variable leaves it: it would be that of all."""
    store_run(store, scored("exact", [1.0]))
    assert command("history", "--test", "").status == 2


#: Splits the only run of a store, where SQLite may hold 5 MB.
SPLIT = """\
import sys
from pathlib import Path
from pytest_braintrust.comparison.splitting import split
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import open_store

store = open_store(Path(sys.argv[1]))
store.one("PRAGMA hard_heap_limit = 5000000")
(run,) = reading.experiments(store)
print(*split(store, run, "model"))
"""


def test_a_split_run_is_not_all_in_memory(store: Store) -> None:
    """Its rows are looked into one after the other."""
    long = "a word " * 70_000
    store_run(
        store, [Told(f"t{n}", input={"model": f"m{n}"}, output=long) for n in range(20)]
    )
    command = [sys.executable, "-c", SPLIT, str(store.directory)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert len(ran.stdout.split()) == 20


@pytest.mark.parametrize("own_input", [True, False])
def test_parts_may_be_the_rows_of_a_test_by_their_names(
    store: Store, command: Command, *, own_input: bool
) -> None:
    """As of a test that asks each model, with or without an input of the row's own."""
    told = [
        Told("t", {"exact": 1.0}, part=m, metadata={"m": m}, input={"q": 1, **more})
        for m in ("small", "large")
        for more in [{} if own_input else {"row": m}]
    ]
    store_run(store, [*told, Told("t")])
    said = command("diff", "--by", "m", "small", "large").out
    assert "1 test in both runs\n" in said
