"""`bt_score`: what a test calls to say what it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import (
    TYPE_CHECKING,
    Any,
    NoReturn,
    SupportsFloat,
    TypeAlias,
    TypedDict,
)

import pytest

from pytest_braintrust.clocks import now
from pytest_braintrust.cutting import short_name
from pytest_braintrust.fields import UNSET, Fields, checked
from pytest_braintrust.jsonable import Json, as_text
from pytest_braintrust.recorder import Part, Recording
from pytest_braintrust.spans import TracedSpan

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


@dataclass(frozen=True, slots=True)
class Experiment:
    """The experiment that this run's rows belong to.

    `id` and `url` are Braintrust's, and None while the run is only kept locally.
    """

    project: str
    name: str
    id: str | None = None
    url: str | None = None


#: Answers the experiment that the rows of a project go to.
FINDER = pytest.StashKey[Callable[["str | None"], Experiment]]()

#: Answers the experiment of one test; None where nothing is recorded.
FindExperiment: TypeAlias = Callable[[], "Experiment | None"]


@dataclass(slots=True, eq=False)
class Running:
    """The test that is running, and its recording once it has asked for one.

    Which fixtures a test asks for by name while it runs is known then and not before.
    Until it does, what it went through is noted and no more: most that never ask are
    not evals.
    """

    item: pytest.Item
    #: Makes the recording, with what the test went through so far.
    record: Callable[[Running], Recording]
    recording: Recording | None = None
    #: Steps of a recording and what they were told, for one that is made later.
    steps: list[tuple[Callable[..., object], tuple[object, ...]]] = field(
        default_factory=list
    )
    #: Ends what began with the recording.
    leave: Callable[[], object] | None = None
    #: Held while that changes: several threads of a test may ask at once.
    lock: RLock = field(default_factory=RLock)

    def went(self, step: Callable[..., object], *told: object) -> None:
        """Tell the recording of a step, now or when there is one.

        Args:
            step: A method of `Recording`.
            told: What it is called with.
        """
        if self.recording is None:
            with self.lock:
                if self.recording is None:
                    self.steps.append((step, told))
                    return
        step(self.recording, *told)

    def asked(self) -> Recording:
        """The recording, made now if the test had not asked for one before."""
        if self.recording is None:
            with self.lock:
                if self.recording is None:
                    self.recording = self.record(self)
        return self.recording

    def find_experiment(self) -> Experiment:
        """The experiment that its row goes to."""
        find = self.item.config.stash[FINDER]
        return find(self.asked().case.place.project)


# A fixture that knows its test by asking for `request` would cost every test a tenth
# of what pytest itself does for it (seen with pytest 9.2).
_IN_CONTEXT: ContextVar[Running | None] = ContextVar("braintrust_running", default=None)

#: The tests that are running, in a list for each run of pytest within another one's
#: test. A thread of a pool has no context; the event loop of a module or of anyio has
#: that of the test which was first, and it runs the others too.
_RUNS: list[list[Running]] = [[]]


def apart() -> Callable[[], None]:
    """Let no test be running from here on; answers what brings the one back that was."""
    token, run = _IN_CONTEXT.set(None), list[Running]()
    _RUNS.append(run)

    def back() -> None:
        # By identity: all of them are alike where nothing runs.
        _RUNS[:] = [each for each in _RUNS if each is not run]
        _IN_CONTEXT.reset(token)

    return back


@contextmanager
def begun(running: Running) -> Iterator[None]:
    """Let a test be the one that is running, for the length of the block."""
    token, run = _IN_CONTEXT.set(running), _RUNS[-1]
    run.append(running)
    try:
        yield
    finally:
        run.remove(running)
        _IN_CONTEXT.reset(token)


def _running() -> Running | None:
    """The test that is running, asked from whatever thread or task."""
    running, run = _IN_CONTEXT.get(), _RUNS[-1]
    if running in run:
        return running
    # Of several, as of a plugin that runs tests in threads, it might be any.
    return run[0] if len(run) == 1 else None


def current() -> BtScore:
    """What the fixture `bt_score` is in the test that is running now.

    For code that a test calls and that has no fixture: a judge, a wrapped client.
    It may be asked in any function, thread or task, but not in another process. Where
    no test is running, or none is recorded, it checks the same calls and keeps nothing.
    """
    return BtScore(*parts_for_running())


def place_of_running() -> tuple[Place, FindExperiment] | None:
    """Where a step belongs that is traced now; None where no test is recorded."""
    running = _running()
    if running is None or running.recording is None:
        return None
    place = _place_entered()
    if place is None or place.recording is not running.recording:
        place = Place(running.recording)
    return place, running.find_experiment


def parts_for_running() -> tuple[Recording | None, FindExperiment]:
    """The recording of the test and what finds its experiment, where it is recorded."""
    running = _running()
    if running is None:
        return None, _no_experiment
    return running.asked(), running.find_experiment


def _no_experiment() -> None:
    """Nothing is recorded."""


_UNNAMED = (
    "bt_score takes values by name, as bt_score(output=…): the names are input, "
    "output, expected, scores, metadata, tags, metrics and error"
)


_OF_ITS_PROCESS = (
    "bt_score keeps what is logged in the process of its test, and cannot be given to "
    "another one: return the answer from there, and log it in the test"
)


class Said(TypedDict, total=False):
    """What one call may say, as a type checker knows it."""

    input: object
    output: object
    expected: object
    scores: Mapping[str, SupportsFloat | None] | None
    metadata: Mapping[str, Any] | None
    tags: str | Iterable[str] | None
    metrics: Mapping[str, SupportsFloat | None] | None
    error: object


def _checked(event: Said) -> Fields:
    __tracebackhide__ = True
    try:
        return checked(**event)
    except ValueError as wrong:
        raise wrong.with_traceback(None) from None


class BtScore:
    """Record input, output and scores of the running test.

    Call it any number of times, from any thread or task, but not from another process:
    what one that the test forked says is not kept. Without `--braintrust` it
    takes and checks the same calls and keeps nothing.
    """

    def __init__(
        self,
        recording: Recording | None = None,
        find_experiment: FindExperiment = _no_experiment,
        part: Part | None = None,
    ) -> None:
        self._recording = recording
        self._find_experiment = find_experiment
        self._part = part

    def __call__(  # noqa: PLR0913 - the fields of a Braintrust event
        self,
        *unnamed: NoReturn,
        input: object = UNSET,  # noqa: A002 - Braintrust's name
        output: object = UNSET,
        expected: object = UNSET,
        scores: Mapping[str, SupportsFloat | None] | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: str | Iterable[str] | None = None,
        metrics: Mapping[str, SupportsFloat | None] | None = None,
        error: object = UNSET,
    ) -> None:
        """Add to the test's row.

        Args:
            unnamed: None may be: what a value is of, only its name tells.
            input: What was asked; any value. The test's parameters when never said.
            output: What came back; any value.
            expected: What should have come back; the parameter of that name when
                never said.
            scores: Name to a number from 0 to 1; a bool counts as 1 or 0, None means
                not scored.
            metadata: Name to any value; mappings merge over several calls. `model`
                is kept as text.
            tags: One text or several; they add up.
            metrics: Name to a finite number up to 1e100, such as cost. `tokens`,
                `prompt_tokens` and `completion_tokens` are whole numbers.
            error: A text or an exception that the row should show.

        Raises:
            TypeError: a value has no name.
            ValueError: a value is not of these kinds. Nothing of the call is kept,
                what was said before stays.
        """
        __tracebackhide__ = True
        if unnamed:
            raise TypeError(_UNNAMED)
        try:
            said = checked(
                input=input,
                output=output,
                expected=expected,
                scores=scores,
                metadata=metadata,
                tags=tags,
                metrics=metrics,
                error=error,
            )
        except ValueError as wrong:
            # It is the caller's: without lines of ours it ends at theirs.
            raise wrong.with_traceback(None) from None
        self._keep(said)

    def _keep(self, said: Fields) -> None:
        if self._recording is not None:
            self._recording.log(said, self._part)

    def row(self, name: str | None = None, **event: Unpack[Said]) -> RowBlock:
        """Open a further row for this test, for the length of a `with` block.

        Its `pass` score is 1 when the block ends and 0 when it raises. Takes the
        same arguments as a call, and a `name` to know the row by (its number when
        not given; a name that an earlier row has is numbered too).

        Raises:
            ValueError: as a call does.
        """
        __tracebackhide__ = True
        said = _checked(event)
        known_by = "" if name is None else short_name(as_text(name))
        return RowBlock(self._recording, self._find_experiment, known_by, said)

    def span(
        self,
        name: str,
        *,
        type: str | None = None,  # noqa: A002 - Braintrust's name
        **event: Unpack[Said],
    ) -> SpanBlock:
        """Trace a step of the test, such as the call of a model, for a `with` block.

        On Braintrust it is a span below the test's row, or below the span whose block
        it is opened in. Takes the same arguments as a call.

        Args:
            name: What the step is called.
            type: What it is to Braintrust, such as "llm", "tool", "task" or "function".
            event: What is known of it so far.

        Raises:
            ValueError: as a call does.
        """
        __tracebackhide__ = True
        said = _checked(event)
        attributes: dict[str, Json] = (
            {} if type is None else {"type": short_name(as_text(type))}
        )
        place = self._place()
        step = opened(place, name, said, attributes)
        return SpanBlock(place, self._find_experiment, step)

    def _place(self) -> Place:
        """Where a step of it belongs: within the one whose block runs."""
        place = _place_entered()
        if (
            place is not None
            and place.recording is self._recording
            and (self._part is None or self._part is place.part)
        ):
            return place
        return Place(self._recording, self._part)

    def __copy__(self) -> Self:
        """Answer the same: it is a way to the test's row, however often."""
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        """Say what to do instead of giving it to another process.

        Raises:
            TypeError: always.
        """
        raise TypeError(_OF_ITS_PROCESS)

    @property
    def experiment(self) -> Experiment | None:
        """The experiment on Braintrust, made now if this is its first use.

        None without `--braintrust`. Its `id` and `url` are None where the run is
        kept locally or Braintrust cannot be reached: a look never fails a test.
        """
        return self._find_experiment()


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A row of a test, or a step of it, that further steps are part of."""

    recording: Recording | None
    part: Part | None = None
    step: TracedSpan | None = None

    @property
    def root(self) -> str:
        """The id of the row's span; "" where nothing is recorded."""
        if self.part is not None:
            return self.part.ids.span
        return self.recording.ids.span if self.recording else ""

    @property
    def span_id(self) -> str:
        """The id of its own span."""
        return self.root if self.step is None else self.step.ids.span

    def enter(self) -> Callable[[], None]:
        """Let steps be part of it that do not say of what; answers what ends that."""
        entered = _Entered(self, _ENTERED.get())
        _ENTERED.set(entered)

        def leave() -> None:
            # A generator may end its block after the blocks around it, or in another
            # task, where other blocks run by then: those stay.
            within = _ENTERED.get()
            while within is not None and within is not entered:
                within = within.outer
            if within is not None:
                _ENTERED.set(entered.outer)

        return leave


