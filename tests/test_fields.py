"""What calls say of a row is checked at the call, and merges over several calls."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
from conftest import Suite, outcome
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_braintrust.events import Attempt, Case, Ids, Place, Row, amounts_of, record
from pytest_braintrust.fields import UNSET, Fields, checked


def said(*calls: dict[str, Any]) -> Fields:
    """What several calls come to."""
    fields = Fields()
    for each in calls:
        fields.merge(checked(**each))
    return fields


class Name(str, enum.Enum):
    """A score's name may be a member of such."""

    EXACT = "exact"


# Merging


def test_mappings_merge_deep() -> None:
    """The last word counts for each name; other values replace mappings whole."""
    merged = said(
        {"metadata": {"setup": {"name": "a", "size": 1}, "kept": 1, "gone": {"a": 1}}},
        {"metadata": {"setup": {"name": "b", "more": {"x": 1}}, "gone": "text"}},
        {"metadata": {"setup": {"more": {"y": 2}}, "new": [1]}},
    )
    assert merged.metadata == {
        "setup": {"name": "b", "size": 1, "more": {"x": 1, "y": 2}},
        "kept": 1,
        "gone": "text",
        "new": [1],
    }


def test_scores_and_metrics_merge_by_name() -> None:
    """None takes a score back; a metric of None says nothing."""
    merged = said(
        {"scores": {"a": 1, "b": 0.5}, "metrics": {"tokens": 1, "cost": 0.5}},
        {"scores": {"b": None, "c": 0}, "metrics": {"tokens": 2, "cost": None}},
    )
    assert merged.scores == {"a": 1.0, "b": None, "c": 0.0}
    assert merged.metrics == {"tokens": 2, "cost": 0.5}


def test_tags_add_up_without_doubles() -> None:
    """In the order they were first said; those of a set in the order of the alphabet."""
    merged = said({"tags": "slow"}, {"tags": ["geo", "slow", "geo"]}, {"tags": None})
    merged.merge(checked(tags={"z", "y", "x", "geo"}))
    assert merged.tags == ["slow", "geo", "x", "y", "z"]


def test_other_fields_have_the_last_word() -> None:
    """None is a word; not to name a field is none."""
    merged = said(
        {"input": {"a": 1}, "output": "first", "expected": 1, "error": "bad"},
        {"input": {"b": 2}, "output": None, "error": None},
    )
    assert (merged.input, merged.output, merged.expected) == ({"b": 2}, None, 1)
    assert merged.error is None
    assert said({}).output is UNSET
    assert not said({}, {"metadata": {}, "tags": [], "scores": {}})
    assert said({"output": None})


def test_what_rows_share_is_not_changed_by_one_of_them() -> None:
    """A marker's metadata stands in every row, attempt and event of its tests."""
    place = Place.of(file="a", function="a", line=1)
    case = Case("a", "a", place, checked(metadata={"setup": {"name": "a"}}))
    attempt = Attempt("passed", 1.0, 2.0, {})
    first = record(case, Ids(), checked(metadata={"setup": {"size": 1}}), attempt)
    second = record(case, Ids(), checked(metadata={"setup": {"name": "b"}}), attempt)
    assert setup_of(first) == {"name": "a", "size": 1}
    assert setup_of(second) == {"name": "b"}
    assert case.given.metadata == {"setup": {"name": "a"}}


def setup_of(row: Row) -> Any:
    return json.loads(row["event"])["metadata"]["setup"]


words = st.fixed_dictionaries(
    {},
    optional={
        "output": st.none() | st.integers(),
        "scores": st.dictionaries(st.sampled_from("abc"), st.none() | st.floats(0, 1)),
        "metadata": st.recursive(
            st.dictionaries(st.sampled_from("abc"), st.integers()),
            lambda inner: st.dictionaries(st.sampled_from("abc"), inner | st.none()),
            max_leaves=6,
        ),
        "tags": st.lists(st.sampled_from(["x", "y", "z"])),
    },
)


@given(words, words, words)
@settings(deadline=None, derandomize=True)
def test_how_calls_are_grouped_does_not_matter(
    first: Any, second: Any, third: Any
) -> None:
    """And to say the same once more changes nothing."""
    one_by_one = said(first, second, third)
    later = said(second, third)
    grouped = said(first)
    grouped.merge(later)
    assert grouped == one_by_one
    grouped.merge(later)
    assert grouped == one_by_one


