"""Turn a pytest run into an experiment on Braintrust.

Kept empty of imports: pytest loads this module in every run of every suite that has
the plugin installed, asked for or not.
"""

from __future__ import annotations

__version__ = "0.1.0"