@dataclass(frozen=True, slots=True, eq=False)
class _Entered:
    """A place whose block runs, and the one in whose block that was entered."""

    place: Place
    outer: _Entered | None


_ENTERED: ContextVar[_Entered | None] = ContextVar("braintrust_place", default=None)


def _place_entered() -> Place | None:
    """The innermost place whose block runs, but for steps that ended elsewhere."""
    entered = _ENTERED.get()
    while entered is not None:
        step = entered.place.step
        if step is None or step.end is None:
            return entered.place
        entered = entered.outer
    return None


def opened(
    place: Place, name: object, said: Fields, attributes: Mapping[str, Json]
) -> TracedSpan:
    """A step that begins now, as part of a place; not yet recorded."""
    return TracedSpan(
        short_name(as_text(name)),
        place.root,
        said,
        dict(attributes),
        within=place.step,
    )


class SpanScore(BtScore):
    """What `bt_score.span` gives to its block: a call adds to the step."""

    def __init__(self, place: Place, find_experiment: FindExperiment) -> None:
        super().__init__(place.recording, find_experiment, place.part)
        self._at = place

    def _keep(self, said: Fields) -> None:
        if self._recording is not None and self._at.step is not None:
            self._recording.log_span(self._at.step, said)

    def _place(self) -> Place:
        return self._at


