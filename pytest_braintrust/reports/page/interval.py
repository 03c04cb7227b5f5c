"""An interval as a small picture: a bar, the estimate on it, and where zero is."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_braintrust.comparison.result import Measure
from pytest_braintrust.reports.page.markup import Safe, opening, tag
from pytest_braintrust.statistics import Estimate, Interval

#: The picture's own units.
_WIDTH, _HEIGHT, _MIDDLE = 120, 14, 7
#: No bar is too short to be seen.
_SHORTEST = 2.0


def widest(measures: Iterable[Measure]) -> float:
    """How far from zero the intervals of measures go: the pictures of all have that."""
    found = [each.numbers.interval for each in measures]
    return max((max(map(abs, each)) for each in found if each is not None), default=0.0)


def of_change(measure: Measure, reach: float) -> Safe:
    """The interval of a change, around zero; nothing where there is none.

    Args:
        measure: What changed.
        reach: What the left end and the right end of the picture are away from zero.
    """
    numbers = measure.numbers
    if numbers.interval is None or numbers.difference is None or not reach:
        return Safe("")
    return _picture(numbers.interval, numbers.difference, (-reach, reach), zero=0.0)


def of_mean(found: Estimate) -> Safe:
    """The interval of a score's mean, between 0 and 1; nothing where there is none."""
    if found.interval is None or found.mean is None:
        return Safe("")
    return _picture(found.interval, found.mean, (0.0, 1.0), zero=0.0)


def _picture(
    interval: Interval, at: float, ends: tuple[float, float], *, zero: float
) -> Safe:
    low, high = _place(interval.low, ends), _place(interval.high, ends)
    width = max(high - low, _SHORTEST)
    start = f"{min(low, _WIDTH - width):.1f}"
    middle = f"{_place(zero, ends):.1f}"
    return tag(
        "svg",
        _line(x1=0, x2=_WIDTH, y1=_MIDDLE, y2=_MIDDLE, class_="axis"),
        _line(x1=middle, x2=middle, y1=0, y2=_HEIGHT, class_="zero"),
        _closed("rect", x=start, y=4, width=f"{width:.1f}", height=6, rx=2),
        _closed("circle", cx=f"{_place(at, ends):.1f}", cy=_MIDDLE, r=3),
        viewBox=f"-3 0 {_WIDTH + 6} {_HEIGHT}",
        # The numbers stand beside it.
        aria_hidden="true",
        class_="interval",
    )


def _place(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return min(max((value - low) / (high - low), 0.0), 1.0) * _WIDTH


def _line(**attributes: str | int | None) -> Safe:
    return _closed("line", **attributes)


def _closed(name: str, **attributes: str | int | None) -> Safe:
    return Safe(f"{opening(name, **attributes)}</{name}>")
