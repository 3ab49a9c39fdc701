"""Workspaces through the governor: made in steps, gone on with after a failure, removed cleanly."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from governance.bundle import BUNDLE_KEY
from governance.client import GovernorError, RefusedInputError
from governance.workspaces import access
from governance.workspaces.model import (
    MIB,
    Step,
    Workspace,
    WorkspaceQuota,
    WorkspaceRole,
    WorkspaceState,
    WorkspaceUsage,
    require_name,
    storage_warnings,
)
from tests.unit import governor_lab, governor_postgres
from tests.unit.governor_lab import SEED, Lab, wait_for

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url
lab = governor_lab.lab
seeded = governor_lab.seeded

ENGINEER = ("engineer", "data_engineers")


def made(lab: Lab, name: str = "marketing") -> Workspace:
    with lab.client(*ENGINEER) as engineer:
        workspace = engineer.workspaces.create(name, description="campaigns")
    assert workspace.state is WorkspaceState.READY, workspace
    return workspace


def grants(lab: Lab) -> list[dict[str, Any]]:
    with lab.client() as admin:
        found: list[dict[str, Any]] = admin.access().document["grants"]
        return found


def test_one_flow_makes_group_namespace_and_grant(seeded: Lab) -> None:
    workspace = made(seeded)
    assert (workspace.namespace, workspace.group) == ("marketing", "workspace_marketing")
    assert workspace.location == "s3://b/w/marketing"
    assert (workspace.role, workspace.may_manage, workspace.owners) == (
        WorkspaceRole.OWNER,
        True,
        ("engineer",),
    )
    assert [one.step for one in workspace.steps] == [
        Step.GROUP,
        Step.MEMBERS,
        Step.NAMESPACE,
        Step.ACCESS,
    ]
    keycloak, polaris = seeded.world.keycloak, seeded.world.polaris
    assert keycloak.members["workspace_marketing"] == {"engineer"}
    assert polaris.namespace_properties[("marketing",)] == {
        "lakehouse-lab.workspace": str(workspace.id),
        "comment": "campaigns",
    }
    (grant,) = [g for g in grants(seeded) if g["group"] == "workspace_marketing"]
    assert grant["object"] == "marketing.*"
    assert {"select", "insert", "create", "drop"} <= set(grant["privileges"])
    assert "marketing" in str(seeded.bucket.bundle()["access"]["grants"])
    # Raw engines agree: a table that comes is the members' to read, and nobody else's.
    polaris.create_table("marketing", "leads")
    with seeded.client() as admin:
        assert admin.reconcile().complete
        newest = admin.revisions()[0]
    assert (newest.author, newest.reason) == ("engineer", "workspace marketing")
    assert seeded.world.read("engineer", "marketing.leads") == 200
    assert seeded.world.read("auditor", "marketing.leads") != 200


@pytest.mark.parametrize("broken", ["group", "members", "namespace"])
def test_a_failure_in_the_middle_is_gone_on_with(seeded: Lab, broken: str) -> None:
    world = seeded.world
    if broken == "namespace":
        world.polaris.fail(r"^POST /api/catalog/v1/lake/namespaces$", 503)
    else:
        handle, method = world.keycloak._admin, "POST" if broken == "group" else "PUT"
        failures = [1]

        def failing(request: Any, path: list[str], body: Any) -> Any:
            if request.method == method and "groups" in path and failures:
                failures.pop()
                # Done, but the answer is lost.
                handle(request, path, body)
                return 500, None
            return handle(request, path, body)

        world.keycloak._admin = failing  # type: ignore[method-assign]  # a fault to be planted
    with seeded.client(*ENGINEER) as engineer:
        begun = engineer.workspaces.create("marketing")
        assert begun.state is WorkspaceState.MAKING
        assert begun.error is not None
        wait_for(lambda: engineer.workspaces.get(begun.id).state is WorkspaceState.READY)
        assert engineer.workspaces.get(begun.id).error is None
    assert world.keycloak.members["workspace_marketing"] == {"engineer"}
    assert len([g for g in grants(seeded) if g["group"] == "workspace_marketing"]) == 1


def test_who_may_make_one_and_of_what_name(seeded: Lab) -> None:
    with seeded.client("analyst", "analysts") as analyst, pytest.raises(GovernorError) as refused:
        analyst.workspaces.create("marketing")
    assert refused.value.status == 403
    with seeded.client(*ENGINEER) as engineer:
        with pytest.raises(GovernorError, match="may not manage every workspace"):
            engineer.workspaces.create("marketing", quota=WorkspaceQuota(queries=99))
        for wrong in ("Marketing", "m", "1st", "a.b", "information_schema", "x" * 41, "<script>"):
            with pytest.raises(RefusedInputError, match="can't be the name"):
                engineer.workspaces.create(wrong)
        with pytest.raises(RefusedInputError, match="did you mean 'analyst'"):
            engineer.workspaces.create("marketing", owners=["analist"])
        with pytest.raises(RefusedInputError, match="grants 'retail' already"):
            engineer.workspaces.create("retail")
        seeded.world.polaris.tables[("taken",)] = {}
        with pytest.raises(GovernorError, match="namespace 'taken' that is no workspace's"):
            engineer.workspaces.create("taken")
        seeded.world.keycloak.members["workspace_mine"] = {"stranger"}
        with pytest.raises(GovernorError, match="group 'workspace_mine' that is no workspace's"):
            engineer.workspaces.create("mine")
        assert engineer.workspaces.all() == ()
        engineer.workspaces.create("marketing")
        with pytest.raises(GovernorError) as twice:
            engineer.workspaces.create("marketing")
    assert twice.value.status == 409
    with seeded.client() as admin:
        workspace = admin.workspaces.create(
            "finance", owners=["analyst"], quota=WorkspaceQuota(queries=1, jobs=1, storage_mib=5)
        )
        assert workspace.quota.storage_mib == 5
        assert workspace.role is WorkspaceRole.VIEWER
        assert workspace.may_manage


def test_others_learn_nothing_by_guessed_ids(seeded: Lab) -> None:
    workspace = made(seeded)
    with seeded.client("analyst", "analysts") as analyst:
        assert analyst.workspaces.all() == ()
        for ask in (
            lambda: analyst.workspaces.get(workspace.id),
            lambda: analyst.workspaces.members(workspace.id),
            lambda: analyst.workspaces.change(workspace.id, description="mine"),
            lambda: analyst.workspaces.put_member(workspace.id, "analyst"),
            lambda: analyst.workspaces.take_member(workspace.id, "engineer"),
            lambda: analyst.workspaces.remove(workspace.id, tables=True),
            lambda: analyst.workspaces.get(uuid4()),
        ):
            with pytest.raises(GovernorError) as refused:
                ask()
            assert refused.value.status == 404
    with seeded.client("auditor", "auditors") as auditor:
        (seen,) = auditor.workspaces.all()
        assert (seen.role, seen.may_manage) == (WorkspaceRole.VIEWER, False)
        with pytest.raises(GovernorError) as refused:
            auditor.workspaces.remove(workspace.id)
        assert refused.value.status == 403


def test_owners_manage_members(seeded: Lab) -> None:
    workspace = made(seeded)
    with seeded.client(*ENGINEER) as engineer:
        members = engineer.workspaces.put_member(workspace.id, "analyst")
        assert [(m.username, m.owner) for m in members] == [("analyst", False), ("engineer", True)]
        with pytest.raises(RefusedInputError, match="did you mean 'auditor'"):
            engineer.workspaces.put_member(workspace.id, "auditr")
        with pytest.raises(RefusedInputError, match="no user named"):
            engineer.workspaces.put_member(workspace.id, "service-account-trino")
        with pytest.raises(GovernorError, match="last owner"):
            engineer.workspaces.take_member(workspace.id, "engineer")
        with pytest.raises(GovernorError, match="last owner"):
            engineer.workspaces.put_member(workspace.id, "engineer", owner=False)
        engineer.workspaces.put_member(workspace.id, "analyst", owner=True)
    with seeded.client("analyst", "workspace_marketing") as analyst:
        assert analyst.workspaces.get(workspace.id).role is WorkspaceRole.OWNER
        analyst.workspaces.put_member(workspace.id, "auditor")
        left = analyst.workspaces.take_member(workspace.id, "engineer")
        assert [m.username for m in left] == ["analyst", "auditor"]
        with pytest.raises(GovernorError, match="may not manage every workspace"):
            analyst.workspaces.change(workspace.id, quota=WorkspaceQuota(queries=100))
        changed = analyst.workspaces.change(workspace.id, description=" <b>ours</b> ")
        assert changed.description == "<b>ours</b>"
    with seeded.client("auditor", "workspace_marketing", "strangers") as member:
        assert member.workspaces.get(workspace.id).role is WorkspaceRole.MEMBER
        with pytest.raises(GovernorError, match="does not own"):
            member.workspaces.put_member(workspace.id, "stranger")
        member.workspaces.take_member(workspace.id, "auditor")
    assert seeded.world.keycloak.members["workspace_marketing"] == {"analyst"}


def test_removal_names_what_goes_and_takes_all_of_it(seeded: Lab) -> None:
    workspace = made(seeded)
    world = seeded.world
    world.polaris.create_table("marketing", "leads")
    with seeded.client() as admin:
        assert admin.reconcile().complete
        admin.change_access(
            add={
                "grants": [
                    {"group": "auditors", "object": "marketing.leads", "privileges": ["select"]},
                    {"group": "workspace_marketing", "object": "retail.orders", "privileges": ["select"]},
                ],
                "tags": [{"object": "marketing.leads.id", "tag": "pii.email"}],
            },
            reason="shared",
        )
        before = admin.access().document
    with seeded.client(*ENGINEER) as engineer:
        plan = engineer.workspaces.remove(workspace.id, only_try=True)
        assert (plan.tables, plan.members, plan.done) == (("leads",), ("engineer",), False)
        assert plan.refused is not None
        assert set(plan.access) == {
            "grants: marketing.* to workspace_marketing",
            "grants: marketing.leads to auditors",
            "grants: retail.orders to workspace_marketing",
            "tags: pii.email on marketing.leads.id",
        }
        with pytest.raises(GovernorError, match=r"tables in 'marketing': leads") as refused:
            engineer.workspaces.remove(workspace.id)
        assert refused.value.status == 409
        assert engineer.workspaces.get(workspace.id).state is WorkspaceState.READY
        done = engineer.workspaces.remove(workspace.id, tables=True)
        assert done.done
        assert engineer.workspaces.all() == ()
    assert "workspace_marketing" not in world.keycloak.members
    assert ("marketing",) not in world.polaris.tables
    with seeded.client() as admin:
        after = admin.access().document
    assert "marketing" not in str(after)
    assert after["grants"] == SEED["grants"]
    assert before != after
    assert BUNDLE_KEY in seeded.bucket.objects
    assert "marketing" not in str(seeded.bucket.bundle()["access"]["grants"])


def test_removal_goes_on_after_a_failure(seeded: Lab) -> None:
    workspace = made(seeded)
    seeded.world.polaris.fail(r"^DELETE /api/catalog/v1/lake/namespaces/marketing$", 503)
    with seeded.client(*ENGINEER) as engineer:
        assert not engineer.workspaces.remove(workspace.id).done
        # Rights went first.
        assert not [g for g in grants(seeded) if g["group"] == "workspace_marketing"]
        wait_for(lambda: not engineer.workspaces.all())
    assert "workspace_marketing" not in seeded.world.keycloak.members


def test_a_rule_elsewhere_keeps_a_workspace(seeded: Lab) -> None:
    workspace = made(seeded)
    with seeded.client() as admin:
        rule = {
            **next(r for r in admin.access().document["rules"] if r["id"] == "email"),
            "exempt": ["data_engineers", "workspace_marketing"],
        }
        admin.change_access(add={"rules": [rule]}, reason="campaigns", widen=True)
        with pytest.raises(GovernorError, match="rules elsewhere name 'workspace_marketing': email"):
            admin.workspaces.remove(workspace.id)


def test_storage_is_warned_of(seeded: Lab) -> None:
    workspace = made(seeded)
    seeded.world.polaris.create_table("marketing", "leads")
    seeded.world.polaris.sizes["marketing.leads"] = 11 * MIB
    with seeded.client() as admin:
        admin.reconcile()
        changed = admin.workspaces.change(
            workspace.id, quota=WorkspaceQuota(queries=1, jobs=1, storage_mib=10)
        )
        assert changed.usage == WorkspaceUsage(tables=1, size_bytes=11 * MIB)
        assert changed.warnings == ("11 MiB of live data is over the workspace's 10 MiB",)


def test_every_step_is_in_the_log(seeded: Lab) -> None:
    made(seeded)
    events = [(who, what, detail) for who, what, detail in seeded.store.events() if "workspace" in what]
    whats = {what for _, what, _ in events}
    assert {"workspace.create", "workspace.making", "workspace.ready", "access.workspace"} <= whats
    assert {who for who, _, _ in events} == {"engineer"}


def test_pure_parts() -> None:
    quota = WorkspaceQuota(storage_mib=100)
    assert storage_warnings(quota, WorkspaceUsage(tables=1, size_bytes=89 * MIB)) == ()
    (near,) = storage_warnings(quota, WorkspaceUsage(tables=1, size_bytes=90 * MIB))
    assert "comes near" in near
    require_name("a_1")
    document = access.with_grant({"grants": [], "tags": [], "rules": []}, "ns", "workspace_ns")
    assert access.granted_to_others(document, "ns", "workspace_ns") == ()
    assert access.granted_to_others(document, "ns", "other") == ("workspace_ns",)
    assert access.without(document, "ns", "workspace_ns") == {"grants": [], "tags": [], "rules": []}
