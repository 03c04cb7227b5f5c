"""Read from a collected test what its row says before the test runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import pytest

from pytest_braintrust.cutting import short_name
from pytest_braintrust.events import Case, Place
from pytest_braintrust.fields import NOTHING, UNSET, Fields, Speaking, Unset, checked
from pytest_braintrust.jsonable import PLAIN, Json, clean, plain_text, text_of
from pytest_braintrust.sources import source_hash
from pytest_braintrust.trials import MOST, is_number, split, trial_of

MARKER = "braintrust"
FIXTURES = frozenset({"bt_score", "braintrust_span"})

#: What the marker says of its dataset, read where cases are made of that.
DATASET_KEYWORDS = ("dataset", "version", "limit", "filter", "id_field")
_ROW_KEYWORDS = ("project", "input", "expected", "tags", "metadata")
_MARKER_KEYWORDS = (*_ROW_KEYWORDS, "trials", *DATASET_KEYWORDS)
#: Markers that say how a test is run, not what it is.
_MECHANICAL_MARKERS = frozenset({MARKER, "parametrize", "usefixtures", "xdist_group"})


def is_recorded(item: pytest.Item, *, record_all: bool) -> bool:
    """Whether a test gets a row: by fixture, by marker, or because all do."""
    if record_all or not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return True
    return item.get_closest_marker(MARKER) is not None


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the cases of one test function have in common."""

    place: Place
    #: What its markers say.
    given: Fields
    #: Kept, so that no other object is known by their identity.
    known_by: tuple[object, ...]


class Cases:
    """Describes tests; what is the same for all cases of a function is read once."""

    def __init__(self) -> None:
        self._shared: dict[tuple[object, ...], _Shared] = {}

    def case_of(self, item: pytest.Item) -> Case:
        """Describe a test by its place, markers and parameters."""
        shared = self._shared_of(item)
        own, name = item_id(item), plain_text(item.name)
        callspec = getattr(item, "callspec", None)
        param_id, trial = trial_of(callspec)
        nodeid = own
        if trial is not None:
            nodeid = _without_trial(nodeid, param_id)
            name = _without_trial(name, param_id)
        return Case(
            short_name(nodeid),
            short_name(name),
            shared.place,
            shared.given if callspec is None else _told(callspec.params, shared.given),
            None if param_id is None else short_name(plain_text(param_id)),
            own,
            trial,
        )

    def _shared_of(self, item: pytest.Item) -> _Shared:
        function = getattr(item, "originalname", None) or item.name
        # The cases of a function have its markers, and some have markers of their own.
        own = (item.parent, *item.own_markers)
        key = (item.location[:2], function, *map(id, own))
        found = self._shared.get(key)
        if found is None:
            place = _place(item, plain_text(function))
            found = _Shared(place, _given(item), own)
            self._shared[key] = found
        return found


def _place(item: pytest.Item, function: str) -> Place:
    path, line, _ = item.location
    code = getattr(item, "function", None)
    return Place.of(
        file=plain_text(path),
        function=function,
        line=(line or 0) + 1,
        markers=tuple(_marker_names(item)),
        project=project_of(item),
        source=None if code is None else source_hash(code),
    )


def item_id(item: pytest.Item) -> str:
    """An item's node id, without the `@group` that pytest-xdist adds for loadgroup."""
    nodeid = item.nodeid
    if "@" in nodeid and item.config.getoption("loadgroup", default=False):
        names = {_group_name(mark) for mark in item.iter_markers("xdist_group")}
        nodeid = nodeid.removesuffix("@" + "_".join(sorted(names)))
    return plain_text(nodeid)


def without_group(nodeid: str) -> str:
    """The same from the text alone, where only a worker has the item."""
    path, _, name = nodeid.rpartition("::")
    if name.rfind("@") > name.rfind("]"):
        name = name[: name.rfind("@")]
    return plain_text(f"{path}::{name}" if path else name)


def case_id(item: pytest.Item) -> str:
    """The node id of the test that an item is a trial of: what its row is known by."""
    param_id, trial = trial_of(getattr(item, "callspec", None))
    nodeid = item_id(item)
    return short_name(nodeid if trial is None else _without_trial(nodeid, param_id))


def case_id_of(nodeid: str) -> str:
    """The same from the text of the item's node id alone."""
    return short_name(split(plain_text(nodeid))[0])


