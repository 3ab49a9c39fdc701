"""What ends a lab's cluster: the state machine as it is written, run step by step on an account of moto's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from cli import expiry
from cli.project import open_lab
from contracts.errors import UsageError
from placements.aws.ending import definition, machine_policy, schedule_policy
from placements.aws.naming import Scope
from policies.guardrails.iam import NO_WILDCARD_IAM
from policies.guardrails.model import Resource
from tests.unit.aws_states import ACCOUNT, REGION, Run, left, make_lab

SCOPE = Scope(lab="lab", account_id=ACCOUNT, region=REGION, stack="lab")
MACHINE: dict[str, Any] = json.loads(definition(SCOPE))


@pytest.fixture
def account() -> Iterator[None]:
    with mock_aws():
        yield


def test_it_ends_what_costs_of_its_own_lab_and_of_no_other(account: None) -> None:
    make_lab("lab")
    make_lab("lab2")
    run = Run()
    run(MACHINE, {})
    assert left("lab") == (False, 0, 0)
    assert left("lab2") == (True, 1, 1)
    assert run.calls.index("eks:deleteNodegroup") < run.calls.index("eks:deleteCluster")
    assert run.calls.index("eks:deleteCluster") < run.calls.index("ec2:deleteNatGateway")
    assert run.waits > 2, "what is being deleted is waited for"


def test_a_second_run_finds_nothing_to_do(account: None) -> None:
    run = Run()
    run(MACHINE, {})
    assert not [call for call in run.calls if "delete" in call or "release" in call]


def test_what_is_still_in_use_is_asked_for_again(account: None) -> None:
    make_lab("lab")
    run = Run(refusing={"deleteNodegroup": 2, "deleteCluster": 1, "deleteNatGateway": 1, "releaseAddress": 1})
    run(MACHINE, {})
    assert left("lab") == (False, 0, 0)


@pytest.mark.parametrize("machine", [MACHINE, json.loads(definition(SCOPE, looks=True))], ids=["ttl", "idle"])
def test_every_step_leads_somewhere(machine: dict[str, Any]) -> None:
    states = machine["States"]
    named = {machine["StartAt"]}
    for state in states.values():
        named |= {state[key] for key in ("Next", "Default") if key in state}
        named |= {other["Next"] for key in ("Catch", "Choices") for other in state.get(key, ())}
    assert named == set(states)


_RIGHTS = {"listObjectsV2": "ListBucket"}
"""Where the right is not called as the operation is."""


def test_it_may_do_what_it_does_and_nothing_else() -> None:
    text = definition(SCOPE, looks=True)
    called = {
        f"{service}:{_RIGHTS.get(action, action[0].upper() + action[1:])}"
        for service, action in re.findall(r"aws-sdk:(\w+):(\w+)", text)
    }
    statements = json.loads(machine_policy(SCOPE))["Statement"]
    allowed = {action for statement in statements for action in statement["Action"]}
    # EC2 and EKS call some actions otherwise than their operations.
    assert called <= allowed
    assert allowed - called == {"eks:DescribeNodegroup"}
    for policy in (machine_policy(SCOPE), schedule_policy(SCOPE)):
        resource = Resource(type="aws:iam/rolePolicy:RolePolicy", name="it", props={"policy": policy})
        assert NO_WILDCARD_IAM.check is not None
        assert list(NO_WILDCARD_IAM.check(resource)) == []
    (changing,) = [s for s in statements if "ec2:DeleteNatGateway" in s["Action"]]
    assert changing["Condition"]["StringEquals"]["aws:ResourceTag/Lab"] == "lab"


NOON = datetime(2027, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ttl", "moment"),
    [("90m", "2027-01-31T13:30:00Z"), ("8h", "2027-01-31T20:00:00Z"), ("2d", "2027-02-02T12:00:00Z")],
)
def test_a_time_to_live_is_a_moment(ttl: str, moment: str) -> None:
    assert expiry.expiry(ttl, lambda: NOON) == moment
    assert not expiry.is_over(moment, lambda: NOON)


@pytest.mark.parametrize("ttl", ["8", "h", "44m", "31d", "-1h", "1w", "8 h"])
def test_what_is_no_time_to_live_is_refused(ttl: str) -> None:
    with pytest.raises(UsageError, match="not a time that a lab may live") as refused:
        expiry.expiry(ttl, lambda: NOON)
    assert "lab up --ttl 8h" in str(refused.value)


def test_a_lab_elsewhere_is_ended_by_nobody(tmp_path: Path) -> None:
    lab = open_lab("lab", {"LAB_HOME": str(tmp_path)})
    with pytest.raises(UsageError, match="ended by nobody but you"):
        expiry.with_ttl(lab, {}, "8h")
    assert expiry.with_ttl(lab, {"placement": "aws"}, "8h", lambda: NOON) == (
        {"placement": "aws", "awsExpiresAt": "2027-01-31T20:00:00Z"},
        False,
    )
