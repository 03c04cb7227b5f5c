"""The tests that scored lowest, where there is no run to be better or worse than."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_braintrust.comparison.lowest import LowTest
from pytest_braintrust.judging import Judgement
from pytest_braintrust.reports.lines import Line, fitted, name_of, plain, width_of

#: How many scores of each are shown.
_SCORES = 3
_BETWEEN = " | "


def lowest(judged: Judgement, width: int) -> Iterator[Line]:
    """A heading, then two lines for each at most: what scored low, what was said."""
    if not judged.lowest:
        return
    yield Line(heading(judged))
    for each in judged.lowest:
        yield from _test(each, width)


def _test(each: LowTest, width: int) -> Iterator[Line]:
    name, scores, room = plain(each.name), told(each), width - 4
    # A node id is there to be copied: whole, and where it fits beside the scores.
    if width_of(name) + width_of(scores) + 4 <= width:
        yield Line(f"  {name}  {scores}")
        if said := _said(each, room):
            yield Line(f"    {said}", long="cut")
    else:
        yield Line(f"  {name}", long="left")
        yield Line(f"    {_in_one(each, room)}", long="cut")


def _in_one(each: LowTest, room: int) -> str:
    """Both in one line: fewer scores, down to one, where what was said needs the room."""
    said = _said(each, room)
    if not said:
        return told(each)
    left = max(room // 2, room - len(_BETWEEN) - width_of(said))
    fewer = (told(each, most) for most in range(_SCORES, 0, -1))
    scores = next((e for e in fewer if width_of(e) <= left), told(each, 1))
    rest = room - len(_BETWEEN) - width_of(scores)
    return f"{scores}{_BETWEEN}{_said(each, rest)}"


def heading(judged: Judgement) -> str:
    """How many there are."""
    shown, below = len(judged.lowest), judged.below
    some = f"the lowest {shown} of {below:,}" if below > shown else f"{below}"
    return f"passed tests with a score below 1: {some}"


def told(each: LowTest, most: int = _SCORES) -> str:
    """The scores that are low, the first ones by name."""
    parts = [f"{name_of(name)} {score:.3g}" for name, score in each.scores[:most]]
    more = len(each.scores) - len(parts)
    text = ", ".join([*parts, *([f"{more} more"] if more else [])])
    return f"{text} over {each.trials:,} trials" if each.trials > 1 else text


def _said(each: LowTest, room: int) -> str:
    """What was put out and what was expected, so that both can be seen."""
    said = [
        f"{label}: {plain(value)}"
        for label, value in (("output", each.output), ("expected", each.expected))
        if value is not None
    ]
    if len(said) > 1:
        left = room - len(_BETWEEN)
        said[0] = fitted(said[0], max(left // 2, left - width_of(said[1])))
    return _BETWEEN.join(said)
