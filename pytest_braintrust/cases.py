"""Read from a collected test what its row says before the test runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import pytest

from pytest_braintrust.cutting import short_name
from pytest_braintrust.events import Case
from pytest_braintrust.fields import Fields, Speaking, Unset, checked
from pytest_braintrust.jsonable import plain_text, text_of
from pytest_braintrust.sources import source_hash
from pytest_braintrust.trials import MOST, is_number, trial_of

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
    if record_all or item.get_closest_marker(MARKER) is not None:
        return True
    return not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def case_of(item: pytest.Item) -> Case:
    """Describe a test by its place, markers and parameters."""
    path, line, _ = item.location
    item_id = clean_nodeid(item)
    callspec = getattr(item, "callspec", None)
    function = getattr(item, "function", None)
    param_id, trial = trial_of(callspec)
    return Case(
        nodeid=short_name(_without_trial(item_id, param_id, trial)),
        item_id=item_id,
        trial=trial,
        name=short_name(_without_trial(plain_text(item.name), param_id, trial)),
        file=plain_text(path),
        function=plain_text(getattr(item, "originalname", None) or item.name),
        line=(line or 0) + 1,
        param_id=None if param_id is None else short_name(plain_text(param_id)),
        markers=tuple(_marker_names(item)),
        project=project_of(item),
        source=source_hash(function) if function is not None else None,
        given=_given(item, {} if callspec is None else callspec.params),
    )


def clean_nodeid(item: pytest.Item) -> str:
    """The node id without the `@group` that pytest-xdist adds for loadgroup."""
    nodeid = item.nodeid
    if item.config.getoption("loadgroup", default=False):
        names = {_group_name(mark) for mark in item.iter_markers("xdist_group")}
        nodeid = nodeid.removesuffix("@" + "_".join(sorted(names)))
    return plain_text(nodeid)


def case_id(item: pytest.Item) -> str:
    """The node id of the test that an item is a trial of: what its row is known by."""
    param_id, trial = trial_of(getattr(item, "callspec", None))
    return short_name(_without_trial(clean_nodeid(item), param_id, trial))


def _without_trial(name: str, param_id: str | None, trial: int | None) -> str:
    if trial is None:
        return name
    head = name[: name.index("[")]
    return head if param_id is None else f"{head}[{plain_text(param_id)}]"


def shared_ids(items: Iterable[pytest.Item], *, record_all: bool) -> list[str]:
    """The node ids that several recorded tests have, each as often as it is."""
    recorded = [
        clean_nodeid(item) for item in items if is_recorded(item, record_all=record_all)
    ]
    counts = Counter(recorded)
    return [each for each in recorded if counts[each] > 1]


def without_group(nodeid: str) -> str:
    """The same from the text alone, where only a worker ever had the item."""
    path, _, name = nodeid.rpartition("::")
    if name.rfind("@") > name.rfind("]"):
        name = name[: name.rfind("@")]
    return plain_text(f"{path}::{name}" if path else name)


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


def _given(item: pytest.Item, params: Mapping[str, object]) -> Fields:
    given = _told(params)
    # From the module's marker to the function's own: the closest has the last word.
    for mark in reversed(list(item.iter_markers(MARKER))):
        said = {
            name: mark.kwargs[name]
            for name in ("input", "expected", "tags", "metadata")
            if mark.kwargs.get(name) is not None
        }
        given.merge(checked(**said))
    return given


def _told(params: Mapping[str, object]) -> Fields:
    """What the parameters say, of which some know themselves what that is."""
    given = Fields()
    plain: dict[str, object] = {}
    for name, value in params.items():
        # By its type: a value may lie about its class, or raise when it is asked.
        if issubclass(type(value), Speaking):
            given.merge(cast("Speaking", value).fields())
        else:
            plain[name] = value
    said = checked(**_parameters(plain))
    row = given.input
    if not isinstance(row, Unset) and isinstance(said.input, dict):
        # The row is asked in more than one way: each is an input of its own.
        said.input = {"input": row, **said.input}
    given.merge(said)
    return given


def _parameters(params: Mapping[str, object]) -> dict[str, Any]:
    inputs = {
        name: value
        for name, value in params.items()
        # pytest-repeat counts its repetitions in such a parameter: they are trials
        # of one case, and its input is the same.
        if name != "expected" and not name.startswith("__")
    }
    said: dict[str, Any] = {"input": inputs} if inputs else {}
    if "expected" in params:
        said["expected"] = params["expected"]
    return said


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
