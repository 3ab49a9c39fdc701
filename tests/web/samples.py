"""What the fake console tells: the sample tables, people and access data of a lab."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from contracts.access import AccessData
from contracts.identity import GROUPS, PERSONAS, Persona
from control_plane.api.schemas.common import Column, ColumnKind
from control_plane.api.schemas.identity import Permission

CATALOG = "lake"
NOW = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
NASTY = '<img src=x onerror="window.hacked=1">'
"""A name and a value that would run a script if any page took them for markup."""

_POLICIES = Path(__file__).parents[2] / "policies" / "data"

TABLES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "hr": {
        "departments": {"id": "bigint", "name": "varchar"},
        "employees": {
            **{"id": "bigint", "name": "varchar", "department": "varchar", "email": "varchar"},
            **{"salary": "decimal(12,2)", "hired": "date", "management_chain": "array(varchar)"},
        },
    },
    "retail": {
        "customer": {
            **{"c_custkey": "varchar", "c_name": "varchar", "c_nationkey": "bigint", "c_phone": "varchar"},
            **{"c_acctbal": "decimal(12,2)", "c_mktsegment": "varchar"},
        },
        "lineitem": {"l_orderkey": "bigint", "l_quantity": "decimal(12,2)", "l_shipdate": "date"},
        "nation": {"n_nationkey": "bigint", "n_name": "varchar", "n_regionkey": "bigint"},
        "orders": {
            **{"o_orderkey": "bigint", "o_custkey": "varchar", "o_totalprice": "decimal(12,2)"},
            **{"o_orderdate": "date", "o_orderpriority": "varchar"},
        },
        "region": {"r_regionkey": "bigint", "r_name": "varchar"},
        NASTY: {NASTY: "varchar"},
    },
    "web": {
        "events": {
            **{"event_id": "bigint", "at": "timestamp(6) with time zone", "region": "varchar"},
            **{"email": "varchar", "payload": "json", "duration_ms": "double"},
        },
    },
}
"""Namespace → table → column → Trino's type, as an analyst sees them."""

_GROUP_PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "lab_admins": tuple(Permission),
    "data_stewards": (Permission.READ_ACCESS, Permission.EDIT_RULES, Permission.BREAK_GLASS),
    "auditors": (Permission.READ_ACCESS, Permission.READ_AUDIT),
}


def persona(username: str) -> Persona | None:
    """The sample user of that name."""
    return next((one for one in PERSONAS if one.username == username), None)


def permissions(groups: tuple[str, ...]) -> list[Permission]:
    """What the governor permits members of these groups."""
    return [one for one in Permission if any(one in _GROUP_PERMISSIONS.get(group, ()) for group in groups)]


def members(group: str) -> list[str]:
    """The sample users in a group."""
    return [one.username for one in PERSONAS if group in one.groups]


def groups() -> Iterator[tuple[str, str]]:
    """Names and descriptions of all groups."""
    return ((group.name, group.description) for group in GROUPS)


@cache
def access_document() -> dict[str, Any]:
    """The lab's own seed of access data."""
    document: dict[str, Any] = {}
    for path in sorted(_POLICIES.glob("*.yaml")):
        document |= yaml.safe_load(path.read_text(encoding="utf-8"))
    return AccessData.from_document(document).as_document()


_KINDS = {
    **{"bigint": ColumnKind.NUMBER, "double": ColumnKind.NUMBER, "decimal(12,2)": ColumnKind.NUMBER},
    **{"date": ColumnKind.DATE, "timestamp(6) with time zone": ColumnKind.TIMESTAMP, "json": ColumnKind.JSON},
    **{"array(varchar)": ColumnKind.ARRAY, "boolean": ColumnKind.BOOLEAN},
}


def columns(types: Mapping[str, str]) -> list[Column]:
    """Columns of a result."""
    return [
        Column(
            name=name,
            type=kind,
            kind=ColumnKind.ROW if kind.startswith("row(") else _KINDS.get(kind, ColumnKind.TEXT),
        )
        for name, kind in types.items()
    ]


_SEGMENTS = ("AUTOMOBILE", "BUILDING", "FURNITURE", "HOUSEHOLD", "MACHINERY")
_REGIONS = ("AMER", "APAC", "EMEA")
_PRIORITIES = ("1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW")


def value(name: str, kind: str, number: int) -> Any:
    """A value of row ``number``, the same whenever it is asked for."""
    chance = random.Random(f"{name} {number}")
    if name == NASTY:
        return NASTY
    if name == "c_mktsegment":
        return chance.choice(_SEGMENTS)
    if name == "region":
        return chance.choice(_REGIONS)
    if name == "o_orderpriority":
        return chance.choice(_PRIORITIES)
    if name in ("c_name", "c_custkey", "o_custkey"):
        return f"{chance.getrandbits(128):032x}"
    if name == "c_phone":
        return f"***{chance.randrange(10_000):04}"
    if kind == "bigint":
        return number if name.endswith(("key", "id")) else chance.randrange(10_000)
    if kind == "decimal(12,2)":
        return f"{chance.uniform(-900, 12_000):.2f}"
    if kind == "double":
        return round(chance.uniform(1, 900), 3)
    if kind == "date":
        return (NOW - timedelta(days=chance.randrange(2000))).date().isoformat()
    if kind.startswith("timestamp"):
        return (NOW - timedelta(seconds=97 * number)).strftime("%Y-%m-%d %H:%M:%S.000000 UTC")
    if kind == "json":
        return '{"page":"/cart","items":[{"sku":"A-17","count":2}]}'
    if kind.startswith("array"):
        return ["admin", "engineer"]
    return None if number % 17 == 5 else f"{name} {number}"


def row(types: Mapping[str, str], number: int) -> list[Any]:
    """Row ``number`` of a table."""
    return [value(name, kind, number) for name, kind in types.items()]


SUMMARY_COLUMNS = {"region": "varchar", "month": "date", "revenue": "decimal(12,2)", "orders": "bigint"}


def summary_rows() -> list[list[Any]]:
    """Revenue by region and month: something to draw."""
    chance = random.Random(7)
    rows: list[list[Any]] = []
    for region, base in zip(_REGIONS, (410, 260, 530), strict=True):
        for month in range(12):
            amount = (base + month * 14 + chance.uniform(-60, 60)) * 1000
            rows.append([region, f"2025-{month + 1:02}-01", f"{amount:.2f}", int(amount // 900)])
    return rows
