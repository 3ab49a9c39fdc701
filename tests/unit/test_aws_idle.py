"""A lab that nobody uses: when the account ends it by itself, and what it takes for use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from jsonata.jexception import JException
from moto import mock_aws

from cli import operations
from cli.accounts import cluster_is_gone
from contracts.errors import PreflightError, UsageError
from contracts.settings import read_settings
from contracts.use import USE_KEY
from placements.aws.ending import definition, machine_arn, machine_policy
from placements.aws.naming import Scope
from tests.moto_aws.data_api import client_error
from tests.unit import test_aws_account
from tests.unit.aws_states import ACCOUNT, REGION, Run, left, make_lab
from tests.unit.cli_fakes import FakeRun
from tests.unit.test_aws_account import Clients, images_and_programs, make_cluster

run = test_aws_account.run

SCOPE = Scope(lab="lab", account_id=ACCOUNT, region=REGION, stack="lab")
MACHINE: dict[str, Any] = json.loads(definition(SCOPE, looks=True))
BUCKET = SCOPE.bucket("lab", "policy")
LOOK = {"look": True, "hours": 4}
LOOKED = ["s3:listObjectsV2", "scheduler:getSchedule", "eks:describeCluster"]
SCHEDULE: dict[str, Any] = {
    "Name": "lakehouse-lab-idle",
    "ScheduleExpression": "rate(15 minutes)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {
        "Arn": machine_arn(SCOPE),
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/it",
        "Input": json.dumps(LOOK),
    },
}
UP, DOWN = (True, 1, 1), (False, 0, 0)


@pytest.fixture
def account() -> Iterator[None]:
    with mock_aws():
        place = {"LocationConstraint": REGION}
        boto3.client("s3", region_name=REGION).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        boto3.client("scheduler", region_name=REGION).create_schedule(**SCHEDULE)
        yield


def used() -> None:
    boto3.client("s3", region_name=REGION).put_object(Bucket=BUCKET, Key=USE_KEY, Body=b"{}")


def look(**ago: float) -> Run:
    """A run of the schedule's, so long from now."""
    run = Run(now=datetime.now(UTC) + timedelta(**ago))
    run(MACHINE, LOOK)
    return run


def test_a_lab_that_is_used_stays_and_one_that_nobody_used_for_so_long_ends(account: None) -> None:
    make_lab("lab")
    make_lab("lab2")
    used()
    assert look(hours=3, minutes=59).calls == LOOKED
    assert left("lab") == UP
    look(hours=4, minutes=1)
    assert left("lab") == DOWN
    assert left("lab2") == UP


def test_a_cluster_whose_governor_never_came_up_ends_as_well(account: None) -> None:
    make_lab("lab")
    look(minutes=20)
    assert left("lab") == UP, "it is on its way"
    look(hours=4, minutes=1)
    assert left("lab") == DOWN


