"""The account before and after: what is missing is said by name, what is left is found. moto plays it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cli import operations, steps
from cli.operations.removal import DestroyPlan
from cli.project import read_config, set_config
from contracts.errors import PreflightError, UsageError
from contracts.settings import Role, read_settings
from contracts.tags import resource_tags
from contracts.versions import EKS, IMAGES
from placements.aws.account import PERSISTENT_ACTIONS, check_account, check_cluster_version
from placements.aws.leftovers import leftovers
from tests.moto_aws.data_api import client_error
from tests.unit.cli_fakes import FakeRun, fake_run

REGION, ACCOUNT = "eu-central-1", "123456789012"
Call = Callable[..., Mapping[str, Any]]


class Overridden:
    """A client with calls that moto has not."""

    def __init__(self, client: Any, calls: Mapping[str, Call]) -> None:
        self._client, self._calls = client, calls

    def can_paginate(self, operation: str) -> bool:
        return operation not in self._calls and bool(self._client.can_paginate(operation))

    def __getattr__(self, name: str) -> Any:
        return self._calls.get(name) or getattr(self._client, name)


@dataclass
class Clients:
    """``denied`` are actions that the caller may not do; ``limits`` quotas by code; ``versions`` what RDS
    offers."""

    denied: frozenset[str] = frozenset()
    limits: Mapping[str, int] = field(default_factory=dict)
    versions: tuple[str, ...] = ("15.10", "16.8", "17.4")
    cluster_versions: Mapping[str, str] = field(
        default_factory=lambda: {
            "1.31": "EXTENDED_SUPPORT",
            EKS: "STANDARD_SUPPORT",
            "1.99": "STANDARD_SUPPORT",
        }
    )
    blind: bool = False
    asked: list[str] = field(default_factory=list)

    def __call__(self, service: str) -> Any:
        calls: dict[str, dict[str, Call]] = {
            "iam": {"simulate_principal_policy": self._simulate},
            "rds": {"describe_db_engine_versions": self._versions},
            "service-quotas": {"get_service_quota": self._quota},
            "eks": {"describe_cluster_versions": self._cluster_versions},
        }
        return Overridden(boto3.client(service, region_name=REGION), calls.get(service, {}))

    def _simulate(self, **arguments: Any) -> Mapping[str, Any]:
        self.asked.append(arguments["PolicySourceArn"])
        if self.blind:
            raise client_error("AccessDenied", "not authorized to perform iam:SimulatePrincipalPolicy")
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalDecision": "implicitDeny" if action in self.denied else "allowed",
                }
                for action in arguments["ActionNames"]
            ]
        }

    def _versions(self, **arguments: Any) -> Mapping[str, Any]:
        return {"DBEngineVersions": [{"EngineVersion": version} for version in self.versions]}

    def _cluster_versions(self, **arguments: Any) -> Mapping[str, Any]:
        if self.blind:
            raise client_error("AccessDeniedException", "no")
        found = [
            {"clusterVersion": version, "versionStatus": status}
            for version, status in self.cluster_versions.items()
        ]
        return {"clusterVersions": found}

    def _quota(self, **arguments: Any) -> Mapping[str, Any]:
        if self.blind:
            raise client_error("AccessDeniedException", "no")
        return {"Quota": {"Value": float(self.limits.get(arguments["QuotaCode"], 40))}}


@pytest.fixture
def account() -> Iterator[None]:
    with mock_aws():
        yield


def check(clients: Clients, **given: str) -> tuple[str, tuple[str, ...]]:
    settings = read_settings({"role": "persistent", "placement": "aws", "awsRegion": REGION, **given}, {})
    return check_account(settings, clients)


def test_a_fit_account_is_named_and_nothing_is_noted(account: None) -> None:
    assert check(Clients(), awsAccountId=ACCOUNT) == (ACCOUNT, ())


def test_the_role_behind_a_session_is_asked_about(account: None) -> None:
    from placements.aws.account import _principal

    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/platform/ada"
    assert _principal(session) == f"arn:aws:iam::{ACCOUNT}:role/platform"
    assert _principal(f"arn:aws:iam::{ACCOUNT}:user/ada") == f"arn:aws:iam::{ACCOUNT}:user/ada"


def test_another_account_is_refused(account: None) -> None:
    with pytest.raises(PreflightError, match="another account") as refused:
        check(Clients(), awsAccountId="999999999999")
    assert (refused.value.value, refused.value.permitted) == (ACCOUNT, "999999999999")


def test_missing_rights_are_named(account: None) -> None:
    denied = frozenset({"rds:CreateDBCluster", "kms:CreateKey"})
    assert denied <= set(PERSISTENT_ACTIONS)
    with pytest.raises(PreflightError, match="lacks rights") as refused:
        check(Clients(denied=denied))
    assert refused.value.value == "kms:CreateKey, rds:CreateDBCluster"


def test_a_used_up_quota_says_how_to_raise_it(account: None) -> None:
    with pytest.raises(PreflightError, match="quota of VPCs") as refused:
        check(Clients(limits={"L-F678F1CE": 1}))
    assert refused.value.value == "1 of 1", "every account has a default VPC"
    assert "--quota-code L-F678F1CE --desired-value 2" in str(refused.value.next_command)


def test_a_stack_that_is_made_needs_no_more_of_a_quota(account: None) -> None:
    boto3.client("rds", region_name=REGION).create_db_cluster(
        DBClusterIdentifier="lakehouse-lab",
        Engine="aurora-postgresql",
        MasterUsername="lab_admin",
        MasterUserPassword="not-a-real-password",
    )
    assert check(Clients(limits={"L-F678F1CE": 1}))[1] == ()


def test_what_can_not_be_asked_is_noted_and_stops_nobody(account: None) -> None:
    _, notes = check(Clients(blind=True))
    assert "may do all of it is not known" in notes[0]
    assert len(notes) == 4


@pytest.mark.parametrize(
    ("given", "said", "permitted"),
    [
        (
            {"awsZones": "eu-central-1a,eu-central-1x"},
            "no zone eu-central-1x",
            "eu-central-1a, eu-central-1b",
        ),
        ({"awsDatabaseVersion": "16.9"}, "16.9 is not offered", "16.8, 17.4"),
    ],
)
def test_what_the_region_does_not_have_is_said_with_what_it_has(
    account: None, given: dict[str, str], said: str, permitted: str
) -> None:
    with pytest.raises(PreflightError, match=said) as refused:
        check(Clients(), **given)
    assert permitted in str(refused.value.permitted)


def test_the_clusters_version_is_one_that_the_region_offers(account: None) -> None:
    def check_version(clients: Clients, **given: str) -> tuple[str, ...]:
        settings = read_settings({"role": "lab", "placement": "aws", "awsRegion": REGION, **given}, {})
        return check_cluster_version(settings, clients)

    assert check_version(Clients()) == ()
    (note,) = check_version(Clients(), awsKubernetesVersion="1.31")
    assert "extended support" in note
    with pytest.raises(PreflightError, match=r"does not offer version 1\.20") as refused:
        check_version(Clients(), awsKubernetesVersion="1.20")
    assert refused.value.permitted == f"{EKS}, 1.99"
    (unknown,) = check_version(Clients(blind=True))
    assert "is not known" in unknown


def test_a_budget_tells_somebody_and_its_right_is_asked_for(account: None, run: FakeRun) -> None:
    given = {"placement": "aws", "awsRegion": REGION, "awsBudgetUsd": "200"}
    with pytest.raises(UsageError, match="somebody whom it tells"):
        operations.bootstrap(run.session, changes=given)
    assert run.calls == []
    settings = {"awsBudgetUsd": "200", "awsBudgetEmails": "a@example.com"}
    with pytest.raises(PreflightError, match="lacks rights") as refused:
        check(Clients(denied=frozenset({"budgets:ModifyBudget"})), **settings)
    assert refused.value.value == "budgets:ModifyBudget"
    assert check(Clients(denied=frozenset({"budgets:ModifyBudget"})))[1] == ()


def test_without_credentials_it_says_how_to_get_some() -> None:
    class Nobody:
        def get_caller_identity(self) -> Mapping[str, Any]:
            raise client_error("InvalidClientTokenId", "The security token is invalid")

    with pytest.raises(PreflightError, match="no usable credentials") as refused:
        check_account(read_settings({"role": "persistent", "awsRegion": REGION}, {}), lambda _: Nobody())
    assert "AWS_PROFILE" in str(refused.value.permitted)


def test_what_a_cluster_left_is_found_by_tag_and_what_is_not_its_own_is_not(account: None) -> None:
    ec2 = boto3.client("ec2", region_name=REGION)

    def tags(role: Role) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in resource_tags("lab", role).items()]

    mine, kept = tags(Role.LAB), tags(Role.PERSISTENT)
    claimed = [{"Key": "kubernetes.io/cluster/lakehouse-lab", "Value": "owned"}]

    def volume(tags: list[dict[str, str]]) -> str:
        made = ec2.create_volume(
            AvailabilityZone=f"{REGION}a",
            Size=1,
            TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
        )
        return str(made["VolumeId"])

    by_pulumi, by_kubernetes = volume(mine), volume(claimed)
    volume(kept)
    volume([{"Key": "kubernetes.io/cluster/lakehouse-lab2", "Value": "owned"}])
    address = ec2.allocate_address(
        Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": mine}]
    )["AllocationId"]
    iam = boto3.client("iam", region_name=REGION)
    for name in ("lakehouse-lab-cluster-nodes", "lakehouse-lab-catalog", "lakehouse-lab2-cluster-nodes"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    logs = boto3.client("logs", region_name=REGION)
    logs.create_log_group(logGroupName="/aws/eks/lakehouse-lab/cluster")
    found, unseen = leftovers(Clients(), lab="lab")
    assert [str(one) for one in found] == sorted(
        [
            "IAM role lakehouse-lab-cluster-nodes",
            f"address {address}",
            "log group /aws/eks/lakehouse-lab/cluster",
            *(f"volume {name}" for name in (by_pulumi, by_kubernetes)),
        ]
    )
    assert unseen == ()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: None) -> FakeRun:
    made = fake_run(tmp_path / "labs")
    monkeypatch.setattr("cli.operations.lifecycle.fetch", lambda *_: made.calls.append("fetch"))
    monkeypatch.setattr("placements.local.artifacts.reachable", lambda _: False)
    monkeypatch.setattr(steps, "choose_block", lambda *_: 28000)
    monkeypatch.setattr("placements.aws.account.clients_of", lambda _: Clients())
    return made


def test_bootstrap_looks_first_and_remembers_the_account(run: FakeRun) -> None:
    with pytest.raises(UsageError, match="needs to know its region"):
        operations.bootstrap(run.session, changes={"placement": "aws"})
    assert run.calls == []
    assert not run.lab.exists
    operations.bootstrap(run.session, changes={"placement": "aws", "awsRegion": REGION})
    assert run.calls == ["fetch", "up persistent"]
    for role in Role:
        assert read_config(run.lab, role)["awsAccountId"] == ACCOUNT


def images_and_programs(run: FakeRun, folder: Path) -> dict[str, str]:
    """Settings and an environment with which services may be brought up."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("kubectl", "aws"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    run.session.environ = {**run.session.environ, "PATH": str(programs)}
    references = {name: f"registry.example/{name}@sha256:{'0' * 64}" for name in IMAGES}
    (folder / "images.json").write_text(json.dumps(references))
    return {"placement": "aws", "awsRegion": REGION, "imagesFile": str(folder / "images.json")}


