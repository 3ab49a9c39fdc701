"""A connection to a PostgreSQL that may be behind a tunnel."""

from __future__ import annotations

import time
from typing import Any

import psycopg

CONNECT_TIMEOUT_S = 10
_PAUSE_S = 0.2


def connected(*, patience_s: float, **parameters: Any) -> psycopg.Connection[Any]:
    """A connection that commits each statement; ``parameters`` are libpq's. A tunnel that ended is started
    again, and refuses connections until then: that is waited for, ``patience_s`` at most.

    Raises:
        psycopg.OperationalError: it can't be had.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return psycopg.connect(**parameters, connect_timeout=CONNECT_TIMEOUT_S, autocommit=True)
        except psycopg.OperationalError as error:
            if "Connection refused" not in str(error) or time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_S)
