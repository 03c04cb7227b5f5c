"""Calls about datasets and their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_braintrust.api import answers
from pytest_braintrust.api.calls import Calls, at
from pytest_braintrust.api.models import Dataset
from pytest_braintrust.api.paging import PAGE
from pytest_braintrust.api.rows import DatasetRow


class Datasets(Calls):
    """`/v1/dataset`; whole datasets are better read by `download_dataset`."""

    def create_dataset(
        self,
        project_id: str,
        name: str,
        *,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Create a dataset, or answer the one that has the name, unmodified."""
        body = {
            "project_id": project_id,
            "name": name,
            "description": description,
            "metadata": metadata,
        }
        return Dataset.read(self._send("POST", "/v1/dataset", body))

    def list_datasets(
        self,
        *,
        project_name: str | None = None,
        project_id: str | None = None,
        name: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Dataset]:
        """The datasets, the newest first."""
        params = {
            "project_name": project_name,
            "project_id": project_id,
            "dataset_name": name,
            "org_name": self.connection.org_name,
        }
        return map(Dataset.read, self._list("/v1/dataset", params, limit))

    def get_dataset(self, dataset_id: str) -> Dataset:
        """The dataset with that id.

        Raises:
            Refused, Rejected: there is none that this key may see.
        """
        return Dataset.read(self._get(at("dataset", dataset_id)))

    def count_dataset_rows(self, dataset_id: str) -> int | None:
        """How many rows a dataset has now; None where the server does not say."""
        path = at("dataset", dataset_id)
        answer = self._get(f"{path}/summarize", {"summarize_data": "true"})
        total = answers.maybe_number(
            answers.mapping(answer, "data_summary"), "total_records"
        )
        return None if total is None else int(total)

    def insert_dataset_rows(
        self, dataset_id: str, rows: Iterable[Mapping[str, Any]]
    ) -> list[str]:
        """Insert rows, in as many requests as they need; answers their ids.

        Args:
            dataset_id: The dataset's id.
            rows: `input`, `expected`, `metadata`, `tags` each, any of them; one with
                the `id` of a row replaces it.
        """
        return self._insert_rows(at("dataset", dataset_id), rows)

    def fetch_dataset(
        self, dataset_id: str, *, version: str | None = None, page_size: int = PAGE
    ) -> Iterator[DatasetRow]:
        """The rows of a dataset, the latest first, each in its newest version.

        Args:
            dataset_id: The dataset's id.
            version: Read as of this version.
            page_size: Rows in a page; fewer where they are large.
        """
        path = at("dataset", dataset_id)
        return map(DatasetRow.read, self._fetch(path, version, page_size))
