"""What access data says of a workspace: its own grant, and what else names it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.access import AccessData, Privilege, Rule
from governance.changes import changed_document, item_name
from governance.merge import KEYS, items_of


def with_grant(document: Mapping[str, Any], namespace: str, group: str) -> dict[str, Any]:
    """The document with every privilege on the namespace for the group."""
    grant = {"group": group, "object": f"{namespace}.*", "privileges": [p.value for p in Privilege]}
    return changed_document(document, add={"grants": [grant]}, remove={})


def without(document: Mapping[str, Any], namespace: str, group: str) -> dict[str, Any]:
    """The document without what names the namespace's objects, and without the group's grants."""
    return changed_document(document, add={}, remove=_naming(document, namespace, group))


def named(document: Mapping[str, Any], namespace: str, group: str) -> tuple[str, ...]:
    """The items that :func:`without` leaves out, in words."""
    found = _naming(document, namespace, group)
    return tuple(
        f"{section}: {item_name((section, *(entry[key] for key in KEYS[section])))}"
        for section, entries in found.items()
        for entry in entries
    )


def rules_about(document: Mapping[str, Any], namespace: str, group: str) -> tuple[str, ...]:
    """Ids of the rules that spare or serve the group elsewhere: they would do so for a later group of the
    same name."""
    access = AccessData.from_document(document)
    return tuple(
        sorted(
            rule.id
            for rule in access.rules
            if (group in rule.exempt or group in rule.values) and not _within(rule, namespace)
        )
    )


def granted_to_others(document: Mapping[str, Any], namespace: str, group: str) -> tuple[str, ...]:
    """Groups that hold anything in the namespace, the workspace's own left out."""
    access = AccessData.from_document(document)
    found = {grant.group for grant in access.grants if _inside(grant.object, namespace)}
    return tuple(sorted(found - {group}))


def _naming(document: Mapping[str, Any], namespace: str, group: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for (section, *_), item in items_of(document).items():
        inside = _inside(str(item.get("object") or ""), namespace)
        if inside or (section == "grants" and item["group"] == group):
            found.setdefault(section, []).append({key: item[key] for key in KEYS[section]})
    return found


def _within(rule: Rule, namespace: str) -> bool:
    return rule.object is not None and _inside(rule.object, namespace)


def _inside(name: str, namespace: str) -> bool:
    return name.lower().split(".")[0] == namespace
