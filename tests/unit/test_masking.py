"""The key of the hash mask: derived, kept where Trino reads it, and nowhere else."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.exc import SQLAlchemyError

from components.trino.properties import masking_catalog
from contracts.access import MASK_KEY
from contracts.errors import UsageError
from governance.masking import MaskKeyStore, mask_key
from governance.store import make_engine
from tests.unit.governor_postgres import database_url, postgres_server

__all__ = ["database_url", "postgres_server"]
SALT = "a salt that is long enough"


def test_the_key_follows_from_the_salt_and_does_not_tell_it() -> None:
    key = mask_key(SALT)
    assert len(key) == 32
    assert key != mask_key(f"{SALT}!")
    assert SALT.encode() not in key
    with pytest.raises(UsageError, match="too short"):
        mask_key("short")


def test_one_row_is_kept_whatever_happens_to_it(database_url: str) -> None:
    url = database_url.replace("postgresql+psycopg", "postgresql")
    engine = make_engine(database_url)
    keys = MaskKeyStore(engine, mask_key(SALT))
    keys.ensure()
    keys.ensure()
    assert (MASK_KEY.schema, MASK_KEY.table, MASK_KEY.column) == ("public", "hash_key", "key")
    read = "SELECT key FROM public.hash_key"
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute(read).fetchall() == [(mask_key(SALT),)]
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO hash_key VALUES (2, 'x')")
        connection.execute("UPDATE hash_key SET key = 'x'")
        keys.ensure()
        assert connection.execute(read).fetchall() == [(mask_key(SALT),)]
        MaskKeyStore(engine, mask_key(f"{SALT}!")).ensure()
        assert connection.execute(read).fetchall() == [(mask_key(f"{SALT}!"),)]
    engine.dispose()


def test_a_database_that_is_away_is_said() -> None:
    away = MaskKeyStore(make_engine("postgresql+psycopg://x@127.0.0.1:1/x"), mask_key(SALT))
    with pytest.raises(SQLAlchemyError):
        away.ensure()


def test_trino_reads_it_without_a_secret_in_a_file() -> None:
    text = masking_catalog()
    assert "connector.name=postgresql" in text
    assert "default_transaction_read_only" in text
    secrets = [line for line in text.splitlines() if line.startswith("connection-")]
    assert len(secrets) == 3
    assert all("${ENV:" in line for line in secrets)
