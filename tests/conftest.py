"""The harness: one object that writes a suite, runs it, and knows what came of it."""

from __future__ import annotations

import compileall
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_braintrust import FakeBraintrust

from pytest_braintrust.api import BraintrustClient
from pytest_braintrust.cli import main
from pytest_braintrust.errors import StoreError
from pytest_braintrust.store import spool
from pytest_braintrust.store.connection import FILE_NAME, Store, open_store

pytest_plugins = ["pytester"]


def pytest_configure(config: pytest.Config) -> None:
    """Give the processes that tests start what they need of this one.

    The plugin compiled: where PYTHONDONTWRITEBYTECODE is set, each of thousands would
    compile it anew. And Ctrl-C, which a shell lets what it runs beside itself ignore.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        package = Path(__file__).parents[1] / "pytest_braintrust"
        compileall.compile_dir(package, quiet=2)


#: Tests that take many times as long as the others.
LONG = ("test_campaign.py", "test_durability.py", "test_values.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest: at the end the other workers had nothing to do."""
    items.sort(key=lambda item: item.path.name not in LONG)


#: Plugins that every run of a harness loads, by name of their module.
XDIST, RERUNFAILURES = "xdist", "pytest_rerunfailures"
RETRY, HTTPX = "pytest_retry.retry_plugin", "pytest_httpx"

#: What a session of noxfile.py leaves out. Any other that is missing is an error.
LEFT_OUT = (XDIST, HTTPX)


def needs(*plugins: str) -> None:
    """Skip the test where a plugin that a session of nox leaves out is missing."""
    for name in plugins:
        if name in LEFT_OUT and importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


@dataclass(frozen=True)
class Ran:
    """One run of pytest or of the command, ended."""

    status: int
    out: str
    err: str
    store: Path

    def __contains__(self, text: str) -> bool:
        return text in self.out or text in self.err

    @property
    def section(self) -> str:
        """What the terminal says between our title and the next one."""
        lines = self.out.splitlines()
        starts = [i for i, each in enumerate(lines) if _is_title(each, "braintrust")]
        assert starts, self.out + self.err
        rest = lines[starts[-1] + 1 :]
        ends = [i for i, each in enumerate(rest) if each.startswith("====")]
        return "\n".join(rest[: ends[0]] if ends else rest)

    def honest(self, server: FakeBraintrust | None = None) -> dict[str, int]:
        """Check that the sums of the summary come out, here and on the server.

        Answers the counts of tests that it tells, by outcome.
        """
        collected, counts = self._tests()
        assert collected == sum(counts.values()), self.section
        counts = {name: count for name, count in counts.items() if count}
        told = _ROWS.search(self.section)
        recorded, sent, pending = map(int, told.groups("0")) if told else (0, 0, 0)
        ids = [each["id"] for each in self.query("rows", "position")]
        assert len(ids) == len(set(ids)) == recorded, self.section
        assert "MISSING" not in self
        if server is not None:
            assert recorded == sent + pending
            experiments = [each["id"] for each in server.experiments]
            there = [row["id"] for each in experiments for row in server.rows(each)]
            assert len(there) == len(set(there))
            # What is pending may be there as it was before it changed.
            assert set(there) <= set(ids)
            assert sent <= len(there)
        return counts

    def _tests(self) -> tuple[int, dict[str, int]]:
        told = _TESTS.search(self.section)
        assert told, self.section
        parts = [part.split(" ", 1) for part in told[2].split(" + ")]
        return int(told[1]), {name: int(count) for count, name in parts}

    def rows(self) -> list[dict[str, Any]]:
        """The events in the local store, in the order they were recorded."""
        return [json.loads(each["event"]) for each in self.query("rows", "position")]

    def row(self, name: str) -> dict[str, Any]:
        """The one event of the test with that name (or end of its node id)."""
        found = [each for each in self.rows() if nodeid(each).endswith(name)]
        assert len(found) == 1, [nodeid(each) for each in self.rows()]
        return found[0]

    def experiments(self) -> list[dict[str, Any]]:
        """The experiments in the local store, oldest first."""
        return self.query("experiments", "number")

    def query(self, table: str, order: str) -> list[dict[str, Any]]:
        """All of a table of the local store; nothing where there is no store."""
        if not (self.store / FILE_NAME).exists():
            return []
        with closing(open_store(self.store, create=False)) as store:
            # As every command does: a run that was killed could not. On a disk that is
            # full nobody can.
            with suppress(StoreError):
                spool.take_in_all(store)
            found = store.query(f"SELECT * FROM {table} ORDER BY {order}")
            return [dict(each) for each in found]


