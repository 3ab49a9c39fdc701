"""What the catalogs are told alike, since both are Quarkus applications (https://quarkus.io/guides/all-config)."""

from __future__ import annotations

from contracts.identity import CATALOG_ROLES_CLAIM
from contracts.workload import Layout


def http_properties(layout: Layout) -> dict[str, str]:
    """Where the application and its management interface listen."""
    return {
        "quarkus.http.host": layout.bind_address,
        "quarkus.http.port": str(layout.ports["http"]),
        "quarkus.management.host": layout.bind_address,
        "quarkus.management.port": str(layout.ports["management"]),
        "quarkus.http.access-log.enabled": "false",
        "quarkus.otel.sdk.disabled": "true",
    }


def oidc_properties(*, realm_url: str, issuer_url: str, jwks_url: str) -> dict[str, str]:
    """Tokens of the realm that were made for the audience ``catalog``, and where they hold their roles.
    Keys are fetched at the first request, so that a catalog starts beside Keycloak."""
    return {
        "quarkus.oidc.tenant-enabled": "true",
        "quarkus.oidc.auth-server-url": realm_url,
        "quarkus.oidc.discovery-enabled": "false",
        "quarkus.oidc.jwks-path": jwks_url,
        "quarkus.oidc.jwks.resolve-early": "false",
        "quarkus.oidc.client-id": "catalog",
        "quarkus.oidc.application-type": "service",
        "quarkus.oidc.token.issuer": issuer_url,
        "quarkus.oidc.token.audience": "catalog",
        "quarkus.oidc.roles.role-claim-path": CATALOG_ROLES_CLAIM,
    }
