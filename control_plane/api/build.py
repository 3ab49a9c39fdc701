"""The console wired together, nothing contacted."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import httpx

from contracts.identity import Audience
from control_plane.api.console import Console
from control_plane.api.directory import Directory
from control_plane.api.explorer.cache import Cache
from control_plane.api.explorer.catalogs import Catalogs
from control_plane.api.explorer.tables import Tables
from control_plane.api.governor import Governor
from control_plane.api.identity.keycloak import Realm
from control_plane.api.identity.sealing import Sealer
from control_plane.api.identity.sessions import Sessions
from control_plane.api.jobs.build import build_jobs
from control_plane.api.logs import Logs
from control_plane.api.queries.service import Queries, SpoolSettings
from control_plane.api.queries.trino import Trino
from control_plane.api.settings import ConsoleSettings
from control_plane.api.spaces.connections import Connections
from control_plane.api.spaces.destinations import Destinations
from control_plane.api.spaces.entry import Workspaces
from control_plane.api.spaces.ingests import CatalogPlace, Ingests
from control_plane.api.spaces.sources import Sources
from control_plane.api.spaces.spool import FileSpool
from control_plane.api.storage.database import Database
from control_plane.api.storage.kept import KeptStore, Kind
from control_plane.api.storage.queries import QueryStore
from control_plane.api.storage.sessions import SessionStore
from control_plane.api.storage.workspaces import ConnectionStore, DatasetStore, IngestStore, UploadStore
from control_plane.api.using import Using
from governance.governor.auth import TokenVerifier, realm_keys

_EXPLORER_CACHE_S = 30.0
_MEMBERSHIPS_S = 10.0
_TIMEOUT = httpx.Timeout(30.0, connect=3.0)


def build_console(
    settings: ConsoleSettings,
    *,
    tls: ssl.SSLContext | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    governor_transport: httpx.BaseTransport | None = None,
    spark_transport: httpx.BaseTransport | None = None,
    signing_key: Callable[[str], Any] | None = None,
) -> Console:
    """The console. The transports and ``signing_key`` take the place of the network in tests."""
    tls = tls or ssl.create_default_context()
    transport = transport or httpx.AsyncHTTPTransport(
        verify=tls,
        limits=httpx.Limits(max_connections=200, max_keepalive_connections=20),
    )
    # All that it speaks to is the lab's own: never through a proxy.
    http = httpx.AsyncClient(transport=transport, timeout=_TIMEOUT, trust_env=False)
    keys = signing_key or realm_keys(f"{settings.realm_url}/protocol/openid-connect/certs", tls)
    realm = Realm(
        issuer_url=settings.issuer_url,
        realm_url=settings.realm_url,
        client_secret=settings.client_secret,
        redirect_uri=f"{settings.public_url}/auth/callback",
        http=http,
        signing_key=keys,
    )
    database = Database(settings.database_url)
    sealer = Sealer(settings.encryption_key, "sessions")
    verifier = TokenVerifier(settings.issuer_url, keys, Audience.CONTROL_PLANE)
    spool = SpoolSettings(
        folder=settings.spool_dir, limit_mib=settings.spool_mib, result_mib=settings.result_mib
    )
    queries = Queries(
        None if settings.trino_url is None else Trino(http, settings.trino_url, settings.catalog),
        QueryStore(database.sessions),
        spool,
        per_user=settings.queries_per_user,
        kept_s=settings.result_kept_s,
    )
    governor = Governor(settings.governor_url, governor_transport or httpx.HTTPTransport(verify=tls))
    using = Using(governor) if settings.tells_use else None
    cache = Cache(_EXPLORER_CACHE_S)
    sources = Sources(
        Destinations(
            settings.connect_to, (*settings.own_urls, *(one.probe_url or "" for one in settings.components))
        ),
        settings.file_roots,
    )
    catalogs = Catalogs(queries, governor, cache, governed=settings.catalog)
    queries.wrote = catalogs.forget
    sessions = Sessions(SessionStore(database.sessions, sealer), realm, verifier)
    jobs = build_jobs(
        settings,
        database=database,
        realm=realm,
        sessions=sessions,
        verifier=verifier,
        queries=queries,
        governor=governor,
        tls=tls,
        spark_transport=spark_transport,
    )
    return Console(
        settings=settings,
        database=database,
        realm=realm,
        sessions=sessions,
        sealer=sealer,
        http=http,
        queries=queries,
        governor=governor,
        catalogs=catalogs,
        tables=Tables(catalogs, governor),
        directory=Directory(governor, cache),
        workspaces=Workspaces(governor, Cache(_MEMBERSHIPS_S), jobs.quotas),
        connections=Connections(
            ConnectionStore(database.sessions), Sealer(settings.encryption_key, "connections"), sources
        ),
        ingests=Ingests(
            jobs.quotas,
            UploadStore(database.sessions),
            IngestStore(database.sessions),
            FileSpool(
                settings.upload_dir,
                file_bytes=settings.upload_mib << 20,
                all_bytes=settings.uploads_mib << 20,
            ),
            sources,
            (
                None
                if settings.catalog_uri is None
                else CatalogPlace(uri=settings.catalog_uri, warehouse=settings.catalog)
            ),
            using,
        ),
        datasets=DatasetStore(database.sessions),
        saved_queries=KeptStore(database.sessions, Kind.QUERY),
        charts=KeptStore(database.sessions, Kind.CHART),
        dashboards=KeptStore(database.sessions, Kind.DASHBOARD),
        logs=Logs(settings.logs_dir),
        jobs=jobs,
        using=using,
    )
