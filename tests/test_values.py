"""Any value may be logged: it is kept as JSON or readable text, and fails no test."""

from __future__ import annotations

import collections
import inspect
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import odd_values
import pytest
import stored
from conftest import Ran, Suite
from fake_braintrust import FakeBraintrust
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from odd_values import EXACT, OTHER, Point

from pytest_braintrust.api.client import BraintrustClient
from pytest_braintrust.cutting import MIN_LIMIT, fit
from pytest_braintrust.events import (
    MAX_FIELD_BYTES,
    MAX_FIELDS_BYTES,
    MAX_OTHER_BYTES,
    Attempt,
    Case,
    Ids,
    Place,
    Row,
    record,
)
from pytest_braintrust.fields import Fields, checked
from pytest_braintrust.jsonable import clean, dumps, dumps_sorted, text_of
from pytest_braintrust.recorder import Recording
from pytest_braintrust.relay import Payload, attach, detach
from pytest_braintrust.settings import Connection
from pytest_braintrust.store import reading
from pytest_braintrust.store.connection import open_store
from pytest_braintrust.uploader import Sender

#: What Braintrust takes in one request.
WIRE_LIMIT = 6_000_000

PLACE = Place.of(file="test_a.py", function="test_a", line=1)
CASE = Case("test_a.py::test_a", "test_a", PLACE, Fields())
PASSED = Attempt("passed", start=1.0, end=2.0, durations={"call": 1.0})

thorough = settings(
    deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)

text = st.text(st.characters() | st.characters(categories=["Cs"]))
hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 99).map(lambda shift: 1 << 14_280 + shift)
    | st.floats()
    | text
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.complex_numbers()
    | st.datetimes()
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([*odd_values.Color, *odd_values.Level, *odd_values.Word])
    | st.builds(object),
    lambda inner: st.lists(inner).map(tuple) | st.frozensets(inner),
    max_leaves=10,
)
#: Without those that hypothesis itself fails to look at.
DRAWN = [name for name in EXACT if name not in {"hostile", "liar"}]
anything = st.recursive(
    hashable | st.sampled_from(DRAWN).map(lambda name: EXACT[name][0]()),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(hashable, inner)
        | st.dictionaries(hashable, inner).map(collections.OrderedDict)
        | st.builds(Point, inner, inner)
        | st.builds(collections.deque, st.lists(inner))
    ),
    max_leaves=20,
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | text.map(clean),
    lambda inner: st.lists(inner) | st.dictionaries(text.map(clean), inner),
    max_leaves=60,
)


def same(value: Any, other: Any) -> bool:
    """Equal as JSON: 1, 1.0 and True are told apart, and so is the order of keys."""
    return dumps(value) == dumps(other) and type(value) is type(other)


@pytest.mark.parametrize("name", EXACT)
def test_each_kind_has_its_words(name: str) -> None:
    """Kept exactly where JSON can, as readable text where it cannot; always alike."""
    make, expected = EXACT[name]
    assert same(clean(make()), expected)
    # As a member and a key too, and another time.
    assert same(clean([make()]), [expected])
    assert same(clean(make()), expected)


@pytest.mark.parametrize("name", OTHER)
def test_no_value_is_too_much(name: str) -> None:
    """What is too deep, long or tangled to be kept whole is kept in part, in time."""
    value = clean(OTHER[name]())
    assert json.loads(dumps(value)) == value
    assert len(dumps(value)) < 20_000_000


def test_small_members_beside_a_huge_one_stay() -> None:
    """The end of what is taken in is not the end of the mapping."""
    kept: Any = clean({"before": 1, "huge": [[0] * 200_000] * 3, "after": "here"})
    assert kept["before"] == 1
    assert kept["after"] == "here"
    assert kept["huge"][-1] == "… [cut: too many values]"


@given(anything)
@thorough
def test_any_value_is_plain_json(value: object) -> None:
    """It encodes, reads back the same, and is not changed by being logged again."""
    kept = clean(value)
    encoded = dumps(kept)
    assert encoded == json.dumps(kept, separators=(",", ":"))
    in_order = json.dumps(kept, separators=(",", ":"), sort_keys=True)
    assert dumps_sorted(kept) == in_order
    assert json.loads(encoded) == kept
    assert same(clean(kept), kept)
    assert same(clean(value), kept)
    assert " at 0x" not in encoded


def test_a_generator_is_not_used_up() -> None:
    """Nor is any other iterator: the test reads it afterwards."""
    counted = iter([1, 2, 3])
    clean({"counted": counted, "mapped": map(str, counted)})
    assert list(counted) == [1, 2, 3]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, pytest.fail.Exception])
