"""The Keycloak plugin with the real engine and a real Keycloak: the life of kept identity data."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engine.plugins_support import (
    ADMIN,
    ADMIN_PASSWORD,
    KeycloakServer,
    Project,
    new_project,
    running_keycloak,
)

pytestmark = [pytest.mark.engine, pytest.mark.live]

REALM = "plugins"
SECRETS = {
    "password": "Sample-Pass-1",
    "clientSecret": "given-client-secret",
    "adminPassword": ADMIN_PASSWORD,
}
DECLARED = 38


@pytest.fixture(scope="module")
def keycloak() -> Iterator[KeycloakServer]:
    """Keycloak on an empty database."""
    with running_keycloak() as server:
        yield server


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, keycloak: KeycloakServer) -> Project:
    """A project whose path has a space, with the program and its configuration."""
    project = new_project(tmp_path_factory.mktemp("plug ins"))
    program = Path(__file__).with_name("plugins_program.py")
    shutil.copy(program, project.folder / "__main__.py")
    project.config(secret=SECRETS, realm=REALM, url=keycloak.url, adminUser=ADMIN)
    return project


@pytest.fixture
def person(keycloak: KeycloakServer) -> Iterator[httpx.Client]:
    """An administrator at the console."""
    with keycloak.person() as client:
        yield client


def _get(person: httpx.Client, path: str, **query: str) -> Any:
    return person.get(f"/admin/realms/{REALM}/{path}", params=query).raise_for_status().json()


def _inventory(person: httpx.Client) -> dict[str, Any]:
    """Everything the program declares, as the server lists it, without order."""
    clients = _get(person, "clients")
    found = {
        "realm": {k: v for k, v in _get(person, "").items() if k not in ("attributes",)},
        "profile": _get(person, "users/profile"),
        "events": _get(person, "events/config"),
        "clients": {c["clientId"]: c for c in clients},
        "scopes": {s["name"]: s for s in _get(person, "client-scopes")},
        "roles": sorted(r["name"] for r in _get(person, "roles")),
        "groups": sorted(g["path"] for g in _get(person, "groups", populateHierarchy="true")),
        "users": {u["username"]: u for u in _get(person, "users", max="100")},
        "memberships": {
            u["username"]: sorted(g["path"] for g in _get(person, f"users/{u['id']}/groups"))
            for u in _get(person, "users", max="100")
        },
    }
    return {name: _unordered(value) for name, value in found.items()}


def _unordered(value: Any) -> Any:
    """A document whose lists have one order: the server lists mappers and scopes in any."""
    if isinstance(value, dict):
        return {key: _unordered(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted((_unordered(inner) for inner in value), key=repr)
    return value


def _user(person: httpx.Client, username: str) -> dict[str, Any]:
    found: dict[str, Any] = _get(person, "users", username=username, exact="true")[0]
    return found


def _signs_in(server: KeycloakServer, person: httpx.Client, password: str) -> bool:
    client = next(c for c in _get(person, "clients") if c["clientId"] == "generated")
    secret = _get(person, f"clients/{client['id']}/client-secret")["value"]
    answer = httpx.post(
        f"{server.url}/realms/{REALM}/protocol/openid-connect/token",
        data={
            "grant_type": "password",
            "client_id": "generated",
            "client_secret": secret,
            "username": "ada",
            "password": password,
        },
        trust_env=False,
    )
    return answer.is_success


def test_preview_before_keycloak_knows_anything(lab: Project) -> None:
    outcome = lab.run("preview")
    assert outcome.code == 0, outcome.text
    assert "38 to create" in outcome.text


def test_up_then_up_again_changes_nothing(
    lab: Project, keycloak: KeycloakServer, person: httpx.Client
) -> None:
    assert lab.up().counts == {"created": DECLARED}
    assert lab.up("--expect-no-changes").counts == {"unchanged": DECLARED}
    assert lab.refresh("--expect-no-changes").counts == {"unchanged": DECLARED}
    assert _signs_in(keycloak, person, SECRETS["password"])
    trino = next(c for c in _get(person, "clients") if c["clientId"] == "trino")
    assert trino["attributes"]["standard.token.exchange.enabled"] == "true"
    assert _get(person, f"clients/{trino['id']}/client-secret")["value"] == SECRETS["clientSecret"]


def test_no_secret_is_in_the_state(lab: Project) -> None:
    text = lab.run("stack", "export").text
    shown = lab.run("stack", "output", "generatedSecret", "--show-secrets").text.strip()
    assert len(shown) >= 32
    for secret in (*SECRETS.values(), shown):
        assert secret not in text


def test_drift_is_shown_and_ended(lab: Project, person: httpx.Client) -> None:
    group = _get(person, "groups", search="analysts", exact="true")[0]
    scope = next(s for s in _get(person, "client-scopes") if s["name"] == "trino")
    full = _get(person, f"groups/{group['id']}")
    person.put(f"/admin/realms/{REALM}/groups/{group['id']}", json={**full, "description": "Edited"})
    mapper = next(m for m in scope["protocolMappers"] if m["name"] == "audience")
    person.delete(f"/admin/realms/{REALM}/client-scopes/{scope['id']}/protocol-mappers/models/{mapper['id']}")
    shown = lab.run("preview", "--refresh", "--diff")
    assert "Edited" in shown.text
    refreshed = lab.refresh()
    assert refreshed.counts == {"updated": 1, "deleted": 1, "unchanged": DECLARED - 2}
    assert lab.up().counts == {"updated": 1, "created": 1, "unchanged": DECLARED - 2}
    assert lab.refresh("--expect-no-changes").counts == {"unchanged": DECLARED}
    assert _get(person, f"groups/{group['id']}")["description"] == "Read"


def test_lost_state_is_adopted_and_edits_survive(
    lab: Project, keycloak: KeycloakServer, person: httpx.Client
) -> None:
    ada, ben = _user(person, "ada"), _user(person, "ben")
    edited = {**ada, "email": "mine@lakehouse.example", "attributes": {"region": ["AMER"], "desk": ["4"]}}
    person.put(f"/admin/realms/{REALM}/users/{ada['id']}", json=edited).raise_for_status()
    person.put(
        f"/admin/realms/{REALM}/users/{ada['id']}/reset-password",
        json={"type": "password", "value": "Chosen-By-Ada-2", "temporary": False},
    ).raise_for_status()
    for group in _get(person, f"users/{ben['id']}/groups"):
        person.delete(f"/admin/realms/{REALM}/users/{ben['id']}/groups/{group['id']}").raise_for_status()
    before = _inventory(person)
    ids = {resource["urn"]: resource["id"] for resource in lab.state() if "id" in resource}

    lab.forget()
    assert lab.up().counts == {"created": DECLARED}
    assert _inventory(person) == before
    assert _signs_in(keycloak, person, "Chosen-By-Ada-2")
    kept = {
        resource["urn"]: resource["id"]
        for resource in lab.state()
        if "id" in resource and resource["type"].startswith("keycloak:")
    }
    assert kept == {urn: ident for urn, ident in ids.items() if urn in kept}
    assert len(kept) == DECLARED - 3
    assert lab.up("--expect-no-changes").counts == {"unchanged": DECLARED}
    assert lab.refresh("--expect-no-changes").counts == {"unchanged": DECLARED}


def test_a_changed_declaration_changes_what_it_says(lab: Project, person: httpx.Client) -> None:
    lab.config(displayName="Renamed", userEmail="ada.new@lakehouse.example")
    assert lab.up().counts == {"updated": 2, "unchanged": DECLARED - 2}
    ada = _user(person, "ada")
    assert ada["email"] == "ada.new@lakehouse.example"
    assert ada["attributes"] == {"region": ["AMER"], "desk": ["4"]}
    assert _get(person, "")["displayName"] == "Renamed"


def test_destroy_that_retains_keeps_everything_and_up_adopts_it(lab: Project, person: httpx.Client) -> None:
    lab.config(retain="true")
    lab.up()
    before = _inventory(person)
    assert lab.destroy().counts == {"deleted": DECLARED}
    assert _inventory(person) == before
    assert lab.up().counts == {"created": DECLARED}
    assert _inventory(person) == before
    lab.config(retain="false")
    lab.up()


def test_interrupted_up_is_completed_by_the_next(lab: Project, person: httpx.Client) -> None:
    person.delete(f"/admin/realms/{REALM}").raise_for_status()
    lab.forget()
    running = lab.start("up", "--yes", "--skip-preview")
    assert running.stdout is not None
    for line in running.stdout:
        if "realm" in line and "created" in line:
            break
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=120)
    assert running.returncode != 0
    assert 0 < len(lab.state()) < DECLARED
    lab.up()
    assert lab.up("--expect-no-changes").counts == {"unchanged": DECLARED}
    assert sorted(user["username"] for user in _get(person, "users", max="100")) == ["ada", "ben"]


def test_destroy_removes_what_was_made(lab: Project, person: httpx.Client) -> None:
    assert lab.destroy().counts == {"deleted": DECLARED}
    assert person.get(f"/admin/realms/{REALM}").status_code == 404


def test_a_stopped_keycloak_is_said_in_one_sentence(lab: Project, keycloak: KeycloakServer) -> None:
    lab.up()
    keycloak.stop()
    began = time.monotonic()
    for command in ("refresh", "destroy"):
        outcome = lab.run(command, "--yes", "--skip-preview")
        assert outcome.code != 0
        assert f"Keycloak does not answer at {keycloak.url}/" in outcome.text
    assert time.monotonic() - began < 60
