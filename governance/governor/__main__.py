"""Runs the governor: ``python -m governance.governor``; see ``governance.governor.settings``.

It starts without anything else being up: the database, Keycloak, the catalog and the object store are
tried until they answer, and the status says which does not.
"""

from __future__ import annotations

import logging
import os
import ssl
import sys
import threading
from datetime import timedelta

import httpx

from contracts.errors import LabError, UsageError
from contracts.identity import MAINTAINER_CLIENT, Audience
from governance.audit.collector import AuditSettings, Collector, Producer
from governance.audit.spool import Spool
from governance.audit.store import AuditStore
from governance.counting import TrinoCounter
from governance.governor.app import create_app
from governance.governor.auth import TokenVerifier, realm_keys
from governance.governor.loops import audit_loop, publish_loop, queues_loop, reconcile_loop
from governance.governor.maintaining import Maintenance, MaintenanceSettings
from governance.governor.service import Governor
from governance.governor.settings import GovernorSettings, PolarisSettings, read_settings
from governance.governor.spaces import Spaces
from governance.governor.trust import trusted
from governance.governor.using import Uses, use_loop
from governance.maintenance.catalogs import unsafe
from governance.maintenance.engine import TrinoEngine
from governance.maintenance.policy import Limits
from governance.maintenance.runner import Maintainer
from governance.maintenance.store import MaintenanceStore
from governance.masking import MaskKeyStore, mask_key
from governance.publish import BundleSettings, Publisher, S3BundleStore, read_policies
from governance.rawcatalog.door import Door
from governance.reconcile.cycle import Reconciler
from governance.reconcile.groups import RealmGroups
from governance.reconcile.keycloak import KeycloakAdmin
from governance.reconcile.namespaces import Namespaces
from governance.reconcile.nessie import NessieAdmin
from governance.reconcile.oauth import ClientCredentials
from governance.reconcile.polaris import PolarisAdmin
from governance.reconcile.polaris_api import PolarisApi
from governance.reconcile.port import CatalogAdmin
from governance.reconcile.tables import CatalogTables
from governance.serving import serve
from governance.store import Store, make_engine
from governance.trino import TrinoClient
from governance.workspaces.queues import QueueStore
from governance.workspaces.store import WorkspaceStore

_TIMEOUT = httpx.Timeout(20.0, connect=3.0)
_GRACE_S = 5


def build_governor(settings: GovernorSettings, tls: ssl.SSLContext) -> Governor:
    """Everything wired, nothing contacted."""
    publisher_settings = BundleSettings(
        catalog=settings.trino_catalog,
        max_age_s=settings.bundle_max_age_s,
        catalog_kind=settings.catalog_kind,
        rego=read_policies(settings.policies_dir),
        signing_key_pem=settings.signing_key_pem,
    )
    store = Store(make_engine(settings.database_url))
    token = ClientCredentials(settings.token_url, Audience.GOVERNOR.value, settings.client_secret)
    reconciler = Reconciler(
        KeycloakAdmin(_client(settings.keycloak_realm_url, token, tls)),
        CatalogTables(_client(settings.catalog_uri, token, tls), settings.catalog_warehouse),
        _catalog(settings, tls),
        closed_namespaces=settings.closed_namespaces,
    )
    limit = timedelta(seconds=settings.exception_max_s)
    return Governor(
        store,
        Publisher(store, _objects(settings, tls), publisher_settings, required=reconciler.tables.required),
        reconciler,
        exception_limit=limit,
        mask_keys=MaskKeyStore(make_engine(settings.masking_database_url), mask_key(settings.hash_salt)),
    )


def build_collector(settings: GovernorSettings) -> Collector:
    """The audit's collector, with the records that an earlier process left on the disk.

    Raises:
        UsageError: the spool's folder can't be used.
    """
    try:
        spool = Spool(settings.audit_spool_dir, settings.audit_spool_mib << 20)
    except OSError as error:
        raise UsageError(
            f"GOVERNOR_AUDIT_SPOOL_DIR can't be used: {error.strerror}", value=str(settings.audit_spool_dir)
        ) from error
    tokens = {Producer.TRINO: settings.audit_trino_token, Producer.OPA: settings.audit_opa_token}
    return Collector(
        spool,
        AuditStore(make_engine(settings.database_url)),
        AuditSettings(
            catalog=settings.trino_catalog, retention_days=settings.audit_retention_days, tokens=tokens
        ),
        wake=threading.Event(),
    )


def build_uses(settings: GovernorSettings, collector: Collector, tls: ssl.SSLContext) -> Uses | None:
    """Notes that people use the lab; None where nobody asks."""
    if not settings.notes_use:
        return None
    objects = _objects(settings, tls, what="the note of the lab's use", content_type="application/json")
    return Uses(collector.store, objects.put)


def build_counter(settings: GovernorSettings, tls: ssl.SSLContext) -> TrinoCounter | None:
    """Counts rows as the governor's own service account; None where the lab has no Trino."""
    if settings.trino_url is None:
        return None
    audience = f"openid {Audience.TRINO.value}"
    token = ClientCredentials(
        settings.token_url, Audience.GOVERNOR.value, settings.client_secret, scope=audience
    )
    return TrinoCounter(_client(settings.trino_url, token, tls), catalog=settings.trino_catalog)


