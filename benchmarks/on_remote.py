"""On, with a server: requests, rows and bytes in each, and the memory of both processes.

Against the server on loopback that the tests use, which stays in this process: what is
measured is pytest and the uploader. Memory is looked up in `/proc`, so this one runs
on Linux only. pytest keeps every test for the whole run, with or without us: growth is
told beside that of the same tests without the plugin.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import measure
from on_local import NO_PLUGIN

if TYPE_CHECKING:
    from fake_braintrust import FakeBraintrust, Request

KEY = "test-key"
UPLOADER = "pytest_braintrust.service"
PAUSE = 0.01

TESTS = """\
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_one(bt_score, number):
    bt_score(output="x" * {size}, scores={{"exact": 1}})
"""


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory that each process had, in MiB."""

    pytest: float
    uploader: float


def main() -> None:
    """Measure and print."""
    command_line = measure.parser(__doc__, tests=2_000, repeats=1)
    command_line.add_argument(
        "--times", type=int, default=10, help="How many times more rows to compare with"
    )
    command_line.add_argument(
        "--size", type=int, default=1_000, help="Characters of output in each row"
    )
    options = command_line.parse_args()
    counts = (options.tests, options.tests * options.times)
    for _ in range(options.repeats):
        peaks = {tests: _recorded(tests, options.size) for tests in counts}
        bare = {tests: _bare(tests, options.size) for tests in counts}
        _show_memory(peaks, bare)


def _recorded(tests: int, size: int) -> Peak:
    """Record so many rows, show what the server saw, answer the memory it took."""
    with loopback_server() as server, tempfile.TemporaryDirectory() as name:
        connection = {"BRAINTRUST_API_KEY": KEY, "BRAINTRUST_API_URL": server.url}
        plugin = (*measure.WITH_PLUGIN, "--braintrust-flush-timeout", "600")
        _write(Path(name), tests, size)
        peak = _run(Path(name), (*plugin, "--braintrust"), connection)
        (experiment,) = server.experiments
        arrived = len(server.rows(experiment["id"]))
        print(f"\n{tests:,} tests, {size:,} characters of output in each row")
        print(f"  rows on the server  {arrived:,}")
        _show_requests(server.requests)
        if arrived != tests:
            msg = f"{tests - arrived:,} rows did not arrive"
            raise SystemExit(msg)
    return peak


def _bare(tests: int, size: int) -> Peak:
    with tempfile.TemporaryDirectory() as name:
        _write(Path(name), tests, size)
        (Path(name) / "conftest.py").write_text(NO_PLUGIN, encoding="utf-8")
        return _run(Path(name), measure.WITHOUT_PLUGIN, {})


def _write(directory: Path, tests: int, size: int) -> None:
    text = TESTS.format(tests=tests, size=size)
    (directory / "test_many.py").write_text(text, encoding="utf-8")


@contextmanager
def loopback_server() -> Iterator[FakeBraintrust]:
    tests = str(Path(__file__).resolve().parent.parent / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    from fake_braintrust import FakeBraintrust  # noqa: PLC0415 - the path is new

    with FakeBraintrust(api_key=KEY) as server:
        yield server


def _run(
    directory: Path, arguments: Sequence[str], connection: Mapping[str, str]
) -> Peak:
    """Run pytest, looking at the memory of it and of the uploader all the time."""
    highest = {"pytest": 0.0, "uploader": 0.0}
    uploader: int | None = None
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            (*measure.PYTEST, "-q", *arguments),
            cwd=directory,
            env=measure.environment(**connection),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            uploader = uploader or _child(process.pid)
            for name, pid in (("pytest", process.pid), ("uploader", uploader)):
                highest[name] = max(highest[name], peak_of(pid))
            time.sleep(PAUSE)
        if process.returncode != 0:
            output.seek(0)
            printed = output.read().decode("utf-8", "replace")[-3_000:]
            msg = f"pytest ended with {process.returncode}:\n{printed}"
            raise SystemExit(msg)
    return Peak(**highest)


def _child(parent: int) -> int | None:
    """The uploader that this process started, if it did yet."""
    try:
        found = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii")
        for pid in map(int, found.split()):
            if UPLOADER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    except OSError:
        return None
    return None


def peak_of(pid: int | None) -> float:
    """The most memory that a process had so far, in MiB; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return 0.0
    _, found, rest = status.partition("VmHWM:")
    return int(rest.split()[0]) / 1024 if found else 0.0


def _show_requests(requests: Sequence[Request]) -> None:
    inserts = [each for each in requests if each.path.endswith("/insert")]
    rows = [len(each.json["events"]) for each in inserts]
    sizes = [len(each.body) for each in inserts]
    print(f"  requests            {len(requests)}, of them {len(inserts)} with rows")
    for name, numbers in (("rows", rows), ("bytes", sizes)):
        print(
            f"  {name + ' in each':19} {min(numbers):,} … {max(numbers):,}, "
            f"median {median(numbers):,.0f}"
        )


def _show_memory(peaks: Mapping[int, Peak], bare: Mapping[int, Peak]) -> None:
    few, many = peaks
    print(f"\n{'peak memory, MiB':24}{few:>10,}{many:>10,} tests    a test more")
    lines = {
        "pytest, --braintrust": [peaks[count].pytest for count in (few, many)],
        "pytest, no plugin": [bare[count].pytest for count in (few, many)],
        "uploader": [peaks[count].uploader for count in (few, many)],
    }
    for name, (less, more) in lines.items():
        each = (more - less) * 1024 / (many - few)
        print(f"{name:24}{less:10.1f}{more:10.1f}       {each:9.2f} KiB")


if __name__ == "__main__":
    if not Path("/proc/self").is_dir():
        raise SystemExit(__doc__)
    main()
