"""What commands tell of an experiment, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from pytest_braintrust.baseline import is_cut_short
from pytest_braintrust.fields import PASS
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import RowCounts, ScoreSummary, StoredExperiment

#: Of a run that ended before its tests had: it is no baseline.
CUT_SHORT = "cut short"


def as_plain(store: Store, each: StoredExperiment) -> dict[str, Any]:
    """Everything of an experiment but its rows; names are only ever added to it."""
    counts = reading.row_counts(store, each.number)
    return {
        "id": each.id,
        "project": each.project,
        "name": each.shown_name,
        "branch": each.branch,
        "commit": each.commit,
        "created_at": iso(each.created_at),
        "finished_at": None if each.finished_at is None else iso(each.finished_at),
        "exit_status": each.exit_status,
        "tests": each.tests,
        "scores": {
            score.name: {"mean": score.mean, "count": score.count}
            for score in reading.score_summaries(store, each.number)
        },
        "rows": {
            "recorded": counts.recorded,
            "sent": counts.sent,
            "pending": counts.pending,
            "refused": counts.refused,
        },
        "remote_id": each.remote_id,
        "url": each.url,
        "upload_error": each.upload_error,
        "metadata": each.metadata,
        "repo_info": each.repo_info,
    }


def called(each: StoredExperiment) -> str:
    """Its project and name."""
    return f"{each.project}/{each.shown_name}"


def rows_text(counts: RowCounts) -> str:
    """How many rows there are, and how many Braintrust does not have."""
    if not counts.pending:
        return f"{counts.recorded:,}"
    return f"{counts.recorded:,} ({counts.pending:,} pending)"


def scores_text(scores: list[ScoreSummary]) -> str:
    """The means in one line: first what most rows have, and `pass` last."""
    ranked = sorted(scores, key=lambda score: (score.name == PASS, -score.count))
    return "  ".join(f"{score.name} {score.mean:.3f}" for score in ranked)


def passed_text(each: StoredExperiment) -> str:
    """How many of the tests passed, and whether all of them ran."""
    if each.finished_at is None:
        return "unfinished"
    passed = each.tests.get("passed", 0) + each.tests.get("xpassed", 0)
    mark = f" {CUT_SHORT}" if is_cut_short(each) else ""
    return f"{passed:,}/{each.tests.get('collected', 0):,}{mark}"


def tests_text(tests: Mapping[str, int]) -> str:
    """What became of the tests."""
    parts = [
        f"{count:,} {name.replace('_', ' ')}"
        for name, count in tests.items()
        if count and name != "collected"
    ]
    return f"{tests.get('collected', 0):,} collected: {', '.join(parts) or 'none ran'}"


def iso(seconds: float) -> str | None:
    """A moment in ISO 8601, in UTC; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
