r"""Download a dataset to a file of JSON lines, page by page.

Run it with a key of yours, and the dataset's project and name:

    BRAINTRUST_API_KEY=sk-… python examples/walkthrough/download_dataset.py \
        walkthrough capitals capitals.jsonl

The dataset may be larger than memory: a row is written when it arrives. A smaller
`--page-size` is for rows of megabytes. `BRAINTRUST_API_URL` names another region's
server, or your own.
"""

# ruff: noqa: T201 - what it prints is what it is for

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_braintrust.api import BraintrustClient, Dataset


def find(client: BraintrustClient, project: str, name: str) -> Dataset:
    """The dataset of that name, or an end with a message."""
    found = next(client.list_datasets(project_name=project, name=name), None)
    if found is None:
        msg = f"project {project!r} has no dataset {name!r}"
        raise SystemExit(msg)
    return found


def download(
    client: BraintrustClient, dataset: Dataset, file: Path, page_size: int
) -> int:
    """Write a dataset's rows to a file; answers their number."""
    count = 0
    # Under another name until it is whole: half a dataset looks like a dataset.
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as out:
        lines = client.download_lines("dataset", dataset.id, page_size=page_size)
        for count, line in enumerate(lines, 1):  # noqa: B007 - it is the result
            out.write(line.text + b"\n")
    part.replace(file)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("project", help="The project's name")
    parser.add_argument("dataset", help="The dataset's name")
    parser.add_argument("file", type=Path, help="Where the rows go")
    parser.add_argument("--page-size", type=int, default=1_000, help="Rows in a page")
    options = parser.parse_args()
    with BraintrustClient() as client:
        dataset = find(client, options.project, options.dataset)
        count = download(client, dataset, options.file, options.page_size)
    print(f"{options.file}: {count} rows of {dataset.name}")


if __name__ == "__main__":
    main()
