"""Alembic migrations of the governance database; ``governance.store`` runs them at start."""
