"""Counts through Trino as the governor's own service account, which reads past every rule."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from contracts.errors import LabError
from governance.trino import TrinoClient, TrinoError

_TIMEOUT_S = 60.0


class CountingError(LabError):
    """Trino refused the statement, failed it or did not answer."""


class TrinoCounter:
    """Runs counting statements.

    Args:
        http: a client whose base URL is Trino's and that authenticates by itself.
        catalog: the catalog's name in Trino.
    """

    def __init__(self, http: httpx.Client, *, catalog: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._trino = TrinoClient(http, catalog=catalog)
        self._timeout_s = timeout_s

    def row(self, sql: str, namespace: str) -> Sequence[int]:
        """The one row of ``sql``. Raises CountingError."""
        try:
            rows = self._trino.rows(sql, namespace=namespace, timeout_s=self._timeout_s)
        except TrinoError as error:
            raise CountingError(error.what, next_command=error.next_command) from error
        if len(rows) != 1:
            raise CountingError(f"Trino answered {len(rows)} rows to a count", permitted="one row")
        return [int(value) for value in rows[0]]
