"""``hr``: made-up people. The sample users are among them and form a chain of supervisors."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from pyiceberg.types import DateType, DecimalType, ListType, LongType, StringType

from contracts.errors import LabError
from seed.model import DATA, Batch, SeedTable

EMAIL_DOMAIN = "lakehouse.example"
"""A reserved domain (RFC 2606): the addresses can reach nobody."""


def people_tables(rows: Mapping[str, int], folder: Path = DATA) -> tuple[SeedTable, ...]:
    """``rows`` declares the counts by table name; ``folder`` holds employees.csv and departments.csv."""
    employees = folder / "employees.csv"
    departments = folder / "departments.csv"
    return (
        SeedTable(
            name="hr.departments",
            comment="Departments",
            revision=1,
            columns={"department_id": LongType(), "name": StringType(), "region": StringType()},
            keys=("department_id",),
            sort=("department_id",),
            source={"content": _hash(departments)},
            batches=lambda: (Batch(rows=rows["hr.departments"], chunks=lambda: _departments(departments)),),
        ),
        SeedTable(
            name="hr.employees",
            comment="People, their salaries and everyone above them",
            revision=1,
            columns={
                "employee_id": LongType(),
                "username": StringType(),
                "first_name": StringType(),
                "last_name": StringType(),
                "email": StringType(),
                "phone": StringType(),
                "department_id": LongType(),
                "title": StringType(),
                "hire_date": DateType(),
                "salary": DecimalType(12, 2),
                "supervisor_id": LongType(),
                # Field ids of a list's elements come after those of the columns.
                "management_chain": ListType(
                    element_id=13, element_type=StringType(), element_required=False
                ),
            },
            keys=("employee_id",),
            sort=("employee_id",),
            # Everybody sees part of one file: its extremes, which statistics show, would be of all rows.
            properties={"write.metadata.metrics.default": "none"},
            source={"content": _hash(employees)},
            batches=lambda: (Batch(rows=rows["hr.employees"], chunks=lambda: _employees(employees)),),
        ),
    )


def management_chains(supervisors: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Username → that username and everyone above it, the nearest first.

    Args:
        supervisors: username → supervisor's username, None at the top.

    Raises:
        LabError: a supervisor is unknown, or somebody supervises themselves through others.
    """
    chains: dict[str, list[str]] = {}
    for username in supervisors:
        chain = [username]
        while (above := supervisors[chain[-1]]) is not None:
            if above not in supervisors:
                raise LabError(f"the supervisor of {chain[-1]!r} is not an employee", value=above)
            if above in chain:
                raise LabError(f"the supervisors of {username!r} form a circle", value=[*chain, above])
            chain.append(above)
        chains[username] = chain
    return chains


def _employees(path: Path) -> Iterator[pa.Table]:
    rows = sorted(_rows(path), key=lambda row: int(row["employee_id"]))
    names = {row["employee_id"]: row["username"] for row in rows}
    chains = management_chains(
        {row["username"]: names.get(row["supervisor_id"], row["supervisor_id"]) or None for row in rows}
    )
    yield pa.table(
        {
            "employee_id": pa.array([int(row["employee_id"]) for row in rows], pa.int64()),
            "username": pa.array([row["username"] for row in rows]),
            "first_name": pa.array([row["first_name"] for row in rows]),
            "last_name": pa.array([row["last_name"] for row in rows]),
            "email": pa.array([f"{row['username'].replace('_', '.')}@{EMAIL_DOMAIN}" for row in rows]),
            "phone": pa.array([row["phone"] for row in rows]),
            "department_id": pa.array([int(row["department_id"]) for row in rows], pa.int64()),
            "title": pa.array([row["title"] for row in rows]),
            "hire_date": pa.array([dt.date.fromisoformat(row["hire_date"]) for row in rows]),
            "salary": pa.array([Decimal(row["salary"]) for row in rows], pa.decimal128(12, 2)),
            "supervisor_id": pa.array(
                [int(row["supervisor_id"]) if row["supervisor_id"] else None for row in rows], pa.int64()
            ),
            "management_chain": pa.array([chains[row["username"]] for row in rows], pa.list_(pa.string())),
        }
    )


def _departments(path: Path) -> Iterator[pa.Table]:
    rows = sorted(_rows(path), key=lambda row: int(row["department_id"]))
    yield pa.table(
        {
            "department_id": pa.array([int(row["department_id"]) for row in rows], pa.int64()),
            "name": pa.array([row["name"] for row in rows]),
            "region": pa.array([row["region"] for row in rows]),
        }
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
