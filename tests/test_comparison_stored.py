"""What a comparison says of two runs in a store, whatever they are."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import Told, scored, store_run

from pytest_braintrust.comparison.alone import measure as measured_alone
from pytest_braintrust.comparison.pairing import grouped
from pytest_braintrust.comparison.result import Measure, RunComparison
from pytest_braintrust.comparison.run import compare
from pytest_braintrust.reports.compared import what_changed, words
from pytest_braintrust.reports.headline import unmeasurable
from pytest_braintrust.store import measuring, reading
from pytest_braintrust.store.connection import Store


def compared(
    store: Store, then: list[Told], now: list[Told], higher: Collection[str] = ()
) -> RunComparison:
    first, second = store_run(store, then), store_run(store, now)
    return compare(store, first, second, higher_is_better=higher)


def measure(found: RunComparison, name: str) -> Measure:
    (one,) = [each for each in found.measures if each.name == name]
    return one


def test_errored_tests_are_in_no_mean_and_counted(store: Store) -> None:
    """Whatever they scored before they broke, in either run."""
    then = scored("exact", [1.0] * 20)
    now = [*scored("exact", [1.0] * 20)[2:], Told("test_0", {"exact": 0.0}, "errored")]
    found = compared(store, then, now)
    assert (found.then.errored, found.now.errored, found.shared) == (0, 1, 19)
    exact = measure(found, "exact")
    assert (exact.numbers.tests, exact.numbers.now) == (18, 1.0)


@pytest.mark.parametrize(
    ("errored", "verdict"), [(2, "regressed"), (3, "not measurable")]
)
def test_more_than_a_tenth_errored_is_not_measurable(
    store: Store, errored: int, verdict: str
) -> None:
    """A tenth is; and the verdict over all says the same."""
    now = scored("exact", [0.0] * (20 - errored))
    broken = [Told(f"test_x{i}", outcome="errored") for i in range(errored)]
    found = compared(store, scored("exact", [1.0] * 20), [*now, *broken])
    assert measure(found, "exact").verdict == verdict
    assert found.overall == ("worse" if errored == 2 else "not measurable")


@pytest.mark.parametrize(
    ("said", "verdict"), [([None] * 2, "regressed"), ([None] * 3, "not measurable")]
)
def test_a_score_that_more_than_a_tenth_could_not_measure(
    store: Store, said: list[None], verdict: str
) -> None:
    """They said None of what they had: those that are left are what happened to work."""
    then = scored("exact", [1.0] * 20)
    now = [*[0.0] * (20 - len(said)), *said]
    found = compared(store, then, scored("exact", now))
    exact = measure(found, "exact")
    assert (exact.verdict, exact.lost, exact.unscored) == (verdict, *[len(said)] * 2)
    assert measure(found, "pass").verdict == "no evidence"
    assert found.scores_gone == ()


def test_a_score_that_no_test_could_measure(store: Store) -> None:
    """It is there, without numbers; not so one of which nobody says anything."""
    then = [Told(f"test_{i}", {"a": 1.0, "b": 1.0}) for i in range(4)]
    found = compared(store, then, scored("a", [None] * 4))
    a = measure(found, "a")
    assert (a.numbers.tests, a.unscored, a.verdict) == (0, 4, "not measurable")
    assert found.scores_gone == ("b",)


def test_a_test_that_has_a_score_in_one_of_its_trials_measured_it(store: Store) -> None:
    """None in the others takes nothing away; None in all of them does."""
    once = [Told(f"test_{i}", {"exact": 1.0}) for i in range(4)]
    one = [Told(f"test_{i}", {"exact": v}) for i in range(4) for v in (None, 1.0)]
    assert measure(compared(store, once, one), "exact").unscored == 0
    none = [Told(each.name, {"exact": None}) for each in one]
    assert measure(compared(store, once, none), "exact").unscored == 4


def test_what_was_not_scored_before_either_is_not_missed(store: Store) -> None:
    """None may mean that a score is not for this test."""
    values = [*[1.0] * 10, *[None] * 10]
    found = compared(store, scored("exact", values), scored("exact", values))
    exact = measure(found, "exact")
    assert (exact.numbers.tests, exact.lost, exact.unscored) == (10, 0, 0)
    assert exact.verdict == "no evidence"


@pytest.mark.parametrize("swapped", [False, True])
def test_errors_in_tests_that_a_run_was_not_asked_for_do_not_matter(
    store: Store, *, swapped: bool
) -> None:
    """As of a run with -k beside one of all; those in its own part do."""
    told = scored("exact", [1.0] * 20)
    broken = [replace(each, outcome="errored") for each in told]
    part = store_run(store, told[:10], metadata={"selection": {"-k": "test_0"}})

    def beside(*tests: Told) -> RunComparison:
        whole = store_run(store, tests)
        return compare(store, *((part, whole) if swapped else (whole, part)))

    found = beside(*told[:17], *broken[17:])
    assert found.overall == "same"
    assert (found.then.errored, found.now.errored) == (0, 0)
    assert beside(*broken[:2], *told[2:]).overall == "not measurable"


def test_of_one_trial_that_did_not_error_nothing_is_always(store: Store) -> None:
    """How steady a test is, only several trials that measured something tell."""
    lost = replace(Told("test_a", {"exact": 1.0}), outcome="errored")
    once = [Told("test_a", {"exact": 1.0}), lost, lost]
    assert measured_alone(store, store_run(store, once)).trials.tests == 0
    twice = [*once, Told("test_a", {"exact": 1.0})]
    shares = measured_alone(store, store_run(store, twice)).trials
    assert (shares.tests, shares.always) == (1, 1)


def test_more_than_a_tenth_of_the_trials_errored_is_not_measurable(
    store: Store,
) -> None:
    """Though each test has one that measured something: the one that worked."""
    then = [Told(f"test_{i}", {"exact": 1.0}) for i in range(20) for _ in range(10)]
    now = [
        Told(f"test_{i}", {"exact": 0.0}, "errored" if trial else "passed")
        for i in range(20)
        for trial in range(10)
    ]
    found = compared(store, then, now)
    assert (found.overall, found.now.errored) == ("not measurable", 0)
    assert unmeasurable(found) == "180 of 200 trials errored now, more than 10%"
    assert "180 of 200 trials errored now (left out)" in next(words(found, {})).text
    # One of ten is a tenth.
    some = [replace(each, outcome="passed") for each in now[: 19 * 10]]
    found = compared(store, then, [*some, *now[19 * 10 :]])
    assert (found.overall, found.now.errored_trials) == ("worse", 9)


def test_the_overall_verdict(store: Store) -> None:
    """Better, worse, both, neither, nothing moved, nothing to compare."""
    low, high = [0.1] * 8, [0.9] * 8

    def both(first: list[float], second: list[float]) -> list[Told]:
        names = zip(first, second, strict=True)
        return [Told(f"test_{i}", {"a": a, "b": b}) for i, (a, b) in enumerate(names)]

    start = both(low, high)
    assert compared(store, start, both(high, high)).overall == "better"
    assert compared(store, start, both(low, low)).overall == "worse"
    assert compared(store, start, both(high, low)).overall == "mixed"
    assert compared(store, start, both([*low[:7], 0.2], high)).overall == "no evidence"
    assert compared(store, start, start).overall == "same"
    other = scored("c", low, outcome="skipped")
    assert compared(store, start, other).overall == "not measurable"


def test_trials_of_a_test_count_once(store: Store) -> None:
    """Ten trials of each of five tests are five tests, and give no evidence."""
    then = [Told(f"test_{i}", {"exact": 1.0}) for i in range(5) for _ in range(10)]
    now = [Told(f"test_{i}", {"exact": 0.0}) for i in range(5) for _ in range(10)]
    exact = measure(compared(store, then, now), "exact")
    assert (exact.numbers.tests, exact.verdict) == (5, "no evidence")


def test_a_metric_has_its_better_direction(store: Store) -> None:
    """Less is better, but for those that are named."""
    then = [Told(f"test_{i}", metrics={"speed": 1.0}, seconds=1) for i in range(8)]
    now = [Told(f"test_{i}", metrics={"speed": 2.0}, seconds=2) for i in range(8)]
    found = compared(store, then, now, higher={"speed"})
    assert measure(found, "speed").verdict == "improved"
    assert measure(found, "duration").verdict == "regressed"
    assert found.overall == "same"  # of metrics it says nothing


@pytest.mark.parametrize(("before", "after"), [(0.002, 0.011), (2.0, 2.1)])
def test_a_time_that_a_busy_machine_may_explain_is_no_evidence(
    store: Store, before: float, after: float
) -> None:
    """However sure it is: all tests of a run are on the same machine."""

    def run(seconds: float) -> list[Told]:
        times = ("time_to_first_token", "llm_duration", "tokens")
        metrics = dict.fromkeys(times, seconds)
        return [Told(f"test_{i}", metrics=metrics, seconds=seconds) for i in range(8)]

    found = compared(store, run(before), run(after))
    assert {each.name: each.verdict for each in found.metrics} == {
        "time_to_first_token": "no evidence",
        "llm_duration": "no evidence",
        "tokens": "regressed",
        "duration": "no evidence",
    }


def test_a_score_that_is_called_like_a_time_is_none(store: Store) -> None:
    """It says how good an answer is, whatever the machine does."""
    then, now = (scored("fit_of_duration", [each] * 8) for each in (1.0, 0.95))
    assert measure(compared(store, then, now), "fit_of_duration").verdict == "regressed"


def test_of_one_test_a_duration_is_not_measurable(store: Store) -> None:
    """However little it moved: nothing says how far it moves by itself."""
    then, now = (scored("exact", [1.0], seconds=each) for each in (1.0, 1.001))
    found = measure(compared(store, then, now), "duration")
    assert (found.p_value, found.verdict) == (None, "not measurable")


def test_renamed_tests_are_matched_where_their_input_is_their_own(
    store: Store,
) -> None:
    """Two new tests of one input are not told apart, and stay new."""
    then = [Told("test_a", {"x": 1}, input=1), Told("test_b", {"x": 1}, input=2)]
    now = [
        Told("test_c", {"x": 0}, input=1),
        Told("test_d", {"x": 1}, input=2),
        Told("test_e", {"x": 1}, input=2),
    ]
    found = compared(store, then, now)
    assert found.renamed == (("test_it.py::test_a", "test_it.py::test_c"),)
    assert found.gone == ("test_it.py::test_b",)
    assert found.new == ("test_it.py::test_d", "test_it.py::test_e")
    (worse,) = found.worse_tests
    assert (worse.nodeid_then, worse.nodeid) == found.renamed[0]


@pytest.mark.parametrize(
    ("then", "now", "renamed"),
    [
        ({}, {"lf": True}, 0),
        ({"lf": True}, {"lf": True}, 0),
        ({"markexpr": "slow"}, {"markexpr": "slow"}, 1),
        ({"arguments": ["test_other.py"]}, {}, 0),
        ({"arguments": ["a.module"]}, {"arguments": ["a.module"]}, 1),
        ("somebody else's", {}, 1),
        *(
            (dict.fromkeys(("deselect", "ignore", "ignore_glob"), each), {}, 1)
            for each in (None, 1.5, True, "test_it.py", {"a": 1}, [None], [["b"]])
        ),
    ],
)
def test_who_was_not_asked_for_a_test_renamed_none(
    store: Store, then: object, now: object, renamed: int
) -> None:
    """Nor where it cannot be told which tests a run was asked for."""
    base = store_run(store, [Told("test_a", input=1)], metadata={"selection": then})
    head = store_run(store, [Told("test_b", input=1)], metadata={"selection": now})
    assert len(compare(store, base, head).renamed) == renamed


def test_a_run_of_what_got_worse_renames_nothing(store: Store) -> None:
    """All that it was not asked for may be there as it was."""
    base = store_run(store, [Told("test_a", input=1)])
    now = [Told("test_b", input=1)]
    head = store_run(store, now, metadata={"selected": "regressed"})
    assert compare(store, base, head).renamed == ()


def test_scores_that_one_run_has_are_told(store: Store) -> None:
    """A score that nobody gives any more is no small thing."""
    found = compared(store, scored("old", [1.0] * 3), scored("new", [1.0] * 3))
    assert (found.scores_new, found.scores_gone) == (("new",), ("old",))


def test_a_score_of_tests_that_were_not_run_is_not_gone(store: Store) -> None:
    """As where a part of the suite was run: it says nothing of the rest."""
    then = [*scored("exact", [1.0] * 3), Told("test_other", {"polite": 1.0})]
    assert compared(store, then, scored("exact", [1.0] * 3)).scores_gone == ()


def test_what_changed_is_said_and_what_drifted(store: Store) -> None:
    """Declared values, commits, code and inputs; none of them beside a moved score."""
    then = scored("exact", [1.0] * 8)
    first = store_run(
        store, then, metadata={"model": "m1", "python": "3.11", "arguments": ["-x"]}
    )
    same = store_run(
        store, scored("exact", [0.0] * 8), metadata={**first.metadata, "arguments": []}
    )
    assert compare(store, first, same).drifted
    other = store_run(
        store,
        scored("exact", [0.0] * 8, source="t"),
        metadata={"model": "m2", "prompt": 2},
        repo_info={"commit": "c" * 40, "dirty": True},
    )
    found = compare(store, first, other)
    assert not found.drifted
    told = {each.what: (each.then, each.now) for each in found.differences}
    assert told == {
        "model": ("m1", "m2"),
        "prompt": ("-", "2"),
        "python": ("3.11", "-"),
        "commit": ("-", "cccccccccc with changes"),
        "test code": ("", "8 tests"),
    }
    back = [each.text for each in what_changed(compare(store, other, first))]
    assert "changed: commit: cccccccccc with changes → -" in back


def versions(**told: str) -> dict[str, object]:
    """What a run says of its datasets, each a file."""
    about = {"project": None, "id": None}
    return {"datasets": [{**about, "name": n, "version": v} for n, v in told.items()]}


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, [("dataset b", "2", "3")]),
        ({"a": "1"}, {"c": "1"}, [("dataset", "a", "c")]),
        ({"a": "1", "b": "2"}, {"a": "1"}, []),
        ({"a": "1"}, {"a": "1", "b": "2"}, []),
        ({"a": "1"}, {}, []),
    ],
)
def test_a_dataset_changed_where_both_runs_had_one(
    store: Store,
    then: dict[str, str],
    now: dict[str, str],
    told: list[tuple[str, str, str]],
) -> None:
    """By its name; a run of a part of the suite has not changed its datasets."""
    rows = scored("exact", [1.0] * 3)
    first = store_run(store, rows, metadata=versions(**then))
    second = store_run(store, rows, metadata=versions(**now))
    found = compare(store, first, second).differences
    assert [(each.what, each.then, each.now) for each in found] == told


def test_of_an_experiment_of_the_sdk_only_the_version_of_its_dataset_is_known(
    store: Store,
) -> None:
    """Which does for two runs that were linked to one."""
    run = store_run(store, scored("exact", [1.0] * 3))
    then, now, none = (replace(run, dataset_version=v) for v in ("1", "2", None))
    (told,) = compare(store, then, now).differences
    assert (told.what, told.then, told.now) == ("dataset version", "1", "2")
    assert compare(store, then, none).differences == ()


def test_an_object_that_was_declared_differs_in_its_parts(store: Store) -> None:
    """Not in all of it, which nobody would read."""
    rows = scored("exact", [1.0] * 3)
    model = {"name": "small", "temperature": 0.2}
    first = store_run(store, rows, metadata={"model": model})
    second = store_run(store, rows, metadata={"model": {**model, "temperature": 0.7}})
    found = compare(store, first, second)
    assert [each.text for each in what_changed(found)] == [
        "changed: model.temperature: 0.2 → 0.7"
    ]


def test_what_is_not_known_of_workers_is_no_difference(store: Store) -> None:
    """As of an experiment that the SDK made."""
    rows = scored("exact", [1.0] * 3)
    known, unknown = (store_run(store, rows, metadata=m) for m in ({"workers": 2}, {}))
    assert compare(store, known, unknown).differences == ()


def test_one_of_a_kind_is_told_in_the_singular(store: Store) -> None:
    """As somebody would say it."""
    then = [Told("a", {"x": 1.0}), Told("b", {"x": 1.0})]
    now = [Told("a", {"x": 1.0}, source="t"), Told("b", {"x": 1.0}, input=2)]
    assert [each.text for each in what_changed(compared(store, then, now))] == [
        "changed: test code: 1 test",
        "changed: inputs: 1 test",
    ]


def test_what_errored_has_not_changed(store: Store) -> None:
    """A test that a fixture failed never came to say its input."""
    then = scored("exact", [1.0] * 20)
    lost = [Told(f"test_{i}", {}, "errored", input=0, source="t") for i in (0, 1)]
    found = compared(store, then, [*lost, *scored("exact", [0.0] * 20)[2:]])
    assert found.differences == ()
    assert found.drifted
    # Nor has one of which a trial did.
    twice, again = [*then[:2], *then], [*lost, *then]
    assert compared(store, twice, again).differences == ()


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ([10] * 8, ["changed: trials: 1 → 10"]),
        ([1, 1, 1, 1, 1, 10, 10, 10], ["changed: trials: 1 → 10 in 3 tests"]),
        ([1, 1, 1, 1, 1, 10, 10, 5], ["changed: trials: 3 tests"]),
    ],
)
def test_another_number_of_trials_is_told(
    store: Store, now: list[int], told: list[str]
) -> None:
    """One trial passes or fails; ten show how often it would: no model drifted."""
    head = [Told(f"test_{i}", {"exact": 0.9}) for i in range(8) for _ in range(now[i])]
    found = compared(store, scored("exact", [1.0] * 8), head)
    assert found.overall == "worse"
    assert not found.drifted
    assert [each.text for each in what_changed(found)] == told


def test_changes_on_top_of_one_commit_may_differ(store: Store) -> None:
    """Nothing is known of them: that is said, and nobody is blamed for a drift."""
    info = {"commit": "c" * 40, "dirty": True}
    first = store_run(store, scored("exact", [1.0] * 8), repo_info=info)
    second = store_run(store, scored("exact", [0.0] * 8), repo_info=info)
    found = compare(store, first, second)
    assert not found.drifted
    assert [each.text for each in what_changed(found)] == [
        "changed: commit: cccccccccc with changes in both runs, which may differ"
    ]


values = st.sampled_from([0.0, 0.25, 0.5, 1.0])
some_tests = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.dictionaries(st.sampled_from(["a", "b", "pass"]), values, max_size=3),
        st.sampled_from(["passed", "passed", "passed", "errored"]),
    ),
    max_size=20,
)


@given(some_tests, some_tests)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_swapping_the_runs_mirrors_the_comparison(
    store: Store,
    then: list[tuple[int, dict[str, float], str]],
    now: list[tuple[int, dict[str, float], str]],
) -> None:
    """What was better is worse, what was new is gone, and p-values are the same."""
    first, second = (
        store_run(
            store,
            [Told(f"test_{n}", scores, outcome) for n, scores, outcome in each],  # type: ignore[arg-type]
            exit_status=None,
        )
        for each in (then, now)
    )
    there, back = compare(store, first, second), compare(store, second, first)
    assert (there.shared, there.new, there.gone) == (back.shared, back.gone, back.new)
    assert (there.then, there.now) == (back.now, back.then)
    assert len(there.changes) == len(back.changes)
    mirrored = {"improved": "regressed", "regressed": "improved"}
    backward = {(each.kind, each.name): each for each in back.measures}
    assert backward.keys() == {(each.kind, each.name) for each in there.measures}
    for each in there.measures:
        other = backward[each.kind, each.name]
        assert (each.improved, each.worsened) == (other.worsened, other.improved)
        assert mirrored.get(each.verdict, each.verdict) == other.verdict
        assert each.p_value == pytest.approx(other.p_value)
        difference = each.numbers.difference
        assert difference is not None
        assert math.isclose(difference, -(other.numbers.difference or 0), abs_tol=1e-12)


def test_summaries_leave_errored_rows_out(store: Store) -> None:
    """The mean of a run alone is over what was measured."""
    run = store_run(
        store, [*scored("exact", [1.0, 0.5]), Told("test_x", {"exact": 0}, "errored")]
    )
    found = reading.score_summaries(store, run.number)
    assert [(e.name, e.mean, e.count) for e in found] == [
        ("exact", 0.75, 2),
        ("pass", 1.0, 2),
    ]


def test_a_test_is_silent_whose_further_rows_say_the_rest(store: Store) -> None:
    """Not one that has a score of its own, or no further row, nor such a row."""
    tone = {"tone": 1.0}
    rows = [
        *(Told("test_a", part=part) for part in ("", "turn", "turn 2")),
        *(Told("test_b", tone, part=part) for part in ("", "turn")),
        Told("test_c"),
        *(Told("test_d", scores) for scores in ({}, tone)),
        Told("test_d", part="turn"),
        *(Told("test_e", part=part) for part in ("turn", "", "")),
        Told("test_f", part="turn"),
    ]
    run = store_run(store, rows)
    tests = grouped(measuring.measured(store, run.number))
    assert [each.key for each in tests if each.silent] == [
        ("test_it.py::test_a", ""),
        ("test_it.py::test_e", ""),
    ]
