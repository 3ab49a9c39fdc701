"""The cluster that comes and goes: EKS in the network that the persistent stack keeps. It holds no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from contracts.errors import LabError
from contracts.outputs import Network, from_exports
from contracts.settings import Settings
from placements.aws.cluster.addons import BEFORE_NODES, ON_NODES, Addon
from placements.aws.cluster.nodes import NodePlan, launch_template, node_plans
from placements.aws.ending import ending
from placements.aws.naming import SERVICE_ACCOUNTS, Scope, scope_of, zones_of
from placements.aws.nat import ways_out
from placements.aws.policies import pod_trust, service_trust
from placements.aws.sdk import aws, eks

_CREATION = pulumi.CustomTimeouts(create="40m", delete="40m")
_ADMIN_POLICY = "cluster-access-policy/AmazonEKSClusterAdminPolicy"
_LOGS = ("api", "audit", "authenticator")


class Role:
    """An IAM role of the cluster's own, with policies that AWS wrote."""

    def __init__(
        self,
        scope: Scope,
        name: str,
        trust: str,
        policies: tuple[str, ...],
        opts: pulumi.ResourceOptions,
    ) -> None:
        self.role = aws().iam.Role(
            name,
            name=f"{scope.prefix}-{name}",
            assume_role_policy=trust,
            tags=scope.tags(name),
            opts=opts,
        )
        self.attachments = [
            aws().iam.RolePolicyAttachment(
                f"{name}-{policy.rsplit('/', 1)[-1]}",
                role=self.role.name,
                policy_arn=f"arn:{scope.partition}:iam::aws:policy/{policy}",
                opts=opts,
            )
            for policy in policies
        ]