_TESTS = re.compile(r"^tests +(\d+) collected = (.+)$", re.MULTILINE)
_ROWS = re.compile(
    r"^rows +(\d+) recorded(?: = (\d+) sent \+ (\d+) pending)?", re.MULTILINE
)


def _is_title(line: str, name: str) -> bool:
    return line.startswith("==") and line.strip("= ") == name


def nodeid(event: Mapping[str, Any]) -> str:
    """The node id that an event carries."""
    found = event["metadata"]["pytest"]["nodeid"]
    assert isinstance(found, str)
    return found


def outcome(event: Mapping[str, Any]) -> str:
    """The outcome that an event carries."""
    found = event["metadata"]["pytest"]["outcome"]
    assert isinstance(found, str)
    return found


@dataclass
class Suite:
    """A suite of tests in a folder of its own, run by a pytest of its own."""

    folder: Path
    #: Modules given by `-p`, because entry points are not loaded: what a run loads
    #: is what its test says.
    plugins: list[str] = field(default_factory=lambda: ["pytest_braintrust.plugin"])
    environment: dict[str, str] = field(default_factory=dict)
    autoload: bool = False
    #: What every run is started by, such as a command that takes rights away.
    wrapper: tuple[str, ...] = ()

    def write(self, **files: str) -> Suite:
        """Write modules, by name without `.py`."""
        # What is written anew within a second, in the same size, Python takes for what
        # it compiled before.
        shutil.rmtree(self.folder / "__pycache__", ignore_errors=True)
        for name, text in files.items():
            (self.folder / f"{name}.py").write_text(text, encoding="utf-8")
        return self

    def ini(self, *lines: str) -> Suite:
        """Write pytest.ini."""
        text = "\n".join(("[pytest]", *lines)) + "\n"
        (self.folder / "pytest.ini").write_text(text, encoding="utf-8")
        return self

    @property
    def temporary(self) -> Path:
        """Where temporary files of its runs go."""
        return self.folder.with_name("temporary")

    def holding(self, text: str) -> list[Path]:
        """The files that hold a text, among all that the runs left behind."""
        # By another process: when this one closes a file of a store that it has open,
        # SQLite's locks on it are gone.
        found = subprocess.run(
            ["grep", "-rlaF", "-e", text, str(self.folder), str(self.temporary)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [Path(each) for each in found.stdout.splitlines()]

    def check_secret(self, *texts: str) -> None:
        """Fail if the API key is in a text or a file that a run left behind."""
        key = self.environment.get("BRAINTRUST_API_KEY")
        if key is not None and len(key) >= 8:
            assert not [each for each in texts if key in each]
            assert not self.holding(key)

    def command(self, *arguments: str) -> list[str]:
        """The command line of a run; skips the test where a plugin is left out."""
        named = [word for each in self.plugins for word in ("-p", each)]
        words = [*named, *arguments]
        needs(*(name for flag, name in pairwise(words) if flag == "-p"))
        return [*self.wrapper, sys.executable, "-m", "pytest", *words]

    def start(
        self, *arguments: str, within: str = ".", **more: Any
    ) -> subprocess.Popen[str]:
        """Start a run, in a folder of the suite, and do not wait for it."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder / within,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def run(self, *arguments: str, within: str = ".", seconds: float = 120) -> Ran:
        """Run pytest with `--braintrust` and wait for its end."""
        started = self.start("--braintrust", *arguments, within=within)
        return self.ended(started, seconds)

    def run_off(self, *arguments: str, seconds: float = 120) -> Ran:
        """Run pytest without our flag."""
        return self.ended(self.start(*arguments), seconds)

    def run_both(self, *arguments: str, seconds: float = 120) -> Ran:
        """Run with our flag, and check that the exit status is as without it."""
        without = self.run_off(*arguments, seconds=seconds)
        ran = self.run(*arguments, seconds=seconds)
        assert ran.status == without.status, (ran.out, ran.err, without.out)
        return ran

    def ended(self, process: subprocess.Popen[str], seconds: float = 120) -> Ran:
        """Wait for the end of a run that was started."""
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"the run did not end in {seconds} s:\n{out}\n{err}")
        self.check_secret(out, err)
        return Ran(process.returncode, out, err, self.folder / ".braintrust")

    def cli(
        self, *arguments: str, seconds: float = 60, stdin: int = subprocess.DEVNULL
    ) -> Ran:
        """Run the command `pytest-braintrust` and wait for its end."""
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest_braintrust", *arguments],
            cwd=self.folder,
            env=self.env(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.ended(process, seconds)

    def env(self) -> dict[str, str]:
        """The environment of a run: this one, without what would change the run."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BRAINTRUST_", "PYTEST_", "GITHUB_", "CI"))
        }
        kept["PYTHONPATH"] = str(Path(__file__).parents[1])
        kept["PYTHONWARNINGS"] = "default"
        kept["COLUMNS"] = "100"
        # Whatever a run leaves behind is where its test can look at it.
        kept["TMPDIR"] = str(self.temporary)
        if not self.autoload:
            kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        return {**kept, **self.environment}

    def with_plugins(self, *names: str) -> Suite:
        """Load further plugins in every run."""
        self.plugins += names
        return self

    def sends_to(self, server: FakeBraintrust) -> Suite:
        """Let every run know of a Braintrust server."""
        self.environment["BRAINTRUST_API_KEY"] = server.api_key
        self.environment["BRAINTRUST_API_URL"] = server.url
        self.environment["BRAINTRUST_APP_URL"] = server.app_url
        return self


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """A suite with our plugin and no other."""
    folder = tmp_path / "suite"
    folder.mkdir()
    made = Suite(folder)
    made.temporary.mkdir()
    return made.ini()


