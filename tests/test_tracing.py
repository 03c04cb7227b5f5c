"""Steps of a test are spans below its row, whoever traces them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from conftest import RERUNFAILURES, XDIST, Ran, Suite, nodeid
from fake_braintrust import FakeBraintrust, Fault, reset

from pytest_braintrust import spans
from pytest_braintrust.events import Ids, shortened
from pytest_braintrust.fields import checked
from pytest_braintrust.jsonable import dumps

#: An application that the SDK traces, and that knows nothing of tests.
APPLICATION = """\
import asyncio
from braintrust import current_span, start_span, traced

@traced
def retrieve(question): return ["a", "b"]

@traced(type="llm", name="complete")
def complete(prompt):
    current_span().log(metadata={"model": "m1"}, metrics={"tokens": 12, "odd": "x"})
    current_span().log(input=None, metadata=None, metrics={"prompt_cached_tokens": 0})
    return prompt.upper()

@traced
def answer(question):
    found = retrieve(question)
    with start_span(name="rank", type="task") as ranked:
        ranked.log(input=found, output=found[:1])
    return complete(question)

@traced
async def later(number):
    await asyncio.sleep(0.01)
    return complete(str(number))
"""
USES_IT = """\
import asyncio, application, braintrust, pytest

@pytest.mark.parametrize("question", ["rome", "oslo"])
def test_answer(bt_score, question):
    answer = application.answer(question)
    braintrust.current_span().log(metadata={"deep": True})
    bt_score(output=answer, scores={"exact": 1})

def test_gathered(bt_score):
    async def all(): return await asyncio.gather(*map(application.later, range(3)))
    bt_score(output=asyncio.run(all()))

def test_unrecorded(): application.answer("paris")
"""


def names(events: Iterable[Mapping[str, Any]], row: Mapping[str, Any]) -> Any:
    """The spans below a row, by name, each with what is below it."""
    found = [e for e in events if e["span_parents"] == [row["span_id"]]]
    return [(e["span_attributes"]["name"], names(events, e)) for e in found]


def kept(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The spans of a row in the store."""
    found = row["metadata"]["pytest"].get("spans", [])
    assert isinstance(found, list)
    return found


ANSWER: Any = [("answer", [("retrieve", []), ("rank", []), ("complete", [])])]


def test_what_the_sdk_traces_is_below_the_row_of_the_test(suite: Suite) -> None:
    """Of a test that is recorded; what another one traces goes nowhere, as before."""
    ran = suite.write(application=APPLICATION, test_it=USES_IT).run()
    assert ran.status == 0, ran.out
    row = ran.row("test_answer[rome]")
    assert names(kept(row), row) == ANSWER
    assert row["metadata"]["deep"] is True
    complete = kept(row)[-1]
    assert (complete["input"], complete["output"]) == ({"prompt": "rome"}, "ROME")
    assert complete["metrics"].keys() - {"start", "end"} == {
        "tokens",
        "prompt_cached_tokens",
    }
    assert row["metadata"]["pytest"]["spent"] == {"tokens": 12}
    assert complete["metadata"] == {"model": "m1", "metrics": {"odd": "x"}}
    assert complete["span_attributes"]["type"] == "llm"
    row = ran.row("test_gathered")
    assert names(kept(row), row) == [("later", [("complete", [])])] * 3
    assert len(ran.rows()) == 3


@pytest.mark.parametrize("xdist", [(), ("-p", XDIST, "-n2")], ids=str)
def test_on_braintrust_each_is_an_event_of_its_own(
    suite: Suite, server: FakeBraintrust, xdist: tuple[str, ...]
) -> None:
    """Sent with the row, by us alone; the row is the one that counts."""
    suite.write(application=APPLICATION, test_it=USES_IT).sends_to(server)
    ran = suite.run(*xdist)
    assert ran.status == 0, ran.out
    assert "3 recorded = 3 sent + 0 pending" in ran.section
    (experiment,) = server.experiments
    events = server.rows(experiment["id"])
    assert len(events) == 3 + 2 * 4 + 3 * 2
    (row,) = [e for e in events if e["input"] == {"question": "rome"} and is_root(e)]
    trace = [each for each in events if each["root_span_id"] == row["span_id"]]
    assert names(trace, row) == ANSWER
    assert "spans" not in row["metadata"]["pytest"]
    paths = {each.path for each in server.requests}
    assert not [each for each in paths if "logs3" in each or "login" in each]


