"""Calls about experiments and their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pytest_braintrust.api.calls import Calls, at
from pytest_braintrust.api.models import Experiment
from pytest_braintrust.api.paging import PAGE
from pytest_braintrust.api.rows import Event, Summary, page_address


class Experiments(Calls):
    """`/v1/experiment`."""

    def create_experiment(
        self,
        project_id: str,
        name: str | None = None,
        *,
        ensure_new: bool = False,
        **more: Any,
    ) -> Experiment:
        """Create an experiment, or answer the one that has the name, unmodified.

        Args:
            project_id: The project's id.
            name: The experiment's name; None: the server makes one.
            ensure_new: Make a new one in any case, under a name that is free. Such
                a call, as one without a name, is not tried again once it may have
                reached the server: that would make a second experiment.
            more: Further fields of `POST /v1/experiment`, such as `repo_info`.
        """
        body = {"project_id": project_id, "name": name, **more}
        if ensure_new:
            body["ensure_new"] = True
        repeatable = name is not None and not ensure_new
        answer = self._send("POST", "/v1/experiment", body, repeatable=repeatable)
        return Experiment.read(answer)

    def list_experiments(
        self,
        *,
        project_name: str | None = None,
        project_id: str | None = None,
        name: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Experiment]:
        """The experiments, the newest first."""
        params = {
            "project_name": project_name,
            "project_id": project_id,
            "experiment_name": name,
            "org_name": self.connection.org_name,
        }
        return map(Experiment.read, self._list("/v1/experiment", params, limit))

    def get_experiment(self, experiment_id: str) -> Experiment:
        """The experiment with that id.

        Raises:
            Refused, Rejected: there is none that this key may see.
        """
        return Experiment.read(self._get(at("experiment", experiment_id)))

    def patch_experiment(self, experiment_id: str, **changes: Any) -> Experiment:
        """Change an experiment.

        Args:
            experiment_id: The experiment's id.
            changes: Fields of `PATCH /v1/experiment/{id}`, such as `metadata`, which
                is merged into what is there. None leaves a field as it is.
        """
        path = at("experiment", experiment_id)
        return Experiment.read(self._send("PATCH", path, changes))

    def delete_experiment(self, experiment_id: str) -> None:
        """Delete an experiment."""
        self._delete(at("experiment", experiment_id))

    def insert(self, experiment_id: str, events: Sequence[str]) -> None:
        """Insert encoded events in one request; those with the id of a row replace it.

        Args:
            experiment_id: The experiment's id.
            events: One JSON object each, in ASCII.

        Raises:
            TooLarge: fewer of them have to go in one request.
            BadAnswer: the server did not acknowledge each of them.
        """
        self._insert(at("experiment", experiment_id), events)

    def insert_rows(
        self, experiment_id: str, rows: Iterable[Mapping[str, Any]]
    ) -> list[str]:
        """Insert rows, in as many requests as they need; answers their ids.

        Args:
            experiment_id: The experiment's id.
            rows: Fields of an event each: `input`, `output`, `expected`, `scores`,
                `metadata`, …; one with the `id` of a row replaces it.

        Raises:
            Rejected: one is not as it should be, such as a score beyond 1. The
                request that it was in changed nothing; those before it did.
        """
        return self._insert_rows(at("experiment", experiment_id), rows)

    def fetch_experiment(
        self, experiment_id: str, *, version: str | None = None, page_size: int = PAGE
    ) -> Iterator[Event]:
        """The rows of an experiment, the latest first, each in its newest version.

        Args:
            experiment_id: The experiment's id.
            version: Read as of this version.
            page_size: Traces in a page; fewer where rows are large.
        """
        path = at("experiment", experiment_id)
        return map(Event.read, self._fetch(path, version, page_size))

    def summarize_experiment(
        self, experiment_id: str, *, comparison_experiment_id: str | None = None
    ) -> Summary:
        """Mean scores and metrics, and how they differ from another experiment's.

        Args:
            experiment_id: The experiment's id.
            comparison_experiment_id: What to compare with; None: its base, or the
                most recent experiment of the project.
        """
        params = {
            "summarize_scores": "true",
            "comparison_experiment_id": comparison_experiment_id,
        }
        path = at("experiment", experiment_id)
        return Summary.read(self._get(f"{path}/summarize", params))

    def experiment_url(self, experiment_id: str) -> str | None:
        """The address of an experiment's page, as the server gives it."""
        path = at("experiment", experiment_id)
        answer = self._get(f"{path}/summarize", {"summarize_scores": "false"})
        return page_address(answer, "experiment_url")
