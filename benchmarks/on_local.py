"""On, with the local store: what a run pays for its rows.

Trivial tests with one `bt_score(output=1, scores={"exact": 1})` each: with
`--braintrust` and no key; with the plugin and no flag; with a `bt_score` fixture that
does nothing and no plugin. Where the official SDK is installed, the same tests by its
own plugin too, sending to a server on loopback that takes everything.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import measure

TESTS = """\
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_one(bt_score, number):
    bt_score(output=1, scores={{"exact": 1}})
"""

NO_PLUGIN = """\
import pytest

@pytest.fixture
def bt_score():
    return lambda **fields: None
"""

SDK_TESTS = """\
import pytest

@pytest.mark.braintrust(project="benchmark")
@pytest.mark.parametrize("number", range({tests}))
def test_one(braintrust_span, number):
    braintrust_span.log(output=1, scores={{"exact": 1}})
"""


def main() -> None:
    """Measure and print."""
    command_line = measure.parser(__doc__, tests=10_000, repeats=5)
    command_line.add_argument("--no-sdk", action="store_true", help="Only our own")
    options = command_line.parse_args()
    with tempfile.TemporaryDirectory() as name, _sdk_server() as url:
        directory = Path(name)
        variants = [
            _recording(directory / "recording", options.tests),
            _off(directory / "off", options.tests),
            _bare(directory / "bare", options.tests),
        ]
        if not options.no_sdk and (sdk := _sdk(directory / "sdk", options.tests, url)):
            variants.insert(0, sdk)
        print(f"{options.tests:,} tests, {options.repeats} times each:")
        measure.show(measure.compare(variants, repeats=options.repeats))


def _recording(directory: Path, tests: int) -> measure.Variant:
    run = (*_run(directory, TESTS, tests), *measure.WITH_PLUGIN, "--braintrust")
    store = directory / ".braintrust"
    return measure.Variant(
        "--braintrust, local",
        run,
        directory,
        before=lambda: shutil.rmtree(store, ignore_errors=True),
    )


def _off(directory: Path, tests: int) -> measure.Variant:
    run = (*_run(directory, TESTS, tests), *measure.WITH_PLUGIN)
    return measure.Variant("plugin, no flag", run, directory)


def _bare(directory: Path, tests: int) -> measure.Variant:
    run = (*_run(directory, TESTS, tests), *measure.WITHOUT_PLUGIN)
    (directory / "conftest.py").write_text(NO_PLUGIN, encoding="utf-8")
    return measure.Variant("no plugin", run, directory)


def _sdk(directory: Path, tests: int, url: str) -> measure.Variant | None:
    if find_spec("braintrust") is None:
        measure.note("the official SDK is not installed: left out")
        return None
    run = (*_run(directory, SDK_TESTS, tests), *measure.WITHOUT_PLUGIN)
    variant = measure.Variant(
        "official SDK, loopback",
        (*run, "-p", "braintrust", "--braintrust"),
        directory,
        environment={"BRAINTRUST_API_KEY": "key", "BRAINTRUST_APP_URL": url},
    )
    try:
        measure.cost(variant)
    except SystemExit as error:
        measure.note(f"the official SDK's plugin cannot run: left out\n{error}")
        return None
    return variant


def _run(directory: Path, text: str, tests: int) -> tuple[str, ...]:
    directory.mkdir()
    file = directory / "test_many.py"
    file.write_text(text.format(tests=tests), encoding="utf-8")
    return (*measure.PYTEST, "-q", file.name)


@contextmanager
def _sdk_server() -> Iterator[str]:
    """As much of a server as the SDK wants to see, in this process; answers its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SdkHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class _SdkHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        named = {"id": "00000000-0000-4000-8000-000000000000", "name": "benchmark"}
        url = f"http://{self.headers['Host']}"
        org = {**named, "api_url": url, "proxy_url": url}
        login = {"org_info": [org]}
        registered = {"project": named, "experiment": named}
        answers = {"login": login, "register": registered}
        self._answer(answers.get(self.path.rpartition("/")[2], {}))

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


if __name__ == "__main__":
    main()
