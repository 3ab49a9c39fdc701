"""Open Policy Agent: decides for Trino on the bundle that the governor signs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pulumi

from components.opa.properties import collector, command, configuration
from components.registry import COMPONENTS
from components.service import LabContext, Service, secret
from contracts.workload import Layout, Port, Probe, Workload

_SYSTEM = Path(__file__).resolve().parents[2] / "policies" / "system"
AUTHZ_REGO = _SYSTEM / "authz.rego"
LOG_REGO = _SYSTEM / "log.rego"
MEMORY_MIB = COMPONENTS["opa"].memory_mib


@dataclass(frozen=True, kw_only=True)
class OpaArgs:
    """Where the bundle lies, how it is verified, who may ask for more than decisions, and where decisions
    are reported."""

    bucket_url: pulumi.Input[str]
    region: pulumi.Input[str]
    access_key: pulumi.Input[str]
    secret_key: pulumi.Input[str]
    by_role: pulumi.Input[bool] = False
    bundle_public_key: pulumi.Input[str]
    token: pulumi.Input[str]
    audit_url: str
    audit_token: pulumi.Input[str]
    authz_rego: str
    log_rego: str


def workload(args: OpaArgs, layout: Layout) -> Workload:
    """Ready without a bundle: it denies everything until the first one arrives."""
    return Workload(
        name="opa",
        artifact="opa",
        command=command(layout),
        ports=(Port(name="http", number=layout.ports["http"]),),
        readiness=Probe(port="http", path="/health"),
        env={
            "BUNDLE_BUCKET_URL": args.bucket_url,
            "AWS_REGION": args.region,
            "AWS_ACCESS_KEY_ID": args.access_key,
            "AWS_SECRET_ACCESS_KEY": args.secret_key,
            "OPA_READ_TOKEN": args.token,
            "AUDIT_URL": args.audit_url,
            "AUDIT_TOKEN": args.audit_token,
            **collector(MEMORY_MIB),
        },
        files={
            "config.yaml": pulumi.Output.all(args.bundle_public_key, args.by_role).apply(
                lambda given: configuration(public_key_pem=given[0], by_role=given[1])
            ),
            "authz.rego": args.authz_rego,
            "log.rego": args.log_rego,
        },
        memory_mib=MEMORY_MIB,
        cpu_millicores=100,
        depends_on=("s3",),
        reaches=("s3/http", "governor/http"),
        identity="opa",
    )


class Opa(Service):
    """The policy decision point."""

    kind: ClassVar[str] = "opa"

    def __init__(self, context: LabContext, opts: pulumi.ResourceOptions | None = None) -> None:
        slot = context.slot
        args = OpaArgs(
            bucket_url=slot.apply(lambda s: f"{s.warehouse.endpoint_url}/{s.warehouse.policy_bucket}"),
            region=slot.apply(lambda s: s.warehouse.region),
            access_key=secret(slot, lambda s: s.opa_store_user.access_key),
            secret_key=secret(slot, lambda s: s.opa_store_user.secret_key),
            by_role=slot.apply(lambda s: s.opa_store_user.role_arn is not None),
            bundle_public_key=slot.apply(lambda s: s.secrets.bundle_signing_public_key),
            token=secret(slot, lambda s: s.secrets.opa_token),
            audit_url=context.placement.internal_url("governor", "http"),
            audit_token=secret(slot, lambda s: s.secrets.audit_opa_token),
            authz_rego=AUTHZ_REGO.read_text(encoding="utf-8"),
            log_rego=LOG_REGO.read_text(encoding="utf-8"),
        )
        layout = context.placement.layout("opa", "opa", ("http",))
        super().__init__(context.placement, workload(args, layout), opts)
