"""Every released schema of every database comes to the newest one, and what was in it keeps its meaning.

The rows are in ``released_rows``. Real PostgreSQL; the upgrade is the one that services do when they start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

import agent
import agent.models
import agent.store
import governance
import governance.models
from control_plane.api.storage import models as console_models
from control_plane.api.storage.database import MIGRATIONS, Database
from control_plane.api.storage.job_models import QUEUE_PREFIX, QuotaRow, own_tables
from governance.audit.store import AuditFilter, AuditStore
from governance.client import StaleRevisionError
from governance.maintenance.store import MaintenanceStore
from governance.migrating import NewerSchemaError, schema_version
from governance.store import Store, make_engine
from governance.workspaces.store import WorkspaceStore
from tests.unit import governor_postgres
from tests.unit import released_rows as released
from tests.unit.console_trino import Answer
from tests.unit.console_world import World, wait_for

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url

Snapshot = Mapping[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One service's database. ``upgrade`` brings the database of a URL to the newest schema."""

    name: str
    migrations: Path
    rows: Mapping[str, released.Rows]
    metadata: MetaData
    upgrade: Callable[[str], None]

    @property
    def revisions(self) -> list[str]:
        """All of them, the oldest first."""
        script = ScriptDirectory(str(self.migrations))
        return [one.revision for one in reversed(list(script.walk_revisions()))]


def _upgrade_console(url: str) -> None:
    database = Database(url)
    try:
        database.upgrade()
    finally:
        database.close()


def _upgrade_by(store_of: Callable[[Engine], Any]) -> Callable[[str], None]:
    def upgrade(url: str) -> None:
        store = store_of(make_engine(url))
        try:
            store.upgrade()
        finally:
            store.close()

    return upgrade


CONSOLE = Kind(
    name="console",
    migrations=MIGRATIONS,
    rows=released.CONSOLE,
    metadata=console_models.Base.metadata,
    upgrade=_upgrade_console,
)
GOVERNANCE = Kind(
    name="governance",
    migrations=Path(governance.__path__[0]) / "migrations",
    rows=released.GOVERNANCE,
    metadata=governance.models.Base.metadata,
    upgrade=_upgrade_by(Store),
)
AGENT = Kind(
    name="agent",
    migrations=Path(agent.__path__[0]) / "migrations",
    rows=released.AGENT,
    metadata=agent.models.Base.metadata,
    upgrade=_upgrade_by(agent.store.Store),
)
KINDS = (CONSOLE, GOVERNANCE, AGENT)
RELEASED = [pytest.param(kind, one, id=f"{kind.name}-{one}") for kind in KINDS for one in kind.revisions]
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@contextmanager
def engine_of(url: str) -> Iterator[Engine]:
    """For the test's own eyes."""
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def made(kind: Kind, url: str, revision: str) -> None:
    """The database as a release with that revision had it, in use."""
    with engine_of(url) as engine, engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(kind.migrations).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
        metadata = MetaData()
        metadata.reflect(connection)
        for number in kind.revisions[: kind.revisions.index(revision) + 1]:
            for table, values in kind.rows[number]:
                connection.execute(metadata.tables[table].insert().values(**values))
        connection.commit()


def shape(engine: Engine) -> MetaData:
    """The tables that there are, without Alembic's own."""
    metadata = MetaData()
    metadata.reflect(engine, only=lambda name, _: name != "alembic_version")
    return metadata


def content(engine: Engine, tables: MetaData) -> Snapshot:
    """All rows, of the columns of ``tables``."""
    with engine.connect() as connection:
        return {
            name: sorted(str(dict(row)) for row in connection.execute(select(table)).mappings())
            for name, table in tables.tables.items()
        }


@pytest.mark.parametrize(("kind", "revision"), RELEASED)
def test_nothing_is_lost_or_changed(kind: Kind, revision: str, database_url: str) -> None:
    made(kind, database_url, revision)
    with engine_of(database_url) as engine:
        tables = shape(engine)
        before = content(engine, tables)
        unused = [name for name, rows in before.items() if not rows and not name.startswith(QUEUE_PREFIX)]
        assert unused == [], "rows of these are missing in released_rows"
        kind.upgrade(database_url)
        assert content(engine, tables) == before
        with engine.connect() as connection:
            options = {"compare_server_default": True, "include_name": own_tables}
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, kind.metadata) == []
            assert context.get_current_revision() == kind.revisions[-1]


