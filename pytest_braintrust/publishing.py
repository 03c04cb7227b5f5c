"""Write a run's summary where programs and pull requests read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_braintrust.comparison.details import Detail
from pytest_braintrust.errors import SettingsError, StoreError
from pytest_braintrust.events import Row
from pytest_braintrust.given import Given, ini_name
from pytest_braintrust.paths import is_folder, told_from
from pytest_braintrust.reports.lines import plain
from pytest_braintrust.reports.run import RunReport
from pytest_braintrust.store.connection import Store

#: GitHub shows this many annotations of a step.
_MOST_ANNOTATIONS = 10


@dataclass(frozen=True, slots=True)
class GitHub:
    """What GitHub Actions tells a job of itself."""

    #: The file whose text GitHub shows on the job's page.
    summary: Path | None
    #: The checkout, which the files of annotations are relative to.
    workspace: Path | None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> GitHub | None:
        """What the variables say; None outside of GitHub Actions."""
        if environ.get("GITHUB_ACTIONS") != "true":
            return None
        summary = environ.get("GITHUB_STEP_SUMMARY")
        workspace = environ.get("GITHUB_WORKSPACE")
        return cls(
            Path(summary) if summary else None, Path(workspace) if workspace else None
        )


@dataclass(frozen=True, slots=True)
class Places:
    """Where a summary goes beside the terminal."""

    markdown: Path | None = None
    json: Path | None = None
    html: Path | None = None
    github: GitHub | None = None


def places(
    read: Given, environ: Mapping[str, str], *, folder: Path, root: Path
) -> Places:
    """Read where the summary is to be written.

    Args:
        read: Options and ini values.
        environ: Tells whether this is a job on GitHub.
        folder: What a path on the command line is relative to.
        root: What a path in the ini file is relative to.

    Raises:
        SettingsError: a file is to lie in a folder that does not exist.
    """
    files = {
        name: _file(read, name, folder, root) for name in ("markdown", "json", "html")
    }
    github = None if read.switch("no_github") else GitHub.of(environ)
    return Places(**files, github=github)


def _file(read: Given, name: str, folder: Path, root: Path) -> Path | None:
    given: str | None
    given, where, start = read.option(name), read.option_name(name), folder
    if given is None:
        given, where, start = read.ini(name) or None, ini_name(name), root
    if given is None:
        return None
    path = start / given
    if not given.strip() or is_folder(path) or not is_folder(path.parent):
        msg = f"{where}: {given!r} is no file in a folder that exists"
        raise SettingsError(msg)
    return path


def publish(report: RunReport, places: Places, store: Store) -> Iterator[str]:
    """Write the summary everywhere; answers what could not be written, and why."""
    if places == Places():
        return
    from pytest_braintrust.reports import machine, markdown  # noqa: PLC0415 - when used

    if places.markdown is not None:
        yield from _write(places.markdown, markdown.render(report))
    if places.json is not None:
        yield from _write(places.json, machine.render(report))
    if places.github is not None and places.github.summary is not None:
        yield from _write(places.github.summary, markdown.render(report), more=True)
    if places.html is not None:
        yield from _write_page(report, store, places.html)


def _write(path: Path, text: str, *, more: bool = False) -> Iterator[str]:
    try:
        with path.open("a" if more else "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        yield f"cannot write {path}: {error.strerror or error}"


def _write_page(report: RunReport, store: Store, path: Path) -> Iterator[str]:
    from pytest_braintrust.reports import page  # noqa: PLC0415 - when used

    try:
        page.write_file(report, store, path)
    except OSError as error:
        yield f"cannot write {path}: {error.strerror or error}"
    except StoreError as error:
        yield f"cannot write {path}: {error}"


def properties(rows: Iterable[Row]) -> list[tuple[str, object]]:
    """The scores of a test as the properties that `--junitxml` writes of it."""
    return [
        (f"score.{row['part']}.{name}" if row["part"] else f"score.{name}", value)
        for row in rows
        for name, value in json.loads(row["event"])["scores"].items()
        if value is not None
    ]


def commands(report: RunReport, github: GitHub, root: Path) -> Iterator[str]:
    """Workflow commands that tell failed gates and mark each test that got worse.

    Their form: GitHub's "Workflow commands for GitHub Actions".
    """
    for verdict in report.verdicts:
        if verdict.state != "passed":
            yield f"::error title=braintrust gate::{_data(verdict.text)}"
    found = [
        detail
        for each in report.experiments
        if each.judgement is not None
        for detail in each.judgement.details
        if detail.file
    ]
    for each in found[:_MOST_ANNOTATIONS]:
        yield _annotation(each, github, root)


def _annotation(detail: Detail, github: GitHub, root: Path) -> str:
    test = detail.test
    file = told_from(github.workspace or root, root / detail.file)
    title = ", ".join(f"{e.score} {e.then:.3g} → {e.now:.3g}" for e in test.losses)
    message = detail.name
    if detail.reason is not None:
        message += f"\n{detail.reason}"
    if detail.first_difference is not None:
        old, new = detail.first_difference
        message += f"\nthen: {old}\nnow: {new}"
    return (
        f"::warning file={_property(file)},line={detail.line},"
        f"title={_property(title)}::{_data(message)}"
    )


def _data(text: str) -> str:
    lines = "\n".join(plain(line) for line in text.split("\n"))
    return lines.replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
