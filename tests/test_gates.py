"""A run is judged by what was asked of it, and by nothing else."""

from __future__ import annotations

import pytest
from conftest import Suite
from made_runs import Told, scored, store_run
from test_comparison import written

from pytest_braintrust.baseline import Baseline
from pytest_braintrust.gates import Gates, Verdict, summed
from pytest_braintrust.given import Given
from pytest_braintrust.judging import Asked, asked, judgement
from pytest_braintrust.store.connection import Store


def verdicts(
    store: Store, asked: Gates, now: list[Told], then: list[Told] | None = None
) -> list[tuple[str, str]]:
    base = Baseline(store_run(store, then), "previous") if then is not None else None
    found = judgement(
        store, store_run(store, now), base, Asked(None, asked, frozenset())
    )
    return [(each.state, each.text) for each in found.verdicts]


def gates(**limits: object) -> Gates:
    empty: dict[str, object] = {"fail_under": {}, "fail_over": {}, "max_drop": {}}
    return Gates(**{**empty, **limits})  # type: ignore[arg-type]


def test_nothing_asked_is_nothing_judged(store: Store) -> None:
    """Not even a run that is worse in everything."""
    then, now = scored("exact", [1.0] * 20), scored("exact", [0.0] * 20)
    assert verdicts(store, gates(), now, then) == []


def test_means_are_held_against_limits(store: Store) -> None:
    """A mean that is the limit holds it; `all` is each score without its own limit."""
    now = [Told(f"t{i}", {"a": 0.8, "b": 0.1}, seconds=2) for i in range(4)]
    asked = gates(fail_under={"all": 0.5, "a": 0.8, "pass": 1.0})
    assert sorted(verdicts(store, asked, now)) == [
        ("failed", "b is 0.1, 0.4 under 0.5"),
        ("passed", "a is 0.8, at least 0.8"),
        ("passed", "pass is 1, at least 1"),
    ]
    assert verdicts(store, gates(fail_over={"duration": 1.5}), now) == [
        ("failed", "duration is 2, 0.5 over 1.5")
    ]


def test_a_total_is_held_against_a_budget(store: Store) -> None:
    """Of all rows, errored ones too, however many these are; not of what is unknown."""
    spent = {"cost": 1.25, "tokens": 1_000_000}
    now = [
        Told(f"t{i}", outcome="errored" if i else "passed", metrics=spent)
        for i in range(4)
    ]
    asked = gates(max_total={"cost": 5, "tokens": 3e6})
    assert verdicts(store, asked, now) == [
        ("passed", "cost is 5 in all, at most 5"),
        ("failed", "tokens is 4,000,000 in all, 1,000,000 over 3,000,000"),
    ]
    assert verdicts(store, gates(max_total={"cost": 4.99}), now) == [
        ("failed", "cost is 5 in all, 0.01 over 4.99")
    ]
    assert verdicts(store, gates(max_total={"costs": 5}), now) == [
        ("not measurable", "costs: no test has it; there is cost, tokens")
    ]


def test_a_name_that_no_test_has_is_not_measurable(store: Store) -> None:
    """A misspelt gate does not pass by that."""
    asked = gates(fail_under={"exakt": 0.5}, fail_over={"tokens": 9})
    assert verdicts(store, asked, scored("exact", [1.0])) == [
        ("not measurable", "exakt: no test has it; there is exact, pass"),
        ("not measurable", "tokens: no test has it; there is duration"),
    ]


def test_errors_past_a_tenth_leave_nothing_to_judge(store: Store) -> None:
    """Neither the means of the run nor what they are beside the baseline."""
    then = scored("exact", [1.0] * 8)
    now = [*scored("exact", [1.0] * 6), *(Told(f"x{i}", {}, "errored") for i in (1, 2))]
    asked = gates(fail_under={"exact": 0.5}, max_drop={"exact": 0.1})
    assert verdicts(store, asked, now, then) == [
        (
            "not measurable",
            "2 of 8 tests errored, more than 10%: their means say nothing",
        ),
        ("not measurable", "2 of 8 tests errored now, more than 10%"),
    ]


