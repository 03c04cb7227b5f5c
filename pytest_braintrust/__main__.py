"""Run the command line as `python -m pytest_braintrust`."""

from __future__ import annotations

import sys

from pytest_braintrust.cli import main

if __name__ == "__main__":
    sys.exit(main())
