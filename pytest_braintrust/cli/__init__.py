"""The command `pytest-braintrust`: one small file a command, wired here."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from typing import NoReturn

from pytest_braintrust import __version__
from pytest_braintrust.cli import (
    access,
    datasets,
    diff,
    exporting,
    gate,
    history,
    importing,
    listing,
    prune,
    pull,
    push,
    report,
    show,
)
from pytest_braintrust.cli.common import add_store_option
from pytest_braintrust.cli.output import prepare, silence, warn
from pytest_braintrust.errors import (
    BaselineError,
    NamingError,
    PluginError,
    SettingsError,
)
from pytest_braintrust.reports.lines import plain

_EXAMPLES = """\
examples:
  pytest-braintrust list                the runs in the store
  pytest-braintrust show latest         what the last one came to
  pytest-braintrust diff latest         the same beside its baseline, test by test
  pytest-braintrust push                send every run that is not wholly on Braintrust

Exit status: 0 done; 1 not all could be done, what is left is kept; 2 wrong usage.
"""

#: In the order of the help.
COMMANDS = (
    listing,
    show,
    diff,
    history,
    gate,
    report,
    push,
    pull,
    prune,
    exporting,
    importing,
    datasets,
    access,
)

#: What a shell calls the end by Ctrl-C, and by a reader that is gone.
_INTERRUPTED, _NO_READER = 130, 141

#: How a system says that the reader is gone; the second is that of Windows.
_GONE = (errno.EPIPE, errno.EINVAL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit status.

    0: done. 1: not everything could be done; what is left is kept. 2: wrong usage.
    """
    prepare()
    try:
        return _run(arguments)
    except (BaselineError, NamingError, SettingsError) as error:
        warn(str(error))
        return 2
    except PluginError as error:
        warn(str(error))
        return 1
    except OSError as error:
        silence()
        if error.errno in _GONE and error.filename is None:
            return _NO_READER
        warn(f"not all of it could be done: {error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        warn("interrupted; nothing is lost")
        return _INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command to the last character of what it prints."""
    try:
        given = parser_of_all().parse_args(arguments)
        status: int = given.run(given)
    finally:
        sys.stdout.flush()
    return status


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and not how everything is used."""

    def error(self, message: str) -> NoReturn:
        """End with that line."""
        self.exit(2, f"{self.prog}: {plain(message)}; see `{self.prog} --help`\n")


def parser_of_all() -> argparse.ArgumentParser:
    """The parser of every command; what it answers has the command in `run`."""
    parser = _Parser(
        prog="pytest-braintrust",
        description="Work with the runs that pytest --braintrust recorded.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    add_store_option(parser)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser
