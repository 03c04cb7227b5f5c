"""The versions that are promised are those of the matrix, and CI runs all of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


def constants(path: Path) -> dict[str, Any]:
    """What a module says in capitals and literally, which needs no import of nox."""
    found: dict[str, Any] = {}
    for each in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.List):
            (target,) = each.targets
            assert isinstance(target, ast.Name)
            found[target.id] = ast.literal_eval(each.value)
    return found


def job(name: str) -> dict[str, Any]:
    """The matrix of a job of CI."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["jobs"][name]["strategy"]["matrix"]
    return found


def test_ci_runs_each_session_on_each_python() -> None:
    """A version that is added to the matrix is not forgotten there."""
    said = constants(ROOT / "noxfile.py")
    tests = [f"tests-{{0}}(pytest='{each}')" for each in said["PYTESTS"]]
    assert job("versions")["session"] == [*tests, "lowest-{0}", "without_xdist-{0}"]
    assert job("versions")["python"] == job("all")["python"] == said["PYTHONS"]


def test_the_classifiers_name_the_pythons_that_are_tested() -> None:
    """No more of them, and no fewer; the floors are the lowest of the matrix."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    said = constants(ROOT / "noxfile.py")
    assert re.findall(r'"[^"]+ :: Python :: (3\.\d+)"', text) == said["PYTHONS"]
    assert f'requires-python = ">={said["PYTHONS"][0]}"' in text
    assert f'"pytest>={said["PYTESTS"][0]}"' in text
