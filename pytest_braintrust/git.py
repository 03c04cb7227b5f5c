"""What git says of the code that a run tests.

Asked once a run and never waited for long; a machine without git or a folder without
a repository is told by None.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
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


_COMMIT = re.compile(r"[0-9a-f]{4,64}")

#: The branch that a CI's change is to go into, and what a project's main one is called.
_TARGET_VARIABLES = (
    "GITHUB_BASE_REF",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "CI_DEFAULT_BRANCH",
    "CHANGE_TARGET",
)
_USUAL_BRANCHES = ("main", "master")


def ancestors(root: Path, commit: str | None = None, *, most: int = 2_000) -> list[str]:
    """A commit, or HEAD, and those before it, the nearest first; none without git.

    Near is what is few steps away; at the same number of steps the first parent of a
    merge, the branch that was merged into, goes before the others.
    """
    start = commit or "HEAD"
    if commit is not None and not _COMMIT.fullmatch(commit):
        # From elsewhere, it may be anything: an option of git that writes a file too.
        return []
    told = _git(root, "rev-list", "--parents", f"--max-count={most}", start, "--")
    lines = [line.split() for line in told.splitlines()] if told else []
    parents = {commit: before for commit, *before in lines}
    found = dict.fromkeys([lines[0][0]]) if lines else {}
    queue = deque(found)
    while queue:
        fresh = [each for each in parents[queue.popleft()] if each not in found]
        known = [each for each in fresh if each in parents]
        found.update(dict.fromkeys(known))
        queue.extend(known)
    return list(found)


def is_shallow(root: Path) -> bool:
    """Whether a clone has a part of the history only, as CI makes them."""
    return _git(root, "rev-parse", "--is-shallow-repository") == "true"


def is_branch(root: Path, name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a name is that of a branch here, or of one that a CI knows of."""
    targets = (environ.get(each) for each in _TARGET_VARIABLES)
    if name in {*_USUAL_BRANCHES, *targets, _branch(root, environ)}:
        return True
    pattern = f"refs/remotes/*/{name}"
    return bool(_git(root, "for-each-ref", "--count=1", f"refs/heads/{name}", pattern))


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
    except Exception:  # noqa: BLE001 - a suite may have replaced subprocess
        return None
    if done.returncode != 0 or not isinstance(done.stdout, bytes):
        return None
    return plain_text(done.stdout.decode("utf-8", "surrogateescape").rstrip("\n"))
