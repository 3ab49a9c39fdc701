"""KMS, RDS and IAM."""

from __future__ import annotations

from typing import Any, ClassVar

from plugins.values import Props
from tests.moto_aws.types import MotoType, World, as_declared, mapping, pairs


class Key(MotoType):
    token = "aws:kms/key:Key"
    outputs = ("arn", "keyId")

    def make(self, world: World, inputs: Props) -> str:
        made = world.client("kms").create_key(
            Description=inputs["description"],
            Policy=inputs["policy"],
            Tags=[{"TagKey": k, "TagValue": v} for k, v in inputs["tags"].items()],
        )
        ident = str(made["KeyMetadata"]["KeyId"])
        if inputs.get("enableKeyRotation"):
            world.client("kms").enable_key_rotation(KeyId=ident)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        kms = world.client("kms")
        found = kms.describe_key(KeyId=ident)["KeyMetadata"]
        if found["KeyState"] == "PendingDeletion":
            return None
        tags = kms.list_resource_tags(KeyId=ident)["Tags"]
        policy = kms.get_key_policy(KeyId=ident, PolicyName="default")["Policy"]
        return {
            "arn": found["Arn"],
            "keyId": ident,
            "description": found["Description"],
            "enableKeyRotation": kms.get_key_rotation_status(KeyId=ident)["KeyRotationEnabled"],
            "policy": as_declared(props.get("policy"), policy),
            "tags": {tag["TagKey"]: tag["TagValue"] for tag in tags},
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        kms = world.client("kms")
        if declared.get("enableKeyRotation"):
            kms.enable_key_rotation(KeyId=ident)
        else:
            kms.disable_key_rotation(KeyId=ident)
        kms.put_key_policy(KeyId=ident, PolicyName="default", Policy=declared["policy"])
        kms.update_key_description(KeyId=ident, Description=declared["description"])
        kms.tag_resource(
            KeyId=ident, Tags=[{"TagKey": k, "TagValue": v} for k, v in declared["tags"].items()]
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("kms").schedule_key_deletion(
            KeyId=ident, PendingWindowInDays=props["deletionWindowInDays"]
        )


class Alias(MotoType):
    token = "aws:kms/alias:Alias"
    replaces = frozenset({"name"})

    def make(self, world: World, inputs: Props) -> str:
        world.client("kms").create_alias(AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"])
        return str(inputs["name"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        for alias in world.client("kms").list_aliases()["Aliases"]:
            if alias["AliasName"] == ident:
                return {"arn": alias["AliasArn"], "targetKeyId": alias["TargetKeyId"]}
        return None

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("kms").update_alias(AliasName=ident, TargetKeyId=declared["targetKeyId"])

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("kms").delete_alias(AliasName=ident)


class SubnetGroup(MotoType):
    token = "aws:rds/subnetGroup:SubnetGroup"
    replaces = frozenset({"name"})

    def make(self, world: World, inputs: Props) -> str:
        world.client("rds").create_db_subnet_group(
            DBSubnetGroupName=inputs["name"],
            DBSubnetGroupDescription=inputs["description"],
            SubnetIds=inputs["subnetIds"],
            Tags=pairs(inputs["tags"]),
        )
        return str(inputs["name"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (found,) = world.client("rds").describe_db_subnet_groups(DBSubnetGroupName=ident)["DBSubnetGroups"]
        return {
            "arn": found["DBSubnetGroupArn"],
            "subnetIds": [subnet["SubnetIdentifier"] for subnet in found["Subnets"]],
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("rds").modify_db_subnet_group(DBSubnetGroupName=ident, SubnetIds=declared["subnetIds"])

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("rds").delete_db_subnet_group(DBSubnetGroupName=ident)


class ClusterParameterGroup(MotoType):
    token = "aws:rds/clusterParameterGroup:ClusterParameterGroup"
    replaces = frozenset({"name", "family"})

    def make(self, world: World, inputs: Props) -> str:
        world.client("rds").create_db_cluster_parameter_group(
            DBClusterParameterGroupName=inputs["name"],
            DBParameterGroupFamily=inputs["family"],
            Description=inputs["description"],
        )
        self.change(world, inputs["name"], inputs)
        return str(inputs["name"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (found,) = world.client("rds").describe_db_cluster_parameter_groups(
            DBClusterParameterGroupName=ident
        )["DBClusterParameterGroups"]
        return {
            "arn": found.get("DBClusterParameterGroupArn", ident),
            "family": found["DBParameterGroupFamily"],
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("rds").modify_db_cluster_parameter_group(
            DBClusterParameterGroupName=ident,
            Parameters=[
                {
                    "ParameterName": parameter["name"],
                    "ParameterValue": parameter["value"],
                    "ApplyMethod": parameter["applyMethod"],
                }
                for parameter in declared["parameters"]
            ],
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("rds").delete_db_cluster_parameter_group(DBClusterParameterGroupName=ident)


class Cluster(MotoType):
    """What can be changed in place is what the API of RDS takes in ModifyDBCluster."""

    token = "aws:rds/cluster:Cluster"
    outputs = ("arn", "endpoint", "masterUserSecrets")
    replaces = frozenset(
        {
            *("clusterIdentifier", "engine", "engineMode", "masterUsername", "storageEncrypted", "kmsKeyId"),
            *("dbSubnetGroupName", "availabilityZones", "databaseName"),
        }
    )
    _IN_PLACE: ClassVar[dict[str, str]] = {
        "engineVersion": "EngineVersion",
        "backupRetentionPeriod": "BackupRetentionPeriod",
        "deletionProtection": "DeletionProtection",
        "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
        "copyTagsToSnapshot": "CopyTagsToSnapshot",
        "dbClusterParameterGroupName": "DBClusterParameterGroupName",
        "vpcSecurityGroupIds": "VpcSecurityGroupIds",
    }

    def _scaling(self, inputs: Props) -> dict[str, Any]:
        given = inputs["serverlessv2ScalingConfiguration"]
        return {
            "MinCapacity": given["minCapacity"],
            "MaxCapacity": given["maxCapacity"],
            "SecondsUntilAutoPause": given["secondsUntilAutoPause"],
        }

    def make(self, world: World, inputs: Props) -> str:
        world.client("rds").create_db_cluster(
            DBClusterIdentifier=inputs["clusterIdentifier"],
            Engine=inputs["engine"],
            EngineMode=inputs["engineMode"],
            MasterUsername=inputs["masterUsername"],
            ManageMasterUserPassword=inputs["manageMasterUserPassword"],
            MasterUserSecretKmsKeyId=inputs["masterUserSecretKmsKeyId"],
            DBSubnetGroupName=inputs["dbSubnetGroupName"],
            StorageEncrypted=inputs["storageEncrypted"],
            KmsKeyId=inputs["kmsKeyId"],
            EnableHttpEndpoint=inputs["enableHttpEndpoint"],
            ServerlessV2ScalingConfiguration=self._scaling(inputs),
            Tags=pairs(inputs["tags"]),
            **{there: inputs[here] for here, there in self._IN_PLACE.items()},
        )
        return str(inputs["clusterIdentifier"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (found,) = world.client("rds").describe_db_clusters(DBClusterIdentifier=ident)["DBClusters"]
        scaling = found["ServerlessV2ScalingConfiguration"]
        declared = props.get("serverlessv2ScalingConfiguration", {})
        return {
            "arn": found["DBClusterArn"],
            "endpoint": found["Endpoint"],
            "masterUserSecrets": [
                {"secretArn": found["MasterUserSecret"]["SecretArn"], "secretStatus": "active"}
            ],
            "engineVersion": found["EngineVersion"],
            "backupRetentionPeriod": found["BackupRetentionPeriod"],
            "deletionProtection": found["DeletionProtection"],
            "storageEncrypted": found["StorageEncrypted"],
            "kmsKeyId": found["KmsKeyId"],
            "iamDatabaseAuthenticationEnabled": found["IAMDatabaseAuthenticationEnabled"],
            "serverlessv2ScalingConfiguration": {
                # moto forgets the pause when it is modified.
                **declared,
                "minCapacity": scaling["MinCapacity"],
                "maxCapacity": scaling["MaxCapacity"],
            },
            "tags": mapping(found["TagList"]),
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("rds").modify_db_cluster(
            DBClusterIdentifier=ident,
            ApplyImmediately=True,
            ServerlessV2ScalingConfiguration=self._scaling(declared),
            **{there: declared[here] for here, there in self._IN_PLACE.items()},
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("rds").delete_db_cluster(
            DBClusterIdentifier=ident,
            SkipFinalSnapshot=props["skipFinalSnapshot"],
            FinalDBSnapshotIdentifier=props["finalSnapshotIdentifier"],
        )


class ClusterInstance(MotoType):
    token = "aws:rds/clusterInstance:ClusterInstance"
    replaces = frozenset({"identifier", "clusterIdentifier", "engine"})

    def make(self, world: World, inputs: Props) -> str:
        world.client("rds").create_db_instance(
            DBInstanceIdentifier=inputs["identifier"],
            DBClusterIdentifier=inputs["clusterIdentifier"],
            DBInstanceClass=inputs["instanceClass"],
            Engine=inputs["engine"],
            PubliclyAccessible=inputs["publiclyAccessible"],
            AutoMinorVersionUpgrade=inputs["autoMinorVersionUpgrade"],
            Tags=pairs(inputs["tags"]),
        )
        return str(inputs["identifier"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (found,) = world.client("rds").describe_db_instances(DBInstanceIdentifier=ident)["DBInstances"]
        return {
            "arn": found["DBInstanceArn"],
            "instanceClass": found["DBInstanceClass"],
            "autoMinorVersionUpgrade": found["AutoMinorVersionUpgrade"],
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("rds").modify_db_instance(
            DBInstanceIdentifier=ident,
            DBInstanceClass=declared["instanceClass"],
            AutoMinorVersionUpgrade=declared["autoMinorVersionUpgrade"],
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("rds").delete_db_instance(DBInstanceIdentifier=ident, SkipFinalSnapshot=True)


class OpenIdConnectProvider(MotoType):
    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    replaces = frozenset({"url"})

    def make(self, world: World, inputs: Props) -> str:
        made = world.client("iam").create_open_id_connect_provider(
            Url=inputs["url"], ClientIDList=inputs["clientIdLists"], ThumbprintList=[]
        )
        return str(made["OpenIDConnectProviderArn"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=ident)
        return {"arn": ident, "clientIdLists": found["ClientIDList"]}

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=ident)


class Role(MotoType):
    token = "aws:iam/role:Role"
    replaces = frozenset({"name"})

    def make(self, world: World, inputs: Props) -> str:
        world.client("iam").create_role(
            RoleName=inputs["name"],
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            MaxSessionDuration=inputs.get("maxSessionDuration", 3600),
            Tags=pairs(inputs["tags"]),
        )
        return str(inputs["name"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("iam").get_role(RoleName=ident)["Role"]
        return {
            "arn": found["Arn"],
            "assumeRolePolicy": as_declared(props.get("assumeRolePolicy"), found["AssumeRolePolicyDocument"]),
            "maxSessionDuration": found["MaxSessionDuration"],
            "tags": mapping(found.get("Tags", [])),
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        iam = world.client("iam")
        iam.update_assume_role_policy(RoleName=ident, PolicyDocument=declared["assumeRolePolicy"])
        iam.update_role(RoleName=ident, MaxSessionDuration=declared.get("maxSessionDuration", 3600))
        iam.tag_role(RoleName=ident, Tags=pairs(declared["tags"]))

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("iam").delete_role(RoleName=ident)


class RolePolicy(MotoType):
    token = "aws:iam/rolePolicy:RolePolicy"
    outputs = ()
    replaces = frozenset({"name", "role"})

    def make(self, world: World, inputs: Props) -> str:
        ident = f"{inputs['role']}:{inputs['name']}"
        self.change(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        role, name = ident.split(":")
        found = world.client("iam").get_role_policy(RoleName=role, PolicyName=name)
        return {"policy": as_declared(props.get("policy"), found["PolicyDocument"])}

    def change(self, world: World, ident: str, declared: Props) -> None:
        role, name = ident.split(":")
        world.client("iam").put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=declared["policy"])

    def remove(self, world: World, ident: str, props: Props) -> None:
        role, name = ident.split(":")
        world.client("iam").delete_role_policy(RoleName=role, PolicyName=name)


class RolePolicyAttachment(MotoType):
    token = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    outputs = ()
    replaces = frozenset({"role", "policyArn"})

    def make(self, world: World, inputs: Props) -> str:
        world.client("iam").attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return f"{inputs['role']}-{inputs['policyArn'].rsplit('/', 1)[-1]}"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        attached = world.client("iam").list_attached_role_policies(RoleName=props["role"])
        arns = [policy["PolicyArn"] for policy in attached["AttachedPolicies"]]
        return {} if props["policyArn"] in arns else None

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("iam").detach_role_policy(RoleName=props["role"], PolicyArn=props["policyArn"])


TYPES: tuple[type[MotoType], ...] = (
    *(Key, Alias, SubnetGroup, ClusterParameterGroup, Cluster, ClusterInstance, OpenIdConnectProvider),
    *(Role, RolePolicy, RolePolicyAttachment),
)
