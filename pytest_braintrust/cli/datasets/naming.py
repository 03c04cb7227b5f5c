"""Where datasets are looked for when their name does not say it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pytest_braintrust.cli.common import here
from pytest_braintrust.datasets.writing import DEFAULT_SUFFIX
from pytest_braintrust.jsonable import plain_text
from pytest_braintrust.settings import STORE_DIRECTORY


def store_of(given: argparse.Namespace) -> Path:
    """The store's directory, whose cache is used; it need not be there."""
    if given.store is not None:
        return Path(given.store)
    start = here()
    near = (folder / STORE_DIRECTORY for folder in (start, *start.parents))
    found = next((each for each in near if each.is_dir()), start / STORE_DIRECTORY)
    return found.resolve()


def project_of(given: argparse.Namespace) -> str:
    """The project of a name without one: the one that a run here would have."""
    named = given.project or os.environ.get("BRAINTRUST_PROJECT", "").strip()
    return plain_text(named or store_of(given).parent.name)


def file_name(name: str) -> str:
    """A name for a file here, whatever somebody called a dataset or run."""
    kept = "".join(each if each.isalnum() or each in "-_. " else "-" for each in name)
    return (kept.strip(". ")[:100] or "dataset") + DEFAULT_SUFFIX


def add_name_argument(parser: argparse.ArgumentParser) -> None:
    """Add what says which dataset on Braintrust is meant."""
    text = "PROJECT/NAME, or only the name"
    parser.add_argument("name", type=a_dataset, metavar="NAME", help=text)


def a_dataset(text: str) -> str:
    """What a dataset is called by, for argparse."""
    if not text.strip() or text.startswith("/") or text.endswith("/"):
        msg = f"{text!r} names no dataset: say PROJECT/NAME"
        raise argparse.ArgumentTypeError(msg)
    return text


def a_count_of_rows(text: str) -> int:
    """A whole number of 1 or more, for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        msg = f"{text!r} is not a number of rows"
        raise argparse.ArgumentTypeError(msg)
    return int(text)