@by_kind
def test_each_revision_has_rows(kind: Kind) -> None:
    assert list(kind.rows) == kind.revisions, "released_rows has those of each revision"


@by_kind
def test_a_newer_releases_database_is_left_as_it_is(kind: Kind, database_url: str) -> None:
    made(kind, database_url, kind.revisions[-1])
    with engine_of(database_url) as engine:
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            connection.execute(text("CREATE TABLE of_the_newer (id integer)"))
        tables = shape(engine)
        before = content(engine, tables)
        with pytest.raises(NewerSchemaError) as refused:
            kind.upgrade(database_url)
        assert (refused.value.value, refused.value.permitted) == ("9999", f"0001 to {kind.revisions[-1]}")
        assert refused.value.next_command == "install that release again, then: lab up"
        assert (schema_version(engine), content(engine, tables)) == ("9999", before)


def test_an_upgrade_that_fails_leaves_a_whole_schema(database_url: str) -> None:
    """Each migration comes whole or not at all, and the next start goes on behind the last."""
    made(CONSOLE, database_url, "0002")
    with engine_of(database_url) as engine:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE workspace_quota (in_the_way integer)"))
        with pytest.raises(ProgrammingError, match="workspace_quota"):
            _upgrade_console(database_url)
        assert schema_version(engine) == "0003"
        assert "workspace" not in shape(engine).tables["job_run"].columns
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE workspace_quota"))
        _upgrade_console(database_url)
        assert schema_version(engine) == console_models.SCHEMA_VERSION


# --- the console -----------------------------------------------------------------------------------------


@contextmanager
def console_on(url: str, folder: Path) -> Iterator[World]:
    """This release's console on that database."""
    world = World(url.replace("postgresql+psycopg://", "postgresql://"), folder)
    world.keycloak.offline_tokens[released.OFFLINE_TOKEN] = "analyst"
    world.trino.on("INSERT", Answer(update=("INSERT", 1)))
    upload = world.console.ingests.spool.path(released.UPLOAD)
    upload.parent.mkdir(parents=True, exist_ok=True)
    upload.write_bytes(b"name\nada\n")
    try:
        world.start()
        yield world
    finally:
        if world.thread.is_alive():
            world.stop()


@pytest.mark.parametrize("revision", CONSOLE.revisions)
def test_people_find_in_the_console_what_they_left(revision: str, database_url: str, tmp_path: Path) -> None:
    made(CONSOLE, database_url, revision)
    with console_on(database_url, tmp_path) as world:
        _kept_and_ran(world)
        if revision >= "0002":
            _of_workspaces(world)
        if revision >= "0003":
            _jobs(world, [released.WAITS, *([released.ALSO_WAITS] if revision >= "0004" else [])])
        if revision >= "0004":
            with world.console.database.sessions() as transaction:
                assert [(one.workspace, one.jobs) for one in transaction.scalars(select(QuotaRow))] == [
                    ("leads", 3)
                ]
        if revision >= "0005":
            _of_a_team(world)


def _of_a_team(world: World) -> None:
    """Members of the workspace have its dashboard, and its author, who is none of them, does not."""
    world.keycloak.people["engineer"].add("workspace_leads")
    try:
        with world.as_user("engineer") as member, world.as_user("analyst") as author:
            board = _json(member, f"dashboards/{released.TEAM_BOARD}")
            assert (board["workspace"]["name"], board["can_edit"]) == ("leads", True)
            assert [one["title"] for one in board["charts"]] == ["Calls"]
            assert _json(member, f"charts/{released.TEAM_CHART}")["version"] == 2
            _json(author, f"dashboards/{released.TEAM_BOARD}", 404)
    finally:
        world.keycloak.people["engineer"].discard("workspace_leads")


def _json(http: httpx.Client, path: str, status: int = 200) -> Any:
    answer = http.get(f"/api/v1/{path}")
    assert answer.status_code == status, answer.text
    return answer.json()


