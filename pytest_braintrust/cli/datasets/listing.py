"""`dataset list`: the datasets on Braintrust."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_braintrust.cli.common import (
    Commands,
    add_command,
    add_connection_options,
    add_project_option,
    required_connection,
)
from pytest_braintrust.cli.output import Column, as_json, say, screen_width, table

if TYPE_CHECKING:
    from pytest_braintrust.api import BraintrustClient, Dataset

_EXAMPLES = """\
  pytest-braintrust dataset list
  pytest-braintrust dataset list --project capitals
  pytest-braintrust dataset list --json
"""
_COLUMNS = (
    Column("DATASET", least=14, middle=True),
    Column("CREATED"),
    Column("DESCRIPTION", least=12),
)


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "list",
        run,
        text="List the datasets on Braintrust, the newest first",
        examples=_EXAMPLES,
    )
    add_project_option(parser, "only datasets of this project")
    add_connection_options(parser)


def run(given: argparse.Namespace) -> int:
    """Print them."""
    from pytest_braintrust.api import BraintrustClient  # noqa: PLC0415 - takes long

    connection = required_connection(given)
    with BraintrustClient.for_connection(connection) as client:
        found = list(_named(client, given.project))
    if given.json:
        print(as_json([_plain(name, each) for name, each in found]))
        return 0
    rows = (
        [name, (each.created or "")[:10], each.description or ""]
        for name, each in found
    )
    for line in table(_COLUMNS, rows, screen_width()):
        print(line)
    if not found:
        where = f" in project {given.project}" if given.project else ""
        say(f"no datasets{where}")
    return 0


def _named(
    client: BraintrustClient, project: str | None
) -> Iterator[tuple[str, Dataset]]:
    names: dict[str | None, str] = {}
    for each in client.list_datasets(project_name=project):
        if each.project_id not in names:
            names[each.project_id] = client.get_project(str(each.project_id)).name
        yield f"{names[each.project_id]}/{each.name}", each


def _plain(name: str, each: Dataset) -> dict[str, object]:
    return {
        "name": each.name,
        "project": name.removesuffix(f"/{each.name}"),
        "id": each.id,
        "created": each.created,
        "description": each.description,
    }
