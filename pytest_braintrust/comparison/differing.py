"""What two runs recorded about how they were made, and where that is not the same.

So that a score that moved can be laid to something, or to nothing that was recorded:
then what moved is likely the model behind its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_braintrust.comparison.pairing import Pair
from pytest_braintrust.comparison.result import Difference
from pytest_braintrust.jsonable import dumps
from pytest_braintrust.store.reading import StoredExperiment

#: What every run says of itself and what does not make it another run.
_INCIDENTAL = frozenset(
    {
        "arguments",
        "ci",
        "exit_status",
        "platform",
        "pytest_braintrust",
        "selected",
        "selection",
        "tests",
    }
)
_SHORT_COMMIT = 10


@dataclass(slots=True)
class Counted:
    """How many of the shared tests are written or parametrized otherwise."""

    sources: int = 0
    inputs: int = 0

    def add(self, pair: Pair) -> None:
        """Look at one test of both runs."""
        then, now = pair.then.trials[0], pair.now.trials[0]
        self.inputs += then.input_hash != now.input_hash
        self.sources += None not in {then.source, now.source} and (
            then.source != now.source
        )


def differences(
    base: StoredExperiment, head: StoredExperiment, counted: Counted
) -> Iterator[Difference]:
    """Each thing that is not the same, the most telling first."""
    yield from _declared(base.metadata, head.metadata)
    if base.dataset_version != head.dataset_version:
        then, now = base.dataset_version, head.dataset_version
        yield Difference("dataset version", then or "-", now or "-")
    yield from _commits(base.repo_info or {}, head.repo_info or {})
    if counted.sources:
        yield Difference("test code", "", f"{counted.sources} tests")
    if counted.inputs:
        yield Difference("inputs", "", f"{counted.inputs} tests")


def _declared(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys((*now, *then)):
        if name not in _INCIDENTAL and then.get(name) != now.get(name):
            yield Difference(name, _text(then.get(name)), _text(now.get(name)))


def _commits(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    before, after = _commit(then), _commit(now)
    if before != after:
        yield Difference("commit", before, after)
    elif now.get("dirty"):
        # Of one commit, with changes that nothing was recorded of.
        yield Difference("commit", "", f"{after} in both runs, which may differ")


def _commit(info: Mapping[str, Any]) -> str:
    commit = str(info.get("commit") or "")[:_SHORT_COMMIT]
    return f"{commit} with changes" if commit and info.get("dirty") else commit


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else dumps(value)
