"""Backups of the PostgreSQL inside a cluster: copies of the whole server, in a bucket of their own.

As a program it takes one and removes those that are too many: it is a generated file of the pod that the
schedule starts, and knows no other file of the checkout. A backup is what the server itself sends
(https://www.postgresql.org/docs/18/protocol-replication.html, ``BASE_BACKUP``), with the log that makes it
consistent:

- ``postgresql/NAME/base.tar.gz``, the data directory
- ``postgresql/NAME/backup_manifest``, checksums of each file in it
- ``postgresql/NAME/complete.json``, written last: without it the others are no backup
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from psycopg import pq
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

PREFIX = "postgresql/"
_ARCHIVE, _MANIFEST, _COMPLETE = "base.tar.gz", "backup_manifest", "complete.json"
_TIME = "%Y-%m-%dT%H-%M-%SZ"
_COMMAND = (
    b"BASE_BACKUP (LABEL 'lakehouse-lab', CHECKPOINT 'fast', WAL true, MANIFEST 'yes', "
    b"MANIFEST_CHECKSUMS 'SHA256')"
)
_PART_BYTES = 16 * 1024 * 1024
_UNFINISHED_AFTER = timedelta(days=1)
"""After so long a backup that is not whole is none that is being made."""


class BackupError(Exception):
    """The server or the store refused; says which and why."""


@dataclass(frozen=True, kw_only=True)
class Backup:
    """One that is whole. ``data_bytes`` is what it is unpacked, ``sha256`` that of the archive."""

    name: str
    archive_bytes: int
    data_bytes: int
    sha256: str
    server_version: int

    @property
    def taken_at(self) -> datetime:
        """When it was begun."""
        return datetime.strptime(self.name, _TIME).replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Where backups are."""

    endpoint_url: str
    region: str
    name: str
    access_key: str
    secret_key: str

    def client(self) -> Any:
        """An S3 client that is told everything, so that nothing of the environment counts."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                connect_timeout=10,
                read_timeout=60,
                retries={"total_max_attempts": 3},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                proxies={},
            ),
        )


class _Archive:
    """What the server sends, packed, to be read from as from a file; the manifest comes after it."""

    def __init__(self, connection: PGconn) -> None:
        self._pieces = self._packed(connection)
        self._held = b""
        self._digest = hashlib.sha256()
        self.manifest = b""
        self.archive_bytes = self.data_bytes = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes, fewer than ``size`` at the end alone."""
        parts, count = [self._held], len(self._held)
        while size < 0 or count < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            parts.append(piece)
            count += len(piece)
        whole = b"".join(parts)
        given = whole if size < 0 else whole[:size]
        self._held = whole[len(given) :]
        self._digest.update(given)
        self.archive_bytes += len(given)
        return given

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def _packed(self, connection: PGconn) -> Iterator[bytes]:
        packer, archives, in_manifest = zlib.compressobj(6, wbits=31), 0, False
        while True:
            count, data = connection.get_copy_data(0)
            if count < 0:
                break
            kind, content = bytes(data[:1]), bytes(data[1:])
            if kind == b"n":
                archives += 1
                if archives > 1:
                    raise BackupError("the server has tablespaces, which no backup is made of")
            elif kind == b"m":
                in_manifest = True
            elif kind == b"d" and in_manifest:
                self.manifest += content
            elif kind == b"d":
                self.data_bytes += len(content)
                if piece := packer.compress(content):
                    yield piece
        # Only now the server says whether all of it was sent.
        while (result := connection.get_result()) is not None:
            if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
                raise BackupError(f"PostgreSQL ended the backup: {result.get_error_message()}")
        yield packer.flush()


