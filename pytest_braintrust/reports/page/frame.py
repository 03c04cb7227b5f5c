"""What stands around the content of a page: its head, with style and script in it.

The content security policy lets this very style and script in, by their hashes, and
nothing else: were there a tag in what a model said, no browser would run it.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from pytest_braintrust.reports.page.markup import Safe, opening, tag

END = Safe("</main>\n</body>\n</html>\n")


def start(title: str) -> Safe:
    """All that comes before the content."""
    style, script = _file("page.css"), _file("page.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    lines = (
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        opening("meta", http_equiv="Content-Security-Policy", content=policy),
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="generator" content="pytest-braintrust">',
        '<meta name="referrer" content="no-referrer">',
        tag("title", title),
        f"<style>{style}</style>",
        f"<script>{script}</script>",
        "</head>",
        "<body>",
        "<main>",
    )
    return Safe("\n".join(lines) + "\n")


def _file(name: str) -> str:
    # Line breaks are those that a browser reads, whatever the system's are: the hash
    # is of these.
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = b64encode(sha256(content.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
