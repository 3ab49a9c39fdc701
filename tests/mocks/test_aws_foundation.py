"""The persistent stack of placement aws, under Pulumi's mocks: every property that matters."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.mocks.test_stacks import PASSWORD, Recorded, plain, run

ACCOUNT = "123456789012"
GIVEN = ("placement=aws", "awsRegion=eu-central-1", f"awsAccountId={ACCOUNT}")
FULL = (*GIVEN, "awsCiRepository=octo-org/lakehouse", "awsAccessLogs=true", "moreLabs=team-b")
KEEPS_DATA = (
    "aws:kms/", "aws:rds/", "aws:s3/", "aws:ec2/vpc:", "aws:ec2/subnet:", "aws:ec2/routeTable:",
)  # fmt: skip


@pytest.fixture(scope="module")
def stack() -> Recorded:
    found = run("persistent", *FULL)
    assert found.error is None
    return found


def of_account(stack: Recorded) -> list[dict[str, Any]]:
    return [r for r in stack.resources if r["type"].startswith("aws:")]


def statements(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)["Statement"]
    return found


def inline(stack: Recorded, name: str) -> list[dict[str, Any]]:
    return statements(stack.of("aws:iam/rolePolicy:RolePolicy")[name]["policy"])


def test_the_database_is_what_the_design_says(stack: Recorded) -> None:
    (cluster,) = stack.of("aws:rds/cluster:Cluster").values()
    assert cluster["engine"] == "aurora-postgresql"
    assert tuple(int(part) for part in cluster["engineVersion"].split(".")) >= (16, 3)
    scaling = cluster["serverlessv2ScalingConfiguration"]
    assert scaling == {"minCapacity": 0, "maxCapacity": 4, "secondsUntilAutoPause": 600}
    for flag in (
        *("storageEncrypted", "enableHttpEndpoint", "iamDatabaseAuthenticationEnabled"),
        *("deletionProtection", "manageMasterUserPassword", "copyTagsToSnapshot"),
    ):
        assert cluster[flag] is True, flag
    key = "arn:aws:test:eu-central-1:123456789012:Key/key"
    assert cluster["kmsKeyId"] == cluster["masterUserSecretKmsKeyId"] == key
    assert "masterPassword" not in cluster
    assert cluster["backupRetentionPeriod"] == 7
    assert (cluster["skipFinalSnapshot"], bool(cluster["finalSnapshotIdentifier"])) == (False, True)
    assert "availabilityZones" not in cluster, "AWS answers with three; naming two replaces the database"
    (instance,) = stack.of("aws:rds/clusterInstance:ClusterInstance").values()
    assert instance["instanceClass"] == "db.serverless"
    assert instance["publiclyAccessible"] is False
    assert instance["autoMinorVersionUpgrade"] is False
    (parameters,) = stack.of("aws:rds/clusterParameterGroup:ClusterParameterGroup").values()
    assert parameters["family"] == "aurora-postgresql16"
    assert {p["name"]: p["value"] for p in parameters["parameters"]} == {"rds.force_ssl": "1"}


def test_every_bucket_is_private_encrypted_versioned_and_cleaned(stack: Recorded) -> None:
    buckets = stack.of("aws:s3/bucket:Bucket")
    assert set(buckets) == {"warehouse", "warehouse-logs", "lab-policy", "team-b-policy"}
    for name in buckets:
        block = stack.of("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")[name]
        flags = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        assert all(block[flag] is True for flag in flags), name
        kind = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
        (rule,) = stack.of(kind)[name]["rules"]
        default = rule["applyServerSideEncryptionByDefault"]
        if name == "warehouse-logs":
            assert default == {"sseAlgorithm": "AES256"}, "S3 delivers access logs to no other kind"
        else:
            assert default["sseAlgorithm"] == "aws:kms"
            assert default["kmsMasterKeyId"].endswith("Key/key")
            assert rule["bucketKeyEnabled"] is True
        versioning = stack.of("aws:s3/bucketVersioning:BucketVersioning")[name]
        assert versioning["versioningConfiguration"] == {"status": "Enabled"}
        rules = stack.of("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")[name]["rules"]
        assert {"noncurrent", "incomplete-uploads"} <= {r["id"] for r in rules}
        assert all("expiration" not in r for r in rules) or name == "warehouse-logs", "data never expires"
        denied = statements(stack.of("aws:s3/bucketPolicy:BucketPolicy")[name]["policy"])
        (tls,) = [s for s in denied if s.get("Sid") == "TlsOnly"]
        assert (tls["Effect"], tls["Action"], tls["Principal"]) == ("Deny", "s3:*", "*")
        assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert len(tls["Resource"]) == 2
    assert stack.of("aws:s3/bucketLogging:BucketLogging")["warehouse"]["targetBucket"].endswith("-logs")
    assert not run("persistent", *GIVEN).of("aws:s3/bucketLogging:BucketLogging"), "by setting alone"


def test_bucket_names_fit_whatever_the_lab_and_the_region_are_called() -> None:
    from placements.aws.naming import Scope

    scope = Scope(lab="a" * 20, account_id=ACCOUNT, region="ap-southeast-1", stack="persistent")
    assert len(scope.bucket("a" * 20, "warehouse")) <= 63


def test_what_keeps_data_can_not_be_deleted_by_accident(stack: Recorded) -> None:
    checked = 0
    for resource in of_account(stack):
        if resource["type"].startswith(KEEPS_DATA):
            options = resource["options"]
            assert (options["protect"], options["retain_on_delete"]) == (True, True), resource["name"]
            checked += 1
        if resource["type"] == "aws:s3/bucket:Bucket":
            assert resource["inputs"]["forceDestroy"] is False
    assert checked > 30
    for resource in stack.resources:
        kind = resource["type"]
        if kind.startswith(("aws:", "random:", "pulumi-python:")):
            assert resource["options"]["protect"], "a destroy that is refused removes what is not protected"
    open_to_removal = run("persistent", *GIVEN, "awsProtect=false")
    assert not [r["name"] for r in of_account(open_to_removal) if r["options"]["protect"]]
    (cluster,) = open_to_removal.of("aws:rds/cluster:Cluster").values()
    assert cluster["deletionProtection"] is False
    assert cluster["skipFinalSnapshot"] is False, "a snapshot is kept even then"


def test_a_budget_tells_of_the_labs_costs_and_is_there_by_setting_alone(stack: Recorded) -> None:
    kind = "aws:budgets/budget:Budget"
    assert not stack.of(kind)
    found = run("persistent", *GIVEN, "awsBudgetUsd=200", "awsBudgetEmails=a@example.com,b@example.com")
    assert found.error is None
    (budget,) = found.of(kind).values()
    assert (budget["limitAmount"], budget["limitUnit"], budget["timeUnit"]) == ("200", "USD", "MONTHLY")
    assert budget["costFilters"] == [{"name": "TagKeyValue", "values": ["user:Lab$lab"]}]
    assert [(n["notificationType"], n["threshold"]) for n in budget["notifications"]] == [
        ("ACTUAL", 80),
        ("FORECASTED", 100),
    ]
    assert all(
        n["subscriberEmailAddresses"] == ["a@example.com", "b@example.com"] for n in budget["notifications"]
    )
    refused = run("persistent", *GIVEN, "awsBudgetUsd=200")
    assert "somebody whom it tells" in (refused.error or "")
    assert not [r for r in refused.resources if r["type"].startswith("aws:")]


def test_nothing_is_public_and_nothing_costs_by_the_hour(stack: Recorded) -> None:
    kinds = {r["type"] for r in of_account(stack)}
    for costly in ("aws:ec2/natGateway:NatGateway", "aws:ec2/eip:Eip", "aws:eks/cluster:Cluster"):
        assert costly not in kinds
    assert all(not s["mapPublicIpOnLaunch"] for s in stack.of("aws:ec2/subnet:Subnet").values())
    rules = stack.of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    private = {
        s["cidrBlock"] for name, s in stack.of("aws:ec2/subnet:Subnet").items() if name.startswith("private")
    }
    assert {r["cidrIpv4"] for r in rules.values()} == private
    assert {(r["fromPort"], r["toPort"], r["ipProtocol"]) for r in rules.values()} == {(5432, 5432, "tcp")}
    (default,) = stack.of("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup").values()
    assert "ingress" not in default
    assert "egress" not in default
    routes = stack.of("aws:ec2/route:Route")
    assert set(routes) == {"public-internet"}, "private subnets have no way out until a lab brings one"
    (endpoint,) = stack.of("aws:ec2/vpcEndpoint:VpcEndpoint").values()
    assert endpoint["vpcEndpointType"] == "Gateway"
    assert endpoint["serviceName"] == "com.amazonaws.eu-central-1.s3"
    assert len(endpoint["routeTableIds"]) == 3


def test_subnets_lie_in_the_vpc_and_do_not_move_when_a_zone_is_added() -> None:
    import ipaddress

    from placements.aws.naming import subnets

    two = subnets("10.40.0.0/16", ("a", "b"))
    six = subnets("10.40.0.0/16", ("a", "b", "c", "d", "e", "f"))
    assert {zone: six[zone] for zone in two} == two
    networks = [ipaddress.IPv4Network(text) for pair in six.values() for text in pair]
    assert len(networks) == 12
    for index, network in enumerate(networks):
        assert network.subnet_of(ipaddress.IPv4Network("10.40.0.0/16"))
        assert not any(network.overlaps(other) for other in networks[index + 1 :])


def test_only_three_workloads_have_a_role_and_pods_alone_assume_it(stack: Recorded) -> None:
    roles = stack.of("aws:iam/role:Role")
    workloads = {f"{lab}-{w}" for lab in ("lab", "team-b") for w in ("catalog", "governor", "opa", "vending")}
    ending = {"ending", "ending-schedule", "team-b-ending", "team-b-ending-schedule"}
    assert set(roles) == workloads | ending | {"ci-preview", "ci-deploy", "ci-deploy-team-b"}
    for name in workloads:
        (trust,) = statements(roles[name]["assumeRolePolicy"])
        if name.endswith("vending"):
            lab = name.removesuffix("-vending")
            assert trust["Principal"] == {
                "AWS": f"arn:aws:test:eu-central-1:123456789012:Role/lakehouse-{lab}-catalog"
            }
        else:
            assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
            assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert not stack.of("aws:iam/rolePolicyAttachment:RolePolicyAttachment")


def test_rights_end_at_the_labs_own_prefix_and_bucket(stack: Recorded) -> None:
    for lab in ("lab", "team-b"):
        (assumed,) = inline(stack, f"{lab}-catalog")
        assert assumed["Action"] == ["sts:AssumeRole", "sts:TagSession"]
        assert assumed["Resource"] == [f"arn:aws:test:eu-central-1:123456789012:Role/lakehouse-{lab}-vending"]
        objects, listing, _, key = inline(stack, f"{lab}-vending")
        warehouse = "arn:aws:s3:::lab-lab-123456789012-eu-central-1-warehouse"
        assert objects["Resource"] == [f"{warehouse}/{lab}/warehouse/*"]
        assert listing["Condition"] == {
            "StringLike": {"s3:prefix": [f"{lab}/warehouse/*", f"{lab}/warehouse"]}
        }
        assert key["Condition"] == {"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}
        written = {a for s in inline(stack, f"{lab}-opa") for a in s["Action"]}
        assert written == {"s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation", "kms:Decrypt"}
        for s in inline(stack, f"{lab}-governor"):
            assert all("warehouse" not in resource for resource in s["Resource"])


def allowed(policy: list[dict[str, Any]], action: str, resource: str) -> bool:
    """As IAM decides, conditions left out: a Deny wins."""

    def matches(statement: dict[str, Any]) -> bool:
        actions, resources = statement["Action"], statement["Resource"]
        return any(fnmatchcase(action, a) for a in [actions] if isinstance(a, str)) or (
            any(fnmatchcase(action, a) for a in actions)
            and any(
                fnmatchcase(resource, r) for r in ([resources] if isinstance(resources, str) else resources)
            )
        )

    effects = {s["Effect"] for s in policy if matches(s)}
    return effects == {"Allow"}


def test_ci_previews_without_data_and_secrets_and_deploys_without_deleting_what_is_kept(
    stack: Recorded,
) -> None:
    preview, deploy = inline(stack, "ci-preview"), inline(stack, "ci-deploy")
    secret = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:rds!cluster-1"
    data = f"arn:aws:s3:::lab-lab-{ACCOUNT}-eu-central-1-warehouse/lab/warehouse/t/data.parquet"
    key = f"arn:aws:test:eu-central-1:{ACCOUNT}:Key/key"
    cluster = f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/lakehouse-lab"
    assert allowed(preview, "rds:DescribeDBClusters", "*")
    assert allowed(preview, "s3:GetBucketPolicy", f"arn:aws:s3:::lab-lab-{ACCOUNT}-eu-central-1-warehouse")
    for action, resource in (
        ("s3:GetObject", data),
        ("secretsmanager:GetSecretValue", secret),
        ("kms:Decrypt", key),
        ("rds-data:ExecuteStatement", "*"),
        ("eks:CreateCluster", cluster),
        ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/lakehouse-lab-cluster-nodes"),
    ):
        assert not allowed(preview, action, resource), action
    verbs = {action.split(":")[1] for s in preview if s["Effect"] == "Allow" for action in s["Action"]}
    assert all(re.match("Get|List|Describe", verb) for verb in verbs), verbs
    assert allowed(deploy, "eks:CreateCluster", cluster)
    assert not allowed(deploy, "eks:DeleteCluster", f"{cluster}2"), "another lab's"
    assert allowed(deploy, "iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/lakehouse-lab-cluster-nodes")
    for action, resource in (
        ("rds:DeleteDBCluster", "*"),
        ("s3:DeleteBucket", f"arn:aws:s3:::lab-lab-{ACCOUNT}-eu-central-1-warehouse"),
        ("kms:ScheduleKeyDeletion", key),
        # Who writes policies gives itself everything.
        ("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/lakehouse-lab-ci-deploy"),
        ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/lakehouse-lab-ci-deploy"),
        ("iam:AttachRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/lakehouse-lab-ci-deploy"),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin"),
    ):
        assert not allowed(deploy, action, resource), action
    (attach,) = [s for s in deploy if "iam:AttachRolePolicy" in s["Action"]]
    assert all(
        arn.startswith("arn:aws:iam::aws:policy/")
        for arn in attach["Condition"]["ArnEquals"]["iam:PolicyARN"]
    )
    assert "AdministratorAccess" not in json.dumps(attach)


def test_workflows_of_nobody_else_assume_the_roles(stack: Recorded) -> None:
    roles = stack.of("aws:iam/role:Role")
    subjects = {}
    for purpose in ("preview", "deploy"):
        (trust,) = statements(roles[f"ci-{purpose}"]["assumeRolePolicy"])
        assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
        conditions = trust["Condition"]["StringEquals"]
        assert conditions["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
        subjects[purpose] = conditions["token.actions.githubusercontent.com:sub"]
    assert subjects == {
        "preview": "repo:octo-org/lakehouse:pull_request",
        "deploy": "repo:octo-org/lakehouse:environment:lab",
    }
    assert not {"ci-preview", "ci-deploy"} & run("persistent", *GIVEN).of("aws:iam/role:Role").keys()
    given = f"awsCiProviderArn=arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
    again = run("persistent", *FULL, given)
    assert not again.of("aws:iam/openIdConnectProvider:OpenIdConnectProvider"), "an account has one at most"


def test_no_statement_allows_everything(stack: Recorded) -> None:
    policies = stack.of("aws:iam/rolePolicy:RolePolicy")
    assert len(policies) == 15
    for name in policies:
        for s in inline(stack, name):
            if s["Effect"] == "Allow":
                assert all(re.fullmatch(r"[a-z0-9-]+:[A-Z]\w+", a) for a in s["Action"]), (name, s["Action"])
                if s["Resource"] == ["*"]:
                    reads = all(re.match(r"\w+:(Describe|List|Get)", a) for a in s["Action"])
                    assert reads or s["Condition"] == {
                        "StringEquals": {"aws:RequestedRegion": "eu-central-1"}
                    }, name


def test_everything_taggable_says_whose_it_is(stack: Recorded) -> None:
    untagged = {r["type"].split(":")[-1] for r in of_account(stack) if "tags" not in r["inputs"]}
    assert untagged == {
        *("Alias", "Route", "RouteTableAssociation", "RolePolicy", "BucketPolicy", "BucketVersioning"),
        *("BucketLogging", "BucketLifecycleConfiguration", "BucketPublicAccessBlock"),
        *("BucketOwnershipControls", "BucketServerSideEncryptionConfiguration"),
    }, "kinds that AWS gives no tags"
    for resource in of_account(stack):
        tags = resource["inputs"].get("tags")
        if tags is not None:
            of_team_b = resource["name"].startswith(("team-b-", "ci-deploy-team-b"))
            assert tags["Lab"] == ("team-b" if of_team_b else "lab"), resource["name"]
            assert tags["Stack"] == "persistent"


def test_nothing_is_registered_outside_the_named_account(stack: Recorded) -> None:
    (account,) = stack.of("pulumi:providers:aws").values()
    assert account["region"] == "eu-central-1"
    assert json.loads(account["allowedAccountIds"]) == [ACCOUNT]
    assert all(
        r["options"]["provider"].startswith("pulumi:providers:aws::account") for r in of_account(stack)
    )


def test_databases_come_after_the_instance_and_have_passwords_of_their_own(stack: Recorded) -> None:
    made = {r["name"]: r for r in stack.resources if r["type"] == "pulumi-python:dynamic/lab:AuroraDatabases"}
    assert set(made) == {"lab-databases", "team-b-databases"}
    for lab, resource in made.items():
        assert "aws:rds/clusterInstance:ClusterInstance::database" in resource["options"]["depends_on"]
        inputs = resource["inputs"]
        assert "4dabf18193072939515e22adb298388d" in inputs["passwords"], "it is not marked secret"
        assert set(plain(inputs["passwords"])) == set(inputs["databases"].values())
        assert all(
            name.startswith(lab.removesuffix("-databases").replace("-", "_")) for name in inputs["databases"]
        )
    names = [set(resource["inputs"]["databases"]) for resource in made.values()]
    assert not names[0] & names[1]
    passwords = [p for name in made for p in plain(made[name]["inputs"]["passwords"]).values()]
    assert len(set(passwords)) == len(passwords)
    assert len(stack.of(PASSWORD)) > 2 * len(names[0])


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (("placement=aws",), "needs to know its region"),
        (("placement=aws", "awsRegion=eu-central-1"), "needs to know its account"),
        ((*GIVEN, "awsZones=eu-west-1a,eu-west-1b"), "is not in region eu-central-1"),
    ],
)
def test_what_is_not_said_is_asked_for_before_anything_is_registered(
    pairs: tuple[str, ...], said: str
) -> None:
    found = run("persistent", *pairs)
    assert said in (found.error or "")
    assert "next:" in (found.error or "")
    assert not of_account(found)
