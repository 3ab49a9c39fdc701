"""What the governor reads from its environment.

Database: ``GOVERNOR_DATABASE_URL`` (``postgresql://…``) or ``GOVERNOR_DATABASE_HOST``, ``_PORT``,
``_NAME``, ``_ROLE``, ``_PASSWORD``.

The database of the hash mask's key, which Trino reads: ``GOVERNOR_MASKING_DATABASE_URL``, or ``_HOST`` and
so on as above.

Service: ``GOVERNOR_BIND`` (127.0.0.1), ``GOVERNOR_PORT``.

Identity: ``GOVERNOR_ISSUER_URL`` (the issuer in tokens), ``GOVERNOR_JWKS_URL``, ``GOVERNOR_TOKEN_URL``,
``GOVERNOR_CLIENT_SECRET`` (client ``governor``), ``GOVERNOR_KEYCLOAK_ADMIN_URL`` (Keycloak's base URL as
reached from here), ``GOVERNOR_KEYCLOAK_REALM``, ``GOVERNOR_CA_FILE`` (optional, PEM: the authority of
HTTPS endpoints).

Catalog: ``GOVERNOR_CATALOG_KIND`` (``polaris`` or ``nessie``), ``GOVERNOR_CATALOG_URI`` (Iceberg REST),
``GOVERNOR_CATALOG_WAREHOUSE``.

With Nessie: ``GOVERNOR_CATALOG_CLOSED_NAMESPACES`` (optional, separated by commas: what no raw engine may
touch).

With Polaris: ``GOVERNOR_CATALOG_MANAGEMENT_URL`` (``…/api/management/v1``), ``GOVERNOR_CATALOG_ROOT_SECRET``
and ``GOVERNOR_CATALOG_ROOT_ID`` (``root``), ``GOVERNOR_CATALOG_TOKEN_URL`` (``<URI>/v1/oauth/tokens``),
``GOVERNOR_CATALOG_REALM`` (sent as ``Polaris-Realm``; empty: not sent), ``GOVERNOR_CATALOG_STORAGE``
(``storageConfigInfo``, JSON), ``GOVERNOR_CATALOG_PROPERTIES`` (the catalog's properties, JSON).

Publishing: ``GOVERNOR_S3_ENDPOINT_URL``, ``GOVERNOR_S3_REGION``, ``GOVERNOR_S3_ACCESS_KEY``,
``GOVERNOR_S3_SECRET_KEY`` (both empty: credentials of the instance or pod), ``GOVERNOR_POLICY_BUCKET``,
``GOVERNOR_SIGNING_KEY_FILE`` (private RSA key, PEM), ``GOVERNOR_POLICIES_DIR``,
``GOVERNOR_BUNDLE_MAX_AGE_S`` (3600), ``GOVERNOR_HASH_SALT``, ``GOVERNOR_TRINO_CATALOG`` (``lake``).

Counting rows for comparisons: ``GOVERNOR_TRINO_URL`` (empty where the lab has no Trino). Exceptions last
``GOVERNOR_EXCEPTION_MAX_S`` (28800) at most.

Audit: ``GOVERNOR_AUDIT_SPOOL_DIR``, ``GOVERNOR_AUDIT_SPOOL_MIB`` (256), ``GOVERNOR_AUDIT_RETENTION_DAYS``
(90), and what producers show as bearer token: ``GOVERNOR_AUDIT_TRINO_TOKEN``, ``GOVERNOR_AUDIT_OPA_TOKEN``.

Maintenance: ``GOVERNOR_MAINTAINER_SECRET`` (client ``maintainer``; empty where the lab has no Trino),
``GOVERNOR_MAINTAIN_EVERY_S`` (900; 0: not on schedule), ``GOVERNOR_MAINTAIN_MIN_RETENTION_S`` (604800).

Use: ``GOVERNOR_NOTES_USE`` (``false``; ``true``: an object in the bucket of bundles tells when people last
used the lab).

Rhythm: ``GOVERNOR_SIGN_EVERY_S`` (60), ``GOVERNOR_RECONCILE_EVERY_S`` (30).

Every secret may come from a file instead: ``GOVERNOR_X_FILE`` in place of ``GOVERNOR_X``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from contracts.errors import UsageError, unknown_name
from governance.environment import Environment

_PREFIX = "GOVERNOR_"
CATALOG_KINDS = ("nessie", "polaris")


@dataclass(frozen=True, kw_only=True)
class PolarisSettings:
    """How Polaris is administered."""

    management_url: str
    token_url: str
    root_id: str
    root_secret: str = field(repr=False)
    realm: str
    storage: Mapping[str, Any]
    properties: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class GovernorSettings:
    """The governor's settings; see the module."""

    database_url: str = field(repr=False)
    masking_database_url: str = field(repr=False)
    bind: str
    port: int
    issuer_url: str
    jwks_url: str
    token_url: str
    client_secret: str = field(repr=False)
    keycloak_admin_url: str
    keycloak_realm: str
    ca_file: Path | None
    catalog_kind: str
    catalog_uri: str
    catalog_warehouse: str
    closed_namespaces: frozenset[str]
    polaris: PolarisSettings | None
    s3_endpoint_url: str
    s3_region: str
    s3_access_key: str
    s3_secret_key: str = field(repr=False)
    policy_bucket: str
    signing_key_pem: str = field(repr=False)
    policies_dir: Path
    bundle_max_age_s: int
    hash_salt: str = field(repr=False)
    trino_catalog: str
    trino_url: str | None
    exception_max_s: int
    audit_spool_dir: Path
    audit_spool_mib: int
    audit_retention_days: int
    audit_trino_token: str = field(repr=False)
    audit_opa_token: str = field(repr=False)
    maintainer_secret: str = field(repr=False)
    maintain_every_s: int
    maintain_min_retention_s: int
    notes_use: bool
    sign_every_s: float
    reconcile_every_s: float

    @property
    def keycloak_realm_url(self) -> str:
        """The realm in Keycloak's admin API."""
        return f"{self.keycloak_admin_url.rstrip('/')}/admin/realms/{quote(self.keycloak_realm, safe='')}"