def test_a_score_that_many_could_not_measure_does_not_pass(store: Store) -> None:
    """Whatever those that are left say; one that nobody tries any more does."""
    then = [Told(f"test_{i}", {"exact": 1.0, "old": 1.0}) for i in range(8)]
    now = scored("exact", [*[1.0] * 6, *[None] * 2])
    asked = gates(max_drop={"exact": 0.1}, on_regression=True)
    text = "exact is not scored in 2 of 8 tests that had it, more than 10%"
    assert verdicts(store, asked, now, then) == [("failed", text)] * 2
    now = scored("exact", [1.0] * 8)
    asked = gates(on_regression=True)
    assert verdicts(store, asked, now, then) == [
        ("passed", "no score is worse beyond noise")
    ]


def test_errored_trials_past_a_tenth_leave_nothing_to_judge(store: Store) -> None:
    """Nor is such a run a baseline for others."""
    now = [
        Told(f"test_{i}", {"exact": 1.0}, "errored" if trial else "passed")
        for i in range(8)
        for trial in range(3)
    ]
    asked = gates(fail_under={"exact": 0.5})
    assert verdicts(store, asked, now) == [
        (
            "not measurable",
            "16 of 24 trials errored, more than 10%: their means say nothing",
        )
    ]
    run = store_run(store, now)
    assert not judgement(store, run, None, Asked(None, gates(), frozenset())).fit


def test_a_drop_counts_whatever_the_noise_and_a_regression_beyond_it(
    store: Store,
) -> None:
    """One test of ten that fell is a drop and no evidence."""
    then, now = scored("exact", [1.0] * 10), scored("exact", [*[1.0] * 9, 0.0])
    assert verdicts(store, gates(max_drop={"exact": 0.05}), now, then) == [
        ("failed", "exact dropped by 0.1 from 1 to 0.9, 0.05 more than 0.05")
    ]
    assert verdicts(store, gates(max_drop={"all": 0.1}), now, then) == [
        ("passed", "exact went from 1 to 0.9, no drop by more than 0.1"),
        ("passed", "pass went from 1 to 1, no drop by more than 0.1"),
    ]
    assert verdicts(store, gates(on_regression=True), now, then) == [
        ("passed", "no score is worse beyond noise")
    ]
    worse = scored("exact", [0.0] * 10)
    assert verdicts(store, gates(on_regression=True), worse, then) == [
        (
            "failed",
            "exact regressed by 1 from 1 to 0, beyond noise (p=0.002, 10 tests worse)",
        )
    ]


def test_the_first_run_has_no_baseline(store: Store) -> None:
    """It passes unless a baseline is required."""
    now = scored("exact", [1.0])
    asked = gates(max_drop={"exact": 0.1}, on_regression=True)
    text = "there is no baseline yet to compare with"
    assert verdicts(store, asked, now) == [("passed", text)]
    assert verdicts(store, gates(require_baseline=True), now) == [
        ("failed", "there is no baseline to compare with")
    ]
    (state, _), *_ = verdicts(store, gates(require_baseline=True), now, now)
    assert state == "passed"


def test_verdicts_sum_up() -> None:
    """What failed says more than what cannot be said."""
    states = [Verdict("passed", ""), Verdict("not measurable", "")]
    assert summed(states) == "not measurable"
    assert summed([*states, Verdict("failed", "")]) == "failed"
    assert summed([]) == "passed"


@pytest.mark.parametrize("mode", [[], ["-q"], ["-qq"], ["--braintrust-no-summary"]])
def test_a_failed_gate_is_always_said(suite: Suite, mode: list[str]) -> None:
    """With by how much, and what to type next; and ends the run with status 1."""
    suite.write(test_a=written(1, 1, 1, 0))
    failed = suite.run("--braintrust-fail-under", "exact=0.8", *mode)
    assert failed.status == 1
    assert "GATE FAILED: exact is 0.75, 0.05 under 0.8" in failed
    # Of a first run there is nothing to show beside it.
    assert "look closer with: pytest-braintrust show latest --output" in failed
    assert suite.cli("show", "latest", "--output").status == 0
    again = suite.run("--braintrust-fail-under", "exact=0.8", *mode)
    assert "look closer with: pytest-braintrust show latest --output" in again
    suite.run()
    after = suite.run("--braintrust-fail-under", "exact=0.8", *mode)
    assert "look closer with: pytest-braintrust diff latest" in after


