"""Real runs that are damaged, and the rows that were lost or doubled by it.

Each run has a suite, a folder and a Braintrust of its own on loopback. A row is lost if
pytest reported its test, or the store has it, and the server has not in the end; it is
doubled if the store or the server has two of one test.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fake_braintrust import FakeBraintrust

from pytest_braintrust.cli.common import opened_store
from pytest_braintrust.store import browsing, reading
from pytest_braintrust.store.connection import FILE_NAME

TESTS = 40

#: The tests of each run in a folder have names of their own, by its number.
SUITE = """\
import os, time
import pytest

RUN = os.environ["RUN"]
COUNT = int(os.environ["COUNT"])

@pytest.mark.parametrize("number", range(COUNT), ids=lambda number: f"{RUN}-{number}")
def test_case(bt_score, number):
    bt_score(output="answer " * 20, scores={"exact": number % 2})
    time.sleep(0.01)
    damage = os.environ.get("DAMAGE")
    if damage and number == 23:
        exec(damage)
"""

#: Writes down what pytest has reported by the time that it reports the next test: as
#: a person at the terminal has seen it.
CONFTEST = """\
import os
import pytest

LOG = os.path.abspath("reported.log")

@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report):
    if report.when == "call" and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(LOG, "a") as log:
            log.write(report.nodeid + "\\n")
"""


@dataclass
class Try:
    """A folder with a suite, and the runs and faults that it sees."""

    folder: Path
    server: FakeBraintrust
    random: random.Random
    arguments: tuple[str, ...] = ()
    damage: str = ""
    url: str = ""
    tests: int = TESTS
    #: How many runs were started.
    runs: int = 0

    def start(self) -> subprocess.Popen[bytes]:
        """Start pytest, in a process group of its own."""
        workers = ["-p", "xdist", *self.arguments] if self.arguments else []
        self.runs += 1
        return subprocess.Popen(
            [
                sys.executable,
                *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *("-p", "pytest_braintrust.plugin", *workers),
                *("--braintrust", "--braintrust-flush-timeout=3"),
            ],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def push(self) -> bool:
        """Send what is pending; whether nothing is pending any more."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest_braintrust", "push"],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def environment(self) -> dict[str, str]:
        """That of its processes."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BRAINTRUST_", "PYTEST_", "GITHUB_", "CI"))
        }
        kept["PYTHONPATH"] = str(Path(__file__).parents[1])
        kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        kept["BRAINTRUST_API_KEY"] = self.server.api_key
        kept["BRAINTRUST_API_URL"] = self.url or self.server.url
        kept["RUN"], kept["COUNT"] = str(self.runs), str(self.tests)
        return {**kept, "DAMAGE": self.damage} if self.damage else kept

    def reported(self) -> set[str]:
        """The tests that pytest has reported."""
        path = self.folder / "reported.log"
        return set(path.read_text("utf-8").split()) if path.exists() else set()

    def stored(self) -> list[str]:
        """The tests of the rows in the store."""
        directory = self.folder / ".braintrust"
        if not (directory / FILE_NAME).exists():
            return []
        with opened_store(argparse.Namespace(store=directory)) as store:
            return [
                row.nodeid
                for experiment in reading.experiments(store)
                for row in browsing.rows(store, experiment.number)
            ]

    def arrived(self) -> list[str]:
        """The tests of the rows on the server."""
        return [
            str(row["metadata"]["pytest"]["nodeid"])
            for experiment in self.server.experiments
            for row in self.server.rows(experiment["id"])
        ]


@contextmanager
def a_try(seed: int, *arguments: str, tests: int = TESTS) -> Iterator[Try]:
    """A folder and a Braintrust of its own."""
    with tempfile.TemporaryDirectory() as name, FakeBraintrust() as server:
        folder = Path(name)
        (folder / "test_suite.py").write_text(SUITE, encoding="utf-8")
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        yield Try(folder, server, random.Random(seed), arguments, tests=tests)


@dataclass
class Count:
    """What came of the tries of one fault."""

    #: How often the fault was there.
    faults: int = 0
    runs: int = 0
    reported: int = 0
    recorded: int = 0
    lost: int = 0
    doubled: int = 0
    experiments: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, other: Count) -> None:
        """Add what other tries came to."""
        self.faults += other.faults
        self.runs += other.runs
        self.reported += other.reported
        self.recorded += other.recorded
        self.lost += other.lost
        self.doubled += other.doubled
        self.experiments += other.experiments
        self.notes += other.notes


def counted(attempt: Try, faults: int = 1) -> Count:
    """Send what is pending when all the damage was done, and count."""
    attempt.server.faults.clear()
    attempt.damage = ""
    pushed = any(attempt.push() for _ in range(3))
    reported, stored = attempt.reported(), Counter(attempt.stored())
    arrived = Counter(attempt.arrived())
    # One may be stored of which the report was not yet written down.
    lost = (reported | stored.keys()) - arrived.keys()
    count = Count(faults, attempt.runs, len(reported), stored.total(), len(lost))
    count.doubled = sum(each - 1 for each in (stored | arrived).values())
    count.experiments = len(attempt.server.experiments)
    if lost or count.doubled or not pushed:
        count.notes.append(f"lost {sorted(lost)[:3]}, pushed: {pushed}")
    return count


# Processes


def of_kind(pid: int, which: str) -> list[int]:
    """The uploaders or workers among the processes that a process started."""
    word = {"uploader": "pytest_braintrust.service", "worker": "exec(eval"}[which]
    told = subprocess.run(
        ["ps", "-Aww", "-o", "pid=,ppid=,args="], capture_output=True, check=True
    )
    lines = (line.split(None, 2) for line in told.stdout.decode().splitlines())
    known = [(int(each[0]), int(each[1]), each[-1]) for each in lines]
    family = {pid}
    while more := {own for own, parent, _ in known if parent in family} - family:
        family |= more
    return [own for own, _, line in known if own in family and word in line]


def ended(process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    """Wait for the end of a run."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def wait_for_some(attempt: Try) -> None:
    """Wait until pytest reported a test."""
    until = time.monotonic() + 30
    while not attempt.reported() and time.monotonic() < until:
        time.sleep(0.01)


def wait_for_uploaders(attempt: Try) -> None:
    """Wait until nobody changes the server any more: an uploader outlives pytest."""
    last, still = -1, 0
    while still < 5:
        now = len(attempt.server.requests)
        still = still + 1 if now == last else 0
        last = now
        time.sleep(0.3)
