"""The rows of a run arrive on Braintrust once each, in one experiment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from between import Proxy, Tls, self_signed
from conftest import Ran, Suite
from fake_braintrust import FakeBraintrust, Fault, answer, hang, html, redirect, reset
from test_recording import CAPITALS

#: Nothing listens there.
NOWHERE = "http://127.0.0.1:9"

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_rows_arrive_once_each(
    suite: Suite, server: FakeBraintrust, plugin_args: list[str]
) -> None:
    """One experiment with the run's facts, every row in it, and its page's link."""
    ran = suite.write(test_geo=CAPITALS).sends_to(server).run(*plugin_args)
    assert ran.status == 0, ran.out
    assert "3 recorded = 3 sent + 0 pending" in ran.section
    (experiment,) = server.experiments
    assert f"{server.app_url}/app/" in ran.section
    rows = server.rows(experiment["id"])
    assert sorted(each["input"]["question"] for each in rows) == [
        "France",
        "Italy",
        "Spain",
    ]
    assert {each["id"] for each in rows} == {each["id"] for each in ran.rows()}
    assert experiment["metadata"]["pytest_braintrust"]


# ------------------------------------------------------------------- refused at the start


def refused(ran: Ran, server: FakeBraintrust) -> str:
    """Check that a run ended before its first test; answers what it said of it."""
    assert ran.status == 4, ran.out
    assert "Traceback" not in ran
    assert "no tests ran" in ran.out
    assert "= braintrust =" not in ran.out
    assert server.experiments == []
    (error,) = [each for each in ran.err.splitlines() if each.startswith("ERROR")]
    return error


@pytest.mark.parametrize("args", [(), ("-p", "xdist", "-n2")], ids=["plain", "-n2"])
def test_a_wrong_key_ends_the_run_before_its_first_test(
    suite: Suite, server: FakeBraintrust, args: tuple[str, ...]
) -> None:
    """One line says that the key is at fault, and who says so."""
    server.revoke_key(server.api_key)
    ran = suite.write(test_geo=CAPITALS).sends_to(server).run(*args)
    told = refused(ran, server)
    assert f"ERROR: braintrust: {server.url}/v1/project answered 401" in told
    assert told.endswith("; check the API key")


def test_a_key_that_may_do_nothing_ends_the_run_too(
    suite: Suite, server: FakeBraintrust
) -> None:
    """A 403 at the first question is as clear as a 401."""
    server.forbid_key(server.api_key)
    told = refused(suite.write(test_geo=CAPITALS).sends_to(server).run(), server)
    assert "answered 403: this key has no permission to do that" in told


@pytest.mark.parametrize(
    "fault",
    [html(), answer(404), answer(405), answer(200, {"ok": True}), redirect(status=302)],
    ids=["html", "404", "405", "other JSON", "redirect"],
)
def test_an_address_that_is_not_the_api_s_ends_the_run(
    suite: Suite, server: FakeBraintrust, fault: object
) -> None:
    """What no Braintrust answers makes us doubt the address, aloud."""
    server.faults.add(Fault(fault, times=None))  # type: ignore[arg-type]
    told = refused(suite.write(test_geo=CAPITALS).sends_to(server).run(), server)
    assert "that the address of Braintrust's API?" in told or "API's address?" in told


def test_the_default_address_hints_at_others(
    suite: Suite, server: FakeBraintrust, tmp_path: Path
) -> None:
    """A key of another region is refused at the default address: say which variable."""
    suite.write(test_geo=CAPITALS).sends_to(server)
    del suite.environment["BRAINTRUST_API_URL"], suite.environment["BRAINTRUST_APP_URL"]
    # The real address, led here by a proxy and by a certificate for its name.
    made = self_signed(tmp_path, "api.braintrust.dev", "www.braintrust.dev")
    tls = Tls(made, int(server.url.rpartition(":")[2]))
    proxy = Proxy(lambda host, port: ("127.0.0.1", tls.port))
    suite.environment["HTTPS_PROXY"] = proxy.url
    suite.environment["SSL_CERT_FILE"] = str(made.certificate)
    ran = suite.run()
    assert ran.status == 0, ran.out
    assert "3 sent + 0 pending" in ran.section
    assert set(proxy.asked) == {"CONNECT api.braintrust.dev:443"}
    server.revoke_key(server.api_key)
    again = suite.run()
    assert again.status == 4
    assert "check the API key, and set BRAINTRUST_API_URL if your" in again.err
    assert "CONNECT www.braintrust.dev:443" in proxy.asked


# ----------------------------------------------------------------------- cannot be reached


def warned(ran: Ran, status: int = 0) -> str:
    """Check that a run went on without its server; answers its one warning."""
    assert ran.status == status, ran.out
    assert "3 recorded = 0 sent + 3 pending" in ran.section
    assert "3 rows pending, kept; send with: pytest-braintrust push" in ran.section
    assert "page  " not in ran.section
    # A long line is broken at words.
    before = " ".join(ran.out.partition("= braintrust =")[0].split())
    _, warning = before.split("braintrust: ")
    warning, command, _ = warning.partition("pytest-braintrust push")
    assert command
    assert "Traceback" not in ran
    return warning


def pushed(suite: Suite, server: FakeBraintrust) -> None:
    """Check that the command delivers what the run kept, once each."""
    command = suite.sends_to(server).cli("push")
    assert command.status == 0, (command.out, command.err)
    assert "3 rows sent" in command.out
    (experiment,) = server.experiments
    assert len(server.rows(experiment["id"])) == 3
    assert suite.cli("push").out == "nothing to send: every row is on Braintrust\n"


@pytest.mark.parametrize(
    ("url", "why"),
    [(NOWHERE, "refused"), ("https://braintrust.invalid", "braintrust.invalid")],
    ids=["refused", "no such name"],
)
def test_a_network_that_is_down_is_one_warning(
    suite: Suite, server: FakeBraintrust, url: str, why: str
) -> None:
    """The run goes on with its status, and the command it names sends its rows."""
    suite.write(test_geo=CAPITALS, test_bad="def test_no(): assert 0")
    suite.sends_to(server).environment["BRAINTRUST_API_URL"] = url
    ran = suite.run("test_geo.py")
    assert why in warned(ran)
    pushed(suite, server)
    suite.environment["BRAINTRUST_API_URL"] = url
    assert suite.run("test_bad.py").status == 1


def test_a_server_that_hangs_is_one_warning(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Neither the check at the start nor the wait at the end is long."""
    fault = server.faults.add(Fault(hang(60), times=None))
    ran = suite.write(test_geo=CAPITALS).sends_to(server).run(seconds=40)
    assert "timed out" in warned(ran)
    assert f"{server.url} did not answer during this run" in ran.section
    assert fault.struck
    server.faults.clear()
    pushed(suite, server)