def test_gates_hold_with_workers_and_from_the_ini(
    suite: Suite, plugin_args: list[str]
) -> None:
    """Each of them; what holds is said in one line and changes nothing."""
    suite.ini(
        "braintrust_fail_under = exact=0.5",
        "    all=0.1",
        "braintrust_fail_over = duration=60",
        "braintrust_max_drop = exact=0.02",
        "braintrust_fail_on_regression = true",
        "braintrust_higher_is_better = speed",
    )
    held = suite.write(test_a=written(*[1] * 10)).run(*plugin_args)
    assert held.status == 0, held.out
    assert "all 3 passed; there is no baseline yet to compare with" in held.section
    failed = suite.write(test_a=written(*[0] * 10)).run(*plugin_args)
    assert failed.status == 1
    told = [line for line in failed.section.splitlines() if "GATE" in line]
    assert [line.split(" (p=")[0] for line in told] == [
        "GATE FAILED: exact is 0, 0.5 under 0.5",
        "GATE FAILED: exact dropped by 1 from 1 to 0, 0.98 more than 0.02",
        "GATE FAILED: exact regressed by 1 from 1 to 0, beyond noise",
    ]
    # The command line's limit for a name goes over that of the ini.
    more = ("--braintrust-fail-under=exact=0", "--braintrust-max-drop=exact=1")
    again = suite.run(*plugin_args, *more)
    told = [line for line in again.section.splitlines() if "GATE" in line]
    assert [line.split(" by ")[0] for line in told] == ["GATE FAILED: exact regressed"]


TWO_KINDS = """\
def test_exact(bt_score): bt_score(scores={"exact": 1})
def test_tone(bt_score): bt_score(scores={"tone": 1}, metrics={"cost": 1})
"""


def test_the_ini_s_limits_do_not_fail_a_run_of_a_part(suite: Suite) -> None:
    """For what only other tests measure; each time, and not for what nobody does."""
    suite.ini("braintrust_fail_under = tone=0.5", "braintrust_max_total = cost=2")
    suite.write(test_a=TWO_KINDS).run()
    not_judged = "is not judged: no test that has it was to be run"
    for _ in range(2):
        part = suite.run("-k", "exact")
        assert part.status == 0, part.out
        told = " ".join(part.section.split())
        assert f"gates passed; cost {not_judged}; tone {not_judged}" in told
    # What is asked of this run is asked of it, a misspelt name is one everywhere.
    for limit in ("tone=0.5", "tune=0.5"):
        wrong = suite.run("-k", "exact", f"--braintrust-fail-under={limit}")
        assert wrong.status == 1
        assert f"GATE NOT MEASURABLE: {limit.partition('=')[0]}: no test" in wrong
    assert suite.cli("gate", "--fail-under", "tone=0.5").status == 3


def test_what_a_run_should_have_measured_it_is_judged_by(suite: Suite) -> None:
    """Where its baseline was of the same part, or where it is of all of the suite."""
    suite.ini("braintrust_fail_under = tone=0.5")
    suite.write(test_a=TWO_KINDS).run()
    suite.run("-k", "test_tone or test_exact")
    suite.write(test_a=TWO_KINDS.replace('"tone"', '"tune"'))
    for part in (["-k", "test_tone or test_exact"], []):
        ran = suite.run(*part)
        assert ran.status == 1
        assert "GATE NOT MEASURABLE: tone: no test has it" in ran


def test_of_a_first_run_of_a_part_nothing_is_known_to_be_elsewhere(
    suite: Suite,
) -> None:
    """Until a run of more has measured it, in the same project."""
    suite.ini("braintrust_fail_under = tone=0.5").write(test_a=TWO_KINDS)
    assert suite.run("-k", "exact").status == 1
    assert suite.run().status == 0
    assert suite.run("-k", "exact").status == 0
    assert suite.run("-k", "exact", "--braintrust-project=other").status == 1


def test_a_baseline_can_be_required(suite: Suite) -> None:
    """By option or ini: the first run fails then, and the next one does not."""
    suite.ini("braintrust_require_baseline = true").write(test_a=written(1))
    first = suite.run("--braintrust-no-upload")
    assert (first.status, "GATE FAILED: there is no baseline" in first) == (1, True)
    assert suite.run().status == 0


def test_gates_on_a_run_that_recorded_nothing_fail_it(suite: Suite) -> None:
    """And a run with no gates does not."""
    suite.write(test_a="def test_plain(): pass\n")
    assert suite.run().status == 0
    ran = suite.run("--braintrust-fail-under=all=0")
    assert ran.status == 1
    assert "GATE NOT MEASURABLE: no test recorded anything to judge by" in ran
    assert "look closer" not in ran


