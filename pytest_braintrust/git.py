"""What git says of the code that a run tests.

Asked once a run and never waited for long; a machine without git or a folder without
a repository is told by None.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from pytest_braintrust.jsonable import plain_text

_TIMEOUT_SECONDS = 5.0

#: CI checks out a commit, not a branch, and says the branch in a variable of its own.
_BRANCH_VARIABLES = (
    "GITHUB_HEAD_REF",
    "GITHUB_REF_NAME",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
    "CI_COMMIT_REF_NAME",
    "CIRCLE_BRANCH",
    "BUILDKITE_BRANCH",
    "BRANCH_NAME",
    "GIT_BRANCH",
)

_FORMAT = "%H%x00%an%x00%ae%x00%cI%x00%B"


class RepoInfo(TypedDict, total=False):
    """Braintrust's `repo_info`, without the diff, which may hold anything."""

    commit: str
    branch: str
    tag: str
    dirty: bool
    author_name: str
    author_email: str
    commit_message: str
    commit_time: str


def repo_info(root: Path, environ: Mapping[str, str] = os.environ) -> RepoInfo | None:
    """Describe HEAD of the repository that `root` lies in; None without one."""
    head = _git(root, "log", "-1", f"--format={_FORMAT}")
    if head is None:
        return None
    commit, author, email, time, message = head.split("\0", 4)
    info = RepoInfo(
        commit=commit,
        author_name=author,
        author_email=email,
        commit_time=time,
        commit_message=message.strip(),
        dirty=bool(_git(root, "status", "--porcelain", "--untracked-files=no")),
    )
    if branch := _branch(root, environ):
        info["branch"] = branch
    if tag := _git(root, "describe", "--tags", "--exact-match"):
        info["tag"] = tag
    return info


def ancestors(root: Path, *, most: int = 2_000) -> list[str]:
    """HEAD and the commits before it, the nearest first; none without git."""
    found = _git(root, "rev-list", f"--max-count={most}", "HEAD")
    return found.split() if found else []


def _branch(root: Path, environ: Mapping[str, str]) -> str | None:
    named = _git(root, "symbolic-ref", "--short", "--quiet", "HEAD")
    if named:
        return named
    return next(
        (environ[each] for each in _BRANCH_VARIABLES if environ.get(each)), None
    )


def _git(root: Path, *arguments: str) -> str | None:
    # `--no-optional-locks`: a look must not take the index lock from the user.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            command,
            cwd=root,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    return plain_text(done.stdout.decode("utf-8", "surrogateescape").rstrip("\n"))
