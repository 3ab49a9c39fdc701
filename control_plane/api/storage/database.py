"""The connection to the console's database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import sessionmaker

from control_plane.api.storage.models import SCHEMA_VERSION
from governance.migrating import upgrade

_MIGRATE_LOCK = 0x6C616B65_0011
MIGRATIONS = Path(__file__).parents[1] / "migrations"


class Database:
    """A small pool of connections to ``postgresql+psycopg://…``; each is checked before use, so that a
    restart of PostgreSQL costs no failed request.

    Everything that reads or writes raises sqlalchemy.exc.OperationalError while PostgreSQL does not answer.
    """

    def __init__(self, url: str) -> None:
        self.engine: Engine = create_engine(
            url,
            pool_size=5,
            max_overflow=10,
            pool_pre_ping=True,
            pool_timeout=10,
            connect_args={"connect_timeout": 5, "application_name": "console"},
        )
        self.sessions = sessionmaker(self.engine)

    def upgrade(self) -> None:
        """Brings the schema to the newest version. Raises NewerSchemaError."""
        upgrade(self.engine, migrations=MIGRATIONS, newest=SCHEMA_VERSION, lock=_MIGRATE_LOCK)

    def ping(self) -> None:
        """Asks for one row."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()
