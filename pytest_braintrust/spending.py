"""Which metrics are spent: those of which a run has a sum that somebody pays."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_SPENT = frozenset({"cost", "costs", "token", "tokens"})
#: Of a rate, an average or a time there is no sum.
_NO_SUM = frozenset({"per", "mean", "avg", "average", "max", "min", "rate", "time"})


def is_spent(name: str) -> bool:
    """Whether a metric is a cost or a number of tokens, by the words of its name."""
    words = {each.lower() for each in _WORD.findall(name)}
    return not words.isdisjoint(_SPENT) and words.isdisjoint(_NO_SUM)