class SpanBlock:
    """A step of a test, traced while its `with` block runs."""

    def __init__(
        self, within: Place, find_experiment: FindExperiment, step: TracedSpan
    ) -> None:
        self._place = replace(within, step=step)
        self._find_experiment = find_experiment
        self._step = step
        self._within = ExitStack()

    def __enter__(self) -> SpanScore:
        self._step.start = now()
        if self._place.recording is not None:
            self._place.recording.open_span(self._step)
            self._within.callback(self._place.enter())
        return SpanScore(self._place, self._find_experiment)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._within.close()
        recording = self._place.recording
        if recording is not None:
            if error is not None:
                recording.log_span(self._step, checked(error=error))
            recording.close_span(self._step, now())


class RowBlock:
    """A further row of a test, open while its `with` block runs."""

    def __init__(
        self,
        recording: Recording | None,
        find_experiment: FindExperiment,
        name: str,
        said: Fields,
    ) -> None:
        self._recording = recording
        self._find_experiment = find_experiment
        self._name = name
        self._said = said
        self._part: Part | None = None
        self._within = ExitStack()

    def __enter__(self) -> BtScore:
        if self._recording is None:
            return BtScore()
        self._part = self._recording.open_part(self._name, self._said)
        self._within.callback(Place(self._recording, self._part).enter())
        return BtScore(self._recording, self._find_experiment, self._part)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._within.close()
        if self._recording is not None and self._part is not None:
            self._recording.close_part(self._part, error)

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Say how a row is opened.

        Raises:
            TypeError: always.
        """
        msg = "a row is a block: `with bt_score.row(…) as row: row(output=…)`"
        raise TypeError(msg)