def read_settings(environ: Mapping[str, str]) -> GovernorSettings:
    """The settings of an environment.

    Raises:
        UsageError: a variable is missing or not valid; names it and what is permitted.
    """
    env = Environment(environ, _PREFIX, see=__name__)
    kind = env.text("CATALOG_KIND")
    if kind not in CATALOG_KINDS:
        raise unknown_name("catalog", kind, CATALOG_KINDS)
    uri = env.url("CATALOG_URI")
    max_age_s = env.number("BUNDLE_MAX_AGE_S", 3600, 60)
    sign_every_s = env.number("SIGN_EVERY_S", 60, 1)
    if sign_every_s * 2 > max_age_s:
        raise UsageError(
            "GOVERNOR_SIGN_EVERY_S leaves bundles to expire",
            value=sign_every_s,
            permitted=f"at most half of GOVERNOR_BUNDLE_MAX_AGE_S ({max_age_s})",
        )
    ca_file = env.text("CA_FILE", "")
    return GovernorSettings(
        database_url=env.database_url(),
        masking_database_url=env.database_url("MASKING_DATABASE"),
        bind=env.text("BIND", "127.0.0.1"),
        port=env.number("PORT", None, 1),
        issuer_url=env.url("ISSUER_URL"),
        jwks_url=env.url("JWKS_URL"),
        token_url=env.url("TOKEN_URL"),
        client_secret=env.text("CLIENT_SECRET"),
        keycloak_admin_url=env.url("KEYCLOAK_ADMIN_URL"),
        keycloak_realm=env.text("KEYCLOAK_REALM"),
        ca_file=Path(ca_file) if ca_file else None,
        catalog_kind=kind,
        catalog_uri=uri,
        catalog_warehouse=env.text("CATALOG_WAREHOUSE"),
        closed_namespaces=_closed_namespaces(environ),
        polaris=_polaris(env, uri) if kind == "polaris" else None,
        s3_endpoint_url=env.url("S3_ENDPOINT_URL"),
        s3_region=env.text("S3_REGION"),
        s3_access_key=env.text("S3_ACCESS_KEY", ""),
        s3_secret_key=env.text("S3_SECRET_KEY", ""),
        policy_bucket=env.text("POLICY_BUCKET"),
        signing_key_pem=env.file("SIGNING_KEY_FILE"),
        policies_dir=Path(env.text("POLICIES_DIR")),
        bundle_max_age_s=max_age_s,
        hash_salt=env.text("HASH_SALT"),
        trino_catalog=env.text("TRINO_CATALOG", "lake"),
        trino_url=env.url("TRINO_URL") if env.text("TRINO_URL", "") else None,
        exception_max_s=env.number("EXCEPTION_MAX_S", 28800, 60),
        audit_spool_dir=Path(env.text("AUDIT_SPOOL_DIR")),
        audit_spool_mib=env.number("AUDIT_SPOOL_MIB", 256, 1),
        audit_retention_days=env.number("AUDIT_RETENTION_DAYS", 90, 2),
        audit_trino_token=env.text("AUDIT_TRINO_TOKEN"),
        audit_opa_token=env.text("AUDIT_OPA_TOKEN"),
        maintainer_secret=env.text("MAINTAINER_SECRET", ""),
        maintain_every_s=env.number("MAINTAIN_EVERY_S", 900, 0),
        maintain_min_retention_s=env.number("MAINTAIN_MIN_RETENTION_S", 7 * 86400, 3600),
        notes_use=env.flag("NOTES_USE"),
        sign_every_s=sign_every_s,
        reconcile_every_s=env.number("RECONCILE_EVERY_S", 30, 1),
    )


def _polaris(env: Environment, uri: str) -> PolarisSettings:
    return PolarisSettings(
        management_url=env.url("CATALOG_MANAGEMENT_URL"),
        token_url=env.url("CATALOG_TOKEN_URL", f"{uri}/v1/oauth/tokens"),
        root_id=env.text("CATALOG_ROOT_ID", "root"),
        root_secret=env.text("CATALOG_ROOT_SECRET"),
        realm=env.text("CATALOG_REALM", ""),
        storage=env.json("CATALOG_STORAGE", _object),
        properties={key: str(value) for key, value in env.json("CATALOG_PROPERTIES", _object).items()},
    )


def _closed_namespaces(environ: Mapping[str, str]) -> frozenset[str]:
    text = environ.get(f"{_PREFIX}CATALOG_CLOSED_NAMESPACES", "")
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
