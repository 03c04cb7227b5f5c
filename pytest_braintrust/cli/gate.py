"""`gate`: judge a stored run, by other gates or another baseline; calls no model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from pytest_braintrust import gates, judging
from pytest_braintrust.cli.choosing import compared_with
from pytest_braintrust.cli.common import (
    Commands,
    add_baseline_option,
    add_command,
    add_metrics_option,
    add_run_arguments,
    opened_store,
)
from pytest_braintrust.cli.describing import called
from pytest_braintrust.cli.output import as_json, show
from pytest_braintrust.errors import SettingsError
from pytest_braintrust.given import Given
from pytest_braintrust.judging import Judgement
from pytest_braintrust.naming import resolve
from pytest_braintrust.reports import compared, machine
from pytest_braintrust.reports.lines import Line, short

_EXAMPLES = """\
  pytest-braintrust gate --fail-under exact=0.8
  pytest-braintrust gate latest --baseline main --fail-on-regression
  pytest-braintrust gate nightly --max-drop all=0.02 --require-baseline --json

Exit status: 0 all passed; 1 one failed; 2 wrong usage; 3 one could not be judged.
"""
_STATUS = {"passed": 0, "failed": 1, "not measurable": 3}
_LIMITS = (
    ("fail-under", "NAME=MEAN", "fail if a score's mean is lower; all=MEAN"),
    ("fail-over", "NAME=MEAN", "fail if a metric's mean is higher"),
    ("max-drop", "NAME=DROP", "fail if a score's mean fell by more; all=DROP"),
    ("max-total", "NAME=SUM", "fail if all of a cost or of tokens is more"),
)


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "gate",
        run,
        text="Judge a run again, by any gates and any baseline",
        more="No test is run and no model is called.",
        examples=_EXAMPLES,
    )
    add_run_arguments(parser)
    add_baseline_option(parser)
    for name, metavar, text in _LIMITS:
        parser.add_argument(f"--{name}", action="append", metavar=metavar, help=text)
    text = "fail if a score is worse beyond noise"
    parser.add_argument("--fail-on-regression", action="store_true", help=text)
    text = "fail if there is no run to compare with"
    parser.add_argument("--require-baseline", action="store_true", help=text)
    add_metrics_option(parser)


def run(given: argparse.Namespace) -> int:
    """Print what each gate says; answers what all of them come to."""
    asked = judging.asked(given.baseline, _read(given))
    if not asked.gates:
        msg = "no gate was asked for: give --fail-under, --fail-on-regression or others"
        raise SettingsError(msg)
    with opened_store(given) as store:
        found = resolve(store, given.experiment, project=given.project)
        base, why = compared_with(store, found, given)
        judged = judging.judgement(store, found, base, asked, why_none=why)
    state = gates.summed(judged.verdicts)
    if given.json:
        print(as_json(_plain(judged, state)))
    else:
        show(_lines(judged))
    return _STATUS[state]


def _read(given: argparse.Namespace) -> Given:
    def option(name: str) -> Any:
        return getattr(given, name.removeprefix("braintrust_"), None)

    def ini(name: str) -> Any:
        # What a person types here is all: a file's gates are those of a run.
        higher = name == "braintrust_higher_is_better"
        return given.higher_is_better if higher else []

    return Given(option, ini, {}, dashes="--")


def _lines(judged: Judgement) -> Iterator[Line]:
    yield Line(f"experiment  {called(judged.experiment)}", "bold", hang=12)
    if base := compared.base_text(judged):
        yield Line(f"baseline    {base}", hang=12)
    for each in judged.verdicts:
        style = "green" if each.state == "passed" else "red"
        yield Line(f"{each.state.upper()}: {short(each.text)}", style)


def _plain(judged: Judgement, state: str) -> dict[str, Any]:
    run = judged.experiment
    return {
        "id": run.id,
        "project": run.project,
        "name": run.shown_name,
        "state": state,
        **machine.plain_judgement(judged),
    }
