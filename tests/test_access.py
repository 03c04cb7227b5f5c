"""A run as somebody else, and the commands that say who may."""

from __future__ import annotations

import json
import os
import sys

import pytest
from capitals import fill
from conftest import Suite
from fake_braintrust import FakeBraintrust, Fault, answer

from pytest_braintrust.api import BraintrustClient
from pytest_braintrust.errors import Refused

TEST = """\
import pytest

@pytest.mark.braintrust(dataset="geo/capitals")
@pytest.mark.parametrize("number", range(3))
def test_it(bt_row, bt_score, number):
    bt_score(output=number)
    assert bt_score.experiment.id
"""


@pytest.fixture
def ada(server: FakeBraintrust, client: BraintrustClient) -> str:
    """The id of a user whom the key's owner may act as; a dataset that both see."""
    fill(client, "geo", "capitals", ["France"])
    user = server.add_user("ada@example.com", server.organizations[0])
    server.make_owner(server.user, server.organizations[0])
    return str(user["id"])


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("way", ["option", "variable", "ini"])
def test_every_call_of_a_run_is_somebody_else_s(
    suite: Suite, server: FakeBraintrust, ada: str, way: str, workers: str
) -> None:
    """That of the uploader, of a dataset's download, of a worker that asks for a link."""
    suite.write(test_it=TEST).sends_to(server).with_plugins("xdist")
    arguments = [workers]
    if way == "option":
        arguments.append("--braintrust-impersonate=ada@example.com")
    elif way == "variable":
        suite.environment["BRAINTRUST_IMPERSONATE_USER"] = ada
    else:
        suite.ini("braintrust_impersonate = ada@example.com")
    before = len(server.requests)
    ran = suite.run(*arguments)
    assert ran.status == 0, ran.out
    assert "3 recorded = 3 sent + 0 pending" in ran.section
    made = server.requests[before:]
    looked_up = [each for each in made if each.path == "/v1/user"]
    assert bool(looked_up) is (way != "variable")
    assert {each.impersonated for each in looked_up} <= {None}
    others = [each for each in made if each not in looked_up]
    assert {each.impersonated for each in others} == {ada}
    assert {"/btql", "/v1/project", "/v1/experiment"} <= {each.path for each in others}
    assert server.experiments[0]["user_id"] == ada


