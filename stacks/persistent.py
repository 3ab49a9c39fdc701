"""The persistent stack: what is kept. Its exports are the contract that lab stacks read."""

from __future__ import annotations

from typing import Any

import pulumi

from components.secrets import LabSecrets, Rotations
from contracts.errors import LabError
from contracts.identity import lab_realm
from contracts.outputs import to_exports
from contracts.settings import Settings
from placements.local.foundation import DATABASES, STORE_USERS, FoundationArgs, LocalFoundation
from stacks.placement import local_placement


def persistent(settings: Settings) -> None:
    """Makes the secrets, the foundation and this lab's slot in it, and exports the contract."""
    if settings.placement != "local":
        raise LabError(
            f"placement {settings.placement!r} is not part of this version",
            value=settings.placement,
            permitted="local",
            next_command="pulumi config set placement local",
        )
    realm = lab_realm(settings.name)
    secrets = LabSecrets(
        settings.name,
        realm=realm,
        server_names=("127.0.0.1", "localhost"),
        databases=DATABASES,
        store_users=STORE_USERS,
        rotations=Rotations(people=settings.values["peopleRotation"], keys=settings.values["keysRotation"]),
    )
    foundation = LocalFoundation(
        "foundation",
        FoundationArgs(
            lab=settings.name,
            warehouse_prefix=settings.warehouse_prefix,
            postgres_superuser_password=secrets.database_admin_password,
            store_root_password=secrets.store_root_password,
            database_passwords=secrets.database_passwords,
            store_secret_keys=secrets.store_user_secrets,
        ),
        placement=local_placement(settings),
    )
    slot = {
        **{f"{name}_database": _exported(value) for name, value in foundation.databases.items()},
        "warehouse": _exported(foundation.warehouse),
        **{f"{name}_store_user": _exported(value) for name, value in foundation.store_users.items()},
        "pki": {
            "ca_certificate": secrets.pki.ca_certificate,
            "server_certificate": secrets.pki.server_certificate,
            "server_key": secrets.pki.server_key,
        },
        "secrets": dict(secrets.exports),
    }
    pulumi.export("placement", settings.placement)
    pulumi.export("catalog_kind", settings.catalog)
    pulumi.export("slots", {settings.name: slot})


def _exported(value: pulumi.Output[Any]) -> pulumi.Output[Any]:
    return value.apply(to_exports)
