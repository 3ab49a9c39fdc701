"""SQL that tries to take data out from under its rules: by copies, views, names, places and procedures."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from contracts.identity import Audience
from tests.live.conftest import LiveLab
from tests.live.people import Outcome, People

pytestmark = pytest.mark.live

ANALYST = "analyst_emea"


@pytest.fixture
def scratch(people: People) -> Iterator[str]:
    """A name in ``raw``; whatever is there afterwards goes."""
    name = "raw.bypass"
    yield name
    for kind in ("TABLE", "VIEW"):
        people.ask("admin", f"DROP {kind} IF EXISTS {name}")


def test_analysts_make_nothing_and_nobody_chooses_places(people: People) -> None:
    analyst = [
        "CREATE TABLE raw.copy AS SELECT * FROM retail.customer",
        "CREATE TABLE retail.copy AS SELECT * FROM retail.nation",
        "CREATE VIEW raw.copy AS SELECT * FROM retail.customer",
        "INSERT INTO retail.nation SELECT * FROM retail.nation",
        "DELETE FROM retail.orders WHERE o_orderkey = 1",
        "UPDATE retail.customer SET c_regionkey = 3",
        "MERGE INTO retail.orders o USING retail.nation n ON o.o_orderkey = n.n_nationkey"
        " WHEN MATCHED THEN DELETE",
        "ALTER TABLE retail.customer RENAME TO retail.client",
        "ALTER TABLE retail.customer RENAME COLUMN c_phone TO number",
        "ALTER TABLE retail.customer EXECUTE optimize",
        "DROP TABLE retail.customer",
        "TRUNCATE TABLE retail.customer",
        "COMMENT ON TABLE retail.customer IS 'x'",
        "GRANT SELECT ON retail.customer TO USER analyst_amer",
        "SET SESSION AUTHORIZATION admin",
        "ANALYZE retail.customer",
    ]
    people.refused(ANALYST, analyst)
    place = "'s3://lab-warehouse/lake/hr'"
    property_map = f"MAP(ARRAY['write.data.path'], ARRAY[{place}])"
    anybody = [
        f"CREATE TABLE raw.copy (x bigint) WITH (location = {place})",
        f"CREATE TABLE raw.copy WITH (location = {place}) AS SELECT 1 x",
        f"CREATE TABLE raw.copy (x bigint) WITH (data_location = {place})",
        f"CREATE TABLE raw.copy (x bigint) WITH (extra_properties = {property_map})",
        f"ALTER TABLE raw.copy SET PROPERTIES extra_properties = {property_map}",
        f"CREATE SCHEMA lake.mine WITH (location = {place})",
        "CALL lake.system.register_table('raw', 'copy', 's3://lab-warehouse/lake/hr/employees')",
        "CALL lake.system.unregister_table('retail', 'customer')",
        "CALL lake.system.migrate('retail', 'customer')",
        f"ALTER TABLE raw.copy EXECUTE add_files(location => {place}, format => 'PARQUET')",
        "ALTER TABLE raw.copy EXECUTE add_files_from_table(schema_name => 'hr', table_name => 'employees')",
        "SELECT * FROM TABLE(lake.system.table_changes('hr', 'employees', 1, 2))",
        "SELECT * FROM TABLE(lake.system.query('SELECT 1'))",
        "ALTER TABLE retail.customer RENAME TO retail.client",
        "ALTER TABLE retail.customer RENAME TO raw.client",
        "ALTER TABLE retail.customer RENAME COLUMN c_phone TO number",
        "ALTER TABLE retail.customer SET AUTHORIZATION engineer",
        "CREATE FUNCTION lake.raw.f() RETURNS bigint RETURN 1",
        "CREATE MATERIALIZED VIEW raw.copy AS SELECT * FROM retail.nation",
    ]
    wrong = {}
    for persona in ("engineer", "admin"):
        for sql in anybody:
            found = people.ask(persona, sql)
            # Some of them are not even there for anybody.
            if found.ran:
                wrong[persona, sql] = found
    assert not wrong


def test_a_copy_of_what_is_masked_is_masked(people: People, scratch: str) -> None:
    """The admin sees masked phones; a copy of their own holds masks, for whoever may read it."""
    assert people.ask(
        "admin", f"CREATE TABLE {scratch} AS SELECT c_phone, c_regionkey FROM retail.customer"
    ).ran
    phones = people.rows("engineer", f"SELECT DISTINCT c_phone FROM {scratch}")
    assert phones
    assert all(re.fullmatch(r"\*\*\*.{4}", row[0]) for row in phones)
    people.refused(ANALYST, [f"SELECT * FROM {scratch}"])
    assert people.ask("admin", f"INSERT INTO {scratch} SELECT c_phone, c_regionkey FROM retail.customer").ran
    phones = people.rows("engineer", f"SELECT DISTINCT c_phone FROM {scratch}")
    assert all(re.fullmatch(r"\*\*\*.{4}", row[0]) for row in phones)


def test_views_show_each_reader_their_own(people: People, scratch: str) -> None:
    inner = "SELECT c_custkey, c_phone, c_regionkey FROM retail.customer"
    # With the rights of who made it, it would show what they see: refused over tables with rules.
    made = people.ask("engineer", f"CREATE VIEW {scratch} SECURITY DEFINER AS {inner}")
    if made.ran:
        for persona in ("admin", "engineer"):
            assert not people.ask(persona, f"SELECT * FROM {scratch}").ran
        assert people.ask("engineer", f"DROP VIEW {scratch}").ran
    assert people.ask("engineer", f"CREATE VIEW {scratch} SECURITY INVOKER AS {inner}").ran
    assert people.rows("engineer", f"SELECT count(DISTINCT c_regionkey) FROM {scratch}") == ((5,),)
    phones = people.rows("admin", f"SELECT DISTINCT c_phone FROM {scratch}")
    assert all(re.fullmatch(r"\*\*\*.{4}", row[0]) for row in phones)
    people.refused(ANALYST, [f"SELECT * FROM {scratch}"])


def test_a_table_dropped_and_made_anew_never_opens_in_between(people: People, lab: LiveLab) -> None:
    """Its rules are about its name, so they hold from its first moment; for raw engines, too."""
    name = "raw.ruled"
    make = f"CREATE TABLE {name} AS SELECT 'secret-' || CAST(n_nationkey AS varchar) AS x FROM retail.nation"
    assert people.ask("engineer", make).ran
    try:
        revision = lab.json("access", "history", "-n", "1", "--as", "steward")[0]["revision"]
        rule = (
            "access",
            "rule",
            "bypass-null",
            "--on",
            f"{name}.x",
            "--mask",
            "null",
            "--exempt",
            "data_engineers",
        )
        lab.ok(*rule, "--reason", "r", "--as", "steward")
        _until(people, "admin", f"SELECT count(x) FROM {name}", 0)
        for _ in range(3):
            assert people.ask("engineer", f"DROP TABLE {name}").ran
            assert not people.ask("admin", f"SELECT x FROM {name}").ran
            assert people.ask("engineer", make).ran
            assert people.value("admin", f"SELECT count(x) FROM {name}") == 0
            assert raw_status(people, "admin", name) >= 400
        people.refused("engineer", [f"ALTER TABLE {name} RENAME TO raw.unruled"])
        lab.ok("access", "rollback", str(revision), "--reason", "r", "--widen", "--as", "admin")
    finally:
        people.ask("engineer", f"DROP TABLE IF EXISTS {name}")


def raw_status(people: People, persona: str, table: str) -> int:
    """What the catalog answers to somebody who loads a table."""
    namespace, _, name = table.partition(".")
    headers = {"Authorization": f"Bearer {people.tokens(persona, Audience.CATALOG)()}"}
    base = people.urls["catalog"]
    config = people.http.get(f"{base}/v1/config?warehouse=lake", headers=headers).json()
    prefix = {**(config.get("defaults") or {}), **(config.get("overrides") or {})}.get("prefix", "lake")
    return people.http.get(
        f"{base}/v1/{prefix}/namespaces/{namespace}/tables/{name}", headers=headers
    ).status_code


def _until(people: People, persona: str, sql: str, value: object, tries: int = 40) -> Outcome:
    for _ in range(tries):
        found = people.ask(persona, sql)
        if found.rows == ((value,),):
            return found
        time.sleep(0.5)
    raise AssertionError(f"{persona}: {sql} gave {found} instead of {value}")
