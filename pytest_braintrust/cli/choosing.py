"""Which runs a command shows that shows many: the options, and the runs they leave."""

from __future__ import annotations

import argparse

from pytest_braintrust import baseline
from pytest_braintrust.baseline import Baseline
from pytest_braintrust.cli.common import a_count, a_name, add_project_option, here
from pytest_braintrust.naming import newest_first
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.reading import StoredExperiment

_LIMIT = 20


def add_choosing_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which runs are shown, and how many."""
    add_project_option(parser, "only runs of this project")
    parser.add_argument("--branch", type=a_name, help="only runs of this branch")
    parser.add_argument(
        "--limit",
        type=a_count,
        default=_LIMIT,
        metavar="N",
        help=f"how many at most; 0: all (default {_LIMIT})",
    )


def chosen(store: Store, given: argparse.Namespace) -> list[StoredExperiment]:
    """The runs that the options ask for, the newest first, whatever the limit."""
    return [
        each
        for each in newest_first(store, project=given.project)
        if given.branch in {None, each.branch}
    ]


def none_of_them(given: argparse.Namespace) -> str:
    """What to say where no run is left."""
    named = [f"branch {given.branch}"] if given.branch else []
    named += [f"project {given.project}"] if given.project else []
    if not named:
        return "no runs yet: record one with `pytest --braintrust`"
    return f"no runs of {' in '.join(named)}; `pytest-braintrust list` shows all"


def within_limit(
    found: list[StoredExperiment], given: argparse.Namespace
) -> list[StoredExperiment]:
    """The newest of them, as many as are asked for."""
    return found[: given.limit or None]


def say_older(count: int) -> None:
    """Say how many runs the limit left out, if any."""
    if count:
        print(f"and {count:,} older; --limit 0 shows all")


def compared_with(
    store: Store, run: StoredExperiment, given: argparse.Namespace
) -> tuple[Baseline | None, str]:
    """What a run is compared with by `--baseline`, and why with nothing where it is none.

    Raises:
        BaselineError: a run was named that does not exist, or a file is none.
        StoreError: the store could not be read.
    """
    root, asked = store.directory.parent, given.baseline
    found = baseline.of_stored(store, run, asked, root=root, folder=here())
    return found, "" if found else baseline.why_none(root, asked)
