"""Rotated secrets: which are made anew, and that each user gets a new password once."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

import httpx
import pytest

from cli import app, operations
from cli.commands.common import Options
from cli.project import read_config
from components.keycloak.passwords import ATTRIBUTE, SamplePasswordsProvider, converge
from contracts.errors import LabError, UsageError
from contracts.secret_kinds import SECRET_KINDS, SecretKind
from contracts.settings import Role
from tests.mocks.test_stacks import PASSWORD, Recorded
from tests.mocks.test_stacks import run as run_stack
from tests.unit import test_cli_lifecycle
from tests.unit.cli_fakes import FakeRun
from tests.unit.slots import make_slot

run = test_cli_lifecycle.run

PROPS: dict[str, Any] = {
    "url": "http://keycloak",
    "realm": "lab",
    "client_id": "operator",
    "client_secret": "s",
    "passwords": {"ada": "new-of-ada", "bob": "new-of-bob", "gone": "new-of-gone"},
    "rotation": "1",
}


class Keycloak:
    """Users by name, with what was done to them, in order."""

    def __init__(self, *names: str) -> None:
        self.users: dict[str, dict[str, Any]] = {
            name: {"id": f"id-{name}", "username": name, "email": f"{name}@x", "attributes": {"own": ["1"]}}
            for name in names
        }
        self.passwords = dict.fromkeys(names, "first")
        self.done: list[str] = []
        self.fail_on = ""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/realms/master/protocol/openid-connect/token":
            return httpx.Response(200, json={"access_token": "t"})
        assert request.headers["Authorization"] == "Bearer t"
        if path == "/admin/realms/lab/users":
            assert request.url.params["exact"] == "true"
            user = self.users.get(request.url.params["username"])
            return httpx.Response(200, json=[user] if user else [])
        ident, _, what = path.removeprefix("/admin/realms/lab/users/").partition("/")
        name = ident.removeprefix("id-")
        if request.method == "GET":
            return httpx.Response(200, json=self.users[name])
        if f"{name} {what}" == self.fail_on:
            return httpx.Response(500)
        self.done.append(f"{name} {what or 'marked'}")
        if what == "reset-password":
            given = json.loads(request.content)
            assert given["temporary"] is False
            self.passwords[name] = given["value"]
        elif not what:
            self.users[name] = json.loads(request.content)
        return httpx.Response(204)

    def converge(self, **changes: Any) -> list[str]:
        return converge({**PROPS, **changes}, httpx.MockTransport(self))


def test_everybody_who_is_there_gets_a_new_password_and_is_signed_out() -> None:
    keycloak = Keycloak("ada", "bob", "own-user")
    assert keycloak.converge() == ["ada", "bob"]
    assert keycloak.passwords == {"ada": "new-of-ada", "bob": "new-of-bob", "own-user": "first"}
    assert keycloak.done[:3] == ["ada reset-password", "ada logout", "ada marked"]
    assert keycloak.users["ada"]["attributes"] == {"own": ["1"], ATTRIBUTE: ["1"]}
    assert keycloak.users["ada"]["email"] == "ada@x"


def test_a_rotation_comes_once_and_what_a_user_changed_since_stays() -> None:
    keycloak = Keycloak("ada")
    keycloak.converge()
    keycloak.passwords["ada"] = "her own"
    assert keycloak.converge() == []
    assert keycloak.passwords["ada"] == "her own"
    assert keycloak.converge(rotation="2", passwords={"ada": "third"}) == ["ada"]
    assert keycloak.passwords["ada"] == "third"


@pytest.mark.parametrize("step", ["reset-password", "logout", ""])
def test_what_stops_in_the_middle_is_done_to_the_end_by_the_next_run(step: str) -> None:
    keycloak = Keycloak("ada", "bob")
    keycloak.fail_on = f"bob {step}"
    with pytest.raises(LabError, match="did not take the new passwords") as caught:
        keycloak.converge()
    assert caught.value.next_command == "lab logs keycloak"
    assert "new-of" not in str(caught.value)
    keycloak.fail_on = ""
    assert keycloak.converge() == ["bob"]
    assert keycloak.passwords == {"ada": "new-of-ada", "bob": "new-of-bob"}


def test_only_a_change_is_an_update_and_never_a_replacement() -> None:
    provider = SamplePasswordsProvider()
    assert provider.diff("id", PROPS, dict(PROPS)).changes is False
    changed = provider.diff("id", PROPS, {**PROPS, "rotation": "2"})
    assert (changed.changes, changed.replaces) == (True, [])


# --- which secrets ----------------------------------------------------------------------------------------


def kept(found: Recorded) -> set[str]:
    """Passwords that no rotation asks to be made anew."""
    return {
        name.removeprefix("lab-") for name, inputs in found.of(PASSWORD).items() if "keepers" not in inputs
    }


def test_a_lab_that_was_never_rotated_keeps_every_secret() -> None:
    found = run_stack("persistent")
    assert kept(found) == {name.removeprefix("lab-") for name in found.of(PASSWORD)}
    assert "SamplePasswords" not in {one["type"].split(":")[-1] for one in run_stack("lab").resources}


def test_people_and_keys_are_rotated_apart() -> None:
    everything = kept(run_stack("persistent"))
    people = everything - kept(run_stack("persistent", "peopleRotation=1"))
    assert people
    assert all(name.startswith("persona-") for name in people)
    keys = everything - kept(run_stack("persistent", "keysRotation=3"))
    assert {name.split("-")[0] for name in keys} == {"client", "database", "store", "opa", "audit", "trino"}
    assert not keys & people
    # What data is encrypted or hashed with, and what servers were once begun with.
    assert everything - keys - people == {
        *("postgres", "store-root", "keycloak-admin", "catalog-root", "encryption", "hash-salt")
    }


def test_every_secret_is_told_with_what_makes_it_anew() -> None:
    """What the console lists (``contracts.secret_kinds``) is what the persistent stack makes and rotates."""

    def kind_of(name: str) -> SecretKind:
        (found,) = (
            kind
            for kind in SECRET_KINDS
            if any(name == one or (one.endswith("-") and name.startswith(one)) for one in kind.names)
        )
        return found

    before = run_stack("persistent")
    pairs = {"catalog-tokens": "keys", "bundles": "keys", "pki": None}
    everything = {name.removeprefix("lab-") for name in before.of(PASSWORD)} | pairs.keys()
    rotated = {
        "people": kept(before) - kept(run_stack("persistent", "peopleRotation=1")),
        "keys": kept(before) - kept(run_stack("persistent", "keysRotation=3")),
    }
    for name in everything:
        by = next((by for by, names in rotated.items() if name in names), pairs.get(name))
        assert kind_of(name).rotation == by, name
    for kind in SECRET_KINDS:
        assert (kind.rotation is None) == bool(kind.stays), kind.title
        assert all(any(n.startswith(one) for n in everything) for one in kind.names), kind.title


def test_services_that_hold_a_secret_are_told() -> None:
    slot = make_slot()
    secrets, databases = slot.secrets, [f.name for f in fields(slot) if f.name.endswith("_database")]
    values = {
        "client-": [*secrets.client_secrets.values()],
        "database-": [getattr(slot, name).password for name in databases],
        "store-catalog": [f"{name}-secret" for name in ("catalog", "governor", "opa")],
        "opa": [
            *(secrets.opa_token, secrets.audit_opa_token),
            *(secrets.audit_trino_token, secrets.trino_internal_secret),
        ],
        "bundles": [secrets.bundle_signing_private_key, secrets.bundle_signing_public_key],
        "encryption": [secrets.encryption_key],
        "hash-salt": [secrets.hash_salt],
        "postgres": [secrets.keycloak_admin_client_secret],
    }
    specs = run_stack("lab", "components=trino,spark,control-plane,agent").specs
    # A user of the store and a client have the same name, and here the same value.
    store = {"catalog", "governor", "opa"}
    for kind in SECRET_KINDS:
        if (wanted := values.get(kind.names[0])) is None:
            continue
        pattern = re.compile("|".join(rf"(?<![\w-]){re.escape(value)}(?![\w-])" for value in wanted))
        holders = {name for name, spec in specs.items() if pattern.search(json.dumps(spec))}
        if kind.names == ("client-",):
            holders -= store - {"governor"}
        assert holders == set(kind.holders), kind.title


def test_signing_keys_go_with_the_keys_and_certificates_stay() -> None:
    def rotations(*pairs: str) -> dict[str, str]:
        found = run_stack("persistent", *pairs).resources
        return {r["name"]: r["inputs"]["rotation"] for r in found if "rotation" in r["inputs"]}

    before, after = rotations(), rotations("keysRotation=1")
    assert {name for name in before if before[name] != after[name]} == {"lab-catalog-tokens", "lab-bundles"}
    assert rotations("peopleRotation=1") == before


def test_the_lab_stack_gives_users_the_passwords_once_they_were_rotated() -> None:
    found = run_stack("lab", "peopleRotation=2")
    assert found.error is None
    (given,) = (r["inputs"] for r in found.resources if r["type"].endswith("lab:SamplePasswords"))
    assert given["rotation"] == "2"
    for name in ("passwords", "client_secret"):
        assert isinstance(given[name], dict), f"{name} is not marked secret"
        assert "4dabf18193072939515e22adb298388d" in given[name]


# --- the command ------------------------------------------------------------------------------------------


def test_a_rotation_counts_on_and_runs_both_stacks(run: FakeRun) -> None:
    operations.up(run.session)
    run.calls.clear()
    operations.rotate(run.session, ["people"])
    assert run.calls == ["fetch", "up persistent", "up lab"]
    for role in Role:
        assert read_config(run.lab, role)["peopleRotation"] == "1"
    operations.rotate(run.session, ["keys", "people", "keys"])
    assert read_config(run.lab, Role.PERSISTENT)["peopleRotation"] == "2"
    assert read_config(run.lab, Role.PERSISTENT)["keysRotation"] == "1"
    assert "keysRotation" not in read_config(run.lab, Role.LAB)


def test_a_rotation_that_fails_is_gone_on_with_by_the_next_up(run: FakeRun) -> None:
    operations.up(run.session)
    run.engine.fail_on = "up persistent"
    with pytest.raises(LabError):
        operations.rotate(run.session, ["keys"])
    run.engine.fail_on = None
    run.calls.clear()
    operations.up(run.session)
    assert "up persistent" in run.calls
    assert read_config(run.lab, Role.PERSISTENT)["keysRotation"] == "1"


def test_what_can_t_be_rotated_is_refused_and_nothing_changes(run: FakeRun) -> None:
    with pytest.raises(LabError, match="there is no lab"):
        operations.rotate(run.session, ["people"])
    operations.up(run.session)
    run.calls.clear()
    with pytest.raises(UsageError, match="did you mean 'people'"):
        operations.rotate(run.session, ["keys", "peopel"])
    with pytest.raises(UsageError, match="say what to rotate"):
        operations.rotate(run.session, [])
    assert run.calls == []
    assert read_config(run.lab, Role.PERSISTENT).get("keysRotation", "0") == "0"


def test_the_command_says_what_is_new(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    operations.up(run.session)
    monkeypatch.setattr(Options, "session", lambda _: run.session)
    assert app.run(["rotate", "people,keys"]) == 0
    found = capsys.readouterr()
    assert "the sample users have new passwords and the services have new secrets" in found.out
    assert "lab credentials" in found.err
    assert app.run(["rotate", "passwords"]) == 2
    assert "permitted: keys, people" in capsys.readouterr().err
