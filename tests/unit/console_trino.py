"""An engine that speaks Trino's protocol: what statements answer is said beforehand."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt

from tests.unit.test_governor_auth import KEY

URL = "https://trino.test:8443"


@dataclass
class Answer:
    """What a statement gives: columns (name → type) and pages of rows, or an error behind them. With
    ``held`` it waits after the first page until that is set."""

    columns: dict[str, str] = field(default_factory=dict)
    pages: list[list[list[Any]]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    update: tuple[str, int] | None = None
    held: threading.Event | None = None


@dataclass
class Asked:
    """A statement as it arrived."""

    query_id: str
    user: str
    statement: str
    headers: httpx.Headers
    answer: Answer
    canceled: bool = False


def user_error(name: str, message: str, line: int | None = None, column: int | None = None) -> dict[str, Any]:
    """An error as Trino tells it."""
    location = None if line is None else {"lineNumber": line, "columnNumber": column}
    info = {"type": "io.trino.spi.TrinoException", "message": message, "errorLocation": location}
    return {
        "message": message,
        "errorCode": 1,
        "errorName": name,
        "errorType": "USER_ERROR",
        "errorLocation": location,
        "failureInfo": info,
    }


DENIED = user_error("PERMISSION_DENIED", "Access Denied: Cannot select from table retail.customer")


class FakeTrino:
    """The engine. The first rule whose pattern is found in a statement answers it."""

    def __init__(self) -> None:
        self.rules: list[tuple[re.Pattern[str], Answer, str | None]] = []
        self.asked: list[Asked] = []
        self.down = False
        self.busy_answers = 0
        self.lead_to = URL

    def on(self, pattern: str, answer: Answer, *, user: str | None = None) -> None:
        """What statements with ``pattern`` answer, newest rule first."""
        self.rules.insert(0, (re.compile(pattern, re.IGNORECASE | re.DOTALL), answer, user))

    def of(self, pattern: str) -> list[Asked]:
        """Statements that arrived."""
        return [
            asked for asked in self.asked if re.search(pattern, asked.statement, re.IGNORECASE | re.DOTALL)
        ]

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Answers one request."""
        if self.down:
            raise httpx.ConnectError("connection refused", request=request)
        if self.busy_answers:
            self.busy_answers -= 1
            return httpx.Response(503)
        token = request.headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, KEY.public_key(), ["RS256"], audience="trino")
        assert claims["aud"] == "trino", "an exchanged token has one audience"
        if request.method == "POST":
            return self._start(request, claims["preferred_username"])
        number, page = (int(part) for part in request.url.path.split("/")[-2:])
        asked = self.asked[number]
        assert asked.user == claims["preferred_username"]
        if request.method == "DELETE":
            asked.canceled = True
            return httpx.Response(204)
        if asked.canceled:
            return httpx.Response(404)
        if page > 0 and asked.answer.held is not None and not asked.answer.held.is_set():
            await asyncio.sleep(0.02)
            return httpx.Response(200, json=self._page(asked, number, page, waiting=True))
        return httpx.Response(200, json=self._page(asked, number, page))

    def _start(self, request: httpx.Request, user: str) -> httpx.Response:
        statement = request.content.decode()
        answer = next(
            (a for pattern, a, who in self.rules if pattern.search(statement) and who in (None, user)), None
        )
        if answer is None:
            answer = Answer(error=user_error("SYNTAX_ERROR", f"nothing is known of: {statement}", 1, 1))
        number = len(self.asked)
        asked = Asked(f"20260101_000000_{number:05d}_abcde", user, statement, request.headers, answer)
        self.asked.append(asked)
        first = self._document(asked, state="QUEUED", queued=True)
        return httpx.Response(200, json={**first, "nextUri": self._uri(number, 0)})

    def _page(self, asked: Asked, number: int, page: int, *, waiting: bool = False) -> dict[str, Any]:
        answer = asked.answer
        document = self._document(asked, state="RUNNING")
        if waiting:
            return {**document, "nextUri": self._uri(number, page)}
        if page < len(answer.pages):
            document["data"] = answer.pages[page]
            return {**document, "nextUri": self._uri(number, page + 1)}
        if answer.error is not None:
            return {**document, "error": answer.error, "stats": {"state": "FAILED"}}
        document["stats"]["state"] = "FINISHED"
        if answer.update is not None:
            document["updateType"], document["updateCount"] = answer.update
        return document

    @staticmethod
    def _document(asked: Asked, *, state: str, queued: bool = False) -> dict[str, Any]:
        document: dict[str, Any] = {
            "id": asked.query_id,
            "infoUri": f"{URL}/ui/query.html?{asked.query_id}",
            "stats": {
                "state": state,
                "queued": queued,
                "progressPercentage": 50.0,
                "elapsedTimeMillis": 1500,
                "processedRows": 42,
            },
            "warnings": [],
        }
        if asked.answer.columns and not queued:
            document["columns"] = [
                {"name": name, "type": kind, "typeSignature": {}}
                for name, kind in asked.answer.columns.items()
            ]
        return document

    def _uri(self, number: int, page: int) -> str:
        return f"{self.lead_to}/v1/statement/executing/{number}/{page}"
