"""`pull`: an experiment of Braintrust into the store."""

from __future__ import annotations

import argparse

from pytest_braintrust.cli import describing
from pytest_braintrust.cli.common import (
    Commands,
    add_command,
    add_connection_options,
    add_project_option,
    opened_store,
    required_connection,
)
from pytest_braintrust.cli.output import Counter, as_json, say
from pytest_braintrust.errors import Unreachable
from pytest_braintrust.store import reading
from pytest_braintrust.words import a_number

_EXAMPLES = """\
  pytest-braintrust pull capitals/main-4f2a91c-20260713-141200
  pytest-braintrust pull capitals/latest        the newest of the project
  pytest-braintrust pull capitals/main          the newest of branch main
"""

_AGAIN = (
    "check that address and the network, then run the same command again: it goes on "
    "where it stopped"
)


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "pull",
        run,
        text="Bring an experiment of Braintrust into the store",
        more="Also one that the SDK made. One that is there already is brought up to "
        "date; after an interruption the same command goes on.",
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "experiment",
        metavar="PROJECT/EXPERIMENT",
        help="its name, `latest`, `latest~1`, a branch, or its id",
    )
    add_project_option(parser, "the project, where the name leaves it out")
    add_connection_options(parser)


def run(given: argparse.Namespace) -> int:
    """Pull it."""
    # Here, because they take a fifth of a second, and most commands need no network.
    from pytest_braintrust.api import BraintrustClient  # noqa: PLC0415
    from pytest_braintrust.pulling import pull_experiment  # noqa: PLC0415

    connection = required_connection(given)
    counter = Counter("pulling:")
    with (
        opened_store(given, create=True) as store,
        BraintrustClient.for_connection(connection) as client,
    ):
        try:
            found = pull_experiment(
                store,
                client,
                given.experiment,
                project=given.project,
                on_progress=counter.add,
            )
        except Unreachable as error:
            msg = f"{error}; {_AGAIN}"
            raise Unreachable(msg) from None
        finally:
            counter.clear()
        counts = reading.row_counts(store, found.number)
        if given.json:
            print(as_json(describing.as_plain(store, found)))
        else:
            rows = a_number(counts.recorded, "row")
            say(f"{describing.called(found)}: {rows} in the store")
    return 0
