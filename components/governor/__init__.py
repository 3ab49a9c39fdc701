"""The governor: the only one that holds Keycloak-admin, catalog-admin and publishing identities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pulumi

from components.polaris.properties import ROOT_CLIENT_ID, catalog_properties, storage_config
from components.registry import selected
from components.service import TRINO_CATALOG, LabContext, Service, secret
from contracts.identity import MAINTAINER_CLIENT
from contracts.workload import Layout, Port, Probe, Scheme, Volume, Workload


@dataclass(frozen=True, kw_only=True)
class GovernorArgs:
    """The values of its environment (see ``governance.governor.settings``); secrets may be Outputs."""

    plain: dict[str, str]
    from_slot: dict[str, pulumi.Input[str]]
    signing_key: pulumi.Input[str]
    ca_certificate: pulumi.Input[str]


def workload(args: GovernorArgs, layout: Layout) -> Workload:
    """Ready once its database is migrated; Keycloak, catalog and store may come later."""
    return Workload(
        name="governor",
        artifact="python",
        command=[layout.python, "-m", "governance.governor"],
        ports=(Port(name="http", number=layout.ports["http"]),),
        readiness=Probe(port="http", path="/health/ready"),
        env={
            **args.plain,
            **args.from_slot,
            "PYTHONPATH": str(layout.source_dir),
            # Compiled once, and nothing is written beside the sources.
            "PYTHONPYCACHEPREFIX": str(layout.cache_dir / "bytecode"),
            "GOVERNOR_BIND": layout.bind_address,
            "GOVERNOR_PORT": str(layout.ports["http"]),
            "GOVERNOR_SIGNING_KEY_FILE": layout.file("signing-key.pem"),
            "GOVERNOR_CA_FILE": layout.file("ca.pem"),
            "GOVERNOR_POLICIES_DIR": str(layout.source_dir / "policies"),
            "GOVERNOR_AUDIT_SPOOL_DIR": str(layout.data_dir / "audit"),
        },
        files={"signing-key.pem": args.signing_key, "ca.pem": args.ca_certificate},
        source=("contracts", "governance", "policies"),
        volumes=(Volume(name="audit", retained=True),),
        memory_mib=140,
        cpu_millicores=100,
        depends_on=("postgres", "s3"),
        reaches=("keycloak/http", "catalog/http", "trino/https", "postgres/tcp", "s3/http"),
        identity="governor",
    )


def governor_args(context: LabContext) -> GovernorArgs:
    """The slot's values for the governor."""
    slot = context.slot
    keycloak = context.placement.internal_url("keycloak", "http")
    polaris = polaris_environment(context) if context.catalog_kind == "polaris" else {}
    return GovernorArgs(
        plain={
            "GOVERNOR_ISSUER_URL": context.issuer_url,
            "GOVERNOR_JWKS_URL": context.jwks_url,
            "GOVERNOR_TOKEN_URL": context.token_url,
            "GOVERNOR_KEYCLOAK_ADMIN_URL": keycloak,
            "GOVERNOR_KEYCLOAK_REALM": context.realm.realm,
            "GOVERNOR_CATALOG_KIND": context.catalog_kind,
            "GOVERNOR_CATALOG_URI": context.catalog_uri,
            "GOVERNOR_CATALOG_WAREHOUSE": TRINO_CATALOG,
            "GOVERNOR_CATALOG_CLOSED_NAMESPACES": ",".join(context.settings.closed_namespaces),
            "GOVERNOR_TRINO_CATALOG": TRINO_CATALOG,
            "GOVERNOR_BUNDLE_MAX_AGE_S": str(context.settings.bundle_max_age_s),
            "GOVERNOR_EXCEPTION_MAX_S": str(context.settings.exception_max_s),
            "GOVERNOR_TRINO_URL": trino_url(context),
            "GOVERNOR_AUDIT_RETENTION_DAYS": str(context.settings.values["auditRetentionDays"]),
            "GOVERNOR_AUDIT_SPOOL_MIB": str(context.settings.values["auditSpoolMib"]),
            "GOVERNOR_NOTES_USE": "true" if context.settings.values["idleStopHours"] else "false",
            "GOVERNOR_MAINTAIN_EVERY_S": str(context.settings.values["maintainEveryS"]),
            "GOVERNOR_MAINTAIN_MIN_RETENTION_S": str(
                86400 * context.settings.values["maintenanceMinRetentionDays"]
            ),
        },
        from_slot={
            "GOVERNOR_DATABASE_HOST": slot.apply(lambda s: s.governance_database.host),
            "GOVERNOR_DATABASE_PORT": slot.apply(lambda s: str(s.governance_database.port)),
            "GOVERNOR_DATABASE_NAME": slot.apply(lambda s: s.governance_database.name),
            "GOVERNOR_DATABASE_ROLE": slot.apply(lambda s: s.governance_database.role),
            "GOVERNOR_DATABASE_PASSWORD": secret(slot, lambda s: s.governance_database.password),
            "GOVERNOR_MASKING_DATABASE_HOST": slot.apply(lambda s: s.masking_database.host),
            "GOVERNOR_MASKING_DATABASE_PORT": slot.apply(lambda s: str(s.masking_database.port)),
            "GOVERNOR_MASKING_DATABASE_NAME": slot.apply(lambda s: s.masking_database.name),
            "GOVERNOR_MASKING_DATABASE_ROLE": slot.apply(lambda s: s.masking_database.role),
            "GOVERNOR_MASKING_DATABASE_PASSWORD": secret(slot, lambda s: s.masking_database.password),
            "GOVERNOR_CLIENT_SECRET": context.client_secret("governor"),
            "GOVERNOR_MAINTAINER_SECRET": context.client_secret(MAINTAINER_CLIENT),
            "GOVERNOR_S3_ENDPOINT_URL": slot.apply(lambda s: s.warehouse.endpoint_url),
            "GOVERNOR_S3_REGION": slot.apply(lambda s: s.warehouse.region),
            "GOVERNOR_S3_ACCESS_KEY": secret(slot, lambda s: s.governor_store_user.access_key),
            "GOVERNOR_S3_SECRET_KEY": secret(slot, lambda s: s.governor_store_user.secret_key),
            "GOVERNOR_POLICY_BUCKET": slot.apply(lambda s: s.warehouse.policy_bucket),
            **polaris,
            "GOVERNOR_HASH_SALT": secret(slot, lambda s: s.secrets.hash_salt),
            "GOVERNOR_AUDIT_TRINO_TOKEN": secret(slot, lambda s: s.secrets.audit_trino_token),
            "GOVERNOR_AUDIT_OPA_TOKEN": secret(slot, lambda s: s.secrets.audit_opa_token),
        },
        signing_key=secret(slot, lambda s: s.secrets.bundle_signing_private_key),
        ca_certificate=slot.apply(lambda s: s.pki.ca_certificate),
    )


