"""What workflows of a repository may do: the preview role reads what is deployed, and no data and no secret;
the deploy role changes it, and deletes nothing that is kept."""

from __future__ import annotations

from contracts.use import USE_KEY
from placements.aws.ending import machine_arn, role_arns, schedule_arns, use_bucket
from placements.aws.naming import MANAGED_POLICIES, SERVICE_ACCOUNTS, Scope
from placements.aws.policies import Statement, allow, document

GITHUB = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"

_READS = (
    *("ec2:DescribeVpcs", "ec2:DescribeVpcAttribute", "ec2:DescribeSubnets", "ec2:DescribeRouteTables"),
    *("ec2:DescribeInternetGateways", "ec2:DescribeNatGateways", "ec2:DescribeAddresses"),
    *("ec2:DescribeAddressesAttribute", "ec2:DescribeVpcEndpoints", "ec2:DescribePrefixLists"),
    *("ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules", "ec2:DescribeNetworkInterfaces"),
    *("ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions", "ec2:DescribeTags"),
    *("ec2:DescribeAvailabilityZones", "rds:DescribeDBClusters", "rds:DescribeDBInstances"),
    *("rds:DescribeDBSubnetGroups", "rds:DescribeDBClusterParameterGroups"),
    *("rds:DescribeDBClusterParameters", "rds:DescribeGlobalClusters", "rds:ListTagsForResource"),
    *("kms:ListAliases", "logs:DescribeLogGroups", "eks:ListClusters", "sts:GetCallerIdentity"),
)
"""Descriptions, most of which IAM can't confine to a resource."""

_READS_OF_ROLES = (
    *("iam:GetRole", "iam:GetRolePolicy", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies"),
    "iam:ListInstanceProfilesForRole",
)
_READS_OF_BUCKETS = (
    *("s3:GetBucketAcl", "s3:GetBucketCORS", "s3:GetBucketLocation", "s3:GetBucketLogging"),
    *("s3:GetBucketObjectLockConfiguration", "s3:GetBucketOwnershipControls", "s3:GetBucketPolicy"),
    *("s3:GetBucketPublicAccessBlock", "s3:GetBucketRequestPayment", "s3:GetBucketTagging"),
    *("s3:GetBucketVersioning", "s3:GetBucketWebsite", "s3:GetEncryptionConfiguration"),
    *("s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration"),
    *("s3:GetAccelerateConfiguration", "s3:ListBucket"),
)
_READS_OF_KEYS = (
    "kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags",
)  # fmt: skip
_READS_OF_CLUSTERS = (
    *("eks:DescribeCluster", "eks:DescribeNodegroup", "eks:DescribeAddon", "eks:DescribeAccessEntry"),
    *("eks:DescribePodIdentityAssociation", "eks:ListAccessEntries", "eks:ListAddons"),
    *("eks:ListAssociatedAccessPolicies", "eks:ListNodegroups", "eks:ListPodIdentityAssociations"),
)

_NO_DATA: Statement = {
    "Sid": "NoDataAndNoSecrets",
    "Effect": "Deny",
    "Action": [
        "s3:GetObject",
        "s3:GetObjectVersion",
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "secretsmanager:GetSecretValue",
        "rds-data:ExecuteStatement",
        "rds-data:BatchExecuteStatement",
        "rds-db:connect",
    ],
}

_KEPT: Statement = {
    "Sid": "KeepsWhatIsKept",
    "Effect": "Deny",
    "Action": [
        "rds:DeleteDBCluster",
        "rds:DeleteDBClusterSnapshot",
        "s3:DeleteBucket",
        "s3:DeleteObjectVersion",
        "s3:PutBucketPublicAccessBlock",
        "kms:ScheduleKeyDeletion",
        "kms:DisableKey",
        "ec2:DeleteVpc",
    ],
    "Resource": "*",
}

_CHANGES_IN_THE_REGION = (
    *("ec2:AllocateAddress", "ec2:ReleaseAddress", "ec2:CreateNatGateway", "ec2:DeleteNatGateway"),
    *("ec2:CreateRoute", "ec2:DeleteRoute", "ec2:ReplaceRoute", "ec2:CreateTags", "ec2:DeleteTags"),
    *("ec2:CreateSecurityGroup", "ec2:DeleteSecurityGroup", "ec2:AuthorizeSecurityGroupIngress"),
    *("ec2:AuthorizeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress"),
    *("ec2:RevokeSecurityGroupEgress", "ec2:CreateLaunchTemplate", "ec2:DeleteLaunchTemplate"),
    *("ec2:CreateLaunchTemplateVersion", "ec2:ModifyLaunchTemplate", "ec2:RunInstances"),
    "ec2:DisassociateAddress",
)
_CHANGES_OF_CLUSTERS = (
    *("eks:CreateCluster", "eks:DeleteCluster", "eks:UpdateClusterConfig", "eks:UpdateClusterVersion"),
    *("eks:CreateNodegroup", "eks:DeleteNodegroup", "eks:UpdateNodegroupConfig"),
    *("eks:UpdateNodegroupVersion", "eks:CreateAddon", "eks:DeleteAddon", "eks:UpdateAddon"),
    *("eks:CreateAccessEntry", "eks:DeleteAccessEntry", "eks:UpdateAccessEntry"),
    *("eks:AssociateAccessPolicy", "eks:DisassociateAccessPolicy", "eks:CreatePodIdentityAssociation"),
    *("eks:DeletePodIdentityAssociation", "eks:UpdatePodIdentityAssociation", "eks:TagResource"),
    *("eks:UntagResource", "eks:DescribeUpdate"),
)
_CHANGES_OF_ROLES = (
    "iam:CreateRole", "iam:DeleteRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy",
)  # fmt: skip
_CLUSTER_PARTS = ("nodegroup", "addon", "access-entry", "podidentityassociation")
_CHANGES_OF_LOGS = (
    *("logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy", "logs:TagResource"),
    *("logs:UntagResource", "logs:ListTagsForResource"),
)
_CHANGES_OF_ENDINGS = (
    *("states:CreateStateMachine", "states:UpdateStateMachine", "states:DeleteStateMachine"),
    *("states:TagResource", "states:UntagResource", "states:ListTagsForResource"),
    *("states:DescribeStateMachine", "states:ListStateMachineVersions", "states:ListExecutions"),
    *("scheduler:CreateSchedule", "scheduler:UpdateSchedule", "scheduler:DeleteSchedule"),
    "scheduler:GetSchedule",
)
_SERVICE_ROLES = ("eks.amazonaws.com", "eks-nodegroup.amazonaws.com")
_PASSED_TO = ("eks.amazonaws.com", "ec2.amazonaws.com", "pods.eks.amazonaws.com")


def github_trust(provider_arn: str, subject: str) -> str:
    """Trust of a role that workflows with exactly this subject may assume."""
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{GITHUB}:aud": AUDIENCE, f"{GITHUB}:sub": subject}},
        }
    )


