"""The lab stack: services on a placement, and what they put into kept state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from components.keycloak.realm import LabRealm
from components.registry import CATALOGS, WORKER_PLACEMENTS, ComponentInfo, selected
from components.service import TRINO_CATALOG, LabContext, Service
from contracts.errors import LabError, UsageError
from contracts.identity import lab_realm
from contracts.outputs import LabOutputs, Slot, from_exports, to_exports
from contracts.settings import Settings
from contracts.slots import domain_in, slot_command
from contracts.workload import Placement
from seed.access import Access
from seed.resource import Tables
from stacks.placement import aws_placement, kubernetes_placement, local_placement


def lab(settings: Settings) -> None:
    """Reads the persistent stack's contract, deploys the selected components, seeds, exports."""
    catalog_kind = settings.catalog
    chosen = selected(settings.components, catalog_kind)
    _refuse_misplaced(chosen, settings)
    persistent = pulumi.StackReference(settings.persistent_stack)
    slot = pulumi.Output.all(
        slots=persistent.get_output("slots"),
        pinned=persistent.get_output("catalog_kind"),
        owner=persistent.get_output("lab"),
    ).apply(lambda outputs: _slot(settings, **outputs))
    context = LabContext(
        settings=settings,
        placement=_placement(settings, slot, persistent, chosen),
        slot=slot,
        realm=lab_realm(settings.name),
        catalog_kind=catalog_kind,
    )

    services: dict[str, Service] = {}
    for info in chosen:
        services[info.name] = info.deploy(context)

    realm = LabRealm(context, service=services["keycloak"].deployed.resource)
    catalog = next(services[kind] for kind in CATALOGS if kind in services)
    connection = seed_connection(context)
    access = Access(
        "access",
        connection=connection,
        opts=pulumi.ResourceOptions(
            depends_on=[realm, services["governor"], catalog],
            deleted_with=services["governor"].deployed.resource,
        ),
    )
    if settings.sample_data:
        Tables(
            "tables",
            connection=connection,
            scale_factor=settings.scale_factor,
            opts=pulumi.ResourceOptions(depends_on=[access], deleted_with=catalog.deployed.resource),
        )

    outputs = LabOutputs(
        lab=settings.name,
        catalog_kind=catalog_kind,
        catalog_uri=context.operator_catalog_uri,
        raw_catalog_uri=context.operator_raw_catalog_uri,
        catalog_warehouse=TRINO_CATALOG,
        issuer_url=context.issuer_url,
        realm_url=context.operator_realm_url,
        governor_url=context.placement.operator_url("governor", "http"),
        opa_url=context.placement.operator_url("opa", "http"),
        trino_url=context.trino_url if "trino" in services else None,
        components=tuple(services),
        component_urls={name: service.address for name, service in services.items()},
        public_urls={
            name: url
            for name, service in services.items()
            if (url := service.deployed.public_url) is not None
        },
        ca_certificate="",
    )
    for name, value in to_exports(outputs).items():
        pulumi.export(name, value)
    # Where the store is, is no secret; the slot it comes from is secret as a whole.
    pulumi.export(
        "store_url", pulumi.Output.unsecret(slot.apply(lambda s: s.warehouse.operator_endpoint_url))
    )
    # A certificate is public; the slot it comes from is secret as a whole.
    pulumi.export("ca_certificate", pulumi.Output.unsecret(slot.apply(lambda s: s.pki.ca_certificate)))


def _placement(
    settings: Settings,
    slot: pulumi.Output[Slot],
    persistent: pulumi.StackReference,
    chosen: Sequence[ComponentInfo],
) -> Placement:
    """Where the settings say, with what the persistent stack tells of it."""
    if settings.placement == "kubernetes":
        cluster_id = persistent.get_output("cluster_id")
        owners, owner = (persistent.get_output(name) for name in ("ingress_domain", "lab"))
        domain = pulumi.Output.all(owners, owner).apply(
            lambda known: domain_in(known[1] or settings.name, settings.name, known[0] or "")
        )
        return kubernetes_placement(settings, slot, cluster_id, domain, chosen)
    if settings.placement == "aws":
        return aws_placement(settings, slot, persistent.get_output("network"), chosen)
    return local_placement(settings)


def seed_connection(context: LabContext) -> dict[str, pulumi.Input[Any]]:
    """How the seeds, which run on the operator's machine, reach catalog and governor."""
    return {
        "catalog_uri": context.operator_catalog_uri,
        "warehouse": TRINO_CATALOG,
        "token_url": context.operator_token_url,
        "client_id": "seeder",
        "client_secret": context.client_secret("seeder"),
        "governor_url": context.placement.operator_url("governor", "http"),
        "properties": pulumi.Output.unsecret(context.slot.apply(_file_properties)),
    }


def _file_properties(slot: Slot) -> dict[str, str]:
    """What pyiceberg is told of a store that the operator's machine reaches elsewhere than services do."""
    endpoint = slot.warehouse.operator_endpoint_url
    return {"s3.endpoint": endpoint} if endpoint else {}


def _refuse_misplaced(chosen: Sequence[ComponentInfo], settings: Settings) -> None:
    """Raises UsageError when a component, or its workers, can't run on the placement."""
    placement = settings.placement
    for info in chosen:
        workers = settings.values[info.workers_setting] if info.workers_setting else 0
        if workers and placement not in WORKER_PLACEMENTS:
            raise UsageError(
                f"{info.name} has no workers of its own on placement {placement!r}",
                value=f"{info.workers_setting}={workers}",
                permitted="0, or one of the placements " + ", ".join(WORKER_PLACEMENTS),
                next_command=f"pulumi config set {info.workers_setting} 0",
            )
        if placement not in info.placements:
            raise UsageError(
                f"{info.name} does not run on placement {placement!r}",
                value=placement,
                permitted=", ".join(info.placements),
                next_command=f"lab up --without {info.name}",
            )


def _slot(settings: Settings, slots: object, pinned: object, owner: object) -> Slot:
    """This lab's slot, once the catalog that the persistent stack pins is the one this stack names."""
    if not isinstance(slots, dict) or settings.name not in slots:
        raise LabError(
            f"the persistent stack has no slot for lab {settings.name!r}",
            value=settings.name,
            permitted=", ".join(sorted(slots)) if isinstance(slots, dict) else None,
            next_command="lab bootstrap"
            if owner in (None, settings.name)
            else slot_command(str(owner), slots if isinstance(slots, dict) else (), settings.name),
        )
    if pinned != settings.catalog:
        raise LabError(
            f"the persistent stack pins catalog {pinned!r}; its tables are not in {settings.catalog!r}",
            value=settings.catalog,
            permitted=str(pinned),
            next_command=f"pulumi config set catalog {pinned} -s {pulumi.get_stack()}",
        )
    return from_exports(Slot, slots[settings.name], path=f"slots.{settings.name}")
