"""What a marker says of its dataset: which one, which version, which rows of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_braintrust.datasets import files
from pytest_braintrust.errors import DatasetError
from pytest_braintrust.jsonable import dumps, plain_text
from pytest_braintrust.paths import is_folder

#: How the name of a file of some kind ends: `cases.yaml`.
_SUFFIX = re.compile(r"\w\.[A-Za-z]\w{0,7}$")


@dataclass(frozen=True, slots=True)
class Reference:
    """Names a dataset and the rows that are wanted of it.

    Attributes:
        name: `capitals`, `project/capitals`, or the path of a file.
        version: The version that is wanted; None: the newest.
        limit: How many rows at most; None: all.
        filter: A condition on rows, in BTQL: as text or, in JSON, as its syntax tree.
        id_field: The field that names a case: one of `metadata`, else of `input`, or
            a path such as `metadata.level`. None: the row's id.
    """

    name: str
    version: str | None = None
    limit: int | None = None
    filter: str | None = None
    id_field: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is a file, which takes no account."""
        return files.is_file(self.name)


def read(said: Mapping[str, Any]) -> Reference:
    """Read the keywords of a marker.

    Raises:
        DatasetError: one is not of its kind.
    """
    reference = Reference(
        name=_name(said["dataset"]),
        version=_version(said.get("version")),
        limit=_limit(said.get("limit")),
        filter=_filter(said.get("filter")),
        id_field=_text("id_field", said.get("id_field")),
    )
    if reference.is_file and reference.version is not None:
        msg = f"version: the file {reference.name} has no versions"
        raise DatasetError(msg)
    return reference


def likely_file(name: str, folder: Path) -> Literal["certain", "maybe", "no"]:
    """Whether somebody who wrote that meant a file.

    Names on Braintrust may have any letters: only what begins as paths do is certain.

    Args:
        name: What the marker says.
        folder: What a path would be relative to.
    """
    if name.startswith(("./", "../", "/", "~")) or "\\" in name:
        return "certain"
    first, slash, _ = name.partition("/")
    known = slash and is_folder(folder / first)
    return "maybe" if known or _SUFFIX.search(name) else "no"


def no_file(name: str | bytes) -> DatasetError:
    """What to say of a file that is of no type that datasets have."""
    return DatasetError(f"dataset: {name!r} is no .jsonl, .json or .csv file")


def _name(value: Any) -> str:
    if isinstance(value, os.PathLike):
        name = os.fspath(value)
        if not isinstance(name, str) or not files.is_file(name):
            raise no_file(name)
        return name
    return _text("dataset", value) or ""


def _text(what: str, value: Any) -> str | None:
    if value is None and what != "dataset":
        return None
    if not isinstance(value, str) or not value.strip():
        msg = f"{what}: {plain_text(repr(value))} is not a name"
        raise DatasetError(msg)
    return plain_text(value.strip())


def _version(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text("version", value)


def _limit(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"limit: {plain_text(repr(value))} is not a number of rows"
        raise DatasetError(msg)
    return value


def _filter(value: Any) -> str | None:
    if isinstance(value, dict):
        try:
            return dumps(value)
        except (TypeError, ValueError, RecursionError):
            msg = "filter: the syntax tree is not made of JSON values"
            raise DatasetError(msg) from None
    return _text("filter", value)
