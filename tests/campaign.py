"""Do damage to real runs, and count the rows that were lost or doubled.

    python tests/campaign.py --times 20 --kills 200 --write docs/reliability.md

Each try is a suite of its own, a Braintrust of its own on loopback, a real run of
pytest, one fault, and afterwards `pytest-braintrust push` until nothing is pending.
Then processes are killed over and over: `kill_loops.py`. CI does less of both:
`test_campaign.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
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
from kill_loops import LOOPS
from tries import (
    TESTS,
    Count,
    Try,
    a_try,
    counted,
    ended,
    of_kind,
    wait_for_some,
    wait_for_uploaders,
)

#: Does the damage to a run that was started, and comes back when it ended.
Damage = Callable[[Try, "subprocess.Popen[bytes]"], None]


@dataclass(frozen=True)
class Case:
    """A fault, and how a run is done with it."""

    name: str
    prepare: Callable[[Try], object] = lambda attempt: None
    run: Damage = lambda attempt, process: ended(process)
    arguments: tuple[str, ...] = ()


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
        wait_for_some(attempt)
        time.sleep(attempt.random.uniform(0, 0.4))
        for _ in range(2 if again else 1):
            targets = [process.pid]
            if which != "pytest":
                targets = of_kind(process.pid, which)
            with suppress(ProcessLookupError):
                for each in targets[:1]:
                    os.kill(each, number)
            time.sleep(0.05)
        ended(process)
        wait_for_uploaders(attempt)

    return run


def _two_pushes(attempt: Try, process: subprocess.Popen[bytes]) -> None:
    wait_for_some(attempt)
    command = [sys.executable, "-m", "pytest_braintrust", "push"]
    others = [
        subprocess.Popen(
            command,
            cwd=attempt.folder,
            env=attempt.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    ended(process)
    for each in others:
        each.wait()


def _nobody_listens(attempt: Try) -> None:
    attempt.url = "http://127.0.0.1:9"


def _comes_back(attempt: Try, process: subprocess.Popen[bytes]) -> None:
    ended(process)
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


def tried(case: Case, seed: int) -> Count:
    """Do one try of a case, and count."""
    with a_try(seed, *case.arguments) as attempt:
        case.prepare(attempt)
        case.run(attempt, attempt.start())
        return counted(attempt)


def campaign(times: int, jobs: int) -> Iterator[tuple[str, Count]]:
    """Do every case so many times, some tries at once."""
    with ThreadPoolExecutor(jobs) as pool:
        for case in CASES:
            yield case.name, _sum(pool.map(partial(tried, case), range(times)))


def killings(kills: int, jobs: int) -> Iterator[tuple[str, Count]]:
    """Go through every loop with so many kills, some loops at once."""
    with ThreadPoolExecutor(jobs) as pool:
        counts = pool.map(lambda loop: loop.run(kills, kills), LOOPS)
        yield from zip((loop.name for loop in LOOPS), counts, strict=True)


def _sum(counts: Iterable[Count]) -> Count:
    total = Count()
    for each in counts:
        total.add(each)
    return total


#: What the figures do not say.
LIMITS = """
## What is not promised

- A test that was running when its process was killed has a row of what is known of it.
  Where a worker of pytest-xdist dies, that is all that the test had logged; where
  pytest itself is killed, the row of the running test is not there at all: pytest has
  not reported it.
- What is promised against the death of processes is not promised against that of the
  machine: rows are handed to the operating system with each report, and not forced
  onto the disk. What a power cut may cost is the last rows of a run.
- The last words of a test that says very much: telling them may take a tenth of its
  time, so of thousands the last moments may be missing where its worker dies. On a
  machine that does not share the run's disk, that is also so for what other threads
  than the test's own said after its last word.
- Where rows can be kept nowhere, neither in the store's folder nor among temporary
  files, the run does not start: it ends with status 4 and says why, before a test has
  cost anything.
- Runs are in the order of the machine's clock: where that is set back, `latest` is the
  run with the latest time, and not the one that was made last.
"""

HEAD = """\
# Reliability

*A row that pytest reported is never lost and never doubled, whatever dies in between.*

Measured by `{command}`: real runs of pytest against a stand-in for Braintrust on loopback, and
`pytest-braintrust push` in the end. A row is *lost* if pytest reported its test, or the
store has it, and the server does not in the end; *doubled* if the store or the server
has more than one of a test. CI does each fault once, and some of the kills.

## Each fault in runs of its own

Each run has {tests} tests, a store of its own and one fault. Where a process is killed,
that is at a random moment of the run.

{columns}
"""
KILLED = """
## Killed over and over

`kill -9` at random moments, in one store a line: each process finds what the ones
before it left, and is killed in its turn while it starts, works or ends. Of workers and
uploaders that is within runs that go on.

{columns}
"""
_COLUMNS = """\
| {title} | runs | tests reported | rows recorded | lost | doubled | experiments |
| --- | {more}---: | ---: | ---: | ---: | ---: | ---: |"""


def main() -> int:
    """Do the campaign; 0 when no row was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="runs for each fault")
    parser.add_argument("--kills", type=int, default=20, help="kills in each loop")
    parser.add_argument("--jobs", type=int, default=2, help="tries at once")
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    command = f"python tests/campaign.py --times {given.times} --kills {given.kills}"
    columns = _COLUMNS.format(title="fault", more="")
    text = HEAD.format(command=command, tests=TESTS, columns=columns)
    lines, total = _table(campaign(given.times, given.jobs), kills=False)
    columns = _COLUMNS.format(title="killed | times", more="---: | ")
    text += lines + KILLED.format(columns=columns)
    lines, killed = _table(killings(given.kills, given.jobs), kills=True)
    text += lines + LIMITS
    total.add(killed)
    if given.write:
        given.write.write_text(text, encoding="utf-8")
    if given.json:
        sys.stdout.write(json.dumps(total.__dict__) + "\n")
    return 1 if total.notes else 0


def _table(counts: Iterable[tuple[str, Count]], *, kills: bool) -> tuple[str, Count]:
    """The lines of a table, printed as they come, and what all of it came to."""
    lines, total = [], Count()
    for name, count in counts:
        lines.append(_row(name, count, kills=kills))
        sys.stdout.write(lines[-1])
        sys.stdout.writelines(f"  {note}\n" for note in count.notes)
        sys.stdout.flush()
        total.add(count)
    return "".join([*lines, _row("**all**", total, kills=kills)]), total


def _row(name: str, count: Count, *, kills: bool) -> str:
    times = f" {count.faults:,} |" if kills else ""
    return (
        f"| {name} |{times} {count.runs:,} | {count.reported:,} | {count.recorded:,} "
        f"| {count.lost} | {count.doubled} | {count.experiments:,} |\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
