"""Settings come from option, variable and ini, in that order; wrong ones end the run."""

from __future__ import annotations

import os
import re
import subprocess
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeAlias

import pytest
from conftest import Suite
from fake_braintrust import FakeBraintrust

from pytest_braintrust import settings as settings_room
from pytest_braintrust.cli.datasets.naming import project_of
from pytest_braintrust.errors import SettingsError
from pytest_braintrust.given import Given
from pytest_braintrust.settings import Settings

RECORDED = "def test_it(bt_score): bt_score(output=1)\n"
#: What pytest answers for an ini value of several that is not set.
LISTS: dict[str, list[str]] = {
    "braintrust_metadata": [],
    "braintrust_infrastructure_errors": [],
}


def settled(
    options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    ini: Mapping[str, Any] | None = None,
    root: str = "/home/ada/atlas",
) -> Settings:
    """The settings of a run that was given these, by their short names."""
    named = {f"braintrust_{name}": each for name, each in (options or {}).items()}
    lines = {f"braintrust_{name}": each for name, each in (ini or {}).items()}
    given = Given(
        named.get,
        {**LISTS, **lines}.get,
        {f"BRAINTRUST_{name.upper()}": each for name, each in (environ or {}).items()},
    )
    return settings_room.resolve(given, Path(root))


def value_of(settled: Settings, name: str) -> Any:
    connection = settled.connection
    assert connection is not None or name not in {"api_url", "app_url", "org_name"}
    return getattr(connection if hasattr(connection, name) else settled, name)


TEXTS = [
    ("project", "a", "b", "c"),
    ("experiment", "a", "b", "c"),
    ("org_name", "a", "b", "c"),
    ("baseline", "a", "b", "c"),
    ("api_url", "https://a", "https://b", "https://c"),
    ("app_url", "https://a", "https://b", "https://c"),
    ("flush_timeout", "1", "2", "3"),
]


@pytest.mark.parametrize(("name", "option", "variable", "ini"), TEXTS)
def test_the_nearest_place_counts(
    name: str, option: str, variable: str, ini: str
) -> None:
    """The command line goes over the environment, and that over the ini file."""
    key = {"api_key": "sk-1"}
    kind = float if name == "flush_timeout" else str
    three = settled({name: option}, {name: variable, **key}, {name: ini})
    two = settled({}, {name: variable, **key}, {name: ini})
    one = settled({}, {name: " ", **key}, {name: f" {ini} "})
    assert value_of(three, name) == kind(option)
    assert value_of(two, name) == kind(variable)
    assert value_of(one, name) == kind(ini)


SWITCHES = [("all", "record_all", True), ("no_upload", "upload", False)]
SWITCHES += [("no_summary", "summary", False)]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_switches_have_the_same_three_places(switch: tuple[str, str, bool]) -> None:
    """A variable may also switch off what the ini file switches on."""
    name, field, when_on = switch
    off = not when_on
    assert getattr(settled(), field) is off
    assert getattr(settled({name: True}, {name: "0"}), field) is when_on
    assert getattr(settled({}, {name: "yes"}), field) is when_on
    assert getattr(settled({}, {name: " Off "}, {name: True}), field) is off
    assert getattr(settled({}, {name: ""}, {name: True}), field) is when_on


def test_without_any_there_is_a_default_for_each() -> None:
    """The project is called as the root folder; no key, so nothing is sent."""
    found = settled()
    assert (found.project, found.experiment, found.connection) == ("atlas", None, None)
    assert (found.record_all, found.summary, found.upload) == (False, True, True)
    assert found.flush_timeout == 30
    assert found.store == Path("/home/ada/atlas/.braintrust")
    assert settled(root="/").project == "pytest"
    connection = settled({"api_key": " sk-1 \n"}).connection
    assert connection is not None
    assert connection.api_key == "sk-1"
    assert connection.api_url == "https://api.braintrust.dev"
    assert connection.app_url == "https://www.braintrust.dev"
    assert connection.org_name is None
    assert "sk-1" not in repr(settled({"api_key": "sk-1"}))


