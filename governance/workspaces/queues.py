"""Trino's queues: how many queries of each workspace run at once, whoever's client sent them.

Trino reads them from tables of its own form (https://trino.io/docs/476/admin/resource-groups.html) every few
seconds, so that a workspace is made, changed and removed without a restart. A query waits in

- ``console.USER``, when it fills a page of the console for a member of a workspace: pages stay quick while
  the workspace's queries wait;
- ``workspaces.NAME``, when its user is a member of that workspace. Who is in several says which by the client
  tag ``workspace:NAME``; without one it is the first by name;
- ``everybody`` otherwise, with the limits that Trino has by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from contracts.queues import PAGES_SOURCE, QUEUES_SCHEMA, TRINO_ENVIRONMENT, workspace_tag
from governance.workspaces.model import GROUP_PREFIX, WorkspaceState
from governance.workspaces.store import Kept

QUERIES_OF_PAGES = 4
"""So many at once a person: the name of a client is no proof, so a bound holds here, too."""

WAITING = 200
"""So many queries of one queue wait; Trino refuses the next."""

_RUNNING_BY_DEFAULT, _WAITING_BY_DEFAULT = 1000, 5000
_ROOT_CONSOLE, _PAGES, _ROOT_WORKSPACES, _EVERYBODY = 1, 2, 3, 4
_NUMBER_BITS = 62
_LOCK = 0x6C616B71

_DDL = (
    f"CREATE SCHEMA IF NOT EXISTS {QUEUES_SCHEMA}",
    f"SET LOCAL search_path TO {QUEUES_SCHEMA}",
    """CREATE TABLE IF NOT EXISTS resource_groups_global_properties (
        name varchar(128) PRIMARY KEY CHECK (name IN ('cpu_quota_period')),
        value varchar(512))""",
    """CREATE TABLE IF NOT EXISTS resource_groups (
        resource_group_id bigint PRIMARY KEY,
        name varchar(250) NOT NULL,
        soft_memory_limit varchar(128) NOT NULL,
        max_queued int NOT NULL,
        soft_concurrency_limit int,
        hard_concurrency_limit int NOT NULL,
        scheduling_policy varchar(128),
        scheduling_weight int,
        jmx_export boolean,
        soft_cpu_limit varchar(128),
        hard_cpu_limit varchar(128),
        parent bigint REFERENCES resource_groups,
        environment varchar(128))""",
    """CREATE TABLE IF NOT EXISTS selectors (
        resource_group_id bigint NOT NULL REFERENCES resource_groups,
        priority bigint NOT NULL,
        user_regex varchar(512),
        user_group_regex varchar(512),
        original_user_regex varchar(512),
        authenticated_user_regex varchar(512),
        source_regex varchar(512),
        query_type varchar(512),
        client_tags varchar(512),
        selector_resource_estimate varchar(1024))""",
)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A resource group of Trino's: at most ``running`` queries run, ``waiting`` more wait."""

    id: int
    name: str
    running: int
    waiting: int
    parent: int | None = None


@dataclass(frozen=True, kw_only=True)
class Selector:
    """Whose queries wait in a queue; the highest ``priority`` that fits decides. Patterns are Java's and
    fit the whole of a name; ``tags`` is a JSON list, all of which a query must have."""

    queue: int
    priority: int
    group: str | None = None
    source: str | None = None
    tags: str | None = None


def queues_of(workspaces: Iterable[Kept]) -> tuple[tuple[Queue, ...], tuple[Selector, ...]]:
    """The queues of these workspaces and of everybody else, and who waits where. A workspace that is being
    removed keeps its queue: its members' queries may still run."""
    queues = [
        Queue(id=_ROOT_CONSOLE, name="console", running=_RUNNING_BY_DEFAULT, waiting=_WAITING_BY_DEFAULT),
        Queue(id=_PAGES, name="${USER}", running=QUERIES_OF_PAGES, waiting=WAITING, parent=_ROOT_CONSOLE),
        Queue(
            id=_ROOT_WORKSPACES, name="workspaces", running=_RUNNING_BY_DEFAULT, waiting=_WAITING_BY_DEFAULT
        ),
        Queue(id=_EVERYBODY, name="everybody", running=_RUNNING_BY_DEFAULT, waiting=_WAITING_BY_DEFAULT),
    ]
    made = sorted(
        (one for one in workspaces if one.state is not WorkspaceState.MAKING), key=lambda one: one.name
    )
    count = len(made)
    selectors = [
        Selector(
            queue=_PAGES, priority=2 * count + 2, group=f"{GROUP_PREFIX}.*", source=re.escape(PAGES_SOURCE)
        ),
        Selector(queue=_EVERYBODY, priority=1),
    ]
    for place, workspace in enumerate(made):
        # The same whatever comes and goes beside it: Trino reads the two tables one after the other.
        number = workspace.id.int >> (128 - _NUMBER_BITS)
        queues.append(
            Queue(
                id=number,
                name=workspace.name,
                running=workspace.quota.queries,
                waiting=WAITING,
                parent=_ROOT_WORKSPACES,
            )
        )
        selectors += [
            Selector(
                queue=number,
                priority=count + 1 + count - place,
                group=workspace.group,
                tags=f'["{workspace_tag(workspace.namespace)}"]',
            ),
            Selector(queue=number, priority=1 + count - place, group=workspace.group),
        ]
    return tuple(queues), tuple(selectors)


class QueueStore:
    """The tables that Trino reads, as their owner."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def write(self, workspaces: Sequence[Kept]) -> bool:
        """Makes the tables say what these workspaces' quotas do; whether anything changed. Raises
        sqlalchemy.exc.SQLAlchemyError, and nothing is changed then."""
        queues, selectors = queues_of(workspaces)
        with self._engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            for statement in _DDL:
                connection.execute(text(statement))
            if _held(connection) == (frozenset(queues), frozenset(selectors)):
                return False
            _replace(connection, queues, selectors)
        return True


def _held(connection: Connection) -> tuple[frozenset[Queue], frozenset[Selector]]:
    queues = connection.execute(
        text(
            "SELECT resource_group_id AS id, name, hard_concurrency_limit AS running, max_queued AS waiting, "
            "parent FROM resource_groups"
        )
    )
    selectors = connection.execute(
        text(
            'SELECT resource_group_id AS queue, priority, user_group_regex AS "group", '
            "source_regex AS source, client_tags AS tags FROM selectors"
        )
    )
    return (
        frozenset(Queue(**row) for row in queues.mappings()),
        frozenset(Selector(**row) for row in selectors.mappings()),
    )


def _replace(connection: Connection, queues: Sequence[Queue], selectors: Sequence[Selector]) -> None:
    connection.execute(text("DELETE FROM selectors"))
    connection.execute(text("DELETE FROM resource_groups"))
    connection.execute(
        text(
            "INSERT INTO resource_groups (resource_group_id, name, soft_memory_limit, "
            "max_queued, hard_concurrency_limit, scheduling_policy, parent, environment) "
            "VALUES (:id, :name, '100%', :waiting, :running, 'fair', :parent, :environment)"
        ),
        [{**vars(queue), "environment": TRINO_ENVIRONMENT} for queue in queues],
    )
    connection.execute(
        text(
            "INSERT INTO selectors "
            "(resource_group_id, priority, user_group_regex, source_regex, client_tags) "
            "VALUES (:queue, :priority, :group, :source, :tags)"
        ),
        [vars(selector) for selector in selectors],
    )
