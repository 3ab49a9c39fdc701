"""The configuration of the pack that judges changes beyond this machine (policies/guardrails).

It is the pack's own and none of a lab's: a change that takes a lab's protection away can't permit itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.project import Lab, read_config, write_private
from contracts.errors import UsageError
from contracts.settings import Role, environment
from policies.guardrails.model import THROW_AWAY

_RULE = "deletion-protection"


def guardrails_file(lab: Lab, environ: Mapping[str, str], throw_away: bool) -> Path | None:
    """The pack's configuration: the file that LAB_GUARDRAILS_CONFIG names, with the lab itself among the labs
    that may be thrown away where its owner asked for that just now. None: as the rules are.

    Raises:
        UsageError: the file is not there, or is none that the pack understands.
    """
    given = _given(environ)
    if not throw_away:
        named = environment("LAB_GUARDRAILS_CONFIG", environ)
        return Path(named).expanduser().absolute() if named else None
    rule = given.get(_RULE, {})
    document = {**given, _RULE: {**rule, THROW_AWAY: [*rule.get(THROW_AWAY, []), lab.name]}}
    file = lab.project_dir / "guardrails.json"
    write_private(file, json.dumps(document, indent=1, sort_keys=True) + "\n")
    return file


def may_be_thrown_away(lab: Lab, environ: Mapping[str, str]) -> bool:
    """Whether the file that LAB_GUARDRAILS_CONFIG names lets the lab be without protection. Raises UsageError
    as :func:`guardrails_file`."""
    return lab.name in _given(environ).get(_RULE, {}).get(THROW_AWAY, [])


def refuse_unprotected(
    lab: Lab, changes: Mapping[str, str], environ: Mapping[str, str], throw_away: bool
) -> None:
    """Raises UsageError where the lab would be without protection and nobody but its own setting says so."""
    config = read_config(lab, Role.PERSISTENT) if lab.exists else {}
    protected = changes.get("awsProtect", config.get("awsProtect", "true")) != "false"
    if protected or throw_away or may_be_thrown_away(lab, environ):
        return
    raise UsageError(
        f"lab {lab.name!r} would be without protection: one command could then delete its database, its "
        "buckets with all that is in them, its key and its network",
        value="awsProtect: false",
        permitted="awsProtect: true; or --throw-away, which asks for the lab's name and holds for one "
        f"command; or {THROW_AWAY} in the file that LAB_GUARDRAILS_CONFIG names",
        next_command="lab bootstrap --set awsProtect=true, or with =false and --throw-away",
    )


def _given(environ: Mapping[str, str]) -> dict[str, Any]:
    """What LAB_GUARDRAILS_CONFIG's file says, by rule."""
    named = environment("LAB_GUARDRAILS_CONFIG", environ)
    if named is None:
        return {}
    try:
        document: Any = json.loads(Path(named).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_understood(named, f"{type(error).__name__}: {error}") from error
    labs = (document.get(_RULE) or {}).get(THROW_AWAY, []) if _is_by_rule(document) else None
    if not isinstance(labs, list) or not all(isinstance(lab, str) for lab in labs):
        raise _not_understood(named, "other content")
    return dict(document)


def _is_by_rule(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get(_RULE, {}), dict)


def _not_understood(named: str, why: str) -> UsageError:
    return UsageError(
        f"LAB_GUARDRAILS_CONFIG does not name a configuration of the guardrails: {why}",
        value=named,
        permitted=json.dumps({_RULE: {THROW_AWAY: ["NAME"]}}),
        next_command="unset LAB_GUARDRAILS_CONFIG",
    )
