"""Which metrics are spent: those of which a run has a sum that somebody pays."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SPENT = frozenset({"cost", "costs", "token", "tokens"})
#: Of a rate, an average, a time or a measure of quality there is no sum.
_RATES = frozenset(("per", "rate", "ratio", "share", "fraction", "percent", "pct"))
_AVERAGES = frozenset(("mean", "avg", "average", "median", "max", "min"))
_QUALITY = frozenset(("f", "precision", "recall", "accuracy", "score", "overlap"))
_NO_SUM = _RATES | _AVERAGES | _QUALITY | {"time", "latency"}


def is_spent(name: str) -> bool:
    """Whether a metric is a cost or a number of tokens, by the words of its name."""
    words = {each.lower() for each in _WORD.findall(name)}
    return not words.isdisjoint(_SPENT) and words.isdisjoint(_NO_SUM)
