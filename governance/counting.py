"""Counts through Trino as the governor's own service account, which reads past every rule.

Protocol: https://trino.io/docs/476/develop/client-protocol.html
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import httpx

from contracts.errors import LabError

_SOURCE = "governor"
_TIMEOUT_S = 60.0
_ASK_AGAIN = (502, 503, 504)
"""Trino's protocol has clients ask again after these."""
_PAUSES_S = (0.1, 0.2, 0.4, 0.8)


class CountingError(LabError):
    """Trino refused the statement, failed it or did not answer."""


class TrinoCounter:
    """Runs counting statements.

    Args:
        http: a client whose base URL is Trino's and that authenticates by itself.
        catalog: the catalog's name in Trino.
    """

    def __init__(self, http: httpx.Client, *, catalog: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._http = http
        self._catalog = catalog
        self._timeout_s = timeout_s

    def row(self, sql: str, namespace: str) -> Sequence[int]:
        """The one row of ``sql``. Raises CountingError."""
        headers = {
            "X-Trino-Catalog": self._catalog,
            "X-Trino-Schema": namespace,
            "X-Trino-Source": _SOURCE,
            "Content-Type": "text/plain; charset=utf-8",
        }
        deadline = time.monotonic() + self._timeout_s
        answer = self._ask("POST", "/v1/statement", headers=headers, content=sql.encode())
        rows: list[list[Any]] = []
        while True:
            if "error" in answer:
                raise CountingError(str(answer["error"].get("message", "the query failed")))
            rows += answer.get("data") or []
            following = answer.get("nextUri")
            if following is None:
                break
            if time.monotonic() > deadline:
                self._cancel(str(following))
                raise CountingError(f"counting took longer than {self._timeout_s:.0f} s")
            answer = self._ask("GET", str(following))
        if len(rows) != 1:
            raise CountingError(f"Trino answered {len(rows)} rows to a count", permitted="one row")
        return [int(value) for value in rows[0]]

    def _ask(self, method: str, url: str, **given: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, url, **given)
            for pause_s in _PAUSES_S:
                if response.status_code not in _ASK_AGAIN:
                    break
                time.sleep(pause_s)
                response = self._http.request(method, url, **given)
            response.raise_for_status()
            document: dict[str, Any] = response.json()
        except (httpx.HTTPError, LabError, ValueError) as error:
            raise CountingError(f"Trino does not count: {error}", next_command="lab status") from error
        return document

    def _cancel(self, url: str) -> None:
        try:
            self._http.delete(url)
        except httpx.HTTPError:
            return
