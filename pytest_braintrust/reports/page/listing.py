"""The tests of a run as a table: those that somebody looks for first, each to unfold.

A page has room for so much: of the first tests it has what they said, of those that
follow their numbers, and of what is left how much that is.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_braintrust.comparison.looking import Beside, Looked, Tests, tests_of
from pytest_braintrust.judging import Judgement
from pytest_braintrust.outcomes import OUTCOMES
from pytest_braintrust.reports.lines import plain
from pytest_braintrust.reports.page.changes import Work
from pytest_braintrust.reports.page.content import content
from pytest_braintrust.reports.page.markup import Safe, opening, tag, together
from pytest_braintrust.reports.table import MARKS
from pytest_braintrust.store.connection import Store

#: Bytes of what tests said, in a page.
CONTENT = 10_000_000
#: Tests that are listed: a browser takes its time for more.
LISTED = 20_000

#: Scores that have a column, and those that one can choose tests by.
_COLUMNS, _CHOICES = 6, 30
_OUTCOME_MARKS = {"passed": "✓", "failed": "✗", "errored": "!"}


@dataclass(slots=True)
class Room:
    """How much of what tests said still fits."""

    left: int = CONTENT
    tests: int = LISTED
    work: Work = field(default_factory=Work)

    def has(self, piece: str) -> bool:
        """Whether it fits; what does not ends it for all that follow."""
        size = len(piece.encode("utf-8", "replace"))
        self.left = self.left - size if size <= self.left else 0
        return self.left > 0


def listing(judged: Judgement, store: Store, room: Room, number: int) -> Iterator[Safe]:
    """A section with all tests of an experiment.

    Args:
        judged: The experiment.
        store: Where its rows are.
        room: What of the page is left for them.
        number: Its place in the page.

    Raises:
        StoreError: the store could not be read.
    """
    base = judged.baseline.experiment if judged.baseline is not None else None
    tests = tests_of(store, judged.experiment, base, judged.comparison)
    names = _names(judged)
    yield opening("section", class_="tests", aria_labelledby=f"tests-{number}")
    yield tag("h2", "Tests", id=f"tests-{number}")
    yield _filters(tests, names, number)
    label = "Table of tests"
    yield opening("div", class_="scroll", role="region", aria_label=label, tabindex=0)
    columns = min(len(names), _COLUMNS)
    yield opening("table", class_=f"listing scores-{columns}")
    told = "What got worse, failed or errored stands first."
    yield tag("caption", tag("span", told))
    yield _head(names[:_COLUMNS])
    yield Safe("<tbody>\n")
    said = listed = 0
    for test in tests:
        if not room.tests:
            break
        room.tests -= 1
        listed += 1
        inside = content(test, room.work) if room.left else Safe("")
        inside = inside if inside and room.has(inside) else Safe("")
        said += bool(inside)
        yield _row(test, names, inside)
    yield Safe("</tbody></table></div>\n")
    yield _left_out(judged, len(tests.order), listed, said)
    yield Safe("</section>\n")


def _names(judged: Judgement) -> Sequence[str]:
    """The scores: first those that moved beyond noise, `pass` last of the others."""
    verdicts: Mapping[str, str] = {}
    if judged.comparison is not None:
        verdicts = {each.name: each.verdict for each in judged.comparison.scores}
    names = dict.fromkeys((*judged.measures.scored, *verdicts))
    return sorted(names, key=lambda name: verdicts.get(name) not in MARKS)


def _filters(tests: Tests, names: Sequence[str], number: int) -> Safe:
    choices = [
        ("all", "all", len(tests.order)),
        ("worse", "▼ got worse", tests.count("worse")),
        ("better", "▲ got better", tests.count("better")),
        ("failed", "✗ failed", tests.with_outcome("failed")),
        ("errored", "! errored", tests.with_outcome("errored")),
    ]
    radios = [
        _radio(value, f"{label} ({count:,})", number)
        for value, label, count in choices
        if count or value == "all"
    ]
    options = [
        tag("option", name, value=at) for at, name in enumerate(names[:_CHOICES])
    ]
    below = [
        tag("label", "Score ", tag("select", *options, class_="score")),
        tag(
            "label",
            "below ",
            opening("input", type="number", class_="below", min=0, max=1, step="any"),
        ),
    ]
    return tag(
        "div",
        tag("fieldset", tag("legend", "Show"), *radios),
        tag("label", "Search ", opening("input", type="search", class_="search")),
        *(below if options else ()),
        tag("p", class_="shown", role="status"),
        class_="filters",
        role="search",
    )


def _radio(value: str, label: str, number: int) -> Safe:
    checked = "checked" if value == "all" else None
    name = f"show-{number}"
    button = opening("input", type="radio", name=name, value=value, checked=checked)
    return tag("label", button, f" {label}")


def _head(names: Sequence[str]) -> Safe:
    titles = ("test", "outcome", *names)
    cells = (tag("th", each, scope="col") for each in titles)
    return tag("thead", tag("tr", *cells))


def _row(test: Looked, names: Sequence[str], inside: Safe) -> Safe:
    name = f"{test.now.nodeid} {test.now.part}".strip()
    shown: str = name
    if inside:
        shown = tag("details", tag("summary", name), inside)
    scores = test.scores
    outcomes = Counter(each.outcome for each in test.now.trials)
    row = tag(
        "tr",
        # Where it is read as the heading of a cell, it is the name alone.
        tag("th", shown, scope="row", abbr=name if inside else None),
        tag("td", _outcomes(outcomes)),
        *(_cell(scores.get(each)) for each in names[:_COLUMNS]),
        data_outcome=" ".join(outcomes),
        data_way=" ".join(sorted(test.ways)) or None,
        data_scores=" ".join(_plain(scores.get(each)) for each in names[:_CHOICES]),
    )
    return together(row, Safe("\n"))


def _outcomes(counts: Counter[str]) -> str:
    told = [
        f"{_OUTCOME_MARKS.get(each, '-')} {each}" for each in OUTCOMES if counts[each]
    ]
    if counts.total() == 1:
        return told[0] if told else ""
    return ", ".join(f"{counts[each]:,} {each}" for each in OUTCOMES if counts[each])


def _cell(numbers: Beside | None) -> Safe:
    if numbers is None or (numbers.now is None and numbers.then is None):
        return tag("td", "")
    then, now = (_number(each) for each in numbers)
    if numbers.then is None or numbers.then == numbers.now:
        return tag("td", now)
    if numbers.now is None:
        return tag("td", f"{then} → -")
    way = "improved" if numbers.now > numbers.then else "regressed"
    mark = "▲" if way == "improved" else "▼"
    return tag("td", f"{then} → {now} {mark}", class_=way)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _plain(numbers: Beside | None) -> str:
    return "-" if numbers is None or numbers.now is None else f"{numbers.now:.6g}"


def _left_out(judged: Judgement, total: int, listed: int, said: int) -> Safe:
    """What is not in the page, and where it is."""
    if said == total:
        return Safe("")
    told = [f"Of {total:,} tests this page has what the first {said:,} said."]
    if listed > said:
        told.append(f"{listed - said:,} are listed with their numbers alone.")
    if total > listed:
        told.append(f"{total - listed:,} are not listed.")
    run = shlex.quote(plain(judged.experiment.id))
    command = tag("code", f"pytest-braintrust show {run} --output --limit 0")
    return tag("p", " ".join(told), " All of them: ", command, class_="left-out")
