"""Bringing a service's database to its newest schema."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, text

from contracts.errors import LabError


class NewerSchemaError(LabError):
    """A newer release has been at the database; nothing of it was changed."""


def upgrade(engine: Engine, *, migrations: Path, newest: str, lock: int) -> None:
    """Runs the Alembic ``migrations`` that the database has not had; ``newest`` is the last of them, and a
    database that is there already needs no Alembic. Several starting at once wait for one another by the
    advisory ``lock``.

    Raises:
        NewerSchemaError: the database had migrations that are not among these.
        sqlalchemy.exc.SQLAlchemyError: it does not answer.
    """
    if schema_version(engine) == newest:
        return
    # Alembic takes time and memory to import, and a database needs it once.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with engine.connect() as holder:
        # On a connection of its own: the migrations commit theirs, the lock outlives them.
        holder.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock})
        holder.commit()
        try:
            found = schema_version(engine)
            known = {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}
            if found is not None and found not in known:
                raise NewerSchemaError(
                    f"a newer release has been at the database {engine.url.database!r}",
                    value=found,
                    permitted=f"{min(known)} to {newest}",
                    next_command="install that release again, then: lab up",
                )
            with engine.connect() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
        finally:
            holder.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": lock})
            holder.commit()


def schema_version(engine: Engine) -> str | None:
    """The migration that the database is at; None before the first."""
    with engine.connect() as connection:
        if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return None
        version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return version