def test_up_brings_up_both_stacks_with_the_catalog_that_runs_there(run: FakeRun, tmp_path: Path) -> None:
    given = images_and_programs(run, tmp_path)
    operations.up(run.session, changes=given)
    assert run.calls[-2:] == ["up persistent", "up lab"]
    assert read_config(run.lab, Role.LAB)["catalog"] == "polaris"
    assert any("private endpoint alone" in line for line in run.said)
    with pytest.raises(UsageError, match="this lab's catalog is polaris"):
        operations.up(run.session, catalog="nessie")


def make_cluster() -> None:
    """The lab's cluster, which the engine of these tests does not make."""
    subnet = boto3.client("ec2", region_name=REGION).describe_subnets()["Subnets"][0]["SubnetId"]
    boto3.client("eks", region_name=REGION).create_cluster(
        name="lakehouse-lab",
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/control",
        resourcesVpcConfig={"subnetIds": [subnet]},
    )


def test_a_lab_whose_time_is_over_wants_a_new_one_and_is_made_anew(run: FakeRun, tmp_path: Path) -> None:
    given = images_and_programs(run, tmp_path)
    operations.up(run.session, changes=given, ttl="8h")
    assert read_config(run.lab, Role.LAB)["awsExpiresAt"].endswith("Z")
    set_config(run.lab, Role.LAB, "awsExpiresAt", "2020-01-31T18:00:00Z")
    run.calls.clear()
    with pytest.raises(UsageError, match="time of lab 'lab' is over"):
        operations.up(run.session)
    assert run.calls == []
    operations.up(run.session, ttl="2d")
    assert [call for call in run.calls if call.endswith("lab")] == ["destroy lab", "up lab"]
    make_cluster()
    run.calls.clear()
    operations.up(run.session, changes={"awsExpiresAt": ""})
    assert "destroy lab" not in run.calls


