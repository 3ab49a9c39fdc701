"""Values, types, spools and settings of the console, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import UsageError
from control_plane.api.identity.sealing import Sealer, UnsealError
from control_plane.api.queries.arrow import arrow_type
from control_plane.api.queries.columns import column, safe_rows
from control_plane.api.queries.spool import ResultFullError, Spool
from control_plane.api.schemas.common import ColumnKind, Parameter
from control_plane.api.settings import read_settings
from control_plane.api.version import VERSION
from governance.parameters import ParameterType, literal, render

ENVIRONMENT = {
    "CONSOLE_LAB": "lab",
    "CONSOLE_PORT": "28010",
    "CONSOLE_PUBLIC_URL": "http://127.0.0.1:28010",
    "CONSOLE_DATABASE_URL": "postgresql://console@127.0.0.1/console",
    "CONSOLE_ENCRYPTION_KEY": "k" * 44,
    "CONSOLE_ISSUER_URL": "http://127.0.0.1:28001/realms/lab",
    "CONSOLE_REALM_URL": "http://127.0.0.1:28001/realms/lab",
    "CONSOLE_CLIENT_SECRET": "s",
    "CONSOLE_CATALOG_KIND": "nessie",
    "CONSOLE_SPOOL_DIR": "/tmp/spool",
}


def test_version_is_the_projects() -> None:
    assert f'version = "{VERSION}"' in Path("pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "127.0.0.1:28010"),
        ("PUBLIC_URL", "http://127.0.0.1/console"),
        ("PORT", "x"),
        ("ENCRYPTION_KEY", "short"),
        ("TRINO_URL", "trino:8443"),
        ("SPOOL_MIB", "0"),
        ("DATABASE_URL", "mysql://x"),
        ("COMPONENTS_FILE", "/nowhere"),
        ("LAB", ""),
    ],
)
def test_settings_that_are_wrong_are_named(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"CONSOLE_{name}"):
        read_settings({**ENVIRONMENT, f"CONSOLE_{name}": value})


def test_settings_hide_secrets_and_take_components(tmp_path: Path) -> None:
    (tmp_path / "components.json").write_text('[{"name": "trino", "title": "Trino", "statuses": [200, 401]}]')
    settings = read_settings({**ENVIRONMENT, "CONSOLE_COMPONENTS_FILE": str(tmp_path / "components.json")})
    assert settings.components[0].statuses == (200, 401)
    assert settings.hosts == {"127.0.0.1:28010"}
    assert "k" * 44 not in repr(settings)
    assert "console@" not in repr(settings)


def test_sealed_text_is_bound_to_its_place() -> None:
    sealer = Sealer("k" * 44, "sessions")
    sealed = sealer.seal(b"token", "row 1")
    assert sealer.unseal(sealed, "row 1") == b"token"
    assert sealed != sealer.seal(b"token", "row 1")
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for wrong, place in ((sealed, "row 2"), (changed, "row 1"), (b"", "row 1")):
        with pytest.raises(UnsealError):
            sealer.unseal(wrong, place)
    with pytest.raises(UnsealError):
        Sealer("k" * 44, "jobs").unseal(sealed, "row 1")
    assert sealer.is_mac(sealer.mac("x"), "x")
    assert not sealer.is_mac(sealer.mac("x"), "y")
    assert not sealer.is_mac("\u00e9", "x")
    assert not sealer.is_mac(None, "x")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("varchar", "a'b", "'a''b'"),
        ("varchar", 5, "'5'"),
        ("varchar", None, "CAST(NULL AS varchar)"),
        ("bigint", -(2**63), f"BIGINT '{-(2**63)}'"),
        ("bigint", [], "CAST(NULL AS bigint)"),
        ("double", 1e300, "DOUBLE '1e+300'"),
        ("decimal", "12.50", "DECIMAL '12.50'"),
        ("boolean", "True", "TRUE"),
        ("date", "2026-01-31", "DATE '2026-01-31'"),
        ("timestamp", "2026-01-31T17:00", "TIMESTAMP '2026-01-31 17:00:00.000000'"),
        (
            "timestamp with time zone",
            "2026-01-31T17:00-03:30",
            "TIMESTAMP '2026-01-31 17:00:00.000000 -03:30'",
        ),
    ],
)
def test_literals(kind: str, value: Any, expected: str) -> None:
    assert literal(Parameter(name="p", type=ParameterType(kind), value=value)) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bigint", 2**63),
        ("bigint", "1; DROP"),
        ("bigint", True),
        ("bigint", 1.5),
        ("bigint", "\u0661"),
        ("double", "x"),
        ("double", "nan"),
        ("decimal", "1e5"),
        ("boolean", "yes"),
        ("date", "2026-13-01"),
        ("timestamp", "2026-01-31T17:00Z"),
        ("timestamp with time zone", "2026-01-31T17:00"),
    ],
)
def test_values_of_another_type_are_refused(kind: str, value: Any) -> None:
    with pytest.raises(UsageError, match=":p is not of type"):
        literal(Parameter(name="p", type=ParameterType(kind), value=value))


@given(st.text(max_size=40))
def test_no_text_leaves_its_literal(value: str) -> None:
    """Trino's only escape in a literal is the doubled quote."""
    rendered = render("SELECT :p", [Parameter(name="p", value=value)]).text
    inner = rendered.removeprefix("SELECT '").removesuffix("'")
    assert "'" not in inner.replace("''", "")
    assert inner.replace("''", "'") == value


