"""Which run a process belongs to, where several processes make one run.

All that they have to agree on is a text: the id of the run. What their experiments
are known by, here and on Braintrust, is derived from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID, uuid5

#: Asks for the id that the CI's own variables make.
AUTO = "auto"

_NAMESPACE = UUID("5f1a6c0e-8a53-4d53-9c1f-2b1d7f6c3a90")

Environ = Mapping[str, str]


def run_id(name: str) -> str:
    """What the experiments of a run have in common, for the name that it was given."""
    return str(uuid5(_NAMESPACE, name))


def from_ci(environ: Environ) -> str | None:
    """The run that a CI's variables tell of; None where none that is known does.

    Another attempt is another run: what failed before would else count again.
    """
    found = (read(environ) for read in _SYSTEMS)
    return next((each for each in found if each), None)


def in_ci(environ: Environ) -> bool:
    """Whether this is a CI at all, known or not."""
    return environ.get("CI", "").strip().lower() not in {"", "0", "false", "no"}


def _github(environ: Environ) -> str | None:
    attempt = environ.get("GITHUB_RUN_ATTEMPT") or "1"
    return _joined("github", environ.get("GITHUB_RUN_ID"), attempt)


def _gitlab(environ: Environ) -> str | None:
    # A job that is retried stays in its pipeline; newer servers count how often.
    retries = environ.get("CI_JOB_RETRY_COUNT", "0")
    attempt = "" if retries == "0" else retries
    return _joined("gitlab", environ.get("CI_PIPELINE_ID"), attempt)


def _circleci(environ: Environ) -> str | None:
    # A workflow that is run again, wholly or from where it failed, has another id.
    return _joined("circleci", environ.get("CIRCLE_WORKFLOW_ID"))


def _buildkite(environ: Environ) -> str | None:
    retries = environ.get("BUILDKITE_RETRY_COUNT") or "0"
    return _joined("buildkite", environ.get("BUILDKITE_BUILD_ID"), retries)


def _jenkins(environ: Environ) -> str | None:
    return environ.get("BUILD_TAG") or None  # jenkins-JOB-NUMBER


_SYSTEMS: tuple[Callable[[Environ], str | None], ...] = (
    _github,
    _gitlab,
    _circleci,
    _buildkite,
    _jenkins,
)


def _joined(system: str, name: str | None, attempt: str = "") -> str | None:
    if not name:
        return None
    return "-".join(filter(None, (system, name, attempt)))
