"""Reconciling: a state, an event, the state after it; against Polaris and Keycloak as observed."""

from __future__ import annotations

from contracts.access import AccessData, Grant, Privilege, TagAssignment
from governance.reconcile.tables import CatalogTables
from tests.unit import governor_world
from tests.unit.governor_polaris import CATALOG, Entity
from tests.unit.governor_world import ACCESS, EXPECTED, READ, RETAIL, UNRULED, World

world = governor_world.world
settled = governor_world.settled


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


def test_nessie_gives_roles_to_nobody() -> None:
    world = World(nessie=True)
    world.polaris.assigned.add(("service-account-governor", "service"))
    world.polaris.catalogs[CATALOG] = Entity(CATALOG)
    world.keycloak.roles.add("catalog_analysts")
    world.keycloak.group_roles = {("strangers", "catalog_analysts"), ("auditors", "catalog_service")}
    report = world.converge()
    assert world.keycloak.group_roles == set()
    assert report.catalog_kind == "nessie"
    assert world.polaris.writes == []
    assert world.converge().changes == ()


def test_raw_access_on_nessie_is_reading_and_writing_outside_closed_namespaces() -> None:
    world = World(nessie=True, closed=frozenset({"hr"}))
    world.polaris.assigned.add(("service-account-governor", "service"))
    world.polaris.catalogs[CATALOG] = Entity(CATALOG)
    world.polaris.create_table("hr", "employees")
    write = (Privilege.SELECT, Privilege.INSERT)
    world.access = AccessData(
        grants=(
            Grant(group="data_engineers", object="retail.*", privileges=write),
            Grant(group="data_engineers", object="hr.*", privileges=write),
            Grant(group="auditors", object="retail.*", privileges=(Privilege.SELECT,)),
        )
    )
    world.converge()
    found = world.reconciler.raw_grants(world.access, {})
    assert set(found) == {"data_engineers"}
    assert {table.partition(".")[0] for table in found["data_engineers"]} == {"retail"}


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


def test_without_table_grants_only_writers_have_raw_access() -> None:
    world = World(nessie=True)
    world.polaris.assigned.add(("service-account-governor", "service"))
    world.polaris.catalogs[CATALOG] = Entity(CATALOG)
    world.converge()
    assert set(world.reconciler.raw_grants(ACCESS, {})) == {"data_engineers"}
    world = World()
    world.converge()
    assert set(world.reconciler.raw_grants(ACCESS, {})) == {"data_engineers", "auditors", "analysts"}
