"""A commit without an answer: rows that are in the table are never removed, others never stay behind."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitStateUnknownException, ServerError
from pyiceberg.table import Table

from contracts.errors import LabError
from ingestion import commits
from ingestion.commits import CommitUnknownError, NotCommittedError, commit_files
from ingestion.writer import DataFileWriter, StorageError

Commit = Callable[..., Any]


class Faulty(SqlCatalog):
    """A catalog that breaks off around a commit, and does not answer ``silent`` times afterwards."""

    error: BaseException | None = None
    lands: bool = False
    silent: int = 0
    broken: bool = False
    late: int = 0
    """After how many more questions a commit lands that its client was told has failed."""
    under_way: Callable[[], Any] | None = None

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> Any:
        error, self.error = self.error, None
        if error is None or self.lands:
            answer = super().commit_table(table, requirements, updates)
        if error is not None:
            self.broken = True
            if self.late:
                self.under_way = partial(super().commit_table, table, requirements, updates)
            raise error
        return answer

    def load_table(self, identifier: Any) -> Table:
        if self.broken and self.silent > 0:
            self.silent -= 1
            raise ServerError("the database restarts")
        if self.under_way is not None:
            self.late -= 1
            if self.late == 0:
                self.under_way()
                self.under_way = None
        return super().load_table(identifier)


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(commits, "_PAUSE_S", 0.0)
    monkeypatch.setattr(commits, "SETTLE_S", 0.05)
    made = Faulty("t", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    made.create_namespace("raw")
    made.create_table("raw.t", pa.schema([("x", pa.int64())]))
    yield made
    made.engine.dispose()


def append(catalog: Faulty, error: BaseException | None, *, lands: bool, silent: int = 0) -> commits.Commit:
    transaction = catalog.load_table("raw.t").transaction()
    writer = DataFileWriter(transaction.table_metadata, transaction._table.io)
    catalog.error, catalog.lands, catalog.silent = error, lands, silent
    with commit_files(transaction, writer, replaces=False, snapshot_properties={}) as commit:
        writer.write(pa.table({"x": [1, 2, 3]}))
    return commit


def rows(catalog: Faulty) -> int:
    catalog.silent = 0
    return int(catalog.load_table("raw.t").scan().to_arrow().num_rows)


def files(folder: Path) -> int:
    return len(list((folder / "warehouse").rglob("*.parquet")))


BROKEN = [
    requests.ConnectionError("connection reset"),
    CommitStateUnknownException("500"),
    ServerError("503: the database restarts"),
]


@pytest.mark.parametrize("error", BROKEN, ids=lambda e: type(e).__name__)
def test_a_commit_that_was_made_counts_although_its_answer_was_lost(
    catalog: Faulty, tmp_path: Path, error: Exception
) -> None:
    commit = append(catalog, error, lands=True, silent=3)
    assert commit.table is not None
    assert commit.files == 1
    assert rows(catalog) == 3
    assert files(tmp_path) == 1


@pytest.mark.parametrize("error", BROKEN, ids=lambda e: type(e).__name__)
def test_a_commit_that_was_not_made_keeps_its_file_and_can_be_repeated(
    catalog: Faulty, tmp_path: Path, error: Exception
) -> None:
    with pytest.raises(NotCommittedError, match=r"went away during the commit to raw\.t") as caught:
        append(catalog, error, lands=False, silent=3)
    assert caught.value.next_command == "the same command again"
    assert rows(catalog) == 0
    assert files(tmp_path) == 1, "the commit may be under way"
    append(catalog, None, lands=True)
    assert rows(catalog) == 3


def test_a_commit_that_lands_after_its_failure_was_told_counts(
    catalog: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "SETTLE_S", 30.0)
    catalog.late = 4
    commit = append(catalog, BROKEN[2], lands=False)
    assert commit.table is not None
    assert rows(catalog) == 3
    assert files(tmp_path) == 1


def test_a_catalog_that_stays_away_keeps_the_files_and_says_what_to_look_at(
    catalog: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "PATIENCE_S", 0.05)
    with pytest.raises(CommitUnknownError, match="not known whether it was made") as caught:
        append(catalog, BROKEN[0], lands=True, silent=10**9)
    assert "lake.raw.t" in str(caught.value.next_command)
    assert files(tmp_path) == 1
    assert rows(catalog) == 3


@pytest.mark.parametrize(("lands", "expected"), [(True, 3), (False, 0)])
def test_an_interrupt_in_the_middle_of_a_commit_loses_nothing(
    catalog: Faulty, tmp_path: Path, lands: bool, expected: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        append(catalog, KeyboardInterrupt(), lands=lands)
    assert rows(catalog) == expected
    assert files(tmp_path) == 1, "the commit may be under way"


def test_a_store_that_goes_away_is_named_and_nothing_is_committed(
    catalog: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation")

    monkeypatch.setattr(DataFileWriter, "_flush", staticmethod(refuse))
    with pytest.raises(StorageError, match="object store did not take the rows") as caught:
        append(catalog, None, lands=True)
    assert isinstance(caught.value, LabError)
    assert "lab doctor --fix" in str(caught.value.next_command)
    assert rows(catalog) == 0
