"""SQL that tries to see what rules hide: by casts, functions, errors, plans and statistics.

Everything a reader is shown counts: rows, error messages, plans, counts of rows read.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

import psycopg
import pytest

from tests.live.conftest import LiveLab
from tests.live.people import People

pytestmark = pytest.mark.live

ANALYST = "analyst_emea"

# --- rows that a filter hides -----------------------------------------------------------------------------
#
# `{text}` and `{hidden}` are a text of each row and a condition that only hidden rows meet, taken from
# somebody who sees them: no real reader could aim so well. Where a filter holds, the statement runs as if
# those rows were not there.

FILTERED = {
    "retail.customer": ("c_mktsegment || '#' || CAST(c_acctbal AS varchar)", "c_regionkey NOT IN (0, 3, 4)"),
    "retail.orders": ("o_clerk || '#' || CAST(o_totalprice AS varchar)", "o_regionkey NOT IN (0, 3, 4)"),
    "retail.lineitem": (
        "l_shipmode || '#' || CAST(l_extendedprice AS varchar)",
        "l_regionkey NOT IN (0, 3, 4)",
    ),
    "web.events": ("country || '#' || CAST(event_id AS varchar)", "region <> 'EMEA'"),
    "hr.employees": (
        "last_name || '#' || CAST(employee_id AS varchar)",
        "NOT contains(management_chain, 'analyst_emea')",
    ),
}
REFERENCE = {"hr.employees": "hr"}

FAILING = {
    "cast to a number": "CAST({text} AS bigint) > 0",
    "cast to a date": "CAST({text} AS date) > DATE '2000-01-01'",
    "cast to a truth": "CAST({text} AS boolean)",
    "cast to a uuid": "CAST({text} AS uuid) IS NOT NULL",
    "divide by zero": "1 / length(substr({text}, 1, 0)) > 0",
    "json": "json_parse('{{' || {text}) IS NOT NULL",
    "regular expression": "regexp_like({text}, '(' || {text})",
    "base 64": "from_base64('~' || {text}) IS NOT NULL",
    "hexadecimal": "from_hex('x' || {text}) IS NOT NULL",
    "date by format": "date_parse({text}, '%Y') IS NOT NULL",
    "an address": "CAST({text} AS ipaddress) IS NOT NULL",
    "a network": "contains({text}, IPADDRESS '10.0.0.1')",
    "an array's element": "ARRAY[{text}][length({text})] IS NOT NULL",
    "a part of a text": "split_part({text}, '#', -length({text})) IS NOT NULL",
    "a lambda": "any_match(ARRAY[{text}], one -> CAST(one AS bigint) > 0)",
    "a shape": "ST_GeometryFromText({text}) IS NOT NULL",
    "overflow": "CAST(length({text}) AS tinyint) * TINYINT '127' > 0",
}
DRAWN = "CASE WHEN {hidden} AND random() < 2 THEN CAST({text} AS bigint) > 0 ELSE true END"
"""Not the same at each evaluation: Trino puts such conditions before others."""

PLACES = {
    "alone": "SELECT count(*) FROM {table} WHERE {hidden} AND {failing}",
    "the other way round": "SELECT count(*) FROM {table} WHERE {failing} AND {hidden}",
    "with a draw": "SELECT count(*) FROM {table} WHERE random() < 2 AND {hidden} AND {failing}",
    "in a case": "SELECT count(*) FROM {table}"
    " WHERE CASE WHEN {hidden} AND random() < 2 THEN {failing} ELSE true END",
    "in a filtered count": "SELECT count(*) FILTER (WHERE {hidden} AND {failing}) FROM {table}",
    "selected": "SELECT max(CASE WHEN {hidden} THEN {failing} END) FROM {table}",
    "in a join": "SELECT count(*) FROM {table} JOIN (VALUES 1) AS v (one) ON {hidden} AND {failing}",
    "in an outer join": "SELECT count(*) FROM (VALUES 1) AS v (one)"
    " LEFT JOIN {table} ON {hidden} AND {failing}",
    "in a subquery": "SELECT 1 WHERE EXISTS (SELECT 1 FROM {table} WHERE {hidden} AND {failing})",
    "grouped": "SELECT count(*) FROM {table} GROUP BY CASE WHEN {hidden} THEN {failing} END",
    "sorted": "SELECT 1 FROM {table} ORDER BY CASE WHEN {hidden} THEN {failing} END LIMIT 1",
    "sampled": "SELECT count(*) FROM {table} TABLESAMPLE BERNOULLI (100) WHERE {hidden} AND {failing}",
    "analyzed": "EXPLAIN ANALYZE SELECT count(*) FROM {table} WHERE {hidden} AND {failing}",
}


def secrets_of(people: People, table: str) -> set[str]:
    """Texts of hidden rows that no visible row has."""
    text, hidden = FILTERED[table]
    who = REFERENCE.get(table, "engineer")
    return {
        str(row[0])
        for row in people.rows(
            who,
            f"SELECT {text} FROM {table} WHERE {hidden}"
            f" EXCEPT SELECT {text} FROM {table} WHERE NOT ({hidden}) LIMIT 2000",
        )
    }


def attempts(table: str) -> Iterator[tuple[str, str]]:
    """Every failing condition alone, and one that is drawn and one that is cast in every place."""
    text, hidden = FILTERED[table]
    for name, failing in FAILING.items():
        condition = failing.format(text=text)
        yield name, PLACES["alone"].format(table=table, hidden=hidden, failing=condition)
    for place, statement in PLACES.items():
        for name, failing in (("drawn", DRAWN), ("cast", FAILING["cast to a number"])):
            condition = failing.format(text=text, hidden=hidden)
            yield f"{name}, {place}", statement.format(table=table, hidden=hidden, failing=condition)


@pytest.mark.parametrize("table", FILTERED)
def test_no_condition_is_evaluated_on_hidden_rows(people: People, table: str) -> None:
    """A condition that fails on each hidden row does not fail, whatever it is and wherever it stands."""
    secrets = secrets_of(people, table)
    assert len(secrets) > 10
    who = REFERENCE.get(table, "engineer")
    text, hidden = FILTERED[table]
    failing = FAILING["cast to a number"].format(text=text)
    seen = people.ask(who, PLACES["alone"].format(table=table, hidden=hidden, failing=failing))
    # Who sees those rows has the error, so that there is something to hide.
    assert any(secret in seen.message for secret in secrets) or "#" in seen.message
    wrong = {}
    for name, sql in attempts(table):
        found = people.ask(ANALYST, sql)
        leaked = [secret for secret in secrets if secret in found.text]
        if leaked or not found.ran:
            wrong[name] = (leaked[:1], found.message)
    assert not wrong


@pytest.mark.parametrize("table", ["retail.customer", "retail.orders", "retail.lineitem", "web.events"])
def test_hidden_rows_are_not_even_read(people: People, table: str) -> None:
    """What is read shows in statistics and plans; a partition that is left out is not opened. So neither the
    number of hidden rows nor their extremes can be told."""
    text, hidden = FILTERED[table]
    visible = people.value(ANALYST, f"SELECT count(*) FROM {table}")
    everything = people.value("engineer", f"SELECT count(*) FROM {table}")
    assert visible < everything
    column = text.rpartition("CAST(")[2].partition(" ")[0]
    most = people.value("engineer", f"SELECT max({column}) FROM {table} WHERE {hidden}")
    for condition in ("true", f"{column} >= {most}", f"{column} > {most}", f"{column} = {most}", hidden):
        sql = f"SELECT count(*) FROM {table} WHERE {condition}"
        for kind in ("EXPLAIN ANALYZE", "EXPLAIN ANALYZE VERBOSE"):
            plan = people.ask(ANALYST, f"{kind} {sql}").text
            read = [int(n) for n in re.findall(r"Input: (\d+) rows?", plan)]
            assert read
            assert max(read) <= visible, plan
        with_statistics = people.trino(ANALYST)
        cursor = with_statistics._connection.cursor()
        cursor.execute(sql)
        cursor.fetchall()
        assert cursor.stats["processedRows"] <= visible


@pytest.mark.parametrize("table", FILTERED)
def test_statistics_tell_of_visible_rows_alone(people: People, table: str) -> None:
    stats = people.rows(ANALYST, f"SHOW STATS FOR {table}")
    visible = people.value(ANALYST, f"SELECT count(*) FROM {table}")
    for name, _size, _distinct, _nulls, rows, low, high in stats:
        if name is None:
            assert rows is None or rows <= visible
        if low is None and high is None:
            continue
        least, most = people.rows(ANALYST, f"SELECT min({name}), max({name}) FROM {table}")[0]
        assert _at_most(least, low), name
        assert _at_most(high, most), name


def _at_most(one: object, other: object) -> bool:
    """Compares a value with one as statistics show it: numbers rounded, times cut."""
    first, second = str(one), str(other)
    try:
        return float(first) <= float(second) + abs(float(second)) * 1e-6 + 1e-6
    except ValueError:
        # Text of one form: the shorter one is cut.
        length = min(len(first.removesuffix(" UTC")), len(second.removesuffix(" UTC")), 19)
        return first[:length] <= second[:length]


def test_versions_of_a_table_are_filtered_and_masked_as_it_is(people: People) -> None:
    snapshots = [row[0] for row in people.rows("engineer", 'SELECT snapshot_id FROM web."events$snapshots"')]
    for snapshot in snapshots:
        sql = f"SELECT DISTINCT region FROM web.events FOR VERSION AS OF {snapshot}"
        assert people.rows(ANALYST, sql) == (("EMEA",),)
        emails = people.rows(ANALYST, f"SELECT email FROM web.events FOR VERSION AS OF {snapshot} LIMIT 50")
        assert all(re.fullmatch(r"\*\*\*@[^@]+", row[0]) for row in emails)
    at = "SELECT DISTINCT region FROM web.events FOR TIMESTAMP AS OF current_timestamp - INTERVAL '1' SECOND"
    assert people.rows(ANALYST, at) == (("EMEA",),)


METADATA = (
    "files",
    "partitions",
    "snapshots",
    "manifests",
    "history",
    "refs",
    "properties",
    "metadata_log_entries",
)


def test_metadata_tables_of_tables_under_rules_are_closed(people: People) -> None:
    statements = [
        f'SELECT * FROM {table.partition(".")[0]}."{table.partition(".")[2]}${kind}"'
        for table in FILTERED
        for kind in (*METADATA, "data", "entries", "all_entries")
    ]
    people.refused(ANALYST, statements)
    columns = ('"$path"', '"$file_modified_time"')
    for column in columns:
        # Names of files that the reader's own rows lie in tell of no other row.
        found = people.ask(ANALYST, f"SELECT DISTINCT {column} FROM retail.orders")
        others = people.rows("engineer", 'SELECT DISTINCT "$path" FROM retail.orders WHERE o_regionkey = 2')
        assert not [path for (path,) in others if path in found.text]


# --- values that a mask hides -----------------------------------------------------------------------------


MASKED = {
    "c_custkey": "retail.customer",
    "c_name": "retail.customer",
    "c_phone": "retail.customer",
    "o_custkey": "retail.orders",
    "email": "web.events",
    "salary": "hr.employees",
}


def test_no_function_and_no_error_shows_what_a_mask_hides(people: People) -> None:
    wrong: dict[str, str] = {}
    for column, table in MASKED.items():
        who = REFERENCE.get(table, "engineer")
        plain = {str(row[0]) for row in people.rows(who, f"SELECT DISTINCT {column} FROM {table} LIMIT 3000")}
        plain = {value for value in plain if len(value) > 5}
        text = f"CAST({column} AS varchar)"
        for name, failing in {**FAILING, "drawn": DRAWN}.items():
            condition = failing.format(text=text, hidden="true")
            found = people.ask("auditor", f"SELECT count(*) FROM {table} WHERE {condition}")
            if any(value in found.text for value in plain):
                wrong[f"{column}, {name}"] = found.message
        some = next(iter(plain), "0")
        for sql in (
            f"SELECT {column} FROM {table} LIMIT 50",
            f"SELECT min({column}), max({column}), approx_distinct({column}) FROM {table}",
            f"SELECT array_agg({text}) FROM (SELECT {column} FROM {table} LIMIT 50)",
            f"EXPLAIN SELECT * FROM {table} WHERE {text} LIKE '1%'",
            f"EXPLAIN ANALYZE VERBOSE SELECT count({column}) FROM {table}",
            f"EXPLAIN (TYPE IO, FORMAT JSON) SELECT {column} FROM {table}",
            f"SHOW STATS FOR (SELECT {column} FROM {table})",
            f"SELECT JSON_OBJECT('v' VALUE {text}) FROM {table} LIMIT 20",
        ):
            found = people.ask("auditor", sql)
            shown = found.text.split(some) if some in sql else [found.text]
            if any(value in part for part in shown for value in plain):
                wrong[sql] = found.text[:300]
        hit = f"SELECT count(*) FROM {table} WHERE {text} = '{some}'"
        if people.value("auditor", hit):
            wrong[hit] = "a plain value is found"
    assert not wrong


def hash_key(people: People) -> bytes:
    """As the database has it."""
    ((address, password),) = [
        (name.split()[1], value) for name, value in people.keys.items() if name.endswith("_masking")
    ]
    where, _, database = address.partition("/")
    host, _, port = where.partition(":")
    with psycopg.connect(host=host, port=int(port), dbname=database, user=database, password=password) as one:
        ((key,),) = one.execute("SELECT key FROM hash_key").fetchall()
    return bytes(key)


def test_the_key_of_the_hash_is_in_nothing_that_anybody_is_shown(people: People, lab: LiveLab) -> None:
    key = hash_key(people)
    forms = {key.hex(), key.hex().upper(), base64.b64encode(key).decode(), str(key)}

    def clean(text: str) -> bool:
        return not any(form in text for form in forms)

    hashing = "SELECT c_custkey, c_name FROM retail.customer"
    for persona in ("auditor", ANALYST, "admin"):
        for sql in (
            f"EXPLAIN {hashing}",
            f"EXPLAIN (TYPE DISTRIBUTED, FORMAT JSON) {hashing}",
            f"EXPLAIN (TYPE IO) {hashing}",
            f"EXPLAIN ANALYZE VERBOSE {hashing}",
            "EXPLAIN ANALYZE VERBOSE SELECT count(*) FROM retail.orders o JOIN retail.customer c"
            " ON o.o_custkey = c.c_custkey",
            "SELECT count(*) FROM retail.customer WHERE CAST(CAST(c_custkey AS varchar) AS boolean)",
            "SELECT * FROM retail.customer WHERE c_custkey / 0 = 1",
            "SHOW STATS FOR (SELECT c_custkey FROM retail.customer)",
        ):
            assert clean(people.ask(persona, sql).text), sql
    asked = {
        "context": {"identity": {"user": ANALYST, "groups": ["analysts_emea"]}},
        "action": {
            "operation": "GetColumnMask",
            "filterResources": [
                {
                    "column": {
                        "catalogName": "lake",
                        "schemaName": "retail",
                        "tableName": "customer",
                        "columnName": "c_custkey",
                        "columnType": "bigint",
                    }
                }
            ],
        },
    }
    answer = people.http.post(f"{people.urls['opa']}/v1/data/lab/trino/columnMasks", json={"input": asked})
    assert "hmac" in answer.text
    assert clean(answer.text)
    audit = json.dumps(lab.json("audit", "--limit", "200", "--as", "admin"))
    assert clean(audit)


def test_nobody_reads_the_key_where_it_lies(people: People) -> None:
    place = "masking.public.hash_key"
    statements = [
        f"SELECT * FROM {place}",
        f"SELECT count(*) FROM {place}",
        f"SHOW COLUMNS FROM {place}",
        f"SHOW STATS FOR {place}",
        "SHOW SCHEMAS FROM masking",
        "SELECT * FROM masking.information_schema.tables",
        "SELECT * FROM TABLE(masking.system.query(query => 'SELECT key FROM hash_key'))",
        "CALL masking.system.execute('SELECT 1')",
        "CALL masking.system.flush_metadata_cache()",
        f"INSERT INTO {place} VALUES (2, X'00')",
        f"DELETE FROM {place}",
        "CREATE TABLE masking.public.mine (x bigint)",
        f"CREATE VIEW raw.keys AS SELECT * FROM {place}",
        f"CREATE TABLE raw.keys AS SELECT * FROM {place}",
    ]
    for persona in ("admin", "engineer", "steward", ANALYST):
        people.refused(persona, statements)
