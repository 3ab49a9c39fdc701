"""What a lab in an AWS account needs before the engine is started, and what it left there."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.backend import file_backend
from cli.expiry import now
from cli.project import Lab, read_config, set_config, settings
from cli.session import Session
from components.registry import ComponentInfo
from contracts.errors import PreflightError
from contracts.settings import Role, Settings
from contracts.use import USE_KEY

if TYPE_CHECKING:
    from placements.aws.account import Clients
    from placements.aws.naming import Scope

_LOOKS, _LOOK_PAUSE_S = 4, 5.0


def check_aws_lab(session: Session, chosen: Sequence[ComponentInfo]) -> str:
    """The id of the account, once region, zones, versions, rights and quotas are as they have to be; where
    services are to run there (``chosen``), images and programs too.

    Raises:
        UsageError: no region is set, a budget tells nobody, the catalog does not run there, or an image
            reference is not usable.
        PreflightError: no credentials, another account's, missing rights (by name), a quota that is used up,
            an image without a digest, a program that is missing, another lab that is up in a network whose
            way out labs do not share.
    """
    # Loaded here: a lab on this machine has no use for it.
    from placements.aws.account import (
        PERSISTENT_ACTIONS,
        check_account,
        check_cluster_version,
        check_way_out,
        clients_of,
        region_of,
    )
    from placements.aws.foundation.budget import check_budget

    own = settings(session.lab, Role.PERSISTENT, session.environ)
    services = settings(session.lab, Role.LAB, session.environ)
    check_budget(own)
    region = region_of(own)
    if chosen:
        for note in (
            *check_services(services, chosen, session.environ),
            *check_state(session, services),
        ):
            session.say(note)
    clients = clients_of(region)
    shares = bool(session.lab.owner)
    account, notes = check_account(own, clients, actions=() if shares else PERSISTENT_ACTIONS)
    if chosen:
        check_way_out(services, clients, [own.name, *own.values["moreLabs"]])
    for note in (*notes, *check_cluster_version(services, clients)):
        session.say(note)
    return account


def check_services(
    own: Settings, chosen: Sequence[ComponentInfo], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Notes on what nobody can know beforehand. Raises as :func:`check_aws_lab`."""
    from placements.aws.lab import check_catalog, check_programs
    from placements.kubernetes.images import image_references, require_images

    check_catalog(own.catalog)
    file = own.values["imagesFile"]
    references = image_references(Path(file).expanduser() if file else None)
    require_images([info.image for info in chosen], references)
    check_programs(environ.get("PATH"))
    if environ.get("AWS_ACCESS_KEY_ID") and not environ.get("AWS_PROFILE"):
        raise PreflightError(
            "keys that stand in the environment can't be given to the tunnels: they would be written down",
            value="AWS_ACCESS_KEY_ID",
            permitted="a profile (AWS_PROFILE), SSO, or a role with AWS_WEB_IDENTITY_TOKEN_FILE",
            next_command="aws configure sso, then AWS_PROFILE=… lab up",
        )
    notes: list[str] = []
    if not own.values["awsApiCidrs"]:
        notes.append(
            "the cluster's API will have a private endpoint alone, which this machine has to reach through "
            "the VPC; from anywhere else: lab up --set awsApiCidrs=THIS-MACHINES-ADDRESS/32"
        )
    return tuple(notes)


def check_state(session: Session, own: Settings) -> tuple[str, ...]:
    """A note for a lab that the account ends by itself while its state lies on this machine alone."""
    ends = own.values["awsExpiresAt"] or own.values["idleStopHours"]
    if not ends or file_backend(session.lab, session.environ) is None:
        return ()
    return (
        "the account will end this lab's cluster whatever becomes of this machine; what is left then can be "
        "cleared away from here alone, since the state lies here and not in a bucket (--state, --secrets)",
    )


def remember_account(lab: Lab, account: str) -> None:
    """Keeps the account's id, so that no other account is taken for it later."""
    for role in lab.own_roles:
        set_config(lab, role, "awsAccountId", account)


def begin_use(session: Session) -> None:
    """Notes that a lab is used which the account ends when nobody does: bringing it up is use. What can't be
    noted is said and stops nobody.

    Raises:
        PreflightError: the account ends the lab's cluster right now.
    """
    if session.placement() != "aws":
        return
    from botocore.exceptions import BotoCoreError, ClientError

    from placements.aws.account import clients_of, region_of
    from placements.aws.ending import use_bucket
    from placements.aws.naming import scope_of

    own = settings(session.lab, Role.LAB, session.environ)
    scope, clients = scope_of(own), clients_of(region_of(own))
    if hours := own.values["idleStopHours"]:
        note = json.dumps({"noted_at": now().isoformat(timespec="seconds"), "what": "up"})
        try:
            clients("s3").put_object(Bucket=use_bucket(scope), Key=USE_KEY, Body=note.encode())
        except (BotoCoreError, ClientError) as error:
            session.say(
                f"it could not be noted that the lab is used: {error}; what counts is the last use of its "
                f"services, {hours} h after which the account ends its cluster"
            )
    _refuse_while_ending(clients, scope)


def _refuse_while_ending(clients: Clients, scope: Scope) -> None:
    """After the note: no run that began later goes on. Where runs can't be listed, the engine says what is
    wrong with a cluster that goes."""
    from botocore.exceptions import BotoCoreError, ClientError

    from placements.aws.ending import machine_arn

    for attempt in range(_LOOKS):
        try:
            found = clients("stepfunctions").list_executions(
                stateMachineArn=machine_arn(scope), statusFilter="RUNNING"
            )["executions"]
        except (BotoCoreError, ClientError):
            return
        if not found:
            return
        if attempt < _LOOKS - 1:
            # One that finds the lab in use is over in a moment.
            time.sleep(_LOOK_PAUSE_S)
    raise PreflightError(
        "the account ends the cluster of this lab right now, and what would be made goes with it",
        value=str(found[0]["executionArn"]),
        permitted="lab up once that has ended, which takes about a quarter of an hour",
        next_command=f"aws stepfunctions describe-execution --execution-arn {found[0]['executionArn']}",
    )


def cluster_is_gone(session: Session) -> bool:
    """Whether a lab's account has no cluster though it was up when its stack was last made, as when it ended
    since nobody used it; False where that can't be asked, since whoever asks next says what is wrong."""
    if session.placement() != "aws" or not session.engine.outputs(Role.LAB):
        return False
    from botocore.exceptions import BotoCoreError, ClientError

    from placements.aws.account import clients_of, region_of
    from placements.aws.naming import scope_of

    own = settings(session.lab, Role.LAB, session.environ)
    try:
        clients_of(region_of(own))("eks").describe_cluster(name=scope_of(own).prefix)
    except ClientError as error:
        return str(error.response["Error"]["Code"]) == "ResourceNotFoundException"
    except BotoCoreError:
        return False
    return False


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
