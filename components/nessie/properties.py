"""Nessie's configuration as pure functions (https://projectnessie.org/nessie-latest/configuration/).

Secrets reach it by environment; ``${NAME}`` is SmallRye Config's expansion.
"""

from __future__ import annotations

from components.java import properties
from components.quarkus import http_properties, oidc_properties
from contracts.identity import CATALOG_SERVICE_ROLE
from contracts.workload import Layout


def application_properties(
    layout: Layout,
    *,
    warehouse: str,
    realm_url: str,
    issuer_url: str,
    jwks_url: str,
) -> str:
    """``application.properties``."""
    return properties(
        {
            **http_properties(layout),
            "quarkus.log.level": "INFO",
            **_store(),
            **_identity(realm_url=realm_url, issuer_url=issuer_url, jwks_url=jwks_url),
            **authorization_rules(),
            **services_only(),
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


def authorization_rules() -> dict[str, str]:
    """CEL: everything is denied but to the services, which enforce the rules themselves
    (https://projectnessie.org/nessie-latest/authorization/).

    Nessie has no grants on tables, and lets who may commit choose by a table's properties which files the
    credentials open that come with it. So raw engines ask the governor's door (``governance.rawcatalog``),
    which asks here as a service.
    """
    return {
        "nessie.server.authorization.enabled": "true",
        "nessie.server.authorization.type": "CEL",
        "nessie.server.authorization.rules.service": f"'{CATALOG_SERVICE_ROLE}' in roles",
    }


def services_only() -> dict[str, str]:
    """No path without the services' role: some of Nessie's own interface asks no rule
    (https://quarkus.io/guides/security-authorize-web-endpoints-reference)."""
    permission, policy = "quarkus.http.auth.permission", "quarkus.http.auth.policy"
    return {
        f"{policy}.service.roles-allowed": CATALOG_SERVICE_ROLE,
        f"{permission}.service.paths": "/*",
        f"{permission}.service.policy": "service",
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
