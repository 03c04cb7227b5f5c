"""Do damage to real runs, and count the rows that were lost or doubled.

    python tests/campaign.py --times 20 --write docs/reliability.md

Each try is a suite of its own, a Braintrust of its own on loopback, a real run of
pytest, one fault, and afterwards `pytest-braintrust push` until nothing is pending. A
row is lost if pytest reported its test and the server does not have it, and doubled
if the server has two of one test. CI does each once: `test_campaign.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fake_braintrust import FakeBraintrust
from fake_braintrust.faults import (
    Action,
    Fault,
    answer,
    busy,
    hang,
    html,
    reset,
    revoked,
    truncated,
)
from fake_braintrust.wire import Request

from pytest_braintrust.store import spool
from pytest_braintrust.store.connection import FILE_NAME, open_store

TESTS = 40

SUITE = f"""\
import os, time
import pytest

@pytest.mark.parametrize("number", range({TESTS}))
def test_case(bt_score, number):
    bt_score(output="answer " * 20, scores={{"exact": number % 2}})
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
    """One run with one fault."""

    folder: Path
    server: FakeBraintrust
    random: random.Random
    arguments: tuple[str, ...] = ()
    damage: str = ""
    url: str = ""

    def start(self) -> subprocess.Popen[bytes]:
        """Start pytest, in a process group of its own."""
        workers = ["-p", "xdist", *self.arguments] if self.arguments else []
        return subprocess.Popen(
            [
                sys.executable,
                *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *("-p", "pytest_braintrust.plugin", *workers),
                *("--braintrust", "--braintrust-flush-timeout=3"),
            ],
            cwd=self.folder,
            env=self._environment(),
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
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BRAINTRUST_", "PYTEST_", "GITHUB_", "CI"))
        }
        kept["PYTHONPATH"] = str(Path(__file__).parents[1])
        kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        kept["BRAINTRUST_API_KEY"] = self.server.api_key
        kept["BRAINTRUST_API_URL"] = self.url or self.server.url
        return {**kept, "DAMAGE": self.damage} if self.damage else kept

    def children(self, pid: int) -> list[int]:
        """The processes that a process started, and theirs."""
        told = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, check=True
        )
        lines = (line.split() for line in told.stdout.splitlines())
        parents = {int(child): int(parent) for child, parent in lines}
        found = [each for each, parent in parents.items() if parent == pid]
        return found + [more for each in found for more in self.children(each)]

    def reported(self) -> set[str]:
        """The tests that pytest has reported."""
        path = self.folder / "reported.log"
        return set(path.read_text("utf-8").split()) if path.exists() else set()

    def stored(self) -> list[str]:
        """The tests of the rows in the store."""
        directory = self.folder / ".braintrust"
        if not (directory / FILE_NAME).exists():
            return []
        with closing(open_store(directory, create=False)) as store:
            # As every command does: a run that was killed could not.
            spool.take_in_all(store)
            return [row[0] for row in store.query("SELECT nodeid FROM rows")]

    def arrived(self) -> list[str]:
        """The tests of the rows on the server."""
        return [
            str(row["metadata"]["pytest"]["nodeid"])
            for experiment in self.server.experiments
            for row in self.server.rows(experiment["id"])
        ]


#: Does the damage to a run that was started, and comes back when it ended.
Damage = Callable[[Try, "subprocess.Popen[bytes]"], None]


@dataclass(frozen=True)
class Case:
    """A fault, and how a run is done with it."""

    name: str
    prepare: Callable[[Try], object] = lambda attempt: None
    run: Damage = lambda attempt, process: _ended(process)
    arguments: tuple[str, ...] = ()


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(90)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _server(
    action: Action,
    *,
    path: str = "/insert$",
    times: int | None = 2,
    when: Callable[[Request], bool] = lambda request: True,
) -> Callable[[Try], object]:
    def prepare(attempt: Try) -> object:
        fault = Fault(action, path=path, times=times, when=when)
        return attempt.server.faults.add(fault)

    return prepare


def _several_rows(request: Request) -> bool:
    return len(request.json["events"]) > 1


