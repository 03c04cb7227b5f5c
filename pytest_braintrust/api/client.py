"""The client: one server, one key, and every call that we know of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from pytest_braintrust.api import connecting
from pytest_braintrust.api.access import Access
from pytest_braintrust.api.btql import Downloads
from pytest_braintrust.api.datasets import Datasets
from pytest_braintrust.api.experiments import Experiments
from pytest_braintrust.api.failures import scrubbed
from pytest_braintrust.api.http import Http, Timeouts
from pytest_braintrust.api.projects import Projects
from pytest_braintrust.api.retry import PATIENT, RetryPolicy
from pytest_braintrust.errors import ApiError, Refused
from pytest_braintrust.settings import DEFAULT_API_URL, Connection, checked_header


class BraintrustClient(Projects, Experiments, Datasets, Downloads, Access):
    """Talks to one Braintrust server.

    Every call may raise an `ApiError`: `Unreachable` and `Overloaded` after having
    been tried again, `Refused` and `Rejected` where that would change nothing, and
    `BadAnswer` for what Braintrust would not answer. Lists, fetches and downloads
    are generators: they ask for the next page when it is wanted, and raise then.

    Args:
        api_key: The key; None: `BRAINTRUST_API_KEY`.
        api_url: The API's address; None: `BRAINTRUST_API_URL`, or the US region's.
        app_url: The app's address; None: `BRAINTRUST_APP_URL`, or Braintrust's own.
        org_name: The organisation, for keys that see more than one; None:
            `BRAINTRUST_ORG_NAME`.
        impersonate_user: The id or e-mail address of a user to run every call as. The
            key's owner has to be an owner of each of that user's organisations. An
            address is looked up with the first call, which raises `Refused` where no
            user has it.
        allow_http: Whether the key may go to another machine by plain http, where
            anyone on the way can read it; also where `BRAINTRUST_ALLOW_HTTP` says so.
        policy: How often and how long a call is tried again.
        timeouts: How long one try may take.
        sleep: Waits between tries.

    Raises:
        SettingsError: there is no key, or something cannot be used.
    """

    def __init__(  # noqa: PLR0913 - what a connection and its bounds are made of
        self,
        *,
        api_key: str | None = None,
        api_url: str | None = None,
        app_url: str | None = None,
        org_name: str | None = None,
        impersonate_user: str | None = None,
        allow_http: bool = False,
        policy: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        connection = connecting.connection(
            api_key=api_key,
            api_url=api_url,
            app_url=app_url,
            org_name=org_name,
            allow_http=allow_http,
        )
        self._open(connection, impersonate_user, policy, timeouts, sleep)

    @classmethod
    def for_connection(
        cls,
        connection: Connection,
        *,
        policy: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> BraintrustClient:
        """A client for a connection that is settled already."""
        client = cls.__new__(cls)
        user = connection.impersonate_user
        client._open(connection, user, policy, timeouts, sleep)  # noqa: SLF001 - ours
        return client

    def _open(
        self,
        connection: Connection,
        impersonate_user: str | None,
        policy: RetryPolicy | None,
        timeouts: Timeouts | None,
        sleep: Callable[[float], object],
    ) -> None:
        self._address: str | None = None
        if impersonate_user is not None and "@" in impersonate_user:
            self._address, impersonate_user = impersonate_user, None
        if impersonate_user is not None:
            where, what = "impersonate_user", "the user's id"
            checked_header(impersonate_user, where, what)
        self.connection = connection
        self.impersonate_user = impersonate_user
        self._timeouts = timeouts
        self._policy = policy or RetryPolicy()
        self._page_policy = policy or PATIENT
        self._sleep = sleep
        self._hint: str | None = None
        self._http = self._reach(connection.api_url)

    def __enter__(self) -> BraintrustClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<BraintrustClient of {self.connection.api_url}>"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _reach(self, base: str) -> Http:
        return Http(
            base,
            self.connection.api_key,
            impersonate_user=self.impersonate_user,
            timeouts=self._timeouts,
        )

    def _settle(self) -> None:
        address, self._address = self._address, None  # to ask for it is a call too
        if address is None:
            return
        try:
            user_id = self._user_of(address)
        except ApiError:
            self._address = address
            raise
        checked_header(user_id, address, "the user's id")
        self._http.close()
        self.impersonate_user, self._hint = user_id, None
        self._http = self._reach(self.connection.api_url)

    def _user_of(self, address: str) -> str:
        user = self.find_user(address)
        if user is not None:
            return user.id
        msg = (
            f"calls cannot run as {address}: no user of your organisations has that "
            "address"
        )
        raise Refused(scrubbed(msg, self.connection.api_key))

    def _refused(self, error: Refused) -> Refused:
        if self._hint is None:
            self._hint = self._what_may_help()
        told = f"{error}{self._hint}"
        return Refused(told, status=error.status) if self._hint else error

    def _what_may_help(self) -> str:
        if self.connection.api_url == DEFAULT_API_URL and (other := self._elsewhere()):
            return f"; {other}: set BRAINTRUST_API_URL to that"
        if self.impersonate_user:
            return (
                f"; calls run as user {self.impersonate_user}, which takes the owner "
                "role on each of that user's organisations"
            )
        return ""

    def _elsewhere(self) -> str | None:
        """What the app says of where our API is, if that is not where we asked."""
        try:
            found = self.login()
        except ApiError:
            return None
        for each in found:
            ours = self.connection.org_name in {None, each.name}
            if ours and each.api_url and each.api_url.rstrip("/") != DEFAULT_API_URL:
                text = f"organisation {each.name!r} has its API at {each.api_url}"
                return scrubbed(text, self.connection.api_key)
        return None
