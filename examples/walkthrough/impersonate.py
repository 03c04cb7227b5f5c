"""Call the API as another user of one's organisations.

Run it with a key of yours and the e-mail address of somebody in your organisation:

    BRAINTRUST_API_KEY=sk-… python examples/walkthrough/impersonate.py ada@example.com

To act as somebody takes the owner role on each of that user's organisations. The
program says where it would grant you that role, and grants it with `--grant`.
`BRAINTRUST_API_URL` names another region's server, or your own.
"""

# ruff: noqa: T201 - what it prints is what it is for

from __future__ import annotations

import argparse

from pytest_braintrust.api import BraintrustClient, Me, Role, User
from pytest_braintrust.errors import Refused


def find_user(client: BraintrustClient, email: str) -> User:
    """The user with that address, or an end with a message."""
    found = next(client.list_users(email), None)
    if found is None:
        msg = f"no user of your organisations has the address {email!r}"
        raise SystemExit(msg)
    return found


def find_owner_role(client: BraintrustClient) -> Role:
    """The role of an organisation's owner, which Braintrust itself defines."""
    found = (each for each in client.list_roles("owner") if each.org_id is None)
    role = next(found, None)
    if role is None:
        msg = "the server has no role of its own that is called owner"
        raise SystemExit(msg)
    return role


def own(client: BraintrustClient, me: Me, owner: Role, *, grant: bool) -> None:
    """Become an owner of one's organisations where one is none yet."""
    for organization in me.organizations:
        grants = client.list_acls(
            "organization", organization.id, user_id=me.id, role_id=owner.id
        )
        if any(grants):
            print(f"{organization.name}: you are an owner")
        elif grant:
            client.create_acl(
                "organization", organization.id, user_id=me.id, role_id=owner.id
            )
            print(f"{organization.name}: you are an owner now")
        else:
            # An owner by way of a group is one too, and is not seen here.
            print(f"{organization.name}: nothing makes you an owner; --grant does")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("email", help="Whom to act as")
    parser.add_argument(
        "--grant", action="store_true", help="Make yourself an owner where you are none"
    )
    options = parser.parse_args()
    with BraintrustClient() as client:
        me = client.me()
        user = find_user(client, options.email)
        own(client, me, find_owner_role(client), grant=options.grant)
    with BraintrustClient(impersonate_user=user.id) as client:
        try:
            them = client.me()
        except Refused as error:
            raise SystemExit(str(error)) from None
        print(f"{me.email} acts as {them.email}, who sees:")
        for project in client.list_projects(limit=10):
            print(f"  {project.name}")


if __name__ == "__main__":
    main()
