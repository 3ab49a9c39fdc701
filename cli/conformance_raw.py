"""The conformance suite beyond Trino: engines that read a table's files with the user's own token.

pyiceberg loads each table by the catalog and reads it whole. ``s3`` takes the keys that the catalog hands to
the user for any table, and tries them on the files of every table. Spark is asked by its gateway. No rule is
applied on any of these ways, so a table is open with all its rows or it is closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from contracts.errors import LabError
from governance.query import DeniedError, QueryError, Rows

if TYPE_CHECKING:
    from pyiceberg.catalog.rest import RestCatalog
    from pyiceberg.table import Table

DENIED = "denied"
_REFUSALS = ("ForbiddenError", "UnauthorizedError", "NoSuchTableError", "NotAuthorizedError")
"""pyiceberg's words for what a catalog says to somebody who may not, or may not know."""


@dataclass(frozen=True, kw_only=True)
class DataFiles:
    """Data files of one table, as its reference user lists them: their URIs, and the rows of all."""

    uris: tuple[str, ...]
    rows: int


class RawPort(Protocol):
    """The catalog as one user."""

    def rows(self, table: str) -> int:
        """Reads ``ns.table`` by the catalog and counts its rows. Raises DeniedError, LabError."""
        ...

    def keys(self, table: str) -> Mapping[str, str]:
        """What the catalog hands out for the table's files. Raises DeniedError, LabError."""
        ...


ReadWith = Callable[[Mapping[str, str], Sequence[str]], int]
"""Counts the rows of files with keys. Raises DeniedError when the store refuses one, LabError."""


def pyiceberg_cells(catalog: RawPort, tables: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each table with the rows that are read, ``denied``, or an error."""
    for table in tables:
        yield table, cell(lambda name=table: str(catalog.rows(name)))  # type: ignore[misc]  # bound at once


def key_cells(
    catalog: RawPort, tables: Sequence[str], files: Mapping[str, DataFiles], read: ReadWith
) -> Iterator[tuple[str, str]]:
    """Each table with the rows that some key which the user can get opens, or ``denied``. A table that only
    another table's keys open is said to be."""
    held: dict[str, Mapping[str, str]] = {}
    for table in tables:
        try:
            held[table] = catalog.keys(table)
        except DeniedError:
            continue
        except LabError as error:
            yield table, f"error: {error.what}"
            return
    for table in tables:
        uris = files[table].uris
        found = DENIED
        if table in held:
            found = cell(lambda keys=held[table], of=uris: str(read(keys, of)))  # type: ignore[misc]  # bound at once
        for other, keys in held.items():
            if other != table and cell(lambda keys=keys, of=uris: str(read(keys, of[:1]))) != DENIED:  # type: ignore[misc]  # bound at once
                found = f"opened by the keys of {other}"
        yield table, found


def spark_cells(
    connect: Callable[[], AbstractContextManager[Callable[[str], Rows]]], tables: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Each table with the rows that Spark reads; all are denied to whom the gateway does not admit."""
    from spark_gateway.client import SparkError

    try:
        with connect() as run:
            for table in tables:
                quoted = ".".join(f"`{part}`" for part in table.split(".", 1))
                statement = f"SELECT count(1) FROM {quoted}"  # noqa: S608 - names of the checkout's own
                yield table, cell(lambda sql=statement: str(next(iter(run(sql).rows))[0]))  # type: ignore[misc]  # bound at once
    except SparkError as error:
        word = DENIED if error.status == 403 else f"error: {error.what}"
        yield from ((table, word) for table in tables)


def cell(read: Callable[[], str]) -> str:
    """What ``read`` gives, or how it failed."""
    try:
        return read()
    except DeniedError:
        return DENIED
    except QueryError as error:
        if error.name in ("TABLE_OR_VIEW_NOT_FOUND", "TABLE_NOT_FOUND"):
            return DENIED
        return f"error: {error.what}"
    except LabError as error:
        return f"error: {error.what}"


class UserCatalog:
    """The lab's catalog with a user's own token. A connection that breaks off is made anew, ``again`` times
    in all, a second apart: a tunnel to a cluster ends with the first that ends badly, and is soon there
    again."""

    def __init__(
        self, catalog: RestCatalog, *, again: int = 15, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._catalog, self._again, self._sleep = catalog, again, sleep

    def rows(self, table: str) -> int:
        loaded = self._load(table)
        column = loaded.schema().fields[0].name
        try:
            return int(loaded.scan(selected_fields=(column,)).to_arrow().num_rows)
        except OSError as error:
            raise _store_error(error) from error

    def keys(self, table: str) -> Mapping[str, str]:
        return {str(key): str(value) for key, value in self._load(table).io.properties.items()}

    def _load(self, table: str) -> Table:
        from pyiceberg.exceptions import RESTError
        from requests import ConnectionError as BrokenOffError
        from requests import RequestException

        while True:
            try:
                loaded: Table = self._catalog.load_table(table)
            except Exception as error:
                if is_refusal(error):
                    raise DeniedError(f"denied: {error}") from error
                if isinstance(error, BrokenOffError) and self._again > 0:
                    self._again -= 1
                    self._sleep(1.0)
                    continue
                if isinstance(error, (RESTError, RequestException)):
                    raise LabError(f"the catalog does not answer: {error}") from error
                raise
            return loaded


def is_refusal(error: BaseException | None) -> bool:
    """Whether a catalog said that somebody may not, or that there is no such thing for them."""
    return type(error).__name__ in _REFUSALS or "AccessCheckException" in str(error)


def count_rows(keys: Mapping[str, str], uris: Sequence[str]) -> int:
    """Rows of Parquet files by their footers, read with the given keys and nothing of the environment's.

    Raises:
        DeniedError: the store refuses. LabError: it does not answer.
    """
    import pyarrow.parquet as pq
    from pyarrow import fs

    store = fs.S3FileSystem(
        access_key=keys.get("s3.access-key-id"),
        secret_key=keys.get("s3.secret-access-key"),
        session_token=keys.get("s3.session-token"),
        endpoint_override=keys.get("s3.endpoint"),
        region=keys.get("client.region") or keys.get("s3.region"),
        anonymous="s3.access-key-id" not in keys,
        force_virtual_addressing=False,
    )
    try:
        return sum(pq.read_metadata(uri.partition("://")[2], filesystem=store).num_rows for uri in uris)
    except OSError as error:
        raise _store_error(error) from error


def _store_error(error: OSError) -> LabError:
    text = str(error)
    if any(word in text for word in ("ACCESS_DENIED", "AccessDenied", "Access Denied", "403")):
        return DeniedError(f"denied: {text}")
    return LabError(f"the object store does not answer: {text}", next_command="lab logs s3")


def data_files(run: Callable[[str], Rows], table: str) -> DataFiles:
    """A table's data files as Trino lists them to a user whom no rule of the table reaches."""
    namespace, _, name = table.partition(".")
    statement = f'SELECT file_path, record_count FROM "{namespace}"."{name}$files" WHERE content = 0'  # noqa: S608 - names of the checkout's own
    listed: list[Sequence[Any]] = list(run(statement).rows)
    return DataFiles(uris=tuple(str(row[0]) for row in listed), rows=sum(int(row[1]) for row in listed))
