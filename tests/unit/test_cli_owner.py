"""Whose a loaded table is: asked once its rows are committed, so that no trouble with it fails the load."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import governance.client
from cli.operations import data
from cli.tokens import ProviderAwayError, SignInError
from governance.client import GovernorClient
from tests.unit.cli_fakes import lab_outputs

OWNER = {
    "table": "raw.t",
    "group": "data_engineers",
    "registered_by": "engineer",
    "registered_at": "2030-01-02T03:04:05+00:00",
}
AWAY = ProviderAwayError("Keycloak starts")
UNAVAILABLE = httpx.Response(503, json={"title": "the database does not answer"})
Step = Exception | httpx.Response


def registered(monkeypatch: pytest.MonkeyPatch, steps: list[Step]) -> tuple[str | None, str]:
    """What comes of it when token or governor fail so, one after the other, before all is well."""
    left = iter(steps)
    clock = [0.0]

    def pause(seconds: float) -> None:
        clock[0] += seconds

    def answer(request: httpx.Request) -> httpx.Response:
        step = next(left, None)
        if isinstance(step, Exception):
            raise step
        return step or httpx.Response(200, json=OWNER)

    def client(url: str, token: Callable[[], str], **_: Any) -> GovernorClient:
        return GovernorClient(url, token, transport=httpx.MockTransport(answer))

    monkeypatch.setattr(governance.client, "GovernorClient", client)
    monkeypatch.setattr(data, "user_tokens", lambda *_: lambda: "token")
    monkeypatch.setattr(data, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=pause))
    session: Any = SimpleNamespace(lab=SimpleNamespace(name="lab"))
    return data._register_owner(session, lab_outputs(), "engineer", "raw.t")


def test_services_that_restart_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Step] = [AWAY, UNAVAILABLE, httpx.ConnectError("refused"), AWAY]
    assert registered(monkeypatch, steps) == ("data_engineers", "")


@pytest.mark.parametrize("step", [AWAY, UNAVAILABLE], ids=["provider", "governor"])
def test_services_that_stay_away_leave_a_note(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    group, note = registered(monkeypatch, [step] * 1000)
    assert group is None
    assert note


REFUSALS = [
    SignInError("the sign-in has ended"),
    httpx.Response(403, json={"title": "not a member of data_engineers"}),
]


@pytest.mark.parametrize("step", REFUSALS, ids=["provider", "governor"])
def test_a_refusal_is_a_note_at_once(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    """All would be well the next time: it is not asked again."""
    group, note = registered(monkeypatch, [step])
    assert group is None
    assert note
