"""Two labs that share what an account keeps, by the real engine and the lab command's own operations, on an
account that moto plays: up beside each other, down one after the other."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from cli import operations
from cli.engine import PulumiEngine, RunResult
from cli.project import Lab
from cli.session import Session
from contracts.errors import LabError, PreflightError, UsageError
from contracts.settings import cache_home, read_settings
from placements.aws.account import check_way_out, clients_of
from placements.aws.leftovers import leftovers
from placements.local.software import artifact_path, ensure_artifacts
from tests.engine.aws_account import ACCOUNT, CHECKOUT, REGION
from tests.engine.plugins_support import running_postgresql
from tests.moto_aws.data_api import PostgresDataApi, served
from tests.moto_aws.provider import attached
from tests.moto_aws.types import World

pytestmark = pytest.mark.engine

PROGRAM = f"""\
import sys

sys.path.insert(0, {str(CHECKOUT)!r})

import pulumi

from contracts.settings import Role, program_settings

settings = program_settings()
if settings.role is Role.PERSISTENT:
    from stacks.persistent import persistent

    persistent(settings)
else:
    from contracts.outputs import to_exports
    from placements.aws.cluster import AwsCluster
    from tests.unit.cli_fakes import lab_outputs

    kept = pulumi.StackReference(settings.persistent_stack)
    slot = kept.get_output("slots").apply(lambda slots: slots[settings.name])

    def arn(workload):
        return pulumi.Output.unsecret(slot.apply(lambda s: s[f"{{workload}}_store_user"]["role_arn"]))

    AwsCluster(
        "cluster",
        settings,
        network=kept.get_output("network"),
        role_arns={{workload: arn(workload) for workload in ("catalog", "governor", "opa")}},
        namespace=f"lakehouse-{{settings.name}}",
    )
    for name, value in to_exports(lab_outputs(settings.name, catalog_kind="polaris")).items():
        pulumi.export(name, value)