def take(conninfo: str, bucket: Bucket, *, now: datetime) -> Backup:
    """Makes a backup through a connection whose role may replicate.

    Raises:
        BackupError: the server refuses. What the store refuses is its client's error.
    """
    connection = pq.PGconn.connect(conninfo.encode())
    try:
        if connection.status != pq.ConnStatus.OK:
            raise BackupError(f"PostgreSQL refuses: {connection.get_error_message()}")
        result = connection.exec_(_COMMAND)
        if result.status != pq.ExecStatus.COPY_OUT:
            raise BackupError(f"PostgreSQL refuses the backup: {result.get_error_message()}")
        name, client, archive = now.astimezone(UTC).strftime(_TIME), bucket.client(), _Archive(connection)
        client.upload_fileobj(
            archive,
            bucket.name,
            _key(name, _ARCHIVE),
            Config=TransferConfig(
                multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, use_threads=False
            ),
        )
        backup = Backup(
            name=name,
            archive_bytes=archive.archive_bytes,
            data_bytes=archive.data_bytes,
            sha256=archive.sha256,
            server_version=connection.server_version,
        )
        for file, body in ((_MANIFEST, archive.manifest), (_COMPLETE, json.dumps(asdict(backup)).encode())):
            client.put_object(Bucket=bucket.name, Key=_key(name, file), Body=body)
        return backup
    finally:
        connection.finish()


def backups(bucket: Bucket) -> list[Backup]:
    """All that are whole, the newest first."""
    client, found = bucket.client(), _files(bucket)
    whole = [name for name, files in found.items() if _COMPLETE in files]
    return [_described(client, bucket, name) for name in sorted(whole, reverse=True)]


def opened(bucket: Bucket, backup: Backup) -> tuple[bytes, Any]:
    """A backup's manifest, and its archive as a stream with ``iter_chunks``."""
    client = bucket.client()
    manifest = client.get_object(Bucket=bucket.name, Key=_key(backup.name, _MANIFEST))["Body"].read()
    return manifest, client.get_object(Bucket=bucket.name, Key=_key(backup.name, _ARCHIVE))["Body"]


def prune(bucket: Bucket, *, keep: int, now: datetime) -> list[str]:
    """Removes all whole backups but the newest ``keep``, and what is left of ones that never became whole.
    Gives their names."""
    client, found = bucket.client(), _files(bucket)
    whole = sorted((name for name, files in found.items() if _COMPLETE in files), reverse=True)
    before = (now.astimezone(UTC) - _UNFINISHED_AFTER).strftime(_TIME)
    unfinished = [name for name, files in found.items() if _COMPLETE not in files and name < before]
    gone = [*whole[keep:], *unfinished]
    for name in gone:
        # The word that it is whole goes first: what is half removed is none.
        for file in sorted(found[name], key=lambda file: file != _COMPLETE):
            client.delete_object(Bucket=bucket.name, Key=_key(name, file))
    return gone


def _files(bucket: Bucket) -> dict[str, set[str]]:
    """The files of each backup, whole or not, by its name."""
    found: dict[str, set[str]] = {}
    pages = bucket.client().get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=PREFIX)
    for page in pages:
        for item in page.get("Contents", ()):
            name, _, file = str(item["Key"]).removeprefix(PREFIX).partition("/")
            found.setdefault(name, set()).add(file)
    return found


def _described(client: Any, bucket: Bucket, name: str) -> Backup:
    text = client.get_object(Bucket=bucket.name, Key=_key(name, _COMPLETE))["Body"].read()
    return Backup(**json.loads(text))


def _key(name: str, file: str) -> str:
    return f"{PREFIX}{name}/{file}"


def main(environ: dict[str, str]) -> int:
    """Takes one, removes those that are too many, and says both as a line of JSON."""
    bucket = Bucket(
        endpoint_url=environ["BACKUP_S3_ENDPOINT_URL"],
        region=environ["BACKUP_S3_REGION"],
        name=environ["BACKUP_S3_BUCKET"],
        access_key=environ["BACKUP_S3_ACCESS_KEY"],
        secret_key=environ["BACKUP_S3_SECRET_KEY"],
    )
    conninfo = make_conninfo(
        host=environ["BACKUP_DATABASE_HOST"],
        port=environ["BACKUP_DATABASE_PORT"],
        user=environ["BACKUP_DATABASE_ROLE"],
        password=environ["BACKUP_DATABASE_PASSWORD"],
        replication="true",
        sslmode="require",
        connect_timeout="20",
    )
    now = datetime.now(UTC)
    try:
        backup = take(conninfo, bucket, now=now)
    except BackupError as error:
        print(str(error).strip(), file=sys.stderr)
        return 1
    removed = prune(bucket, keep=int(environ["BACKUP_KEEP"]), now=now)
    print(json.dumps({"backup": asdict(backup), "removed": removed}))
    return 0


if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))
