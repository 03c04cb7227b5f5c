"""Write the numbers of a measure so that they fit their columns: one scale for all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pytest_braintrust.comparison.result import Measure
from pytest_braintrust.comparison.times import is_time
from pytest_braintrust.reports.lines import name_of
from pytest_braintrust.statistics import Estimate

_TIMES = ((600.0, 60.0, "min"), (1.0, 1.0, "s"), (1e-3, 1e-3, "ms"), (0.0, 1e-6, "µs"))
_AMOUNTS = (
    (1e9, 1e9, "billions"),
    (1e6, 1e6, "millions"),
    (1e4, 1e3, "thousands"),
    (0.1, 1.0, ""),
    (1e-4, 1e-3, "thousandths"),
    (0.0, 1e-6, "millionths"),
)
#: Amounts beyond are written with a power of ten.
_LEAST_PLAIN, _MOST_PLAIN = 1e-6, 1e15
#: Digits beside the point for numbers below that.
_DECIMALS = ((10.0, 3), (100.0, 2), (1_000.0, 1))


@dataclass(frozen=True, slots=True)
class Scale:
    """How the numbers of one row are written."""

    factor: float = 1.0
    unit: str = ""
    decimals: int = 3

    def show(self, value: float | None, sign: str = "") -> str:
        """A number in this scale, `-` for none; zero has no sign."""
        if value is None:
            return "-"
        text = f"{value / self.factor:{sign}.{self.decimals}f}"
        return text if float(text) else f"{0:.{self.decimals}f}"


def scale_of(measure: Measure) -> Scale:
    """The scale in which the means then and now have three or four digits."""
    if measure.kind == "score":
        return Scale()
    numbers = measure.numbers
    largest = max(abs(each or 0.0) for each in (numbers.then, numbers.now))
    return scale_for(measure.name, largest)


def scale_for(name: str, largest: float) -> Scale:
    """The scale of a metric whose numbers are up to `largest`."""
    timed = is_time(name)
    units = _TIMES if timed else _AMOUNTS
    if not largest:
        return Scale(unit="s" if timed else "")
    factor, unit = next((f, unit) for least, f, unit in units if largest >= least)
    scaled = largest / factor
    decimals = next((d for below, d in _DECIMALS if scaled < below), 0)
    return Scale(factor, unit, decimals)


def described(name: str, scale: Scale) -> str:
    """A metric's name with the unit of its numbers."""
    return f"{name}, {scale.unit}" if scale.unit else name


def means(metrics: Mapping[str, Estimate]) -> str:
    """The mean of each metric of a run in one line; "" where it has none."""
    return ", ".join(
        f"{name_of(name)} {amount(name, found.mean)}"
        for name, found in metrics.items()
        if found.mean is not None
    )


def totals(
    sums: Mapping[str, float], then: Mapping[str, float] = MappingProxyType({})
) -> str:
    """What a run spent in one line; "" where no metric tells.

    Args:
        sums: By metric.
        then: What another run spent that was asked the same.
    """
    return ", ".join(
        f"{name_of(name)} "
        + (f"{_plain(then[name])} → " if name in then else "")
        + _plain(each)
        for name, each in sums.items()
    )


def amount(name: str, number: float) -> str:
    """A metric's number in a sentence, where no column has to be kept."""
    if not is_time(name):
        return _plain(number)
    scale = scale_for(name, abs(number))
    return f"{scale.show(number)} {scale.unit}"


def _plain(number: float) -> str:
    """An amount to four digits, and whole ones to the last."""
    size = abs(number)
    if size and not _LEAST_PLAIN <= size < _MOST_PLAIN:
        return f"{number:.3e}"
    places = 3 - math.floor(math.log10(size)) if size else 0
    text = f"{number:,.{max(0, places)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
