"""New secrets in the place of old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cli.operations.lifecycle import UpResult, up
from cli.project import settings
from cli.session import Session
from cli.sharing import guests_of, refuse_bound
from contracts.errors import UsageError, unknown_name
from contracts.settings import Role

ROTATIONS: Mapping[str, str] = MappingProxyType({"people": "peopleRotation", "keys": "keysRotation"})
"""What can be made anew, and the setting that counts how often it was."""


def rotate(session: Session, what: Sequence[str]) -> UpResult:
    """Makes new passwords of the sample users (``people``), new secrets of the services (``keys``), or both,
    in the slots of all labs, and brings the lab up with them. Whatever fails in between, the next ``up`` goes
    on with it.

    Raises:
        UsageError: there is nothing of that name to rotate, none was named, or the lab shares another's
            persistent stack; nothing was changed.
        LabError: there is no lab, or a step of ``up`` failed.
    """
    refuse_bound(session, f"rotate {' '.join(what)}".rstrip())
    if not what:
        raise UsageError("say what to rotate", permitted=", ".join(ROTATIONS))
    for kind in what:
        if kind not in ROTATIONS:
            raise unknown_name("secret to rotate", kind, ROTATIONS, next_command="lab rotate people")
    session.lab.require()
    values = settings(session.lab, Role.PERSISTENT, session.environ).values
    keys = [ROTATIONS[kind] for kind in dict.fromkeys(what)]
    for name in guests_of(session):
        session.say(f"lab {name!r} shares what is made anew, and needs it at once: lab --name {name} up")
    return up(session, changes={key: str(values[key] + 1) for key in keys})
