"""Aurora PostgreSQL Serverless v2, which pauses when nobody is connected."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from contracts.settings import Settings
from placements.aws.naming import Scope
from placements.aws.sdk import aws

ADMIN = "lab_admin"
_DELETION = "30m"


class AuroraCluster(pulumi.ComponentResource):
    """One cluster with one serverless instance. No setting replaces it: what can't be changed in place is
    either fixed here or refused by its protection.

    Attributes:
        host: the writer's endpoint.
        arn, secret_arn: what the RDS Data API is asked with. The secret is made and rotated by RDS; its value
            never comes here.
        instance: depend on it to come after a database that answers.
    """

    def __init__(
        self,
        name: str,
        *,
        scope: Scope,
        settings: Settings,
        subnet_ids: Sequence[pulumi.Input[str]],
        security_group_id: pulumi.Input[str],
        key_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("lab:aws:AuroraCluster", name, None, pulumi.ResourceOptions(parent=opts.parent))
        rds, child = aws().rds, pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        version, protected = str(settings.values["awsDatabaseVersion"]), bool(opts.protect)
        group = rds.SubnetGroup(
            "database",
            name=scope.prefix,
            description="Private subnets of the lab",
            subnet_ids=list(subnet_ids),
            tags=scope.tags("database"),
            opts=child,
        )
        major = version.split(".", maxsplit=1)[0]
        parameters = rds.ClusterParameterGroup(
            "database",
            name=f"{scope.prefix}-{major}",
            family=f"aurora-postgresql{major}",
            description="Encrypted connections alone",
            parameters=[{"name": "rds.force_ssl", "value": "1", "apply_method": "pending-reboot"}],
            tags=scope.tags("database"),
            opts=child,
        )
        cluster = rds.Cluster(
            "database",
            cluster_identifier=scope.prefix,
            engine="aurora-postgresql",
            engine_mode="provisioned",
            engine_version=version,
            master_username=ADMIN,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key_arn,
            db_subnet_group_name=group.name,
            db_cluster_parameter_group_name=parameters.name,
            vpc_security_group_ids=[security_group_id],
            serverlessv2_scaling_configuration={
                "min_capacity": 0.0,
                "max_capacity": float(settings.values["awsDatabaseMaxAcu"]),
                "seconds_until_auto_pause": int(settings.values["awsDatabasePauseAfterS"]),
            },
            storage_encrypted=True,
            kms_key_id=key_arn,
            enable_http_endpoint=True,
            iam_database_authentication_enabled=True,
            backup_retention_period=int(settings.values["awsBackupRetentionDays"]),
            copy_tags_to_snapshot=True,
            skip_final_snapshot=False,
            final_snapshot_identifier=f"{scope.prefix}-final",
            deletion_protection=protected,
            enabled_cloudwatch_logs_exports=["postgresql"],
            apply_immediately=True,
            tags=scope.tags("database"),
            opts=pulumi.ResourceOptions.merge(
                child, pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete=_DELETION))
            ),
        )
        self.instance = rds.ClusterInstance(
            "database",
            identifier=f"{scope.prefix}-1",
            cluster_identifier=cluster.id,
            engine="aurora-postgresql",
            instance_class="db.serverless",
            publicly_accessible=False,
            # A version with long-term support is left only when somebody says so.
            auto_minor_version_upgrade=False,
            copy_tags_to_snapshot=True,
            apply_immediately=True,
            tags=scope.tags("database-1"),
            opts=child,
        )
        self.host: pulumi.Output[str] = cluster.endpoint
        self.arn: pulumi.Output[str] = cluster.arn
        self.secret_arn: pulumi.Output[str] = cluster.master_user_secrets.apply(
            lambda secrets: secrets[0]["secret_arn"] if secrets else ""
        )
        self.register_outputs({"host": cluster.endpoint})
