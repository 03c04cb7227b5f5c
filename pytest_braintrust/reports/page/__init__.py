"""The summary of a run as a page for a browser: one file that asks for nothing else.

It is written piece by piece, as the rows are read: a run may have more of them than
memory holds.
"""

from __future__ import annotations

from pytest_braintrust.reports.page.writing import (
    ENCODING,
    ERRORS,
    write,
    write_file,
)

__all__ = ["ENCODING", "ERRORS", "write", "write_file"]
