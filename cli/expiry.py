"""When a lab in an account ends by itself: what ``--ttl`` means, and what a lab is whose time is over."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from cli.project import Lab, read_config
from contracts.errors import UsageError
from contracts.settings import Role

KEY = "awsExpiresAt"
_FORM = "%Y-%m-%dT%H:%M:%SZ"
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_SHORTEST, _LONGEST = timedelta(minutes=45), timedelta(days=30)
"""A cluster alone takes a quarter of an hour to come up."""

Clock = Callable[[], datetime]


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def expiry(ttl: str, clock: Clock = now) -> str:
    """The moment that is ``ttl`` (``90m``, ``8h``, ``2d``) from now, as the setting has it.

    Raises:
        UsageError: it is no such time, or too short or too long.
    """
    found = re.fullmatch(r"(\d{1,4})([mhd])", ttl)
    spent = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not _SHORTEST <= spent <= _LONGEST:
        raise UsageError(
            "--ttl is not a time that a lab may live",
            value=ttl,
            permitted="45m to 30d, in minutes, hours or days",
            next_command="lab up --ttl 8h",
        )
    return (clock() + spent).strftime(_FORM)


def with_ttl(
    lab: Lab, changes: Mapping[str, str], ttl: str | None, clock: Clock = now
) -> tuple[dict[str, str], bool]:
    """The settings to keep, with what ``ttl`` means among them, and whether the time that the lab had is
    over: the account has then ended what its state still knows.

    Raises:
        UsageError: ``ttl`` on another placement, one that is not understood, or a lab whose time is over and
            that is given no new one.
    """
    config = read_config(lab, Role.LAB) if lab.exists else {}
    placement = changes.get("placement", config.get("placement", "local"))
    if ttl and placement != "aws":
        raise UsageError(
            f"a lab on placement {placement!r} is ended by nobody but you",
            value=ttl,
            permitted="--ttl on placement aws",
            next_command="lab down",
        )
    kept = {**changes, **({KEY: expiry(ttl, clock)} if ttl else {})}
    wanted = kept.get(KEY, config.get(KEY, ""))
    if placement == "aws" and is_over(wanted, clock):
        raise UsageError(
            f"the time of lab {lab.name!r} is over",
            value=wanted,
            permitted="a new time, or none",
            next_command=f"lab up --ttl 8h, or lab up --set {KEY}=",
        )
    return kept, is_over(config.get(KEY, ""), clock)


def is_over(moment: str, clock: Clock = now) -> bool:
    """Whether a moment, as the setting has it, is past; an empty one never is."""
    return bool(moment) and datetime.strptime(moment, _FORM).replace(tzinfo=UTC) <= clock()
