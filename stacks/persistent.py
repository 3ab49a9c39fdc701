"""The persistent stack: what is kept. Its exports are the contract that lab stacks read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pulumi

from components.secrets import LabSecrets, Rotations
from contracts.identity import lab_realm
from contracts.outputs import to_exports
from contracts.settings import Settings
from contracts.slots import data_namespace, domain_in, labs_of, namespace_in, refuse_shared_machine
from placements.local.foundation import DATABASES, STORE_USERS, FoundationArgs, LocalFoundation
from stacks.placement import local_placement

if TYPE_CHECKING:
    from placements.aws.foundation import AwsSlot
    from placements.kubernetes.external import ExternalFoundation
    from placements.kubernetes.inside import InsideFoundation

LOOPBACK_NAMES = ("127.0.0.1", "localhost")
"""Names in the server certificate: the operator's machine reaches every placement by its loopback."""


def persistent(settings: Settings) -> None:
    """Makes the foundation, and secrets and a slot in it for each lab, and exports the contract."""
    if settings.placement == "kubernetes":
        _on_a_cluster(settings)
    elif settings.placement == "aws":
        _in_an_account(settings)
    else:
        _on_this_machine(settings)
    pulumi.export("lab", settings.name)
    pulumi.export("placement", settings.placement)
    pulumi.export("catalog_kind", settings.catalog)


def _on_this_machine(settings: Settings) -> None:
    refuse_shared_machine(settings.name, settings.values["moreLabs"])
    secrets = _secrets(settings, LOOPBACK_NAMES, STORE_USERS, lab=settings.name)
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
    pulumi.export("slots", {settings.name: _slot(foundation, secrets)})


def _on_a_cluster(settings: Settings) -> None:
    """For each lab a namespace, and a slot in a PostgreSQL and an S3 store: the user's own, which are checked
    before anything is made, or ones that are kept in the same cluster."""
    # Loaded here: a lab on this machine has no use for it.
    from placements.kubernetes.apart import require_own_namespace
    from placements.kubernetes.cluster import DATA_RIGHTS, PERSISTENT_RIGHTS, check_cluster, cluster_of
    from placements.kubernetes.external import ExternalFoundation, check_given
    from placements.kubernetes.foundation import Namespace
    from placements.kubernetes.inside import BACKUP, InsideFoundation, check_inside, is_inside
    from placements.kubernetes.naming import Scope
    from placements.kubernetes.resources import provider

    labs = labs_of(settings)
    cluster, expected = cluster_of(settings), settings.values["clusterId"]
    inside = is_inside(settings.values)
    if inside:
        check_inside(settings, cluster.namespace)
        beside = replace(cluster, namespace=data_namespace(cluster.namespace))
        check_cluster(beside, expected_id=expected, rights=DATA_RIGHTS)
        require_own_namespace(beside, lab=settings.name, stack="persistent")
    else:
        check_given(settings)
    for lab in labs:
        own = replace(cluster, namespace=namespace_in(settings, lab))
        cluster_id = check_cluster(own, expected_id=expected, rights=PERSISTENT_RIGHTS)
        require_own_namespace(own, lab=lab, stack="persistent")
    objects = provider(cluster, cluster_id=cluster_id)
    slots: dict[str, Any] = {}
    for lab in labs:
        # What the owner has is called as it was before it shared anything.
        prefix = "" if lab == settings.name else f"{lab}-"
        scope = Scope(lab=lab, namespace=namespace_in(settings, lab), stack="persistent")
        domain = domain_in(settings.name, lab, settings.values["ingressDomain"])
        published = (domain, f"*.{domain}") if domain else ()
        names = (*LOOPBACK_NAMES, "trino", scope.host("trino"), *published)
        if inside:
            names = (*names, replace(scope, namespace=data_namespace(scope.namespace)).host("postgres"))
        secrets = _secrets(
            settings,
            names,
            (*STORE_USERS, BACKUP) if inside else (),
            lab=lab,
            databases=(*DATABASES, BACKUP) if inside else DATABASES,
        )
        foundation = (
            InsideFoundation(
                "foundation",
                settings,
                cluster=cluster,
                provider=objects,
                admin_password=secrets.database_admin_password,
                root_password=secrets.store_root_password,
                database_passwords=secrets.database_passwords,
                store_keys=secrets.store_user_secrets,
                certificate=secrets.pki.server_certificate,
                key=secrets.pki.server_key,
            )
            if inside
            else ExternalFoundation(
                f"{prefix}foundation", settings, lab=lab, database_passwords=secrets.database_passwords
            )
        )
        if isinstance(foundation, InsideFoundation):
            pulumi.export("backups", pulumi.Output.secret(_exported(foundation.backups)))
        Namespace(
            f"{prefix}namespace",
            provider=objects,
            scope=scope,
            memory_mib=settings.values["quotaMemoryMib"],
            cpu_millicores=settings.values["quotaCpuMillicores"],
            prefix=prefix,
            opts=pulumi.ResourceOptions(depends_on=[foundation.checked]),
        )
        slots[lab] = _slot(foundation, secrets)
    pulumi.export("slots", slots)
    pulumi.export("cluster_id", cluster_id)
    pulumi.export("ingress_domain", settings.values["ingressDomain"])


def _in_an_account(settings: Settings) -> None:
    """Network, Aurora and warehouse of an account, and a slot for each lab that shares them."""
    # Loaded here: a lab on this machine has no use for it.
    from placements.aws.foundation import AwsFoundation, AwsSlot

    labs = labs_of(settings)
    foundation = AwsFoundation("foundation", settings)
    slots: dict[str, Any] = {}
    for lab in labs:
        secrets = _secrets(
            settings,
            (*LOOPBACK_NAMES, "trino", f"trino.{namespace_in(settings, lab)}.svc"),
            (),
            lab=lab,
            # Without its keys what is kept could not be read any more.
            protect=settings.values["awsProtect"] == "true",
        )
        slot = AwsSlot(lab, foundation, database_passwords=secrets.database_passwords)
        slots[lab] = _slot(slot, secrets)
    pulumi.export("slots", slots)
    pulumi.export("network", _exported(foundation.network))
    pulumi.export("ci_role_arns", dict(foundation.ci_role_arns))


def _secrets(
    settings: Settings,
    server_names: Sequence[str],
    store_users: Sequence[str],
    *,
    lab: str,
    protect: bool | None = None,
    databases: Sequence[str] = DATABASES,
) -> LabSecrets:
    return LabSecrets(
        lab,
        realm=lab_realm(lab),
        server_names=server_names,
        databases=databases,
        store_users=store_users,
        rotations=Rotations(people=settings.values["peopleRotation"], keys=settings.values["keysRotation"]),
        opts=pulumi.ResourceOptions(protect=protect),
    )


def _slot(
    foundation: LocalFoundation | ExternalFoundation | InsideFoundation | AwsSlot, secrets: LabSecrets
) -> dict[str, Any]:
    return {
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


def _exported(value: pulumi.Output[Any]) -> pulumi.Output[Any]:
    return value.apply(to_exports)
