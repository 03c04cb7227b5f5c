"""What the server knows: organisations, people, projects, experiments, datasets."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from fake_braintrust import contract
from fake_braintrust.contract import Check
from fake_braintrust.rows import FIRST_XACT, RowLog

Object = dict[str, Any]

#: The objects that have rows: what each takes, and what its rows take.
KINDS: dict[str, dict[str, Check]] = {
    "experiment": dict(contract.EXPERIMENT),
    "dataset": dict(contract.DATASET),
}
ROWS: dict[str, dict[str, Check]] = {
    "experiment": dict(contract.EXPERIMENT_FIELDS),
    "dataset": dict(contract.DATASET_FIELDS),
}


class State:
    """Everything, under one lock that whoever calls must hold."""

    def __init__(self, app_url: str) -> None:
        self.lock = threading.RLock()
        self.app_url = app_url
        self.keys: dict[str, str] = {}
        self.forbidden: set[str] = set()
        #: The organisations of each user.
        self.members: dict[str, list[str]] = {}
        self.logs: dict[str, RowLog] = {}
        self._tables: dict[str, dict[str, Object]] = {}
        self._xact = FIRST_XACT
        self.owner_role, *_ = (
            self.add("role", org_id=None, name=name, description=None)
            for name in ("owner", "engineer", "viewer")
        )

    def add(self, kind: str, **fields: Any) -> Object:
        """Make an object of a kind."""
        made = {"id": str(uuid4()), "created": now(), **fields}
        self._tables.setdefault(kind, {})[made["id"]] = made
        if kind in ROWS:
            fixed = {"project_id": made["project_id"], f"{kind}_id": made["id"]}
            self.logs[made["id"]] = RowLog(tuple(ROWS[kind]), fixed)
        return made

    def all(self, kind: str) -> list[Object]:
        """The objects of a kind that are not deleted, oldest first."""
        found = self._tables.get(kind, {}).values()
        return [each for each in found if not each.get("deleted_at")]

    def get(self, kind: str, object_id: str) -> Object | None:
        """An object by its id."""
        return self.match(kind, id=object_id)

    def match(self, kind: str, **fields: Any) -> Object | None:
        """An object by some of its fields."""
        return next(
            (each for each in self.all(kind) if fields.items() <= each.items()), None
        )

    def remove(self, kind: str, object_id: str) -> None:
        """Forget an object."""
        del self._tables[kind][object_id]

    def project_of(self, thing: Object) -> Object:
        """The project that an experiment or dataset belongs to."""
        return self._tables["project"][thing["project_id"]]

    def is_owner(self, user_id: str, org_id: str) -> bool:
        """Whether a user holds the owner role on an organisation."""
        return bool(
            self.match(
                "acl", object_id=org_id, user_id=user_id, role_id=self.owner_role["id"]
            )
        )

    def insert(self, object_id: str, events: Iterable[Object]) -> list[str]:
        """Insert events in one transaction."""
        self._xact += 1
        log, xact, moment = self.logs[object_id], str(self._xact), now()
        return [log.insert(event, xact, moment) for event in events]


def now() -> str:
    """The time as the API writes it."""
    moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")
