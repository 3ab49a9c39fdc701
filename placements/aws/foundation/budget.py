"""A budget that tells somebody. It stops nothing: what is kept goes on, and ``lab down`` ends the rest."""

from __future__ import annotations

import pulumi

from contracts.errors import UsageError
from contracts.settings import Settings
from contracts.slots import labs_of
from placements.aws.naming import Scope
from placements.aws.sdk import aws

_SPENT_PERCENT = 80
_FORECAST_PERCENT = 100


def check_budget(settings: Settings) -> None:
    """Raises UsageError for a budget that would tell nobody."""
    limit, emails = float(settings.values["awsBudgetUsd"]), settings.values["awsBudgetEmails"]
    if limit and not emails:
        raise UsageError(
            "a budget needs somebody whom it tells",
            value=f"awsBudgetUsd: {limit:g}, awsBudgetEmails not set",
            permitted="addresses such as platform@example.com",
            next_command="lab bootstrap --set awsBudgetEmails=platform@example.com",
        )


def budget(scope: Scope, settings: Settings, *, opts: pulumi.ResourceOptions) -> None:
    """Registers the budget of everything that carries the tag of a lab of this stack; nothing where none is
    set. AWS knows costs by a tag once somebody has activated it as a cost allocation tag."""
    limit = float(settings.values["awsBudgetUsd"])
    if not limit:
        return
    emails = list(settings.values["awsBudgetEmails"])
    aws().budgets.Budget(
        "budget",
        name=scope.prefix,
        account_id=scope.account_id,
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount=f"{limit:g}",
        limit_unit="USD",
        cost_filters=[{"name": "TagKeyValue", "values": [f"user:Lab${lab}" for lab in labs_of(settings)]}],
        notifications=[
            {
                "comparison_operator": "GREATER_THAN",
                "notification_type": kind,
                "threshold": float(percent),
                "threshold_type": "PERCENTAGE",
                "subscriber_email_addresses": emails,
            }
            for kind, percent in (("ACTUAL", _SPENT_PERCENT), ("FORECASTED", _FORECAST_PERCENT))
        ],
        tags=scope.tags("budget"),
        opts=opts,
    )