def is_root(event: Mapping[str, Any]) -> bool:
    """Whether an event is the row of a test."""
    return not event["span_parents"]


def test_rows_with_spans_are_sent_later_and_again(
    suite: Suite, server: FakeBraintrust
) -> None:
    """With the same ids, however often: a push makes no second span."""
    suite.write(application=APPLICATION, test_it=USES_IT).sends_to(server)
    suite.run("--braintrust-no-upload")
    lost = server.faults.add(Fault(reset(apply=True), path="/insert"))
    assert suite.cli("push").status == 0
    assert lost.struck == 1
    (experiment,) = server.experiments
    events = server.rows(experiment["id"])
    assert len({each["id"] for each in events}) == len(events) == 3 + 14


def test_a_baseline_on_braintrust_is_its_rows_alone(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The spans of a run that comes from there are no tests."""
    suite.write(application=APPLICATION, test_it=USES_IT).sends_to(server)
    assert suite.run().status == 0
    shutil.rmtree(suite.folder / ".braintrust")
    again = suite.run()
    assert "3 tests in both runs" in again.section
    assert "no change: no score of" in again.section


SPENDS = """\
def test_calls(bt_score):
    for _ in range(3):
        with bt_score.span("agent", type="llm", metrics={"tokens": 10, "cost": 0.5}):
            with bt_score.span("chat", type="task") as chat:
                with chat.span("retry", type="llm", metrics={"tokens": 4}): pass
    with bt_score.span("index", type="tool", metrics={"tokens": 1_000}): pass
    with bt_score.span("chat", type="llm", metrics={"tokens": 1, "speed": 9}): pass

def test_says_it_itself(bt_score):
    with bt_score.span("chat", type="llm", metrics={"tokens": 7, "cost": 0.25}): pass
    bt_score(metrics={"tokens": 5})
"""


FORGETS = """\
def pytest_braintrust_row(row): del row["metadata"]["pytest"]["spans"]
"""


@pytest.mark.parametrize("hooked", [False, True])
def test_what_calls_of_models_cost_is_the_test_s(suite: Suite, *, hooked: bool) -> None:
    """Each once, though others were made within it, unless the test itself says it."""
    if hooked:
        suite.write(conftest=FORGETS)
    ran = suite.write(test_it=SPENDS).run()
    assert "totals      tokens 36, cost 1.75" in ran.section
    calls, says = ran.query("rows", "position")
    amounts = json.loads(calls["metrics"])
    assert (amounts["tokens"], amounts["cost"]) == (31, 1.5)
    assert amounts.keys() == {"duration", "tokens", "cost"}
    amounts = json.loads(says["metrics"])
    assert (amounts["tokens"], amounts["cost"]) == (5, 0.25)
    # Braintrust adds up the spans itself.
    assert ran.row("test_calls")["metrics"].keys() == {"start", "end"}
    assert suite.cli("export", "latest", "-o", "base.jsonl").status == 0
    shutil.rmtree(ran.store)
    assert suite.cli("import", "base.jsonl").status == 0
    assert ran.query("rows", "position")[0]["metrics"] == calls["metrics"]


OWN = """\
import threading, pytest
from pytest_braintrust import current

def deep():
    with current().span("deep", type="llm", input="q") as step:
        step(output="a", metrics={"tokens": 3})

def test_own(bt_score):
    with bt_score.span("outer", type="task") as outer:
        deep()
        with outer.span("inner"): pass
        other = threading.Thread(target=lambda: outer.span("thread").__enter__())
        other.start(); other.join()
    deep()
    with pytest.raises(KeyError):
        with bt_score.span("raises"): {}["x"]
    with pytest.raises(ValueError, match="'exact' is 7"):
        bt_score.span("wrong", scores={"exact": 7})

def test_rows(bt_score):
    with bt_score.row("turn 1") as row:
        deep()
        with row.span("of the row"): pass
    deep()
"""


def test_a_test_traces_its_steps_without_the_sdk(suite: Suite) -> None:
    """Blocks within blocks, in functions and threads; each row has those of its own."""
    ran = suite.write(test_own=OWN).run()
    assert ran.status == 0, ran.out
    row = ran.row("test_own")
    outer: Any = ("outer", [("deep", []), ("inner", []), ("thread", [])])
    assert names(kept(row), row) == [outer, ("deep", []), ("raises", [])]
    by_name = {each["span_attributes"]["name"]: each for each in kept(row)}
    assert by_name["deep"]["span_attributes"]["type"] == "llm"
    assert (by_name["deep"]["input"], by_name["deep"]["output"]) == ("q", "a")
    assert by_name["raises"]["error"] == "KeyError: 'x'"
    assert "end" not in by_name["thread"]["metrics"]
    turn, own = sorted(
        (each for each in ran.rows() if nodeid(each).endswith("test_rows")),
        key=lambda each: "row" not in each["metadata"]["pytest"],
    )
    assert names(kept(turn), turn) == [("deep", []), ("of the row", [])]
    assert names(kept(own), own) == [("deep", [])]


def test_steps_are_shown_with_the_outputs(suite: Suite) -> None:
    """Each below what it is part of, with what it took and what it raised."""
    suite.write(test_own=OWN).run()
    out = suite.cli("show", "--output").out
    lines = [re.sub(r"[\d.]+ .?s\b", "1 ms", each) for each in out.splitlines()]
    at = lines.index("  spans     outer (task): 1 ms")
    assert [each.removeprefix(" " * 12) for each in lines[at + 1 : at + 6]] == [
        "  deep (llm): 1 ms, tokens 3",
        "  inner: 1 ms",
        "  thread",
        "deep (llm): 1 ms, tokens 3",
        "raises: 1 ms, KeyError: 'x'",
    ]


def test_with_the_flag_off_spans_are_checked_and_kept_nowhere(suite: Suite) -> None:
    """The same calls, and the same errors."""
    ran = suite.write(test_own=OWN, application=APPLICATION, test_it=USES_IT).run_off()
    assert ran.status == 0, ran.out
    assert not ran.store.exists()


RERUN = """\
def test_flaky(bt_score, attempts=[]):
    attempts.append(1)
    with bt_score.span(f"attempt {len(attempts)}"): assert len(attempts) == 3
"""


def test_the_spans_are_those_of_the_last_attempt(suite: Suite) -> None:
    """As all else in the row is."""
    ran = suite.write(test_it=RERUN).with_plugins(RERUNFAILURES).run("--reruns=3")
    row = ran.row("test_flaky")
    assert names(kept(row), row) == [("attempt 3", [])]
    assert len(row["metadata"]["pytest"]["attempts"]) == 2


DIES = """\
import os
def test_dies(bt_score):
    with bt_score.span("before", output="said"): pass
    with bt_score.span("in it"): os._exit(3)
"""


def test_what_was_traced_before_a_death_is_kept(suite: Suite) -> None:
    """It tells more of the death than anything else does."""
    ran = suite.write(test_it=DIES).run("-p", XDIST, "-n1")
    row = ran.row("test_dies")
    assert names(kept(row), row) == [("before", []), ("in it", [])]


HOOK = """\
def pytest_braintrust_row(row):
    spans = row["metadata"]["pytest"]["spans"]
    {change}
"""


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("spans[0]['input'] = '[out]'", [("[out]", 1), ("b", 2)]),
        ("del spans[0]", [("b", 2)]),
        ("row['metadata']['pytest'].pop('spans')", []),
        ("del spans[0]['metrics'], spans[0]['span_attributes']", "same"),
        ("spans[0] = dict(reversed(spans[0].items()))", "same"),
        ("spans[0]['span_parents'] = ['x']; spans[0]['id'] = spans[0]['id']", "same"),
    ],
)
def test_a_hook_changes_spans_as_it_does_the_row(
    suite: Suite, change: str, left: Any
) -> None:
    """What says where a span belongs stays what it was."""
    test = (
        "def test_it(bt_score):\n"
        "    with bt_score.span('a', input='a', output=1): pass\n"
        "    with bt_score.span('b', input='b', output=2): pass\n"
    )
    ran = suite.write(conftest=HOOK.format(change=change), test_it=test).run()
    assert "hook" not in ran.section
    row = ran.row("test_it")
    assert all(each["span_parents"] == [row["span_id"]] for each in kept(row))
    assert len(spans.sent(dumps(row))) == 1 + len(kept(row))
    expected = [("a", 1), ("b", 2)] if left == "same" else left
    assert [(each["input"], each["output"]) for each in kept(row)] == expected


@pytest.mark.parametrize(
    "change",
    [
        "spans[0]['scores'] = {'exact': 7}",
        "spans[0]['span_attributes'] = 'none'",
        "spans[0]['note'] = 'x'",
        "spans.append(spans[0])",
        "spans.append({'id': 'mine'})",
        "row['metadata']['pytest']['spans'] = 'none'",
        "1 / 0",
    ],
)
def test_what_a_hook_spoils_goes_nowhere(suite: Suite, change: str) -> None:
    """Spans hold what should have been redacted, as the row's own content does."""
    test = (
        "def test_it(bt_score):\n    with bt_score.span('a', input='a secret'): pass\n"
    )
    ran = suite.write(conftest=HOOK.format(change=change), test_it=test).run()
    assert "the hook pytest_braintrust_row" in ran.section
    assert kept(ran.row("test_it")) == []
    assert not ran_holds(ran, "a secret")


def ran_holds(ran: Ran, text: str) -> bool:
    """Whether a file of the run's store holds a text."""
    files = [each for each in ran.store.rglob("*") if each.is_file()]
    return any(text.encode() in each.read_bytes() for each in files)


def steps(count: int, text: str) -> Iterator[spans.TracedSpan]:
    """Steps of a row, each with so much to say."""
    for number in range(count):
        said = checked(
            input=text, output=[number], metadata={"n": number}, error=text, tags=[text]
        )
        yield spans.TracedSpan(f"step {number}", "root", said)


@pytest.mark.parametrize(
    ("count", "size"), [(1, 2_000_000), (500, 10_000), (3, 10), (500, 0)]
)
def test_the_spans_of_a_row_have_a_size(count: int, size: int) -> None:
    """What is too long is cut, with a note; that a step was there is always told."""
    told: Any = spans.facts(steps(count, "x" * size))
    assert len(dumps(told)) < spans.MAX_BYTES * 1.1
    assert [each["span_attributes"]["name"] for each in told["spans"]] == [
        f"step {number}" for number in range(count)
    ]
    assert told["spans"][0]["output"] == [0]
    assert not any("…" in each for each in told["spans"])
    assert ("x" * size == told["spans"][0]["input"]) == (size * count < 100_000)


def test_a_loop_that_traces_without_end_fills_no_disk(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The first are kept, and the others counted."""
    test = (
        "def test_it(bt_score):\n"
        "    for number in range(350):\n"
        "        with bt_score.span('call', type='llm', metrics={'cost': 1}) as call:\n"
        "            call(metrics={'tokens': 2})\n"
        "            call(metrics={'tokens': 3})\n"
        "            with call.span('in', type='llm', metrics={'tokens': 7}): pass\n"
        "    with bt_score.row('of its own') as row, row.span('s'): pass\n"
        "def test_others(bt_score):\n"
        "    for number in range(600):\n"
        "        with bt_score.span(str(number)): pass\n"
    )
    ran = suite.write(test_it=test).sends_to(server).run()
    assert "3 recorded = 3 sent + 0 pending" in ran.section
    row, own = (each for each in ran.rows() if nodeid(each).endswith("::test_it"))
    assert len(kept(row)) == spans.MOST
    assert row["metadata"]["pytest"]["spans_left_out"] == 200
    assert row["metadata"]["pytest"]["spent"] == {"cost": 350, "tokens": 1_050}
    assert kept(own) == []
    assert own["metadata"]["pytest"]["spans_left_out"] == 1
    inserted = [r for r in server.requests if r.path.endswith("/insert")]
    assert sum(len(json.loads(r.body)["events"]) for r in inserted) == 2 * 501 + 1


def test_spans_go_first_where_a_server_takes_less(
    suite: Suite, server: FakeBraintrust
) -> None:
    """The row is what counts."""
    test = (
        "def test_it(bt_score):\n"
        "    bt_score(output='o' * 1_000)\n"
        "    with bt_score.span('a', input='i' * 100_000): pass\n"
    )
    server.knobs.max_request_bytes = 20_000
    ran = suite.write(test_it=test).sends_to(server).run()
    assert "1 recorded = 1 sent + 0 pending" in ran.section
    (experiment,) = server.experiments
    (row,) = server.rows(experiment["id"])
    assert row["output"] == "o" * 1_000
    assert row["metadata"]["pytest"]["spans_left_out"] == 1


def test_spans_are_sent_apart_where_a_server_takes_less(
    suite: Suite, server: FakeBraintrust
) -> None:
    """A proxy that takes a megabyte at once costs no trace of some more."""
    test = (
        "def test_it(bt_score):\n"
        "    bt_score(output='o' * 1_000)\n"
        "    for number in range(9):\n"
        "        with bt_score.span(str(number), input='i' * 9_000): pass\n"
    )
    server.knobs.max_request_bytes = 20_000
    ran = suite.write(test_it=test).sends_to(server).run()
    assert "1 recorded = 1 sent + 0 pending" in ran.section
    assert "in part" not in ran.section
    (experiment,) = server.experiments
    events = server.rows(experiment["id"])
    (row,) = filter(is_root, events)
    assert "spans_left_out" not in row["metadata"]["pytest"]
    assert len(names(events, row)) == 9


def test_an_event_that_only_looks_as_if_it_had_spans_is_one() -> None:
    """Tests may log what they like under any name."""
    mine: Any = {"spans": [{"id": "x", "span_parents": ["y"]}]}
    event = dumps({"id": Ids().row, "metadata": {"mine": mine, "pytest": {}}})
    assert spans.sent(event) == [event]


STALE = """\
import application, pytest

pytestmark = pytest.mark.anyio

@pytest.fixture(scope="module")
def anyio_backend(): return "asyncio"

@pytest.fixture(scope="module", autouse=True)
async def opened(): yield

async def test_first(bt_score): await application.later(1)
async def test_unrecorded():
    with application.start_span(name="nowhere") as span: assert not span.id
async def test_second(bt_score): await application.later(2)
"""


def test_a_loop_of_several_tests_traces_for_the_one_that_runs(suite: Suite) -> None:
    """Its context is that of the first test."""
    suite.with_plugins("anyio.pytest_plugin")
    ran = suite.write(application=APPLICATION, test_it=STALE).run()
    assert ran.status == 0, ran.out
    for name in ("test_first", "test_second"):
        row = ran.row(name)
        assert names(kept(row), row) == [("later", [("complete", [])])]
    assert len(ran.rows()) == 2


def test_a_span_that_is_refused_costs_no_row(
    suite: Suite, server: FakeBraintrust
) -> None:
    """It is left out with a note, here and there; the other spans are not."""
    test = (
        "def test_it(bt_score):\n"
        "    bt_score(output='kept')\n"
        "    for number in range(9):\n"
        "        with bt_score.span(str(number), output=number): pass\n"
    )
    server.knobs.poison = lambda event: event["output"] == 4
    ran = suite.write(test_it=test).sends_to(server).run()
    assert "1 recorded = 1 sent + 0 pending" in ran.section
    assert "test_it is on Braintrust in part" in ran.section
    (experiment,) = server.experiments
    events = server.rows(experiment["id"])
    (row,) = filter(is_root, events)
    assert row["output"] == "kept"
    assert row["metadata"]["pytest"]["spans_left_out"] == 1
    assert {int(name) for name, _ in names(events, row)} == {*range(9)} - {4}


@pytest.mark.parametrize("facts", ["odd", {"spans": 5}, {"spans_left_out": "x"}, []])
def test_a_row_of_a_file_is_shortened_whatever_it_has_for_spans(facts: Any) -> None:
    """An upload does not end for it."""
    event: Any = {"id": Ids().row, "input": "x" * 9_000, "metadata": {"pytest": facts}}
    assert len(shortened(dumps(event), 5_000)) < 5_500


LATE = """\
import asyncio, pytest
from braintrust import start_span, traced

@traced
def numbers(): yield from range(9)

@traced
async def later():
    for number in range(9): yield number

def test_closed_late(bt_score):
    with start_span(name="opened"):
        found = numbers()
        next(found)
    with bt_score.span("other"):
        found.close()
        with start_span(name="inside"): pass
    with start_span(name="after"): pass

def test_closed_after_all(bt_score):
    with bt_score.span("opened"):
        found = numbers()
        next(found)
    found.close()
    with start_span(name="after"): pass

def test_closed_in_another_task(bt_score):
    async def steps():
        found = later()
        await anext(found)
        await asyncio.create_task(found.aclose())
        with start_span(name="after"): pass
    asyncio.run(steps())

def test_odd_names(bt_score):
    with start_span(name=7) as step: step.set_attributes(name="x" * 5_000, type="llm")
    with start_span(name="a", span_attributes={"purpose": "p" * 5_000}): pass
"""


def test_a_block_that_ends_late_takes_no_steps_of_others(suite: Suite) -> None:
    """Generators and streams end when who reads them likes it."""
    ran = suite.write(test_it=LATE).run()
    assert ran.status == 0, ran.out
    for name, expected in {
        "test_closed_late": [
            ("opened", [("numbers", [])]),
            ("other", [("inside", [])]),
            ("after", []),
        ],
        "test_closed_after_all": [("opened", [("numbers", [])]), ("after", [])],
        "test_closed_in_another_task": [("later", []), ("after", [])],
    }.items():
        row = ran.row(name)
        assert names(kept(row), row) == expected, name
    long, odd = kept(ran.row("test_odd_names"))
    assert long["span_attributes"]["type"] == "llm"
    assert len(long["span_attributes"]["name"]) < 1_100
    assert len(dumps(odd["span_attributes"])) < 1_100


LATE_STEPS = """\
import threading
go, done = threading.Event(), threading.Event()

def test_leaves_a_thread(bt_score):
    with bt_score.span("work") as work: pass
    def on():
        go.wait()
        for number in range(400):
            with work.span(str(number), input="x" * 900) as step: step(output=number)
        done.set()
    threading.Thread(target=on).start()

def test_next():
    go.set()
    done.wait()
"""


@pytest.mark.parametrize("xdist", [(), ("-p", XDIST, "-n1")], ids=str)
def test_a_thread_that_traces_on_holds_up_nobody(
    suite: Suite, xdist: tuple[str, ...]
) -> None:
    """All that it traced is kept, and the row is not written anew for each word."""
    ran = suite.write(test_it=LATE_STEPS).run(*xdist)
    row = ran.row("test_leaves_a_thread")
    assert names(kept(row), row) == [("work", [(str(n), []) for n in range(400)])]
    assert all("end" in each["metrics"] for each in kept(row))
    (stored,) = ran.query("rows", "position")
    assert stored["version"] < 600


def test_a_test_holds_no_more_of_its_spans_than_may_be_kept() -> None:
    """A suite whose prompts are megabytes does not run out of memory for them."""
    total, kept_bytes = 0, 0
    for _ in range(spans.MOST):
        said = checked(input={"document": "x" * 600_000, "page": 7})
        total = spans.held(said, total)
        assert isinstance(said.input, dict)
        assert said.input["page"] == 7
        kept_bytes += len(dumps(said.input))
    assert kept_bytes < 12 * spans.MAX_BYTES


OTHERS = """\
import application, braintrust
from braintrust.logger import _internal_with_memory_background_logger

def test_own(bt_score):
    application.retrieve("here")
    with _internal_with_memory_background_logger():
        theirs = braintrust.init_logger("theirs", project_id="p", api_key="k")
        application.retrieve("here too")
        with bt_score.span("step"), theirs.start_span(name="own") as own:
            application.retrieve("there")
        assert own.span_parents is None
    application.retrieve("and here")

def test_eval(bt_score):
    def exact(input, output, expected): return output == expected
    result = braintrust.Eval(
        "theirs", data=[{"input": "a", "expected": "A"}], task=application.complete,
        scores=[exact], no_send_logs=True,
    )
    assert result.summary.scores["exact"].score == 1
"""


def test_what_a_test_opens_in_an_experiment_of_its_own_is_there(suite: Suite) -> None:
    """As a trace of its own, as without us; an Eval that sends nothing has scores."""
    ran = suite.write(application=APPLICATION, test_it=OTHERS).run()
    assert ran.status == 0, ran.out
    row = ran.row("test_own")
    assert [each["input"] for each in kept(row) if "input" in each] == [
        {"question": "here"},
        {"question": "here too"},
        {"question": "and here"},
    ]
    (case,) = names(kept(ran.row("test_eval")), ran.row("test_eval"))
    assert case == ("eval", [("task", [("complete", [])]), ("exact", [])])


INTERRUPTED = """\
def test_agent(bt_score):
    with bt_score.span("plan", output="a plan"): pass
    with bt_score.span("act"): raise KeyboardInterrupt
"""


def test_what_was_traced_before_an_interrupt_is_kept(suite: Suite) -> None:
    """Also of a test that has said nothing else yet, as those of agents."""
    ran = suite.write(test_it=INTERRUPTED).run()
    assert ran.status == pytest.ExitCode.INTERRUPTED
    row = ran.row("test_agent")
    assert names(kept(row), row) == [("plan", []), ("act", [])]
    assert row["metadata"]["pytest"]["outcome"] == "errored"


LATER = "class Other: __slots__ = ()"
EARLIER = """
class Other:
    get_parent_span_ids = print
    def set_current_span(self, span): return "a token"
    def unset_current_span(self, token): raise ValueError("of a different Context")
"""


@pytest.mark.parametrize("other", [LATER, EARLIER])
def test_an_sdk_that_is_made_otherwise_costs_spans_and_no_run(
    suite: Suite, other: str
) -> None:
    """What is asked of it has no public name, and differs from version to version."""
    conftest = (
        f"import braintrust.logger\n{other}\n"
        "braintrust.logger._state._context_manager = Other()\n"
    )
    test = "def test_it(bt_score): bt_score(output='kept')\n"
    ran = suite.write(conftest=conftest, test_it=test).run()
    assert ran.status == 0, ran.out
    assert ran.row("test_it")["output"] == "kept"
