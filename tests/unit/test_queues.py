"""Trino's queues: what the workspaces' quotas become, and the tables that Trino reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import create_engine, text

from contracts.queues import PAGES_SOURCE
from governance.workspaces.model import WorkspaceQuota, WorkspaceState
from governance.workspaces.queues import WAITING, QueueStore, Selector, queues_of
from governance.workspaces.store import Kept
from tests.unit import governor_lab, governor_postgres
from tests.unit.governor_lab import Lab, wait_for

postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url
lab = governor_lab.lab
seeded = governor_lab.seeded


def workspace(name: str, queries: int, state: WorkspaceState = WorkspaceState.READY) -> Kept:
    return Kept(
        id=uuid4(),
        name=name,
        description="",
        owners=("engineer",),
        quota=WorkspaceQuota(queries=queries),
        state=state,
        steps=(),
        error=None,
        location=None,
        drop_tables=False,
        created_by="engineer",
        created_at=datetime.now(tz=UTC),
    )


LEADS, ADS = workspace("leads", 2), workspace("ads", 7)


def queue_of(workspaces: tuple[Kept, ...], *, groups: set[str], source: str = "cli", tags: str = "") -> str:
    """Where a query waits, as Trino decides: the selector of the highest priority of which all fits."""
    queues, selectors = queues_of(workspaces)
    names = {queue.id: queue for queue in queues}
    given = set(filter(None, tags.split(",")))

    def fits(one: Selector) -> bool:
        return (
            (one.group is None or any(re.fullmatch(one.group, group) for group in groups))
            and (one.source is None or re.fullmatch(one.source, source) is not None)
            and (one.tags is None or set(json.loads(one.tags)) <= given)
        )

    found = names[max((one for one in selectors if fits(one)), key=lambda one: one.priority).queue]
    return found.name if found.parent is None else f"{names[found.parent].name}.{found.name}"


@pytest.mark.parametrize(
    ("groups", "source", "tags", "queue"),
    [
        ({"analysts"}, "cli", "", "everybody"),
        ({"analysts"}, "cli", "workspace:leads", "everybody"),
        ({"workspace_leads", "analysts"}, "cli", "", "workspaces.leads"),
        ({"workspace_leads", "workspace_ads"}, "cli", "", "workspaces.ads"),
        ({"workspace_leads", "workspace_ads"}, "cli", "x,workspace:leads", "workspaces.leads"),
        ({"workspace_leads"}, "cli", "workspace:ads", "workspaces.leads"),
        ({"workspace_leads"}, PAGES_SOURCE, "workspace:leads", "console.${USER}"),
        ({"analysts"}, PAGES_SOURCE, "", "everybody"),
        ({"workspace_gone"}, "cli", "workspace:gone", "everybody"),
        ({"xworkspace_leads"}, "cli", "", "everybody"),
    ],
)
def test_a_query_waits_in_its_workspaces_queue(groups: set[str], source: str, tags: str, queue: str) -> None:
    assert queue_of((LEADS, ADS), groups=groups, source=source, tags=tags) == queue


def test_a_queue_has_the_quota_and_priorities_are_clear() -> None:
    removing = replace(LEADS, state=WorkspaceState.REMOVING)
    queues, selectors = queues_of((removing, ADS, workspace("soon", 1, WorkspaceState.MAKING)))
    limits = {queue.name: (queue.running, queue.waiting) for queue in queues}
    assert limits["leads"] == (2, WAITING)
    assert limits["ads"] == (7, WAITING)
    assert "soon" not in limits
    assert len({one.priority for one in selectors}) == len(selectors)
    assert len({queue.id for queue in queues}) == len(queues)
    numbers = {queue.name: queue.id for queue in queues_of((ADS,))[0]}
    assert numbers["ads"] == next(queue.id for queue in queues if queue.name == "ads")
    assert all(0 < queue.id < 2**63 for queue in queues_of((replace(ADS, id=UUID(int=2**128 - 1)),))[0])


@pytest.fixture
def store(database_url: str) -> Iterator[QueueStore]:
    found = QueueStore(create_engine(database_url))
    yield found
    found.close()


@pytest.mark.engine
def test_tables_are_made_written_once_and_follow_a_change(store: QueueStore, database_url: str) -> None:
    assert store.write((LEADS, ADS)) is True
    assert store.write((ADS, LEADS)) is False
    assert store.write((replace(LEADS, quota=WorkspaceQuota(queries=1)),)) is True
    # What Trino 476 asks for, name by name.
    engine = create_engine(database_url, connect_args={"options": "-c search_path=queues"})
    with engine.connect() as connection:
        groups = connection.execute(
            text(
                "SELECT resource_group_id, name, soft_memory_limit, max_queued, soft_concurrency_limit, "
                "hard_concurrency_limit, scheduling_policy, scheduling_weight, jmx_export, soft_cpu_limit, "
                "hard_cpu_limit, parent FROM resource_groups WHERE environment = 'lab'"
            )
        ).mappings()
        found = {row["name"]: row["hard_concurrency_limit"] for row in groups}
        selectors = connection.execute(
            text(
                "SELECT S.resource_group_id, S.priority, S.user_regex, S.source_regex, "
                "S.original_user_regex, S.authenticated_user_regex, S.query_type, S.client_tags, "
                "S.selector_resource_estimate, S.user_group_regex FROM selectors S "
                "JOIN resource_groups R ON (S.resource_group_id = R.resource_group_id) "
                "WHERE R.environment = 'lab' ORDER by priority DESC"
            )
        ).all()
        properties = connection.execute(
            text("SELECT value FROM resource_groups_global_properties WHERE name = 'cpu_quota_period'")
        ).all()
    engine.dispose()
    assert found["leads"] == 1
    assert set(found) == {"console", "${USER}", "workspaces", "leads", "everybody"}
    assert len(selectors) == 4
    assert properties == []


@pytest.mark.engine
def test_the_governor_writes_them_as_workspaces_come_and_go(seeded: Lab, database_url: str) -> None:
    engine = create_engine(database_url)

    def limits() -> dict[str, int]:
        with engine.connect() as connection:
            if connection.scalar(text("SELECT to_regclass('queues.selectors')")) is None:
                return {}
            asked = text("SELECT name, hard_concurrency_limit FROM queues.resource_groups")
            return {row.name: row.hard_concurrency_limit for row in connection.execute(asked)}

    wait_for(lambda: "everybody" in limits())
    with seeded.client("engineer", "data_engineers") as engineer, seeded.client() as admin:
        made = engineer.workspaces.create("marketing")
        wait_for(lambda: limits().get("marketing") == made.quota.queries)
        admin.workspaces.change(made.id, quota=WorkspaceQuota(queries=9))
        wait_for(lambda: limits().get("marketing") == 9)
        assert engineer.workspaces.remove(made.id, tables=False).done
        wait_for(lambda: "marketing" not in limits())
    engine.dispose()
