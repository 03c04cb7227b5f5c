"""Installed and off: what a suite pays that has the plugin and does not ask for it.

The modules that a run loads beside pytest's own, and the CPU time of a whole run of
trivial tests with the plugin and without it.
"""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

import measure

TESTS = """\
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_nothing(number):
    assert number >= 0
"""

#: A plugin that writes what is loaded when the run ends.
LOADED = """\
import json, sys

def pytest_unconfigure():
    with open("loaded.json", "w", encoding="utf-8") as file:
        json.dump(sorted(sys.modules), file)
"""


def main() -> None:
    """Measure and print."""
    options = measure.parser(__doc__, tests=2_000, repeats=7).parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (entry,) = entry_points(group="pytest11", name="pytest_braintrust")
        modules = sorted(_loaded(directory, on=True) - _loaded(directory, on=False))
        print(f"entry point {entry.value}; a run loads {len(modules)} modules for it:")
        print("  " + ", ".join(modules))

        file = directory / "test_many.py"
        file.write_text(TESTS.format(tests=options.tests), encoding="utf-8")
        run = (*measure.PYTEST, "-q", file.name)
        variants = [
            measure.Variant("installed", (*run, *measure.WITH_PLUGIN), directory),
            measure.Variant("not there", (*run, *measure.WITHOUT_PLUGIN), directory),
        ]
        print(f"\n{options.tests:,} trivial tests, {options.repeats} times each:")
        measure.show(measure.compare(variants, repeats=options.repeats))


def _loaded(directory: Path, *, on: bool) -> set[str]:
    """The names of all modules at the end of a run of one test."""
    (directory / "loaded_names.py").write_text(LOADED, encoding="utf-8")
    file = directory / "test_one.py"
    file.write_text(TESTS.format(tests=1), encoding="utf-8")
    plugin = measure.WITH_PLUGIN if on else measure.WITHOUT_PLUGIN
    command = (*measure.PYTEST, *plugin, "-p", "loaded_names", file.name)
    measure.cost(
        measure.Variant(
            "modules", command, directory, environment={"PYTHONPATH": str(directory)}
        )
    )
    names: list[str] = json.loads((directory / "loaded.json").read_bytes())
    return set(names)


if __name__ == "__main__":
    main()