def trino_url(context: LabContext) -> str:
    """Where rows are counted; empty when Trino is not among what runs."""
    names = [info.name for info in selected(context.settings.components, context.catalog_kind)]
    return context.placement.internal_url("trino", "https", Scheme.HTTPS) if "trino" in names else ""


def polaris_environment(context: LabContext) -> dict[str, pulumi.Input[str]]:
    """What only Polaris' reconciler needs."""
    catalog = context.placement.internal_url("catalog", "http")
    return {
        "GOVERNOR_CATALOG_MANAGEMENT_URL": f"{catalog}/api/management/v1",
        "GOVERNOR_CATALOG_ROOT_ID": ROOT_CLIENT_ID,
        "GOVERNOR_CATALOG_ROOT_SECRET": secret(context.slot, lambda s: s.secrets.catalog_root_secret),
        "GOVERNOR_CATALOG_STORAGE": context.slot.apply(lambda s: storage_config(s.warehouse)),
        "GOVERNOR_CATALOG_PROPERTIES": context.slot.apply(lambda s: catalog_properties(s.warehouse)),
    }


class Governor(Service):
    """The governing service."""

    kind: ClassVar[str] = "governor"

    def __init__(self, context: LabContext, opts: pulumi.ResourceOptions | None = None) -> None:
        layout = context.placement.layout("governor", "python", ("http",))
        super().__init__(context.placement, workload(governor_args(context), layout), opts)
