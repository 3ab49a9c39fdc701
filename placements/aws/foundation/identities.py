"""The IAM roles of one lab's workloads, for a cluster's Pod Identity associations. Engines have none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from placements.aws import policies
from placements.aws.naming import Scope
from placements.aws.sdk import aws

VENDING_SESSION_S = 3600


class WorkloadRoles(pulumi.ComponentResource):
    """Roles of catalog, governor and opa, and the role that the catalog assumes for whoever it vends
    credentials to.

    Attributes:
        arns: by the names of ``naming.SERVICE_ACCOUNTS``.
        vending_arn: reads and writes the lab's prefix of the warehouse.
    """

    def __init__(
        self,
        name: str,
        *,
        scope: Scope,
        lab: str,
        warehouse: str,
        prefix: str,
        policy_bucket: str,
        key_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("lab:aws:WorkloadRoles", name, None, pulumi.ResourceOptions(parent=opts.parent))
        self._scope, self._lab = scope, lab
        self._child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        key = pulumi.Output.from_input(key_arn)

        def objects(bucket: str, prefix: str = "", *, write: bool = True) -> pulumi.Output[str]:
            return key.apply(
                lambda arn: policies.prefix_access(
                    scope, bucket=bucket, prefix=prefix, key_arn=arn, write=write
                )
            )

        trust = policies.pod_trust(scope)
        roles = {w: self._role(w, trust) for w in ("catalog", "governor", "opa")}
        vending = self._role("vending", roles["catalog"].arn.apply(policies.role_trust))
        self._grant("vending", vending, "warehouse", objects(warehouse, prefix))
        self._grant("catalog", roles["catalog"], "vending", vending.arn.apply(policies.assume))
        self._grant("governor", roles["governor"], "bundles", objects(policy_bucket))
        self._grant("opa", roles["opa"], "bundles", objects(policy_bucket, write=False))
        self.arns: Mapping[str, pulumi.Output[str]] = {w: role.arn for w, role in roles.items()}
        self.vending_arn: pulumi.Output[str] = vending.arn
        self.register_outputs({"vending": vending.arn})

    def _role(self, workload: str, trust: pulumi.Input[str]) -> Any:
        name = self._scope.role(self._lab, workload)
        return aws().iam.Role(
            f"{self._lab}-{workload}",
            name=name,
            assume_role_policy=trust,
            max_session_duration=VENDING_SESSION_S,
            tags={**self._scope.tags(), "Name": name},
            opts=self._child,
        )

    def _grant(self, workload: str, role: Any, purpose: str, policy: pulumi.Input[str]) -> None:
        aws().iam.RolePolicy(
            f"{self._lab}-{workload}",
            name=purpose,
            role=role.name,
            policy=policy,
            opts=self._child,
        )
