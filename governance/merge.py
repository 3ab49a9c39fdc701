"""Three-way merge of a seed document into the living access data; pure.

An item is one grant (group and object), one tag (object and tag), one rule or one exception (id). What
nobody touched since the last seed follows the new seed; what people edited, removed or added stays theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.access import AccessData

ItemKey = tuple[str, ...]
Item = dict[str, Any]

KEYS: Mapping[str, tuple[str, ...]] = {
    "grants": ("group", "object"),
    "tags": ("object", "tag"),
    "rules": ("id",),
    "exceptions": ("id",),
}
"""What tells items of each section apart."""


@dataclass(frozen=True, kw_only=True)
class Merge:
    """The merged document and what was done to the living one, in items.

    ``kept`` are the seed's items that differ in the living document because people changed or removed
    them.
    """

    document: dict[str, Any]
    added: int
    updated: int
    removed: int
    kept: int

    @property
    def changed(self) -> bool:
        """Whether the merged document differs from the living one."""
        return bool(self.added or self.updated or self.removed)


def merge_seed(
    *,
    living: Mapping[str, Any],
    old_seed: Mapping[str, Any],
    new_seed: Mapping[str, Any],
    reset: bool = False,
) -> Merge:
    """Merges ``new_seed`` into ``living``, given the seed that was applied before it.

    With ``reset`` every item of the old or the new seed becomes what the new seed says, edited or not;
    items that people added stay.

    Raises:
        UsageError: a document holds an unknown key or value.
    """
    ours, base, theirs = (items_of(document) for document in (living, old_seed, new_seed))
    merged: dict[ItemKey, Item] = dict(ours)
    added = updated = removed = kept = 0
    for key in base.keys() | theirs.keys():
        mine, seeded = ours.get(key), theirs.get(key)
        if mine == seeded:
            continue
        if not reset and mine != base.get(key):
            kept += key in theirs
            continue
        if seeded is None:
            del merged[key]
            removed += 1
        else:
            merged[key] = seeded
            added, updated = (added + 1, updated) if mine is None else (added, updated + 1)
    return Merge(document=document_of(merged), added=added, updated=updated, removed=removed, kept=kept)


def items_of(document: Mapping[str, Any]) -> dict[ItemKey, Item]:
    """Items by key, in canonical form, so that order and repetition make no difference.

    Grants of one group on one object that stand in several items count as one item.
    """
    canonical = AccessData.from_document(document).as_document()
    items: dict[ItemKey, Item] = {}
    for section, fields in KEYS.items():
        for item in canonical.get(section, ()):
            key = (section, *(item[name] for name in fields))
            if section == "grants" and key in items:
                both = set(items[key]["privileges"]) | set(item["privileges"])
                item = {**item, "privileges": sorted(both)}
            items[key] = item
    return items


def document_of(items: Mapping[ItemKey, Item]) -> dict[str, Any]:
    """The canonical document of these items."""
    sections: dict[str, list[Item]] = {section: [] for section in KEYS}
    for key, item in items.items():
        sections[key[0]].append(item)
    return AccessData.from_document(sections).as_document()
