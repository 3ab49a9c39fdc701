"""Every secret that kept data remembers, random per lab, generated in the persistent stack (DESIGN §4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components.keys import LabPki, RsaKeyPair
from contracts.identity import RealmModel

ROTATION = "1"
"""Change to make new key pairs; a change of this is a changelog entry."""


@dataclass(frozen=True, kw_only=True)
class Rotations:
    """How often a lab's secrets were made anew. ``people``: passwords of sample users. ``keys``: what
    services show each other, the databases and the object store, and the keys that they sign with.

    What data is encrypted or hashed with, the certificates, and the three identities that the foundation and
    Keycloak were once begun with (PostgreSQL's superuser, the store's root, Keycloak's first client) stay.
    """

    people: int = 0
    keys: int = 0


NEVER = Rotations()


class LabSecrets(pulumi.ComponentResource):
    """The secrets of one lab's slot, and of the foundation that carries it.

    Attributes hold secret outputs; ``as_exports`` has the shape of ``contracts.outputs.Secrets``.
    """

    def __init__(
        self,
        name: str,
        *,
        realm: RealmModel,
        server_names: Sequence[str],
        databases: Sequence[str],
        store_users: Sequence[str],
        rotations: Rotations = NEVER,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("lab:component:secrets", name, None, opts)
        self._prefix = name
        keys, people = rotations.keys, rotations.people
        self.database_admin_password = self._password("postgres")
        self.store_root_password = self._password("store-root")
        self.database_passwords = {d: self._password(f"database-{d}", rotation=keys) for d in databases}
        self.store_user_secrets = {u: self._password(f"store-{u}", rotation=keys) for u in store_users}
        child = pulumi.ResourceOptions(parent=self)
        pairs = f"{ROTATION}.{keys}" if keys else ROTATION
        self._tokens = RsaKeyPair(f"{name}-catalog-tokens", rotation=pairs, opts=child)
        self._bundles = RsaKeyPair(f"{name}-bundles", rotation=pairs, opts=child)
        self.pki = LabPki(
            f"{name}-pki",
            common_name=f"Lakehouse Lab {realm.realm}",
            names=list(server_names),
            rotation=ROTATION,
            opts=child,
        )
        self._clients = {
            c.client_id: self._password(f"client-{c.client_id}", rotation=keys)
            for c in realm.clients
            if not c.public and not c.bearer_only
        }
        self._personas = {
            p.username: self._password(f"persona-{p.username}", 20, rotation=people) for p in realm.personas
        }
        self.exports: Mapping[str, pulumi.Input[object]] = {
            "keycloak_admin_client_secret": self._password("keycloak-admin"),
            "client_secrets": self._clients,
            "persona_passwords": self._personas,
            "catalog_root_secret": self._password("catalog-root"),
            "catalog_token_private_key": self._tokens.private_key,
            "catalog_token_public_key": self._tokens.public_key,
            "bundle_signing_private_key": self._bundles.private_key,
            "bundle_signing_public_key": self._bundles.public_key,
            "encryption_key": self._password("encryption", 44),
            "opa_token": self._password("opa", rotation=keys),
            "audit_trino_token": self._password("audit-trino", rotation=keys),
            "audit_opa_token": self._password("audit-opa", rotation=keys),
            "trino_internal_secret": self._password("trino-internal", 64, rotation=keys),
            "hash_salt": self._password("hash-salt"),
        }
        self.register_outputs({})

    def _password(self, name: str, length: int = 32, *, rotation: int = 0) -> pulumi.Output[str]:
        made = random.RandomPassword(
            f"{self._prefix}-{name}",
            length=length,
            special=False,
            # One that was never rotated has no keeper, as those of labs of before.
            keepers={"rotation": str(rotation)} if rotation else None,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return made.result
