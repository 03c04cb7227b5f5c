"""The tests that lost most, with the first line of what changed in their output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_braintrust.comparison.details import Detail
from pytest_braintrust.comparison.result import WorseTest
from pytest_braintrust.reports.lines import Line, name_of, plain, width_of

#: How many tests are shown, and how many scores of each.
WORST, _SCORES = 5, 3
#: What is kept before the first character that is not the same, where not all fits.
_BEFORE = 20


def worst(details: Sequence[Detail], total: int, width: int) -> Iterator[Line]:
    """A heading, then for each test its id, its scores and what it put out."""
    if not details:
        return
    some = f"the worst {len(details)} of {total}"
    yield Line(f"tests with a lower score: {some if total > len(details) else total}")
    for each in details:
        yield from _test(each, width)


def _test(each: Detail, width: int) -> Iterator[Line]:
    name = plain(each.name)
    scores = losses(each.test)
    # A node id is there to be copied: whole, and where it fits beside the scores.
    if width_of(name) + width_of(scores) + 4 <= width:
        yield Line(f"  {name}  {scores}")
    else:
        yield Line(f"  {name}", long="left")
        yield Line(f"    {scores}", hang=4)
    if each.first_difference is not None:
        old, new = from_difference(*each.first_difference, width - 6)
        yield Line(f"    - {old}", "red", "cut")
        yield Line(f"    + {new}", "green", "cut")
    elif each.same_output:
        yield Line("    with the same output")
    if each.reason is not None:
        yield Line(f"    {plain(each.reason)}", "red", "cut")


def losses(test: WorseTest) -> str:
    """The scores that fell, then and now."""
    parts = [
        f"{name_of(each.score)} {each.then:.3g} → {each.now:.3g}"
        for each in test.losses[:_SCORES]
    ]
    more = len(test.losses) - len(parts)
    told = ", ".join([*parts, *([f"{more} more"] if more else [])])
    trials = max(each.trials for each in test.losses)
    return f"{told} over {trials:,} trials" if trials > 1 else told


def from_difference(old: str, new: str, width: int) -> tuple[str, str]:
    """Two lines, begun shortly before what is not the same where that lies too far."""
    old, new = plain(old), plain(new)
    moved = (at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    same = next(moved, min(len(old), len(new)))
    if max(len(old), len(new)) <= width or same <= width // 2:
        return old, new
    start = same - _BEFORE
    return f"…{old[start:]}", f"…{new[start:]}"