def test_what_ends_the_test_goes_through(kind: type[BaseException]) -> None:
    """Ctrl-C, an exit, and the failure by which pytest-timeout ends a test."""

    class Interrupted:
        def __repr__(self) -> str:
            raise kind

    with pytest.raises(kind):
        clean([Interrupted()])


def test_a_text_with_the_address_in_any_shape_has_none() -> None:
    """Some write it in hexadecimal digits, some in decimal ones."""

    class Odd:
        def __repr__(self) -> str:
            return f"<Odd {id(self)} 0x{id(self):x} {id(self):#018x}>"

    odd = Odd()
    assert str(id(odd)) not in text_of(odd)
    assert f"{id(odd):x}" not in text_of(odd).removesuffix(f" {id(odd):#018x}>")


def test_a_value_is_logged_near_the_end_of_the_stack() -> None:
    """A test may log where it recursed as deep as Python goes."""
    value = {"nested": odd_values.deep(500), "text": "short"}

    def dive(frames: int) -> Any:
        return dive(frames - 1) if frames else clean(value)

    left = sys.getrecursionlimit() - len(inspect.stack(0))
    for room in range(20, 400, 20):
        assert json.loads(dumps(dive(left - room)))


@contextmanager
def changing(*changes: Callable[[int], object]) -> Iterator[None]:
    """Let another thread change things all the while."""
    ended = threading.Event()

    def work() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            for change in changes:
                change(number)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_a_value_that_another_thread_changes_is_kept() -> None:
    """Dictionaries, lists, sets and deques grow and shrink while they are copied."""
    mapping: dict[int, Any] = dict.fromkeys(range(50), "x")
    values: list[Any] = list(range(50))
    several, queue = set(values), collections.deque(values)

    def swap(number: int) -> None:
        mapping[number + 50] = mapping.pop(number - 1 + 50, "x")
        several.add(number + 50)
        several.discard(number + 49)
        values.append(number)
        del values[50:]
        queue.append(number)
        queue.popleft()

    with changing(swap):
        for _ in range(300):
            kept: Any = clean([mapping, values, several, queue])
            assert [type(each) for each in kept] == [dict, list, list, list]


def test_what_is_logged_is_a_copy() -> None:
    """What the test does to a value later changes nothing."""
    value: dict[str, Any] = {"list": [1], "point": Point([1])}
    recording = Recording(CASE)
    recording.log(checked(input=value, output=value, metadata={"m": value}))
    before = row_of(recording)["event"]
    value["list"].append(2)
    value["point"].x.append(2)
    value["new"] = 3
    assert row_of(recording)["event"] == before.replace("[1,2]", "[1]")


def row_of(recording: Recording) -> Row:
    """The one row of a test that said something and passed."""
    recording.start, recording.end = 1.0, 2.0
    (row,) = recording.rows("passed")
    return row


# Sizes


@given(plain, st.integers(MIN_LIMIT, 2_000))
@thorough
def test_what_is_cut_fits(value: Any, limit: int) -> None:
    """Within the limit, of the same kind, as JSON; cut again it stays the same."""
    kept = fit(value, limit)
    encoded = dumps(kept)
    assert len(encoded) <= limit
    assert same(fit(kept, limit), kept)
    assert same(json.loads(encoded), kept)
    if len(dumps(value)) <= limit:
        assert same(kept, value)
    else:
        assert "[cut" in encoded
        assert type(kept) is type(value)


def test_the_large_parts_are_cut_and_the_small_ones_stay() -> None:
    """A note tells how much there was."""
    value: Any = {
        "question": "short",
        "document": "d" * 5_000,
        "history": [{"role": "user", "text": "t" * 5_000}, {"role": "system"}],
    }
    kept: Any = fit(value, 2_000)
    assert kept["question"] == "short"
    assert kept["document"].startswith("ddd")
    assert kept["document"].endswith("… [cut: was 5,002 bytes]")
    assert kept["history"][0]["role"] == "user"
    assert kept["history"][1] == {"role": "system"}


def test_where_there_are_too_many_parts_the_first_stay() -> None:
    """One that is large does not keep the ones after it out."""
    value: Any = {"large": "x" * 9_000, **{f"name {n}": n for n in range(2_000)}}
    kept: Any = fit(value, 2_000)
    assert kept["large"].endswith("… [cut: was 9,002 bytes]")
    assert kept["name 0"] == 0
    assert kept["…"].startswith("[cut: 1,")
    listed: Any = fit(["x" * 9_000, *range(2_000)], 2_000)
    assert listed[1] == 0
    assert listed[-1].startswith("… [cut: 1,")


