"""Reconciling: a state, an event, the state after it; against Polaris and Keycloak as observed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from contracts.access import AccessData, Grant, Privilege, Rule, RuleKind, TagAssignment
from contracts.identity import CATALOG_WRITER_ROLE
from governance.reconcile.oauth import ClientCredentials
from governance.reconcile.polaris import MANAGED
from governance.reconcile.tables import CatalogTables
from tests.unit.governor_http import client
from tests.unit.governor_polaris import CATALOG, ROOT_SECRET, Entity
from tests.unit.governor_world import ACCESS, READ, World

RETAIL = [f"retail.{name}" for name in ("customer", "nation", "orders", "part", "region")]
UNRULED = [name for name in RETAIL if name != "retail.customer"]
EXPECTED = {
    "engineer": RETAIL,
    "Ada.Lovelace@x": RETAIL,
    "auditor": UNRULED,
    "analyst": ["retail.orders"],
    "stranger": [],
}


@pytest.fixture
def world() -> World:
    """A realm and an empty Polaris."""
    return World()


@pytest.fixture
def settled(world: World) -> World:
    """The same, converged."""
    world.converge()
    world.polaris.writes.clear()
    world.keycloak.writes.clear()
    return world


def test_fresh_catalog_gives_exactly_what_the_rules_leave(world: World) -> None:
    report = world.converge()
    assert world.matrix() == EXPECTED
    assert report.tables == 5
    assert not report.drift
    assert "generated-secret" not in repr(report)


def test_second_run_and_restart_write_nothing(settled: World) -> None:
    assert settled.converge().changes == ()
    settled.restart()
    assert settled.converge().changes == ()
    assert settled.writes == []


def test_services_have_content_and_may_be_used_before_any_access_data(world: World) -> None:
    world.access = None
    world.converge()
    assert world.read("service-account-trino", "retail.customer") == 200
    assert world.matrix() == {user: [] for user in EXPECTED}
    assert set(world.polaris.principals) == {"root", "service-account-trino", "service-account-governor"}


def test_no_access_data_takes_nothing_from_anybody(settled: World) -> None:
    settled.access = None
    settled.converge()
    assert settled.writes == []


def test_nobody_is_ever_locked_out_or_let_in_too_early(world: World) -> None:
    """At each write, every role in a token is assigned in Polaris (else all its holder's calls are 401),
    and nobody reads more than at the end."""
    seen: list[dict[str, list[str]]] = []

    def check() -> None:
        for user in EXPECTED:
            roles = world.keycloak.token_roles(user)
            assert all((user, role) in world.polaris.assigned for role in roles)
        seen.append(world.matrix())

    world.keycloak.after_write.append(check)
    world.polaris.after_write.append(check)
    world.converge()
    assert len(seen) > 20
    assert all(set(seen_now[user]) <= set(EXPECTED[user]) for seen_now in seen for user in EXPECTED)


def test_taking_a_group_away_never_locks_its_members_out(settled: World) -> None:
    assert settled.access is not None
    held = tuple(g for g in settled.access.grants if g.group != "analysts")
    settled.access = AccessData(grants=held, tags=ACCESS.tags, rules=ACCESS.rules)

    def check() -> None:
        assert settled.read("engineer", "retail.orders") == 200

    settled.keycloak.after_write.append(check)
    settled.polaris.after_write.append(check)
    settled.converge()
    assert settled.matrix() == {**EXPECTED, "analyst": []}
    assert "analysts" not in settled.polaris.principal_roles | settled.polaris.catalog_roles
    assert ("analysts", "catalog_analysts") not in settled.keycloak.group_roles


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
    world.keycloak.roles.add("catalog_service_admin")
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


def test_dropped_and_recreated_table_is_granted_again(settled: World) -> None:
    settled.polaris.drop_table("retail", "orders")
    settled.converge()
    settled.polaris.create_table("retail", "orders")
    assert settled.read("analyst", "retail.orders") in (401, 403)
    report = settled.converge()
    assert settled.matrix() == EXPECTED
    assert report.changes
    assert not report.drift


def test_table_recreated_between_two_runs_is_looked_at_anew(settled: World) -> None:
    settled.polaris.drop_table("retail", "orders")
    settled.polaris.create_table("retail", "orders", ("id", "added"))
    settled.converge()
    assert settled.matrix() == EXPECTED
    assert settled.reconciler.tables.columns()["retail.orders"] == ("id", "added")


def test_new_table_of_an_owner(settled: World) -> None:
    settled.polaris.create_table("raw", "loaded")
    settled.owners = {"raw.loaded": "auditors"}
    settled.converge()
    assert settled.matrix()["auditor"] == ["raw.loaded", *UNRULED]
    assert settled.matrix()["engineer"] == RETAIL


def test_rule_on_a_table_takes_the_raw_grant_away(settled: World) -> None:
    assert settled.access is not None
    tags = (*ACCESS.tags, TagAssignment(object="retail.orders.id", tag="pii.email"))
    settled.access = AccessData(grants=ACCESS.grants, tags=tags, rules=ACCESS.rules)
    settled.converge()
    assert settled.matrix()["analyst"] == []
    assert settled.matrix()["auditor"] == ["retail.nation", "retail.part", "retail.region"]


def test_user_leaving_joining_disabled_and_group_removed(settled: World) -> None:
    members = settled.keycloak.members
    members["auditors"] = {"newcomer"}
    members["strangers"].add("auditor")
    settled.converge()
    assert settled.matrix()["newcomer"] == UNRULED
    assert settled.matrix()["auditor"] == []
    assert "auditor" not in settled.polaris.principals

    settled.keycloak.disabled.add("newcomer")
    settled.converge()
    assert ("newcomer", "auditors") not in settled.polaris.assigned

    del members["analysts"]
    settled.keycloak.group_roles.discard(("analysts", "catalog_analysts"))
    settled.converge()
    assert "analysts" not in settled.polaris.principal_roles
    assert settled.matrix()["engineer"] == RETAIL


def test_members_of_subgroups_inherit_and_are_assigned(settled: World) -> None:
    settled.keycloak.members["night_auditors"] = {"owl"}
    settled.keycloak.children["auditors"] = ["night_auditors"]
    settled.converge()
    assert settled.read("owl", "retail.part") == 200


def test_reserved_group_names_never_become_roles(settled: World) -> None:
    settled.keycloak.members |= {"service": {"stranger"}, "service_admin": {"stranger"}}
    more = tuple(Grant(group=g, object="retail.*", privileges=READ) for g in ("service", "service_admin"))
    settled.access = AccessData(grants=(*ACCESS.grants, *more), tags=ACCESS.tags, rules=ACCESS.rules)
    report = settled.run()
    assert len(report.errors) == 2
    assert settled.matrix() == EXPECTED
    assert settled.keycloak.token_roles("stranger") == set()
    assert ("stranger", "service") not in settled.polaris.assigned


def test_group_that_keycloak_does_not_have_is_left_out(settled: World) -> None:
    more = Grant(group="ghosts", object="retail.*", privileges=READ)
    settled.access = AccessData(grants=(*ACCESS.grants, more), tags=ACCESS.tags, rules=ACCESS.rules)
    assert settled.converge().changes == ()


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


def test_who_creates_tables_gets_credentials_for_their_files_unless_a_rule_could_be_passed_by(
    settled: World,
) -> None:
    assert settled.access is not None
    wide = Grant(group="auditors", object="raw.*", privileges=tuple(Privilege))
    narrow = Grant(group="analysts", object="retail.*", privileges=tuple(Privilege))
    settled.polaris.create_table("raw", "first")
    settled.access = AccessData(grants=(*ACCESS.grants, wide, narrow), tags=ACCESS.tags, rules=ACCESS.rules)
    settled.converge()
    polaris = settled.polaris
    assert polaris.load("auditors", "raw") == 200
    assert polaris.load("data_engineers", "retail") == 200, "exempt from the only rule there"
    assert polaris.load("analysts", "retail") == 403, "would write, and so read, retail.customer"
    assert polaris.read("analyst", ["analysts"], "retail.customer") == 403

    tag = TagAssignment(object="raw.first.email", tag="pii.email")
    settled.access = AccessData(grants=settled.access.grants, tags=(*ACCESS.tags, tag), rules=ACCESS.rules)
    settled.converge()
    assert polaris.load("auditors", "raw") == 403
    assert polaris.read("auditor", ["auditors"], "raw.first") == 403


def test_grant_on_an_object_that_is_not_there_is_pending_and_made_later(settled: World) -> None:
    create = Grant(group="data_engineers", object="lab_raw.*", privileges=(Privilege.CREATE,))
    settled.access = AccessData(grants=(*ACCESS.grants, create), tags=ACCESS.tags, rules=ACCESS.rules)
    report = settled.run()
    assert len(report.pending) == 4
    assert not report.errors
    assert not report.complete
    settled.polaris.create_table("lab_raw", "first")
    settled.converge()
    assert ("namespace", "TABLE_CREATE", ("lab_raw",), "") in settled.polaris.grants["data_engineers"]


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


def test_nessie_maps_the_writer_role_to_exactly_the_writer_groups() -> None:
    world = World(nessie=True)
    world.polaris.assigned.add(("service-account-governor", "service"))
    world.polaris.catalogs[CATALOG] = Entity(CATALOG)
    world.keycloak.group_roles = {("strangers", CATALOG_WRITER_ROLE)}
    report = world.converge()
    assert world.keycloak.group_roles == {("data_engineers", CATALOG_WRITER_ROLE)}
    assert report.catalog_kind == "nessie"
    assert world.polaris.writes == []
    assert world.converge().changes == ()

    world.access = AccessData(grants=ACCESS.grants, tags=ACCESS.tags, rules=())
    tagged = Rule(id="all", kind=RuleKind.COLUMN_DENY, tag="pii.email")
    world.access = AccessData(grants=ACCESS.grants, tags=ACCESS.tags, rules=(tagged,))
    world.converge()
    assert world.keycloak.group_roles == set()


@pytest.mark.parametrize(("closed", "writers"), [(frozenset({"hr"}), 1), (frozenset[str](), 0)])
def test_nessie_writer_role_needs_closed_namespaces(closed: frozenset[str], writers: int) -> None:
    world = World(nessie=True, closed=closed)
    world.polaris.assigned.add(("service-account-governor", "service"))
    world.polaris.catalogs[CATALOG] = Entity(CATALOG)
    world.polaris.create_table("hr", "employees")
    world.converge()
    assert len(world.keycloak.group_roles) == writers


def test_tables_are_loaded_once_and_then_in_turn() -> None:
    world = World()
    world.converge()
    tables = world.reconciler.tables
    rest = tables._http
    few = CatalogTables(rest, CATALOG, reload_budget=2)
    for expected in (5, 2, 2, 2):
        world.polaris.loads = 0
        few.refresh()
        assert world.polaris.loads == expected
    world.polaris.loads = 0
    few.refresh(everything=True)
    assert world.polaris.loads == 5
    world.polaris.drop_table("retail", "part")
    few.confirm(frozenset({"retail.part"}))
    assert "retail.part" not in few.names()


def test_nested_namespaces_are_listed() -> None:
    world = World()
    world.polaris.create_table("retail.archive", "old", ("id",))
    world.converge()
    assert world.reconciler.tables.columns()["retail.archive.old"] == ("id",)


def test_token_is_kept_renewed_before_its_end_and_asked_for_again_when_refused() -> None:
    tokens = iter(("t1", "t2", "t3"))
    asked: list[str] = []
    refused = {"t1"}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            assert b"client_secret=s" in request.content
            return httpx.Response(200, json={"access_token": next(tokens), "expires_in": 60})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        asked.append(token)
        return httpx.Response(401 if token in refused and len(asked) > 1 else 200)

    http = client(answer, "http://x")
    http.auth = ClientCredentials("http://x/token", "c", "s")
    assert [http.get("/a").status_code for _ in range(3)] == [200, 200, 200]
    assert asked == ["t1", "t1", "t2", "t2"]
