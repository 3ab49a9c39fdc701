"""What a lab in an AWS account needs before the engine is started, and what it left there."""

from __future__ import annotations

from cli.project import Lab, read_config, set_config, settings
from cli.session import Session
from contracts.errors import PreflightError, UsageError
from contracts.settings import Role


def check_aws_lab(session: Session) -> str:
    """The id of the account, once region, zones, database version, rights and quotas are as they have to be.

    Raises:
        UsageError: no region is set.
        PreflightError: no credentials, another account's, missing rights (by name), a quota that is used up.
    """
    # Loaded here: a lab on this machine has no use for it.
    from placements.aws.account import check_account, check_cluster_version, clients_of, region_of
    from placements.aws.foundation.budget import check_budget

    own = settings(session.lab, Role.PERSISTENT, session.environ)
    check_budget(own)
    clients = clients_of(region_of(own))
    account, notes = check_account(own, clients)
    notes += check_cluster_version(settings(session.lab, Role.LAB, session.environ), clients)
    for note in notes:
        session.say(note)
    return account


def remember_account(lab: Lab, account: str) -> None:
    """Keeps the account's id, so that no other account is taken for it later."""
    for role in Role:
        set_config(lab, role, "awsAccountId", account)


def left_in_account(session: Session) -> tuple[str, ...]:
    """What of the lab stack is still in the account though it was destroyed, and what could not be asked."""
    from placements.aws.account import clients_of, region_of
    from placements.aws.leftovers import leftovers

    own = settings(session.lab, Role.LAB, session.environ)
    found, unseen = leftovers(clients_of(region_of(own)), lab=own.name)
    return (*(str(one) for one in found), *unseen)


def refuse_protected(lab: Lab) -> None:
    """Raises PreflightError while what the lab keeps in its account is protected."""
    if read_config(lab, Role.PERSISTENT).get("awsProtect", "true") != "false":
        raise PreflightError(
            f"what lab {lab.name!r} keeps in its account is protected",
            value="awsProtect: true",
            permitted="awsProtect: false, applied",
            next_command="lab bootstrap --set awsProtect=false --throw-away, then lab destroy",
        )


def refuse_lab_stack(placement: str) -> None:
    """Raises UsageError where ``placement`` has a persistent stack alone."""
    if placement == "aws":
        raise UsageError(
            "placement 'aws' has no lab stack in this version: no services run there yet",
            value=placement,
            permitted="lab bootstrap, which makes what is kept there; services on local or kubernetes",
            next_command="lab bootstrap --placement aws --set awsRegion=REGION",
        )