def preview_policy(scope: Scope, key_arn: str) -> str:
    """Reads the description of everything that the two stacks make."""
    return document(*_reads(scope, key_arn), {**_NO_DATA, "Resource": "*"})


def deploy_policy(scope: Scope, key_arn: str) -> str:
    """Brings the lab stack up and down. Of the persistent stack it reads what it needs to know."""
    # Roles of the lab stack alone, with policies that AWS wrote: who could write one into any role of the lab
    # could give itself everything.
    made = [scope.iam_arn("role", f"{scope.prefix}-cluster-*")]
    managed = [f"arn:{scope.partition}:iam::aws:policy/{name}" for name in MANAGED_POLICIES]
    passed = [*made, *(scope.iam_arn("role", scope.role(scope.lab, w)) for w in SERVICE_ACCOUNTS)]
    return document(
        *_reads(scope, key_arn),
        allow(_CHANGES_IN_THE_REGION, ["*"], StringEquals={"aws:RequestedRegion": scope.region}),
        allow(
            _CHANGES_OF_CLUSTERS,
            [
                scope.arn("eks", f"cluster/{scope.prefix}"),
                *(scope.arn("eks", f"{kind}/{scope.prefix}/*") for kind in _CLUSTER_PARTS),
            ],
        ),
        allow(_CHANGES_OF_LOGS, [scope.arn("logs", f"log-group:/aws/eks/{scope.prefix}/*")]),
        allow(
            ["iam:CreateServiceLinkedRole"],
            [scope.iam_arn("role", f"aws-service-role/{service}/*") for service in _SERVICE_ROLES],
        ),
        allow(_CHANGES_OF_ROLES, made),
        allow(
            ["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
            made,
            ArnEquals={"iam:PolicyARN": managed},
        ),
        allow(_CHANGES_OF_ENDINGS, [machine_arn(scope), *schedule_arns(scope)]),
        allow(
            ["iam:PassRole"],
            role_arns(scope),
            StringEquals={"iam:PassedToService": ["states.amazonaws.com", "scheduler.amazonaws.com"]},
        ),
        allow(["iam:PassRole"], passed, StringEquals={"iam:PassedToService": list(_PASSED_TO)}),
        # Whoever brings a lab up uses it.
        allow(["s3:PutObject"], [f"{scope.bucket_arn(use_bucket(scope))}/{USE_KEY}"]),
        allow(
            ["kms:GenerateDataKey"],
            [key_arn],
            StringEquals={"kms:ViaService": f"s3.{scope.region}.amazonaws.com"},
        ),
        allow(["kms:CreateGrant"], [key_arn], Bool={"kms:GrantIsForAWSResource": "true"}),
        _KEPT,
    )


def _reads(scope: Scope, key_arn: str) -> list[Statement]:
    return [
        allow(_READS, ["*"]),
        allow(_READS_OF_ROLES, [scope.iam_arn("role", "lakehouse-*")]),
        allow(["iam:GetOpenIDConnectProvider"], [scope.iam_arn("oidc-provider", GITHUB)]),
        allow(_READS_OF_BUCKETS, [scope.bucket_arn(f"lab-*-{scope.account_id}-{scope.region}-*")]),
        allow(_READS_OF_KEYS, [key_arn]),
        allow(
            _READS_OF_CLUSTERS,
            [scope.arn("eks", f"{kind}/lakehouse-*") for kind in ("cluster", *_CLUSTER_PARTS)],
        ),
    ]
