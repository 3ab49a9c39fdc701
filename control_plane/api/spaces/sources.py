"""What connections lead to: trying them out, listing what they have, and fetching it into the spool.

Everything here blocks, with a time limit, and is called in a worker thread. What a server says is bounded
before it is read, and no secret is in any error.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree.ElementTree import Element, ParseError, fromstring

import httpx
import psycopg
from psycopg import sql

from contracts.errors import UsageError, unknown_name
from control_plane.api.schemas.workspaces import (
    Config,
    FilesConnection,
    HttpConnection,
    PostgresqlConnection,
    S3Connection,
    SourceObject,
)
from control_plane.api.spaces.destinations import Destinations, guarded_client
from control_plane.api.spaces.errors import DestinationError, SourceError

Write = Callable[[bytes], None]

CHECK_S = 10.0
_FETCH_S = 4 * 3600.0
_IDLE_S = 60.0
_BLOCK_BYTES = 1 << 20
_LISTED = 1000
_ANSWER_BYTES = 4 << 20
_REDIRECTS = 5

# PostgreSQL's types → Iceberg's. Others come as text.
_TYPES = {
    "bool": "boolean",
    "int2": "int",
    "int4": "int",
    "int8": "long",
    "float4": "float",
    "float8": "double",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
}


class Fetched:
    """What came: the name of the file that it makes, and the types that the source says."""

    def __init__(self, filename: str, types: Sequence[tuple[str, str]] = ()) -> None:
        self.filename, self.types = filename, list(types)


class Sources:
    """Connects where ``destinations`` permit, and reads below ``file_roots``."""

    def __init__(self, destinations: Destinations, file_roots: tuple[Path, ...]) -> None:
        self._destinations = destinations
        self._roots = tuple(Path(os.path.realpath(root)) for root in file_roots)

    def check(self, config: Config, secret: str | None) -> None:
        """Really connects. Raises DestinationError, SourceError."""
        match config:
            case PostgresqlConnection():
                with self._postgres(config, secret, CHECK_S) as connection:
                    connection.execute("SELECT 1")
            case S3Connection():
                self._list_s3(config, secret, most=1)
            case FilesConnection():
                self._folder(config)
            case HttpConnection():
                with self._http(CHECK_S) as http, self._get(http, config, secret, config.url) as answer:
                    # The place may have no page of its own; it must be there and take the secret.
                    if answer.status_code not in (403, 404, 405) or secret is not None:
                        _require_success(answer, also=(404, 405))

    def objects(self, config: Config, secret: str | None) -> list[SourceObject]:
        """What can be fetched, the first thousand; nothing where a server has no list."""
        match config:
            case PostgresqlConnection():
                return self._tables(config, secret)
            case S3Connection():
                return self._list_s3(config, secret, most=_LISTED)
            case FilesConnection():
                return self._list_files(config)
        return []

    def fetch(self, config: Config, secret: str | None, name: str, write: Write) -> Fetched:
        """Streams an object into ``write``. Raises DestinationError, SourceError, and what ``write`` does."""
        match config:
            case PostgresqlConnection():
                return self._fetch_table(config, secret, name, write)
            case S3Connection():
                url = f"{config.endpoint_url}/{config.bucket}/{quote(name, safe='/~')}"
                with self._http(_FETCH_S) as http, self._signed(http, config, secret, url) as answer:
                    _require_success(answer)
                    _pour(answer, write)
            case FilesConnection():
                self._fetch_file(config, name, write)
            case HttpConnection():
                url = f"{config.url.rstrip('/')}/{quote(name.lstrip('/'), safe='/~?=&%:@,;+')}"
                with self._http(_FETCH_S) as http, self._get(http, config, secret, url) as answer:
                    _require_success(answer)
                    _pour(answer, write)
        return Fetched(name.partition("?")[0].rstrip("/").rpartition("/")[2] or "object")

    # --- PostgreSQL ------------------------------------------------------------------------------------

    @contextmanager
    def _postgres(
        self, config: PostgresqlConnection, secret: str | None, limit_s: float
    ) -> Iterator[psycopg.Connection[Any]]:
        address = self._destinations.address(config.host, config.port)
        tls: dict[str, Any] = {"sslmode": "prefer"}
        if config.tls:
            tls = {"sslmode": "verify-full", "sslrootcert": "system"}
        try:
            connection = psycopg.connect(
                host=config.host,
                hostaddr=address,
                port=config.port,
                dbname=config.database,
                user=config.user,
                password=secret or "",
                connect_timeout=int(CHECK_S),
                application_name="lakehouse-lab console",
                # Nothing of the console's environment decides how it connects.
                passfile="/dev/null",
                service=None,
                options=f"-c statement_timeout={int(limit_s * 1000)} -c default_transaction_read_only=on",
                **tls,
            )
        except psycopg.Error as error:
            raise _postgres_error(error, config) from error
        try:
            with connection:
                yield connection
        except psycopg.Error as error:
            raise _postgres_error(error, config) from error

    def _tables(self, config: PostgresqlConnection, secret: str | None) -> list[SourceObject]:
        listed = (
            "SELECT n.nspname || '.' || c.relname, pg_relation_size(c.oid) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') "
            "AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_t%%' "
            "AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1 LIMIT %s"
        )
        with self._postgres(config, secret, CHECK_S) as connection:
            rows = connection.execute(listed, (_LISTED,)).fetchall()
        return [SourceObject(name=str(name), size_bytes=int(size or 0)) for name, size in rows]

    def _fetch_table(
        self, config: PostgresqlConnection, secret: str | None, name: str, write: Write
    ) -> Fetched:
        schema, dot, table = name.partition(".")
        if not dot or not schema or not table:
            raise UsageError("a table is named by schema and name", value=name, permitted="schema.table")
        with self._postgres(config, secret, _FETCH_S) as connection, connection.cursor() as cursor:
            found = sql.SQL(".").join([sql.Identifier(schema), sql.Identifier(table)])
            try:
                cursor.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(found))
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
                connection.rollback()
                known = [one.name for one in self._tables(config, secret)]
                raise unknown_name("table", name, known) from error
            described = cursor.description or []
            types = {column.name: _iceberg(column) for column in described}
            # As text a boolean is true or false, in CSV it would be t or f.
            columns = sql.SQL(", ").join(
                sql.SQL("{0}::text AS {0}" if types[column.name] == "boolean" else "{0}").format(
                    sql.Identifier(column.name)
                )
                for column in described
            )
            copy = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv, HEADER, ENCODING 'UTF8')")
            cursor.execute("SET LOCAL datestyle TO ISO")
            cursor.execute("SET LOCAL timezone TO 'UTC'")
            with cursor.copy(copy.format(columns, found)) as stream:
                for block in stream:
                    write(bytes(block))
        return Fetched(f"{table}.csv", list(types.items()))

    # --- S3 --------------------------------------------------------------------------------------------

    def _list_s3(self, config: S3Connection, secret: str | None, *, most: int) -> list[SourceObject]:
        url = f"{config.endpoint_url}/{config.bucket}?list-type=2&max-keys={most}"
        with self._http(CHECK_S) as http, self._signed(http, config, secret, url) as answer:
            body = _bounded(answer)
            _require_success(answer, body)
        try:
            if b"<!" in body:
                raise ValueError("a document type: S3 sends none, and entities are for attacks")
            document: Element = fromstring(body)  # noqa: S314 - without a document type nothing expands
        except (ParseError, ValueError) as error:
            raise SourceError("this does not answer as an S3 store", value=config.endpoint_url) from error
        found = []
        for entry in document.iter():
            if entry.tag.rpartition("}")[2] != "Contents":
                continue
            facts = {child.tag.rpartition("}")[2]: child.text or "" for child in entry}
            size = facts.get("Size", "")
            found.append(
                SourceObject(name=facts.get("Key", ""), size_bytes=int(size) if size.isdecimal() else None)
            )
        return found

    @contextmanager
    def _signed(
        self, http: httpx.Client, config: S3Connection, secret: str | None, url: str
    ) -> Iterator[httpx.Response]:
        headers = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
        if config.access_key:
            from botocore.auth import S3SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.credentials import Credentials

            request = AWSRequest(method="GET", url=url, headers=headers)
            S3SigV4Auth(Credentials(config.access_key, secret or ""), "s3", config.region).add_auth(request)
            headers = dict(request.headers.items())
        with _asking(url), http.stream("GET", url, headers=headers) as answer:
            yield answer

    # --- files -----------------------------------------------------------------------------------------

    def _folder(self, config: FilesConnection) -> Path:
        folder = Path(os.path.realpath(config.folder))
        if not any(folder == root or folder.is_relative_to(root) for root in self._roots):
            raise DestinationError(
                "the console reads no files there",
                value=config.folder,
                permitted=", ".join(map(str, self._roots)) or "no folder: the lab's admin has named none",
                next_command="lab up --set consoleFileRoots=/data, for a lab admin",
            )
        if not folder.is_dir():
            raise SourceError("there is no such folder", value=config.folder)
        return folder

    def _list_files(self, config: FilesConnection) -> list[SourceObject]:
        folder, found = self._folder(config), []
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                size = path.stat().st_size
                found.append(SourceObject(name=str(path.relative_to(folder)), size_bytes=size))
            if len(found) >= _LISTED:
                break
        return found

    def _fetch_file(self, config: FilesConnection, name: str, write: Write) -> None:
        folder = self._folder(config)
        path = Path(os.path.realpath(folder / name.lstrip("/")))
        # A link that leads out of the folder is not in it.
        if not path.is_relative_to(folder) or not path.is_file():
            raise unknown_name("file", name, [one.name for one in self._list_files(config)])
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise SourceError("this is no plain file", value=name)
            while block := file.read(_BLOCK_BYTES):
                write(block)

    # --- HTTP ------------------------------------------------------------------------------------------

    @contextmanager
    def _http(self, limit_s: float) -> Iterator[httpx.Client]:
        timeout = httpx.Timeout(min(limit_s, _IDLE_S), connect=CHECK_S)
        with guarded_client(self._destinations, timeout) as http:
            yield http

    @contextmanager
    def _get(
        self, http: httpx.Client, config: HttpConnection, secret: str | None, url: str
    ) -> Iterator[httpx.Response]:
        home = urlsplit(config.url)
        for _ in range(_REDIRECTS + 1):
            here = urlsplit(url)
            headers, auth = {"Accept-Encoding": "identity"}, None
            # The secret is for the connection's own place, wherever that sends us.
            if secret is not None and (here.scheme, here.netloc) == (home.scheme, home.netloc):
                if config.user:
                    auth = httpx.BasicAuth(config.user, secret)
                else:
                    headers["Authorization"] = f"Bearer {secret}"
            with _asking(url), http.stream("GET", url, headers=headers, auth=auth) as answer:
                if not answer.has_redirect_location:
                    yield answer
                    return
                url = str(answer.url.join(answer.headers["location"]))
                if urlsplit(url).scheme not in ("http", "https"):
                    raise SourceError("the server leads to no web address", value=url)
        raise SourceError("the server leads in circles", value=config.url)


def _pour(answer: httpx.Response, write: Write) -> None:
    ends = time.monotonic() + _FETCH_S
    for block in answer.iter_bytes(_BLOCK_BYTES):
        write(block)
        if time.monotonic() > ends:
            raise SourceError("it takes too long", permitted=f"{_FETCH_S / 3600:.0f} hours")


def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    for block in answer.iter_bytes():
        body += block
        if len(body) > _ANSWER_BYTES:
            raise SourceError("the server answers at too great a length", permitted=f"{_ANSWER_BYTES} bytes")
    return bytes(body)


def _require_success(answer: httpx.Response, body: bytes = b"", *, also: tuple[int, ...] = ()) -> None:
    if answer.is_success or answer.status_code in also:
        return
    said = ""
    if b"<Code>" in body:
        said = ": " + body.split(b"<Code>", 1)[1].split(b"</Code>", 1)[0][:100].decode("ascii", "replace")
    raise SourceError(
        f"the server answered {answer.status_code}{said}",
        value=str(answer.url.copy_with(query=None)),
        permitted="an object that is there, and a secret that opens it",
    )


@contextmanager
def _asking(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        place = urlsplit(url)
        raise SourceError(
            f"the server does not answer: {type(error).__name__}",
            value=f"{place.scheme}://{place.netloc}",
            permitted="a server that answers in time, with a certificate that is valid",
        ) from error


def _postgres_error(error: psycopg.Error, config: PostgresqlConnection) -> SourceError:
    # The first line: what follows may quote the rows that were read.
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return SourceError(
        f"PostgreSQL says: {line}",
        value=f"{config.user}@{config.host}:{config.port}/{config.database}",
        permitted="a server that answers in time, and a user who may read",
    )


def _iceberg(column: Any) -> str:
    info = psycopg.adapters.types.get(column.type_code)
    name = "" if info is None else info.name
    if name == "numeric" and column.precision and column.precision <= 38 and (column.scale or 0) >= 0:
        return f"decimal({column.precision},{column.scale or 0})"
    return _TYPES.get(name, "string")
