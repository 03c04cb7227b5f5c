"""Kill processes over and over, at random moments, and count the rows afterwards.

One store and one Braintrust a loop, so that each death meets with what those before it
left behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from fake_braintrust.faults import Fault, answer
from fake_braintrust.wire import Request
from tries import Count, Try, a_try, counted, ended, of_kind, wait_for_uploaders

#: Between the deaths of two workers; one needs some 0.6 to start.
_WORKER_SECONDS = 0.8
#: Seconds that a forked `push` of some rows takes, more or less.
_PUSH_SECONDS = 0.06
#: How many of those deaths are of a run's own uploader: it is not replaced at once.
_SHARE_OF_UPLOADERS = 0.05


def of_pytest(kills: int, seed: int, *arguments: str) -> Count:
    """Kill run after run: while it starts, tests, or ends."""
    done = 0
    with a_try(seed, *arguments) as attempt:
        began = time.monotonic()
        ended(attempt.start())
        seconds = time.monotonic() - began
        while done < kills and attempt.runs < 3 * kills:
            process = attempt.start()
            time.sleep(attempt.random.uniform(0, seconds))
            process.kill()
            done += process.wait() == -signal.SIGKILL
        wait_for_uploaders(attempt)
        return counted(attempt, done)


def of_workers(kills: int, seed: int) -> Count:
    """Kill one worker of two after the other; pytest-xdist replaces each."""
    done = 0
    more = ("-n2", f"--max-worker-restart={kills}")
    with a_try(seed, *more, tests=min(2_000, 40 * kills)) as attempt:
        while done < kills and attempt.runs < kills:
            process = attempt.start()
            while done < kills and process.poll() is None:
                time.sleep(attempt.random.uniform(0, _WORKER_SECONDS))
                done += _killed(attempt, of_kind(process.pid, "worker"))
            ended(process, 300)
        wait_for_uploaders(attempt)
        return counted(attempt, done)


def _killed(attempt: Try, pids: list[int]) -> bool:
    with suppress(IndexError, ProcessLookupError):
        os.kill(attempt.random.choice(pids), signal.SIGKILL)
        return True
    return False


def of_uploaders(kills: int, seed: int) -> Count:
    """Kill what sends, beside runs that go on: their uploaders, and pushes."""
    done = 0
    with a_try(seed, tests=300) as attempt, ExitStack() as stack:
        attempt.server.faults.add(_few_at_once())
        pushes = [stack.enter_context(_Pushes(attempt)) for _ in range(2)]
        while done < kills and attempt.runs < kills:
            process = attempt.start()
            while done < kills and process.poll() is None:
                done += _kill_senders(attempt, process.pid, pushes)
            ended(process)
        wait_for_uploaders(attempt)
        return counted(attempt, done)


def _kill_senders(attempt: Try, pid: int, pushes: list[_Pushes]) -> int:
    """Kill two pushes that were started at once, and now and then an uploader."""
    done = 0
    for each in pushes:
        each.start()
    for each in pushes:
        time.sleep(attempt.random.uniform(0, _PUSH_SECONDS))
        done += each.kill()
    if attempt.random.random() < _SHARE_OF_UPLOADERS:
        done += _killed(attempt, of_kind(pid, "uploader"))
    return done


def _few_at_once() -> Fault:
    """A server that takes few rows in one request, so that many are needed."""

    def several(request: Request) -> bool:
        return len(request.json["events"]) > 3

    return Fault(answer(413), path="/insert$", times=None, when=several)


class _Pushes:
    """One `pytest-braintrust push` after the other, forked: no import is waited for."""

    def __init__(self, attempt: Try) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forked_pushes.py")],
            cwd=attempt.folder,
            env=attempt.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._pid = 0

    def __enter__(self) -> _Pushes:
        return self

    def __exit__(self, *error: object) -> None:
        self._parent.communicate(timeout=60)

    def start(self) -> None:
        """Start one."""
        self._pid = int(self._asked("push"))

    def kill(self) -> bool:
        """Kill it; whether that is what it died of."""
        os.kill(self._pid, signal.SIGKILL)
        return self._asked("wait") == str(-signal.SIGKILL)

    def _asked(self, text: str) -> str:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{text}\n")
        self._parent.stdin.flush()
        return self._parent.stdout.readline().strip()


@dataclass(frozen=True)
class Loop:
    """What is killed, and how."""

    name: str
    run: Callable[[int, int], Count]
    #: Whether it starts workers of pytest-xdist.
    workers: bool = False


LOOPS = [
    Loop("pytest", of_pytest),
    Loop(
        "pytest, -n 2", lambda kills, seed: of_pytest(kills, seed, "-n2"), workers=True
    ),
    Loop("a worker of two", of_workers, workers=True),
    Loop("the uploader, and pushes beside it", of_uploaders),
]
