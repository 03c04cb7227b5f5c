"""The command `pytest-braintrust`: one small file a command, wired here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pytest_braintrust import __version__
from pytest_braintrust.cli import push
from pytest_braintrust.errors import PluginError, SettingsError

_EXAMPLES = """\
examples:
  pytest-braintrust push            send every run that is not wholly on Braintrust
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit status.

    0: done. 1: not everything could be done; what is left is kept. 2: wrong usage.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        status: int = given.run(given)
    except SettingsError as error:
        print(f"pytest-braintrust: {error}", file=sys.stderr)
        return 2
    except PluginError as error:
        print(f"pytest-braintrust: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pytest-braintrust: interrupted; nothing is lost", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-braintrust",
        description="Work with the runs that pytest --braintrust recorded.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    push.add_to(commands)
    return parser