"""
"""Both stacks but for what runs on the cluster, which moto has no API of."""


@dataclass
class Account:
    """The account, and the labs of one machine in it."""

    folder: Path
    world: World
    said: list[str] = field(default_factory=list)

    def session(self, name: str, **environ: str) -> Session:
        """A session on a lab, as a command of its own has it."""
        home = self.folder / "labs" / name
        base = {k: v for k, v in os.environ.items() if not k.startswith("LAB_")}
        own = {**base, "LAB_HOME": str(home.parent), **environ}
        lab = Lab(name=name, home=home, root=self.folder / "checkout", cache=cache_home())
        return Session(lab, say=self.said.append, environ=own)

    def clusters(self) -> list[str]:
        return sorted(self.world.client("eks").list_clusters()["clusters"])

    def left(self, lab: str) -> tuple[str, ...]:
        found, unseen = leftovers(clients_of(REGION), lab=lab)
        assert unseen == ()
        return tuple(str(one) for one in found)


def play(patch: pytest.MonkeyPatch, world: World) -> None:
    """Gives every run of the engine plugin processes of its own, as real ones are."""
    plain = PulumiEngine._run

    def run(self: PulumiEngine, *arguments: Any, **options: Any) -> RunResult:
        with attached(world) as environment, pytest.MonkeyPatch.context() as own:
            for name, value in environment.items():
                own.setenv(name, value)
            return plain(self, *arguments, **options)

    patch.setattr(PulumiEngine, "_run", run)


def do_not_look(patch: pytest.MonkeyPatch) -> None:
    """Leaves out what looks at the machine and the account beforehand; it has tests of its own."""
    patch.setattr(Session, "policy_packs", lambda _: {})
    patch.setattr("cli.operations.lifecycle.check_elsewhere", lambda *_: None)
    patch.setattr("cli.operations.lifecycle.fetch", lambda *_: None)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """``main`` is up and keeps a slot for ``team-b``."""
    folder, cache = tmp_path_factory.mktemp("account"), cache_home()
    ensure_artifacts(("postgresql",), cache)
    with ExitStack() as stack:
        stack.enter_context(mock_aws(config={"iam": {"load_aws_managed_policies": True}}))
        data = Path(tempfile.mkdtemp(prefix="aurora-"))
        data.chmod(0o755)
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        api = PostgresDataApi(running_postgresql(stack, artifact_path("postgresql", cache, CHECKOUT), data))
        api.prepare()
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("AWS_ENDPOINT_URL_RDS_DATA", stack.enter_context(served(api)))
        patch.setenv("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        world = World(region=REGION)
        play(patch, world)
        do_not_look(patch)
        root = folder / "checkout"
        root.mkdir()
        (root / "__main__.py").write_text(PROGRAM, encoding="utf-8")
        (root / "requirements.txt").write_text("", encoding="utf-8")
        made = Account(folder, world)
        owner = made.session("main")
        owner.throw_away = True
        given = {"placement": "aws", "awsRegion": REGION, "awsAccountId": ACCOUNT}
        more = {"moreLabs": "team-b", "awsNat": "shared", "awsProtect": "false"}
        operations.up(owner, core=True, changes={**given, **more})
        yield made


def test_both_labs_are_up_beside_each_other(account: Account) -> None:
    assert account.clusters() == ["lakehouse-main"]
    guest = account.session("team-b", LAB_SHARES="main")
    up = operations.up(guest, core=True)
    assert account.clusters() == ["lakehouse-main", "lakehouse-team-b"]
    assert up.changes["create"] > 20
    slots = [account.session(name).slot() for name in ("main", "team-b")]
    databases = [
        {s.catalog_database.name, s.keycloak_database.name, s.governance_database.name} for s in slots
    ]
    assert not databases[0] & databases[1]
    assert [s.warehouse.prefix for s in slots] == ["main/warehouse", "team-b/warehouse"]
    assert len({s.warehouse.policy_bucket for s in slots}) == 2
    assert len({s.warehouse.role_arn for s in slots}) == 2
    eks = account.world.client("eks")
    assert eks.describe_cluster(name="lakehouse-team-b")["cluster"]["tags"]["Lab"] == "team-b"


def test_a_second_run_changes_nothing(account: Account) -> None:
    before = len(account.world.calls)
    again = operations.up(account.session("team-b"), core=True)
    assert set(again.changes) <= {"same", "read"}
    assert len(account.world.calls) == before


def test_the_owner_can_not_take_away_what_the_other_needs(account: Account) -> None:
    before = len(account.world.calls)
    with pytest.raises(UsageError, match="the stack of lab 'team-b' is still there"):
        operations.bootstrap(account.session("main"), changes={"moreLabs": ""})
    with pytest.raises(UsageError, match="labs share the persistent stack"):
        operations.destroy(account.session("main"), lambda _: None)
    with pytest.raises(LabError, match="which it only reads"):
        operations.bootstrap(account.session("team-b"))
    assert len(account.world.calls) == before


def test_down_of_one_leaves_the_other_and_what_both_keep(account: Account) -> None:
    down = operations.down(account.session("team-b"))
    # moto lists NAT gateways whatever the tags asked for: the one that both share.
    assert [one for one in down.left if not one.startswith("NAT gateway")] == []
    assert len(account.world.client("ec2").describe_nat_gateways()["NatGateways"]) == 1
    assert account.clusters() == ["lakehouse-main"]
    assert account.left("main"), "the other's is still there"
    account.said.clear()
    plan = operations.destroy(account.session("team-b"), lambda _: None)
    assert plan.then[1] == "lab --name main bootstrap --set moreLabs= --throw-away"
    roles = {role["RoleName"] for role in account.world.client("iam").list_roles()["Roles"]}
    assert {"lakehouse-team-b-catalog", "lakehouse-main-catalog"} <= roles, "its slot is its owner's"


def test_a_way_out_of_its_own_is_one_labs_at_a_time(account: Account) -> None:
    ec2 = account.world.client("ec2")
    (vpc, *_) = [v for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"]]
    (subnet, *_) = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
    tags = {"Project": "lakehouse-lab", "Stack": "lab", "Lab": "main"}
    made = ec2.create_nat_gateway(
        SubnetId=subnet["SubnetId"],
        AllocationId=ec2.allocate_address(Domain="vpc")["AllocationId"],
        TagSpecifications=[
            {"ResourceType": "natgateway", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
        ],
    )["NatGateway"]["NatGatewayId"]
    own = {"role": "lab", "placement": "aws", "awsRegion": REGION, "awsAccountId": ACCOUNT}
    second, labs = {**own, "name": "team-b"}, ["main", "team-b"]
    ec2.create_tags(Resources=[made], Tags=[{"Key": "Stack", "Value": "persistent"}])
    check_way_out(read_settings(second), clients_of(REGION), labs)
    ec2.create_tags(Resources=[made], Tags=[{"Key": "Stack", "Value": "lab"}])
    with pytest.raises(
        PreflightError, match="lab 'main' is up in the network that both labs share"
    ) as refused:
        check_way_out(read_settings(second), clients_of(REGION), labs)
    assert "lab --name main bootstrap --set awsNat=shared" in str(refused.value.next_command)
    check_way_out(read_settings({**own, "name": "main"}), clients_of(REGION), labs)
    check_way_out(read_settings({**second, "awsNat": "shared"}), clients_of(REGION), labs)
    check_way_out(read_settings(second), clients_of(REGION), ["team-b"])
    ec2.delete_nat_gateway(NatGatewayId=made)


def test_the_slot_goes_and_then_the_owner(account: Account) -> None:
    owner = account.session("main")
    owner.throw_away = True
    operations.bootstrap(owner, changes={"moreLabs": ""})
    roles = {role["RoleName"] for role in account.world.client("iam").list_roles()["Roles"]}
    assert "lakehouse-main-catalog" in roles
    assert not [name for name in roles if name.startswith("lakehouse-team-b")]
    operations.destroy(account.session("main"), lambda _: None)
    assert account.clusters() == []
    roles = {role["RoleName"] for role in account.world.client("iam").list_roles()["Roles"]}
    assert not [name for name in roles if name.startswith("lakehouse-")]
