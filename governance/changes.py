"""Changes of access data by item: what is added, replaced or removed, and what differs afterwards. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from contracts.access import EVERY_RULE, AccessData, Privilege
from contracts.errors import UsageError, unknown_name
from governance.merge import KEYS, Item, ItemKey, document_of, items_of
from governance.reports import Change

_NOUNS = {"grants": "grant", "tags": "tag", "rules": "rule", "exceptions": "exception"}


def changed_document(
    living: Mapping[str, Any], *, add: Mapping[str, Any], remove: Mapping[str, Any]
) -> dict[str, Any]:
    """``living`` without ``remove`` and with ``add``; all three in the form of access data.

    An added grant joins the privileges that the group holds on the object, an added rule or exception
    replaces the one of its id. Of a grant to remove, its privileges go, all when none is named; of
    other items only what tells them apart is looked at.

    Raises:
        UsageError: a malformed item, or one to remove that is not there (nearest suggested).
    """
    items = items_of(living)
    for section, entries in remove.items():
        if section not in KEYS:
            raise unknown_name("section of access data", section, KEYS)
        for entry in entries:
            _remove(items, section, entry)
    for key, item in items_of(add).items():
        if key[0] == "grants" and key in items:
            item = {**item, "privileges": sorted({*items[key]["privileges"], *item["privileges"]})}
        items[key] = item
    return document_of(items)


def without_expired(document: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The document without exceptions that have ended; they stay in the history."""
    access = AccessData.from_document(document)
    living = tuple(exception for exception in access.exceptions if exception.expires_at > now)
    return replace(access, exceptions=living).as_document()


def without_lost_lifts(document: Mapping[str, Any], *, but: Collection[str] = ()) -> dict[str, Any]:
    """The document with exceptions lifting only rules that there are; one of which nothing is left goes.
    Those with an id in ``but`` stay as they are."""
    access = AccessData.from_document(document)
    rules = {EVERY_RULE, *(rule.id for rule in access.rules)}
    kept = []
    for exception in access.exceptions:
        lifts = tuple(lift for lift in exception.lifts if lift in rules)
        if exception.id in but:
            kept.append(exception)
        elif lifts or exception.privileges:
            kept.append(replace(exception, lifts=lifts))
    return replace(access, exceptions=tuple(kept)).as_document()


def changes_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Items that differ, by section and name."""
    old, new = items_of(before), items_of(after)
    return tuple(
        Change(
            verb="added" if key not in old else "removed" if key not in new else "changed",
            section=key[0],
            name=item_name(key),
            before=old.get(key),
            after=new.get(key),
        )
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )


def item_name(key: ItemKey) -> str:
    """An item in words: ``retail.orders to auditors``."""
    match key:
        case ("grants", group, name):
            return f"{name} to {group}"
        case ("tags", name, tag):
            return f"{tag} on {name}"
    return key[-1]


def _remove(items: dict[ItemKey, Item], section: str, entry: Mapping[str, Any]) -> None:
    fields = KEYS[section]
    if not isinstance(entry, Mapping) or not all(isinstance(entry.get(field), str) for field in fields):
        raise UsageError(
            f"a {_NOUNS[section]} to remove needs {' and '.join(fields)}", value=entry, permitted="texts"
        )
    key = (section, *(str(entry[field]) for field in fields))
    if key not in items:
        known = {item_name(k): k for k in items if k[0] == section}
        raise unknown_name(_NOUNS[section], item_name(key), known, next_command="lab access show")
    if section == "grants" and entry.get("privileges"):
        given = _privileges(entry["privileges"])
        missing = given - set(items[key]["privileges"])
        if missing:
            raise UsageError(
                f"{entry['group']} does not hold {', '.join(sorted(missing))} on {entry['object']}",
                value=sorted(given),
                permitted=", ".join(items[key]["privileges"]),
            )
        left = sorted(set(items[key]["privileges"]) - given)
        if left:
            items[key] = {**items[key], "privileges": left}
            return
    del items[key]


def _privileges(values: Any) -> set[str]:
    known = [privilege.value for privilege in Privilege]
    for value in values:
        if value not in known:
            raise unknown_name("privilege", str(value), known)
    return set(values)