def _kept_and_ran(world: World) -> None:
    browser = world.browser()
    browser.cookies[world.console.cookies.session] = released.COOKIE
    me = browser.get("/api/v1/me").json()
    assert (me["username"], me["groups"]) == ("analyst", ["analysts"]), "still signed in"
    path = f"saved-queries/{released.QUERY}"
    with world.as_user("analyst") as owner, world.as_user("engineer") as editor:
        mine, shared = _json(owner, path), _json(editor, path)
        assert mine["statement"] == released.STATEMENT
        assert (mine["title"], mine["version"], mine["parameters"][0]["default"]) == (
            "By region",
            7,
            "2026-01-01",
        )
        assert (mine["can_edit"], shared["can_edit"]) == (True, True)
        assert _json(owner, f"charts/{released.CHART}")["spec"]["x"] == "region"
        board = _json(owner, f"dashboards/{released.BOARD}")
        assert (board["title"], [one["title"] for one in board["charts"]]) == ("Board", ["Regions"])
        ran = {one["id"]: one for one in _json(owner, "queries")["queries"]}
        assert ran[str(released.RAN)]["state"] == "finished"
        assert ran[str(released.RAN)]["row_count"] == 3
        assert ran[str(released.RAN_LATER)]["state"] == "lost", "the console that ran it is gone"
    with world.as_user("outsider") as stranger:
        _json(stranger, path, 404)


def _ended(owner: httpx.Client, run_id: UUID) -> bool:
    return _json(owner, f"job-runs/{run_id}")["ended_at"] is not None


def _of_workspaces(world: World) -> None:
    console = world.console
    row = console.connections._store.get(released.WORKSPACE, released.CONNECTION)
    assert (row.name, row.version, row.config["host"]) == ("crm", 4, "db.example")
    assert console.connections._opened(row) == released.PASSWORD
    (upload,) = console.ingests.uploads.all(released.WORKSPACE)
    assert (upload.filename, upload.size_bytes) == ("leads.csv", 3 << 30)
    ingests = {one.id: one for one in console.ingests._store.all(released.WORKSPACE, 10)}
    assert ingests[released.INGEST].result == {"rows": 1_000, "snapshot_id": "42"}
    assert ingests[released.LOST_INGEST].state == "lost"
    dataset = console.datasets.get("leads.contacts")
    assert dataset is not None
    assert (dataset.owner, dataset.description, dataset.version) == ("engineer", "Who called; é", 3)
    assert dataset.tags == ["crm", "gold"]


def _jobs(world: World, waiting: list[UUID]) -> None:
    """Jobs keep their schedule, pause, versions and permission; the runs that waited come to their end."""
    with world.as_user("analyst") as owner:
        job = _json(owner, f"jobs/{released.JOB}")
        assert (job["pause"], job["pause_reason"]) == ("owner", "holidays")
        assert job["schedule"] == {"cron": "0 3 * * *", "time_zone": "Europe/Berlin"}
        assert [one["version"] for one in _json(owner, f"jobs/{released.JOB}/versions")] == [1]
        log = _json(owner, f"job-runs/{released.DONE}/log")["lines"]
        assert [line["text"] for line in log] == ["3 rows"]
        assert _json(owner, f"job-runs/{released.DONE}")["state"] == "succeeded"
        for run_id in waiting:
            wait_for(partial(_ended, owner, run_id))
            assert _json(owner, f"job-runs/{run_id}")["state"] == "succeeded", "with the permission of then"
        assert len(world.trino.of("INSERT")) == len(waiting), "each once"
        assert _json(owner, "job-permission")["granted"]


def test_the_console_says_that_a_newer_release_was_there_and_opens_once_it_may(
    database_url: str, tmp_path: Path
) -> None:
    made(CONSOLE, database_url, "0003")

    def stamp(version: str) -> None:
        with engine_of(database_url) as engine, engine.begin() as connection:
            connection.execute(
                text("UPDATE alembic_version SET version_num = :version"), {"version": version}
            )

    stamp("9999")
    world = World(database_url.replace("postgresql+psycopg://", "postgresql://"), tmp_path)
    world.thread.start()
    try:
        wait_for(lambda: world.server.started)

        def ready() -> tuple[int, str]:
            answer = httpx.get(f"{world.url}/health/ready", timeout=30, trust_env=False)
            return answer.status_code, answer.json()["status"]

        wait_for(lambda: "a newer release has been at the database" in ready()[1])
        assert ready()[0] == 503
        stamp("0003")
        wait_for(lambda: ready() == (200, "ready"))
    finally:
        world.stop()