@given(
    st.lists(st.sampled_from(["a", "\n", " ", ":p ", "':p'", "--:p\n", "b"]), max_size=20),
    st.text(alphabet="xy'", max_size=8),
)
def test_positions_lead_back_to_what_was_given(parts: list[str], value: str) -> None:
    statement = "".join(parts) + "END"
    rendered = render(statement, [Parameter(name="p", value=value)]).with_prefix("EXPLAIN ")
    at = rendered.text.rindex("END")
    before = rendered.text[:at]
    line, col = before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1
    found_line, found_column = rendered.position(line, col)
    lines = statement.split("\n")
    assert found_line == len(lines)
    assert found_column == lines[-1].rindex("END") + 1


@pytest.mark.parametrize(
    ("trino_type", "kind", "arrow"),
    [
        ("bigint", ColumnKind.NUMBER, "int64"),
        ("decimal(38,10)", ColumnKind.NUMBER, "decimal128(38, 10)"),
        ("varchar", ColumnKind.TEXT, "string"),
        ("char(3)", ColumnKind.TEXT, "string"),
        ("timestamp(9)", ColumnKind.TIMESTAMP, "timestamp[ns]"),
        ("timestamp(3) with time zone", ColumnKind.TIMESTAMP, "timestamp[us, tz=UTC]"),
        ("time(6)", ColumnKind.TIME, "time64[us]"),
        ("interval year to month", ColumnKind.INTERVAL, "string"),
        ("array(array(integer))", ColumnKind.ARRAY, "list<item: list<item: int32>>"),
        ("map(varchar(5), decimal(5,2))", ColumnKind.MAP, "map<string, decimal128(5, 2)>"),
        ("row(a integer, double precision)", ColumnKind.ROW, None),
        ('row("a ""b" varchar)', ColumnKind.ROW, 'struct<a "b: string>'),
        ("HyperLogLog", ColumnKind.OTHER, "string"),
        ("unknown", ColumnKind.OTHER, "string"),
        ("json", ColumnKind.JSON, "string"),
        ("uuid", ColumnKind.TEXT, "string"),
    ],
)
def test_types(trino_type: str, kind: ColumnKind, arrow: str | None) -> None:
    assert column("c", trino_type).kind is kind
    if arrow is not None:
        assert str(arrow_type(trino_type)[0]) == arrow


def test_numbers_that_javascript_would_change_are_text() -> None:
    columns = [column("a", "bigint"), column("b", "map(varchar, array(bigint))"), column("c", "double")]
    rows: list[list[Any]] = [[1, {"k": [2**60, 1]}, 1.5], [None, None, None]]
    safe_rows(columns)(rows)
    assert rows == [[1, {"k": [str(2**60), 1]}, 1.5], [None, None, None]]
    rows = [[2**53], [5], [None], [-(2**53) + 1]]
    safe_rows(columns[:1])(rows)
    assert rows == [[str(2**53)], [5], [None], [-(2**53) + 1]]


def test_spool_makes_room_by_what_was_unused_longest(tmp_path: Path) -> None:
    gone: list[UUID] = []
    (tmp_path / "left.rows").write_bytes(b"of an earlier process")
    spool = Spool(tmp_path, limit_bytes=100, result_bytes=60, evicted=gone.append)
    assert list(tmp_path.iterdir()) == []
    ids = [uuid4() for _ in range(3)]
    for query_id in ids[:2]:
        result = spool.create(query_id)
        spool.append(result, b"[[1],[2]]" + b" " * 31, 2)
        result.close()
    first = spool.get(ids[0])
    assert first is not None
    assert first.read(0, 10) == [[1], [2]]
    assert [file.stat().st_mode & 0o777 for file in tmp_path.iterdir()] == [0o600, 0o600]
    third = spool.create(ids[2])
    spool.append(third, b"[[3]]" + b" " * 35, 1)
    assert gone == [ids[1]], "the first was read last"
    with pytest.raises(ResultFullError, match="a result may have"):
        spool.append(third, b" " * 21, 1)
    spool.append(third, b"[]" + b" " * 18, 0)
    assert spool.size_bytes == 100
    fourth = spool.create(uuid4())
    spool.append(fourth, b" " * 40, 1)
    assert gone == [ids[1], ids[0]]
    with pytest.raises(ResultFullError, match="all results together"):
        spool.append(fourth, b" ", 1)
    assert orjson.loads(third.block(0)[2]) == [[3]]
    spool.clear()
    assert list(tmp_path.iterdir()) == []
