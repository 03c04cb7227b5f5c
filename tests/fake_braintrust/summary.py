"""Scores of an experiment, and how they differ from another's."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from fake_braintrust.rows import Row

#: Score → input → the scores of its trials.
Scores = dict[str, dict[str, list[float]]]


def summarized(rows: Sequence[Row], base: Sequence[Row] | None = None) -> Any:
    """The summary of each score: its mean, and what changed from the base."""
    old = _scores(base or ())
    return {
        name: _summary(name, found, None if base is None else old.get(name, {}))
        for name, found in _scores(rows).items()
    }


def _scores(rows: Iterable[Row]) -> Scores:
    """Scores by the input of their trace."""
    rows = list(rows)
    inputs = {
        row["root_span_id"]: json.dumps(row.get("input"), sort_keys=True)
        for row in rows
        if row["is_root"]
    }
    found: Scores = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for name, value in (row.get("scores") or {}).items():
            if value is not None:
                found[name][inputs.get(row["root_span_id"], "")].append(value)
    return found


def _summary(
    name: str, new: dict[str, list[float]], old: dict[str, list[float]] | None
) -> Any:
    mean = fmean(_all(new))
    summary = {"name": name, "score": mean, "improvements": 0, "regressions": 0}
    if old:
        pairs = [(fmean(new[key]), fmean(old[key])) for key in new if key in old]
        summary["diff"] = mean - fmean(_all(old))
        summary["improvements"] = sum(after > before for after, before in pairs)
        summary["regressions"] = sum(after < before for after, before in pairs)
    return summary


def _all(scores: dict[str, list[float]]) -> list[float]:
    return [each for trials in scores.values() for each in trials]
