"""The audit on a real PostgreSQL: delivered once and in order, changed by nobody, old lines removed."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from contracts.errors import UsageError
from governance.audit.collector import AuditSettings, Collector, Producer, TooLongError
from governance.audit.reading import AuditReader
from governance.audit.report import AuditLine, AuditReport, Outcome
from governance.audit.spool import Spool, SpoolFullError
from governance.audit.store import AuditFilter, AuditStore
from governance.store import Store
from tests.unit import governor_postgres
from tests.unit.audit_samples import SERVER, START, completed, created, decision, query_id, table
from tests.unit.governor_world import ACCESS

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url
store = governor_postgres.store

TABLES = ("audit_query", "audit_decision", "audit_event")
NOW = START + timedelta(hours=1)


class World:
    """A collector with its spool and database, and the reader of the latter."""

    def __init__(self, store: Store, engine: Engine, folder: Path) -> None:
        self.access, self.engine = store, engine
        self.audit = AuditStore(engine)
        self.folder = folder
        self.collector = self.restart()
        self.reader = AuditReader(self.audit, store.revision, catalog="lake")

    def restart(self, max_bytes: int = 1 << 20) -> Collector:
        """Another process on the same disk and database."""
        tokens = {Producer.TRINO: "t" * 32, Producer.OPA: "o" * 32}
        settings = AuditSettings(catalog="lake", retention_days=30, tokens=tokens)
        self.collector = Collector(
            Spool(self.folder, max_bytes), self.audit, settings, wake=threading.Event()
        )
        return self.collector

    def trino(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.collector.receive(Producer.TRINO, json.dumps(event).encode(), packed=False)

    def opa(self, *events: dict[str, Any]) -> None:
        body = gzip.compress(json.dumps(events).encode())
        assert self.collector.receive(Producer.OPA, body, packed=True) == len(events)

    def report(self, **wanted: Any) -> AuditReport:
        return self.reader.report(AuditFilter(**wanted), waiting=0, retention_days=30, now=NOW)

    def line(self, number: int = 1) -> AuditLine:
        (found,) = self.report(query_id=query_id(number)).lines
        return found

    def gaps(self) -> list[dict[str, Any]]:
        return [dict(event.detail) for event in self.report().events if event.what == "gap"]

    def execute(self, statement: str) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(text(statement))


@pytest.fixture
def world(store: Store, database_url: str, tmp_path: Path) -> Iterator[World]:
    engine = create_engine(database_url)
    store.write(ACCESS.as_document(), base_revision=None, author="ada", reason="seed")
    yield World(store, engine, tmp_path / "spool")
    engine.dispose()


def test_a_query_has_its_decisions_rules_and_revision(world: World) -> None:
    customer = table("retail.customer", "id", "email", masked=("email",))
    world.trino(created(1), completed(1, customer, sql="SELECT * FROM retail.customer"))
    world.opa(
        decision(1, "ExecuteQuery", None, when=0.4),
        decision(2, when=0.6),
        decision(3, when=0.7, obj="retail.orders"),
        decision(4, when=0.7, user="bob"),
    )
    world.collector.work()
    line = world.line()
    assert (line.user, line.outcome, line.rows) == ("ann", Outcome.FINISHED, 7)
    assert line.statement == "SELECT * FROM retail.customer"
    assert line.revisions == (1,)
    (read,) = line.tables
    assert (read.table, read.masked, read.rules) == ("retail.customer", ("email",), ("email",))
    assert [(one.operation, one.id) for one in line.decisions] == [
        ("ExecuteQuery", "d-1"),
        ("SelectFromColumns", "d-2"),
    ]
    assert line.notes == ()
    assert line.duration_s == 0.5


def test_a_mask_that_the_revision_does_not_explain_is_not_given_a_rule(world: World) -> None:
    world.trino(completed(1, table("retail.customer", "id", masked=("id",), filters=1)))
    world.opa(decision(1))
    world.collector.work()
    assert world.line().tables[0].rules == ("?",)


def test_denied_before_it_ran_is_there_with_what_was_refused(world: World) -> None:
    world.trino(created(1), completed(1, error="PERMISSION_DENIED"))
    world.opa(decision(1, allowed=False))
    world.collector.work()
    (line,) = world.report(denied=True).lines
    assert (line.outcome, line.refused) == (Outcome.DENIED, ("SelectFromColumns retail.customer",))
    assert [one.query_id for one in world.report(table="retail.customer").lines] == [query_id(1)]
    assert world.report(table="retail.orders").lines == ()


def test_filters_by_user_time_and_table(world: World) -> None:
    world.trino(
        completed(1, table("retail.customer", "id"), begun=0.5, ended=1),
        completed(2, table("retail.orders", "id"), begun=100, ended=101),
        completed(3, table("retail.orders", "id"), user="bob", begun=200, ended=201),
    )
    world.collector.work()
    numbers = {query_id(n): n for n in range(1, 4)}

    def found(**wanted: Any) -> list[int]:
        return [numbers[line.query_id] for line in world.report(**wanted).lines]

    assert found() == [3, 2, 1]
    assert found(user="ann") == [2, 1]
    assert found(table="retail.orders") == [3, 2]
    assert found(since=START + timedelta(seconds=101)) == [3, 2]
    assert found(limit=1) == [3]
    assert found(denied=True) == []


def raw_use(user: str, what: str, *tables: str) -> dict[str, Any]:
    """A record as the door of raw engines leaves it."""
    return {"kind": "raw", "user": user, "what": f"catalog.{what}", "tables": list(tables), "keys": True}


def test_what_raw_engines_did_stands_beside_queries(world: World) -> None:
    world.collector.keep(raw_use("ann", "read", "retail.customer"))
    world.collector.keep(raw_use("bob", "refused", "retail.orders"))
    world.collector.receive(Producer.OPA, json.dumps([{}]).encode(), packed=False)
    world.access.log("ann", "access.write", {})
    world.collector.work()

    def found(**wanted: Any) -> set[tuple[str, str]]:
        return {(event.who, event.what) for event in world.report(**wanted).events}

    gap, read, refused = ("opa", "gap"), ("ann", "catalog.read"), ("bob", "catalog.refused")
    assert found() >= {gap, read, refused, ("ann", "access.write")}
    assert found(user="ann") & {read, refused} == {read}
    assert found(table="retail.customer") == {gap, read}
    assert found(denied=True) == {gap, refused}
    assert found(user="ann", denied=True) == {gap}
    (detail,) = (dict(event.detail) for event in world.report().events if event.what == "catalog.read")
    assert detail == {"tables": ["retail.customer"], "keys": True}
    with pytest.raises(DBAPIError, match="append-only"):
        world.execute("DELETE FROM audit_event")


def test_who_reads_with_an_engine_of_their_own_uses_the_lab(world: World) -> None:
    assert not world.audit.people_queried(timedelta(hours=1))
    world.collector.keep(raw_use("ann", "read", "retail.customer"))
    world.collector.work()
    assert world.audit.people_queried(timedelta(hours=1))
    assert not world.audit.people_queried(timedelta(0))


def test_what_is_sent_twice_is_there_once(world: World) -> None:
    for _ in range(2):
        world.trino(created(1), completed(1))
        world.opa(decision(1))
        world.collector.work()
    assert len(world.report().lines) == 1
    assert world.execute("SELECT count(*) FROM audit_query").scalar() == 2
    assert world.execute("SELECT count(*) FROM audit_decision").scalar() == 1


def test_without_the_database_records_wait_and_come_in_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with monkeypatch.context() as patched:
        patched.setattr(world.collector, "store", AuditStore(gone))
        world.trino(created(1), completed(1))
        with pytest.raises(OperationalError):
            world.collector.work()
        world.trino(created(2, begun=2), completed(2, begun=2, ended=3))
    gone.dispose()
    world.restart()
    assert world.collector.waiting() == 4
    world.collector.work()
    assert world.collector.waiting() == 0
    assert [line.query_id for line in world.report().lines] == [query_id(2), query_id(1)]
    stages = world.execute("SELECT query_id || ' ' || stage FROM audit_query ORDER BY recorded_at").scalars()
    assert list(stages) == [f"{query_id(n)} {stage}" for n in (1, 2) for stage in ("created", "completed")]


def test_a_delivery_that_failed_half_way_is_done_again_as_a_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.trino(created(1))
    with monkeypatch.context() as patched:
        patched.setattr(world.collector.spool, "release", lambda _: (_ for _ in ()).throw(OSError("gone")))
        with pytest.raises(OSError, match="gone"):
            world.collector.work()
    world.restart().work()
    assert world.execute("SELECT count(*) FROM audit_query").scalar() == 1


def test_beyond_the_disk_s_bound_a_gap_is_recorded(world: World) -> None:
    world.restart(max_bytes=900)
    world.trino(created(1))
    with pytest.raises(SpoolFullError):
        world.trino(completed(1, *(table(f"retail.t{n}", "id") for n in range(9))))
    world.collector.work()
    (gap,) = world.gaps()
    assert gap["attempts"] == 1
    assert "full" in gap["reason"]
    world.collector.work()
    assert len(world.gaps()) == 1


def test_damaged_records_are_a_gap(world: World) -> None:
    world.trino(created(1), created(2))
    (file,) = world.folder.glob("*.log")
    file.write_bytes(file.read_bytes().replace(query_id(1).encode(), query_id(9).encode()))
    world.restart().work()
    assert [gap["reason"] for gap in world.gaps()] == ["records on the disk can't be read"]
    assert [line.query_id for line in world.report().lines] == [query_id(2)]


def test_a_record_that_the_database_does_not_take_is_a_gap_and_holds_nothing_up(world: World) -> None:
    world.collector.spool.append([b'{"kind":"decision","id":"x","server":"s"', b'{"kind":"query"}'])
    world.trino(created(1))
    world.collector.work()
    assert [gap["record"] for gap in world.gaps()] == [2, 1]
    assert [line.query_id for line in world.report().lines] == [query_id(1)]


def test_producers_that_begin_anew_leave_a_gap_with_what_was_under_way(world: World) -> None:
    world.trino(created(1), completed(1), created(2, begun=2))
    world.opa(decision(1))
    world.collector.work()
    assert world.gaps() == []
    assert world.line(2).outcome is Outcome.RUNNING
    world.trino(created(0, server="fghij", begun=60))
    world.opa(decision(2, when=61, server="opa-2"))
    world.trino(completed(2, begun=2, ended=3))
    world.collector.work()
    opa, trino = world.gaps()
    assert (trino["before"], trino["server"], trino["unfinished"]) == (SERVER, "fghij", [query_id(2)])
    assert (opa["before"], opa["server"]) == ("opa-1", "opa-2")
    world.trino(created(3, begun=4))
    world.collector.work()
    assert world.line(3).outcome is Outcome.UNKNOWN


def test_numbers_that_no_event_came_for_are_a_gap_once(world: World) -> None:
    world.trino(created(0), created(1), created(4), created(7))
    world.collector.work()
    soon = datetime.now(tz=UTC)
    world.audit.check_numbers(soon)
    assert world.gaps() == []  # they may still come
    for _ in range(2):
        world.audit.check_numbers(soon + timedelta(minutes=5))
    (gap,) = world.gaps()
    assert (gap["numbers"], gap["count"]) == (["00002 to 00003", "00005 to 00006"], 4)
    world.trino(created(9))
    world.collector.work()
    world.audit.check_numbers(datetime.now(tz=UTC) + timedelta(minutes=5))
    assert world.gaps()[0]["numbers"] == ["00008"]


@pytest.mark.parametrize(
    ("body", "packed"),
    [(b"{", False), (b"[]", False), (b"{}", True), (gzip.compress(b"x"), True)],
    ids=["no JSON", "no report", "not packed", "no JSON in it"],
)
def test_a_report_that_can_not_be_read_is_refused_and_noted(world: World, body: bytes, packed: bool) -> None:
    with pytest.raises(UsageError):
        world.collector.receive(Producer.TRINO, body, packed=packed)
    world.collector.work()
    (gap,) = world.gaps()
    assert gap["reason"].startswith("a report was refused")


def test_a_bomb_is_not_unpacked(world: World) -> None:
    with pytest.raises(TooLongError):
        world.collector.receive(Producer.OPA, gzip.compress(b" " * (33 << 20)), packed=True)


@pytest.mark.parametrize("table_name", TABLES)
def test_the_audit_can_only_be_added_to(world: World, table_name: str) -> None:
    world.trino(created(1))
    world.opa(decision(1))
    world.collector.work()
    for statement in (
        "UPDATE {} SET recorded_at = now()",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "SET lab.audit_retain = 'on'; DELETE FROM {}",
    ):
        with pytest.raises(DBAPIError, match="append-only"):
            world.execute(statement.format(table_name))
    assert world.execute("SELECT count(*) FROM " + table_name).scalar() > 0  # noqa: S608 - a constant of this test


def test_the_database_s_owner_needs_no_more_rights_than_that(database_url: str) -> None:
    admin = create_engine(database_url, isolation_level="AUTOCOMMIT")
    name = database_url.rpartition("/")[2]
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {name}_owner LOGIN"))
        connection.execute(text(f"ALTER DATABASE {name} OWNER TO {name}_owner"))
    engine = create_engine(database_url.replace("//postgres@", f"//{name}_owner@"))
    try:
        Store(engine).upgrade()
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO audit_event (recorded_at, who, what, detail) "
                    "VALUES (now() - interval '40 days', 'x', 'old', '{}')"
                )
            )
        assert AuditStore(engine).retain(30) == 1
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text("DELETE FROM audit_event"))
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"REASSIGN OWNED BY {name}_owner TO postgres"))
            connection.execute(text(f"ALTER DATABASE {name} OWNER TO postgres"))
            connection.execute(text(f"DROP ROLE {name}_owner"))
        admin.dispose()


def test_retention_removes_what_is_older_than_its_limit_and_nothing_else(world: World) -> None:
    world.trino(created(1))
    world.opa(decision(1))
    world.collector.work()
    assert world.audit.retain(2) == 0
    for days, name in ((40, "old"), (20, "young")):
        world.execute(
            "INSERT INTO audit_event (recorded_at, who, what, detail) "  # noqa: S608 - this test's own words
            f"VALUES (now() - interval '{days} days', 'ann', '{name}', '{{}}')"
        )
    assert world.audit.retain(30) == 1
    left = {event.what: event.detail for event in world.report().events}
    assert "young" in left
    assert "old" not in left
    assert left["retention"] == {"removed": 1, "days": 30}
    assert len(world.report().lines) == 1
    with pytest.raises(DBAPIError, match="two days at least"):
        world.audit.retain(1)


def test_events_of_the_governor_stand_beside(world: World) -> None:
    world.access.log("ann", "spark.ask", {"restricted": []})
    world.access.log("bob", "owner.register", {"table": "raw.t"})
    assert {(e.who, e.what) for e in world.report().events} >= {
        ("ann", "spark.ask"),
        ("bob", "owner.register"),
        ("ada", "access.put"),
    }
    assert [(e.who, e.what) for e in world.report(user="ann").events] == [("ann", "spark.ask")]
    assert world.report(denied=True).events == ()


LATELY, NOT_LATELY = timedelta(hours=1), timedelta(0)


def test_people_use_it_while_their_queries_run_and_services_never_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    maintainer = "service-account-maintainer"
    world.trino(created(1, user=maintainer), completed(1, user=maintainer), created(2, user=maintainer))
    world.collector.work()
    assert not world.audit.people_queried(LATELY)
    world.trino(created(3), completed(3))
    world.collector.work()
    assert world.audit.people_queried(LATELY)
    assert not world.audit.people_queried(NOT_LATELY), "it has ended"
    world.trino(created(4))
    world.collector.work()
    assert world.audit.people_queried(NOT_LATELY), "it still runs"
    with monkeypatch.context() as patched:
        patched.setattr("governance.audit.store._LONGEST_RUN", timedelta(0))
        assert not world.audit.people_queried(NOT_LATELY), "its end is lost"
    world.trino(completed(4))
    world.collector.work()
    assert not world.audit.people_queried(NOT_LATELY)


def test_what_ran_on_a_trino_that_ended_runs_no_more(world: World) -> None:
    world.trino(created(1))
    world.collector.work()
    assert world.audit.people_queried(NOT_LATELY)
    world.trino(created(2, user="service-account-maintainer", server="fghij"))
    world.collector.work()
    assert not world.audit.people_queried(NOT_LATELY)