def test_long_names_are_cut_too_and_stay_apart() -> None:
    """Two of them may start alike."""
    kept: Any = fit({"k" * 9_000 + "1": 1, "k" * 9_000 + "2": 2}, 1_000)
    assert sorted(kept.values()) == [1, 2]


@pytest.mark.parametrize("character", ["a", "é", "日", "😀", "\\", "\x00"])
def test_what_counts_is_bytes_as_they_are_sent(character: str) -> None:
    """ASCII JSON: a character takes one byte, two, six or twelve; none is halved."""
    kept: Any = fit(character * 5_000, 1_000)
    start, _, note = kept.partition("…")
    assert set(start) == {character}
    assert note.startswith(" [cut: was ")
    assert 1_000 - 12 <= len(dumps(kept)) <= 1_000


LARGE: dict[str, Any] = {
    "text": "x" * 1_500_000,
    "not ASCII": "日" * 400_000,
    "list": ["word"] * 200_000,
    "text in mapping": {"text": "x" * 2_000_000, "small": 1},
    "mapping": {f"key {number}": number for number in range(80_000)},
    "long name": {"k" * 2_000_000: "v"},
    "none": None,
}
large = st.sampled_from(list(LARGE))


@given(large, large, large, large, st.sampled_from([1, 30_000]))
@settings(thorough, max_examples=3, phases=[Phase.generate])
def test_any_row_fits_in_a_request(
    input_: str, output: str, expected: str, note: str, count: int
) -> None:
    """However large all of it is; what the plugin says of the test stays whole."""
    said = checked(
        input=LARGE[input_],
        output=LARGE[output],
        expected=LARGE[expected],
        error=LARGE[output],
        metadata={"note": LARGE[note], "pytest": "mine"},
        tags=[f"tag {number}" for number in range(count)],
        scores=dict.fromkeys(map(str, range(count)), 0.5),
        metrics=dict.fromkeys(map(str, range(count)), 7),
    )
    attempt: Any = {"outcome": "failed", "scores": {}, "error": "e" * 4_000}
    last = Attempt("passed", 1.0, 2.0, {"call": 1.0}, earlier=(attempt,) * 400)
    row = record(CASE, Ids(), said, last)
    event = json.loads(row["event"])
    assert len(row["event"]) < MAX_FIELDS_BYTES + 1_000_000 < WIRE_LIMIT
    facts = event["metadata"]["pytest"]
    assert (facts["nodeid"], facts["outcome"]) == (CASE.nodeid, "passed")
    assert facts["durations"] == {"call": 1.0}
    assert row["event"].endswith("}}}}")
    assert event["scores"]["pass"] == 1.0
    assert event["metadata"]["pytest (logged)"] == "mine"
    if count > 1:
        left_out = count - len(event["scores"]) + 1
        assert facts["scores_left_out"] == left_out > 0
        assert facts["metrics_left_out"] > 0
    for name in ("input", "output", "expected", "error", "metadata", "tags"):
        assert len(dumps(event[name])) < MAX_FIELD_BYTES + MAX_OTHER_BYTES + 10_000
    assert all(isinstance(tag, str) for tag in event["tags"])


# The whole way


@pytest.fixture(scope="module")
def far_away() -> Iterator[FakeBraintrust]:
    """One server for many rows."""
    with FakeBraintrust() as running:
        yield running


@given(st.lists(anything, min_size=1, max_size=8), st.dictionaries(text, anything))
@settings(thorough, max_examples=5)
def test_what_comes_back_is_what_was_logged(
    tmp_path_factory: pytest.TempPathFactory,
    far_away: FakeBraintrust,
    values: list[object],
    metadata: dict[str, object],
) -> None:
    """Record, relay between processes, store, send, fetch: equal to a clean copy."""
    rows = [relayed(logged(value, metadata)) for value in values]
    fetched = sent_and_fetched(tmp_path_factory.mktemp("store"), far_away, rows)
    for value, row in zip(values, rows, strict=True):
        event, found = json.loads(row["event"]), fetched[row["id"]]
        for name in ("input", "output", "expected", "metadata", "scores", "tags"):
            assert same(found[name], event[name])
        assert same(found["input"], clean(value))
        assert same(found["output"], clean([value]))


def logged(value: object, metadata: dict[str, object]) -> Row:
    """The row of a test that logged a value in several places."""
    recording = Recording(CASE)
    recording.log(checked(input=value, output=[value], metadata=metadata))
    return row_of(recording)