def _without_trial(name: str, param_id: str | None) -> str:
    head = name[: name.index("[")]
    return head if param_id is None else f"{head}[{plain_text(param_id)}]"


def shared_ids(items: Iterable[pytest.Item], *, record_all: bool) -> list[str]:
    """The node ids that several recorded tests have, each as often as it is."""
    recorded = [
        item_id(item) for item in items if is_recorded(item, record_all=record_all)
    ]
    counts = Counter(recorded)
    return [each for each in recorded if counts[each] > 1]


def marker_faults(items: Iterable[object]) -> Iterator[str]:
    """What is wrong with the markers of collected tests, once for each marker."""
    seen: set[int] = set()
    for item in items:
        if not isinstance(item, pytest.Item):
            continue
        for mark in item.iter_markers(MARKER):
            # The tests of a class or a parametrisation share theirs.
            if id(mark) not in seen:
                seen.add(id(mark))
                for fault in faults(mark):
                    yield f"{plain_text(item.nodeid)}: {fault}"


def faults(mark: pytest.Mark) -> Iterator[str]:
    """What is wrong with a marker."""
    about = f"the marker {MARKER}"
    takes = ", ".join(_MARKER_KEYWORDS)
    if mark.args:
        yield f"{about} takes no positional arguments; it takes {takes}"
    for name in mark.kwargs:
        if name not in _MARKER_KEYWORDS:
            yield f"{about} has no keyword {name!r}; it takes {takes}"
    lost = [n for n in DATASET_KEYWORDS if n in mark.kwargs]
    if lost and "dataset" not in mark.kwargs:
        yield f"{about}: {lost[0]}= is said of a dataset; name it by dataset="
    project = mark.kwargs.get("project")
    if project is not None and not (isinstance(project, str) and project.strip()):
        yield f"{about}: project is {text_of(project)}; give a name"
    number = mark.kwargs.get("trials", 1)
    if not is_number(number):
        yield f"{about}: trials is {text_of(number)}; give a number from 1 to {MOST:,}"
    for name in ("tags", "metadata"):
        try:
            checked(**{name: mark.kwargs.get(name)})
        except ValueError as error:
            yield f"{about}: {error}"


def _given(item: pytest.Item) -> Fields:
    """What the markers say of a test's row."""
    given = Fields()
    # From the module's marker to the function's own: the closest has the last word.
    for mark in reversed(list(item.iter_markers(MARKER))):
        said = {
            name: mark.kwargs[name]
            for name in ("input", "expected", "tags", "metadata")
            if mark.kwargs.get(name) is not None
        }
        given.merge(checked(**said))
    return given or NOTHING


def _told(params: Mapping[str, object], marked: Fields) -> Fields:
    """What the parameters say, of which some know themselves what that is.

    Args:
        params: By name.
        marked: What markers say, which goes over it.
    """
    given = Fields()
    asked: dict[str, Json] = {}
    expected: Json | Unset = UNSET
    for name, value in params.items():
        # By its type: a value may lie about its class, or raise when it is asked.
        kind = type(value)
        if kind not in PLAIN and issubclass(kind, Speaking):
            given.merge(cast("Speaking", value).fields())
        elif name == "expected":
            expected = clean(value)
        # pytest-repeat counts its repetitions in such a parameter: they are trials
        # of one case, and its input is the same. So it is on whatever loop of anyio.
        elif not name.startswith("__") and name != "anyio_backend":
            asked[plain_text(name)] = clean(value)
    if asked:
        # A row that is asked in more than one way: each is an input of its own.
        row = given.input
        given.input = asked if isinstance(row, Unset) else {"input": row, **asked}
    if expected is not UNSET:
        given.expected = expected
    if marked is not NOTHING:
        given.merge(marked)
    return given


def project_of(item: pytest.Item) -> str | None:
    """The project that the closest marker names, or None."""
    for mark in item.iter_markers(MARKER):
        if mark.kwargs.get("project"):
            return plain_text(mark.kwargs["project"])
    return None


def _marker_names(item: pytest.Item) -> Iterator[str]:
    seen = dict.fromkeys(mark.name for mark in item.iter_markers())
    return (plain_text(name) for name in seen if name not in _MECHANICAL_MARKERS)


def _group_name(mark: pytest.Mark) -> str:
    name = mark.args[0] if mark.args else mark.kwargs.get("name", "default")
    return str(name)
