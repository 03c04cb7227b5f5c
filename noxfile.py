"""The versions that must work: `nox` runs all, `nox -l` lists them."""

from __future__ import annotations

import re

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "venv"

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
PYTESTS = ["8.0", "8.2", "8.4", "9.0", "newest"]

PROJECT = nox.project.load_toml("pyproject.toml")["project"]
RUN_TIME: list[str] = PROJECT["dependencies"]
TEST: list[str] = PROJECT["optional-dependencies"]["test"]


def _without(requirements: list[str], *names: str) -> list[str]:
    return [r for r in requirements if re.split(r"[<>=!~ \[;]", r)[0] not in names]


def _floors(requirements: list[str]) -> list[str]:
    return [requirement.replace(">=", "==") for requirement in requirements]


def _run_pytest(session: nox.Session, *args: str) -> None:
    session.run("python", "-m", "pytest", *args, *session.posargs)


@nox.session(python=PYTHONS)
@nox.parametrize("pytest", PYTESTS)
def tests(session: nox.Session, pytest: str) -> None:
    """Run the tests with one version of pytest."""
    wanted = "pytest" if pytest == "newest" else f"pytest=={pytest}.*"
    session.install("-e", ".[test]", wanted)
    _run_pytest(session, "-n", "auto")


@nox.session(python=PYTHONS)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest version of each run-time dependency.

    No pytest-httpx goes with both the lowest pytest and the lowest httpx.
    """
    others = _without(TEST, "pytest-httpx")
    session.install("-e", ".", *_floors(RUN_TIME), *others)
    _run_pytest(session, "-n", "auto")


@nox.session(python=PYTHONS)
def without_xdist(session: nox.Session) -> None:
    """Run the tests where pytest-xdist is not installed."""
    session.install("-e", ".", *_without(TEST, "pytest-xdist"))
    _run_pytest(session)


@nox.session(python="3.11")
def lint(session: nox.Session) -> None:
    """Check format, rules and import layers."""
    session.install("-e", ".[dev]")
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("lint-imports")


@nox.session(python=["3.10", "3.13"])
def types(session: nox.Session) -> None:
    """Check types, as the oldest and the newest Python see them."""
    session.install("-e", ".[dev]")
    session.run("mypy", "--python-version", str(session.python))
