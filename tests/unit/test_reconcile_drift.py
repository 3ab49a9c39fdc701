"""Reconciling what others change, before and during a run, and runs that fail midway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from governance.reconcile.polaris import MANAGED
from tests.unit import governor_world
from tests.unit.governor_polaris import CATALOG, ROOT_SECRET, Entity
from tests.unit.governor_world import EXPECTED, World

world = governor_world.world
settled = governor_world.settled


def _foreign_grant(world: World) -> None:
    world.polaris.grants["analysts"].add(("table", "TABLE_READ_DATA", ("retail",), "customer"))
    world.polaris.grants["auditors"].add(("namespace", "TABLE_READ_DATA", ("retail",), ""))
    world.polaris.grants["service"].add(("catalog", "CATALOG_MANAGE_ACCESS", (), ""))


def _foreign_assignments(world: World) -> None:
    world.polaris.assigned |= {("analyst", "service"), ("analyst", "auditors"), ("analyst", "service_admin")}
    world.polaris.mapped |= {("catalog_admin", "analysts"), ("data_engineers", "auditors")}


def _foreign_entities(world: World) -> None:
    world.polaris.principals["old"] = Entity("old", dict(MANAGED))
    world.polaris.principal_roles["old_group"] = Entity("old_group", dict(MANAGED))
    world.polaris.catalog_roles["old_group"] = Entity("old_group", dict(MANAGED))


def _foreign_keycloak_roles(world: World) -> None:
    world.keycloak.roles |= {"catalog_service_admin", "catalog_writer"}
    world.keycloak.group_roles |= {("strangers", "catalog_service"), ("auditors", "catalog_writer")}
    world.keycloak.user_roles |= {("stranger", "catalog_service"), ("analyst", "catalog_service_admin")}


def _lost_grant(world: World) -> None:
    world.polaris.grants["analysts"].clear()


def _lost_assignment(world: World) -> None:
    world.polaris.assigned -= {("analyst", "analysts")}
    world.polaris.mapped -= {("auditors", "auditors")}


def _lost_entities(world: World) -> None:
    world.polaris.handle(_admin_request("DELETE", "/principals/analyst"))
    world.polaris.handle(_admin_request("DELETE", "/principal-roles/auditors"))
    world.polaris.handle(_admin_request("DELETE", "/catalogs/lake/catalog-roles/data_engineers"))


def _lost_keycloak_role(world: World) -> None:
    world.keycloak.roles.discard("catalog_analysts")
    world.keycloak.group_roles.discard(("analysts", "catalog_analysts"))


def _changed_storage(world: World) -> None:
    world.polaris.catalogs[CATALOG].extra["storageConfigInfo"] = {"storageType": "S3"}


def _admin_request(method: str, path: str) -> httpx.Request:
    headers = {"Authorization": "Bearer polaris-root"}
    return httpx.Request(method, f"http://polaris/api/management/v1{path}", headers=headers)


@pytest.mark.parametrize(
    "meddle",
    [
        _foreign_grant,
        _foreign_assignments,
        _foreign_entities,
        _foreign_keycloak_roles,
        _lost_grant,
        _lost_assignment,
        _lost_entities,
        _lost_keycloak_role,
        _changed_storage,
    ],
)
def test_what_others_change_is_undone_and_reported_as_drift(
    settled: World, meddle: Callable[[World], None]
) -> None:
    def state() -> Any:
        polaris, keycloak = settled.polaris, settled.keycloak
        return (
            set(polaris.principals),
            set(polaris.principal_roles),
            set(polaris.catalog_roles),
            set(polaris.assigned),
            set(polaris.mapped),
            {role: set(held) for role, held in polaris.grants.items()},
            set(keycloak.group_roles),
            set(keycloak.user_roles),
            {k: v for k, v in polaris.catalogs[CATALOG].extra["storageConfigInfo"].items() if v is not None},
        )

    before = state()
    meddle(settled)
    assert state() != before or "catalog_service_admin" in settled.keycloak.roles
    report = settled.converge()
    assert state() == before
    assert report.drift == report.changes != ()
    settled.polaris.writes.clear()
    settled.keycloak.writes.clear()
    assert settled.converge().changes == ()


def test_entities_of_others_are_left_alone(settled: World) -> None:
    settled.polaris.principals["etl"] = Entity("etl")
    settled.polaris.principal_roles["etl"] = Entity("etl")
    settled.polaris.catalog_roles["etl"] = Entity("etl")
    settled.polaris.assigned.add(("etl", "etl"))
    settled.polaris.mapped.add(("etl", "etl"))
    assert settled.converge().changes == ()
    assert ("root", "service_admin") in settled.polaris.assigned


def test_concurrent_creation_answers_409_and_is_adopted(world: World) -> None:
    def meddle(what: str) -> None:
        if what == "POST /api/management/v1/principals":
            world.polaris.principals.setdefault("analyst", Entity("analyst"))
            world.polaris.principals.setdefault("engineer", Entity("engineer"))
        elif what.endswith("/principal-roles"):
            world.polaris.principal_roles.setdefault("auditors", Entity("auditors"))

    world.polaris.before_write.append(meddle)
    world.converge()
    assert world.matrix() == EXPECTED


def test_stale_catalog_version_is_read_again(settled: World) -> None:
    catalog = settled.polaris.catalogs[CATALOG]
    catalog.properties.pop("default-base-location")
    raced: list[str] = []

    def meddle(what: str) -> None:
        if what.startswith("PUT /api/management/v1/catalogs/lake") and not raced and "roles" not in what:
            raced.append(what)
            catalog.properties["theirs"] = "kept"
            catalog.version += 1

    settled.polaris.before_write.append(meddle)
    settled.converge()
    assert raced
    assert catalog.properties == {"theirs": "kept", "default-base-location": "s3://b/w"}


def test_grant_that_is_gone_when_it_is_revoked_counts_as_revoked(settled: World) -> None:
    key = ("table", "TABLE_READ_DATA", ("retail",), "part")
    settled.polaris.grants["analysts"].add(key)
    settled.polaris.before_write.append(lambda _: settled.polaris.grants["analysts"].discard(key))
    assert settled.converge().changes == ()


@pytest.mark.parametrize("kind", ["principals", "catalog-roles"])
def test_assignment_that_is_gone_when_it_is_taken_counts_as_taken(settled: World, kind: str) -> None:
    polaris = settled.polaris
    polaris.principal_roles["theirs"] = Entity("theirs")
    if kind == "principals":
        held, pair = polaris.assigned, ("auditor", "theirs")
    else:
        polaris.catalog_roles["theirs"] = Entity("theirs")
        held, pair = polaris.mapped, ("theirs", "auditors")
    held.add(pair)
    refused: list[str] = []

    def first_somebody_else(what: str) -> None:
        if what.startswith("DELETE"):
            refused.append(what)
            held.discard(pair)

    polaris.before_write.append(first_somebody_else)
    report = settled.run()
    assert len(refused) == 1
    assert not report.errors, "Polaris answers 400 GRANT_NOT_FOUND, which is as good as done"
    assert settled.matrix() == EXPECTED


@pytest.mark.parametrize("failing", range(1, 60, 4))
def test_run_that_fails_midway_is_resumed(world: World, failing: int) -> None:
    made: list[None] = []

    def count() -> None:
        made.append(None)
        if len(made) == failing:
            world.polaris.fail("^(POST|PUT) .*/api/management/", 503)

    world.polaris.after_write.append(count)
    world.run()
    assert len(made) >= failing
    for user in EXPECTED:
        assert set(world.matrix()[user]) <= set(EXPECTED[user])
    world.polaris.after_write.clear()
    world.polaris.faults.clear()
    world.converge()
    assert world.matrix() == EXPECTED


def test_roles_are_not_given_in_keycloak_while_polaris_refuses(world: World) -> None:
    world.polaris.fail(r"PUT .*/principals/auditor/principal-roles", 500)
    report = world.run()
    assert report.errors == (
        "Polaris principal auditor: Polaris answered 500 to PUT "
        "/api/management/v1/principals/auditor/principal-roles",
    )
    assert world.keycloak.group_roles == set()
    world.converge()
    assert world.matrix() == EXPECTED


def test_listing_that_fails_takes_nothing_from_anybody(settled: World) -> None:
    settled.restart()
    settled.polaris.fail("GET .*/namespaces$", 503)
    settled.polaris.fail("GET .*/namespaces$", 503)
    report = settled.run()
    assert report.errors == ("reconcile: the catalog answered 503 to GET /api/catalog/v1/lake/namespaces",)
    assert settled.writes == []
    settled.converge()


def test_keycloak_down_is_an_error_and_changes_nothing(settled: World) -> None:
    settled.restart()
    settled.keycloak.down = True
    report = settled.run()
    assert report.errors == ("reconcile: connection refused",)
    assert settled.writes == []


def test_missing_right_to_make_roles_is_named(world: World) -> None:
    world.keycloak.may_manage_clients = False
    report = world.run()
    assert len(report.errors) == 3
    assert all("Keycloak answered 403 to POST" in error for error in report.errors)


def test_wrong_root_secret_is_an_error_that_keeps_the_secret(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.governor_polaris.ROOT_SECRET", "changed")
    report = world.run()
    assert any("client 'root' got no token: the answer was 401" in error for error in report.errors)
    assert ROOT_SECRET not in repr(report)