@pytest.fixture
def server() -> Iterator[FakeBraintrust]:
    """A Braintrust of our own on loopback."""
    with FakeBraintrust(api_key="key-5d0c2f7a91e84b36") as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    """The seconds that `client` would have waited before it asked again."""
    return []


@pytest.fixture
def client(server: FakeBraintrust, waits: list[float]) -> Iterator[BraintrustClient]:
    """A client of that server, which notes how long it would wait, and does not."""
    with BraintrustClient(
        api_key=server.api_key,
        api_url=server.url,
        app_url=server.app_url,
        sleep=waits.append,
    ) as client:
        yield client


@pytest.fixture(params=[(), ("-p", "xdist", "-n0"), ("-p", "xdist", "-n2")], ids=str)
def plugin_args(request: pytest.FixtureRequest) -> list[str]:
    """Run a test plain, with pytest-xdist and no worker, and with two workers."""
    return list(request.param)


@pytest.fixture(params=[(), ("-p", XDIST, "-n2")], ids=["plain", "workers"])
def how(request: pytest.FixtureRequest) -> list[str]:
    """Run in one process, and with two workers."""
    return list(request.param)


@pytest.fixture(
    params=[(), ("-p", XDIST, "-n2", "--dist=loadfile")], ids=["plain", "workers"]
)
def in_order(request: pytest.FixtureRequest) -> list[str]:
    """Run in one process, and with two workers, tests of a file in their order."""
    return list(request.param)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of its own, with nothing in it."""
    with closing(open_store(tmp_path / "store")) as opened:
        yield opened


@dataclass
class Said:
    """What one command came to."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as a program reads it."""
        return json.loads(self.out)


Command = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in, with nothing in the environment."""
    for name in [each for each in os.environ if each.startswith("BRAINTRUST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in the folder."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(str(ended.code))
        return Said(status, *capsys.readouterr())

    return run
