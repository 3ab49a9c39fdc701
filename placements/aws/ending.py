"""What ends a lab's cluster at a time that was set, or once nobody uses it, whether or not anybody's machine
is on.

Schedules start a state machine, all of it in the account. It calls AWS alone: no program has to be fetched,
no state read and no secret opened. What costs by the hour goes; what is left of the stack costs nothing and
goes with the next ``lab up`` or ``lab down``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi

from contracts.settings import Role, Settings
from contracts.tags import resource_tags
from contracts.use import USE_KEY
from placements.aws.naming import Scope
from placements.aws.policies import Statement, allow, document
from placements.aws.sdk import aws

_WAIT_S = 60
_LONGEST_S = 4 * 3600
_LOOK_EVERY_MINUTES = 15
_HOUR_MS = 3_600_000
_MACHINE_ROLE, _SCHEDULE_ROLE = "ending", "ending-schedule"
_AT_ITS_TIME, _IDLE = "ending", "idle"
"""What the schedules are called."""


def definition(scope: Scope, *, looks: bool = False) -> str:
    """The state machine (https://states-language.net/spec.html): nodes, cluster, NAT gateways, addresses.
    Each is looked for again until it is gone, so that a run which somebody started twice does no harm.

    With ``looks`` a run whose input is ``{"look": true, "hours": 4}`` does so only once nobody has used the
    lab for that long.
    """
    cluster = scope.prefix
    gone = {"ErrorEquals": ["Eks.ResourceNotFoundException"], "ResultPath": None}
    own = [
        {"Name": f"tag:{key}", "Values": [value]} for key, value in resource_tags(scope.lab, Role.LAB).items()
    ]
    alive = {"Name": "state", "Values": ["pending", "available", "deleting"]}
    states: dict[str, Any] = {
        "Nodes": _call(
            "eks:listNodegroups", {"ClusterName": cluster}, "AnyNodes", catch=[{**gone, "Next": "Gateways"}]
        ),
        "AnyNodes": _any("$.found.Nodegroups[0]", "DeleteNodes", "DeleteCluster"),
        "DeleteNodes": _each(
            "$.found.Nodegroups",
            "eks:deleteNodegroup",
            {"ClusterName": cluster, "NodegroupName.$": "$"},
            "WaitForNodes",
        ),
        "WaitForNodes": {"Type": "Wait", "Seconds": _WAIT_S, "Next": "Nodes"},
        "DeleteCluster": _call(
            "eks:deleteCluster",
            {"Name": cluster},
            "WaitForCluster",
            catch=[
                {**gone, "Next": "Gateways"},
                # It is being deleted, or an add-on or a node group of it still is.
                {
                    "ErrorEquals": ["Eks.ResourceInUseException"],
                    "ResultPath": None,
                    "Next": "WaitForCluster",
                },
            ],
        ),
        "WaitForCluster": {"Type": "Wait", "Seconds": _WAIT_S, "Next": "Cluster"},
        "Cluster": _call(
            "eks:describeCluster", {"Name": cluster}, "Nodes", catch=[{**gone, "Next": "Gateways"}]
        ),
        "Gateways": _call("ec2:describeNatGateways", {"Filter": [*own, alive]}, "AnyGateways"),
        "AnyGateways": _any("$.found.NatGateways[0]", "DeleteGateways", "Addresses"),
        "DeleteGateways": _each(
            "$.found.NatGateways",
            "ec2:deleteNatGateway",
            {"NatGatewayId.$": "$.NatGatewayId"},
            "WaitForGateways",
        ),
        "WaitForGateways": {"Type": "Wait", "Seconds": _WAIT_S, "Next": "Gateways"},
        "Addresses": _call("ec2:describeAddresses", {"Filters": own}, "AnyAddresses"),
        "AnyAddresses": _any("$.found.Addresses[0]", "ReleaseAddresses", "Ended"),
        "ReleaseAddresses": _each(
            "$.found.Addresses",
            "ec2:releaseAddress",
            {"AllocationId.$": "$.AllocationId"},
            "WaitForAddresses",
        ),
        "WaitForAddresses": {"Type": "Wait", "Seconds": _WAIT_S, "Next": "Addresses"},
        "Ended": {"Type": "Succeed"},
    }
    first = "Nodes"
    if looks:
        first, states = "Why", {**_looking(scope), **states}
    found = {"Comment": f"Ends the cluster of lab {scope.lab}", "StartAt": first, "States": states}
    return json.dumps({**found, "TimeoutSeconds": _LONGEST_S}, sort_keys=True)


def _looking(scope: Scope) -> dict[str, Any]:
    """The states that decide whether a lab is idle: it is when no use was noted for so long, and both the
    cluster and the schedule that looks, with its hours, are older than that. A cluster whose governor never
    came up is idle, too; one that is not there yet has no use to be noted of. Times are of the services that
    tell them, in JSONata, since paths can't add. One that is not told fails the run, which ends nothing."""
    asked: dict[str, Any] = {"Type": "Task", "QueryLanguage": "JSONata", "Retry": [_THROTTLED]}
    gone = {"ErrorEquals": ["Eks.ResourceNotFoundException"], "Next": "Stays"}
    given, now = "$states.context.Execution.Input.hours", "$toMillis($states.context.State.EnteredTime)"
    return {
        "Why": _any("$.look", "Used", "Nodes"),
        "Used": {
            **asked,
            "Resource": "arn:aws:states:::aws-sdk:s3:listObjectsV2",
            # A listing tells when the object was written, and opens neither it nor the key.
            "Arguments": {"Bucket": use_bucket(scope), "Prefix": USE_KEY, "MaxKeys": 1},
            "Output": {
                "last": "{% $exists($states.result.Contents) "
                "? $toMillis($states.result.Contents[0].LastModified) : 0 %}"
            },
            "Next": "Set",
        },
        # Who sets the hours, or other ones, uses the lab: nothing was noted while nobody had asked for it.
        "Set": {
            **asked,
            "Resource": "arn:aws:states:::aws-sdk:scheduler:getSchedule",
            "Arguments": {"Name": _schedule_name(scope, _IDLE)},
            "Output": {"last": _later("$states.result.LastModificationDate")},
            "Next": "Age",
        },
        "Age": {
            **asked,
            "Resource": "arn:aws:states:::aws-sdk:eks:describeCluster",
            "Arguments": {"Name": scope.prefix},
            "Output": {"last": _later("$states.result.Cluster.CreatedAt")},
            "Retry": [{"ErrorEquals": gone["ErrorEquals"], "MaxAttempts": 0}, _THROTTLED],
            "Catch": [gone],
            "Next": "Idle",
        },
        "Idle": {
            "Type": "Choice",
            "QueryLanguage": "JSONata",
            "Choices": [
                {
                    "Condition": f"{{% {now} - $states.input.last > {given} * {_HOUR_MS} %}}",
                    "Next": "Nodes",
                }
            ],
            "Default": "Stays",
        },
        "Stays": {"Type": "Succeed"},
    }


def _later(moment: str) -> str:
    """The later of the last use so far and a moment of the answer."""
    last = f"$max([$states.input.last, $toMillis({moment})])"
    return f"{{% $exists({moment}) ? {last} : $error('no {moment.rpartition('.')[2]}') %}}"


def use_bucket(scope: Scope) -> str:
    """The bucket that holds the note of the lab's last use: the one of access bundles."""
    return scope.bucket(scope.lab, "policy")


_THROTTLED = {"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 4, "BackoffRate": 2.0}


def _call(
    action: str,
    parameters: Mapping[str, Any],
    then: str,
    *,
    catch: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::aws-sdk:{action}",
        "Parameters": dict(parameters),
        "ResultPath": "$.found",
        # What is caught below is an answer and not tried again.
        "Retry": [*({**one, "MaxAttempts": 0} for one in _answers(catch)), _THROTTLED],
        **({"Catch": catch} if catch else {}),
        "Next": then,
    }


def _answers(catch: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [{"ErrorEquals": one["ErrorEquals"]} for one in catch or ()]


def _any(path: str, then: str, otherwise: str) -> dict[str, Any]:
    choice = {"Variable": path, "IsPresent": True, "Next": then}
    return {"Type": "Choice", "Choices": [choice], "Default": otherwise}


def _each(path: str, action: str, parameters: Mapping[str, Any], then: str) -> dict[str, Any]:
    """Asks for the end of each of a list. One that is refused, since it goes already or is still in use, is
    asked for again in the next round."""
    task = {
        "Type": "Task",
        "Resource": f"arn:aws:states:::aws-sdk:{action}",
        "Parameters": dict(parameters),
        "Catch": [{"ErrorEquals": ["States.TaskFailed"], "Next": "Later"}],
        "End": True,
    }
    states = {"Ask": task, "Later": {"Type": "Pass", "End": True}}
    return {
        "Type": "Map",
        "ItemsPath": path,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Ask", "States": states},
        "ResultPath": None,
        "Next": then,
    }


def machine_arn(scope: Scope) -> str:
    """ARN of the state machine, known before it is made."""
    return scope.arn("states", f"stateMachine:{scope.prefix}-ending")


def _schedule_name(scope: Scope, name: str) -> str:
    return f"{scope.prefix}-{name}"


def _schedule_arn(scope: Scope, name: str) -> str:
    return scope.arn("scheduler", f"schedule/default/{_schedule_name(scope, name)}")


def schedule_arns(scope: Scope) -> list[str]:
    """ARNs of the schedules, known before they are made."""
    return [_schedule_arn(scope, name) for name in (_AT_ITS_TIME, _IDLE)]


def machine_policy(scope: Scope) -> str:
    """What the state machine may: end the lab's cluster and what carries the tags of its lab stack, and see
    when the lab was last used."""
    cluster = [scope.arn("eks", f"cluster/{scope.prefix}")]
    nodes = [scope.arn("eks", f"nodegroup/{scope.prefix}/*/*")]
    tagged = {f"aws:ResourceTag/{key}": value for key, value in resource_tags(scope.lab, Role.LAB).items()}
    return document(
        allow(["eks:ListNodegroups", "eks:DescribeCluster", "eks:DeleteCluster"], cluster),
        allow(["eks:DescribeNodegroup", "eks:DeleteNodegroup"], nodes),
        allow(["ec2:DescribeNatGateways", "ec2:DescribeAddresses"], ["*"]),
        allow(["scheduler:GetSchedule"], [_schedule_arn(scope, _IDLE)]),
        allow(["s3:ListBucket"], [scope.bucket_arn(use_bucket(scope))], StringEquals={"s3:prefix": USE_KEY}),
        allow(
            ["ec2:DeleteNatGateway", "ec2:ReleaseAddress"],
            [scope.arn("ec2", "natgateway/*"), scope.arn("ec2", "elastic-ip/*")],
            StringEquals=tagged,
        ),
    )


def schedule_policy(scope: Scope) -> str:
    """What the schedule may: start that state machine."""
    return document(allow(["states:StartExecution"], [machine_arn(scope)]))


def _trust(scope: Scope, service: str) -> str:
    statement: Statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": ["sts:AssumeRole"],
        "Condition": {"StringEquals": {"aws:SourceAccount": scope.account_id}},
    }
    return document(statement)


def ending_roles(scope: Scope, *, prefix: str = "", opts: pulumi.ResourceOptions) -> None:
    """Registers the roles of schedule and state machine of the scope's lab. They are of the persistent stack:
    who deploys a lab stack may write no policy. ``prefix`` tells the resources of several labs apart."""
    for purpose, service, policy in (
        (_MACHINE_ROLE, "states.amazonaws.com", machine_policy(scope)),
        (_SCHEDULE_ROLE, "scheduler.amazonaws.com", schedule_policy(scope)),
    ):
        role = aws().iam.Role(
            f"{prefix}{purpose}",
            name=f"{scope.prefix}-{purpose}",
            assume_role_policy=_trust(scope, service),
            tags=scope.tags(purpose),
            opts=opts,
        )
        aws().iam.RolePolicy(f"{prefix}{purpose}", name=purpose, role=role.name, policy=policy, opts=opts)


def role_arns(scope: Scope) -> list[str]:
    """ARNs of those roles."""
    return [scope.iam_arn("role", f"{scope.prefix}-{purpose}") for purpose in (_MACHINE_ROLE, _SCHEDULE_ROLE)]


def ending(scope: Scope, settings: Settings, *, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """Registers what ends the lab at ``awsExpiresAt`` (``2027-01-31T18:00:00Z``), and what ends it after
    ``idleStopHours`` without use; nothing where neither is set. It is there before the cluster is, so that
    one that comes up halfway ends, too."""
    expires_at, idle_hours = str(settings.values["awsExpiresAt"]), int(settings.values["idleStopHours"])
    if not expires_at and not idle_hours:
        return []
    machine_role, schedule_role = role_arns(scope)
    machine = aws().sfn.StateMachine(
        "ending",
        name=f"{scope.prefix}-ending",
        role_arn=machine_role,
        definition=definition(scope, looks=idle_hours > 0),
        tags=scope.tags("ending"),
        opts=opts,
    )

    def schedule(name: str, expression: str, given: Mapping[str, Any]) -> pulumi.Resource:
        made: pulumi.Resource = aws().scheduler.Schedule(
            name,
            name=_schedule_name(scope, name),
            schedule_expression=expression,
            schedule_expression_timezone="UTC",
            flexible_time_window={"mode": "OFF"},
            target={"arn": machine.arn, "role_arn": schedule_role, "input": json.dumps(given)},
            opts=opts,
        )
        return made

    made: list[pulumi.Resource] = [machine]
    if expires_at:
        made.append(schedule(_AT_ITS_TIME, f"at({expires_at.removesuffix('Z')})", {}))
    if idle_hours:
        # The hours stand here, so that other ones change the schedule and with it when it was last changed.
        given = {"look": True, "hours": idle_hours}
        made.append(schedule(_IDLE, f"rate({_LOOK_EVERY_MINUTES} minutes)", given))
    return made
