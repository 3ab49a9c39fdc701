"""The user profile of a realm: declared attributes and groups over what is there.

The representation is Keycloak's UPConfig:
https://www.keycloak.org/docs/latest/server_admin/#user-profile
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from plugins.kinds import JSON
from plugins.values import Props

_BUILT_IN = frozenset({"username", "email", "firstName", "lastName"})


def profile_write(rep: Mapping[str, Any], declared: Props, before: Props) -> dict[str, Any]:
    """``rep`` with the declared entries in place, and those declared before and no longer removed."""
    new = dict(rep)
    for name, write in (("attributes", _attribute), ("groups", _group)):
        if name not in declared and name not in before:
            continue
        wanted = {item["name"]: item for item in declared.get(name) or []}
        dropped = {item["name"] for item in before.get(name) or []} - wanted.keys() - _BUILT_IN
        entries = [item for item in rep.get(name) or [] if item["name"] not in dropped]
        known = {item["name"]: item for item in entries}
        merged = [
            _changed(item, write(item, wanted[item["name"]])) if item["name"] in wanted else item
            for item in entries
        ]
        new[name] = merged + [write({}, item) for key, item in wanted.items() if key not in known]
    if "unmanagedAttributePolicy" in declared:
        # Keycloak leaves the member out where unmanaged attributes are disabled.
        if declared["unmanagedAttributePolicy"] == "DISABLED":
            new.pop("unmanagedAttributePolicy", None)
        else:
            new["unmanagedAttributePolicy"] = declared["unmanagedAttributePolicy"]
    return new


def profile_read(rep: Mapping[str, Any], declared: Props) -> Props:
    """Outputs: the declared entries as they are, and the policy."""
    outputs: Props = {"unmanagedAttributePolicy": rep.get("unmanagedAttributePolicy") or "DISABLED"}
    for name, read in (("attributes", _read_attribute), ("groups", _read_group)):
        wanted = declared.get(name)
        if wanted is None:
            continue
        found = {item["name"]: read(item) for item in rep.get(name) or []}
        outputs[name] = [JSON.shown(item, found[item["name"]]) for item in wanted if item["name"] in found]
    return outputs


def _changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return old if old == new else new


def _attribute(current: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    rep = dict(current)
    rep["name"] = declared["name"]
    for name, rep_name in (
        ("displayName", "displayName"),
        ("group", "group"),
        ("defaultValue", "defaultValue"),
    ):
        if declared.get(name):
            rep[rep_name] = declared[name]
    if "multiValued" in declared or "multivalued" not in rep:
        rep["multivalued"] = bool(declared.get("multiValued", False))
    if "permissions" in declared:
        shown = declared["permissions"]
        rep["permissions"] = {"view": sorted(shown.get("views", [])), "edit": sorted(shown.get("edits", []))}
        old = current.get("permissions")
        if old and all(sorted(old.get(key, [])) == rep["permissions"][key] for key in ("view", "edit")):
            rep["permissions"] = old
    if declared.get("enabledWhenScopes"):
        rep["selector"] = {"scopes": declared["enabledWhenScopes"]}
    required = {
        key: declared[name]
        for key, name in (("roles", "requiredForRoles"), ("scopes", "requiredForScopes"))
        if declared.get(name)
    }
    if required:
        rep["required"] = required
    if "validators" in declared:
        rep["validations"] = {
            item["name"]: _config(item.get("config", {})) for item in declared["validators"]
        }
    elif "validations" not in rep:
        rep["validations"] = {}
    if "annotations" in declared:
        rep["annotations"] = _config(declared["annotations"])
    elif "annotations" not in rep:
        rep["annotations"] = {}
    return rep


def _group(current: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    rep = {**current, "name": declared["name"]}
    for name in ("displayHeader", "displayDescription"):
        if declared.get(name):
            rep[name] = declared[name]
    if "annotations" in declared:
        rep["annotations"] = _config(declared["annotations"])
    return rep


def _config(texts: Mapping[str, str]) -> dict[str, Any]:
    """Texts that hold JSON lists or objects are written as such, as the official provider does."""
    return {key: json.loads(text) if text[:1] in ("[", "{") else text for key, text in texts.items()}


def _texts(config: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: json.dumps(value) if isinstance(value, list | dict) else str(value)
        for key, value in config.items()
    }


def _read_attribute(rep: Mapping[str, Any]) -> Props:
    required = rep.get("required") or {}
    permissions = rep.get("permissions") or {}
    return {
        "name": rep["name"],
        "displayName": rep.get("displayName"),
        "group": rep.get("group"),
        "defaultValue": rep.get("defaultValue"),
        "multiValued": bool(rep.get("multivalued")),
        "permissions": {"views": permissions.get("view", []), "edits": permissions.get("edit", [])},
        "enabledWhenScopes": (rep.get("selector") or {}).get("scopes"),
        "requiredForRoles": required.get("roles"),
        "requiredForScopes": required.get("scopes"),
        "validators": [
            {"name": name, "config": _texts(config)}
            for name, config in (rep.get("validations") or {}).items()
        ],
        "annotations": _texts(rep.get("annotations") or {}),
    }


def _read_group(rep: Mapping[str, Any]) -> Props:
    return {
        "name": rep["name"],
        "displayHeader": rep.get("displayHeader"),
        "displayDescription": rep.get("displayDescription"),
        "annotations": _texts(rep.get("annotations") or {}),
    }