def relayed(row: Row) -> Row:
    """What another process gets of a row that travels on a report."""
    execnet = pytest.importorskip("execnet")
    report = pytest.TestReport("a", ("a", 1, "a"), {}, "passed", None, "call")
    payload = Payload(
        nodeid="a",
        final=True,
        said=True,
        failed=False,
        outcome="passed",
        rows=[row],
        teardown=0.0,
    )
    attach(report, payload)
    data = execnet.loads(execnet.dumps(report._to_json()))
    arrived, _ = detach(pytest.TestReport._from_json(data))
    assert arrived is not None
    assert arrived["rows"] == [row]
    return arrived["rows"][0]


def sent_and_fetched(
    folder: Path, server: FakeBraintrust, rows: list[Row]
) -> dict[str, dict[str, Any]]:
    """The rows as Braintrust has them, by id, by way of the store."""
    store = open_store(folder)
    experiment = stored.add(store, rows[0]["id"], of=rows)
    connection = Connection(server.api_key, server.url, server.app_url)
    with BraintrustClient.for_connection(connection) as client:
        sent = Sender(store, client).send(experiment)
        assert (sent.rows, sent.cut, sent.refused) == (len(rows), 0, 0)
        remote_id = reading.experiment(store, experiment.id).remote_id
        assert remote_id is not None
        fetched = {
            each.id: dict(each.raw) for each in client.fetch_experiment(remote_id)
        }
    store.close()
    return fetched


LOGS_ALL = """\
import pytest
from odd_values import EXACT, OTHER

@pytest.mark.parametrize("name", EXACT)
def test_logged(bt_score, name):
    value = EXACT[name][0]()
    bt_score(input={"in": value, "name": name}, output=value, metadata={"m": value})

@pytest.mark.parametrize("name", OTHER)
def test_large(bt_score, name):
    bt_score(output=OTHER[name]())

# With ids, as pytest itself fails on values that raise at everything.
@pytest.mark.parametrize(
    "value", [pytest.param(make(), id=name) for name, (make, _) in EXACT.items()]
)
def test_parameter(bt_score, value): pass

@pytest.mark.parametrize("name", EXACT)
def test_error(bt_score, name):
    bt_score(error=EXACT[name][0]())

@pytest.mark.parametrize(("value", "expected"), [({"b", "a"}, object())], indirect=["value"])
def test_indirect(bt_score, value, expected): assert value == {"fixture"}

@pytest.fixture
def value(request): return {"fixture"}
"""


def test_every_kind_in_runs_of_two_processes(suite: Suite) -> None:
    """Two runs with other hash seeds, one of them in workers, have equal rows."""
    source = Path(odd_values.__file__).read_text(encoding="utf-8")
    suite.write(test_all=LOGS_ALL, odd_values=source)
    first, second = (
        run_with_seed(suite, seed, *arguments)
        for seed, arguments in (("1", ()), ("2", ("-p", "xdist", "-n2")))
    )
    assert first.keys() == second.keys()
    assert not [name for name, row in first.items() if row != second[name]]
    for name, (_, expected) in EXACT.items():
        assert same(told(first, f"test_logged[{name}]")["output"], expected)


def told(rows: dict[str, Any], name: str) -> dict[str, Any]:
    """The event of the test with that name."""
    event: dict[str, Any] = json.loads(rows[f"test_all.py::{name}"][1])
    return event


def run_with_seed(suite: Suite, seed: str, *arguments: str) -> dict[str, Any]:
    """What a run's rows say of their tests, without what every run has of its own."""
    suite.environment["PYTHONHASHSEED"] = seed
    before = len(Ran(0, "", "", suite.folder / ".braintrust").experiments())
    ran = suite.run("-W", "error", *arguments)
    assert ran.status == 0, ran.out + ran.err
    assert len(ran.experiments()) == before + 1
    number = ran.experiments()[-1]["number"]
    rows = [
        each for each in ran.query("rows", "position") if each["experiment"] == number
    ]
    return {
        each["nodeid"]: (each["input_hash"], lasting(each["event"])) for each in rows
    }


def lasting(event: str) -> str:
    """What of an event is the same in every run."""
    read = json.loads(event)
    names = ("input", "output", "expected", "error", "scores", "tags", "context")
    metadata = {
        name: read["metadata"][name] for name in read["metadata"] if name != "pytest"
    }
    return dumps({**{name: read[name] for name in names}, "metadata": metadata})
