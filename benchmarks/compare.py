"""Comparison: what `pytest-braintrust diff` of two large runs takes.

Two runs of as many rows, each with an output of 2 kB, in one store; the seconds and
peak memory of the command, and of `pytest-benchmark compare` on two files of as many
results, where that is installed (it compares timings, and holds what it reads).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from uuid import uuid4

import measure

from pytest_braintrust import events
from pytest_braintrust.events import Attempt, Case, Ids, Place, Row
from pytest_braintrust.facts import NewExperiment
from pytest_braintrust.fields import Fields
from pytest_braintrust.store import changes
from pytest_braintrust.store.connection import Store, open_store

#: Rows in one transaction while the store is filled.
_BATCH = 1_000

PLACE = Place.of(file="test_many.py", function="test_answer", line=1)
_STATS = ("min", "max", "mean", "stddev", "median", "iqr", "q1", "q3", "ops", "total")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took."""

    seconds: float
    megabytes: float


def main() -> None:
    """Measure and print."""
    options = measure.parser(__doc__, tests=100_000, repeats=3).parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        commands = {"pytest-braintrust diff": _ours(directory, options.tests)}
        if find_spec("pytest_benchmark") is not None:
            commands["pytest-benchmark compare"] = _theirs(directory, options.tests)
        print(f"two runs of {options.tests:,} rows, {options.repeats} times each:")
        for what, command in commands.items():
            costs = [_cost(command, directory) for _ in range(options.repeats)]
            best = min(costs, key=lambda each: each.seconds)
            peak = max(each.megabytes for each in costs)
            print(f"{what:26} {best.seconds:7.2f} s CPU  {peak:8.0f} MB at most")


def _ours(directory: Path, tests: int) -> Sequence[str]:
    store = open_store(directory / ".braintrust")
    for number, run in enumerate(("then", "now")):
        _record(store, run, tests, random.Random(number))
        measure.note(f"{run}: {tests:,} rows stored")
    store.close()
    size = (directory / ".braintrust" / "store.sqlite3").stat().st_size
    measure.note(f"the store has {size / 1e6:,.0f} MB")
    return (sys.executable, "-m", "pytest_braintrust", "diff", "then", "now")


def _record(store: Store, name: str, tests: int, chance: random.Random) -> None:
    new = NewExperiment(
        id=str(uuid4()),
        run_id=str(uuid4()),
        project="benchmark",
        name=name,
        created_at=1.0,
        repo_info=None,
        metadata={},
        api_url=None,
    )
    rows = (_row(place, chance) for place in range(tests))
    puts = (changes.put(new.id, "", row, final=True) for row in rows)
    while some := list(islice(puts, _BATCH)):
        with store.transaction() as connection:
            changes.apply(connection, [changes.Add(new), *some])


def _row(place: int, chance: random.Random) -> Row:
    name = f"test_answer[{place}]"
    case = Case(f"test_many.py::{name}", name, PLACE, Fields())
    said = Fields(output=f"{chance.random():.17f}" * 100)
    said.input = {"number": place}
    said.scores.update(exact=float(chance.random() < 0.7), tone=chance.random())
    attempt = Attempt("passed", 1.0, 1.0 + chance.random(), {"call": 0.5})
    return events.record(case, Ids(), said, attempt)


def _theirs(directory: Path, tests: int) -> Sequence[str]:
    files = [directory / f"000{number}_run.json" for number in (1, 2)]
    for path in files:
        with path.open("w", encoding="utf-8") as file:
            for part in _results(tests):
                file.write(part)
    main = "from pytest_benchmark.cli import main; main()"
    return (sys.executable, "-c", main, "compare", *map(str, files))


def _results(tests: int) -> Iterator[str]:
    """A file of pytest-benchmark's, in parts."""
    head = {
        "machine_info": {"node": "n", "cpu": {}, "machine": "m"},
        "commit_info": {"id": "c", "branch": "main"},
        "datetime": "2026-01-01T00:00:00+00:00",
        "version": "5.0.0",
    }
    yield json.dumps(head)[:-1] + ', "benchmarks": ['
    chance = random.Random(1)
    for place in range(tests):
        stats = {each: chance.random() for each in _STATS}
        more = {"rounds": 5, "iterations": 1, "outliers": "1;0", "iqr_outliers": 0}
        own = {"stddev_outliers": 1, "ld15iqr": 0.1, "hd15iqr": 0.9}
        benchmark = {
            "group": None,
            "name": f"test_answer[{place}]",
            "fullname": f"test_many.py::test_answer[{place}]",
            "params": {"number": place},
            "param": str(place),
            "extra_info": {},
            "options": {"disable_gc": False, "warmup": False},
            "stats": {**stats, **more, **own},
        }
        yield ("," if place else "") + json.dumps(benchmark)
    yield "]}"


def _cost(command: Sequence[str], directory: Path) -> Cost:
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=measure.environment(PYTHONPATH=str(Path(__file__).parents[1])),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{command} ended with {process.returncode}"
        raise SystemExit(msg)
    # Kilobytes on Linux, bytes on macOS.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


if __name__ == "__main__":
    main()
