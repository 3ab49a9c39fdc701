"""The connection to the console's database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import sessionmaker

from control_plane.api.storage.models import SCHEMA_VERSION
from control_plane.api.storage.patience import limit_silence
from governance.migrating import upgrade

_MIGRATE_LOCK = 0x6C616B65_0011
_CONNECT_S = 5
_CHECK_S, _STATEMENT_S = 5.0, 30.0
"""How long a server may say nothing to a connection that is checked, and to a statement."""
_MIGRATION_S = 600.0
MIGRATIONS = Path(__file__).parents[1] / "migrations"


class Database:
    """A small pool of connections to ``postgresql+psycopg://…``; each is checked before use, so that a
    restart of PostgreSQL costs no failed request.

    Everything that reads or writes raises sqlalchemy.exc.OperationalError while PostgreSQL does not answer,
    at the latest when it has said nothing for ``statement_s``, and for ``check_s`` to a connection that
    nobody used yet.
    """

    def __init__(self, url: str, *, check_s: float = _CHECK_S, statement_s: float = _STATEMENT_S) -> None:
        self._url, self._check_s = url, check_s
        self.engine = self._engine(statement_s)
        self.sessions = sessionmaker(self.engine)

    def _engine(self, statement_s: float) -> Engine:
        engine = create_engine(
            self._url,
            pool_size=5,
            max_overflow=10,
            pool_pre_ping=True,
            pool_timeout=10,
            connect_args={"connect_timeout": _CONNECT_S, "application_name": "console"},
        )
        limit_silence(engine, statement_s=statement_s, check_s=self._check_s)
        return engine

    def upgrade(self) -> None:
        """Brings the schema to the newest version. Raises NewerSchemaError."""
        # A migration, or waiting for another console's, may take longer than any request.
        engine = self._engine(_MIGRATION_S)
        try:
            upgrade(engine, migrations=MIGRATIONS, newest=SCHEMA_VERSION, lock=_MIGRATE_LOCK)
        finally:
            engine.dispose()

    def ping(self) -> None:
        """Asks for one row."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()
