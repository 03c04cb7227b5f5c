"""Turn a pytest run into an experiment on Braintrust.

Kept empty of imports but for what Python itself has loaded: pytest loads this module
in every run of every suite that has the plugin installed, asked for or not.
"""

from __future__ import annotations

import time

#: For `clocks`. Kept here, because this module is loaded before any conftest, which
#: may replace them; in a tuple, because freezegun replaces what it finds by name.
REAL_TIME = (time.time, time.monotonic, time.sleep)

__version__ = "0.1.0"
