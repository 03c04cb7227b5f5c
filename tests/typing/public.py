"""What a type checker says of code that uses us: this file is checked, never run.

`assert_type` proves what is answered; an ignore that mypy no longer needs is an error,
so each one proves that a wrong call is told before the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from typing_extensions import assert_type

from pytest_braintrust import BtScore, current
from pytest_braintrust.plugin import Hooks
from pytest_braintrust.scoring import Experiment, SpanScore
from pytest_braintrust.span import Span


@dataclass
class Answer:
    """A value of the user's own."""

    text: str


def test_values(bt_score: BtScore) -> None:
    """Any value, any of the fields, and nothing answered."""
    bt_score()
    bt_score(input=Answer("a"), output=object(), expected=None, error=ValueError())
    bt_score(scores={"a": True, "b": 0.5, "c": None, "d": 1})
    scores: Mapping[str, bool] = {"a": True}
    bt_score(scores=scores, metadata={"a": Answer("b")}, metrics={"tokens": 3})
    bt_score(tags="one")
    bt_score(tags=("one", "two"))
    bt_score(scores={"a": Fraction(1, 2), "b": Decimal("0.5")})
    assert_type(current(), BtScore)
    answer = bt_score(output=1)  # type: ignore[func-returns-value]
    assert answer is None


def test_wrong_calls(bt_score: BtScore) -> None:
    """A field that does not exist, and one that is not named."""
    bt_score(ouput=1)  # type: ignore[call-arg]
    bt_score(1)  # type: ignore[arg-type]
    bt_score(scores=0.5)  # type: ignore[arg-type]
    bt_score(scores={"exact": "1"})  # type: ignore[dict-item]
    bt_score(tags=3)  # type: ignore[arg-type]
    bt_score(metrics=["tokens"])  # type: ignore[arg-type]
    bt_score(metadata="small")  # type: ignore[arg-type]


def test_rows(bt_score: BtScore) -> None:
    """A row is told like the test itself."""
    with bt_score.row(input=1) as row:
        assert_type(row, BtScore)
        row(output=2)
    with bt_score.row("second", output=2, scores={"a": 1}):
        pass
    bt_score.row(ouput=1)  # type: ignore[call-arg]
    bt_score.row(scores={"exact": "1"})  # type: ignore[dict-item]


def test_steps(bt_score: BtScore) -> None:
    """A step is told like a row, and has steps of its own."""
    with bt_score.span("retrieve", type="tool", input=1) as step:
        assert_type(step, SpanScore)
        step(output=2, metrics={"tokens": 3})
        with step.span("rank"), current().span("deep"):
            pass
    bt_score.span()  # type: ignore[call-arg]
    bt_score.span("a", ouput=1)  # type: ignore[call-arg]
    bt_score.span("a", scores={"exact": "1"})  # type: ignore[dict-item]


def test_experiment(bt_score: BtScore) -> None:
    """None with the flag off; its id and page only where it is on Braintrust."""
    assert_type(bt_score.experiment, Experiment | None)
    experiment = bt_score.experiment
    if experiment is not None:
        assert_type(experiment.project, str)
        assert_type(experiment.name, str)
        assert_type(experiment.id, str | None)
        assert_type(experiment.url, str | None)
        experiment.name = "mine"  # type: ignore[misc]
    bt_score.experiment.url  # type: ignore[union-attr] # noqa: B018


def test_span(braintrust_span: Span) -> None:
    """The calls of the SDK's span."""
    braintrust_span.log(output=1, anything=2)
    with braintrust_span.start_span("inner", type="tool") as span:
        assert_type(span, Span)
    assert_type(braintrust_span.end(), float)
    assert_type(braintrust_span.id, str)
    assert_type(braintrust_span.link(), str)
    score: BtScore = braintrust_span
    score(output=1)


def pytest_braintrust_row(
    config: pytest.Config, item: pytest.Item | None, row: dict[str, Any]
) -> bool | None:
    """A hook as a conftest has it."""
    del row["output"]
    return item is None and config.rootpath.exists()


def pytest_braintrust_experiment_name(config: pytest.Config, default: str) -> str:
    """A name for it."""
    return f"{config.rootpath.name}-{default}"


def pytest_braintrust_run_metadata(
    config: pytest.Config, metadata: dict[str, Any]
) -> None:
    """More of the run."""
    metadata["root"] = str(config.rootpath)


def check_hooks(hooks: type[Hooks], config: pytest.Config) -> None:
    """The hooks are what their specification says."""
    assert_type(hooks.pytest_braintrust_row(config, None, {}), object)
    assert_type(hooks.pytest_braintrust_experiment_name(config, "n"), str | None)
