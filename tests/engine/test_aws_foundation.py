"""The persistent stack of placement aws by the real engine, on an account that moto plays: its whole life."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from placements.aws.policies import allow, document
from tests.engine.aws_account import ACCOUNT, Account, running_account_with_database

pytestmark = pytest.mark.engine

WAREHOUSE = f"lab-lab-{ACCOUNT}-eu-central-1-warehouse"
DATABASES = {f"lab_{p}" for p in ("catalog", "keycloak", "governance", "masking", "control_plane", "agent")}
INSTANCE = "aws:rds/clusterInstance:ClusterInstance"
BUDGET = "aws:budgets/budget:Budget"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with running_account_with_database(tmp_path_factory.mktemp("aws")) as made:
        yield made


def cluster(account: Account) -> dict[str, Any]:
    (found,) = account.world.client("rds").describe_db_clusters()["DBClusters"]
    return dict(found)


def of_account(account: Account) -> Counter[str]:
    """Resources of the account that the state knows, by type."""
    return Counter(r["type"] for r in account.project.state() if r["type"].startswith("aws:"))


def databases(account: Account) -> dict[str, str]:
    """Databases of the lab, with their owners."""
    return {
        name: owner
        for name, owner in account.rows(
            "SELECT d.datname, r.rolname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba"
        )
        if name.startswith("lab_")
    }


def test_credentials_of_another_account_make_nothing(account: Account) -> None:
    account.settings(awsAccountId="999999999999")
    refused = account.run("up", "--yes", "--skip-preview")
    assert refused.code != 0
    assert "AWS account ID not allowed" in refused.text
    assert not account.world.calls
    account.settings(awsAccountId=ACCOUNT)


def test_a_run_that_fails_in_its_middle_is_taken_up_again(account: Account) -> None:
    account.world.faults.add(INSTANCE)
    # As after a pause: the database answers the third time.
    account.api.asleep = 2
    failed = account.run("up", "--yes", "--skip-preview")
    assert failed.code != 0
    assert "InternalFailure, as asked for by the test" in failed.text
    assert ("create", INSTANCE) not in account.world.calls
    assert not account.api.seen, "databases come after the instance"
    account.up()
    known = of_account(account)
    created = Counter(token for what, token in account.world.calls if what == "create")
    assert created == known, "each was made once"
    assert known["aws:s3/bucket:Bucket"] == 2
    assert known[INSTANCE] == 1
    assert not [call for call in account.world.calls if call[0] != "create"]


def test_the_account_then_holds_what_was_declared(account: Account) -> None:
    found = cluster(account)
    assert found["StorageEncrypted"] is True
    assert found["DeletionProtection"] is True
    assert found["IAMDatabaseAuthenticationEnabled"] is True
    scaling = found["ServerlessV2ScalingConfiguration"]
    assert (scaling["MinCapacity"], scaling["SecondsUntilAutoPause"]) == (0, 600)
    sent = account.api.seen[0]
    assert sent["resourceArn"] == found["DBClusterArn"]
    assert sent["secretArn"] == found["MasterUserSecret"]["SecretArn"]
    assert databases(account) == {name: name for name in DATABASES}
    block = account.world.client("s3").get_public_access_block(Bucket=WAREHOUSE)
    assert all(block["PublicAccessBlockConfiguration"].values())


def test_no_password_reached_the_database_and_none_is_plain_in_the_state(account: Account) -> None:
    outputs = account.project.run("stack", "output", "slots", "--show-secrets", "--json").text
    slot = json.loads(outputs)["lab"]
    password = slot["catalog_database"]["password"]
    assert len(password) == 32
    assert password not in str(account.api.seen)
    assert password not in json.dumps(account.project.state())
    (hashed,) = account.rows("SELECT rolpassword FROM pg_authid WHERE rolname = 'lab_catalog'")
    assert hashed[0].startswith("SCRAM-SHA-256$4096:")
    assert slot["catalog_store_user"]["role_arn"] == f"arn:aws:iam::{ACCOUNT}:role/lakehouse-lab-catalog"
    assert slot["warehouse"]["prefix"] == "lab/warehouse"


def test_a_second_run_changes_nothing_and_wakes_nothing(account: Account) -> None:
    before, asked = len(account.world.calls), len(account.api.seen)
    account.up("--expect-no-changes")
    assert (len(account.world.calls), len(account.api.seen)) == (before, asked)


def test_what_somebody_changed_by_hand_is_seen_and_put_right(account: Account) -> None:
    world = account.world
    world.client("s3").delete_public_access_block(Bucket=WAREHOUSE)
    world.client("rds").modify_db_cluster(
        DBClusterIdentifier="lakehouse-lab", BackupRetentionPeriod=1, DeletionProtection=False
    )
    world.client("iam").put_role_policy(
        RoleName="lakehouse-lab-opa",
        PolicyName="bundles",
        PolicyDocument=document(allow(["*"], ["*"])),
    )
    account.rows("ALTER DATABASE lab_agent RENAME TO somebody_renamed_it")
    assert account.run("refresh", "--yes", "--skip-preview").code == 0
    before = len(world.calls)
    repaired = account.up()
    assert repaired.counts.get("replaced", 0) == 0
    assert Counter(world.calls[before:]) == {
        ("create", "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"): 1,
        ("update", "aws:rds/cluster:Cluster"): 1,
        ("update", "aws:iam/rolePolicy:RolePolicy"): 1,
    }
    assert cluster(account)["BackupRetentionPeriod"] == 7
    assert cluster(account)["DeletionProtection"] is True
    assert databases(account).keys() == DATABASES
    account.rows("DROP DATABASE somebody_renamed_it")
    account.run("refresh", "--yes", "--skip-preview")
    account.up("--expect-no-changes")


def test_a_changed_setting_updates_what_it_is_about_and_never_replaces_the_database(account: Account) -> None:
    before, arn = len(account.world.calls), cluster(account)["DbClusterResourceId"]
    account.settings(awsDatabaseMaxAcu="8", awsBackupRetentionDays="14", awsNoncurrentDays="30")
    changed = account.up()
    assert changed.counts.get("replaced", 0) == 0
    assert Counter(account.world.calls[before:]) == {
        ("update", "aws:rds/cluster:Cluster"): 1,
        ("update", "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"): 2,
    }
    found = cluster(account)
    assert found["DbClusterResourceId"] == arn
    assert found["BackupRetentionPeriod"] == 14
    assert found["ServerlessV2ScalingConfiguration"]["MaxCapacity"] == 8


def test_a_budget_is_made_changed_and_put_right(account: Account) -> None:
    budgets, whom = account.world.client("budgets"), {"AccountId": ACCOUNT, "BudgetName": "lakehouse-lab"}
    before = len(account.world.calls)
    account.settings(awsBudgetUsd="200", awsBudgetEmails="platform@example.com")
    account.up()
    assert account.world.calls[before:] == [("create", BUDGET)]
    made = budgets.describe_budget(**whom)["Budget"]
    assert made["BudgetLimit"] == {"Amount": "200", "Unit": "USD"}
    assert made["CostFilters"] == {"TagKeyValue": ["user:Lab$lab"]}
    told = budgets.describe_notifications_for_budget(**whom)["Notifications"]
    assert {(n["NotificationType"], n["Threshold"]) for n in told} == {("ACTUAL", 80), ("FORECASTED", 100)}
    account.up("--expect-no-changes")
    before = len(account.world.calls)
    account.settings(awsBudgetUsd="350")
    assert account.up().counts.get("replaced", 0) == 0
    assert account.world.calls[before:] == [("update", BUDGET)]
    assert budgets.describe_budget(**whom)["Budget"]["BudgetLimit"]["Amount"] == "350"
    # Somebody does not want to be told.
    budgets.delete_notification(**whom, Notification=told[0])
    assert account.run("refresh", "--yes", "--skip-preview").code == 0
    account.up()
    assert len(budgets.describe_notifications_for_budget(**whom)["Notifications"]) == 2


def test_a_change_that_would_replace_what_is_kept_is_refused_before_anything_is_done(
    account: Account,
) -> None:
    before = len(account.world.calls)
    account.settings(awsVpcCidr="10.99.0.0/16")
    refused = account.run("up", "--yes", "--skip-preview")
    assert refused.code != 0
    assert "protect" in refused.text
    assert not [call for call in account.world.calls[before:] if call[0] != "update"]
    assert len(account.world.client("rds").describe_db_clusters()["DBClusters"]) == 1
    account.settings(awsVpcCidr="10.40.0.0/16")
    account.up()


def test_what_is_protected_is_not_destroyed(account: Account) -> None:
    before, known = len(account.world.calls), of_account(account)
    passwords = [r["urn"] for r in account.project.state() if r["type"].startswith("random:")]
    refused = account.run("destroy", "--yes", "--skip-preview")
    assert refused.code != 0
    assert "protect" in refused.text
    assert len(account.world.calls) == before
    assert of_account(account) == known
    still = {r["urn"] for r in account.project.state()}
    assert passwords
    assert still.issuperset(passwords), "what they open is still there"


def test_without_protection_a_destroy_leaves_a_snapshot_alone(account: Account) -> None:
    world = account.world
    s3 = world.client("s3")
    policy = s3.get_bucket_policy(Bucket=WAREHOUSE)["Policy"]
    # moto reads the policy without its conditions, and would refuse every object.
    s3.delete_bucket_policy(Bucket=WAREHOUSE)
    s3.put_object(Bucket=WAREHOUSE, Key="lab/warehouse/t/data.parquet", Body=b"rows")
    s3.put_bucket_policy(Bucket=WAREHOUSE, Policy=policy)
    account.settings(awsProtect="false")
    account.up()
    assert cluster(account)["DeletionProtection"] is False
    done = account.run("destroy", "--yes", "--skip-preview")
    assert done.code == 0, done.text
    ec2, rds = world.client("ec2"), world.client("rds")
    tagged = [{"Name": "tag:Lab", "Values": ["lab"]}]
    assert not rds.describe_db_clusters()["DBClusters"]
    assert not rds.describe_db_instances()["DBInstances"]
    assert not rds.describe_db_subnet_groups()["DBSubnetGroups"]
    (snapshot,) = rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]
    assert snapshot["DBClusterSnapshotIdentifier"] == "lakehouse-lab-final"
    assert not world.client("s3").list_buckets()["Buckets"]
    assert not world.client("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"]
    assert not [r for r in world.client("iam").list_roles()["Roles"] if r["RoleName"].startswith("lakehouse")]
    for name, answer in (
        ("Vpcs", ec2.describe_vpcs(Filters=tagged)),
        ("Subnets", ec2.describe_subnets(Filters=tagged)),
        ("RouteTables", ec2.describe_route_tables(Filters=tagged)),
        ("InternetGateways", ec2.describe_internet_gateways(Filters=tagged)),
        ("SecurityGroups", ec2.describe_security_groups(Filters=tagged)),
    ):
        assert not answer[name], name
    endpoints = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    assert not [e for e in endpoints if e["State"] not in ("deleted", "deleting")]
    kms = world.client("kms")
    states = [kms.describe_key(KeyId=k["KeyId"])["KeyMetadata"]["KeyState"] for k in kms.list_keys()["Keys"]]
    assert set(states) == {"PendingDeletion"}
    assert databases(account).keys() == DATABASES, "what is in a database goes with its cluster, never before"
