"""`access`: whose key it is, who somebody is, and the role that acting as others takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pytest_braintrust.cli.common import (
    Commands,
    a_name,
    add_command,
    add_connection_options,
    agreed,
    required_connection,
)
from pytest_braintrust.cli.output import as_json, say, warn
from pytest_braintrust.errors import NamingError

if TYPE_CHECKING:
    from pytest_braintrust.api import BraintrustClient, Me, Organization, Role, User

_WHOAMI = """\
  pytest-braintrust access whoami
  pytest-braintrust access whoami --impersonate ada@example.com
"""
_FIND = """\
  pytest-braintrust access find ada@example.com
"""
_GRANT = """\
  pytest-braintrust access grant-owner --org acme
  pytest-braintrust access grant-owner --org acme --user ada@example.com --yes
"""
_OWNER = "owner"


def add_to(commands: Commands) -> None:
    """Add the command and its own."""
    parser = commands.add_parser(
        "access",
        help="show whose key it is, find users, make an owner",
        description="Work with who may do what on Braintrust.",
    )
    own = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    text = "Show whose key it is, and of which organisations"
    add_connection_options(
        add_command(own, "whoami", whoami, text=text, examples=_WHOAMI)
    )
    text = "Show the user who has an e-mail address"
    find_parser = add_command(own, "find", find, text=text, examples=_FIND)
    find_parser.add_argument("email", type=a_name, metavar="EMAIL")
    add_connection_options(find_parser)
    _add_grant(own)


def _add_grant(commands: Commands) -> None:
    parser = add_command(
        commands,
        "grant-owner",
        grant_owner,
        text="Make somebody an owner of an organisation",
        more="To act as a user takes this role on each organisation of that user. What "
        "is going to be done is said, and asked about.",
        examples=_GRANT,
    )
    parser.add_argument(
        "--org",
        required=True,
        type=a_name,
        metavar="ORG",
        help="the organisation's name or id",
    )
    parser.add_argument(
        "--user",
        type=a_name,
        metavar="USER",
        help="who becomes an owner, by id or e-mail address (default: yourself)",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_connection_options(parser)


def _client(given: argparse.Namespace) -> BraintrustClient:
    from pytest_braintrust.api import BraintrustClient  # noqa: PLC0415 - takes long

    return BraintrustClient.for_connection(required_connection(given))


def whoami(given: argparse.Namespace) -> int:
    """Print whose key it is."""
    with _client(given) as client:
        me = client.me()
    if given.json:
        organizations = [
            {"id": each.id, "name": each.name} for each in me.organizations
        ]
        told = {"id": me.id, "email": me.email, "organizations": organizations}
        print(as_json(told))
        return 0
    say(f"{me.email or 'no e-mail address'}  {me.id}")
    for each in me.organizations:
        say(f"  of {each.name}  {each.id}")
    return 0


def find(given: argparse.Namespace) -> int:
    """Print who has that address."""
    with _client(given) as client:
        found = list(client.list_users(given.email))
    if given.json:
        print(as_json([_plain(each) for each in found]))
    for each in () if given.json else found:
        name = " ".join(filter(None, (each.given_name, each.family_name)))
        say(f"{each.email}  {each.id}  {name}".rstrip())
    if not found:
        warn(f"no user of your organisations has the address {given.email}")
        return 1
    return 0


def _plain(user: User) -> dict[str, str | None]:
    return {
        "id": user.id,
        "email": user.email,
        "given_name": user.given_name,
        "family_name": user.family_name,
    }


def grant_owner(given: argparse.Namespace) -> int:
    """Say what is going to be done, ask, and do it."""
    tell = _nothing if given.json else say
    with _client(given) as client:
        me = client.me()
        organization = _organization(me.organizations, given.org)
        user_id, name = _user(client, me, given.user)
        role = _owner_role(client)
        grants = client.list_acls(
            "organization", organization.id, user_id=user_id, role_id=role.id
        )
        place = f"organisation {organization.name}"
        was = any(True for _ in grants)
        if was:
            tell(f"{name} is an owner of {place} already; there is nothing to do")
        else:
            for line in _what(name, user_id, organization):
                tell(line)
            if not agreed(given, "Do it?"):
                return 1
            client.create_acl(
                "organization", organization.id, user_id=user_id, role_id=role.id
            )
            tell(f"{name} is an owner of {place} now")
    if given.json:
        print(
            as_json({"organization": organization.id, "user": user_id, "new": not was})
        )
    return 0


def _nothing(_: str) -> None:
    """Say nothing: what is printed is for a program."""


def _what(name: str, user_id: str, organization: Organization) -> Iterator[str]:
    yield (
        f"This makes {name} ({user_id}) an owner of organisation {organization.name} "
        f"({organization.id})."
    )
    yield "Owners may read, change and delete all of it, and act as its users."


def _organization(found: Iterable[Organization], text: str) -> Organization:
    known = list(found)
    meant = [each for each in known if text in {each.id, each.name}]
    if len(meant) != 1:
        names = ", ".join(each.name for each in known) or "none"
        msg = f"you have no organisation {text!r}; there are {names}"
        raise NamingError(msg)
    return meant[0]


def _user(client: BraintrustClient, me: Me, text: str | None) -> tuple[str, str]:
    """The id of a user, and what to call that one."""
    if text is None:
        return me.id, me.email or me.id
    if "@" not in text:
        user = client.get_user(text)
        return user.id, user.email or user.id
    found = client.find_user(text)
    if found is None:
        msg = f"no user of your organisations has the address {text}"
        raise NamingError(msg)
    return found.id, text


def _owner_role(client: BraintrustClient) -> Role:
    """The role that Braintrust itself calls so, not one of an organisation's own."""
    found = (each for each in client.list_roles(_OWNER) if each.org_id is None)
    role = next(found, None)
    if role is None:
        msg = f"the server has no role of its own that is called {_OWNER}"
        raise NamingError(msg)
    return role
