"""Seeding access data: the merge, the check and the note of what was seeded, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.access import AccessData
from governance.changes import without_lost_lifts
from governance.merge import merge_seed
from governance.store import Store


@dataclass(frozen=True, kw_only=True)
class Seeding:
    """What a seed did; ``revision`` is the living one after it."""

    changed: bool
    revision: int
    added: int
    updated: int
    removed: int
    kept: int


def seed_access(
    store: Store,
    document: Mapping[str, Any],
    digest: str,
    *,
    author: str,
    check: Callable[[AccessData], None],
    reset: bool = False,
) -> Seeding:
    """Merges a seed into the living access data; the same seed twice changes nothing.

    Args:
        digest: identity of the seed, kept with it.
        check: raises on access data that must not become the living one; sees the merged data.
        reset: restore the seed's items, edited or not.

    Raises:
        UsageError: the document is malformed, or ``check`` refuses the result.
    """
    seed = AccessData.from_document(document).as_document()
    with store.changing(author) as change:
        previous = change.seed_document()
        living = {} if change.living is None else change.living.document
        merge = merge_seed(
            living=living, old_seed={} if previous is None else previous[0], new_seed=seed, reset=reset
        )
        if change.living is None or merge.changed:
            # A rule that leaves the seed must not be held by an exception that lifts it.
            document = without_lost_lifts(merge.document)
            check(AccessData.from_document(document))
            reason = f"seed {digest[:12]}" + (" (reset)" if reset else "")
            revision = change.write(document, reason=reason, what="access.seed")
            changed = True
        else:
            revision, changed = change.living, False
        if previous != (seed, digest):
            change.write_seed(seed, digest)
        return Seeding(
            changed=changed,
            revision=revision.revision,
            added=merge.added,
            updated=merge.updated,
            removed=merge.removed,
            kept=merge.kept,
        )
