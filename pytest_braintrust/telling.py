"""What a person sees of us in pytest's terminal: the one place that writes to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_braintrust.errors import StoreError
from pytest_braintrust.reports import terminal
from pytest_braintrust.reports.lines import Line, fit, name_of, short
from pytest_braintrust.reports.run import RunReport
from pytest_braintrust.store.connection import Store

if TYPE_CHECKING:
    from pytest_braintrust.delivery import Delivery


class Teller:
    """Writes to the terminal where there is one; workers have none."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._shared_ids: dict[str, int] = {}

    @property
    def _terminal(self) -> pytest.TerminalReporter | None:
        found: pytest.TerminalReporter | None = self._config.pluginmanager.get_plugin(
            "terminalreporter"
        )
        return found

    @property
    def _quiet(self) -> bool:
        return self._config.get_verbosity() < 0

    @property
    def _silent(self) -> bool:
        # Where pytest itself says nothing more than what failed.
        return self._config.get_verbosity() < -1

    def note_shared_ids(self, nodeids: Iterable[str]) -> None:
        """Say which recorded tests cannot be told apart between runs."""
        counts = Counter(nodeids)
        shared = {each: count for each, count in counts.items() if count > 1}
        if shared and shared != self._shared_ids:
            self._shared_ids = shared
            name, count = next(iter(shared.items()))
            more = f" (and {len(shared) - 1} more like it)" if len(shared) > 1 else ""
            self._line(
                f"braintrust: {count} tests share the node id {name_of(name)}{more}: their rows "
                "cannot be told apart between runs; give the parameters ids"
            )

    def warn_unreachable(self, why: str, directory: Path) -> None:
        """Say once that rows are kept until Braintrust can be reached."""
        self._line(
            f"braintrust: {why}; the run goes on, rows are kept in {directory}; those "
            "still pending at its end are sent with: pytest-braintrust push"
        )

    def wait(self, delivery: Delivery, store: Store) -> None:
        """Let the rows be sent, with a bar on a terminal; Ctrl-C ends the wait."""
        shown = False

        def progress(done: int, total: int) -> None:
            nonlocal shown
            reporter = self._terminal
            if reporter is not None and reporter.isatty and total and not self._quiet:
                if not shown:
                    # The bar is to go over itself, not over the tests' own line.
                    reporter.ensure_newline()
                shown = True
                reporter.rewrite(terminal.bar(done, total), erase=True)

        try:
            delivery.finish(store, progress)
        except KeyboardInterrupt:
            self._line("braintrust: not waiting for the rest; the rows are kept")
        except StoreError as error:
            self._line(f"braintrust: {error}")
        finally:
            delivery.close()
        if shown and self._terminal is not None:
            self._terminal.rewrite("", erase=True)

    def show(self, report: RunReport, *, summary: bool) -> None:
        """Write the section at the end; without it still what went wrong."""
        reporter = self._terminal
        if reporter is None:
            return
        width = self._width(reporter)
        if reporter._tw.width_of_current_line:  # noqa: SLF001 - as in `_width`
            reporter.line("")
        if not summary or self._silent:
            lines = terminal.trouble(report, width=width)
        else:
            if not self._quiet:
                reporter.write_sep("=", "braintrust")
            lines = terminal.render(report, width=width, quiet=self._quiet)
        for line in lines:
            style = {line.style: True} if line.style else {}
            reporter.write_line(line.text, **style)

    def command(self, lines: Iterable[str]) -> None:
        """Write lines that the CI that runs us reads, each from its first column."""
        reporter = self._terminal
        if reporter is not None:
            for line in lines:
                reporter.write_line(line)

    def _line(self, text: str) -> None:
        reporter = self._terminal
        if reporter is not None:
            for line in fit(Line(short(text)), self._width(reporter)):
                reporter.write_line(line.text, yellow=True)

    def _width(self, reporter: pytest.TerminalReporter) -> int:
        return reporter._tw.fullwidth  # noqa: SLF001 - pytest has no public way
