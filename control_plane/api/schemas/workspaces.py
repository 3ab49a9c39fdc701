"""Workspaces, their connections, uploads and ingests, and registered data sets."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr

from control_plane.api.schemas.common import Body, Name
from governance.workspaces.model import DEFAULT_JOBS, DEFAULT_QUERIES, DEFAULT_STORAGE_MIB
from ingestion.words import Mode

_Count = Annotated[int, Field(ge=1, le=1000)]
TableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,127}$", examples=["leads"])]
Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:\-_]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Quota(Body):
    """``queries`` and ``jobs`` run at once at most; more than ``storage_mib`` of live data is warned of."""

    queries: _Count = DEFAULT_QUERIES
    jobs: _Count = DEFAULT_JOBS
    storage_mib: int = Field(default=DEFAULT_STORAGE_MIB, ge=1, le=2**40)


class CreateWorkspace(Body):
    """A workspace to make. Its name becomes a namespace; the caller owns it unless ``owners`` are named."""

    name: str = Field(min_length=1, max_length=255, examples=["marketing"])
    description: str = Field(default="", max_length=2000)
    owners: list[Name] = Field(default_factory=list, max_length=100)
    quota: Quota | None = None


class ChangeWorkspace(Body):
    """What to change; what is not given stays."""

    description: str | None = Field(default=None, max_length=2000)
    quota: Quota | None = None


class PutMember(Body):
    """Whether a member is an owner."""

    owner: bool = False


class RemoveWorkspace(Body):
    """``tables``: its tables and views go, too. ``only_try``: nothing goes; the answer says what would."""

    tables: bool = False
    only_try: bool = False


class PostgresqlConnection(Body):
    """A database of PostgreSQL's."""

    kind: Literal["postgresql"] = "postgresql"
    host: Host
    port: Port = 5432
    database: Name
    user: Name
    tls: bool = Field(default=True, description="Require TLS; the server's certificate is checked.")


class S3Connection(Body):
    """A bucket of an S3-compatible store; ``access_key`` is empty for a public one."""

    kind: Literal["s3"] = "s3"
    endpoint_url: str = Field(pattern=r"^https?://[^\s/?#@]+$", max_length=500)
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,50}$")
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,62}$")
    access_key: str = Field(default="", max_length=200)


class FilesConnection(Body):
    """A folder on the console's machine, of those that the lab's admin permits."""

    kind: Literal["files"] = "files"
    folder: str = Field(min_length=1, max_length=1000, pattern=r"^/")


class HttpConnection(Body):
    """A web server; objects are paths below ``url``. ``user`` is for HTTP basic authentication, empty:
    the secret is a bearer token."""

    kind: Literal["http"] = "http"
    url: str = Field(pattern=r"^https?://[^\s?#@]+$", max_length=1000)
    user: str = Field(default="", max_length=200)


Config = Annotated[
    PostgresqlConnection | S3Connection | FilesConnection | HttpConnection, Field(discriminator="kind")
]


class SaveConnection(Body):
    """A connection, tried out before it is kept. ``secret`` (password, secret key or token) can be written
    and never read; None leaves the one that is there, where the place that it opens stays the same."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}$", examples=["crm"])
    config: Config
    secret: SecretStr | None = Field(default=None, max_length=4000)


class Connection(BaseModel):
    """A connection; ``has_secret`` is all that anybody learns of its secret."""

    id: UUID
    name: str
    config: Config
    has_secret: bool
    version: int
    created_by: str
    created_at: datetime
    updated_by: str
    updated_at: datetime


class SourceObject(BaseModel):
    """Something that can be fetched by a connection: a table, an object, a file."""

    name: str
    size_bytes: int | None


class FetchObject(Body):
    """What to fetch: ``schema.table``, a key, or a path below the connection's folder or URL."""

    object: str = Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f]+$")


class UploadState(StrEnum):
    """How far a file is."""

    RECEIVING = "receiving"
    READY = "ready"
    FAILED = "failed"


class Failure(BaseModel):
    """Why something failed, and what helps."""

    title: str
    value: str | None = None
    permitted: str | None = None


class Upload(BaseModel):
    """A file in the console's spool: uploaded, or fetched by a connection. It is removed a day later."""

    id: UUID
    filename: str
    connection_id: UUID | None
    state: UploadState
    size_bytes: int
    error: Failure | None
    created_by: str
    created_at: datetime


class FileOptions(Body):
    """How to read a file; what is not given is told by its content. ``types`` maps a column to an Iceberg
    type."""

    format: Literal["csv", "tsv", "jsonl", "parquet"] | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    header: bool = True
    types: dict[Name, Annotated[str, Field(max_length=200)]] = Field(default_factory=dict, max_length=2000)
    all_text: bool = False
    null_values: list[Annotated[str, Field(max_length=100)]] = Field(default_factory=list, max_length=20)


class PreviewIngest(Body):
    """A file to look into."""

    upload_id: UUID
    options: FileOptions = Field(default_factory=FileOptions)


class PreviewColumn(BaseModel):
    """A column as it would come into the table; ``note`` says what to know of its type."""

    name: str
    source: str
    type: str = Field(examples=["long"])
    note: str


class IngestPreview(BaseModel):
    """What a file holds: types rest on ``sampled_rows``, and ``rows`` are the first, as text."""

    format: str
    columns: list[PreviewColumn]
    rows: list[list[str | None]]
    sampled_rows: int


class StartIngest(Body):
    """A file to bring into a table of the workspace."""

    upload_id: UUID
    table: TableName
    mode: Mode = Mode.CREATE
    options: FileOptions = Field(default_factory=FileOptions)


class IngestState(StrEnum):
    """Where an ingest is. Only ``FINISHED`` changed the table; ``LOST``: the console went away in the
    middle, and the table's history says whether the rows came."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self is not IngestState.RUNNING


class IngestProgress(BaseModel):
    """How far an ingest is."""

    rows: int = 0
    bytes_read: int = 0
    bytes_total: int = 0


class IngestResult(BaseModel):
    """What came of an ingest."""

    rows: int
    snapshot_id: str | None
    files: int
    size_bytes: int
    renamed: dict[str, str]
    widened: list[str]


class Ingest(BaseModel):
    """An ingest of a workspace."""

    id: UUID
    owner: str
    table: str
    mode: Mode
    source: str
    state: IngestState
    progress: IngestProgress
    result: IngestResult | None
    error: Failure | None
    created_at: datetime
    ended_at: datetime | None


class SaveDataset(Body):
    """Who answers for a table, and what it is. Tags here describe; those that rules follow are the
    stewards'."""

    owner: Name
    description: str = Field(default="", max_length=10_000)
    tags: list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]] = Field(
        default_factory=list, max_length=50
    )


class Dataset(BaseModel):
    """A registered table."""

    table: str = Field(examples=["marketing.leads"])
    owner: str
    description: str
    tags: list[str]
    version: int
    updated_at: datetime
    updated_by: str


def failure_of(document: dict[str, Any] | None) -> Failure | None:
    """What the database has of a failure."""
    return None if document is None else Failure(**document)
