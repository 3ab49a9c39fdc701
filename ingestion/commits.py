"""Commits data files as one snapshot, and finds out what became of a commit that got no answer.

A catalog may commit and die, or its connection may break, before it has said so. Files of such a commit
may be in the table: they are removed only once the catalog itself shows the table without the snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    BadRequestError,
    CommitFailedException,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchTableError,
    RESTError,
    TableAlreadyExistsError,
    TooManyRequestsError,
    UnauthorizedError,
    ValidationException,
)
from pyiceberg.manifest import DataFile
from pyiceberg.table import DataScan, Table, Transaction
from requests import RequestException

from contracts.errors import LabError
from ingestion.writer import DataFileWriter, storage_errors

PATIENCE_S = 60.0
"""How long a catalog that has gone away is waited for: the supervisor starts it again in a few seconds."""
SETTLE_S = 15.0
"""How long a catalog may go on with a commit whose client was told that it failed."""

_PAUSE_S = 0.5
_REFUSALS = (
    AuthorizationExpiredError,
    BadRequestError,
    CommitFailedException,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchTableError,
    NotImplementedError,
    TableAlreadyExistsError,
    TooManyRequestsError,
    UnauthorizedError,
    ValidationException,
)


class NotCommittedError(LabError):
    """The commit got no answer, and the catalog shows the table without it."""


class CommitUnknownError(LabError):
    """The commit got no answer, and the catalog can't be asked what became of it."""


@dataclass(kw_only=True)
class Commit:
    """What :func:`commit_files` did: the table as committed (None before) and its new data files."""

    table: Table | None = None
    files: int = 0


@contextmanager
def commit_files(
    transaction: Transaction,
    writer: DataFileWriter,
    *,
    replaces: bool,
    snapshot_properties: Mapping[str, str],
    table_properties: Mapping[str, str] | None = None,
) -> Iterator[Commit]:
    """Commits what the body writes to ``writer`` as one snapshot of ``transaction``'s table.

    When the body fails or the catalog refuses the commit, the data files are removed and nothing is
    committed. Where its answer was lost, or not waited for by an interrupted caller, they stay: the commit
    may be under way. Files that no snapshot names then lie there until the table's maintenance removes
    orphans, which only Nessie's own collector may do on Nessie.

    Raises:
        NotCommittedError: the catalog went away during the commit and is back without it.
        CommitUnknownError: it went away and can't be asked; the data files stay, since the table may
            show them.
    """
    commit = Commit()
    try:
        yield commit
        files = writer.finish()
        with storage_errors():
            _stage_snapshot(transaction, files, replaces, dict(snapshot_properties))
        if table_properties:
            transaction.set_properties(dict(table_properties))
        commit.table = _commit(transaction)
        commit.files = len(files)
    except _Uncertain as uncertain:
        raise uncertain.error from uncertain.cause
    except BaseException:
        writer.abort()
        raise


class _Uncertain(Exception):
    """Carries an error past the removal of files."""

    def __init__(self, error: BaseException, cause: BaseException | None = None) -> None:
        super().__init__(str(error))
        self.error, self.cause = error, cause


def _commit(transaction: Transaction) -> Table:
    """The table as committed, also where the answer got lost on its way."""
    try:
        return transaction.commit_transaction()
    except BaseException as error:
        if isinstance(error, _REFUSALS) or type(error) is RESTError:
            raise
        if not isinstance(error, Exception):
            raise _Uncertain(error) from None  # interrupted
        try:
            found = _committed(transaction)
        except Exception as unanswered:
            raise _Uncertain(_unknown(transaction), error) from unanswered
        except BaseException as interrupt:
            raise _Uncertain(interrupt) from error
        if found is not None:
            return found
        told = NotCommittedError(
            f"the catalog went away during the commit to {_name(transaction)}, and is back without it: "
            f"{error}",
            permitted="nothing was committed",
            next_command="the same command again",
        )
        raise _Uncertain(told, error) from error


def _committed(transaction: Transaction) -> Table | None:
    """The table with the transaction's snapshot, None when the catalog has had none of it for a while, in
    which it may have gone on with the commit; waits for a catalog that does not answer. Raises what it last
    said when it does not come back."""
    snapshot_id = transaction.table_metadata.current_snapshot_id
    deadline = time.monotonic() + PATIENCE_S
    missing_since: float | None = None
    while True:
        try:
            table = transaction._table.catalog.load_table(_name(transaction))
            if snapshot_id in {snapshot.snapshot_id for snapshot in table.metadata.snapshots}:
                return table
        except NoSuchTableError:
            pass
        except (RESTError, RequestException, LabError):  # LabError: no token is to be had
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
            continue
        now = time.monotonic()
        missing_since = now if missing_since is None else missing_since
        if now - missing_since >= SETTLE_S:
            return None
        time.sleep(_PAUSE_S)


def _unknown(transaction: Transaction) -> CommitUnknownError:
    table = _name(transaction)
    return CommitUnknownError(
        f"the catalog went away during the commit to {table}, and it is not known whether it was made",
        value=table,
        permitted="look at the table before doing it again: the rows are all in it or none is",
        next_command=f'lab doctor --fix, then lab sql "TABLE lake.{table}"',
    )


def _name(transaction: Transaction) -> str:
    return ".".join(transaction._table.name())


def _stage_snapshot(
    transaction: Transaction, files: list[DataFile], replaces: bool, properties: dict[str, str]
) -> None:
    update = transaction.update_snapshot(snapshot_properties=properties)
    if not replaces:
        with update.fast_append() as append:
            for file in files:
                append.append_data_file(file)
        return
    scan = DataScan(table_metadata=transaction.table_metadata, io=transaction._table.io)
    with update.overwrite() as overwrite:
        for task in scan.plan_files():
            overwrite.delete_data_file(task.file)
        for file in files:
            overwrite.append_data_file(file)
