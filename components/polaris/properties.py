"""Apache Polaris' configuration as pure functions (https://polaris.apache.org/releases/1.7.0/configuration/).

``${NAME}`` is SmallRye Config's expansion of the environment, which alone holds secrets.
"""

from __future__ import annotations

import json

from components.java import properties
from components.quarkus import http_properties, oidc_properties
from contracts.identity import CATALOG_ROLE_PREFIX
from contracts.outputs import Warehouse
from contracts.workload import Layout

REALM = "lab"
"""Polaris' own realm, not Keycloak's."""

ROOT_CLIENT_ID = "root"


def application_properties(layout: Layout, *, realm_url: str, issuer_url: str, jwks_url: str) -> str:
    """The server's ``application.properties``."""
    return properties(
        {
            **http_properties(layout),
            **_log(),
            **persistence(),
            **_identity(layout, realm_url=realm_url, issuer_url=issuer_url, jwks_url=jwks_url),
            'polaris.features."SUPPORTED_CATALOG_STORAGE_TYPES"': '["S3"]',
            'polaris.features."DROP_WITH_PURGE_ENABLED"': "true",
        }
    )


def admin_properties() -> str:
    """The admin tool's: the same database and realm as the server's."""
    return properties(persistence())


def root_credentials(root_secret: str) -> str:
    """The admin tool's credentials file, so that no secret stands on a command line."""
    return json.dumps({REALM: {"client-id": ROOT_CLIENT_ID, "client-secret": root_secret}})


def storage_config(warehouse: Warehouse) -> str:
    """The catalog's ``storageConfigInfo`` (JSON). A store without AWS' KMS rejects the statement that
    Polaris otherwise adds to session policies; an own endpoint tells such a store."""
    document: dict[str, object] = {
        "storageType": "S3",
        "allowedLocations": [warehouse.location],
        "roleArn": warehouse.role_arn or "arn:aws:iam::000000000000:role/lakehouse",
        "region": warehouse.region,
        "pathStyleAccess": warehouse.path_style,
    }
    if warehouse.role_arn is None:
        document |= {
            "endpoint": warehouse.endpoint_url,
            "stsEndpoint": warehouse.sts_endpoint_url,
            "kmsUnavailable": True,
        }
    return json.dumps(document)


def catalog_properties(warehouse: Warehouse) -> str:
    """The catalog's own properties (JSON)."""
    return json.dumps(
        {"default-base-location": warehouse.location, "polaris.config.drop-with-purge.enabled": "true"}
    )


def persistence() -> dict[str, str]:
    """Shared by the server and the admin tool, which must agree."""
    return {
        "polaris.persistence.type": "relational-jdbc",
        "quarkus.datasource.jdbc.url": "${CATALOG_JDBC_URL}",
        "quarkus.datasource.username": "${CATALOG_DATABASE_ROLE}",
        "quarkus.datasource.password": "${CATALOG_DATABASE_PASSWORD}",
        "quarkus.datasource.jdbc.max-size": "12",
        # PostgreSQL may have been restarted since a pooled connection was used last.
        "quarkus.datasource.jdbc.validate-on-borrow": "true",
        "polaris.realm-context.realms": REALM,
        "polaris.realm-context.require-header": "false",
    }


def _log() -> dict[str, str]:
    """The supervisor keeps the log. Every request would stand in it; why one is refused still does."""
    return {
        "quarkus.log.file.enabled": "false",
        'quarkus.log.category."org.apache.polaris.service.admin".level': "WARN",
        'quarkus.log.category."org.apache.polaris.service.catalog".level': "WARN",
        'quarkus.log.category."org.apache.iceberg".level': "WARN",
    }


def _identity(layout: Layout, *, realm_url: str, issuer_url: str, jwks_url: str) -> dict[str, str]:
    """Keycloak's tokens for people and services, Polaris' own for its root principal.

    Roles come from a claim of their own with a prefix, so that a new group needs no restart.
    """
    mapper = "polaris.oidc.principal-roles-mapper"
    return {
        "polaris.authentication.type": "mixed",
        "polaris.authentication.token-broker.rsa-key-pair.public-key-file": layout.file("token-public.pem"),
        "polaris.authentication.token-broker.rsa-key-pair.private-key-file": layout.file("token-private.pem"),
        **oidc_properties(realm_url=realm_url, issuer_url=issuer_url, jwks_url=jwks_url),
        "polaris.oidc.principal-mapper.name-claim-path": "preferred_username",
        f"{mapper}.filter": f"^{CATALOG_ROLE_PREFIX}.*$",
        f"{mapper}.mappings[0].regex": f"^{CATALOG_ROLE_PREFIX}(.*)$",
        f"{mapper}.mappings[0].replacement": "PRINCIPAL_ROLE:$1",
    }
