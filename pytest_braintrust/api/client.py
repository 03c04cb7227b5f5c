"""The calls of Braintrust's API that a run needs, with typed answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pytest_braintrust.api.http import Http, Timeouts
from pytest_braintrust.api.retry import RetryPolicy, retrying
from pytest_braintrust.errors import BadAnswer
from pytest_braintrust.jsonable import clean, dumps
from pytest_braintrust.settings import Connection


@dataclass(frozen=True, slots=True)
class Project:
    """A project on Braintrust."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class RemoteExperiment:
    """An experiment on Braintrust."""

    id: str
    name: str
    metadata: Mapping[str, Any]


class BraintrustClient:
    """Talks to one Braintrust server; every call may raise an `ApiError`."""

    def __init__(
        self,
        connection: Connection,
        *,
        policy: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.connection = connection
        self._http = Http(connection, timeouts)
        self._policy = policy or RetryPolicy()
        self._sleep = sleep

    def __enter__(self) -> BraintrustClient:  # noqa: PYI034 - typing.Self is 3.11's
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def create_project(self, name: str) -> Project:
        """Create a project, or answer the one that has the name."""
        body: dict[str, Any] = {"name": name}
        if self.connection.org_name:
            body["org_name"] = self.connection.org_name
        answer = self._post("/v1/project", body)
        return Project(_text(answer, "id"), _text(answer, "name"))

    def create_experiment(
        self, project_id: str, name: str, **more: Any
    ) -> RemoteExperiment:
        """Create an experiment, or answer the one that has the name, unmodified.

        Args:
            project_id: The project's id.
            name: The experiment's name.
            more: Further fields of `POST /v1/experiment`, such as `repo_info`. Not
                `ensure_new`: with it a call that is repeated makes a second one.
        """
        body = {"project_id": project_id, "name": name, **more}
        answer = self._post("/v1/experiment", body)
        metadata = answer.get("metadata")
        return RemoteExperiment(
            id=_text(answer, "id"),
            name=_text(answer, "name"),
            metadata=metadata if isinstance(metadata, dict) else {},
        )

    def insert(self, experiment_id: str, events: Sequence[str]) -> None:
        """Insert encoded events; those with the id of a row replace it.

        Raises:
            BadAnswer: the server did not acknowledge each of them.
        """
        body = b'{"events":[' + ",".join(events).encode("ascii") + b"]}"
        path = f"/v1/experiment/{quote(experiment_id, safe='')}/insert"
        answer = self._call(lambda: self._http.post(path, body))
        ids = answer.get("row_ids") if isinstance(answer, dict) else None
        if not isinstance(ids, list) or len(ids) != len(events):
            msg = f"{len(events)} rows were sent and the answer does not name as many"
            raise BadAnswer(msg)

    def experiment_url(self, experiment_id: str) -> str | None:
        """The address of an experiment's page, as the server gives it."""
        path = f"/v1/experiment/{quote(experiment_id, safe='')}/summarize"
        answer = self._call(lambda: self._http.get(path, {"summarize_scores": "false"}))
        url = answer.get("experiment_url") if isinstance(answer, dict) else None
        return url if isinstance(url, str) else None

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        encoded = dumps(clean(body)).encode("ascii")
        answer = self._call(lambda: self._http.post(path, encoded))
        if not isinstance(answer, dict):
            msg = f"{path} answered something that is not an object"
            raise BadAnswer(msg)
        return answer

    def _call(self, call: Callable[[], Any]) -> Any:
        return retrying(call, self._policy, self._sleep)


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        msg = f"the server's answer has no {name!r}"
        raise BadAnswer(msg)
    return value
