"""The suite beyond Trino: what is expected of engines that read files, and how what they find is told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import requests
from pyiceberg.exceptions import ForbiddenError, ServerError

from cli.commands.inspecting import matrix_text
from cli.conformance import Check, Engine, Verification, _chosen_engines, read_expectations
from cli.conformance_raw import (
    DENIED,
    DataFiles,
    UserCatalog,
    count_rows,
    data_files,
    is_refusal,
    key_cells,
    pyiceberg_cells,
    spark_cells,
)
from contracts.access import Privilege
from contracts.errors import LabError, UsageError
from contracts.identity import PERSONAS
from contracts.settings import SETTINGS
from governance.derivation import RawRights, derive_raw_grants, restrictions
from governance.query import DeniedError, QueryError, Rows
from seed.catalogue import seed_tables_for
from seed.model import SeedOptions
from tests.policies.server import seed_access

TABLES = {table.name: tuple(table.columns) for table in seed_tables_for(SeedOptions())}
CLOSED = next(setting.default for setting in SETTINGS if setting.key == "closedNamespaces").split(",")


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.username)
def test_the_seed_brings_about_what_is_expected_of_raw_engines(persona: Any) -> None:
    """Expectations are written down apart from the rules that they follow from."""
    access, expected = seed_access(), read_expectations()
    grants = derive_raw_grants(access, TABLES, {})
    readable = {
        table
        for group in persona.groups
        for table, held in grants.get(group, {}).items()
        if Privilege.SELECT in held
    }
    assert readable == expected.raw["polaris"].get(persona.username, frozenset())
    rights = RawRights(access, {}, closed=CLOSED)
    open_tables = {table for table in TABLES if rights.on_table(persona.groups, table)}
    assert open_tables == expected.raw["nessie"].get(persona.username, frozenset())
    ruled = any(restrictions(access, TABLES, {}, persona.groups).values())
    assert (persona.username in expected.spark) is (bool(open_tables) and not ruled)


class Catalog:
    """Opens some tables, each with a key of its own."""

    def __init__(self, *tables: str, broken: bool = False) -> None:
        self._tables, self._broken = tables, broken

    def rows(self, table: str) -> int:
        self._require(table)
        return 7

    def keys(self, table: str) -> Mapping[str, str]:
        self._require(table)
        return {"key": table}

    def _require(self, table: str) -> None:
        if self._broken:
            raise LabError("the catalog does not answer")
        if table not in self._tables:
            raise DeniedError("denied: no")


FILES = {name: DataFiles(uris=(f"s3://b/{name}/1", f"s3://b/{name}/2"), rows=7) for name in ("a.b", "a.c")}


def reading(*leaky: str) -> Callable[[Mapping[str, str], Sequence[str]], int]:
    """A store in which a key opens its own table, and those of ``leaky`` open everything."""

    def read(keys: Mapping[str, str], uris: Sequence[str]) -> int:
        if keys["key"] not in leaky and f"/{keys['key']}/" not in uris[0]:
            raise DeniedError("denied: 403")
        return 7

    return read


def test_tables_are_read_or_denied() -> None:
    assert dict(pyiceberg_cells(Catalog("a.b"), ["a.b", "a.c"])) == {"a.b": "7", "a.c": DENIED}
    broken = dict(pyiceberg_cells(Catalog(broken=True), ["a.b"]))
    assert broken == {"a.b": "error: the catalog does not answer"}


def test_keys_open_their_own_table_alone() -> None:
    names = list(FILES)
    assert dict(key_cells(Catalog("a.b"), names, FILES, reading())) == {"a.b": "7", "a.c": DENIED}
    assert dict(key_cells(Catalog(), names, FILES, reading())) == {"a.b": DENIED, "a.c": DENIED}
    leaky = dict(key_cells(Catalog("a.b"), names, FILES, reading("a.b")))
    assert leaky == {"a.b": "7", "a.c": "opened by the keys of a.b"}
    (broken,) = key_cells(Catalog(broken=True), names, FILES, reading())
    assert broken[1].startswith("error")


def test_spark_is_asked_or_refuses_at_its_door() -> None:
    from spark_gateway.client import SparkError

    def run(statement: str) -> Rows:
        if "`c`" in statement:
            raise QueryError("no such table", name="TABLE_OR_VIEW_NOT_FOUND")
        return Rows(columns=("n",), types=("bigint",), rows=iter([[7]]), query_id="")

    @contextlib.contextmanager
    def refusing(status: int) -> Iterator[Callable[[str], Rows]]:
        if status != 200:
            raise SparkError("you may not", status=status)
        yield run

    names = ["a.b", "a.c"]
    assert dict(spark_cells(lambda: contextlib.nullcontext(run), names)) == {"a.b": "7", "a.c": DENIED}
    assert set(dict(spark_cells(lambda: refusing(403), names)).values()) == {DENIED}
    assert set(dict(spark_cells(lambda: refusing(503), names)).values()) == {"error: you may not"}


def test_a_refusal_is_told_from_a_failure() -> None:
    assert is_refusal(ForbiddenError("no"))
    assert is_refusal(ServerError("org.projectnessie.services.authz.AccessCheckException: no"))
    assert not is_refusal(ServerError("boom"))
    assert not is_refusal(None)

    class Refusing:
        def __init__(self, error: Exception) -> None:
            self._error = error

        def load_table(self, _: str) -> Any:
            raise self._error

    with pytest.raises(DeniedError):
        UserCatalog(Refusing(ForbiddenError("no"))).rows("a.b")  # type: ignore[arg-type]  # all that is asked of it
    with pytest.raises(LabError, match="does not answer"):
        UserCatalog(Refusing(ServerError("boom"))).keys("a.b")  # type: ignore[arg-type]  # all that is asked of it


def test_a_connection_that_breaks_off_is_made_anew_for_a_while() -> None:
    class Breaking:
        """Breaks off, then refuses."""

        def __init__(self, times: int) -> None:
            self.left, self.asked = times, 0

        def load_table(self, _: str) -> Any:
            self.asked += 1
            if self.left:
                self.left -= 1
                raise requests.ConnectionError("Remote end closed connection without response")
            raise ForbiddenError("no")

    slept: list[float] = []
    soon = Breaking(2)
    with pytest.raises(DeniedError):
        UserCatalog(soon, again=2, sleep=slept.append).keys("a.b")  # type: ignore[arg-type]  # all that is asked of it
    assert (soon.asked, slept) == (3, [1.0, 1.0])
    gone = Breaking(100)
    catalog = UserCatalog(gone, again=2, sleep=slept.append)  # type: ignore[arg-type]  # all that is asked of it
    for asked in (3, 4):
        with pytest.raises(LabError, match="does not answer: Remote end closed"):
            catalog.rows("a.b")
        assert gone.asked == asked, "what is waited for is bounded for all tables together"


def test_a_store_that_is_away_is_not_a_denial() -> None:
    keys = {"s3.endpoint": "http://127.0.0.1:1", "s3.access-key-id": "a", "s3.secret-access-key": "b"}
    with pytest.raises(LabError, match="object store does not answer") as away:
        count_rows({**keys, "client.region": "us-east-1"}, ["s3://bucket/key.parquet"])
    assert not isinstance(away.value, DeniedError)


def test_files_are_listed_with_their_rows() -> None:
    def run(statement: str) -> Rows:
        assert '"a"."b$files"' in statement
        return Rows(columns=(), types=(), rows=iter([["s3://x/1", 3], ["s3://x/2", 4]]), query_id="")

    assert data_files(run, "a.b") == DataFiles(uris=("s3://x/1", "s3://x/2"), rows=7)


def test_engines_are_those_of_the_lab_unless_named() -> None:
    assert _chosen_engines((), ("trino",)) == [Engine.TRINO, Engine.PYICEBERG, Engine.S3]
    assert _chosen_engines((), ("trino", "spark"))[-1] is Engine.SPARK
    assert _chosen_engines(("s3",), ("trino",)) == [Engine.S3]
    with pytest.raises(UsageError, match="did you mean 'pyiceberg'"):
        _chosen_engines(("pyicebrg",), ())


def test_each_engine_has_a_matrix_of_its_own() -> None:
    def check(engine: Engine, found: str) -> Check:
        return Check(engine=engine, persona="hr", table="a.b", subject="rows", expected="denied", found=found)

    result = Verification(checks=(check(Engine.TRINO, "denied"), check(Engine.S3, "7")))
    assert result.engines == (Engine.TRINO, Engine.S3)
    assert result.matrix() == {"a.b": {"hr": "denied"}}
    assert result.matrix(Engine.S3) == {"a.b": {"hr": "7!"}}
    text = matrix_text(result)
    assert "trino: rows, masks" in text
    assert "! s3: hr on a.b rows: expected denied, found 7" in text
