"""Datasets: the memory of a pull, and what cases cost to collect.

The pull is that of `pytest-braintrust dataset pull` from the server on loopback that
the tests use, which stays in this process: what is measured is the command. The
collecting is that of pytest with nothing else to do, beside a plain `parametrize` of
as many cases with ids of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import measure
from on_remote import KEY, PAUSE, loopback_server, peak_of

#: Of those that small plans count by the minute.
PAGE = 5_000

DATASET = """\
import pytest

@pytest.mark.braintrust(dataset={name!r})
def test_one(bt_row):
    pass
"""

PLAIN = """\
import pytest

CASES = range({tests})
IDS = [f"{{number:016x}}" for number in CASES]

@pytest.mark.parametrize("number", CASES, ids=IDS)
def test_one(number):
    pass
"""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one pull took."""

    rows: int
    #: The most memory that the command had, in MiB.
    peak: float
    pages: int
    file: int


def main() -> None:
    """Measure and print."""
    command_line = measure.parser(__doc__, tests=20_000, repeats=5)
    command_line.add_argument(
        "--rows", type=int, default=100_000, help="(default %(default)s)"
    )
    command_line.add_argument(
        "--size", type=int, default=1_000, help="Bytes of a row (default %(default)s)"
    )
    options = command_line.parse_args()
    _show_pulls([_pull(options.rows // 10, options.size)])
    _show_pulls([_pull(options.rows, options.size)])
    _collect(options.tests, options.size, options.repeats)


def _rows(count: int, size: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        row: dict[str, object] = {
            "id": f"row-{number:08}",
            "input": {"question": f"question {number}"},
            "expected": number,
        }
        yield {**row, "metadata": {"pad": "x" * (size - len(json.dumps(row)) - 25)}}


def _pull(count: int, size: int) -> Pulled:
    """Pull so many rows by the command, and look at what it took."""
    with loopback_server() as fake, tempfile.TemporaryDirectory() as name:
        fake.knobs.page_limit = PAGE
        environment = {"BRAINTRUST_API_KEY": KEY, "BRAINTRUST_API_URL": fake.url}
        _fill(Path(name), count, size, environment)
        before = len(fake.requests)
        command = ("pull", "big/rows", "-o", "rows.jsonl", "--page-size", str(PAGE))
        peak = _command(Path(name), environment, *command)
        pages = [each for each in fake.requests[before:] if each.path == "/btql"]
        file = Path(name) / "rows.jsonl"
        with file.open("rb") as lines:
            rows = sum(1 for _ in lines)
        if rows != count:
            msg = f"{count - rows:,} rows are missing"
            raise SystemExit(msg)
        return Pulled(rows, peak, len(pages), file.stat().st_size)


def _fill(
    directory: Path, count: int, size: int, environment: Mapping[str, str]
) -> None:
    file = directory / "all.jsonl"
    with file.open("w", encoding="ascii") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in _rows(count, size))
    _command(directory, environment, "push", file.name, "big/rows")
    file.unlink()


def _command(directory: Path, environment: Mapping[str, str], *arguments: str) -> float:
    """Run a command on datasets; answers the most memory that it had, in MiB."""
    process = subprocess.Popen(
        (sys.executable, "-m", "pytest_braintrust", "dataset", *arguments),
        cwd=directory,
        env=measure.environment(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    # Not what `wait4` says: that has the memory of this process in it, at the fork.
    highest = 0.0
    while process.poll() is None:
        highest = max(highest, peak_of(process.pid))
        time.sleep(PAUSE)
    if process.returncode != 0:
        msg = f"dataset {arguments[0]} ended with {process.returncode}"
        raise SystemExit(msg)
    return highest


def _show_pulls(pulls: list[Pulled]) -> None:
    for each in pulls:
        print(
            f"{each.rows:9,} rows, {each.file / 1e6:6.1f} MB in {each.pages} pages: "
            f"peak {each.peak:.1f} MiB",
            flush=True,
        )


def _collect(tests: int, size: int, repeats: int) -> None:
    """Compare what collecting costs: from the cache, from a file, and plain."""
    with loopback_server() as fake, tempfile.TemporaryDirectory() as name:
        fake.knobs.page_limit = PAGE
        environment = {"BRAINTRUST_API_KEY": KEY, "BRAINTRUST_API_URL": fake.url}
        directory = Path(name)
        _fill(directory, tests, size, environment)
        variants = [
            _variant(directory / "cached", DATASET.format(name="big/rows")),
            _variant(directory / "file", DATASET.format(name="cases.jsonl")),
            _variant(directory / "plain", PLAIN.format(tests=tests)),
        ]
        rows = ("pull", "big/rows", "-o", "file/cases.jsonl")
        _command(directory, environment, *rows, "--store", "cached/.braintrust")
        print(f"\n{tests:,} cases collected, {repeats} times each:")
        measure.show(measure.compare(variants, repeats=repeats))


def _variant(directory: Path, text: str) -> measure.Variant:
    directory.mkdir()
    (directory / "pytest.ini").write_text("[pytest]\n", encoding="ascii")
    (directory / "test_many.py").write_text(text, encoding="utf-8")
    run = (*measure.PYTEST, *measure.WITH_PLUGIN, "--collect-only", "-q")
    return measure.Variant(f"rows: {directory.name}", run, directory)


if __name__ == "__main__":
    main()