def _code(text: str) -> Callable[[Try], object]:
    def prepare(attempt: Try) -> None:
        attempt.damage = text

    return prepare


def _kill(which: str, number: int, *, again: bool = False) -> Damage:
    """Send a signal at a random moment to one of the processes of a run."""

    def run(attempt: Try, process: subprocess.Popen[bytes]) -> None:
        _wait_for_some(attempt)
        time.sleep(attempt.random.uniform(0, 0.4))
        for _ in range(2 if again else 1):
            targets = [process.pid]
            if which != "pytest":
                targets = _of_kind(attempt.children(process.pid), which)
            with suppress(ProcessLookupError):
                for each in targets[:1]:
                    os.kill(each, number)
            time.sleep(0.05)
        _ended(process)
        _wait_for_uploader(attempt)

    return run


def _of_kind(pids: list[int], which: str) -> list[int]:
    word = {"uploader": b"pytest_braintrust.service", "worker": b"exec(eval"}[which]
    found = []
    for pid in pids:
        told = subprocess.run(
            ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, check=False
        )
        if word in told.stdout:
            found.append(pid)
    return found


def _wait_for_some(attempt: Try) -> None:
    until = time.monotonic() + 30
    while not attempt.reported() and time.monotonic() < until:
        time.sleep(0.01)


def _wait_for_uploader(attempt: Try) -> None:
    """Wait until nobody changes the server any more: an uploader outlives pytest."""
    last, still = -1, 0
    while still < 5:
        now = len(attempt.server.requests)
        still = still + 1 if now == last else 0
        last = now
        time.sleep(0.3)


