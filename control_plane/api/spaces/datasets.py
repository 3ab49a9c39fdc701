"""Registered tables as they go over the wire."""

from __future__ import annotations

from control_plane.api.schemas.workspaces import Dataset
from control_plane.api.storage.models import DatasetRow


def registered(row: DatasetRow) -> Dataset:
    """What the database has of a registration."""
    return Dataset(
        table=row.table_name,
        owner=row.owner,
        description=row.description,
        tags=row.tags,
        version=row.version,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )
