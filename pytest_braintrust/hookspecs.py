"""Hooks that a conftest or another plugin may implement."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookspec
def pytest_braintrust_row(
    config: pytest.Config, item: pytest.Item | None, row: dict[str, Any]
) -> object:
    """Change or drop a row before it is stored or sent anywhere.

    Args:
        config: The run's configuration.
        item: The test, or None where a worker died with it.
        row: The event as Braintrust takes it: change it in place. Its test is
            `row["metadata"]["pytest"]["nodeid"]`.

    Return False to drop the row; anything else keeps it. Called for each report of a
    test, so more than once for a row. A row whose hook raises is kept with its scores
    and without its content, and the run's summary says so.
    """


@pytest.hookspec(firstresult=True)
def pytest_braintrust_experiment_name(
    config: pytest.Config, default: str
) -> str | None:
    """Name this run's experiment, where neither option nor variable names it.

    Args:
        config: The run's configuration.
        default: The name it would have: branch, commit and time.
    """


@pytest.hookspec
def pytest_braintrust_run_metadata(
    config: pytest.Config, metadata: dict[str, Any]
) -> None:
    """Add to what the experiment says of the run: change `metadata` in place.

    Args:
        config: The run's configuration.
        metadata: Versions, platform, arguments and the CI's link so far.
    """
