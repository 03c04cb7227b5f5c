"""Words for counts, as every report and command says them."""

from __future__ import annotations


def a_number(count: int, what: str) -> str:
    """A count with its word: `1 row`, `2,000 rows`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