# Numbers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, 1.0),
        (False, 0.0),
        (0, 0.0),
        (1, 1.0),
        (0.25, 0.25),
        (-0.0, 0.0),
        (None, None),
        (np.float32(0.5), 0.5),
        (np.float64(1), 1.0),
        (np.int64(1), 1.0),
        (np.bool_(True), 1.0),
        (np.array(0.5), 0.5),
        (Decimal("0.1"), 0.1),
        (Fraction(1, 4), 0.25),
    ],
    ids=repr,
)
def test_what_counts_as_a_score(value: object, expected: float | None) -> None:
    """Numbers of any library, as plain floats."""
    (score,) = checked(scores={"s": value}).scores.values()
    assert score == expected
    assert type(score) is type(expected)


class Raising:
    def __float__(self) -> float:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        -0.1,
        1.0000001,
        2,
        float("nan"),
        float("inf"),
        10**400,
        10**5000,
        Decimal("NaN"),
        Decimal("sNaN"),
        Fraction(3, 2),
        1j,
        "1",
        b"1",
        [0.5],
        {},
        object,
        np.array([0.5]),
        np.nan,
        np.str_("1"),
        Raising(),
        mock.Mock(),
        mock.MagicMock(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_score(value: object) -> None:
    """A mock too, which would otherwise count as the 1.0 that its float is."""
    with pytest.raises(ValueError, match=r"^score 'exact' is .*; it must be a number"):
        checked(scores={"exact": value})


def test_a_wrong_value_is_shown_in_short() -> None:
    """Its text may be a document."""
    with pytest.raises(ValueError, match="score 's' is 'xxx") as caught:
        checked(scores={"s": "x" * 100_000})
    assert len(str(caught.value)) < 400


def test_the_score_pass_is_the_plugin_s() -> None:
    """In any kind of text."""
    for name in ("pass", np.str_("pass")):
        with pytest.raises(ValueError, match="score 'pass' follows the test's outcome"):
            checked(scores={name: 1})


def test_metrics_are_finite_numbers() -> None:
    """Whole ones stay whole."""
    metrics = checked(
        metrics={"n": 3, "f": 0.5, "b": True, "np": np.int64(4), "big": 2**60}
    ).metrics
    assert metrics == {"n": 3, "f": 0.5, "b": 1, "np": 4.0, "big": float(2**60)}
    assert type(metrics["n"]) is int
    for value in (float("nan"), float("inf"), "3", [3], mock.MagicMock(), 1j, -1e101):
        with pytest.raises(ValueError, match=r"^metric 'm' is .* number up to 1e100$"):
            checked(metrics={"m": value})


def test_what_others_measured_beyond_all_reason_is_no_amount() -> None:
    """No variance of such numbers can be worked out."""
    assert amounts_of({"m": 1e200, "n": -1e200, "cost": 2}) == {"cost": 2}


@pytest.mark.parametrize(
    ("attempts", "earlier"),
    [
        ([{"metrics": {"cost": 1, "speed": 9}}, {"metrics": {"cost": 0.5}}], 1.5),
        ([{"metrics": {"cost": 1e300}}, {"metrics": {"cost": float("nan")}}], None),
        ([{"metrics": {"cost": "much", "tokens": None}}], None),
        ([{"metrics": 5}, "… 3 more", {"outcome": "failed"}], None),
        ("none of these", None),
        (5, None),
    ],
)
def test_what_is_no_amount_of_an_earlier_attempt_is_left_out(
    attempts: object, earlier: float | None
) -> None:
    """A hook or a file may have anything there; only the test's own row has a sum."""
    found = amounts_of({"cost": 2}, {"attempts": attempts})
    spent = {} if earlier is None else {"": {"cost": earlier}}
    assert found == {"cost": 2, **spent}
    assert amounts_of({"cost": 2, "": 3}, {"attempts": attempts, "row": "b"}) == {
        "cost": 2
    }


# Names and kinds


@pytest.mark.parametrize("what", ["scores", "metrics"])
@pytest.mark.parametrize("name", ["", "  ", 1, None, b"x", ("a",)], ids=repr)
def test_names_are_text(what: str, name: object) -> None:
    """Something that a person can read."""
    with pytest.raises(ValueError, match=f"^{what} has the name .* non-empty text"):
        checked(**{what: {name: 1}})


def test_names_of_any_text_are_kept() -> None:
    """With a lone surrogate spelled out, and as plain text, not a subclass of it."""
    scores = checked(scores={"é\n\ud800": 1, Name.EXACT: 0}).scores
    assert scores == {"é\n\\ud800": 1.0, "exact": 0.0}
    assert {type(name) for name in scores} == {str}


WRONG: dict[str, Mapping[str, object]] = {
    "scores is 0.5; give a mapping of names, as in scores=": {"scores": 0.5},
    "scores is [0.5]; give": {"scores": [0.5]},
    "metrics is 'x'; give a mapping of names, as in metrics=": {"metrics": "x"},
    "metadata is 'x'; give a mapping, as in": {"metadata": "x"},
    "metadata is [1]; give": {"metadata": [1]},
    "tags is 5; give text, as in tags=": {"tags": 5},
    "tags is b'x'; give": {"tags": b"x"},
    "tags is {'a': 1}; give": {"tags": {"a": 1}},
    "tag 5 is not text": {"tags": ["a", 5]},
    "tag None is not text": {"tags": [None]},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_kind_is_told_with_what_to_give(message: str) -> None:
    """One kind of error for all of them."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below
        checked(**WRONG[message])
    assert str(caught.value).startswith(message)


def test_metadata_may_be_anything_with_fields() -> None:
    """A mapping, or what becomes one."""
    import odd_values  # noqa: PLC0415 - pydantic and more

    assert checked(metadata=odd_values.Attrs(1, [])).metadata == {"a": 1, "b": []}
    assert checked(metadata=odd_values.Half.__new__(odd_values.Half)).metadata


def test_an_error_is_told_as_text() -> None:
    """Exceptions with their kind, other values as JSON."""
    assert checked(error=ValueError("no")).error == "ValueError: no"
    assert checked(error="plain").error == "plain"
    assert checked(error={"code": {5}}).error == '{"code":[5]}'
    assert checked(error=None).error is None


# In a run

CALLS = """\
import pytest

def test_keeps_what_was_said_before(bt_score):
    bt_score(output="half", scores={"first": 0.5}, tags="a")
    bt_score(output="whole", scores={"exact": 1, "wrong": 1.5}, tags="b")

def test_goes_on(bt_score):
    bt_score(output="half", scores={"first": 0.5})
    with pytest.raises(ValueError, match="score 'wrong' is 1.5"):
        bt_score(output="whole", scores={"wrong": 1.5})

def test_error(bt_score):
    bt_score(error=LookupError("said"))
    assert "raised" == 1

def test_error_alone(bt_score): bt_score(error="only said")

def test_positional(bt_score): bt_score({"exact": 1})

def test_unknown(bt_score): bt_score(score=1)

def test_pytest_in_metadata(bt_score): bt_score(metadata={"pytest": "8.0", "x": 1})
"""


def test_an_error_at_the_call_keeps_what_was_said_before(
    suite: Suite, plugin_args: list[str]
) -> None:
    """Nothing of the call itself is kept."""
    ran = suite.write(test_calls=CALLS).run(*plugin_args)
    assert ran.status == 1, ran.out
    kept = ran.row("test_keeps_what_was_said_before")
    assert (kept["output"], kept["tags"]) == ("half", ["a"])
    assert kept["scores"] == {"first": 0.5, "pass": 0.0}
    assert "ValueError: score 'wrong' is 1.5" in kept["error"]
    goes_on = ran.row("test_goes_on")
    assert (goes_on["output"], goes_on["scores"]) == ("half", {"first": 0.5, "pass": 1})
    error = ran.row("test_error")["error"]
    assert error.startswith("LookupError: said\n\n")
    assert "assert 'raised' == 1" in error
    alone = ran.row("test_error_alone")
    assert (alone["error"], outcome(alone)) == ("only said", "passed")
    for name in ("test_positional", "test_unknown"):
        assert "TypeError" in ran.row(name)["error"]
    metadata = ran.row("test_pytest_in_metadata")["metadata"]
    assert metadata["pytest (logged)"] == "8.0"
    assert metadata["pytest"]["outcome"] == "passed"
    # The same calls are wrong with the flag off.
    off = suite.run_off(*plugin_args)
    assert off.status == 1
    assert "4 failed, 3 passed" in off
    assert "4 failed, 3 passed" in ran


WRONG_ROW = """\
def test_call(bt_score):
    bt_score(scores={"exact": 87})

def test_row(bt_score):
    with bt_score.row("second", scores={"exact": "no"}):
        pass
"""


def test_a_wrong_value_is_told_at_the_line_that_gave_it(suite: Suite) -> None:
    """The plugin's own lines would be between the error and who is to mend it."""
    ran = suite.write(test_wrong=WRONG_ROW).run()
    assert "\ntest_wrong.py:2: ValueError\n" in ran.out
    assert "\ntest_wrong.py:5: ValueError\n" in ran.out
    assert "scoring.py" not in ran.out
    assert "fields.py" not in ran.row("test_call")["error"]
