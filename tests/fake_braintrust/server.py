"""The server as tests hold it: its addresses, state, requests, faults and knobs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from types import TracebackType
from typing import Any
from uuid import uuid4

from fake_braintrust.call import Knobs
from fake_braintrust.faults import Faults
from fake_braintrust.routes import answered
from fake_braintrust.state import Object, State
from fake_braintrust.wire import Answer, Exchange, HttpServer, Request, json_answer


class Elsewhere:
    """Another host: an object store, or wherever a redirect leads.

    Whatever arrives there with a key in it is a leak.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stored: dict[str, Answer] = {}
        self._requests: list[Request] = []
        self.http = HttpServer(self._exchange, name="localhost")

    @property
    def requests(self) -> list[Request]:
        """What arrived here, oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def leaks(self) -> list[Request]:
        """The requests that should not have carried what they did."""
        return [each for each in self.requests if "authorization" in each.headers]

    def store(self, answer: Answer) -> str:
        """Keep an answer; answers its address."""
        path = f"/stored/{uuid4()}"
        with self._lock:
            self._stored[path] = answer
        return self.http.url + path

    def _exchange(self, exchange: Exchange) -> None:
        request = exchange.request
        with self._lock:
            self._requests.append(request)
            found = self._stored.get(request.path, json_answer({}))
        if "authorization" in request.headers:
            found = json_answer({"message": "only one auth mechanism allowed"}, 400)
        exchange.send(found)


class FakeBraintrust:
    """A Braintrust of one's own, at `url`, while the context lasts.

    Leaving the context fails if a key came to another host, or if the server's own
    code failed.
    """

    def __init__(
        self,
        *,
        api_key: str = "test-key",
        org_name: str = "test-org",
        prefix: str = "",
        port: int = 0,
    ) -> None:
        self.api_key = api_key
        self.knobs = Knobs()
        self.faults = Faults()
        self.elsewhere = Elsewhere()
        self._prefix = prefix
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._http = HttpServer(
            self._exchange,
            name="127.0.0.1",
            port=port,
            apply=self._apply,
            elsewhere=self.elsewhere.http.url,
        )
        self.state = State(self.app_url)
        self.user = self.add_user("dev@example.com", self.add_organization(org_name))
        self.add_key(api_key)

    def __enter__(self) -> FakeBraintrust:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if error is None:
            self.check()

    def close(self) -> None:
        """End every connection and thread."""
        self._http.close()
        self.elsewhere.http.close()

    def check(self) -> None:
        """Raise what went wrong on the server's side."""
        for error in [*self._http.errors, *self.elsewhere.http.errors]:
            raise error
        leaks = self.elsewhere.leaks
        assert not leaks, f"the key was sent to another host: {leaks[0].path}"

    # The two addresses, without a slash at the end.

    @property
    def url(self) -> str:
        """The API's address."""
        return self._http.url + self._prefix

    @property
    def app_url(self) -> str:
        """The address that pages are on."""
        return self._http.url

    # What there is, in copies.

    @property
    def requests(self) -> list[Request]:
        """What arrived, oldest first."""
        with self._changed:
            return list(self._requests)

    @property
    def organizations(self) -> list[Object]:
        """The organisations."""
        return self._all("organization")

    @property
    def projects(self) -> list[Object]:
        """The projects, oldest first."""
        return self._all("project")

    @property
    def experiments(self) -> list[Object]:
        """The experiments that are not deleted, oldest first."""
        return self._all("experiment")

    @property
    def datasets(self) -> list[Object]:
        """The datasets that are not deleted, oldest first."""
        return self._all("dataset")

    def rows(self, id_or_name: str) -> list[Object]:
        """The rows of an experiment or dataset, in the order they first came."""
        with self.state.lock:
            things = [*self.state.all("experiment"), *self.state.all("dataset")]
            ids = [each["id"] for each in things if id_or_name in _names(each)]
            if len(ids) != 1:
                msg = f"{len(ids)} experiments and datasets are called {id_or_name!r}"
                raise LookupError(msg)
            current = self.state.logs[ids[0]].current().values()
            return deepcopy([row for _, row in current])

    def wait_until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Wait for something to be true; it is looked at with each request and answer."""
        with self._changed:
            done = self._changed.wait_for(lambda: bool(condition()), seconds)
        assert done, f"not so after {seconds} seconds"

    # What there may be besides.

    def add_key(self, key: str, *, user: Object | None = None) -> None:
        """Let a key in as a user, by default the one who is there from the start."""
        with self.state.lock:
            self.state.keys[key] = (user or self.user)["id"]

    def revoke_key(self, key: str) -> None:
        """A key is answered with 401 from now on."""
        with self.state.lock:
            del self.state.keys[key]

    def forbid_key(self, key: str) -> None:
        """A key is valid, and answered with 403."""
        with self.state.lock:
            self.state.forbidden.add(key)

    def add_organization(self, name: str, *, api_url: str | None = None) -> Object:
        """Make an organisation; logins are told of its `api_url`."""
        with self.state.lock:
            found = self.state.add(
                "organization", name=name, api_url=api_url or self.url
            )
            return deepcopy(found)

    def add_user(self, email: str, *organizations: Mapping[str, Any]) -> Object:
        """Make a user who belongs to some organisations, and owns none."""
        with self.state.lock:
            user = self.state.add(
                "user",
                email=email,
                given_name=email.partition("@")[0],
                family_name=None,
                avatar_url=None,
            )
            self.state.members[user["id"]] = [each["id"] for each in organizations]
            return deepcopy(user)

    def make_owner(self, user: Object, organization: Object) -> None:
        """Give a user the owner role, as `POST /v1/acl` does."""
        with self.state.lock:
            self.state.add(
                "acl",
                object_type="organization",
                object_id=organization["id"],
                user_id=user["id"],
                group_id=None,
                permission=None,
                restrict_object_type=None,
                role_id=self.state.owner_role["id"],
                _object_org_id=organization["id"],
            )

    def _all(self, kind: str) -> list[Object]:
        with self.state.lock:
            return deepcopy(self.state.all(kind))

    def _exchange(self, exchange: Exchange) -> None:
        with self._changed:
            self._requests.append(exchange.request)
            self._changed.notify_all()
        try:
            self.faults.action(exchange.request)(exchange)
        finally:
            with self._changed:
                self._changed.notify_all()

    def _apply(self, request: Request) -> Answer:
        return answered(
            self.state,
            self.knobs,
            request,
            self._local(request.path),
            self.elsewhere.store,
        )

    def _local(self, path: str) -> str:
        """A path below the API's address; the app's are below its own."""
        if path.startswith(("/api/self/", "/api/apikey/")):
            return path
        below = path.startswith(self._prefix + "/")
        return path[len(self._prefix) :] if below else "/outside"


def _names(thing: Object) -> tuple[str, str]:
    return thing["id"], thing["name"]
