"""Calls about who may do what: oneself, organisations, users, roles, grants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from pytest_braintrust.api import answers
from pytest_braintrust.api.calls import Calls, at
from pytest_braintrust.api.http import Ask
from pytest_braintrust.api.models import Acl, Me, Organization, Role, User
from pytest_braintrust.api.retry import retrying


class Access(Calls):
    """`/api/self/me`, `/v1/organization`, `/v1/user`, `/v1/role` and `/v1/acl`."""

    def me(self) -> Me:
        """Whose key it is, or who is impersonated."""
        return Me.read(self._send("POST", "/api/self/me", {}))

    def list_organizations(
        self, name: str | None = None, *, limit: int | None = None
    ) -> Iterator[Organization]:
        """The organisations that the key can see, the newest first."""
        found = self._list("/v1/organization", {"org_name": name}, limit)
        return map(Organization.read, found)

    def list_users(
        self, email: str | None = None, *, limit: int | None = None
    ) -> Iterator[User]:
        """The users that the key can see, the newest first."""
        return map(User.read, self._list("/v1/user", {"email": email}, limit))

    def find_user(self, email: str) -> User | None:
        """The user who has that address, in small letters or capitals."""
        same = email.lower()
        found = (each for each in self.list_users(email) if each.email)
        return next(
            (each for each in found if (each.email or "").lower() == same), None
        )

    def get_user(self, user_id: str) -> User:
        """The user with that id.

        Raises:
            Refused, Rejected: there is none that this key may see.
        """
        return User.read(self._get(at("user", user_id)))

    def list_roles(
        self, name: str | None = None, *, limit: int | None = None
    ) -> Iterator[Role]:
        """The roles, those of Braintrust itself included, such as `owner`."""
        return map(Role.read, self._list("/v1/role", {"role_name": name}, limit))

    def create_acl(  # noqa: PLR0913 - what a grant is made of
        self,
        object_type: str,
        object_id: str,
        *,
        user_id: str | None = None,
        group_id: str | None = None,
        role_id: str | None = None,
        permission: str | None = None,
    ) -> Acl:
        """Grant a role or permission, or answer the grant that says the same.

        Args:
            object_type: `organization`, `project`, `experiment`, `dataset`, …
            object_id: The object's id.
            user_id: Who is granted it: this user, or else
            group_id: this group.
            role_id: What is granted: this role, or else
            permission: this permission: `read`, `update`, …

        Raises:
            ValueError: not one of the two is given, or both.
        """
        _one_of(user_id=user_id, group_id=group_id)
        _one_of(role_id=role_id, permission=permission)
        body = {
            "object_type": object_type,
            "object_id": object_id,
            "user_id": user_id,
            "group_id": group_id,
            "role_id": role_id,
            "permission": permission,
        }
        return Acl.read(self._send("POST", "/v1/acl", body))

    def list_acls(
        self,
        object_type: str,
        object_id: str,
        *,
        user_id: str | None = None,
        role_id: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Acl]:
        """The grants on an object itself, the newest first."""
        params = {
            "object_type": object_type,
            "object_id": object_id,
            "user_id": user_id,
            "role_id": role_id,
        }
        return map(Acl.read, self._list("/v1/acl", params, limit))

    def delete_acl(self, acl_id: str) -> None:
        """Take a grant back."""
        self._delete(at("acl", acl_id))

    def login(self) -> list[Organization]:
        """The key's organisations, each with its own address of the API.

        Asks the app, not the API: where the API's address is wrong, it still answers.
        """
        ask = Ask("POST", "/api/apikey/login")
        with closing(self._reach(self.connection.app_url)) as app:
            answer = retrying(lambda: app.answer(ask), self._policy, self._sleep)
        found = answers.an_object(answer, ask.path)
        return [Organization.read(each) for each in answers.objects(found, "org_info")]


def _one_of(**given: str | None) -> None:
    if sum(value is not None for value in given.values()) != 1:
        msg = f"exactly one of {' and '.join(given)} has to be given"
        raise ValueError(msg)
