"""CPU time of whole processes, in turn, so that what disturbs one disturbs all.

CPU time and not the clock: a busy machine makes a process late, hardly dearer. The
time of a process has that of the children it waited for in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

#: Other plugins of the environment stay out: they would cost the same on each side,
#: and so make every ratio look better than it is.
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
WITH_PLUGIN = ("-p", "pytest_braintrust")
WITHOUT_PLUGIN = ("-p", "no:pytest_braintrust")


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the things compared."""

    name: str
    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that one process took."""

    cpu: float
    wall: float


def parser(doc: str | None, *, tests: int, repeats: int) -> argparse.ArgumentParser:
    """The command line that the benchmarks share."""
    found = argparse.ArgumentParser(description=(doc or "").partition("\n\n")[0])
    found.add_argument("--tests", type=int, default=tests, help="(default %(default)s)")
    found.add_argument(
        "--repeats", type=int, default=repeats, help="(default %(default)s)"
    )
    return found


def environment(**more: str) -> dict[str, str]:
    """This process's environment with no setting of pytest or Braintrust in it.

    Bytecode is cached, whatever this process does: compiling our modules anew at each
    start would be measured as the plugin's.
    """
    left_out = ("BRAINTRUST_", "PYTEST_", "PYTHONDONTWRITEBYTECODE")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(left_out)
    }
    fixed = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONHASHSEED": "0"}
    return {**kept, **fixed, **more}


def cost(variant: Variant) -> Cost:
    """Run it once.

    Raises:
        SystemExit: it failed; what it printed is in the message.
    """
    variant.before()
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            variant.command,
            cwd=variant.directory,
            env=environment(**variant.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            printed = output.read().decode("utf-8", "replace")[-3_000:]
            msg = f"{variant.name} ended with {process.returncode}:\n{printed}"
            raise SystemExit(msg)
    return Cost(usage.ru_utime + usage.ru_stime, wall)


def compare(variants: Sequence[Variant], *, repeats: int) -> dict[str, list[Cost]]:
    """Run all of them in turn, each round in the opposite order of the last."""
    costs: dict[str, list[Cost]] = {variant.name: [] for variant in variants}
    for number in range(repeats + 1):
        for variant in variants if number % 2 else reversed(variants):
            found = cost(variant)
            note(f"round {number}: {variant.name}: {found.cpu:.2f} s")
            if number:  # the first round fills caches of files and of bytecode
                costs[variant.name].append(found)
    return costs


def show(costs: Mapping[str, Sequence[Cost]]) -> None:
    """Print medians, spreads and ratios; the last one named is the measure."""
    base = median(each.cpu for each in list(costs.values())[-1])
    width = max(map(len, costs))
    print(f"{'':{width}}  CPU median  min … max        wall   ratio")
    for name, found in costs.items():
        cpu = sorted(each.cpu for each in found)
        wall = median(each.wall for each in found)
        spread = f"{cpu[0]:.2f} … {cpu[-1]:.2f}"
        print(
            f"{name:{width}}  {median(cpu):8.2f} s  {spread:15}"
            f"  {wall:5.1f} s  {median(cpu) / base:5.2f}"
        )


def note(text: str) -> None:
    """Say on standard error how far it is."""
    print(text, file=sys.stderr, flush=True)
