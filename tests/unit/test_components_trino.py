"""Trino's generated files: what its doors rest on."""

from __future__ import annotations

from components.trino.properties import CLOCK_SKEW_S, authentication, lake_catalog

FOUND = authentication(issuer_url="http://127.0.0.1:1/realms/lab", realm_url="http://keycloak:1/realms/lab")
OAUTH2 = "http-server.authentication.oauth2"


def test_a_token_that_has_ended_is_believed_for_seconds_only() -> None:
    assert FOUND[f"{OAUTH2}.max-clock-skew"] == f"{CLOCK_SKEW_S}s"
    assert 0 < CLOCK_SKEW_S <= 30


def test_only_tokens_open_it_and_their_issuer_is_asked_inside() -> None:
    assert FOUND["http-server.authentication.type"] == FOUND["web-ui.authentication.type"] == "oauth2"
    assert FOUND["http-server.authentication.allow-insecure-over-http"] == "false"
    assert FOUND[f"{OAUTH2}.issuer"].startswith("http://127.0.0.1:1/")
    for inside in ("token-url", "jwks-url"):
        assert FOUND[f"{OAUTH2}.{inside}"].startswith("http://keycloak:1/"), inside
    for browser in ("auth-url", "end-session-url"):
        assert FOUND[f"{OAUTH2}.{browser}"].startswith("http://127.0.0.1:1/"), browser


def test_no_secret_is_in_the_file() -> None:
    assert FOUND[f"{OAUTH2}.client-secret"] == "${ENV:TRINO_CLIENT_SECRET}"


def test_no_token_of_a_call_of_the_catalog_is_refreshed() -> None:
    lines = lake_catalog(
        catalog_uri="http://catalog:1", warehouse="lake", token_url="http://keycloak:1", min_retention_days=1
    ).splitlines()
    assert "iceberg.rest-catalog.oauth2.token-refresh-enabled=false" in lines
    assert not [line for line in lines if line.startswith("iceberg.rest-catalog.session=")], "a token a call"
