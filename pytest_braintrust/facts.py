"""What an experiment says of the run it came from, and what it is called."""

from __future__ import annotations

import json
import os
import platform
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from pytest_braintrust import __version__, redacting
from pytest_braintrust.git import RepoInfo
from pytest_braintrust.jsonable import clean, dumps
from pytest_braintrust.redacting import REDACTED

#: Where a run says of which metrics more is better, so that commands, which do not read
#: its ini file, judge it as it was judged.
HIGHER_IS_BETTER = "higher_is_better"


@dataclass(frozen=True, slots=True)
class NewExperiment:
    """A run of one project, before its first row."""

    id: str
    #: What the experiments of a run have in common, whichever process adds them.
    run_id: str
    project: str
    name: str
    created_at: float
    repo_info: Mapping[str, Any] | None
    metadata: Mapping[str, Any]
    api_url: str | None
    #: The experiment that it is compared with: here, and on Braintrust.
    base: str | None = None
    base_remote_id: str | None = None
    #: The dataset on Braintrust that its cases come from, where there is one.
    dataset_id: str | None = None
    dataset_version: str | None = None


def run_metadata(
    *,
    pytest_version: str,
    arguments: Iterable[str],
    workers: int,
    api_key: str | None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, Any]:
    """Versions, platform, workers, arguments without secrets, the link to the CI."""
    facts: dict[str, Any] = {
        "pytest": pytest_version,
        "pytest_braintrust": __version__,
        "python": platform.python_version(),
        # Not `platform.platform`: that starts a process to ask for the processor.
        "platform": f"{platform.system()}-{platform.release()}-{platform.machine()}",
        "workers": workers,
        "arguments": redacting.arguments(arguments, api_key),
    }
    if link := ci_link(environ):
        facts["ci"] = redacting.text(link, api_key)
    return facts


def without_key(value: Mapping[str, Any], api_key: str | None) -> dict[str, Any]:
    """The same as plain JSON values, without the key, wherever it stands in them."""
    text = dumps(clean(value))
    if api_key:
        text = text.replace(api_key, REDACTED)
    cleaned: dict[str, Any] = json.loads(text)
    return cleaned


def higher_is_better(metadata: Mapping[str, Any]) -> frozenset[str]:
    """The metrics of which more is better, as a run says; others may say anything."""
    told = metadata.get(HIGHER_IS_BETTER)
    names = told if isinstance(told, list) else ()
    return frozenset(each for each in names if isinstance(each, str))


def experiment_id(run_id: str, project: str) -> str:
    """The local id of a run's experiment: every process comes to the same one."""
    return str(uuid5(UUID(run_id), project))


def ci_link(environ: Mapping[str, str]) -> str | None:
    """The page of the CI run that this is part of; None outside of CI."""
    if environ.get("GITHUB_RUN_ID") and environ.get("GITHUB_REPOSITORY"):
        server = environ.get("GITHUB_SERVER_URL", "https://github.com")
        run = f"{environ['GITHUB_REPOSITORY']}/actions/runs/{environ['GITHUB_RUN_ID']}"
        return f"{server}/{run}"
    names = ("CI_JOB_URL", "CIRCLE_BUILD_URL", "BUILDKITE_BUILD_URL", "BUILD_URL")
    return next((environ[name] for name in names if environ.get(name)), None)


def default_name(info: RepoInfo | None, at: float) -> str:
    """A name that a person recognises: branch, short commit, local time."""
    moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(at))
    if info is None:
        return f"pytest-{moment}"
    parts = [info.get("branch"), info["commit"][:7], moment]
    return "-".join(part for part in parts if part)


def argv_of(invocation: Iterable[object]) -> list[str]:
    """The arguments of this run as text, `PYTEST_ADDOPTS` included."""
    return [
        *_words(os.environ.get("PYTEST_ADDOPTS", "")),
        *(
            os.fspath(each) if isinstance(each, os.PathLike) else str(each)
            for each in invocation
        ),
    ]


def _words(text: str) -> list[str]:
    """The words of a command line, as pytest splits it."""
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed: pytest says so itself
        return text.split()
