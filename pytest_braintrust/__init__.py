"""Turn a pytest run into an experiment on Braintrust.

Kept empty of imports but for what Python itself has loaded: pytest loads this module
in every run of every suite that has the plugin installed, asked for or not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_braintrust.scoring import BtScore, current

__all__ = ["BtScore", "current"]

#: For `clocks`. Kept here, because this module is loaded before any conftest, which
#: may replace them; in a tuple, because freezegun replaces what it finds by name.
REAL_TIME = (time.time, time.monotonic, time.sleep)

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in __all__:
        from pytest_braintrust import scoring  # noqa: PLC0415 - when used

        return getattr(scoring, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
