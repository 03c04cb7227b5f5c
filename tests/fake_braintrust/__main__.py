"""Serve until Ctrl-C: `python tests/fake_braintrust --port 8765 --key test-key`."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path

if not __package__:
    # Run by its path: the package is beside this file's directory, not in it.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from fake_braintrust.server import FakeBraintrust


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Braintrust's API")
    parser.add_argument("--port", type=int, default=0, help="Any free one by default")
    parser.add_argument("--key", default="test-key", help="The API key it takes")
    parser.add_argument("--org", default="test-org", help="The organisation's name")
    options = parser.parse_args()
    with FakeBraintrust(
        api_key=options.key, org_name=options.org, port=options.port
    ) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