def test_up_says_first_what_its_services_lack(run: FakeRun, tmp_path: Path) -> None:
    given = images_and_programs(run, tmp_path)
    with pytest.raises(UsageError, match="runs catalog polaris"):
        operations.up(run.session, changes=given, catalog="nessie")
    with pytest.raises(PreflightError, match="images whose digest is not known"):
        operations.up(run.session, changes={**given, "imagesFile": ""})
    (tmp_path / "bin" / "aws").unlink()
    with pytest.raises(PreflightError, match="aws is not on PATH"):
        operations.up(run.session, changes=given)
    (tmp_path / "bin" / "aws").symlink_to(tmp_path / "bin" / "kubectl")
    run.session.environ = {**run.session.environ, "AWS_ACCESS_KEY_ID": "AKIA"}
    with pytest.raises(PreflightError, match="keys that stand in the environment"):
        operations.up(run.session, changes=given)
    assert run.calls == []


def test_destroy_is_refused_until_protection_is_off(run: FakeRun) -> None:
    operations.bootstrap(run.session, changes={"placement": "aws", "awsRegion": REGION})
    asked: list[DestroyPlan] = []
    with pytest.raises(PreflightError, match="protected") as refused:
        operations.destroy(run.session, asked.append)
    assert not asked
    assert "awsProtect=false --throw-away" in str(refused.value)
    run.session.throw_away = True
    operations.bootstrap(run.session, changes={"awsProtect": "false"})
    operations.destroy(run.session, asked.append)
    assert "destroy persistent" in run.calls
    assert any("final snapshot" in kept for kept in asked[0].keeps)


