"""The summary of a run as JSON, for programs; names are only ever added to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pytest_braintrust.comparison.result import Measure, RunFacts, TestChange
from pytest_braintrust.gates import Verdict
from pytest_braintrust.judging import Judgement
from pytest_braintrust.reports.run import ExperimentReport, RunReport
from pytest_braintrust.statistics import Estimate, Interval

FORMAT = 1


def render(report: RunReport) -> str:
    """The whole summary as text; ends with a line break."""
    return json.dumps(plain_report(report), indent=2) + "\n"


def plain_report(report: RunReport) -> dict[str, Any]:
    """The summary as plain values."""
    return {
        "format": FORMAT,
        "tests": dict(report.tests),
        "store": report.store,
        "upload": report.upload,
        "recorded": report.recorded,
        "problems": list(report.problems),
        "gates": [_gate(each) for each in report.verdicts],
        "experiments": [_experiment(each) for each in report.experiments],
    }


def _experiment(each: ExperimentReport) -> dict[str, Any]:
    rows = each.rows
    return {
        "project": each.project,
        "name": each.name,
        "url": each.url if rows.sent else None,
        "rows": {
            "recorded": rows.recorded,
            "sent": rows.sent,
            "pending": rows.pending,
            "refused": rows.refused,
        },
        **(plain_judgement(each.judgement) if each.judgement is not None else {}),
    }


def plain_judgement(judged: Judgement) -> dict[str, Any]:
    """What a run came to, as plain values."""
    measures = judged.measures
    return {
        "scores": plain_estimates(measures.scores),
        "metrics": plain_estimates(measures.metrics),
        "totals": dict(measures.totals),
        "errored": measures.counts.errored,
        "errored_trials": measures.counts.errored_trials,
        "unscored": dict(measures.unscored),
        "trials": asdict(measures.trials),
        "gates": [_gate(each) for each in judged.verdicts],
        "comparison": plain_comparison(judged),
    }


def plain_estimates(found: Mapping[str, Estimate]) -> dict[str, dict[str, Any]]:
    """Means as plain values, by name."""
    return {
        name: {
            "mean": each.mean,
            "interval": plain_interval(each.interval),
            "tests": each.tests,
        }
        for name, each in found.items()
    }


def plain_interval(found: Interval | None) -> list[float] | None:
    """Its two ends."""
    return None if found is None else list(found)


def _gate(each: Verdict) -> dict[str, str]:
    return {"state": each.state, "text": each.text}


def plain_comparison(judged: Judgement) -> dict[str, Any] | None:
    """The comparison with the baseline as plain values; None without one."""
    found = judged.comparison
    if found is None:
        return None
    how = judged.baseline.how if judged.baseline is not None else None
    return {
        "base": {**_run(found.base), "how": how},
        "head": _run(found.head),
        "tests": {
            "shared": found.shared,
            "new": list(found.new),
            "gone": list(found.gone),
            "renamed": [list(each) for each in found.renamed],
            "then": found.shared + len(found.gone),
            "now": found.shared + len(found.new),
            "errored_then": found.then.errored,
            "errored_now": found.now.errored,
            "errored_trials_then": found.then.errored_trials,
            "errored_trials_now": found.now.errored_trials,
        },
        "overall": found.overall,
        "totals": {
            name: {"then": then, "now": now}
            for name, (then, now) in found.totals.items()
        },
        "measures": [_measure(each) for each in found.measures],
        "scores_new": list(found.scores_new),
        "scores_gone": list(found.scores_gone),
        "changed": [
            {"what": each.what, "then": each.then, "now": each.now}
            for each in found.differences
        ],
        "drifted": found.drifted,
        "worse": [plain_change(each) for each in found.regressions],
    }


def _run(found: RunFacts) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "branch": found.branch,
        "commit": found.commit,
        "dirty": found.dirty,
        "url": found.url,
    }


def _measure(each: Measure) -> dict[str, Any]:
    numbers = each.numbers
    return {
        "name": each.name,
        "kind": each.kind,
        "better": each.better,
        "then": numbers.then,
        "now": numbers.now,
        "difference": numbers.difference,
        "interval": plain_interval(numbers.interval),
        "p_value": numbers.p_value,
        "p_value_corrected": each.p_value,
        "method": numbers.method,
        "tests": numbers.tests,
        "tests_better": each.improved,
        "tests_worse": each.worsened,
        "tests_lost": each.lost,
        "tests_unscored": each.unscored,
        "verdict": each.verdict,
        "detectable": each.sensitivity.detectable,
        "tests_needed": each.sensitivity.tests_needed,
        "trials_needed": each.sensitivity.trials_needed,
    }


def plain_change(each: TestChange) -> Mapping[str, Any]:
    """A test whose score moved, as plain values."""
    return {
        "nodeid": each.nodeid,
        "row": each.part,
        "score": each.score,
        "then": each.then,
        "now": each.now,
    }
