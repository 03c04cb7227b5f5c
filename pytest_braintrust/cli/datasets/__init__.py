"""`dataset`: the commands on datasets, one small file each."""

from __future__ import annotations

from pytest_braintrust.cli.common import Commands
from pytest_braintrust.cli.datasets import harvest, listing, pull, push


def add_to(commands: Commands) -> None:
    """Add the command and its own."""
    parser = commands.add_parser(
        "dataset",
        help="list, pull and push datasets; make one of the rows of a run",
        description="Work with datasets, on Braintrust and in files.",
    )
    own = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (listing, pull, push, harvest):
        command.add_to(own)