def test_a_name_server_that_hangs_is_one_warning(
    suite: Suite, server: FakeBraintrust, tmp_path: Path
) -> None:
    """The system has no bound for how long a name takes to be found; we have."""
    patched = tmp_path / "patched"
    patched.mkdir()
    (patched / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *_, **__: time.sleep(60)\n"
    )
    suite.write(test_geo=CAPITALS).sends_to(server)
    paths = (str(patched), suite.env()["PYTHONPATH"])
    suite.environment["PYTHONPATH"] = os.pathsep.join(paths)
    assert "no address of 127.0.0.1 was found within 4" in warned(suite.run(seconds=50))
    del suite.environment["PYTHONPATH"]
    pushed(suite, server)


def test_a_certificate_that_nobody_vouches_for_is_a_warning(
    suite: Suite, server: FakeBraintrust, tmp_path: Path
) -> None:
    """Nothing is sent to it, the key least of all; one that is known will do."""
    made = self_signed(tmp_path, "127.0.0.1")
    tls = Tls(made, int(server.url.rpartition(":")[2]))
    suite.write(test_geo=CAPITALS).sends_to(server)
    suite.environment["BRAINTRUST_API_URL"] = tls.url
    assert "certificate verify failed" in warned(suite.run()).lower()
    assert server.requests == []
    suite.environment["SSL_CERT_FILE"] = str(made.certificate)
    assert "3 sent + 0 pending" in suite.run().section
    # Processes of our own work in another folder.
    made.certificate.rename(suite.folder / "ca.pem")
    suite.environment["SSL_CERT_FILE"] = "ca.pem"
    assert "3 sent + 0 pending" in suite.run().section


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ALL_PROXY", "ftp://u:hunter2@proxy", "that is not the address of a proxy"),
        ("NO_PROXY", "hunter2,::1/128", "cannot be read as an address"),
        ("https_proxy", "http://u:hun/ter2@proxy", "is not the address of a proxy"),
        ("SSL_CERT_FILE", "pytest.ini", "no certificates can be read there: "),
    ],
)
def test_a_way_to_servers_that_is_of_no_use_is_said_at_once(
    suite: Suite, server: FakeBraintrust, name: str, value: str, told: str
) -> None:
    """By the variable alone, as a proxy's address may have a password."""
    suite.write(test_geo=CAPITALS).ini().sends_to(server).environment[name] = value
    error = refused(suite.run(), server)
    assert error.startswith(f"ERROR: braintrust: {name}: ")
    assert told in error
    assert "hun" not in error
    command = suite.cli("access", "whoami")
    assert command.status == 2
    assert command.err.startswith(f"pytest-braintrust: {name}: ")
    assert told in command.err
    assert "hun" not in command.err


