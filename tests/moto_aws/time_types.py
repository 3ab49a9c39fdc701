"""What happens by the clock: schedules, the state machines that they start, and a month's budget."""

from __future__ import annotations

from typing import Any

from plugins.values import Props
from tests.moto_aws.types import MotoType, World, as_declared, mapping, pairs


class StateMachine(MotoType):
    token = "aws:sfn/stateMachine:StateMachine"
    replaces = frozenset({"name", "type"})

    def make(self, world: World, inputs: Props) -> str:
        made = world.client("stepfunctions").create_state_machine(
            name=inputs["name"],
            definition=inputs["definition"],
            roleArn=inputs["roleArn"],
            tags=_small(inputs["tags"]),
        )
        return str(made["stateMachineArn"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        client = world.client("stepfunctions")
        found = client.describe_state_machine(stateMachineArn=ident)
        tags = client.list_tags_for_resource(resourceArn=ident)["tags"]
        return {
            "arn": ident,
            "definition": as_declared(props.get("definition"), found["definition"]),
            "roleArn": found["roleArn"],
            "tags": mapping([{"Key": tag["key"], "Value": tag["value"]} for tag in tags]),
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        client = world.client("stepfunctions")
        client.update_state_machine(
            stateMachineArn=ident, definition=declared["definition"], roleArn=declared["roleArn"]
        )
        client.tag_resource(resourceArn=ident, tags=_small(declared["tags"]))

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("stepfunctions").delete_state_machine(stateMachineArn=ident)


class Schedule(MotoType):
    """A schedule of the group ``default``."""

    token = "aws:scheduler/schedule:Schedule"
    replaces = frozenset({"name", "groupName"})

    def _asked(self, inputs: Props) -> dict[str, Any]:
        target = inputs["target"]
        return {
            "Name": inputs["name"],
            "ScheduleExpression": inputs["scheduleExpression"],
            "ScheduleExpressionTimezone": inputs["scheduleExpressionTimezone"],
            "FlexibleTimeWindow": {"Mode": inputs["flexibleTimeWindow"]["mode"]},
            "Target": {"Arn": target["arn"], "RoleArn": target["roleArn"], "Input": target["input"]},
        }

    def make(self, world: World, inputs: Props) -> str:
        world.client("scheduler").create_schedule(**self._asked(inputs))
        return f"default/{inputs['name']}"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("scheduler").get_schedule(Name=ident.removeprefix("default/"))
        target = found["Target"]
        return {
            "arn": found["Arn"],
            "scheduleExpression": found["ScheduleExpression"],
            "scheduleExpressionTimezone": found["ScheduleExpressionTimezone"],
            "flexibleTimeWindow": {"mode": found["FlexibleTimeWindow"]["Mode"]},
            "target": {"arn": target["Arn"], "roleArn": target["RoleArn"], "input": target["Input"]},
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("scheduler").update_schedule(**self._asked(declared))

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("scheduler").delete_schedule(Name=ident.removeprefix("default/"))


class Budget(MotoType):
    """moto changes no budget and tells of no subscribers: a change deletes it and makes it anew, and whom a
    notification tells is what was declared."""

    token = "aws:budgets/budget:Budget"
    replaces = frozenset({"name", "accountId"})

    def make(self, world: World, inputs: Props) -> str:
        world.client("budgets").create_budget(
            AccountId=inputs["accountId"],
            Budget={
                "BudgetName": inputs["name"],
                "BudgetType": inputs["budgetType"],
                "TimeUnit": inputs["timeUnit"],
                "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": inputs["limitUnit"]},
                "CostFilters": {one["name"]: one["values"] for one in inputs["costFilters"]},
            },
            NotificationsWithSubscribers=[
                {
                    "Notification": _notification(one),
                    "Subscribers": [
                        {"SubscriptionType": "EMAIL", "Address": address}
                        for address in one["subscriberEmailAddresses"]
                    ],
                }
                for one in inputs["notifications"]
            ],
            ResourceTags=pairs(inputs["tags"]),
        )
        return f"{inputs['accountId']}:{inputs['name']}"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        account, name = ident.split(":")
        client = world.client("budgets")
        found = client.describe_budget(AccountId=account, BudgetName=name)["Budget"]
        told = client.describe_notifications_for_budget(AccountId=account, BudgetName=name)["Notifications"]
        return {
            "arn": f"arn:aws:budgets::{account}:budget/{name}",
            "budgetType": found["BudgetType"],
            "timeUnit": found["TimeUnit"],
            "limitAmount": found["BudgetLimit"]["Amount"],
            "limitUnit": found["BudgetLimit"]["Unit"],
            "costFilters": [{"name": key, "values": values} for key, values in found["CostFilters"].items()],
            "notifications": [one for one in props["notifications"] if _notification(one) in told],
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        self.remove(world, ident, declared)
        self.make(world, declared)

    def remove(self, world: World, ident: str, props: Props) -> None:
        account, name = ident.split(":")
        world.client("budgets").delete_budget(AccountId=account, BudgetName=name)


def _notification(declared: Props) -> dict[str, Any]:
    return {
        "ComparisonOperator": declared["comparisonOperator"],
        "NotificationType": declared["notificationType"],
        "Threshold": float(declared["threshold"]),
        "ThresholdType": declared["thresholdType"],
    }


def _small(tags: Props) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


TYPES: tuple[type[MotoType], ...] = (StateMachine, Schedule, Budget)
