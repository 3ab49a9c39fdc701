"""Databases through the RDS Data API, against a real PostgreSQL and a master user that is no superuser."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from contracts.errors import LabError
from contracts.settings import cache_home
from placements.aws.foundation.data_api import Aurora, converge, missing
from placements.local.software import artifact_path, ensure_artifacts
from tests.engine.plugins_support import running_postgresql
from tests.moto_aws.data_api import PostgresDataApi

pytestmark = pytest.mark.engine

NAMES = {"lab_catalog": "lab_catalog", "lab_agent": "lab_agent"}
PASSWORDS = {"lab_catalog": "first-password-of-catalog", "lab_agent": "first-password-of-agent"}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    cache = cache_home()
    ensure_artifacts(("postgresql",), cache)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="data-api-"))
        folder.chmod(0o755)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        home = artifact_path("postgresql", cache, Path(__file__).parents[2])
        yield running_postgresql(stack, home, folder)


@pytest.fixture(scope="module")
def aurora(port: int) -> Aurora:
    api = PostgresDataApi(port)
    api.prepare()
    return Aurora(api, resource_arn="arn:cluster", secret_arn="arn:secret")


def rows(port: int, sql: str, user: str = "postgres", database: str = "postgres") -> list[tuple[Any, ...]]:
    with psycopg.connect(
        host="127.0.0.1", port=port, dbname=database, user=user, autocommit=True
    ) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def verifier_of(port: int, role: str) -> str:
    return str(dict(rows(port, "SELECT rolname, rolpassword FROM pg_authid"))[role])


def test_databases_are_made_and_a_second_run_finds_them(aurora: Aurora, port: int) -> None:
    assert missing(aurora, NAMES) == list(NAMES)
    converge(aurora, NAMES, PASSWORDS)
    assert missing(aurora, NAMES) == []
    rows(port, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)", "lab_catalog", "lab_catalog")
    converge(aurora, NAMES, PASSWORDS)
    assert rows(port, "SELECT n FROM kept", "lab_catalog", "lab_catalog") == [(1,)]


def test_a_role_has_its_own_database_and_no_other_right(aurora: Aurora, port: int) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        rows(port, "SELECT 1", "lab_catalog", "lab_agent")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        rows(port, "SELECT 1", "lab_catalog", "postgres")
    ((superuser, databases, roles),) = rows(
        port, "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = 'lab_catalog'"
    )
    assert [superuser, databases, roles] == [False, False, False]


def test_a_new_password_is_applied_and_kept_as_a_verifier(aurora: Aurora, port: int) -> None:
    before = verifier_of(port, "lab_agent")
    converge(aurora, NAMES, {**PASSWORDS, "lab_agent": "second-password-of-agent"})
    after = verifier_of(port, "lab_agent")
    assert after.startswith("SCRAM-SHA-256$4096:")
    assert after != before
    with psycopg.connect(host="127.0.0.1", port=port, dbname="postgres", user="postgres") as connection:
        # PostgreSQL takes the same text for a verifier of its own making.
        own = connection.pgconn.encrypt_password(b"second-password-of-agent", b"lab_agent", b"scram-sha-256")
    assert len(own.decode().split("$")) == len(after.split("$"))


def test_what_somebody_took_away_comes_back(aurora: Aurora, port: int) -> None:
    rows(port, "ALTER DATABASE lab_agent OWNER TO postgres")
    assert missing(aurora, NAMES) == ["lab_agent"]
    with pytest.raises(LabError, match="must be owner"):
        converge(aurora, NAMES, PASSWORDS)
    rows(port, "ALTER DATABASE lab_agent OWNER TO lab_admin")
    converge(aurora, NAMES, PASSWORDS)
    assert missing(aurora, NAMES) == []
    rows(port, "DROP DATABASE lab_agent")
    converge(aurora, NAMES, PASSWORDS)
    assert missing(aurora, NAMES) == []


def test_slots_that_are_made_at_the_same_time_do_not_stop_each_other(aurora: Aurora, port: int) -> None:
    slow = Aurora(PostgresDataApi(port, linger_s=0.1), resource_arn="arn:cluster", secret_arn="arn:secret")
    labs = [{name: name for name in (f"{lab}_catalog", f"{lab}_agent")} for lab in ("one", "two", "three")]
    together = threading.Barrier(len(labs))

    def make(names: dict[str, str]) -> None:
        together.wait(timeout=60)
        converge(slow, names, dict.fromkeys(names, "a-password-of-a-slot"))

    with ThreadPoolExecutor(len(labs)) as pool:
        for made in [pool.submit(make, names) for names in labs]:
            made.result()
    assert [missing(aurora, names) for names in labs] == [[], [], []]