def test_a_gate_is_for_the_project_that_measures_it(suite: Suite) -> None:
    """Of a run in several projects; a name that none has fails the run."""
    text = """\
import pytest
@pytest.mark.braintrust(project="one")
def test_one(bt_score): bt_score(scores={"exact": 1})
@pytest.mark.braintrust(project="two")
def test_two(bt_score): bt_score(scores={"tone": 0.5})
"""
    suite.write(test_a=text)
    held = suite.run(
        "--braintrust-fail-under=exact=1", "--braintrust-fail-under=tone=0"
    )
    assert held.status == 0, held.out
    failed = suite.run("--braintrust-fail-under=tone=0.9")
    assert "GATE FAILED: two: tone is 0.5, 0.4 under 0.9" in failed.section
    absent = suite.run("--braintrust-fail-under=other=0.9")
    assert absent.status == 1
    assert "GATE NOT MEASURABLE: one: other: no test has it" in absent.section


def test_failing_tests_keep_their_own_status(suite: Suite) -> None:
    """A gate adds nothing to a run that failed, and an interrupted one stays so."""
    text = "def test_it(bt_score):\n    bt_score(scores={'exact': 0})\n    END\n"
    gate = "--braintrust-fail-under=exact=1"
    assert suite.write(test_a=text.replace("END", "assert 0")).run(gate).status == 1
    interrupted = text.replace("END", "raise KeyboardInterrupt")
    assert suite.write(test_a=interrupted).run(gate).status == 2


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("fail-under=exact", "'exact' is not of the form NAME=NUMBER"),
        ("fail-under==0.5", "'=0.5' is not of the form NAME=NUMBER"),
        ("fail-under=exact=1.5", "'1.5' is not a number from 0 to 1"),
        ("fail-under=exact=nan", "'nan' is not a number from 0 to 1"),
        ("max-drop=exact=-0.1", "'-0.1' is not a number from 0 to 1"),
        ("fail-over=duration=slow", "'slow' is not a number"),
        ("fail-over=all=3", "'all=3' names no metric"),
        ("max-total=all=3", "'all=3' names no metric"),
        ("max-total=duration=3", "'duration' has no total: only costs and tokens"),
        ("max-total=cost=much", "'much' is not a number"),
    ],
)
def test_a_wrong_expression_is_a_usage_error(
    suite: Suite, option: str, text: str
) -> None:
    """Before collection, naming the option."""
    ran = suite.write(test_a="raise RuntimeError('collected')").run(
        f"--braintrust-{option}"
    )
    assert ran.status == 4
    name = "--braintrust-" + option.partition("=")[0]
    assert f"{name}: " in ran
    assert text in ran
    assert "collected" not in ran.out


def test_limits_are_read_once() -> None:
    """Those of the command line go over those of the ini file, which stand no more."""
    said: dict[str, list[str]] = {
        "braintrust_fail_under": ["exact=0.5", "tone=0.5"],
        "braintrust_max_drop": ["exact=0.1"],
    }
    options = {"braintrust_fail_under": ["exact=0.9"]}
    looked_up: list[str] = []

    def ini(name: str) -> list[str]:
        looked_up.append(name)
        return said.get(name, [])

    found = asked(None, Given(options.get, ini, {}))
    assert found.gates.fail_under == {"exact": 0.9, "tone": 0.5}
    assert found.standing == {("fail_under", "tone"), ("max_drop", "exact")}
    assert len(looked_up) == len(set(looked_up))


def test_a_wrong_expression_in_the_ini_names_the_ini(suite: Suite) -> None:
    """And where it stands in a variable, the variable would be named."""
    suite.ini("braintrust_max_drop = exact").write(test_a=written(1))
    ran = suite.run()
    assert ran.status == 4
    assert "ini braintrust_max_drop: 'exact' is not of the form" in ran


@pytest.mark.parametrize(
    "option", ["--braintrust-fail-under=exact=1", "--braintrust-fail-on-regression"]
)
def test_a_gate_without_the_flag_is_a_usage_error(suite: Suite, option: str) -> None:
    """It would seem to hold. In the ini it waits for a run that is recorded."""
    suite.write(test_a="def test_a(): pass")
    ran = suite.run_off(option)
    assert ran.status == 4
    assert "add --braintrust" in ran
    suite.ini("braintrust_fail_under = exact=1")
    assert suite.run_off().status == 0
