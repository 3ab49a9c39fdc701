"""The key of the hash mask, where Trino reads it: one row in a database of its own.

``policies/trino`` lets the identity ``$row-filter`` alone read it, by the mask itself while a query runs. So
it is in no plan, no answer of OPA's, no bundle, and not in the warehouse that raw engines reach.
"""

from __future__ import annotations

import hashlib
import hmac

from sqlalchemy import Engine, text

from contracts.access import MASK_KEY
from contracts.errors import UsageError

_PURPOSE = b"lakehouse-lab column mask"
_SHORTEST_SALT = 16
_TABLE = f"{MASK_KEY.schema}.{MASK_KEY.table}"


def mask_key(hash_salt: str) -> bytes:
    """The key that follows from the lab's salt, 32 bytes; it opens nothing else. Another salt makes other
    pseudonyms.

    Raises:
        UsageError: the salt is too short to be one.
    """
    if len(hash_salt) < _SHORTEST_SALT:
        raise UsageError(
            "the salt of the hash mask is too short", permitted=f"{_SHORTEST_SALT} characters or more"
        )
    return hmac.new(hash_salt.encode(), _PURPOSE, hashlib.sha256).digest()


class MaskKeyStore:
    """The database that holds the key, beside Trino's queues, as its owner."""

    def __init__(self, engine: Engine, key: bytes) -> None:
        self._engine = engine
        self._key = key

    def ensure(self) -> None:
        """Makes the table and the row as they should be; a second run changes nothing. Raises
        sqlalchemy.exc.SQLAlchemyError."""
        with self._engine.begin() as connection:
            connection.execute(
                text(
                    f"CREATE TABLE IF NOT EXISTS {_TABLE} "
                    f"(id smallint PRIMARY KEY CHECK (id = 1), {MASK_KEY.column} bytea NOT NULL)"
                )
            )
            connection.execute(
                text(
                    f"INSERT INTO {_TABLE} AS held (id, {MASK_KEY.column}) VALUES (1, :key) "  # noqa: S608 - constants of this program
                    f"ON CONFLICT (id) DO UPDATE SET {MASK_KEY.column} = excluded.{MASK_KEY.column} "
                    f"WHERE held.{MASK_KEY.column} <> excluded.{MASK_KEY.column}"
                ),
                {"key": self._key},
            )