def _two_pushes(attempt: Try, process: subprocess.Popen[bytes]) -> None:
    _wait_for_some(attempt)
    command = [sys.executable, "-m", "pytest_braintrust", "push"]
    others = [
        subprocess.Popen(
            command,
            cwd=attempt.folder,
            env=attempt._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    _ended(process)
    for each in others:
        each.wait()


def _nobody_listens(attempt: Try) -> None:
    attempt.url = "http://127.0.0.1:9"


def _comes_back(attempt: Try, process: subprocess.Popen[bytes]) -> None:
    _ended(process)
    attempt.url = ""


WORKERS = ("-n2",)
SEGFAULT = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
EXIT = "import pytest; pytest.exit('enough')"

CASES = [
    Case("no fault"),
    Case("no fault, -n 2", arguments=WORKERS),
    Case("429 without Retry-After", _server(busy(429))),
    Case("429 with Retry-After", _server(busy(429, 1))),
    Case("503", _server(busy(503))),
    Case("500 for the whole run", _server(answer(500), times=None)),
    Case("reset before the call is applied", _server(reset(apply=False))),
    Case("reset after the call was applied", _server(reset(apply=True))),
    Case(
        "reset after the experiment was created",
        _server(reset(apply=True), path="/experiment$", times=1),
    ),
    Case("no answer, the call applied", _server(hang(60, apply=True), times=1)),
    Case("answer cut off", _server(truncated())),
    Case("an HTML page with status 200", _server(html(200))),
    Case("an HTML page with status 502", _server(html(502))),
    Case(
        "413 for every request with more than a row",
        _server(answer(413), times=None, when=_several_rows),
    ),
    Case("key revoked in mid-run", _server(revoked(), times=None)),
    Case("nobody listens", _nobody_listens, _comes_back),
    Case("kill -9 of pytest", run=_kill("pytest", signal.SIGKILL)),
    Case(
        "kill -9 of pytest, -n 2",
        run=_kill("pytest", signal.SIGKILL),
        arguments=WORKERS,
    ),
    Case("kill -9 of a worker", run=_kill("worker", signal.SIGKILL), arguments=WORKERS),
    Case("kill -9 of the uploader", run=_kill("uploader", signal.SIGKILL)),
    Case("SIGTERM", run=_kill("pytest", signal.SIGTERM)),
    Case("Ctrl-C", run=_kill("pytest", signal.SIGINT)),
    Case("Ctrl-C twice", run=_kill("pytest", signal.SIGINT, again=True)),
    Case("Ctrl-C, -n 2", run=_kill("pytest", signal.SIGINT), arguments=WORKERS),
    Case("pytest.exit", _code(EXIT)),
    Case("a test that segfaults", _code(SEGFAULT)),
    Case("a test that segfaults, -n 2", _code(SEGFAULT), arguments=WORKERS),
    Case("os._exit in a test, -n 2", _code("os._exit(3)"), arguments=WORKERS),
    Case("every descriptor closed by a test", _code("os.closerange(3, 200)")),
    Case("two pushes beside the run", run=_two_pushes),
]


@dataclass
class Count:
    """What came of the tries of one case."""

    tries: int = 0
    reported: int = 0
    recorded: int = 0
    lost: int = 0
    doubled: int = 0
    experiments: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, other: Count) -> None:
        """Add what other tries came to."""
        self.tries += other.tries
        self.reported += other.reported
        self.recorded += other.recorded
        self.lost += other.lost
        self.doubled += other.doubled
        self.experiments += other.experiments
        self.notes += other.notes


def tried(case: Case, seed: int, count: Count) -> None:
    """Do one try of a case, and add to its count."""
    with tempfile.TemporaryDirectory() as name, FakeBraintrust() as server:
        folder = Path(name)
        (folder / "test_suite.py").write_text(SUITE, encoding="utf-8")
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        attempt = Try(folder, server, random.Random(seed), case.arguments)
        case.prepare(attempt)
        case.run(attempt, attempt.start())
        server.faults.clear()
        attempt.damage = ""
        pushed = any(attempt.push() for _ in range(3))
        _counted(attempt, count, pushed=pushed)


def _counted(attempt: Try, count: Count, *, pushed: bool) -> None:
    reported, stored = attempt.reported(), attempt.stored()
    arrived = Counter(attempt.arrived())
    # One may be stored of which the report was not yet written down.
    lost = (reported | set(stored)) - arrived.keys()
    count.tries += 1
    count.reported += len(reported)
    count.recorded += len(stored)
    count.lost += len(lost)
    count.doubled += sum(each - 1 for each in arrived.values())
    count.experiments += len(attempt.server.experiments)
    if lost or not pushed:
        count.notes.append(f"lost {sorted(lost)[:3]}, pushed: {pushed}")


def campaign(times: int, jobs: int) -> Iterator[tuple[Case, Count]]:
    """Do every case so many times, some tries at once."""
    with ThreadPoolExecutor(jobs) as pool:
        for case in CASES:
            count = Count()
            for one in pool.map(partial(_counting, case), range(times)):
                count.add(one)
            yield case, count


def _counting(case: Case, seed: int) -> Count:
    count = Count()
    tried(case, seed, count)
    return count


HEAD = """\
# Reliability

*A row that pytest reported is never lost and never doubled, whatever dies in between.*

Measured by `{command}`: real runs of {tests} tests each against a Braintrust on
loopback, one fault each, then `pytest-braintrust push`. A row is *lost* if pytest
reported its test, or the store has it, and the server does not in the end; *doubled* if
the server has more than one of a test. Where a process is killed, that is at a random
moment of the run. CI does each fault once.

| fault | runs | tests reported | rows recorded | lost | doubled | experiments a run |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def main() -> int:
    """Do the campaign; 0 when no row was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="tries at once")
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    command = f"python tests/campaign.py --times {given.times}"
    text = HEAD.format(command=command, tests=TESTS)
    total = Count()
    for case, count in campaign(given.times, given.jobs):
        text += _row(case.name, count)
        sys.stdout.write(_row(case.name, count))
        sys.stdout.writelines(f"  {note}\n" for note in count.notes)
        sys.stdout.flush()
        total.add(count)
    text += _row("**all**", total)
    if given.write:
        given.write.write_text(text, encoding="utf-8")
    if given.json:
        sys.stdout.write(json.dumps(total.__dict__) + "\n")
    return 1 if total.lost or total.doubled else 0


def _row(name: str, count: Count) -> str:
    experiments = count.experiments / count.tries
    return (
        f"| {name} | {count.tries} | {count.reported:,} | {count.recorded:,} "
        f"| {count.lost} | {count.doubled} | {experiments:g} |\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
