"""Tables whose files lie in one another's folders. Pure.

Orphan removal lists a table's location and deletes what the table does not know: of another table that lies
there, that is every file.
"""

from __future__ import annotations

from collections.abc import Mapping


def sharing(locations: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """For each table whose location is, holds or lies in another's: the other tables, sorted.

    Args:
        locations: table → location; an empty one is not known and counts as apart.
    """
    found: dict[str, set[str]] = {}
    open_folders: list[tuple[str, str]] = []
    folders = sorted((f"{place.rstrip('/')}/", table) for table, place in locations.items() if place)
    for folder, table in folders:
        # In this order whatever lies in a folder follows it at once.
        while open_folders and not folder.startswith(open_folders[-1][0]):
            open_folders.pop()
        for _, other in open_folders:
            found.setdefault(table, set()).add(other)
            found.setdefault(other, set()).add(table)
        open_folders.append((folder, table))
    return {table: tuple(sorted(others)) for table, others in found.items()}
