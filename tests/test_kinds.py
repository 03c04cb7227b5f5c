"""Tests of every kind that pytest knows have the rows that one would expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from conftest import Ran, Suite, nodeid, outcome
from fake_braintrust import FakeBraintrust

UNITTEST = """\
import unittest, pytest

@pytest.mark.braintrust(tags="old")
class TestOld(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def give(self, bt_score): self.bt_score = bt_score

    def test_good(self): self.bt_score(output=1, scores={"exact": 1})
    def test_bad(self):
        self.bt_score(scores={"exact": 0})
        self.assertEqual("Rome", "Paris")
    def test_skipped(self):
        self.bt_score(output=1)
        self.skipTest("not today")
    @unittest.expectedFailure
    def test_expected(self):
        self.bt_score(output=1)
        self.fail("as expected")

class TestBroken(unittest.TestCase):
    def setUp(self): raise RuntimeError("no database")
    def test_it(self): pass

class TestUnclean(unittest.TestCase):
    @classmethod
    def tearDownClass(cls): raise RuntimeError("still in use")
    def test_first(self): pass
    def test_last(self): pass
"""

SCOPES = """\
import pytest

@pytest.fixture(scope="class")
def of_class():
    yield
    raise RuntimeError("class still in use")

@pytest.fixture(scope="module")
def of_module():
    yield
    raise RuntimeError("module still in use")

class TestScope:
    def test_one(self, bt_score, of_class): bt_score(scores={"exact": 1})
    def test_two(self, bt_score, of_class): bt_score(scores={"exact": 1})

def test_three(bt_score, of_module): bt_score(scores={"exact": 1})
def test_four(bt_score, of_module): bt_score(scores={"exact": 1})
"""

DOCTESTS = '''\
def add(a, b):
    """
    >>> add(1, 2)
    3
    """
    return a + b

def wrong():
    """
    >>> 1 + 1
    3
    """
'''

ASYNC = """\
import asyncio, pytest

@pytest.fixture
async def connected(bt_score):
    bt_score(metadata={"connected": True})
    yield
    bt_score(metadata={"closed": True})

@pytest.mark.asyncio
async def test_async(bt_score, connected):
    async def ask(n):
        await asyncio.sleep(0)
        with bt_score.row(f"row {n}") as row: row(output=n, scores={"exact": 1})
        bt_score(tags=f"tag {n}")
    await asyncio.gather(*map(ask, range(5)))
    await asyncio.to_thread(bt_score, scores={"thread": 1})

@pytest.mark.asyncio
async def test_async_bad(bt_score):
    bt_score(scores={"exact": 0})
    assert False
"""

SUBTESTS = """\
def test_subtests(bt_score, subtests):
    for n in range(3):
        with subtests.test("part", n=n):
            bt_score(metadata={str(n): n})
            assert n != 1

def test_good_subtests(bt_score, subtests):
    for n in range(3):
        with subtests.test("part", n=n): bt_score(metadata={str(n): n})

import unittest

class TestParts(unittest.TestCase):
    def test_parts(self):
        for n in range(3):
            with self.subTest(n=n): self.assertNotEqual(n, 1)
"""

REPEATED = """\
import pytest

@pytest.mark.parametrize("city", ["Rome"])
def test_repeated(bt_score, city): bt_score(output=city)
"""


def told(ran: Ran, module: str) -> dict[str, tuple[str, dict[str, float]]]:
    """Outcome and scores of the tests of a module, by name."""
    return {
        nodeid(each).partition("::")[2]: (outcome(each), each["scores"])
        for each in ran.rows()
        if nodeid(each).startswith(module + ".py")
    }


PASSED: tuple[str, dict[str, Any]] = ("passed", {"pass": 1})


def test_kinds_of_tests(
    suite: Suite, server: FakeBraintrust, in_order: list[str]
) -> None:
    """unittest's classes, doctests and fixtures of every scope."""
    suite.write(test_unittest=UNITTEST, test_scopes=SCOPES, test_doc=DOCTESTS)
    suite.sends_to(server)
    ran = suite.run_both(*in_order, "--braintrust-all", "--doctest-modules")
    counts = ran.honest(server)
    assert told(ran, "test_unittest") == {
        "TestOld::test_good": ("passed", {"exact": 1, "pass": 1}),
        "TestOld::test_bad": ("failed", {"exact": 0, "pass": 0}),
        "TestOld::test_skipped": ("skipped", {}),
        "TestOld::test_expected": ("xfailed", {}),
        "TestBroken::test_it": ("failed", {"pass": 0}),
        "TestUnclean::test_first": PASSED,
        "TestUnclean::test_last": ("errored", {}),
    }
    assert "'Rome' != 'Paris'" in ran.row("TestOld::test_bad")["error"]
    assert ran.row("TestOld::test_good")["tags"] == ["old"]
    assert told(ran, "test_scopes") == {
        "TestScope::test_one": ("passed", {"exact": 1, "pass": 1}),
        "TestScope::test_two": ("errored", {"exact": 1}),
        "test_three": ("passed", {"exact": 1, "pass": 1}),
        "test_four": ("errored", {"exact": 1}),
    }
    assert "class still in use" in ran.row("test_two")["error"]
    assert "module still in use" in ran.row("test_four")["error"]
    assert told(ran, "test_doc") == {
        "test_doc.add": PASSED,
        "test_doc.wrong": ("failed", {"pass": 0}),
    }
    assert counts == {
        "passed": 5,
        "failed": 3,
        "errored": 3,
        "skipped": 1,
        "xfailed": 1,
    }


def test_asynchronous_tests(suite: Suite, in_order: list[str]) -> None:
    """Tasks and their threads log into the row of the test that runs them."""
    suite.with_plugins("pytest_asyncio.plugin").write(test_async=ASYNC)
    ran = suite.ini("asyncio_mode = auto").run_both(*in_order)
    assert ran.honest() == {"passed": 1, "failed": 1}
    rows = {each["metadata"]["pytest"].get("row"): each for each in ran.rows()[:-1]}
    assert len(rows) == len(ran.rows()) - 1 == 6
    own = rows[None]
    assert own["scores"] == {"thread": 1, "pass": 1}
    assert sorted(own["tags"]) == [f"tag {n}" for n in range(5)]
    assert own["metadata"]["closed"] is own["metadata"]["connected"] is True
    assert [rows[f"row {n}"]["output"] for n in range(5)] == list(range(5))
    assert ran.row("test_async_bad")["scores"] == {"exact": 0, "pass": 0}


def test_a_failed_subtest_fails_its_test(suite: Suite, in_order: list[str]) -> None:
    """As pytest counts it; the test has one row, with what failed inside."""
    pytest.importorskip("_pytest.subtests")
    ran = suite.write(test_sub=SUBTESTS).run_both(*in_order, "--braintrust-all")
    assert ran.honest() == {"passed": 1, "failed": 2}
    assert told(ran, "test_sub") == {
        "test_subtests": ("failed", {"pass": 0}),
        "test_good_subtests": PASSED,
        "TestParts::test_parts": ("failed", {"pass": 0}),
    }
    row = ran.row("test_subtests")
    assert "assert 1 != 1" in row["error"]
    assert {name: row["metadata"][name] for name in "012"} == {"0": 0, "1": 1, "2": 2}
    assert "1 == 1" in ran.row("TestParts::test_parts")["error"]


def test_repetitions_are_trials_of_one_case(suite: Suite, in_order: list[str]) -> None:
    """pytest-repeat's rows have one input, and a row each."""
    suite.with_plugins("pytest_repeat").write(test_repeated=REPEATED)
    ran = suite.run_both(*in_order, "--count=3")
    assert ran.honest() == {"passed": 3}
    assert [each["input"] for each in ran.rows()] == [{"city": "Rome"}] * 3
    assert len({nodeid(each) for each in ran.rows()}) == 1


DEEP = """\
import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import pytest
from pytest_braintrust import current

POOL = ThreadPoolExecutor(2)
pytestmark = pytest.mark.parametrize("n", range(3))

def judge(n):
    current()(metadata={f"{n}": n}, scores={"judged": 1})

def ask(n):
    with current().row(f"part {n}") as row:
        row(output=n, scores={"judged": 0})

def test_called(bt_score, n): judge(n)
def test_alone(n): judge(n)
def test_rows(n): list(map(ask, range(2)))

def test_in_a_pool(n):
    together = Barrier(2)
    def both(_):
        together.wait()
        judge(n)
    list(POOL.map(both, range(2)))

@pytest.fixture(scope="module")
def anyio_backend(): return "asyncio"

@pytest.fixture(scope="module")
async def model(anyio_backend): return "small"

@pytest.mark.anyio
async def test_in_a_loop_of_all(model, n):
    async def one(): judge(n)
    await asyncio.gather(one(), asyncio.to_thread(judge, n))
    await asyncio.get_running_loop().run_in_executor(POOL, ask, n)

@pytest.mark.anyio
async def test_late(model, request, n):
    request.getfixturevalue("bt_score")(metadata={f"{n}": n}, scores={"judged": 1})

def test_nothing(n): pass
"""


def test_code_without_the_fixture_logs_for_the_test_that_is_running(
    suite: Suite, plugin_args: list[str]
) -> None:
    """Deep in calls, pools and tasks, also where one loop runs all tests."""
    suite.with_plugins("anyio.pytest_plugin").write(test_deep=DEEP)
    ran = suite.run_both(*plugin_args)
    ran.honest()
    assert ran.status == 0, ran.out
    names = ("called", "alone", "in_a_pool", "in_a_loop_of_all", "late")
    for name in names:
        for n in range(3):
            (row,) = [each for each in ran.rows() if is_of(each, f"test_{name}", n)]
            assert row["scores"] == {"judged": 1, "pass": 1}
            assert {key for key in row["metadata"] if key.isdigit()} == {str(n)}
            # Which loop of anyio's it ran on is nothing that was asked.
            assert row["input"] == {"n": n}
    assert len(ran.rows()) == len(names) * 3 + 3 * 3 + 3
    assert not [each for each in ran.rows() if "test_nothing" in nodeid(each)]


def is_of(row: Mapping[str, Any], test: str, n: int) -> bool:
    """Whether it is the own row of a test's case, whatever else is in its name."""
    told = nodeid(row).split("::")[1]
    own = not row["metadata"]["pytest"].get("row")
    return own and told.startswith(f"{test}[") and str(n) in told


NESTED = """\
import pytest
from pytest_braintrust import current
pytest_plugins = "pytester"

def test_outer(bt_score, pytester):
    pytester.makepyfile(
        "import threading\\n"
        "from pytest_braintrust import current\\n"
        "def say(): current()(output='inner')\\n"
        "def test_inner():\\n"
        "    say()\\n"
        "    thread = threading.Thread(target=say)\\n"
        "    thread.start(); thread.join()\\n"
    )
    assert pytester.inline_run("-p", "pytest_braintrust.plugin").ret == 0
    current()(scores={"outer": 1})
"""


def test_a_run_within_a_test_does_not_log_for_it(suite: Suite) -> None:
    """Nor do the threads of its tests; after it the outer test is there again."""
    ran = suite.write(test_nested=NESTED).run()
    (row,) = ran.rows()
    assert row["output"] is None
    assert row["scores"] == {"outer": 1, "pass": 1}


#: Two tests at once, as of plugins that run them in threads, and who asks for which.
AT_ONCE = """\
import threading
import pytest
from pytest_braintrust import scoring

def test_both(request):
    def refuse(running): raise AssertionError("one of several was taken")
    asked = []
    def ask(): asked.append(scoring.parts_for_running()[0])
    with scoring.begun(scoring.Running(request.node, refuse)):
        with pytest.raises(AssertionError, match="was taken"):
            ask()
        thread = threading.Thread(target=ask)
        thread.start(); thread.join()
    assert asked == [None]
"""


def test_a_thread_that_may_be_of_several_tests_logs_for_none(suite: Suite) -> None:
    """Nobody would notice a row that has what another test said."""
    ran = suite.write(test_both=AT_ONCE).run()
    assert ran.status == 0
    assert ran.rows() == []
