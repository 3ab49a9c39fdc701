"""Nessie's configuration as pure functions (https://projectnessie.org/nessie-latest/configuration/).

Secrets reach it by environment; ``${NAME}`` is SmallRye Config's expansion.
"""

from __future__ import annotations

from collections.abc import Sequence

from components.java import properties
from components.quarkus import http_properties, oidc_properties
from contracts.identity import CATALOG_SERVICE_ROLE, CATALOG_WRITER_ROLE
from contracts.workload import Layout


def application_properties(
    layout: Layout,
    *,
    warehouse: str,
    realm_url: str,
    issuer_url: str,
    jwks_url: str,
    closed_namespaces: Sequence[str],
) -> str:
    """``application.properties``."""
    return properties(
        {
            **http_properties(layout),
            "quarkus.log.level": "INFO",
            **_store(),
            **_identity(realm_url=realm_url, issuer_url=issuer_url, jwks_url=jwks_url),
            **authorization_rules(closed_namespaces),
            **service_paths(),
            **_warehouse(warehouse),
        }
    )


def _store() -> dict[str, str]:
    return {
        "nessie.version.store.type": "JDBC2",
        "nessie.version.store.persist.jdbc.datasource": "postgresql",
        "quarkus.datasource.postgresql.jdbc.url": "${CATALOG_JDBC_URL}",
        "quarkus.datasource.postgresql.username": "${CATALOG_DATABASE_ROLE}",
        "quarkus.datasource.postgresql.password": "${CATALOG_DATABASE_PASSWORD}",
        "quarkus.datasource.postgresql.jdbc.min-size": "1",
        "quarkus.datasource.postgresql.jdbc.initial-size": "1",
        "quarkus.datasource.postgresql.jdbc.max-size": "8",
        # PostgreSQL may have been restarted since a pooled connection was used last.
        "quarkus.datasource.postgresql.jdbc.validate-on-borrow": "true",
    }


def _identity(*, realm_url: str, issuer_url: str, jwks_url: str) -> dict[str, str]:
    return {
        "nessie.server.authentication.enabled": "true",
        **oidc_properties(realm_url=realm_url, issuer_url=issuer_url, jwks_url=jwks_url),
        "quarkus.oidc.token.principal-claim": "preferred_username",
    }


RAW_OPERATIONS = (
    "VIEW_REFERENCE",
    "READ_ENTRIES",
    "READ_CONTENT_KEY",
    "READ_ENTITY_VALUE",
    "COMMIT_CHANGE_AGAINST_REFERENCE",
    "CREATE_ENTITY",
    "UPDATE_ENTITY",
    "DELETE_ENTITY",
)
"""What a raw engine does; branches, history and configuration are not among it."""


def authorization_rules(closed_namespaces: Sequence[str]) -> dict[str, str]:
    """CEL: everything is denied but to the two roles (https://projectnessie.org/nessie-latest/authorization/).

    The service role belongs to engines that enforce the rules themselves. The governor gives the writer
    role to groups that have write rights and no rule, since Nessie has no grants on tables; it never
    touches ``closed_namespaces``.
    """
    operations = ", ".join(f"'{name}'" for name in RAW_OPERATIONS)
    conditions = [
        f"'{CATALOG_WRITER_ROLE}' in roles",
        f"op in [{operations}]",
        *(f"path != '{name}' && !path.startsWith('{name}.')" for name in closed_namespaces),
    ]
    return {
        "nessie.server.authorization.enabled": "true",
        "nessie.server.authorization.type": "CEL",
        "nessie.server.authorization.rules.service": f"'{CATALOG_SERVICE_ROLE}' in roles",
        "nessie.server.authorization.rules.writer": " && ".join(conditions),
    }


def service_paths() -> dict[str, str]:
    """Only the service role may use Nessie's own API, which points any name at any files, and adopt a
    table by its files: either would give another namespace's data away
    (https://quarkus.io/guides/security-authorize-web-endpoints-reference)."""
    permission, policy = "quarkus.http.auth.permission", "quarkus.http.auth.policy"
    register = ("/iceberg/v1/*/namespaces/*/register", "/iceberg/v1/namespaces/*/register")
    return {
        f"{policy}.service.roles-allowed": CATALOG_SERVICE_ROLE,
        f"{permission}.native.paths": "/api/*",
        f"{permission}.native.policy": "service",
        f"{permission}.register.paths": ",".join(register),
        f"{permission}.register.policy": "service",
    }


def _warehouse(warehouse: str) -> dict[str, str]:
    s3 = "nessie.catalog.service.s3.default-options"
    return {
        "nessie.catalog.default-warehouse": warehouse,
        f"nessie.catalog.warehouses.{warehouse}.location": "${CATALOG_LOCATION}",
        f"{s3}.endpoint": "${S3_ENDPOINT_URL}",
        f"{s3}.region": "${S3_REGION}",
        f"{s3}.path-style-access": "${S3_PATH_STYLE}",
        f"{s3}.auth-type": "STATIC",
        f"{s3}.access-key": "urn:nessie-secret:quarkus:lab.store",
        "lab.store.name": "${S3_ACCESS_KEY}",
        "lab.store.secret": "${S3_SECRET_KEY}",
        f"{s3}.request-signing-enabled": "false",
        f"{s3}.client-iam.enabled": "true",
        f"{s3}.client-iam.assume-role": "arn:aws:iam::000000000000:role/lakehouse",
        f"{s3}.sts-endpoint": "${S3_STS_ENDPOINT_URL}",
    }