def test_a_socks_proxy_takes_a_package(
    suite: Suite, server: FakeBraintrust, tmp_path: Path
) -> None:
    """httpx has it as an extra, of which the message tells the name."""
    (tmp_path / "socksio.py").write_text("raise ImportError")
    suite.environment["PYTHONPATH"] = os.pathsep.join(
        (str(tmp_path), suite.env()["PYTHONPATH"])
    )
    suite.sends_to(server).environment["ALL_PROXY"] = "socks5://127.0.0.1:9"
    command = suite.cli("access", "whoami")
    assert command.status == 2
    assert "ALL_PROXY: for a SOCKS proxy, `pip install 'httpx[socks]'`" in command.err


def test_a_proxy_of_the_environment_is_used(
    suite: Suite, server: FakeBraintrust
) -> None:
    """As with every HTTP client; `NO_PROXY` names what is reached without it."""
    proxy = Proxy()
    suite.write(test_geo=CAPITALS).sends_to(server).environment["HTTP_PROXY"] = (
        proxy.url
    )
    assert "3 sent + 0 pending" in suite.run().section
    assert f"POST {server.url}/v1/project" in proxy.asked
    asked = len(proxy.asked)
    suite.environment["NO_PROXY"] = "localhost,127.0.0.1"
    assert "3 sent + 0 pending" in suite.run().section
    assert len(proxy.asked) == asked
    proxy.close()
    del suite.environment["NO_PROXY"]
    warned(suite.run())


def test_plain_http_to_another_machine_has_to_be_allowed(
    suite: Suite, server: FakeBraintrust
) -> None:
    """A run and a command say what allows it, and send the key only then."""
    # Another machine by its name; a proxy leads to ours.
    proxy = Proxy(lambda host, port: ("127.0.0.1", port))
    url = server.url.replace("127.0.0.1", "braintrust.internal")
    suite.write(test_geo=CAPITALS).sends_to(server)
    suite.environment |= {"BRAINTRUST_API_URL": url, "HTTP_PROXY": proxy.url}
    ran = suite.run()
    assert ran.status == 4
    assert "use https, or say --braintrust-allow-http where" in ran.err
    command = suite.cli("access", "whoami")
    assert command.status != 0
    assert "use https, or say --allow-http where" in command.err
    assert proxy.asked == []
    assert "3 sent + 0 pending" in suite.run("--braintrust-allow-http").section
    assert suite.cli("access", "whoami", "--allow-http").status == 0
    suite.environment["BRAINTRUST_ALLOW_HTTP"] = "1"
    assert suite.cli("access", "whoami").status == 0
    assert f"POST {url}/v1/project" in proxy.asked


# ------------------------------------------------------------------------- one experiment


def test_a_reset_after_it_was_made_leaves_one_experiment(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The server did its part and its answer was lost: asking again makes no second."""
    fault = server.faults.add(
        Fault(reset(apply=True), method="POST", path="/v1/experiment$")
    )
    ran = suite.write(test_geo=CAPITALS).sends_to(server).run()
    assert fault.struck == 1
    assert "3 sent + 0 pending" in ran.section
    assert len(server.experiments) == 1
    ran.honest(server)


def test_a_name_that_is_taken_gets_a_suffix(
    suite: Suite, server: FakeBraintrust
) -> None:
    """Rows never end up in the experiment of another run."""
    suite.write(test_geo=CAPITALS).sends_to(server)
    for _ in range(2):
        ran = suite.run("--braintrust-experiment", "nightly")
        assert "3 sent + 0 pending" in ran.section
    first, second = server.experiments
    assert first["name"] == "nightly"
    assert second["name"].startswith("nightly-")
    assert second["name"] in ran.section
    assert len(server.rows(first["id"])) == len(server.rows(second["id"])) == 3


def test_nothing_recorded_leaves_no_experiment(
    suite: Suite, server: FakeBraintrust, plugin_args: list[str]
) -> None:
    """Neither tests without a word nor those that were skipped make one."""
    text = "import pytest\ndef test_a(): pass\ndef test_b(bt_score): pytest.skip()\n"
    ran = suite.write(test_none=text).sends_to(server).run(*plugin_args)
    assert ran.status == 0
    assert "nothing recorded: use bt_score" in ran.section
    assert server.experiments == []


def test_a_redirect_to_another_host_takes_no_key_along(
    suite: Suite, server: FakeBraintrust
) -> None:
    """What answers there is not Braintrust, so that nothing counts as sent."""
    server.faults.add(Fault(redirect(), path="/insert$", times=None))
    ran = (
        suite.write(test_geo=CAPITALS)
        .sends_to(server)
        .run("--braintrust-flush-timeout=1")
    )
    assert ran.status == 0
    assert "3 recorded = 0 sent + 3 pending" in ran.section
    assert server.elsewhere.requests
    assert server.elsewhere.leaks == []
    server.faults.clear()
    assert suite.cli("push").status == 0
    assert len(server.rows(server.experiments[0]["id"])) == 3
