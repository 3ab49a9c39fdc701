"""Three-way merge of a seed of policies into the living ones; pure.

An item is what one object says of one field. What nobody touched since the last seed follows the new seed;
what people set or unset stays theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.maintenance.policy import Policies


def merged(
    living: Mapping[str, Any], old_seed: Mapping[str, Any], new_seed: Mapping[str, Any]
) -> dict[str, Any]:
    """The living document after a new seed. Raises UsageError for a document that is none."""
    ours, base, theirs = (_fields(document) for document in (living, old_seed, new_seed))
    found = dict(ours)
    for key in base.keys() | theirs.keys():
        if ours.get(key) != base.get(key):
            continue
        if key in theirs:
            found[key] = theirs[key]
        else:
            found.pop(key, None)
    items: dict[str, dict[str, Any]] = {}
    for (name, field), value in found.items():
        items.setdefault(name, {})[field] = value
    return Policies(items=items).as_document()


def _fields(document: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    policies = Policies.from_document(document)
    return {(name, field): value for name, item in policies.items.items() for field, value in item.items()}
