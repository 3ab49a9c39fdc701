"""Trino's client protocol, as much of it as the governor needs, as one of its service accounts.

Protocol: https://trino.io/docs/476/develop/client-protocol.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx

from contracts.errors import LabError

_ASK_AGAIN = (502, 503, 504)
"""Trino's protocol has clients ask again after these."""
_PAUSES_S = (0.1, 0.2, 0.4, 0.8)


class TrinoError(LabError):
    """Trino refused the statement, failed it, or did not answer. ``name`` is Trino's own name of the error
    (``ICEBERG_COMMIT_ERROR`` …), empty when there is none; ``answered`` says whether it was Trino's word."""

    def __init__(self, what: str, *, name: str = "", answered: bool = True, **facts: Any) -> None:
        self.name = name
        self.answered = answered
        super().__init__(what, **facts)


def with_cause(message: str, failure: Mapping[str, Any] | None) -> str:
    """``message`` and what lies at the bottom of it, from the ``failureInfo`` of Trino's answer."""
    innermost = failure or {}
    while isinstance(innermost.get("cause"), Mapping):
        innermost = innermost["cause"]
    if innermost is (failure or {}):
        return message
    kind = str(innermost.get("type", "")).rpartition(".")[2]
    told = ": ".join(part for part in (kind, str(innermost.get("message") or "")) if part)
    return f"{message}: {told}" if told else message


class TrinoClient:
    """Runs statements and reads what Trino tells of its queries.

    Args:
        http: a client whose base URL is Trino's and that authenticates by itself.
        catalog: the catalog's name in Trino.
        source: what Trino's records name as the statements' source.
        stopping: once set, statements under way are cancelled.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        catalog: str,
        source: str = "governor",
        stopping: threading.Event | None = None,
    ) -> None:
        self._http = http
        self._catalog = catalog
        self._source = source
        self._stopping = stopping or threading.Event()

    def rows(self, sql: str, *, namespace: str = "", timeout_s: float) -> list[list[Any]]:
        """All rows of ``sql``; it is cancelled after ``timeout_s``. Raises TrinoError."""
        headers = {
            "X-Trino-Catalog": self._catalog,
            "X-Trino-Source": self._source,
            "Content-Type": "text/plain; charset=utf-8",
            **({"X-Trino-Schema": namespace} if namespace else {}),
        }
        deadline = time.monotonic() + timeout_s
        answer = self._ask("POST", "/v1/statement", headers=headers, content=sql.encode())
        rows: list[list[Any]] = []
        while True:
            if "error" in answer:
                error = answer["error"]
                message = str(error.get("message", "the query failed"))
                if error.get("errorType") == "INTERNAL_ERROR":
                    message = with_cause(message, error.get("failureInfo"))
                raise TrinoError(message, name=str(error.get("errorName", "")))
            rows += answer.get("data") or []
            following = answer.get("nextUri")
            if following is None:
                return rows
            if self._stopping.is_set() or time.monotonic() > deadline:
                self._cancel(str(following))
                why = (
                    "this service is stopping"
                    if self._stopping.is_set()
                    else f"longer than {timeout_s:.0f} s"
                )
                raise TrinoError(f"the statement was ended: {why}", answered=False)
            answer = self._ask("GET", str(following))

    def read(self, path: str) -> Any:
        """What a resource of Trino's answers, None when it is gone. Raises TrinoError."""
        return self._ask("GET", path, gone=True)

    def _ask(self, method: str, url: str, *, gone: bool = False, **given: Any) -> Any:
        try:
            response = self._http.request(method, url, **given)
            for pause_s in _PAUSES_S:
                if response.status_code not in _ASK_AGAIN:
                    break
                time.sleep(pause_s)
                response = self._http.request(method, url, **given)
            if gone and response.status_code in (httpx.codes.GONE, httpx.codes.NOT_FOUND):
                return None
            response.raise_for_status()
            return response.json()
        except (httpx.HTTPError, LabError, ValueError) as error:
            raise TrinoError(
                f"Trino does not answer: {error}", answered=False, next_command="lab status"
            ) from error

    def _cancel(self, url: str) -> None:
        try:
            self._http.delete(url)
        except httpx.HTTPError:
            return