def test_who_cannot_be_acted_as_is_told_before_the_first_test(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Nobody has the address, the role is missing, or it is no id at all."""
    user = server.add_user("bob@example.com", server.organizations[0])
    suite.write(test_it="def test_it(bt_score): bt_score(output=1)\n").sends_to(server)
    for given, told in (
        (
            "eve@example.com",
            "calls cannot run as eve@example.com: no user of your orga",
        ),
        ("bob@example.com", f"calls run as user {user['id']}, which takes the owner"),
        ("b\u00f6b", "--braintrust-impersonate: the user's id has characters that non"),
    ):
        ran = suite.run(f"--braintrust-impersonate={given}")
        assert ran.status == 4, ran.out
        assert told in ran.err
        assert "Traceback" not in ran.err
    assert not server.experiments


def test_rows_wait_where_the_address_cannot_be_looked_up(
    suite: Suite, server: FakeBraintrust, ada: str
) -> None:
    """A network that is down is no wrong address: `push` sends them, as that user."""
    suite.write(test_it="def test_it(bt_score): bt_score(output=1)\n").sends_to(server)
    suite.environment["BRAINTRUST_IMPERSONATE_USER"] = "ada@example.com"
    suite.environment["BRAINTRUST_FLUSH_TIMEOUT"] = "1"
    fault = server.faults.add(Fault(answer(503), path="/v1/user", times=None))
    ran = suite.run()
    assert ran.status == 0
    assert "1 recorded = 0 sent + 1 pending" in ran.section
    assert fault.struck
    server.faults.clear()
    ran = suite.cli("push")
    assert ran.status == 0, ran.err
    assert server.experiments[0]["user_id"] == ada
    ran = suite.cli("access", "whoami", "--impersonate", "ada@example.com")
    assert ran.out.startswith(f"ada@example.com  {ada}\n")


def test_the_client_finds_whom_to_act_as(server: FakeBraintrust, ada: str) -> None:
    """With its first call, once; until it is found no call is made as oneself."""
    before = len(server.requests)
    with BraintrustClient(
        api_key=server.api_key, api_url=server.url, impersonate_user="ada@example.com"
    ) as client:
        assert [client.me().id, client.me().id] == [ada, ada]
    paths = [each.path for each in server.requests[before:]]
    assert paths.count("/api/self/me") == 2
    assert paths[0] == "/v1/user"
    with BraintrustClient(
        api_key=server.api_key, api_url=server.url, impersonate_user="eve@example.com"
    ) as client:
        for _ in range(2):
            with pytest.raises(Refused, match=r"cannot run as eve@example\.com"):
                client.me()
    assert len([x for x in server.requests if x.path == "/api/self/me"]) == 2


def test_whose_key_it_is(suite: Suite, server: FakeBraintrust) -> None:
    """For people and for programs."""
    suite.sends_to(server)
    (org,) = server.organizations
    ran = suite.cli("access", "whoami")
    assert ran.out.splitlines() == [
        f"dev@example.com  {server.user['id']}",
        f"  of test-org  {org['id']}",
    ]
    told = json.loads(suite.cli("access", "whoami", "--json").out)
    assert told["organizations"] == [{"id": org["id"], "name": "test-org"}]


def test_who_has_an_address(suite: Suite, server: FakeBraintrust, ada: str) -> None:
    """Or that nobody has it."""
    suite.sends_to(server)
    ran = suite.cli("access", "find", "ada@example.com")
    assert ran.out == f"ada@example.com  {ada}  ada\n"
    (told,) = json.loads(suite.cli("access", "find", "ada@example.com", "--json").out)
    assert told["id"] == ada
    ran = suite.cli("access", "find", "eve@example.com")
    assert (ran.status, ran.out) == (1, "")
    assert "no user of your organisations has the address eve@example.com" in ran.err


def test_an_owner_is_made_when_that_is_confirmed(
    suite: Suite, server: FakeBraintrust
) -> None:
    """What is going to be done is said first; without a yes nothing is."""
    suite.sends_to(server)
    (org,) = server.organizations
    bob = server.add_user("bob@example.com", org)
    command = ("access", "grant-owner", "--org", "test-org")
    who = f"dev@example.com ({server.user['id']})"
    said = [
        f"This makes {who} an owner of organisation test-org ({org['id']}).",
        "Owners may read, change and delete all of it, and act as its users.",
    ]
    ran = suite.cli(*command)
    assert (ran.status, ran.out.splitlines()) == (2, said)
    assert "nobody is there to be asked: say --yes" in ran.err
    assert not [each for each in server.requests if each.method == "POST"][1:]
    ran = suite.cli(*command, "--yes")
    assert ran.status == 0
    done = "dev@example.com is an owner of organisation test-org now"
    assert ran.out.splitlines() == [*said, done]
    ran = suite.cli(*command)
    assert ran.status == 0
    assert ran.out == f"{done.replace('now', 'already')}; there is nothing to do\n"
    for name in ("bob@example.com", bob["id"]):
        ran = suite.cli(*command[:3], org["id"], "--user", name, "--yes")
        assert "bob@example.com is an owner of organisation test-org" in ran.out
    assert server.state.is_owner(bob["id"], org["id"])


def test_a_program_is_told_what_was_done(suite: Suite, server: FakeBraintrust) -> None:
    """One document, and no question in it."""
    suite.sends_to(server)
    (org,) = server.organizations
    command = ("access", "grant-owner", "--org", "test-org", "--json")
    ran = suite.cli(*command)
    assert (ran.status, ran.out) == (2, "")
    assert "say --yes" in ran.err
    told = {"organization": org["id"], "user": server.user["id"]}
    for new in (True, False):
        ran = suite.cli(*command, "--yes")
        assert (ran.status, json.loads(ran.out)) == (0, {**told, "new": new})


def test_nobody_else_becomes_an_owner(suite: Suite, server: FakeBraintrust) -> None:
    """Where the server answers users who do not have the address."""
    suite.sends_to(server)
    (org,) = server.organizations
    bob = server.add_user("bob@example.com", org)
    server.faults.add(
        Fault(answer(200, {"objects": [bob]}), path="/v1/user", times=None)
    )
    ran = suite.cli("access", "grant-owner", "--org=test-org", "--user=e@e.e", "--yes")
    assert ran.status == 2
    assert "no user of your organisations has the address e@e.e" in ran.err
    assert not server.state.is_owner(bob["id"], org["id"])


def test_whom_or_what_nobody_knows_is_told(
    suite: Suite, server: FakeBraintrust
) -> None:
    """As wrong usage."""
    suite.sends_to(server)
    ran = suite.cli("access", "grant-owner", "--org", "acme", "--yes")
    assert (ran.status, ran.out) == (2, "")
    assert "you have no organisation 'acme'; there are test-org" in ran.err
    ran = suite.cli("access", "grant-owner", "--org=test-org", "--user=e@e.e", "--yes")
    assert ran.status == 2
    assert "no user of your organisations has the address e@e.e" in ran.err
    ran = suite.cli("access", "grant-owner")
    assert ran.status == 2
    assert "--org" in ran.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own")
@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("\n", 1), ("n\n", 1)])
def test_a_person_is_asked(
    suite: Suite, server: FakeBraintrust, typed: str, status: int
) -> None:
    """On a terminal; anything but yes is no."""
    suite.sends_to(server)
    ours, theirs = os.openpty()
    os.write(ours, typed.encode())
    ran = suite.cli("access", "grant-owner", "--org=test-org", stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert ran.status == status, ran.err
    assert "Do it? [y/N] " in ran.out
    (org,) = server.organizations
    assert server.state.is_owner(server.user["id"], org["id"]) is (status == 0)
