"""Calls about projects."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_braintrust.api.calls import Calls, at
from pytest_braintrust.api.models import Project


class Projects(Calls):
    """`/v1/project`."""

    def create_project(self, name: str, *, description: str | None = None) -> Project:
        """Create a project, or answer the one that has the name, unmodified."""
        org_name = self.connection.org_name
        body = {"name": name, "description": description, "org_name": org_name}
        return Project.read(self._send("POST", "/v1/project", body))

    def list_projects(
        self, name: str | None = None, *, limit: int | None = None
    ) -> Iterator[Project]:
        """The projects, the newest first; with a name, at most the one that has it."""
        params = {"project_name": name, "org_name": self.connection.org_name}
        return map(Project.read, self._list("/v1/project", params, limit))

    def get_project(self, project_id: str) -> Project:
        """The project with that id.

        Raises:
            Refused, Rejected: there is none that this key may see.
        """
        return Project.read(self._get(at("project", project_id)))
