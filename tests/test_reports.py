"""A comparison says better or worse at one glance, in 80 columns, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from conftest import Suite
from made_runs import Told, scored, store_run
from test_comparison import written
from test_terminal import in_a_terminal

from pytest_braintrust.baseline import Baseline
from pytest_braintrust.gates import Gates
from pytest_braintrust.judging import Asked, Judgement, judgement
from pytest_braintrust.reports import compared, sides, worst
from pytest_braintrust.reports.headline import headline
from pytest_braintrust.reports.lines import (
    Line,
    fit,
    fitted,
    padded,
    safe,
    width_of,
)
from pytest_braintrust.reports.lowest import lowest
from pytest_braintrust.reports.scales import means, scale_for
from pytest_braintrust.spending import is_spent
from pytest_braintrust.statistics import Estimate
from pytest_braintrust.store.connection import Store

LONG = "answer_relevancy_of_the_retrieved_context"


def judged(store: Store, then: list[Told], now: list[Told]) -> Judgement:
    base = Baseline(store_run(store, then, name="monday"), "previous")
    asked = Asked(None, Gates({}, {}, {}), frozenset())
    return judgement(store, store_run(store, now), base, asked)


def lines(found: Judgement, width: int = 80) -> list[str]:
    assert found.comparison is not None
    whole = [headline(found.comparison), *compared.beside(found, width)]
    return [part.text for line in whole for part in fit(line, width)]


def rows(found: Judgement) -> Mapping[str, list[str]]:
    """The rows of the table, by their first word."""
    return {line.split()[0]: line.split() for line in lines(found) if line.strip()}


def test_a_row_says_all_in_80_columns(store: Store) -> None:
    """Means, change, interval, tests better and worse, and the verdict in words."""
    then = [Told(f"test_{i}", {"exact": 1.0, LONG: 0.5}) for i in range(20)]
    now = [Told(f"test_{i}", {"exact": i < 8, LONG: 0.75}) for i in range(20)]
    found = lines(judged(store, then, now))
    assert found[:6] == [
        f"▼ mixed: exact regressed, {LONG} improved",
        "score              then    now  change  95 % interval  better worse",
        "exact             1.000  0.400  -0.600  -0.835…-0.365       0    12  ▼ regressed",
        LONG,
        "                  0.500  0.750  +0.250  +0.250…+0.250      20     0  ▲ improved",
        "pass              1.000  1.000   0.000                      0     0  no evidence",
    ]
    assert "20 tests in both runs" in found


@pytest.mark.parametrize(
    ("now", "headline"),
    [
        ([1.0] * 10, "no change: no score of 10 tests moved"),
        ([1.0] * 9 + [0.5], "no evidence of a change: what moved is within noise"),
        ([0.0] * 10, "▼ worse: exact regressed"),
    ],
)
def test_the_headline_says_better_or_worse(
    store: Store, now: list[float], headline: str
) -> None:
    """In words."""
    found = judged(store, scored("exact", [1.0] * 10), scored("exact", now))
    assert lines(found)[0] == headline


def test_what_no_test_changed_has_one_line_where_it_is_much(store: Store) -> None:
    """With means and numbers of tests; up to four keep their rows, as do others."""
    same = {"a": 0.5, "b": 1.0, "c": 0.25}
    then = [
        Told(f"test_{i}", {**same, "exact": 1.0, "d": i * 0.1 if i < 4 else None})
        for i in range(10)
    ]
    now = [
        replace(each, scores={**each.scores, "exact": 0.0}, seconds=1 + i / 99)
        for i, each in enumerate(then)
    ]
    few = [
        replace(each, scores={n: v for n, v in each.scores.items() if n != "a"})
        for each in now
    ]
    folded = lines(judged(store, then, now))
    assert [line.split()[0] for line in folded[1:6]] == [
        "score",
        "exact",
        "metrics,",
        "duration,",
        "unchanged:",
    ]
    assert folded[5] == (
        "unchanged: a 0.500, b 1.000, c 0.250, pass 1.000 (10 tests); d 0.150 (4 tests)"
    )
    whole = lines(judged(store, then, few))
    assert not [line for line in whole if line.startswith("unchanged")]
    assert {"b", "c", "d", "pass", "exact"} <= {
        line.split()[0] for line in whole if line.strip()
    }


def test_of_a_run_that_is_the_same_only_the_line_is_left(store: Store) -> None:
    """And the heading says that nothing moved; what is asked for has its row."""
    told = [Told(f"test_{i}", dict.fromkeys("abcde", 1.0)) for i in range(8)]
    found = judged(store, told, told)
    assert lines(found) == [
        "no change: no score of 8 tests moved",
        "unchanged: a 1.000, b 1.000, c 1.000, d 1.000, e 1.000, pass 1.000, duration",
        "  1.000 s (8 tests)",
        "8 tests in both runs",
    ]
    assert found.comparison is not None
    asked = replace(found, comparison=found.comparison.only(list("abcde")))
    assert [line.split()[0] for line in lines(asked)[2:7]] == list("abcde")


def low(store: Store, now: list[Told], width: int = 80) -> list[str]:
    asked = Asked(None, Gates({}, {}, {}), frozenset())
    found = judgement(store, store_run(store, now), None, asked)
    return [
        part.text for line in lowest(found, width) for part in fit(safe(line), width)
    ]


def test_a_run_beside_none_names_the_tests_that_scored_lowest(store: Store) -> None:
    """By the mean of their scores; trials count as one, and one of them is shown."""
    now = [
        Told("test_good", {"exact": 1.0, "tone": None}, output="fine"),
        Told("test_failed", {"exact": 0.0}, "failed"),
        Told("test_errored", {"exact": 0.0}, "errored"),
        *(
            Told("test_tried", {"exact": score}, output=f"at {score}")
            for score in (1.0, 0.0, 0.5)
        ),
        Told("test_half", {"exact": 0.0, "tone": 0.75}, output={"a": "b\nc"}),
        Told("test_bad", {"exact": 0.0}, output="x\n\x1b[31my", expected="z"),
        Told("test_low", {"exact": 0.5}, part="second turn"),
        Told("test_better", {"exact": 0.75, "tone": 1.0}),
    ]
    assert low(store, now) == [
        "passed tests with a score below 1: the lowest 3 of 5",
        "  test_it.py::test_bad  exact 0",
        "    output: x [31my | expected: z",
        "  test_it.py::test_half  exact 0, tone 0.75",
        '    output: {"a": "b\\nc"}',
        "  test_it.py::test_low second turn  exact 0.5",
    ]
    assert low(store, now[3:6]) == [
        "passed tests with a score below 1: 1",
        "  test_it.py::test_tried  exact 0.5 over 3 trials",
        "    output: at 0.0",
    ]
    assert low(store, now[:3]) == []


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("said", ["short", "long " * 50, "长" * 90])
def test_the_lowest_tests_fit_any_width(store: Store, width: int, said: str) -> None:
    """In two lines each, a node id whole; fewer scores leave room for what was said."""
    scores = {f"{name} {LONG}": 0.25 for name in "abcd"}
    now = [
        Told(f"test_{i}[{'n' * 30 * i}]", scores, output=said, expected="42")
        for i in range(3)
    ]
    found = low(store, now, width)
    named = [line for line in found if line.startswith("  test_it.py::")]
    assert len(named) == 3
    assert len([line for line in found if line.startswith("    ")]) == 3
    for line in found:
        assert width_of(line) <= width or line.strip().endswith("]")
    if width >= 120:
        assert sum("expected: 42" in line for line in found) == 3


def test_a_score_that_no_test_has_in_both_runs_is_shown_all_the_same(
    store: Store,
) -> None:
    """New or not: what this run came to is not to be asked for elsewhere."""
    then = [Told("a", {"exact": 1.0})]
    found = judged(store, then, [Told("b", {"exact": 0.5, "tone": 0.25}, input=1)])
    assert lines(found)[:5] == [
        "not measurable: no test is in both runs",
        "score        then    now  change  95 % interval  better worse",
        "exact           -  0.500       -                               no test in both",
        "tone            -  0.250       -                               new",
        "pass            -  1.000       -                               no test in both",
    ]


def test_within_noise_says_what_would_be_seen_and_what_it_takes(store: Store) -> None:
    """At the level that is left beside the other scores."""
    then = [Told(f"t{i}", {"exact": i % 2}) for i in range(30)]
    now = [Told(f"t{i}", {"exact": i % 2 if i > 9 else i % 3 == 0}) for i in range(30)]
    told = " ".join(lines(judged(store, then, now)))
    assert "exact: within noise at 30 tests; a difference of about 0.3" in told
    assert "more tests would settle this one" in told


def test_too_few_tests_are_told_so(store: Store) -> None:
    """No number of better answers is evidence in five tests."""
    then, now = scored("exact", [0.0] * 5), scored("exact", [1.0] * 5)
    told = " ".join(" ".join(lines(judged(store, then, now))).split())
    assert told.startswith("too few tests to tell: 5 with exact ")
    assert "exact: 5 tests are too few to tell; no difference can be seen" in told
    assert "within noise" not in told


def test_a_score_of_one_test_that_fell_is_not_within_noise(store: Store) -> None:
    """Of which nothing is known; beside another score that is, both are said."""
    then = [*scored("exact", [0.5] * 10), Told("test_other", {"tone": 1.0})]
    now = [*then[:10], Told("test_other", {"tone": 0.0})]
    assert lines(judged(store, then, now))[0] == "too few tests to tell: 1 with tone"
    moved = [*scored("exact", [*[0.5] * 8, 0.4, 0.6]), now[-1]]
    told = " ".join(lines(judged(store, then, moved))[:2])
    assert told.startswith(
        "no evidence of a change: what moved is within noise, or in too few tests to"
    )
    assert "tell: 1 with tone" in told


def test_many_scores_of_few_tests_are_told_so(store: Store) -> None:
    """Each of them by itself would say what all of them do."""
    then = [Told(f"test_{i}", dict.fromkeys("abcd", 0.5)) for i in range(4)]
    now = [Told(f"test_{i}", dict.fromkeys("abcd", 0.4)) for i in range(4)]
    told = lines(judged(store, then, now))
    assert told[0] == "too few tests to tell: 4 with a, 4 with b and 2 more"
    assert "4 scores have too few tests to tell: 4" in told


def test_many_scores_are_told_in_one_sentence(store: Store) -> None:
    """A page of sentences would say less."""
    names = [f"score_{i}" for i in range(12)]
    then = [Told(f"test_{i}", dict.fromkeys(names, 0.5)) for i in range(30)]
    now = [
        Told(f"test_{i}", dict.fromkeys(names, 0.5 + (i < 2) / 4)) for i in range(30)
    ]
    told = [line for line in lines(judged(store, then, now)) if "12 scores" in line]
    assert told == [
        "12 scores are within noise; a difference of about 0.068 would be seen"
    ]


def test_a_score_that_tests_lost_is_no_quiet_thing(store: Store) -> None:
    """The headline claims the tests that were compared, and the others are told of."""
    then = [Told(f"test_{i}", {"exact": float(i < 8)}) for i in range(20)]
    now = [Told(f"test_{i}", {"exact": 1.0} if i < 8 else {}) for i in range(20)]
    found = judged(store, then, now)
    told = lines(found)
    assert told[0] == "no change: no score of 8 to 20 tests moved"
    assert "exact: in 8 of the 20 tests in both runs" in told
    assert "no longer scored: exact in 12 tests" in told
    assert found.comparison is not None
    assert [each.lost for each in found.comparison.measures] == [12, 0, 0]


def test_a_score_of_some_tests_alone_is_told_with_how_many(store: Store) -> None:
    """Nothing is lost where it was never there, nor where a test errored."""
    then = [Told(f"test_{i}", {"exact": 1.0}) for i in range(20)]
    then += [Told(f"other_{i}", {"tone": 1.0}) for i in range(20)]
    now = [Told("test_0", outcome="errored"), *then[1:]]
    told = lines(judged(store, then, now))
    assert told[0] == "no change: no score of 19 to 39 tests moved"
    assert "exact: in 19 of the 40 tests in both runs" in told
    assert "tone: in 20 of the 40 tests in both runs" in told
    assert not any(line.startswith(("pass: ", "no longer")) for line in told)


def test_tests_with_further_rows_have_no_score_of_their_own_to_miss(
    store: Store,
) -> None:
    """Their own rows say what came of them; those that they opened have the score."""
    own = [Told(f"test_{i}") for i in range(6)]
    turns = [Told(f"test_{i}", {"tone": 1.0}, part="turn") for i in range(6)]
    both = judged(store, [*own, *turns], [*own, *turns])
    assert not [line for line in lines(both) if line.startswith("tone: in")]
    errored = Told("test_0", outcome="errored", part="turn")
    one_errored = judged(store, [*own, *turns], [*own, errored, *turns[1:]])
    assert not [line for line in lines(one_errored) if line.startswith("tone: in")]
    apart = [*own, Told("test_0", {"tone": 1.0}, part="turn")]
    assert "tone: in 1 of the 7 tests in both runs" in lines(
        judged(store, apart, apart)
    )


def test_many_scores_of_some_tests_are_told_in_one_line(store: Store) -> None:
    """As a suite of many kinds of test has them."""
    rows = [Told(f"test_{i}", {f"score_{i % 5}": 1.0}) for i in range(14)]
    told = lines(judged(store, rows, rows))
    assert "5 scores: in 2 to 3 of the 14 tests in both runs" in told


def test_errored_new_gone_and_renamed_tests_are_counted(store: Store) -> None:
    """And the means over all tests are told where they are other ones."""
    then = [*scored("exact", [1.0] * 30), Told("test_old", {"exact": 1}, input="x")]
    now = [
        *scored("exact", [1.0] * 28),
        Told("test_28", {"exact": 1.0}, "errored"),
        Told("test_new", {"exact": 0.0}),
        Told("test_renamed", {"exact": 1.0}, input="x"),
    ]
    told = " ".join(" ".join(lines(judged(store, then, now))).split())
    assert (
        "30 tests in both runs, 1 new, 1 gone or not run, 1 renamed, "
        "1 errored now (left out)" in told
    )
    assert "over all tests that have the score: exact 0.967 in 30" in told
    assert "renamed: test_it.py::test_old → test_it.py::test_renamed" in told


def test_too_many_errors_are_not_measurable(store: Store) -> None:
    """Said first, with the number, and in each row."""
    broken = [Told(f"test_{i}", {}, "errored") for i in range(9)]
    found = judged(
        store,
        scored("exact", [1.0] * 20),
        [*broken, *scored("exact", [0.0] * 20)[9:]],
    )
    told = lines(found)
    assert told[0] == "not measurable: 9 of 20 tests errored now, more than 10%"
    assert all(width_of(line) <= 80 for line in told)
    (row,) = [line for line in told if line.startswith("exact")]
    assert " ".join(row.split()) == "exact 1.000 0.000 -1.000 not measurable"


def test_a_score_that_drifted_is_told_whole(store: Store) -> None:
    """The warning is broken into lines, not cut."""
    found = judged(store, scored("exact", [1.0] * 9), scored("exact", [0.0] * 9))
    told = lines(found)
    at = next(i for i, line in enumerate(told) if line.startswith("a score moved"))
    assert "".join(told[at : at + 2]).endswith("behind its name may have drifted")


@pytest.mark.parametrize(
    ("seconds", "unit", "shown"),
    [
        (0.0000042, "µs", "4.200"),
        (0.0123, "ms", "12.30"),
        (0.999, "ms", "999.0"),
        (3.21, "s", "3.210"),
        (5400.0, "min", "90.00"),
    ],
)
def test_durations_have_their_unit(seconds: float, unit: str, shown: str) -> None:
    """So that no column breaks."""
    scale = scale_for("duration", seconds)
    assert (scale.unit, scale.show(seconds)) == (unit, shown)


@pytest.mark.parametrize(
    ("amount", "unit"),
    [
        (3e9, "billions"),
        (2.5e6, "millions"),
        (12_000, "thousands"),
        (812, ""),
        (0.5, ""),
        (0.003, "thousandths"),
        (0.00002, "millionths"),
        (0.0, ""),
    ],
)
def test_amounts_have_a_scale_in_words(amount: float, unit: str) -> None:
    """Whatever a metric counts, its numbers fit their columns."""
    scale = scale_for("cost", amount)
    assert scale.unit == unit
    assert len(scale.show(amount, "+")) <= 6


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0.0, "0"),
        (0.0174, "0.0174"),
        (-0.00123456, "-0.001235"),
        (0.99999, "1"),
        (314.5, "314.5"),
        (20.0, "20"),
        (12_345.6, "12,346"),
        (3e-7, "3.000e-07"),
        (4e15, "4.000e+15"),
    ],
)
def test_means_in_a_line_are_written_as_people_write_them(
    amount: float, shown: str
) -> None:
    """A cost of $0.0174 is no "17.40 thousandths" where no column asks for it."""
    found = Estimate(tests=3, mean=amount, standard_error=None, interval=None)
    assert means({"cost": found}) == f"cost {shown}"


@pytest.mark.parametrize(
    ("name", "spent"),
    [
        ("cost", True),
        ("tokens", True),
        ("completion_tokens", True),
        ("judge.cost", True),
        ("costUSD", True),
        ("COST", True),
        ("totalTokens", True),
        ("LLMCost", True),
        ("token_f1", False),
        ("costRatio", False),
        ("duration", False),
        ("tokens_per_second", False),
        ("costPerCall", False),
        ("time_to_first_token", False),
        ("max_tokens", False),
        ("costume", False),
    ],
)
def test_costs_and_tokens_are_spent(name: str, spent: object) -> None:
    """By the words of a name; no rate is, and no limit."""
    assert is_spent(name) == spent


def test_metrics_name_the_better_direction_and_their_unit(store: Store) -> None:
    """Less is better unless it was said otherwise."""
    then = [Told(f"t{i}", metrics={"cost": 0.0003}, seconds=0.2) for i in range(8)]
    now = [Told(f"t{i}", metrics={"cost": 0.0001}, seconds=0.3) for i in range(8)]
    told = lines(judged(store, then, now))
    at = told.index("metrics, less is better")
    assert [" ".join(line.split()) for line in told[at + 1 : at + 4]] == [
        "cost, thousandths",
        "0.300 0.100 -0.200 -0.200…-0.200 8 0 ▲ improved",
        "duration, ms 200.0 300.0 +100.0 +100.0…+100.0 0 8 ▼ regressed",
    ]


def test_the_worst_tests_show_what_changed_in_their_output(store: Store) -> None:
    """The worst five, each with its scores and the first line that is not the same."""
    then = [
        Told(f"test_{i}", {"exact": 1.0, "tone": 1.0}, output="one\ntwo\nthree")
        for i in range(8)
    ]
    now = [
        Told(f"test_{i}", {"exact": i / 8, "tone": 0.5}, output="one\nTWO\nthree")
        for i in range(8)
    ]
    told = lines(judged(store, then, now))
    at = told.index("tests with a lower score: the worst 5 of 8")
    assert told[at + 1 : at + 4] == [
        "  test_it.py::test_0  exact 1 → 0, tone 1 → 0.5",
        "    - two",
        "    + TWO",
    ]
    assert len(told) == at + 1 + 5 * 3


def test_a_test_that_raised_says_what(store: Store) -> None:
    """And where the output is the same, that it is."""
    then = [Told("test_a", {"exact": 1.0}, output={"answer": "Rome"})]
    error = "def test_a():\n>   assert 0\nE   assert 'Rome' == 'Paris'\nE   more"
    now = [
        Told("test_a", {"exact": 0.0}, "failed", output={"answer": "Rome"}, error=error)
    ]
    told = lines(judged(store, then, now))
    assert told[-3:] == [
        "  test_it.py::test_a  exact 1 → 0, pass 1 → 0",
        "    with the same output",
        "    assert 'Rome' == 'Paris'",
    ]


def test_a_difference_far_into_a_line_is_shown() -> None:
    """Two lines that begin alike for long are of no use cut at their end."""
    same = "x" * 200
    old, new = worst.from_difference(f"{same}old answer", f"{same}new answer", 70)
    assert old == "…" + "x" * 20 + "old answer"
    assert new == "…" + "x" * 20 + "new answer"
    assert worst.from_difference("short", "shirt", 70) == ("short", "shirt")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("exact", 5),
        ("正確さ", 6),
        ("e\u0301clair", 6),
        ("\u0e01\u0e31\u0e19", 2),  # a vowel above, of no combining class
        ("\u1112\u1161\u11ab", 2),  # a Korean syllable in its parts
        ("so\u00adft\u200b", 5),
        ("👍🏽", 2),
        ("\u2764\ufe0f \u2b50\ufe0f", 5),
        ("👨\u200d👩\u200d👧", 2),
    ],
)
def test_text_is_as_wide_as_a_terminal_draws_it(text: str, columns: int) -> None:
    """Whatever it is made of, so that what stands beside it lines up."""
    assert width_of(text) == columns
    assert padded(text, 10) + "|" == text + " " * (10 - columns) + "|"
    assert fitted(text * 9, columns * 3 + 1) == text * 3 + "…"


def test_what_is_drawn_as_one_is_not_torn_apart() -> None:
    """Where two texts stand side by side."""
    hand = "👍🏽"
    first, second = sides.beside(hand * 15, "", 43)
    assert first.text == f"{hand * 10} <"
    assert second.text == f"{hand * 5}{' ' * 10} <"


def test_long_text_is_broken_by_its_width() -> None:
    """Wide characters count twice, and a long address stays beside its label."""
    shown = [each.text for each in fit(Line("changed: " + "日本語 " * 12), 40)]
    assert [width_of(each) for each in shown] == [36, 36, 22]
    address = "https://" + "x" * 90
    told = Line(f"page        {address} and more", hang=12)
    assert [each.text for each in fit(told, 80)] == [
        f"page        {address}",
        "            and more",
    ]


@pytest.mark.parametrize("width", [80, 200])
def test_no_line_is_wider_than_the_screen(store: Store, width: int) -> None:
    """From 80 columns on, whatever the names and numbers."""
    then = [Told(f"test_{i}", {LONG: 0.5, "日本語": 1.0}, seconds=i) for i in range(9)]
    now = [
        Told(
            f"test_{i}",
            {LONG: 0.1, "日本語": 0.0},
            output="long " * 99,
            seconds=900,
        )
        for i in range(9)
    ]
    whole = judged(store, then, now)
    assert whole.comparison is not None
    shown: list[Line] = list(compared.beside(whole, width))
    parts = [part for line in shown for part in fit(line, width)]
    long = [part for part in parts if width_of(part.text) > width]
    assert long == []


def test_a_real_terminal_has_colours_and_a_quiet_run_one_line_more(
    suite: Suite,
) -> None:
    """Red where it is worse; none of it where NO_COLOR says so."""
    suite.write(test_a=written(*[1] * 10)).run("--braintrust-experiment", "monday")
    suite.write(test_a=written(*[0] * 10))
    screen = in_a_terminal(suite)
    assert "\x1b[31mverdict     ▼ worse: exact regressed\x1b[0m" in screen
    assert "baseline    monday (previous run of this branch)" in screen
    suite.environment["NO_COLOR"] = "1"
    arguments = ("--braintrust-baseline", "monday")
    assert "\x1b[31m" not in in_a_terminal(suite, *arguments)
    quiet = suite.run("-q", *arguments).out.splitlines()
    assert [line for line in quiet if line.startswith("braintrust: ")] == [
        "braintrust: exact 0.000, pass 1.000",
        "braintrust: ▼ worse than monday: exact 1.000 → 0.000",
        "braintrust: 10 recorded, kept here; no BRAINTRUST_API_KEY is set; .braintrust",
    ]