def test_only_an_option_goes_before_what_a_marker_names() -> None:
    """A project of the whole suite is a default; one typed for this run is an order."""
    assert settled({"project": "a"}).project_forced
    assert not settled({}, {"project": "a"}, {"project": "a"}).project_forced


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://api.braintrust.dev/", "https://api.braintrust.dev"),
        ("https://api.braintrust.dev/v1", "https://api.braintrust.dev"),
        ("https://api.braintrust.dev/v1//", "https://api.braintrust.dev"),
        ("https://x.amazonaws.com/api", "https://x.amazonaws.com/api"),
        ("https://x.amazonaws.com/api/v1/", "https://x.amazonaws.com/api"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses_are_taken_as_people_paste_them(given: str, meant: str) -> None:
    """With a slash, with `/v1`, with a path, and in the clear to this machine only."""
    found = settled({"api_url": given, "api_key": "sk-1"}).connection
    assert found is not None
    assert found.api_url == meant


@pytest.mark.parametrize("name", ["api_url", "app_url"])
def test_plain_http_to_another_machine_is_refused_unless_allowed(name: str) -> None:
    """By option, variable or ini; a variable takes back what the ini file allows."""
    given = {name: "http://a.internal:8000", "api_key": "sk-1"}
    for options, environ, ini in (
        ({"allow_http": True}, {}, {}),
        ({}, {"allow_http": "1"}, {}),
        ({}, {}, {"allow_http": True}),
    ):
        found = settled({**given, **options}, environ, ini)
        assert value_of(found, name) == "http://a.internal:8000"
    with pytest.raises(SettingsError, match="or say --braintrust-allow-http where"):
        settled(given, {"allow_http": "0"}, {"allow_http": True})


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("project", " ", "--braintrust-project was given an empty value"),
        ("experiment", "", "--braintrust-experiment was given an empty value"),
        ("api_key", "", "--braintrust-api-key was given an empty value"),
        ("api_url", "", "--braintrust-api-url was given an empty value"),
        ("api_url", "api.braintrust.dev", "not an address; it looks like https://"),
        ("api_url", "ftp://api.braintrust.dev", "not an address"),
        ("api_url", "https://", "not an address"),
        ("api_url", "https://a b", "not an address"),
        ("api_url", "https://a\nb", "not an address"),
        ("api_url", "https://a:b", "not an address"),
        ("api_url", "https://a:99999", "not an address"),
        ("api_url", "https://[::1", "not an address"),
        ("api_url", "http://api.braintrust.dev", "in the clear; use https"),
        ("api_url", "http://127.0.0.1.evil.dev", "in the clear; use https"),
        ("api_url", "https://a?b=c", "no user name, query or fragment"),
        ("api_url", "https://a#b", "no user name, query or fragment"),
        ("app_url", "www", "--braintrust-app-url: 'www' is not an address"),
        ("flush_timeout", "", "--braintrust-flush-timeout was given an empty value"),
        ("flush_timeout", "soon", "'soon' is not a number of seconds"),
        ("flush_timeout", "-1", "'-1' is not a number of seconds"),
        ("flush_timeout", "nan", "'nan' is not a number of seconds"),
        ("flush_timeout", "inf", "'inf' is not a number of seconds"),
        ("metadata", ["model"], "--braintrust-metadata: 'model' is not of the form"),
        ("metadata", ["=small"], "'=small' is not of the form NAME=VALUE"),
    ],
)
def test_a_wrong_value_is_named_with_its_option(
    name: str, value: Any, why: str
) -> None:
    """The text says where it was given, what is wrong, and what would be right."""
    with pytest.raises(SettingsError) as caught:
        settled({name: value})
    assert why in str(caught.value)
    assert f"--braintrust-{name.replace('_', '-')}" in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "ini", "named"),
    [
        ({"api_url": "www"}, {}, "BRAINTRUST_API_URL: 'www' is not an address"),
        ({"flush_timeout": "x"}, {}, "BRAINTRUST_FLUSH_TIMEOUT: 'x' is not a number"),
        ({"no_upload": "perhaps"}, {}, "BRAINTRUST_NO_UPLOAD: 'perhaps' is neither"),
        ({"all": "2"}, {}, "BRAINTRUST_ALL: '2' is neither 1 nor 0"),
        ({}, {"app_url": "www"}, "ini braintrust_app_url: 'www' is not an address"),
        ({}, {"flush_timeout": "x"}, "ini braintrust_flush_timeout: 'x' is not"),
        ({}, {"metadata": ["x"]}, "ini braintrust_metadata: 'x' is not of the form"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable_or_ini(
    environ: dict[str, str], ini: dict[str, Any], named: str
) -> None:
    """Whoever reads the message knows which of three files to open."""
    with pytest.raises(SettingsError) as caught:
        settled({}, environ, ini)
    assert str(caught.value).startswith(named)


@pytest.mark.parametrize("key", ["sk 1", "sk-\u00e9", "sk-\x00", "sk-1\nsk-2"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str) -> None:
    """The message says where it was given; a key stands in no message."""
    with pytest.raises(SettingsError) as caught:
        settled({}, {"api_key": key})
    assert str(caught.value).startswith("BRAINTRUST_API_KEY: ")
    assert "sk" not in str(caught.value)


@pytest.mark.parametrize("address", ["https://u:pw@a", "https://u:pw@a:b", "u://pw@a"])
def test_a_password_in_an_address_is_not_shown(address: str) -> None:
    """It is refused, and not repeated."""
    with pytest.raises(SettingsError) as caught:
        settled({"api_url": address})
    assert "pw" not in str(caught.value)


WrongRun: TypeAlias = "tuple[list[str], dict[str, str], list[str], str]"
WRONG_RUNS: list[WrongRun] = [
    ([], {"BRAINTRUST_API_URL": "www"}, [], "BRAINTRUST_API_URL: 'www'"),
    (
        ["--braintrust-flush-timeout=soon"],
        {},
        [],
        "--braintrust-flush-timeout: 'soon'",
    ),
    ([], {}, ["braintrust_all = perhaps"], "ini braintrust_all: "),
    ([], {}, ["braintrust_fail_under = exact"], "ini braintrust_fail_under: 'exact'"),
]


@pytest.mark.parametrize("xdist", [(), ("-p", "xdist", "-n1")], ids=str)
@pytest.mark.parametrize("wrong", WRONG_RUNS, ids=str)
def test_a_wrong_value_ends_the_run_before_collection(
    suite: Suite, wrong: WrongRun, xdist: tuple[str, ...]
) -> None:
    """Exit status 4, one line that says what to change, and nothing on the disk."""
    options, environ, ini, why = wrong
    suite.environment.update(environ)
    ran = suite.ini(*ini).write(test_it="1 / 0").run(*options, *xdist)
    assert ran.status == 4, ran.out
    assert f"ERROR: {why}" in ran.err
    assert "Traceback" not in ran
    assert "ZeroDivisionError" not in ran
    assert not ran.store.exists()


def test_a_run_uses_what_it_was_given(suite: Suite, server: FakeBraintrust) -> None:
    """All three places at once: option, variable and ini file each give something."""
    suite.ini("braintrust_project = of the ini", "braintrust_all = true")
    suite.environment["BRAINTRUST_EXPERIMENT"] = "of the variable"
    suite.environment["BRAINTRUST_API_URL"] = f"{server.url}/v1/"
    suite.environment["BRAINTRUST_APP_URL"] = server.app_url
    suite.environment["BRAINTRUST_NO_SUMMARY"] = "1"
    ran = suite.write(test_it="def test_it(): pass\n").run(
        f"--braintrust-api-key={server.api_key}"
    )
    assert ran.status == 0, ran.out
    assert [each["name"] for each in server.projects] == ["of the ini"]
    assert [each["name"] for each in server.experiments] == ["of the variable"]
    assert "== braintrust ==" not in ran


def test_a_run_is_named_so_that_a_person_knows_it(suite: Suite) -> None:
    """Branch, short commit and time in a repository; the time alone outside of one."""
    suite.write(test_it=RECORDED)
    (name,) = [each["name"] for each in suite.run().experiments()]
    assert re.fullmatch(r"pytest-\d{8}-\d{6}", name)
    for command in (
        ["init", "-q", "-b", "topic"],
        ["config", "user.name", "ada"],
        ["config", "user.email", "ada@example.org"],
        ["commit", "-q", "-m", "start", "--allow-empty"],
    ):
        subprocess.run(["git", *command], cwd=suite.folder, check=True)
    commit = subprocess.check_output(
        ["git", "rev-parse", "HEAD"], cwd=suite.folder, text=True
    )
    last = suite.run().experiments()[-1]
    assert re.fullmatch(rf"topic-{commit[:7]}-\d{{8}}-\d{{6}}", last["name"])
    assert last["project"] == suite.folder.name


TOOK = "pytest took the value of --braintrust-json for a path of tests"


@pytest.mark.parametrize(
    ("file", "ini"),
    [("out/x.json", ""), ("out/x.json", "out/pytest.ini"), ("x.json", "")],
)
def test_a_value_that_pytest_takes_for_a_path_is_told(
    suite: Suite, file: str, ini: str
) -> None:
    """It has another root by that; with `=`, or where it is told its root, it has not."""
    suite.write(test_a="def test_a(bt_score): bt_score(scores={'exact': 1})")
    outside = suite.folder.parent
    (outside / "out").mkdir()
    for name in filter(None, (file, ini)):
        (outside / name).touch()
    if ini:
        (outside / ini).write_text("[pytest]", encoding="utf-8")

    def told(*arguments: str) -> str:
        return " ".join(suite.run(*arguments).section.split())

    spaced = told("--braintrust-json", f"../{file}")
    assert TOOK in spaced
    assert "write --braintrust-json=…" in spaced
    assert TOOK not in told(f"--braintrust-json=../{file}")
    assert TOOK not in told("--braintrust-json", f"../{file}", "--rootdir=.")
    (suite.folder / "here.json").touch()
    assert TOOK not in told("--braintrust-json", "here.json", "test_a.py")


def test_a_folder_whose_name_is_no_text_names_the_project(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a machine that is not set to UTF-8: by escapes."""
    suite.folder /= os.fsdecode(b"caf\xe9")
    try:
        suite.folder.mkdir()
    except OSError:
        pytest.skip("no file system for such names")
    suite.temporary.mkdir()
    suite.ini().write(test_a="def test_a(bt_score): bt_score(output=1)")
    ran = suite.run("-q", "-p", "no:cacheprovider")
    assert ran.status == 0, ran.err
    assert [each["project"] for each in ran.experiments()] == ["caf\\udce9"]
    monkeypatch.delenv("BRAINTRUST_PROJECT", raising=False)
    monkeypatch.chdir(suite.folder)
    assert project_of(Namespace(project=None, store=None)) == "caf\\udce9"


def test_a_name_that_is_too_long_for_a_file_is_none(suite: Suite) -> None:
    """Whatever else it names: a run, a dataset, or what is to be written."""
    name = "x" * 400
    text = f"""
        import pytest
        @pytest.mark.braintrust(dataset="{name}/{name}")
        def test_b(bt_row): pass
    """
    suite.write(test_a="def test_a(bt_score): bt_score(output=1)").run()
    ran = suite.run(f"--braintrust-baseline={name}")
    assert (ran.status, ran.out.count("INTERNALERROR")) == (4, 0)
    assert "there is no experiment xxx" in ran
    ran = suite.run(f"--braintrust-json={name}")
    assert ran.status == 0
    assert "File name too long" in " ".join(ran.section.split())
    ran = suite.write(test_b=dedent(text)).run()
    assert "was not downloaded before, and Braintrust cannot be asked" in ran


def test_a_value_that_is_no_path_at_all_ends_no_run(suite: Suite) -> None:
    """No file can have so long a name."""
    suite.write(test_a="def test_a(bt_score): bt_score(scores={'exact': 1})")
    ran = suite.run("--braintrust-metadata", f"prompt={'x' * 300}")
    assert ran.status == 0, ran.out
    assert "for a path of tests" not in ran.section


def test_an_ini_file_that_cannot_be_read_ends_no_run(suite: Suite) -> None:
    """Whether there is one that pytest did not come to is a hint, and no more."""
    suite.write(test_a="def test_a(bt_score): bt_score(scores={'exact': 1})")
    (suite.folder.parent / "x.json").touch()
    (suite.folder / "pytest.ini").unlink()
    (suite.folder / "pytest.ini").mkdir()
    ran = suite.run("--braintrust-json", "../x.json")
    assert ran.status == 0, ran.out