def test_no_setting_of_a_lab_takes_its_protection_away(run: FakeRun) -> None:
    operations.bootstrap(run.session, changes={"placement": "aws", "awsRegion": REGION})
    before = list(run.calls)
    with pytest.raises(UsageError, match="without protection") as refused:
        operations.bootstrap(run.session, changes={"awsProtect": "false"})
    assert "--throw-away" in str(refused.value)
    assert run.calls == before
    assert "awsProtect" not in read_config(run.lab, Role.PERSISTENT)
    ((_, configured),) = run.session.policy_packs().items()
    assert configured is None, "the rules hold for it as they are"


def test_its_owner_may_take_it_away_for_one_command_and_the_guardrails_hold(run: FakeRun) -> None:
    operations.bootstrap(run.session, changes={"placement": "aws", "awsRegion": REGION})
    run.session.throw_away = True
    operations.bootstrap(run.session, changes={"awsProtect": "false"})
    ((pack, configured),) = run.session.policy_packs().items()
    assert pack.name == "guardrails"
    assert configured is not None
    assert json.loads(configured.read_text()) == {"deletion-protection": {"throwAwayLabs": ["lab"]}}
    run.session.throw_away = False
    with pytest.raises(UsageError, match="without protection"):
        operations.bootstrap(run.session)


def test_the_packs_own_configuration_names_labs_to_throw_away(run: FakeRun, tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    environ = {**run.session.environ, "LAB_GUARDRAILS_CONFIG": str(file)}
    run.session.environ = environ
    unprotected = {"placement": "aws", "awsRegion": REGION, "awsProtect": "false"}
    for content, said in (
        ("", "does not name a configuration"),
        ('{"deletion-protection": {"throwAwayLabs": "lab"}}', "other content"),
        ('{"deletion-protection": {"throwAwayLabs": ["another"]}}', "without protection"),
    ):
        file.write_text(content)
        with pytest.raises(UsageError, match=said):
            operations.bootstrap(run.session, changes=unprotected)
    assert run.calls == []
    file.write_text('{"deletion-protection": {"throwAwayLabs": ["lab"]}}')
    operations.bootstrap(run.session, changes=unprotected)
    assert list(run.session.policy_packs().values()) == [file]


def test_down_reports_what_is_left(run: FakeRun) -> None:
    operations.bootstrap(run.session, changes={"placement": "aws", "awsRegion": REGION})
    boto3.client("logs", region_name=REGION).create_log_group(logGroupName="/aws/eks/lakehouse-lab/cluster")
    assert operations.down(run.session).left == ("log group /aws/eks/lakehouse-lab/cluster",)