class AwsCluster(pulumi.ComponentResource):
    """NAT, EKS, its add-ons and node groups, and the roles of the lab's workloads.

    What needs a node waits for the system nodes alone: Trino's and Spark's groups come up beside it.

    Args:
        network: the persistent stack's output of that name.
        role_arns: IAM roles by workload, for those that have one.
        namespace: where the workloads are.

    Attributes:
        name, kubeconfig: of the cluster. The kubeconfig holds no credential: it runs ``aws eks get-token``.
        ready: depend on it to come when pods can be scheduled and names resolve.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        network: pulumi.Output[Any],
        role_arns: Mapping[str, pulumi.Input[str]],
        namespace: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("lab:aws:Cluster", name, None, opts)
        self._settings, self._scope, self._zones = settings, scope_of(settings), zones_of(settings)
        scope = self._scope
        provider = aws().Provider(
            "account",
            region=scope.region,
            allowed_account_ids=[scope.account_id],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._own = pulumi.ResourceOptions(parent=self, provider=provider)
        self._network: pulumi.Output[Network] = network.apply(self._checked)
        # First: a cluster that does not come up to its end is ended all the same.
        ends = ending(scope, settings, opts=self._own)
        routes = self._ways_out()
        self._cluster = self._control_plane(provider, ends)
        first = [self._addon(addon) for addon in BEFORE_NODES]
        template = launch_template(scope, opts=self._own)
        nodes_role = self._role(
            "nodes",
            service_trust("ec2.amazonaws.com"),
            "AmazonEKSWorkerNodePolicy",
            "AmazonEC2ContainerRegistryPullOnly",
        )
        # A node that has no network add-on, or no way to a registry, never becomes ready.
        waits = pulumi.ResourceOptions(depends_on=[*first, *routes, *nodes_role.attachments])
        groups = {
            plan.name: self._node_group(plan, template, nodes_role, waits) for plan in node_plans(settings)
        }
        system = groups["system"]
        self.ready: list[pulumi.Resource] = [system]
        self.ready += [self._addon(addon, system) for addon in ON_NODES]
        for workload in SERVICE_ACCOUNTS:
            self.ready.append(
                aws().eks.PodIdentityAssociation(
                    workload,
                    cluster_name=self._cluster_name(),
                    namespace=namespace,
                    service_account=workload,
                    role_arn=role_arns[workload],
                    tags=scope.tags(workload),
                    opts=self._own,
                )
            )
        self.name: pulumi.Output[str] = self._cluster_name()
        self.kubeconfig: pulumi.Output[str] = self._cluster.kubeconfig_json
        self.register_outputs({"name": scope.prefix})

    def _checked(self, document: Any) -> Network:
        """The network, once it is where this stack's settings say. Raises LabError."""
        network = from_exports(Network, document, path="network")
        for what, found, expected in (
            ("account", network.account_id, self._scope.account_id),
            ("region", network.region, self._scope.region),
            ("zones", ",".join(network.zones), ",".join(self._zones)),
        ):
            if found != expected:
                key = {"account": "awsAccountId", "region": "awsRegion", "zones": "awsZones"}[what]
                raise LabError(
                    f"the persistent stack's {what} differ from the lab stack's",
                    value=expected,
                    permitted=found,
                    next_command=f"pulumi config set {key} {found} -s {pulumi.get_stack()}",
                )
        shares = str(self._settings.values["awsNat"]).startswith("shared")
        if shares != bool(network.shared_nat):
            raise LabError(
                f"the persistent stack has {'no way' if shares else 'a way'} out of the private subnets that "
                f"labs share, and this lab stack is to {'use it' if shares else 'bring its own'}",
                value=f"awsNat: {self._settings.values['awsNat']}",
                permitted="the same awsNat on both stacks",
                next_command="lab bootstrap --set awsNat=shared, with all of its labs down",
            )
        return network

    def _ways_out(self) -> list[pulumi.CustomResource]:
        """NAT gateways and routes of the lab's own, unless all labs of the persistent stack share one way."""
        kind = str(self._settings.values["awsNat"])
        if kind.startswith("shared"):
            return []
        return ways_out(
            self._scope,
            self._zones,
            zonal=kind == "zonal",
            subnet_ids=[
                self._pick(lambda n, index=index: n.public_subnet_ids[index])
                for index in range(len(self._zones))
            ],
            route_table_ids=[
                self._pick(lambda n, index=index: n.private_route_table_ids[index])
                for index in range(len(self._zones))
            ],
            opts=self._own,
        )

    def _control_plane(self, provider: Any, ends: Sequence[pulumi.Resource]) -> Any:
        scope, values = self._scope, self._settings.values
        allowed: tuple[str, ...] = values["awsApiCidrs"]
        # EKS makes the group itself when it is missing, and keeps it and its logs for ever.
        logs = aws().cloudwatch.LogGroup(
            "control-plane",
            name=f"/aws/eks/{scope.prefix}/cluster",
            retention_in_days=int(values["awsLogRetentionDays"]),
            tags=scope.tags("control-plane"),
            opts=self._own,
        )
        role = self._role("control", service_trust("eks.amazonaws.com"), "AmazonEKSClusterPolicy")
        policy = f"arn:{scope.partition}:eks::aws:{_ADMIN_POLICY}"
        return eks().Cluster(
            "cluster",
            name=scope.prefix,
            version=values["awsKubernetesVersion"],
            vpc_id=self._pick(lambda n: n.vpc_id),
            private_subnet_ids=self._pick(lambda n: list(n.private_subnet_ids)),
            service_role=role.role,
            authentication_mode="API",
            access_entries={
                f"admin-{index}": {
                    "principal_arn": arn,
                    "access_policies": {"admin": {"policy_arn": policy, "access_scope": {"type": "cluster"}}},
                }
                for index, arn in enumerate(values["awsAdmins"])
            },
            endpoint_private_access=True,
            endpoint_public_access=bool(allowed),
            public_access_cidrs=list(allowed) if allowed else None,
            encryption_config_key_arn=self._pick(lambda n: n.key_arn),
            enabled_cluster_log_types=list(_LOGS),
            skip_default_node_group=True,
            # Roles come from Pod Identity; IAM needs no provider for the cluster.
            create_oidc_provider=False,
            # The managed add-ons are declared by themselves, in the order in which they are needed.
            bootstrap_self_managed_addons=False,
            use_default_vpc_cni=True,
            coredns_addon_options={"enabled": False},
            kube_proxy_addon_options={"enabled": False},
            tags=scope.tags("cluster"),
            opts=pulumi.ResourceOptions(
                parent=self,
                providers=[provider],
                depends_on=[*ends, logs, *role.attachments],
                custom_timeouts=_CREATION,
            ),
        )

    def _addon(self, addon: Addon, *after: pulumi.Resource) -> Any:
        identity = []
        if addon.policy:
            role = self._role(addon.role, pod_trust(self._scope), addon.policy)
            identity = [{"role_arn": role.role.arn, "service_account": addon.service_account}]
            after = (*after, *role.attachments)
        return aws().eks.Addon(
            addon.name,
            addon_name=addon.name,
            cluster_name=self._cluster_name(),
            configuration_values=addon.configuration or None,
            pod_identity_associations=identity or None,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            tags=self._scope.tags(addon.name),
            opts=pulumi.ResourceOptions.merge(
                self._own, pulumi.ResourceOptions(depends_on=[self._cluster, *after])
            ),
        )

    def _node_group(self, plan: NodePlan, template: Any, role: Role, waits: pulumi.ResourceOptions) -> Any:
        subnet_ids = self._pick(
            lambda n: list(n.private_subnet_ids[:1] if plan.one_zone else n.private_subnet_ids)
        )
        own = pulumi.ResourceOptions(
            # An autoscaler's or a person's, once the group is there.
            ignore_changes=["scalingConfig.desiredSize"],
            custom_timeouts=_CREATION,
            depends_on=[self._cluster],
        )
        return aws().eks.NodeGroup(
            plan.name,
            cluster_name=self._cluster_name(),
            node_group_name=plan.name,
            node_role_arn=role.role.arn,
            subnet_ids=subnet_ids,
            ami_type="AL2023_x86_64_STANDARD",
            capacity_type=plan.capacity_type,
            instance_types=list(plan.instance_types),
            scaling_config={
                "min_size": plan.min_nodes,
                "desired_size": plan.nodes,
                "max_size": plan.max_nodes,
            },
            update_config={"max_unavailable": 1},
            launch_template={
                "id": template.id,
                "version": template.latest_version.apply(str),
            },
            labels=plan.labels,
            taints=plan.taints or None,
            tags=self._scope.tags(plan.name),
            opts=pulumi.ResourceOptions.merge(pulumi.ResourceOptions.merge(self._own, waits), own),
        )

    def _role(self, purpose: str, trust: str, *policies: str) -> Role:
        return Role(self._scope, f"cluster-{purpose}", trust, policies, self._own)

    def _pick(self, part: Any) -> pulumi.Output[Any]:
        return self._network.apply(part)

    def _cluster_name(self) -> pulumi.Output[str]:
        """Its name, known once the cluster is there."""
        made: pulumi.Output[Any] = self._cluster.kubeconfig_json
        return pulumi.Output.unsecret(made.apply(lambda _: self._scope.prefix))
