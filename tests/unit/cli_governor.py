"""A governor that answers as told, for tests of ``lab access`` and ``lab policy``."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.commands.common import Options
from cli.operations import access as access_operations
from cli.operations import policy as policy_operations
from governance.client import GovernorClient
from tests.unit.cli_fakes import FakeRun, fake_run, lab_outputs

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
SUMMARY = {"revision": 3, "author": "ada", "reason": "r", "created_at": NOW.isoformat(), "based_on": 2}
CHANGE: dict[str, Any] = {
    "verb": "added",
    "section": "tags",
    "name": "pii.email on web.events.email",
    "before": None,
    "after": {},
}
RESULT = {
    "revision": 3,
    "changed": True,
    "tried_only": False,
    "published": True,
    "changes": [CHANGE],
    "widenings": [],
}
DOCUMENT = {
    "grants": [{"group": "auditors", "object": "web.*", "privileges": ["select"]}],
    "tags": [{"object": "web.events.email", "tag": "pii.email"}],
    "rules": [{"id": "mail", "kind": "column_mask", "tag": "pii.email", "mask": "email_domain"}],
    "exceptions": [
        {
            "id": "e",
            "user": "ada",
            "object": "web.*",
            "expires_at": NOW.isoformat(),
            "reason": "incident",
            "lifts": ["*"],
        }
    ],
}


class FakeGovernor:
    """Keeps what it was sent and answers by path."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: dict[str, Any] = {
            "/v1/access/changes": RESULT,
            "/v1/access/rollback": {**SUMMARY, "document": DOCUMENT},
            "/v1/access/revisions": [SUMMARY],
            "/v1/access/revisions/3/changes": {**SUMMARY, "changes": [CHANGE]},
            "/v1/access": {**SUMMARY, "document": DOCUMENT},
        }
        self.status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, request.url.raw_path.decode(), body))
        return httpx.Response(self.status, json=self.answers[request.url.path])

    @property
    def body(self) -> Any:
        """What was sent last."""
        return self.asked[-1][2]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    made = fake_run(tmp_path)
    monkeypatch.setattr(Options, "session", lambda _: made.session)
    monkeypatch.setattr(type(made.session), "outputs", lambda _: lab_outputs())
    return made


@pytest.fixture
def governor(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> FakeGovernor:
    """The governor of both ways to ask it, whoever asks."""
    found = FakeGovernor()
    whose: list[str | None] = []

    def client(*_: Any) -> GovernorClient:
        return GovernorClient("http://governor", lambda: "t", transport=httpx.MockTransport(found))

    def tokens(_session: Any, _outputs: Any, persona: str | None, _audience: Any) -> Callable[[], str]:
        whose.append(persona)
        return lambda: "t"

    monkeypatch.setattr(access_operations, "user_tokens", tokens)
    monkeypatch.setattr("governance.client.GovernorClient", lambda *_: client())
    monkeypatch.setattr(policy_operations, "governor_client", client)
    return found
