"""Wherever an experiment is asked for, the same names name the same one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stored import a_store, add, rows

from pytest_braintrust.errors import NamingError
from pytest_braintrust.naming import resolve
from pytest_braintrust.store.connection import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Four runs: two of main, one of a branch with a slash, one of two projects."""
    store = a_store(tmp_path)
    add(store, "main-aaaa111-1", branch="main", commit="aaaa111", at=1, of=rows(1))
    add(store, "main-bbbb222-2", branch="main", commit="bbbb222", at=2, of=rows(1))
    add(
        store,
        "feature/x-cccc333-3",
        branch="feature/x",
        commit="cccc333",
        at=3,
        of=rows(1),
    )
    both = "6c2d4b50-0000-4000-8000-000000000000"
    add(store, "both-4", branch="both", project="capitals", at=4, run=both, of=rows(1))
    add(
        store,
        "both-4",
        branch="both",
        project="rivers/long",
        at=4,
        run=both,
        of=rows(1),
    )
    yield store
    store.close()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("main-aaaa111-1", "main-aaaa111-1"),
        ("main-a", "main-aaaa111-1"),
        ("bbbb222", "main-bbbb222-2"),
        ("ccc333-3", "feature/x-cccc333-3"),
        ("main", "main-bbbb222-2"),
        ("main~1", "main-aaaa111-1"),
        ("feature/x", "feature/x-cccc333-3"),
        ("latest~1", "feature/x-cccc333-3"),
        ("latest~3", "main-aaaa111-1"),
        ("capitals/latest", "both-4"),
        ("capitals/main", "main-bbbb222-2"),
        ("capitals/feature/x", "feature/x-cccc333-3"),
        ("rivers/long/latest", "both-4"),
        ("rivers/long/bo", "both-4"),
    ],
)
def test_a_name_finds_its_experiment(store: Store, text: str, name: str) -> None:
    """In full, shortened, by branch, by commit, by place, with its project."""
    assert resolve(store, text).name == name


def test_an_id_is_a_name(store: Store) -> None:
    """Whole, or the first characters of it."""
    wanted = resolve(store, "main")
    assert resolve(store, wanted.id) == wanted
    assert resolve(store, wanted.id[:13]) == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("latest", "may be rivers/long/both-4, capitals/both-4"),
        ("both-4", "may be rivers/long/both-4, capitals/both-4"),
        ("main-", "may be capitals/main-bbbb222-2, capitals/main-aaaa111-1"),
        ("mian", "there is no experiment mian; close are main"),
        ("quite else", "`pytest-braintrust list` shows what there is"),
        ("main~2", "goes back too far: there are 2 runs of that name"),
        ("feature/x~1", "goes back too far: there is 1 run of that name"),
        ("", "there is no experiment"),
        ("capitals/", "there is no experiment"),
    ],
)
def test_what_is_unclear_is_refused(store: Store, text: str, told: str) -> None:
    """With what it could be, or what is close."""
    with pytest.raises(NamingError) as refused:
        resolve(store, text)
    assert told in str(refused.value)


def test_a_project_and_a_condition_narrow_the_choice(store: Store) -> None:
    """So that a baseline is never the run itself."""
    assert resolve(store, "latest", project="rivers/long").project == "rivers/long"
    older = resolve(store, "latest", only=lambda each: each.created_at < 2)
    assert older.name == "main-aaaa111-1"


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    """Not that a name is wrong."""
    store = a_store(tmp_path)
    with pytest.raises(NamingError, match="there are no experiments yet"):
        resolve(store, "latest")
    store.close()


def test_a_hostile_name_costs_nothing(store: Store) -> None:
    """Ten thousand characters are looked for like ten, and told in one line."""
    with pytest.raises(NamingError) as refused:
        resolve(store, "a/'\"%_~\n" * 10_000)
    assert len(str(refused.value)) < 400


def test_runs_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    """Where the names would say nothing."""
    store = a_store(tmp_path)
    both = [add(store, "nightly", at=at, of=rows(1)) for at in (1, 2)]
    with pytest.raises(NamingError) as refused:
        resolve(store, "night")
    assert all(each.id in str(refused.value) for each in both)
    assert resolve(store, "nightly") == both[1]
    assert resolve(store, "nightly~1") == both[0]
    store.close()
