"""A person's browser on a running lab's console, without a window: Keycloak's own pages are filled in."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx

from tests.live.conftest import LiveLab
from tests.live.test_login import Browser


class Person:
    """Somebody signed in to the console by its page."""

    def __init__(self, lab: LiveLab, username: str) -> None:
        shown = lab.json("credentials")
        self.url = shown["urls"]["control-plane"]
        password = next(one["password"] for one in shown["personas"] if one["username"] == username)
        self.browser = Browser()
        self.browser.open(f"{self.url}/auth/login?next=/explore")
        self.browser.submit(username=username, password=password)
        assert str(self.browser.page.url) == f"{self.url}/explore", self.browser.page.text
        self.http = self.browser.http
        self.csrf = self.http.get(f"{self.url}/api/v1/me").json()["csrf_token"]

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        """What a page reads."""
        answer = self.http.get(f"{self.url}{path}", params=query, timeout=180)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        """What a page sends."""
        sent = {"X-CSRF-Token": self.csrf, "Origin": self.url, **headers}
        answer = self.http.post(f"{self.url}{path}", json=body, headers=sent, timeout=180)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def cancel(self, query_id: str) -> Any:
        """Cancels a query."""
        sent = {"X-CSRF-Token": self.csrf, "Origin": self.url}
        return self.http.delete(f"{self.url}/api/v1/queries/{query_id}", headers=sent).json()

    def events(self, query_id: str) -> list[dict[str, Any]]:
        """All that happens to a query."""
        with self.http.stream("GET", f"{self.url}/api/v1/queries/{query_id}/events", timeout=180) as stream:
            return [json.loads(line) for line in stream.iter_lines()]

    def run(self, statement: str, **more: Any) -> tuple[dict[str, Any], list[list[Any]]]:
        """A statement's end and its rows."""
        begun = self.post("/api/v1/queries", {"statement": statement, "catalog": "lake", **more}, 202)
        seen = self.events(begun["id"])
        rows = [row for event in seen if event["type"] == "rows" for row in event["rows"]]
        return seen[-1]["query"], rows


def made_workspace(owner: Person, name: str, limit_s: float = 60.0) -> dict[str, Any]:
    """A new workspace, once it is ready."""
    made: dict[str, Any] = owner.post("/api/v1/workspaces", {"name": name}, 201)
    deadline = time.monotonic() + limit_s
    while made["state"] != "ready":
        assert time.monotonic() < deadline, made
        time.sleep(1)
        made = owner.get(f"/api/v1/workspaces/{made['id']}")
    return made


def bearer(lab: LiveLab, username: str) -> httpx.Client:
    """The console's API with an access token of a sample user's."""
    shown = lab.json("credentials", "--all")
    password = next(one["password"] for one in shown["personas"] if one["username"] == username)
    form = {
        "grant_type": "password",
        "client_id": "personas",
        "client_secret": shown["keys"]["client personas"],
        "username": username,
        "password": password,
        "scope": "openid control-plane",
    }
    token = httpx.post(
        f"{shown['urls']['sign-in']}/protocol/openid-connect/token", data=form, trust_env=False
    ).json()
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    return httpx.Client(
        base_url=shown["urls"]["control-plane"], headers=headers, timeout=180, trust_env=False
    )