def build_door(
    settings: GovernorSettings, governor: Governor, tls: ssl.SSLContext
) -> tuple[Door, TokenVerifier] | None:
    """The door of raw engines; None where the catalog has grants on tables itself."""
    if settings.polaris is not None:
        return None
    token = ClientCredentials(settings.token_url, Audience.GOVERNOR.value, settings.client_secret)
    door = Door(_client(settings.catalog_uri, token, tls), settings.catalog_warehouse, governor.raw_rights)
    return door, TokenVerifier(
        settings.issuer_url, realm_keys(settings.jwks_url, tls), audience=Audience.CATALOG
    )


def build_maintenance(settings: GovernorSettings, governor: Governor, tls: ssl.SSLContext) -> Maintenance:
    """Maintains through Trino, as a service account that does nothing else."""
    store = MaintenanceStore(make_engine(settings.database_url))
    limits = Limits(
        snapshots_s=settings.maintain_min_retention_s, orphans_s=settings.maintain_min_retention_s
    )
    maintainer: Maintainer | None = None
    if settings.trino_url is not None and settings.maintainer_secret:
        stopping = threading.Event()
        token = ClientCredentials(
            settings.token_url,
            MAINTAINER_CLIENT,
            settings.maintainer_secret,
            scope=f"openid {Audience.TRINO.value}",
        )
        http = _client(settings.trino_url, token, tls)
        trino = TrinoClient(http, catalog=settings.trino_catalog, source="lab maintain", stopping=stopping)
        maintainer = Maintainer(
            store,
            TrinoEngine(trino, catalog=settings.trino_catalog),
            unsafe=unsafe(settings.catalog_kind),
            limits=limits,
            stopping=stopping,
        )
    return Maintenance(
        governor,
        store,
        maintainer,
        MaintenanceSettings(
            catalog_kind=settings.catalog_kind,
            limits=limits,
            every_s=settings.maintain_every_s,
            keep_days=settings.audit_retention_days,
            policy_data=settings.policies_dir / "data" / "maintenance",
        ),
    )


def build_spaces(
    settings: GovernorSettings, governor: Governor, workspaces: WorkspaceStore, tls: ssl.SSLContext
) -> Spaces:
    """Makes and removes workspaces as the governor's own service account."""
    token = ClientCredentials(settings.token_url, Audience.GOVERNOR.value, settings.client_secret)
    return Spaces(
        governor,
        workspaces,
        RealmGroups(_client(settings.keycloak_realm_url, token, tls)),
        Namespaces(_client(settings.catalog_uri, token, tls), settings.catalog_warehouse),
    )


def _catalog(settings: GovernorSettings, tls: ssl.SSLContext) -> CatalogAdmin:
    if settings.polaris is None:
        return NessieAdmin()
    polaris: PolarisSettings = settings.polaris
    headers = {"Polaris-Realm": polaris.realm} if polaris.realm else {}
    token = ClientCredentials(
        polaris.token_url, polaris.root_id, polaris.root_secret, scope="PRINCIPAL_ROLE:ALL", headers=headers
    )
    http = _client(polaris.management_url, token, tls)
    http.headers.update(headers)
    api = PolarisApi(http, settings.catalog_warehouse)
    return PolarisAdmin(api, properties=polaris.properties, storage=polaris.storage)


def _objects(settings: GovernorSettings, tls: ssl.SSLContext, **kind: str) -> S3BundleStore:
    return S3BundleStore(
        endpoint_url=settings.s3_endpoint_url,
        region=settings.s3_region,
        bucket=settings.policy_bucket,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        tls=tls,
        **kind,
    )


def _client(base_url: str, auth: httpx.Auth, tls: ssl.SSLContext) -> httpx.Client:
    return httpx.Client(base_url=base_url, auth=auth, timeout=_TIMEOUT, verify=tls, trust_env=False)


def main() -> int:
    """Serves until SIGTERM or SIGINT; requests and loop runs under way end first."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Two lines for every poll and signature would drown the changes.
    for noisy in ("httpx", "httpcore", "alembic.runtime.plugins"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # All that it speaks to is the lab's own: a proxy meant for the way out would break the token check.
    os.environ["no_proxy"] = "*"
    try:
        settings = read_settings(os.environ)
        tls = trusted(settings.ca_file, "GOVERNOR_CA_FILE")
        governor = build_governor(settings, tls)
        counter = build_counter(settings, tls)
        collector = build_collector(settings)
        maintenance = build_maintenance(settings, governor, tls)
        workspaces = WorkspaceStore(make_engine(settings.database_url))
        spaces = build_spaces(settings, governor, workspaces, tls)
        uses = build_uses(settings, collector, tls)
        queues = QueueStore(make_engine(settings.masking_database_url))
    except LabError as error:
        sys.stderr.write(f"{error.render()}\n")
        return error.exit_code
    loops = (
        publish_loop(governor, settings.sign_every_s),
        reconcile_loop(governor, settings.reconcile_every_s),
        audit_loop(governor, collector),
        maintenance.loop(),
        spaces.loop(),
        queues_loop(governor, workspaces, queues),
        *([] if uses is None else [use_loop(governor, uses)]),
    )
    verifier = TokenVerifier(settings.issuer_url, realm_keys(settings.jwks_url, tls))
    serve(
        create_app(
            governor,
            verifier,
            loops,
            counter=counter,
            collector=collector,
            maintenance=maintenance,
            catalog=settings.trino_catalog,
            raw_door=build_door(settings, governor, tls),
            spaces=spaces,
            uses=uses,
        ),
        bind=settings.bind,
        port=settings.port,
        grace_s=_GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
