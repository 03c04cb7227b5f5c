"""The start of a recorded run: reads what is asked of it, opens and wires its parts."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_braintrust import (
    configured,
    judging,
    publishing,
    selection,
)
from pytest_braintrust import settings as settings_room
from pytest_braintrust.controller import Controller
from pytest_braintrust.describing import Finder, Run, describe
from pytest_braintrust.errors import BaselineError, SettingsError, StoreError
from pytest_braintrust.judging import Asked, Judge
from pytest_braintrust.keeping import Keeper
from pytest_braintrust.opening import open_somewhere
from pytest_braintrust.publishing import Places
from pytest_braintrust.relay import SOURCE
from pytest_braintrust.running import RECORDER
from pytest_braintrust.scoring import FINDER
from pytest_braintrust.selecting import select
from pytest_braintrust.settings import Settings
from pytest_braintrust.store.connection import Store
from pytest_braintrust.store.sessions import NewSession
from pytest_braintrust.store.spool import take_in_left

if TYPE_CHECKING:
    from pytest_braintrust.obtaining import Source


def start(config: pytest.Config) -> None:
    """Take up the part of the process that sees every report.

    Raises:
        pytest.UsageError: an option, variable or ini value cannot be used.
    """
    try:
        read = configured.given(config)
        settings = settings_room.resolve(read, config.rootpath)
        asked = judging.asked(settings.baseline, read)
        places = publishing.places(
            read,
            os.environ,
            folder=config.invocation_params.dir,
            root=config.rootpath,
        )
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    configured.share_key(config)
    plan = Plan(settings, asked, places)
    config.pluginmanager.register(Starter(config, plan), "pytest-braintrust")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that options, variables and ini ask of a run."""

    settings: Settings
    asked: Asked
    places: Places


class Starter:
    """Before the session: opens what the run needs, and leaves the rest to others."""

    def __init__(self, config: pytest.Config, plan: Plan) -> None:
        self._config = config
        self._plan = plan

    # Before pytest-xdist starts its workers, which are told of the run.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        config, settings = self._config, self._plan.settings
        run = describe(config, settings)
        judge = self._judge(run)
        worse: list[str] = []

        def look(store: Store) -> None:
            take_in_left(store)
            elsewhere = settings.connection is not None
            judge.choose(store, run.project, elsewhere=elsewhere)
            worse[:] = judge.worse(store, run.project) if settings.only_worse else []

        store, note = self._open(look)
        run = replace(run, bases=judge.bases())
        if worse:
            selected = {**run.metadata, selection.SELECTED: "regressed"}
            run = replace(run, only=tuple(worse), metadata=selected)
        notes = [each for each in (note, configured.mistaken_root(config)) if each]
        keeper = Keeper(store, run.experiment, _session_of(run), notes=notes)
        controller = Controller(
            config, settings, self._plan.places, run=run, keeper=keeper, judge=judge
        )
        self._wire(run, store, controller)
        controller.start()

    def _judge(self, run: Run) -> Judge:
        return Judge(
            self._plan.asked,
            self._config.rootpath,
            self._config.invocation_params.dir,
            run.repo_info,
            run_id=run.run_id,
            selection=run.selection,
            shared=run.is_shared,
        )

    def _open(self, look: Callable[[Store], None]) -> tuple[Store, str | None]:
        try:
            return open_somewhere(self._plan.settings.store, look)
        except BaselineError as error:
            msg = f"{self._plan.asked.named_by}: {error}"
            raise pytest.UsageError(msg) from None
        except StoreError as error:
            msg = f"braintrust: no place for the local store: {error}"
            raise pytest.UsageError(msg) from None

    def _wire(self, run: Run, store: Store, controller: Controller) -> None:
        """Register the run's plugins, and leave what fixtures and collection ask for."""
        config, settings = self._config, self._plan.settings
        directory = store.directory
        finder = Finder(run.experiment, settings.connection, str(directory))
        config.stash[FINDER] = finder.find
        config.stash[SOURCE] = lambda: _source(settings, directory)
        config.pluginmanager.register(controller, "pytest-braintrust-controller")
        config.pluginmanager.register(controller.recorder, RECORDER)
        select(
            config,
            number=settings.trials,
            record_all=settings.record_all,
            only=run.only,
        )
        config.add_cleanup(controller.close)


def _session_of(run: Run) -> NewSession:
    host, pid = socket.gethostname(), os.getpid()
    return NewSession(run.session_id, run.run_id, run.started_at, host, pid)


def _source(settings: Settings, directory: Path) -> Source:
    from pytest_braintrust.obtaining import Source  # noqa: PLC0415 - imported when used

    return replace(Source.of(settings, None), directory=directory)
