"""Publishing: the signed bundle of the living access data, put as one object that OPA polls.

An object put is atomic, so OPA sees the old bundle or the new one. What fails leaves the old one, which
OPA itself stops believing once it is too old.
"""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.credentials.providers import IamAwsProvider
from minio.error import MinioException, S3Error

from contracts.access import AccessData
from contracts.errors import LabError
from governance.bundle import BUNDLE_KEY, Required, build_bundle, compile_data, read_rego
from governance.client import AccessRevision, Publication, TableOwner
from governance.maintenance.catalogs import borne
from governance.store import Store

_CONNECT_TIMEOUT_S = 3.0
_READ_TIMEOUT_S = 15.0
_SYSTEM_POLICIES = "system"
_STORE_ERRORS = (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError)


class PublishError(LabError):
    """The bundle did not reach the object store; the one published before still stands."""


class BundleStore(Protocol):
    """Where the bundle goes."""

    def put(self, key: str, content: bytes) -> str:
        """Replaces the object in one step and returns its ETag. Raises PublishError."""
        ...

    def etag(self, key: str) -> str | None:
        """The ETag of the object that is there, None when there is none. Raises PublishError."""
        ...


class S3BundleStore:
    """A bucket in an S3-compatible store.

    Args:
        endpoint_url: ``http(s)://host[:port]``.
        access_key, secret_key: empty for credentials from the instance or pod.
        tls: whom to trust when the endpoint is HTTPS.
        what: what is put there, for errors, and its ``content_type``.
    """

    def __init__(
        self,
        *,
        endpoint_url: str,
        region: str,
        bucket: str,
        access_key: str,
        secret_key: str,
        tls: ssl.SSLContext,
        what: str = "the access bundle",
        content_type: str = "application/gzip",
    ) -> None:
        self._what, self._content_type = what, content_type
        endpoint = urlsplit(endpoint_url)
        self._bucket = bucket
        # The publisher's loop repeats, with status; repeating here would only hide it.
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S),
            retries=False,
            ssl_context=tls,
        )
        self._client = Minio(
            endpoint.netloc,
            access_key=access_key or None,
            secret_key=secret_key or None,
            credentials=None if access_key else IamAwsProvider(),
            secure=endpoint.scheme == "https",
            region=region,
            http_client=pool,
        )

    def put(self, key: str, content: bytes) -> str:
        """One PUT, since it is far below the size of a multipart upload."""
        try:
            result = self._client.put_object(
                self._bucket, key, io.BytesIO(content), len(content), content_type=self._content_type
            )
        except _STORE_ERRORS as error:
            raise self._refused(f"did not take {self._what}", key, error) from error
        return str(result.etag)

    def etag(self, key: str) -> str | None:
        """From a listing: what was published is not read again."""
        try:
            listed = self._client.list_objects(self._bucket, prefix=key)
            return next((str(found.etag) for found in listed if found.object_name == key), None)
        except _STORE_ERRORS as error:
            raise self._refused(f"can't be asked for {self._what}", key, error) from error

    def _refused(self, what: str, key: str, error: Exception) -> PublishError:
        # An S3 error's own text carries an id of the request: no two would be alike in the status.
        reason = f"{error.code}: {error.message}" if isinstance(error, S3Error) else repr(error)
        return PublishError(
            f"the object store {what}: {reason}",
            value=f"s3://{self._bucket}/{key}",
            next_command="lab status",
        )


@dataclass(frozen=True, kw_only=True)
class BundleSettings:
    """What goes into every bundle beside the access data. ``rego`` maps path → module; ``catalog_kind`` says
    which maintenance the catalog bears."""

    catalog: str
    max_age_s: int
    rego: Mapping[str, str]
    signing_key_pem: str
    catalog_kind: str = "nessie"


def read_policies(folder: Path) -> dict[str, str]:
    """The modules of every folder of ``policies/`` but OPA's own (``system``), which no bundle brings.

    Raises:
        LabError: there is none.
    """
    sources: dict[str, str] = {}
    for child in sorted(path for path in folder.glob("*") if path.is_dir()):
        if child.name != _SYSTEM_POLICIES:
            sources.update(read_rego(child))
    if not sources:
        raise LabError(
            "there are no policy modules to publish",
            value=str(folder),
            permitted="the project's folder policies/",
            next_command="lab doctor",
        )
    return sources


class Publisher:
    """Publishes the living revision; run by one loop and repeated to renew the signature. ``required`` tells
    which columns hold no null."""

    def __init__(
        self,
        store: Store,
        objects: BundleStore,
        settings: BundleSettings,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        required: Callable[[], Required] = dict,
    ) -> None:
        self._required = required
        self._store = store
        self._objects = objects
        self._settings = settings
        self._clock_ns = clock_ns

    def publish(self) -> Publication | None:
        """Builds, signs and puts the bundle; None before the first revision.

        Raises:
            PublishError: the object store did not take it.
            UsageError: the access data can't be compiled.
        """
        settings = self._settings
        with self._store.publishing() as publishing:
            revision = publishing.current()
            if revision is None:
                return None
            issued_at_ns = self._clock_ns()
            data = self._compiled(revision, publishing.owners(), issued_at_ns)
            bundle = build_bundle(data, settings.rego, settings.signing_key_pem)
            etag = self._objects.put(BUNDLE_KEY, bundle)
            issued_at = datetime.fromtimestamp(issued_at_ns / 1e9, tz=UTC)
            publication = Publication(revision=revision.revision, issued_at=issued_at, etag=etag)
            publishing.record(publication)
            return publication

    def compiled(self, revision: AccessRevision, issued_at_ns: int) -> dict[str, Any]:
        """The data of a bundle with ``revision`` and the owners of now."""
        return self._compiled(revision, self._store.owners(), issued_at_ns)

    def published_etag(self) -> str | None:
        """The ETag of the bundle that lies in the object store. Raises PublishError."""
        return self._objects.etag(BUNDLE_KEY)

    def _compiled(
        self, revision: AccessRevision, owners: Iterable[TableOwner], issued_at_ns: int
    ) -> dict[str, Any]:
        settings = self._settings
        return compile_data(
            AccessData.from_document(revision.document),
            catalog=settings.catalog,
            revision=revision.revision,
            issued_at_ns=issued_at_ns,
            max_age_s=settings.max_age_s,
            owners={owner.table: owner.group for owner in owners},
            required=self._required(),
            procedures=borne(settings.catalog_kind),
        )