def answering(monkeypatch: pytest.MonkeyPatch, run: Run, action: str, change: Callable[[Any], None]) -> None:
    """Changes what an action of the run is answered."""
    asked = run._ask

    def changed(service: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
        answer = asked(service, name, given)
        if name == action:
            change(answer)
        return answer

    monkeypatch.setattr(run, "_ask", changed)


def test_use_of_an_earlier_cluster_ends_no_new_one(account: None, monkeypatch: pytest.MonkeyPatch) -> None:
    used()
    make_lab("lab")
    later = datetime.now(UTC) + timedelta(days=2)
    run = Run(now=later + timedelta(hours=3))
    answering(monkeypatch, run, "describeCluster", lambda it: it["Cluster"].update(CreatedAt=later))
    run(MACHINE, LOOK)
    assert left("lab") == UP


def test_a_lab_of_before_stays_for_the_hours_that_were_set_for_it_now(
    account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_lab("lab")
    later = datetime.now(UTC) + timedelta(days=2)
    for hours, stays in ((0.1, True), (3.9, True), (4.1, False)):
        run = Run(now=later + timedelta(hours=hours))
        answering(monkeypatch, run, "getSchedule", lambda it: it.update(LastModificationDate=later))
        run(MACHINE, LOOK)
        assert left("lab") == (UP if stays else DOWN)


def test_a_lab_that_has_no_cluster_yet_is_left_alone(account: None) -> None:
    make_lab("lab")
    eks = boto3.client("eks", region_name=REGION)
    for group in ("system", "query", "batch"):
        eks.delete_nodegroup(clusterName="lakehouse-lab", nodegroupName=group)
    eks.delete_cluster(name="lakehouse-lab")
    run = look(days=9)
    assert run.calls == LOOKED
    assert left("lab") == (False, 1, 1), "its gateways were made first"


def test_at_its_time_a_lab_ends_whoever_uses_it(account: None) -> None:
    make_lab("lab")
    used()
    run = Run()
    run(MACHINE, {})
    assert left("lab") == DOWN
    assert "s3:listObjectsV2" not in run.calls


def test_a_look_that_is_refused_ends_nothing(account: None, monkeypatch: pytest.MonkeyPatch) -> None:
    make_lab("lab")
    run = Run(now=datetime.now(UTC) + timedelta(days=1))

    def refused(service: str, action: str, given: dict[str, Any]) -> dict[str, Any]:
        raise client_error("AccessDenied", "no")

    monkeypatch.setattr(run, "_ask", refused)
    with pytest.raises(ClientError):
        run(MACHINE, LOOK)
    assert left("lab") == UP


@pytest.mark.parametrize(
    ("action", "change"),
    [
        ("describeCluster", lambda it: it["Cluster"].pop("CreatedAt")),
        ("getSchedule", lambda it: it.pop("LastModificationDate")),
        ("listObjectsV2", lambda it: it["Contents"][0].pop("LastModified")),
        ("listObjectsV2", lambda it: it["Contents"][0].update(LastModified="yesterday")),
    ],
)
def test_a_time_that_is_not_told_ends_nothing(
    account: None, monkeypatch: pytest.MonkeyPatch, action: str, change: Callable[[Any], None]
) -> None:
    make_lab("lab")
    used()
    run = Run(now=datetime.now(UTC) + timedelta(days=1))
    answering(monkeypatch, run, action, change)
    with pytest.raises((JException, AssertionError, ValueError)):
        run(MACHINE, LOOK)
    assert left("lab") == UP


def test_a_look_that_is_told_no_hours_ends_nothing(account: None) -> None:
    make_lab("lab")
    run = Run(now=datetime.now(UTC) + timedelta(days=9))
    with pytest.raises((JException, AssertionError)):
        run(MACHINE, {"look": True})
    assert left("lab") == UP


def test_it_sees_when_the_note_was_written_and_reads_nothing() -> None:
    statements = json.loads(machine_policy(SCOPE))["Statement"]
    (listing,) = [s for s in statements if "s3:ListBucket" in s["Action"]]
    assert listing["Resource"] == [f"arn:aws:s3:::{BUCKET}"]
    assert listing["Condition"] == {"StringEquals": {"s3:prefix": USE_KEY}}
    actions = {action for statement in statements for action in statement["Action"]}
    assert not [action for action in actions if action.startswith(("kms:", "s3:Get"))]


@pytest.mark.parametrize("hours", ["-1", "721", "4h", "1.5"])
def test_what_is_no_number_of_hours_is_refused(hours: str) -> None:
    with pytest.raises(UsageError, match="idleStopHours"):
        read_settings({"role": "lab", "placement": "aws", "idleStopHours": hours})


def test_a_lab_that_the_account_ended_since_nobody_used_it_is_made_anew(run: FakeRun, tmp_path: Path) -> None:
    given = {**images_and_programs(run, tmp_path), "idleStopHours": "4"}
    operations.up(run.session, changes=given)
    assert "destroy lab" not in run.calls, "it was never up"
    assert any("cleared away from here alone" in line for line in run.said)
    make_cluster()
    operations.up(run.session)
    assert "destroy lab" not in run.calls
    boto3.client("eks", region_name=REGION).delete_cluster(name="lakehouse-lab")
    run.calls.clear()
    run.said.clear()
    operations.up(run.session, changes={"idleStopHours": "0"})
    assert [call for call in run.calls if call.endswith("lab")] == ["destroy lab", "up lab"]
    assert any("the account ended the cluster" in line for line in run.said)
    assert not any("cleared away from here alone" in line for line in run.said)


def own_clients() -> tuple[Any, Any]:
    """S3, and Step Functions with the machine that ends the lab."""
    s3, machines = (boto3.client(service, region_name=REGION) for service in ("s3", "stepfunctions"))
    machines.create_state_machine(
        name="lakehouse-lab-ending", definition="{}", roleArn=f"arn:aws:iam::{ACCOUNT}:role/it"
    )
    return s3, machines


def test_whoever_brings_a_lab_up_uses_it(run: FakeRun, tmp_path: Path) -> None:
    s3, _ = own_clients()
    given = images_and_programs(run, tmp_path)
    operations.up(run.session, changes=given)
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0, "nobody asks"
    operations.up(run.session, changes={"idleStopHours": "4"})
    note = json.loads(s3.get_object(Bucket=BUCKET, Key=USE_KEY)["Body"].read())
    assert note["what"] == "up"
    assert not any("could not be noted" in line for line in run.said)


def test_use_that_can_not_be_noted_is_said_and_stops_nobody(run: FakeRun, tmp_path: Path) -> None:
    s3, _ = own_clients()
    s3.delete_bucket(Bucket=BUCKET)
    operations.up(run.session, changes={**images_and_programs(run, tmp_path), "idleStopHours": "4"})
    assert any("NoSuchBucket" in line and "4 h after which" in line for line in run.said)
    assert "up lab" in run.calls


def test_a_lab_is_not_brought_up_while_its_cluster_is_ended(
    run: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("cli.accounts.time.sleep", pauses.append)
    _, machines = own_clients()
    operations.up(run.session, changes={**images_and_programs(run, tmp_path), "idleStopHours": "4"})
    assert not pauses, "no look is under way"
    started = machines.start_execution(stateMachineArn=machine_arn(SCOPE), input=json.dumps(LOOK))
    run.calls.clear()
    with pytest.raises(PreflightError, match="ends the cluster of this lab right now") as refused:
        operations.up(run.session, changes={"idleStopHours": "0"})
    assert started["executionArn"] in str(refused.value)
    assert sum(pauses) > 10, "a look that finds it in use is over by then"
    assert not [call for call in run.calls if call.endswith(" lab")]
    machines.stop_execution(executionArn=started["executionArn"])
    operations.up(run.session)
    assert [call for call in run.calls if call.endswith(" lab")] == ["destroy lab", "up lab"]


def test_an_account_that_can_not_be_asked_is_not_taken_for_one_without_a_cluster(
    run: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations.up(run.session, changes=images_and_programs(run, tmp_path))

    def refused(**_: Any) -> Any:
        raise client_error("AccessDeniedException", "no")

    class Refusing(Clients):
        def __call__(self, service: str) -> Any:
            client = super().__call__(service)
            if service == "eks":
                monkeypatch.setattr(client, "describe_cluster", refused)
            return client

    monkeypatch.setattr("placements.aws.account.clients_of", lambda _: Refusing())
    assert not cluster_is_gone(run.session)
