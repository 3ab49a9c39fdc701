"""Signing in to the console: what a browser keeps, what is refused, and how it ends."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from control_plane.api.openapi import FILE
from control_plane.api.routes.session import own_path
from tests.unit import console_world
from tests.unit.console_keycloak import CLIENT
from tests.unit.console_world import World

postgres_server = console_world.postgres_server
world = console_world.world


def test_sign_in_keeps_tokens_on_the_server(world: World) -> None:
    browser = world.browser().sign_in("steward", page="/tables/retail?x=1")
    assert browser.landed == "/tables/retail?x=1"
    (session,) = [line for line in browser.set_cookies if line.startswith(f"__Host-console-{world.port}=")]
    attributes = {part.strip().lower() for part in session.split(";")[1:]}
    assert attributes == {"httponly", "path=/", "samesite=lax", "secure"}
    assert len(browser.cookies) == 1, "the sign-in's own cookie is gone"
    me = browser.get("/api/v1/me").json()
    assert me["username"] == "steward"
    assert me["groups"] == ["data_stewards"]
    assert me["permissions"] == ["break_glass", "edit_rules", "read_access"]
    assert me["sign_in"] == "session"
    everything = "".join(browser.cookies.values()) + str(me)
    assert "eyJ" not in everything, "no token reaches the browser"


def test_the_database_holds_neither_cookies_nor_tokens(world: World) -> None:
    browser = world.browser().sign_in("auditor")
    (cookie,) = browser.cookies.values()
    url = world.settings.database_url.replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT id_hash, tokens FROM session WHERE username = 'auditor'").fetchall()
        assert rows
        for key, tokens in rows:
            assert key != cookie
            assert b"eyJ" not in tokens
        # A row's tokens are of no use in another row.
        connection.execute(
            "UPDATE session SET tokens = (SELECT tokens FROM session WHERE username = 'steward' LIMIT 1) "
            "WHERE username = 'auditor'"
        )
    assert browser.get("/api/v1/me").status_code == 401


def test_bearer_token_needs_this_audience(world: World) -> None:
    with world.as_user("analyst") as http:
        me = http.get("/api/v1/me").json()
        assert (me["username"], me["sign_in"], me["csrf_token"]) == ("analyst", "bearer", None)
    for token in (
        world.keycloak.token("analyst", "trino"),
        world.keycloak.token("analyst", CLIENT, exp=int(time.time()) - 60),
        world.keycloak.token("analyst", CLIENT, iss="http://elsewhere/realms/lab"),
        world.keycloak.token("analyst", CLIENT, typ="ID"),
        world.keycloak.token("service-account-trino", CLIENT),
        "nonsense",
    ):
        answer = httpx.get(f"{world.url}/api/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, token
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_who_is_in_no_group_may_sign_in_and_is_shown_nothing(world: World) -> None:
    me = world.browser().sign_in("outsider").get("/api/v1/me").json()
    assert (me["groups"], me["permissions"]) == ([], [])


def test_nobody_is_signed_in_without_either(world: World) -> None:
    answer = world.browser().get("/api/v1/me")
    assert answer.status_code == 401
    assert answer.json()["title"] == "nobody is signed in"


def test_who_wants_to_sign_in_is_told_what_is_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = world.browser()
    assert browser.get("/auth/ready").json() == {"ready": True}
    monkeypatch.setattr(world.keycloak, "down", True)
    answer = browser.get("/auth/ready")
    assert (answer.status_code, answer.json()["next_command"]) == (503, "lab logs keycloak")
    assert answer.json()["title"].startswith("Keycloak does not answer")
    monkeypatch.setattr(world.keycloak, "down", False)
    monkeypatch.setattr(world.console, "ready", lambda: False)
    answer = browser.get("/auth/ready")
    assert (answer.status_code, answer.json()["title"]) == (503, "the console's database does not answer")


def test_every_call_of_the_api_needs_a_sign_in(world: World) -> None:
    paths = json.loads(FILE.read_text(encoding="utf-8"))["paths"]
    calls = [(method, path) for path, methods in paths.items() for method in methods]
    assert len(calls) > 60
    with httpx.Client(base_url=world.url, timeout=60, trust_env=False) as http:
        for method, path in calls:
            if path not in ("/auth/login", "/auth/ready"):
                filled = re.sub(r"\{\w+\}", str(uuid4()), path)
                assert http.request(method, filled).status_code == 401, (method, path)


def test_changes_need_the_sessions_own_csrf_token(world: World) -> None:
    browser = world.browser().sign_in("steward")
    other = world.browser().sign_in("steward")
    for headers in (
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": other.csrf},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = browser.post("/auth/logout", headers=headers)
        assert answer.status_code == 403, headers
    assert browser.get("/api/v1/me", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.get("/api/v1/me").status_code == 200
    assert browser.post("/auth/logout").status_code == 200


def test_logout_ends_the_session_here_and_leads_to_keycloak(world: World) -> None:
    browser = world.browser().sign_in("steward")
    kept = dict(browser.cookies)
    url = urlsplit(browser.post("/auth/logout").json()["url"])
    query = parse_qs(url.query)
    assert url.path == "/realms/lab/protocol/openid-connect/logout"
    assert query["post_logout_redirect_uri"] == [f"{world.url}/"]
    assert query["id_token_hint"][0].startswith("eyJ")
    assert browser.cookies == {}
    browser.cookies = kept
    assert browser.get("/api/v1/me").status_code == 401, "a kept cookie is of no use"


def test_a_new_sign_in_ends_the_browsers_old_session(world: World) -> None:
    browser = world.browser().sign_in("steward")
    old = dict(browser.cookies)
    browser.sign_in("admin")
    assert browser.cookies != old
    assert browser.get("/api/v1/me").json()["username"] == "admin"
    browser.cookies = old
    assert browser.get("/api/v1/me").status_code == 401


def test_tokens_are_refreshed_and_say_who_one_is_now(world: World) -> None:
    browser = world.browser()
    world.keycloak.access_life_s = 20
    try:
        browser.sign_in("engineer")
        before = world.keycloak.refreshes
        world.keycloak.people["engineer"] = {"auditors"}
        world.keycloak.access_life_s = 300
        assert browser.get("/api/v1/me").json()["groups"] == ["auditors"]
        assert browser.get("/api/v1/me").status_code == 200
        assert world.keycloak.refreshes == before + 1
    finally:
        world.keycloak.access_life_s = 300
        world.keycloak.people["engineer"] = {"data_engineers"}


def test_a_disabled_account_has_no_session_any_more(world: World) -> None:
    browser = world.browser()
    world.keycloak.access_life_s = 20
    try:
        browser.sign_in("analyst")
        world.keycloak.disabled.add("analyst")
        answer = browser.get("/api/v1/me")
        assert answer.status_code == 401
        assert "ended" in answer.json()["title"]
        world.keycloak.disabled.clear()
        assert browser.get("/api/v1/me").status_code == 401, "it stays ended"
    finally:
        world.keycloak.access_life_s = 300
        world.keycloak.disabled.clear()


def test_keycloak_down_is_told_and_passes(world: World) -> None:
    browser = world.browser()
    world.keycloak.access_life_s = 20
    try:
        browser.sign_in("analyst")
        world.keycloak.down = True
        answer = browser.get("/api/v1/me")
        assert answer.status_code == 503
        assert answer.json()["next_command"] == "lab logs keycloak"
        assert answer.headers["retry-after"]
        world.keycloak.down = False
        assert browser.get("/api/v1/me").status_code == 200, "the session is still there"
    finally:
        world.keycloak.access_life_s = 300
        world.keycloak.down = False


def test_backchannel_logout_ends_one_sign_in_or_all(world: World) -> None:
    first = world.browser().sign_in("analyst")
    sid = world.keycloak.sids["analyst"]
    second = world.browser().sign_in("analyst")

    def told(token: str) -> int:
        form = {"logout_token": token}
        host = {"Host": "console.internal:8080"}
        return httpx.post(f"{world.url}/auth/backchannel-logout", data=form, headers=host).status_code

    for wrong in (
        world.keycloak.logout_token(sid=sid, aud="trino"),
        world.keycloak.logout_token(sid=sid, nonce="x"),
        world.keycloak.logout_token(sid=sid, events=None),
        world.keycloak.logout_token(sid=None),
        world.keycloak.token("analyst", CLIENT),
        "",
    ):
        assert told(wrong) == 401
    assert first.get("/api/v1/me").status_code == 200
    assert told(world.keycloak.logout_token(sid=sid)) == 200
    assert first.get("/api/v1/me").status_code == 401
    assert second.get("/api/v1/me").status_code == 200
    assert told(world.keycloak.logout_token(sub="id-of-analyst", sid=None)) == 200
    assert second.get("/api/v1/me").status_code == 401


def test_a_callback_that_this_browser_did_not_begin_is_refused(world: World) -> None:
    browser, stranger = world.browser(), world.browser()
    back = world.keycloak.sign_in(browser.get("/auth/login").headers["location"], "admin")
    path = back.removeprefix(world.url)
    answer = stranger.get(path)
    assert answer.status_code == 400
    assert "not begun in this browser" in answer.json()["title"]
    assert stranger.cookies == {}
    assert browser.get(path.replace("code=", "code=x")).status_code == 400, "a code that Keycloak never gave"
    assert browser.get(path).status_code == 302
    assert browser.get(path).status_code == 400, "a code is good once"


def test_what_keycloak_refuses_is_said(world: World) -> None:
    browser = world.browser()
    state = parse_qs(urlsplit(browser.get("/auth/login").headers["location"]).query)["state"][0]
    query = {"state": state, "error": "access_denied", "error_description": "User said no"}
    answer = browser.get("/auth/callback", params=query)
    assert answer.status_code == 400
    assert "User said no" in answer.json()["title"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/", "/"),
        ("/tables/a?b=c#d", "/tables/a?b=c#d"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("/\n/evil.example", "/"),
        ("/auth/login", "/"),
        ("/api/v1/me", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_only_pages_of_ones_own_follow_a_sign_in(given: str, kept: str) -> None:
    assert own_path(given) == kept


def test_other_hosts_are_not_answered(world: World) -> None:
    for host in ("evil.example", f"evil.example:{world.port}", ""):
        answer = httpx.get(f"{world.url}/api/v1/me", headers={"Host": host})
        assert answer.status_code in (400, 421), host
    answer = httpx.get(f"{world.url}/a?b=c", headers={"Host": f"localhost:{world.port}"})
    assert answer.headers["location"] == f"{world.url}/a?b=c"
    assert httpx.get(f"{world.url}/health", headers={"Host": "10.0.0.1:1"}).status_code == 200


def test_every_answer_carries_the_headers(world: World) -> None:
    for path in ("/", "/api/v1/me", "/auth/callback", "/nothing/here"):
        headers = world.browser().get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self';" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    assert world.browser().get("/api/v1/me").headers["cache-control"] == "no-store"


def test_too_long_a_body_is_refused_with_and_without_its_length(world: World) -> None:
    with world.as_user("analyst") as http:
        answer = http.post("/api/v1/sql/format", content=b"x" * (9 << 20))
        assert answer.status_code == 413
        chunks = (b"x" * (1 << 20) for _ in range(9))
        answer = http.post("/api/v1/sql/format", content=chunks)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
