"""What is kept in an account: network, key, Aurora PostgreSQL, buckets and IAM roles, and the labs' slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pulumi

from contracts.outputs import Database, Network, StoreUser, Warehouse
from contracts.settings import Settings
from placements.aws import policies
from placements.aws.ending import ending_roles
from placements.aws.foundation.buckets import Bucket, log_requests
from placements.aws.foundation.budget import budget, check_budget
from placements.aws.foundation.ci import CiRoles
from placements.aws.foundation.database import AuroraCluster
from placements.aws.foundation.databases import AuroraDatabases
from placements.aws.foundation.identities import WorkloadRoles
from placements.aws.foundation.network import POSTGRESQL_PORT
from placements.aws.foundation.network import Network as Vpc
from placements.aws.naming import SERVICE_ACCOUNTS, Scope, scope_of, zones_of
from placements.aws.nat import ways_out
from placements.aws.sdk import aws
from placements.local.foundation import DATABASES, database_name

__all__ = ["AwsFoundation", "AwsSlot"]

_KEY_DELETION_DAYS = 30


class AwsFoundation(pulumi.ComponentResource):
    """What all labs of a persistent stack share. While ``awsProtect`` holds, nothing that keeps data can be
    deleted: Pulumi refuses, AWS refuses, and what leaves the program stays in the account.

    Attributes:
        network: what the lab stack puts a cluster into.
        ci_role_arns: by ``preview`` and ``deploy``; empty without a repository.
    """

    def __init__(self, name: str, settings: Settings, *, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lab:aws:Foundation", name, None, opts)
        self.settings, self.scope, zones = settings, scope_of(settings), zones_of(settings)
        # Before anything is registered.
        check_budget(settings)
        scope, values = self.scope, settings.values
        provider = aws().Provider(
            "account",
            region=scope.region,
            # Credentials of another account make nothing there.
            allowed_account_ids=[scope.account_id],
            opts=pulumi.ResourceOptions(parent=self),
        )
        protect = values["awsProtect"] == "true"
        # A destroy that is refused removes first whatever is not protected, so everything is.
        self.plain = pulumi.ResourceOptions(parent=self, provider=provider, protect=protect)
        self.kept = pulumi.ResourceOptions(
            parent=self, provider=provider, protect=protect, retain_on_delete=protect
        )
        key = aws().kms.Key(
            "key",
            description=f"Lakehouse lab {scope.lab}: warehouse, database and its secret",
            enable_key_rotation=True,
            deletion_window_in_days=_KEY_DELETION_DAYS,
            policy=policies.key_policy(scope),
            tags=scope.tags("key"),
            opts=self.kept,
        )
        aws().kms.Alias("key", name=f"alias/{scope.prefix}", target_key_id=key.id, opts=self.kept)
        self.key_arn: pulumi.Output[str] = key.arn
        vpc = Vpc("network", scope=scope, cidr=values["awsVpcCidr"], zones=zones, opts=self.kept)
        self.database = AuroraCluster(
            "database",
            scope=scope,
            settings=settings,
            subnet_ids=vpc.private_subnet_ids,
            security_group_id=vpc.database_security_group_id,
            key_arn=key.arn,
            opts=self.kept,
        )
        self.warehouse_name = scope.bucket(scope.lab, "warehouse")
        self.warehouse = Bucket(
            "warehouse",
            scope=scope,
            bucket=self.warehouse_name,
            noncurrent_days=values["awsNoncurrentDays"],
            key_arn=key.arn,
            policy=policies.bucket_policy(scope, self.warehouse_name),
            opts=self.kept,
        )
        if values["awsAccessLogs"] == "true":
            log_requests(
                "warehouse",
                scope=scope,
                lab=scope.lab,
                source=self.warehouse,
                source_name=self.warehouse_name,
                opts=self.kept,
            )
        shared = str(values["awsNat"]).startswith("shared")
        ways: list[pulumi.CustomResource] = []
        if shared:
            ways = ways_out(
                scope,
                zones,
                zonal=values["awsNat"] == "shared-zonal",
                subnet_ids=vpc.public_subnet_ids,
                route_table_ids=vpc.private_route_table_ids,
                # It holds no data: one command takes it away again. A gateway needs the way to the internet.
                opts=pulumi.ResourceOptions(parent=self, provider=provider, depends_on=[vpc]),
            )
        budget(scope, settings, opts=self.plain)
        ending_roles(scope, opts=self.plain)
        self.ci_role_arns: Mapping[str, pulumi.Output[str]] = {}
        if values["awsCiRepository"]:
            ci = CiRoles("ci", scope=scope, settings=settings, key_arn=key.arn, opts=self.plain)
            self.ci_role_arns = ci.arns
        self.network: pulumi.Output[Network] = pulumi.Output.all(
            vpc=vpc.vpc_id,
            private=vpc.private_subnet_ids,
            public=vpc.public_subnet_ids,
            tables=vpc.private_route_table_ids,
            key=key.arn,
            # Nodes that come up before the way out is there never become ready.
            ways=[way.id for way in ways],
        ).apply(
            lambda known: Network(
                region=scope.region,
                account_id=scope.account_id,
                vpc_id=known["vpc"],
                cidr=str(values["awsVpcCidr"]),
                zones=zones,
                private_subnet_ids=tuple(known["private"]),
                public_subnet_ids=tuple(known["public"]),
                private_route_table_ids=tuple(known["tables"]),
                key_arn=known["key"],
                shared_nat=shared,
            )
        )
        self.register_outputs({"database": self.database.host, "warehouse": self.warehouse_name})


class AwsSlot(pulumi.ComponentResource):
    """One lab's slot: databases and roles in Aurora, a prefix of the warehouse, a bucket of access bundles
    and IAM roles.

    Attributes:
        databases: by the names of ``DATABASES``; resolves once the database can be used.
        warehouse: resolves once the buckets are private.
        store_users: by the names of ``SERVICE_ACCOUNTS``: IAM roles instead of keys.
    """

    def __init__(
        self,
        lab: str,
        foundation: AwsFoundation,
        *,
        database_passwords: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("lab:aws:Slot", lab, None, opts)
        # Tags and names are the lab's, whoever owns the stack.
        scope: Scope = replace(foundation.scope, lab=lab)
        child = pulumi.ResourceOptions(parent=self)
        kept = pulumi.ResourceOptions.merge(foundation.kept, child)
        names = {purpose: database_name(lab, purpose) for purpose in DATABASES}
        converged = AuroraDatabases(
            f"{lab}-databases",
            region=scope.region,
            resource_arn=foundation.database.arn,
            secret_arn=foundation.database.secret_arn,
            databases={name: name for name in names.values()},
            passwords={names[purpose]: database_passwords[purpose] for purpose in DATABASES},
            opts=pulumi.ResourceOptions(
                parent=self, protect=kept.protect, depends_on=[foundation.database.instance]
            ),
        )
        prefix, policy_bucket = f"{lab}/{foundation.settings.warehouse_prefix}", scope.bucket(lab, "policy")
        bundles = Bucket(
            f"{lab}-policy",
            scope=scope,
            bucket=policy_bucket,
            noncurrent_days=foundation.settings.values["awsNoncurrentDays"],
            key_arn=foundation.key_arn,
            policy=policies.bucket_policy(scope, policy_bucket),
            opts=kept,
        )
        roles = WorkloadRoles(
            f"{lab}-roles",
            scope=scope,
            lab=lab,
            warehouse=foundation.warehouse_name,
            prefix=prefix,
            policy_bucket=policy_bucket,
            key_arn=foundation.key_arn,
            opts=pulumi.ResourceOptions.merge(foundation.plain, child),
        )

        if lab != foundation.scope.lab:
            own = pulumi.ResourceOptions.merge(foundation.plain, child)
            ending_roles(scope, prefix=f"{lab}-", opts=own)

        def database(purpose: str) -> pulumi.Output[Database]:
            role, password = names[purpose], pulumi.Output.secret(database_passwords[purpose])
            return pulumi.Output.all(password, foundation.database.host, converged.digest).apply(
                lambda values: Database(
                    host=str(values[1]), port=POSTGRESQL_PORT, name=role, role=role, password=str(values[0])
                )
            )

        self.databases: Mapping[str, pulumi.Output[Database]] = {name: database(name) for name in DATABASES}
        self.store_users: Mapping[str, pulumi.Output[StoreUser]] = {
            name: roles.arns[name].apply(lambda arn: StoreUser(access_key="", secret_key="", role_arn=arn))
            for name in SERVICE_ACCOUNTS
        }
        self.warehouse: pulumi.Output[Warehouse] = pulumi.Output.all(
            foundation.warehouse.bucket, bundles.bucket, roles.vending_arn
        ).apply(
            lambda values: Warehouse(
                endpoint_url=f"https://s3.{scope.region}.{scope.dns_suffix}",
                sts_endpoint_url=f"https://sts.{scope.region}.{scope.dns_suffix}",
                region=scope.region,
                path_style=False,
                bucket=str(values[0]),
                prefix=prefix,
                policy_bucket=str(values[1]),
                role_arn=str(values[2]),
            )
        )
        self.register_outputs({"databases": list(DATABASES), "store_users": list(SERVICE_ACCOUNTS)})
