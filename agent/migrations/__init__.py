"""Alembic migrations of the agent's database."""
