"""Alembic's entry point: runs on the connection that ``governance.migrating.upgrade`` passes in."""

from __future__ import annotations

from alembic import context

from control_plane.api.storage.job_models import own_tables
from control_plane.api.storage.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transaction_per_migration=True,
    include_name=own_tables,
)
with context.begin_transaction():
    context.run_migrations()
