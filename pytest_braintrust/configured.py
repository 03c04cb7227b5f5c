"""What pytest was configured with, as settings are read from it."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest

from pytest_braintrust.errors import SettingsError
from pytest_braintrust.given import Given


def given(config: pytest.Config) -> Given:
    """The options, variables and ini values of a run; a wrong ini value is told."""
    return Given(config.getoption, partial(_ini, config), os.environ)


def _ini(config: pytest.Config, name: str) -> Any:
    try:
        return config.getini(name)
    except (TypeError, ValueError, pytest.UsageError) as error:
        # What pytest says of a value that is not of its kind does not tell which.
        msg = f"ini {name}: {error}"
        raise SettingsError(msg) from None


def share_key(config: pytest.Config) -> None:
    """Let what tests do with the official SDK have the key of the option too."""
    key = config.getoption("braintrust_api_key")
    if key:
        patch = pytest.MonkeyPatch()
        patch.setenv("BRAINTRUST_API_KEY", key.strip())
        config.add_cleanup(patch.undo)
