"""What pytest was configured with, as settings are read from it."""

from __future__ import annotations

import os
from functools import partial
from itertools import pairwise
from pathlib import Path
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


#: Files that pytest is configured by, as it looks for them, and what one has to hold
#: to count.
INI_FILES = {
    "pytest.toml": "",
    ".pytest.toml": "",
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}


def mistaken_root(config: pytest.Config) -> str:
    """Say where pytest's root comes from a value of ours; "" where it does not.

    pytest looks for it before it knows our options, among all words that are no option
    and name what is there.
    """
    root, folder = config.rootpath, config.invocation_params.dir
    given = any(config.getoption(each, default=None) for each in _ROOT_OPTIONS)
    words = pairwise(map(str, config.invocation_params.args))
    mistaken = [
        option
        for option, value in words
        if _takes_value(config, option) and _is_path_in(root, folder, value)
    ]
    if given or not mistaken or not (_is_elsewhere(config) or _is_past_ini(config)):
        return ""
    return (
        f"pytest took the value of {mistaken[0]} for a path of tests, and has {root} "
        f"for its root: write {mistaken[0]}=…"
    )


_ROOT_OPTIONS = ("rootdir", "inifilename")


def _takes_value(config: pytest.Config, option: str) -> bool:
    """Whether a word is an option of ours whose value is the next word."""
    if not option.startswith("--braintrust-"):
        return False
    # What was given is a text or a list of texts, a flag is true.
    return not isinstance(config.getoption(option, default=True), bool)


def _is_path_in(root: Path, folder: Path, value: str) -> bool:
    path = _absolute(folder, value)
    # `Path.exists` raises where the value is too long for a path, or may not be asked.
    return path.is_relative_to(root) and os.path.exists(path)  # noqa: PTH110


def _is_elsewhere(config: pytest.Config) -> bool:
    """Whether the root holds nothing that was asked for."""
    folder = config.invocation_params.dir
    asked = [_absolute(folder, each.partition("::")[0]) for each in config.args]
    return not any(each.is_relative_to(config.rootpath) for each in (folder, *asked))


def _is_past_ini(config: pytest.Config) -> bool:
    """Whether there is an ini file below the root that pytest would have come to."""
    folder = config.invocation_params.dir
    if config.args_source == config.ArgsSource.ARGS:
        return False
    below = [each for each in (folder, *folder.parents) if each != config.rootpath]
    return any(
        each.is_relative_to(config.rootpath) and _has_ini(each) for each in below
    )


def _has_ini(folder: Path) -> bool:
    return any(_holds(folder / name, held) for name, held in INI_FILES.items())


def _holds(file: Path, text: str) -> bool:
    try:
        return file.is_file() and text in file.read_text("utf-8", "replace")
    except OSError:
        return False


def _absolute(folder: Path, path: str) -> Path:
    return Path(os.path.abspath(folder / path))  # noqa: PTH100 - links stay as typed


def share_key(config: pytest.Config) -> None:
    """Let what tests do with the official SDK have the key of the option too."""
    key = config.getoption("braintrust_api_key")
    if key:
        patch = pytest.MonkeyPatch()
        patch.setenv("BRAINTRUST_API_KEY", key.strip())
        config.add_cleanup(patch.undo)
