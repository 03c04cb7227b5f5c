"""What two runs recorded about how they were made, and where that is not the same.

So that a score that moved can be laid to something, or to nothing that was recorded:
then what moved is likely the model behind its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_braintrust.comparison.pairing import Pair
from pytest_braintrust.comparison.result import Difference
from pytest_braintrust.jsonable import dumps
from pytest_braintrust.store.reading import StoredExperiment
from pytest_braintrust.words import a_number

#: Where a run says which datasets it had, and how many workers.
_DATASETS, _WORKERS = "datasets", "workers"
#: What every run says of itself and what does not make it another run.
INCIDENTAL = frozenset(
    {
        "arguments",
        "ci",
        _DATASETS,
        "exit_status",
        "higher_is_better",
        "platform",
        "pytest_braintrust",
        "selected",
        "selection",
        "tests",
        _WORKERS,
    }
)
_SHORT_COMMIT = 10
#: Stands for what a run did not record.
_NOTHING = "-"


@dataclass(slots=True)
class Counted:
    """How many of the shared tests are written, parametrized or repeated otherwise."""

    tests: int = 0
    sources: int = 0
    inputs: int = 0
    #: How many tests have so many trials then and so many others now.
    trials: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, pair: Pair) -> None:
        """Look at one test of both runs; one that errored may not have said its input."""
        if pair.then.errored or pair.now.errored:
            return
        then, now = pair.then.measured[0], pair.now.measured[0]
        self.tests += 1
        if len(pair.then.trials) != len(pair.now.trials):
            self.trials[len(pair.then.trials), len(pair.now.trials)] += 1
        self.inputs += then.input_hash != now.input_hash
        self.sources += None not in {then.source, now.source} and (
            then.source != now.source
        )


def differences(
    base: StoredExperiment, head: StoredExperiment, counted: Counted
) -> Iterator[Difference]:
    """Each thing that is not the same, the most telling first."""
    yield from _declared(base.metadata, head.metadata)
    yield from _datasets(base, head)
    yield from _commits(base.repo_info or {}, head.repo_info or {})
    yield from _workers(base.metadata, head.metadata)
    yield from _trials(counted)
    if counted.sources:
        yield Difference("test code", "", a_number(counted.sources, "test"))
    if counted.inputs:
        yield Difference("inputs", "", a_number(counted.inputs, "test"))


def _declared(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys((*now, *then)):
        if name not in INCIDENTAL:
            yield from _value(name, then.get(name), now.get(name))


def _value(name: str, then: object, now: object) -> Iterator[Difference]:
    """One difference, or those of the parts of what both runs give as an object."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for part in dict.fromkeys((*now, *then)):
            yield from _value(f"{name}.{part}", then.get(part), now.get(part))
    elif then != now:
        yield Difference(name, _text(then), _text(now))


def _datasets(base: StoredExperiment, head: StoredExperiment) -> Iterator[Difference]:
    """Datasets of another version, and those that took the place of others.

    What one run alone has says nothing: it is of other tests, or of another part of
    the suite, and of the processes of a sharded run one alone tells its datasets.
    """
    then, now = _versions(base.metadata), _versions(head.metadata)
    if not (then and now):
        # Of an experiment that the SDK made this is all that is known.
        before, after = base.dataset_version, head.dataset_version
        if before and after and before != after:
            yield Difference("dataset version", before, after)
        return
    for name, version in now.items():
        if name in then and then[name] != version:
            yield Difference(f"dataset {name}", then[name], version)
    gone, new = ([n for n in a if n not in b] for a, b in ((then, now), (now, then)))
    if gone and new:
        yield Difference("dataset", ", ".join(gone), ", ".join(new))


def _versions(metadata: Mapping[str, Any]) -> dict[str, str]:
    """By its name, the version of each dataset; one may be there in several."""
    found: dict[str, list[str]] = {}
    told = metadata.get(_DATASETS)
    for each in told if isinstance(told, list) else ():
        if isinstance(each, Mapping) and each.get("name"):
            project = f"{each['project']}/" if each.get("project") else ""
            versions = found.setdefault(f"{project}{each['name']}", [])
            versions.append(_text(each.get("version")))
    return {name: ", ".join(sorted(each)) for name, each in found.items()}


def _commits(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    before, after = _commit(then), _commit(now)
    if before != after:
        yield Difference("commit", before, after)
    elif now.get("dirty"):
        # Of one commit, with changes that nothing was recorded of.
        yield Difference("commit", "", f"{after} in both runs, which may differ")


def _commit(info: Mapping[str, Any]) -> str:
    commit = str(info.get("commit") or "")[:_SHORT_COMMIT]
    if not commit:
        return _NOTHING
    return f"{commit} with changes" if info.get("dirty") else commit


def _workers(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Of experiments that others made, their number is not known."""
    before, after = then.get(_WORKERS), now.get(_WORKERS)
    if before is not None and after is not None:
        yield from _value(_WORKERS, before, after)


def _trials(counted: Counted) -> Iterator[Difference]:
    """From how many to how many, where all that differ do so alike."""
    changed = counted.trials.total()
    if not changed:
        return
    tests = a_number(changed, "test")
    if len(counted.trials) > 1:
        yield Difference("trials", "", tests)
        return
    ((then, now),) = counted.trials
    where = "" if changed == counted.tests else f" in {tests}"
    yield Difference("trials", f"{then:,}", f"{now:,}{where}")


def _text(value: Any) -> str:
    if value is None:
        return _NOTHING
    return value if isinstance(value, str) else dumps(value)