# --- the governor ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", GOVERNANCE.revisions)
def test_the_governor_goes_on_where_it_was(revision: str, database_url: str) -> None:
    made(GOVERNANCE, database_url, revision)
    store = Store(make_engine(database_url))
    store.upgrade()
    try:
        _access(store)
        with engine_of(database_url) as engine:
            for table in ("access_revision", "governor_event"):
                with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
                    connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - names of this test
            if revision >= "0002":
                _audit(engine)
            if revision >= "0003":
                maintenance = MaintenanceStore(engine)
                policies = maintenance.policies()
                assert policies is not None
                assert (policies.revision, policies.author) == (1, "seeder")
                (run,) = maintenance.runs()
                assert (run.table, run.outcome.value, run.scheduled) == ("retail.customers", "done", True)
            if revision >= "0004":
                (workspace,) = WorkspaceStore(engine).all()
                assert (workspace.id, workspace.name) == (released.WORKSPACE, "leads")
                assert (workspace.quota.queries, workspace.quota.jobs, workspace.quota.storage_mib) == (
                    4,
                    3,
                    100,
                )
                assert (workspace.steps[0].at, workspace.state.value) == (released.LONG_AGO, "ready")
    finally:
        store.close()


def _access(store: Store) -> None:
    current = store.current()
    assert current is not None
    assert (current.revision, current.author, current.based_on) == (2, "bob", 1)
    first = store.revision(1)
    assert first is not None
    assert (first.document, first.created_at) == (released.ACCESS, released.LONG_AGO)
    publication = store.publication()
    assert publication is not None
    assert (publication.revision, publication.etag) == (1, '"e1"')
    assert [(one.table, one.group) for one in store.owners()] == [("leads.t", "ws_leads")]
    assert ("ada", "access.write", {"revision": 1}) in store.events()
    with pytest.raises(StaleRevisionError):
        store.write(released.ACCESS, base_revision=1, author="ada", reason="on an old one")
    written = store.write(released.ACCESS, base_revision=2, author="ada", reason="back")
    assert written.based_on == 2


def _audit(engine: Engine) -> None:
    audit = AuditStore(engine)
    (query,) = audit.queries(AuditFilter(table="retail.customers"))
    assert (query.query_id, query.user, query.completed) == (released.QUERY_ID, "analyst", True)
    assert query.ended_at == released.LONG_AGO + timedelta(seconds=2)
    decided = audit.decisions(["analyst"], released.LONG_AGO, None, limit=10)
    assert [(one.object, one.allowed, one.revision) for one in decided] == [("retail.customers", True, 1)]
    gaps = [one for one in audit.events(AuditFilter()) if one.what == "gap"]
    assert [(one.who, one.what, one.detail) for one in gaps] == [("trino", "gap", {"count": 2})]
    assert audit.delivered("trino") == 17
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_query"))
    assert audit.retain(30) == 4, "what is old goes, as ever"


# --- the agent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", AGENT.revisions)
def test_the_agent_knows_its_conversations(revision: str, database_url: str) -> None:
    made(AGENT, database_url, revision)
    store = agent.store.Store(make_engine(database_url))
    try:
        store.upgrade()
        found = store.conversation("analyst", str(released.CONVERSATION))
        assert found.conversation.title == "Customers"
        assert [(one.question, one.state.value) for one in found.runs] == [
            ("How many customers are there?", "stopped")
        ]
        assert [one.node for one in store.steps("analyst", str(released.QUESTION))] == ["question"]
        assert store.models() == {"mine": ("tables: []", "engineer")}
        with pytest.raises(agent.store.NotFoundError):
            store.conversation("engineer", str(released.CONVERSATION))
    finally:
        store.close()
