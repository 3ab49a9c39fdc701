"""The governance database on a real PostgreSQL: migrations, history, concurrency."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from governance.client import Publication, StaleRevisionError
from governance.models import SCHEMA_VERSION, Base
from governance.store import OwnedByAnotherError, Store, document_digest, make_engine
from tests.unit import governor_postgres

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url
store = governor_postgres.store

EMPTY: dict[str, Any] = {"grants": [], "tags": [], "rules": []}


def _document(*tags: str) -> dict[str, Any]:
    return {**EMPTY, "tags": [{"object": "a.b", "tag": tag} for tag in tags]}


def test_migrations_make_what_the_models_say_and_can_be_undone(database_url: str) -> None:
    store = Store(make_engine(database_url))
    store.upgrade()
    store.upgrade()
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == SCHEMA_VERSION
        config = Config()
        config.set_main_option("script_location", str(Path("governance/migrations").absolute()))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
        left = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        assert left.scalars().all() == ["alembic_version"]
    engine.dispose()
    store.close()


def test_many_starting_at_once_upgrade_once(database_url: str) -> None:
    stores = [Store(make_engine(database_url)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Store.upgrade, stores))
    assert stores[0].current() is None
    for store in stores:
        store.close()


def test_history_is_linear_and_complete(store: Store) -> None:
    first = store.write(_document("x"), base_revision=None, author="ada", reason="one")
    second = store.write(_document("y"), base_revision=first.revision, author="bob", reason="two")
    assert second.based_on == first.revision
    assert store.current() == second
    assert store.revision(first.revision) == first
    assert store.revision(999) is None
    assert [r.reason for r in store.revisions()] == ["two", "one"]
    assert [r.reason for r in store.revisions(limit=1)] == ["two"]
    assert second.created_at.tzinfo is not None


def test_equal_document_makes_no_revision(store: Store) -> None:
    first = store.write(_document("x"), base_revision=None, author="ada", reason="one")
    assert store.write(_document("x"), base_revision=first.revision, author="ada", reason="two") == first
    assert len(store.events()) == 1


def test_stale_base_is_refused_and_changes_nothing(store: Store) -> None:
    first = store.write(_document("x"), base_revision=None, author="ada", reason="one")
    second = store.write(_document("y"), base_revision=first.revision, author="ada", reason="two")
    for base in (None, first.revision, second.revision + 1):
        with pytest.raises(StaleRevisionError, match="changed since it was read"):
            store.write(_document("z"), base_revision=base, author="eve", reason="three")
    assert store.current() == second
    assert len(store.events()) == 2


def test_of_concurrent_writers_on_one_base_exactly_one_wins(store: Store) -> None:
    base = store.write(_document("x"), base_revision=None, author="ada", reason="one").revision
    gate = threading.Barrier(8)

    def write(number: int) -> bool:
        gate.wait()
        try:
            store.write(_document(f"t{number}"), base_revision=base, author=str(number), reason="race")
        except StaleRevisionError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 1
    assert len(store.revisions()) == 2


def test_database_itself_refuses_forks_and_changed_history(store: Store, database_url: str) -> None:
    store.write(_document("x"), base_revision=None, author="ada", reason="one")
    engine = create_engine(database_url)
    fork = "INSERT INTO access_revision (document, author, reason, based_on) VALUES ('{}', 'x', 'x', NULL)"
    with pytest.raises(IntegrityError, match="access_revision_linear"), engine.begin() as connection:
        connection.execute(text(fork))
    for statement in (
        "UPDATE access_revision SET author = 'eve'",
        "DELETE FROM governor_event",
        "TRUNCATE governor_event",
    ):
        with pytest.raises(DBAPIError, match="is append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    engine.dispose()
    assert [who for who, _, _ in store.events()] == ["ada"]


def test_failed_change_leaves_neither_revision_nor_event_nor_seed(store: Store) -> None:
    def change_and_fail() -> None:
        with store.changing("ada") as change:
            change.write(_document("x"), reason="one", what="access.put")
            change.write_seed(_document("x"), "digest")
            change.register_owner("raw.t", "g")
            raise RuntimeError("the connection went")

    with pytest.raises(RuntimeError, match="the connection went"):
        change_and_fail()
    assert store.current() is None
    assert store.events() == ()
    assert store.owners() == ()
    with store.changing("ada") as change:
        assert change.seed_document() is None


def test_owner_is_registered_once(store: Store) -> None:
    with store.changing("ada") as change:
        first = change.register_owner("raw.t", "g")
    with store.changing("bob") as change:
        assert change.register_owner("raw.t", "g") == first
    with pytest.raises(OwnedByAnotherError), store.changing("eve") as change:
        change.register_owner("raw.t", "h")
    assert store.owners() == (first,)
    with store.changing("governor") as change:
        change.release_owners(frozenset({"raw.t", "raw.unknown"}))
    assert store.owners() == ()
    assert [what for _, what, _ in store.events()] == ["owner.release", "owner.register"]


def test_publication_is_one_row_a_revision(store: Store) -> None:
    assert store.publication() is None
    for minute in (1, 2):
        at = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
        with store.publishing() as publishing:
            publishing.record(Publication(revision=1, issued_at=at, etag=f"e{minute}"))
    assert store.publication() == Publication(revision=1, issued_at=at, etag="e2")


def test_second_publisher_waits_and_sees_the_newest(store: Store) -> None:
    first = store.write(_document("x"), base_revision=None, author="ada", reason="one")
    seen: list[int] = []

    def publish() -> None:
        with store.publishing() as publishing:
            current = publishing.current()
            assert current is not None
            seen.append(current.revision)

    with store.publishing():
        waiting = threading.Thread(target=publish)
        waiting.start()
        second = store.write(_document("y"), base_revision=first.revision, author="ada", reason="two")
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(5)
    assert seen == [second.revision]


def test_digest_is_of_content_not_of_key_order() -> None:
    assert document_digest({"a": 1, "b": [2]}) == document_digest({"b": [2], "a": 1})
    assert document_digest({"a": 1}) != document_digest({"a": 2})
