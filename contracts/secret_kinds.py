"""What secrets a lab has, without one of them: what each is for, who holds it, and what makes it anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Rotation = Literal["people", "keys"]
"""What ``lab rotate`` takes."""


@dataclass(frozen=True, kw_only=True)
class SecretKind:
    """Secrets of one purpose.

    ``names`` are those of the values that the persistent stack makes; one that ends with ``-`` stands for all
    that begin so. ``holders`` are the services that are given one of them, and that a rotation starts again.
    ``stays`` says why nothing makes them anew; it is empty exactly where ``rotation`` names what does.
    ``catalog`` is the one catalog that has them, None for any.
    """

    title: str
    names: tuple[str, ...]
    holders: tuple[str, ...]
    rotation: Rotation | None = None
    stays: str = ""
    catalog: str | None = None


SECRET_KINDS: tuple[SecretKind, ...] = (
    SecretKind(
        title="Passwords of the sample users",
        names=("persona-",),
        holders=(),
        rotation="people",
    ),
    SecretKind(
        title="Secrets with which services sign in at Keycloak",
        names=("client-",),
        holders=("governor", "trino", "spark", "control-plane", "agent"),
        rotation="keys",
    ),
    SecretKind(
        title="Passwords of databases",
        names=("database-",),
        holders=("keycloak", "catalog", "governor", "trino", "control-plane", "agent"),
        rotation="keys",
    ),
    SecretKind(
        title="Keys of the object store's users",
        names=("store-catalog", "store-governor", "store-opa"),
        holders=("catalog", "governor", "opa"),
        rotation="keys",
    ),
    SecretKind(
        title="Tokens that services show each other",
        names=("opa", "audit-trino", "audit-opa", "trino-internal"),
        holders=("opa", "governor", "trino"),
        rotation="keys",
    ),
    SecretKind(
        title="Key that access data is signed with",
        names=("bundles",),
        holders=("governor", "opa"),
        rotation="keys",
    ),
    SecretKind(
        title="Key that Polaris signs its own tokens with",
        names=("catalog-tokens",),
        holders=("catalog",),
        rotation="keys",
        catalog="polaris",
    ),
    SecretKind(
        title="Key that connections, sessions and permissions of jobs are encrypted with",
        names=("encryption",),
        holders=("control-plane",),
        stays="they could not be read any more",
    ),
    SecretKind(
        title="Key of pseudonyms",
        names=("hash-salt",),
        holders=("governor",),
        stays="pseudonyms that people kept would name nobody any more",
    ),
    SecretKind(
        title="First administrators of PostgreSQL, the object store and Keycloak",
        names=("postgres", "store-root", "keycloak-admin"),
        holders=("keycloak",),
        stays="their servers were begun with them, and deployments alone use them",
    ),
    SecretKind(
        title="First principal of Polaris",
        names=("catalog-root",),
        holders=("catalog", "governor"),
        stays="Polaris was begun with it",
        catalog="polaris",
    ),
    SecretKind(
        title="Certificate authority and the services' certificates",
        names=("pki",),
        holders=(),
        stays="browsers and other programs may have been told to trust it",
    ),
)
