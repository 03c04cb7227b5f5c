"""Rows of datasets as cases of tests: from a file, or from Braintrust by way of a cache.

Only `download` knows Braintrust's API, and with it an HTTP library: what pytest's own
process imports of this room reads files and nothing else.
"""

from __future__ import annotations

from pytest_braintrust.datasets.rows import DatasetRow

__all__ = ["DatasetRow"]
