"""Print the Nth command of the README, so that CI runs what a reader pastes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"

_BLOCK = re.compile(
    r"^```(?:sh|console)[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL
)


def command(text: str, number: int) -> str:
    """The command in the Nth `sh` or `console` block, which must be one line."""
    blocks = _BLOCK.findall(text)
    if number > len(blocks):
        msg = f"README.md has {len(blocks)} sh blocks; block {number} is needed"
        raise SystemExit(msg)
    lines = [line for line in blocks[number - 1].splitlines() if line.strip()]
    if len(lines) != 1:
        msg = f"sh block {number} of README.md has {len(lines)} lines; make it one"
        raise SystemExit(msg)
    found: str = lines[0]
    return found.strip().removeprefix("$ ")


if __name__ == "__main__":
    sys.stdout.write(command(README.read_text("utf-8"), int(sys.argv[1])) + "\n")
