"""How the columns of files fit those of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.exceptions import ResolveError
from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids, schema_to_pyarrow
from pyiceberg.schema import Schema, promote
from pyiceberg.table import Table, Transaction
from pyiceberg.types import (
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    PrimitiveType,
)

from contracts.errors import UsageError
from ingestion.inference import plain
from ingestion.loading import Format, Inspection


@dataclass(frozen=True, kw_only=True)
class Target:
    """The schema rows are brought to, and the table's columns that first grow to the given type."""

    schema: pa.Schema
    widened: dict[str, PrimitiveType] = field(default_factory=dict)

    def widen(self, transaction: Transaction) -> None:
        """Puts the wider types into the transaction, so that they come with the rows or not at all."""
        if self.widened:
            with transaction.update_schema() as update:
                for name, kind in self.widened.items():
                    update.update_column(name, field_type=kind)


def target_for(table: str, existing: Table | None, seen: Inspection) -> Target:
    """What rows must look like for ``table``: the files' own schema when it is new, else the table's.

    Text files take the table's types as they are: each value must fit. Parquet brings types of its
    own: a type the table's column can grow to without loss (int to long, float to double, a decimal of
    more digits) widens the column.

    Raises:
        UsageError: columns are missing, unknown, or of a type that does not fit; all are named.
    """
    if existing is None:
        return Target(schema=seen.schema)
    schema = existing.schema()
    names = [item.name for item in schema.fields]
    problems = check_columns(names, [column.name for column in seen.columns])
    if problems:
        raise UsageError(
            f"the columns of the files are not those of {table}: {problems}",
            permitted=", ".join(f"{item.name} {item.field_type}" for item in schema.fields),
            next_command="lab load … --replace does not change columns either: load into another table",
        )
    widened: dict[str, PrimitiveType] = {}
    misfits: list[str] = []
    if seen.files[0].format is Format.PARQUET:
        for column in seen.columns:
            _compare(schema, column.name, column.type, widened, misfits)
    if misfits:
        raise UsageError(f"types do not fit those of {table}: " + "; ".join(misfits))
    wide = schema_to_pyarrow(schema, include_field_ids=False)
    fields = []
    for item, iceberg in zip(wide, schema.fields, strict=True):
        kind = widened.get(item.name)
        arrow = plain(item.type if kind is None else schema_to_pyarrow(kind, include_field_ids=False))
        fields.append(pa.field(item.name, arrow, nullable=not iceberg.required))
    return Target(schema=pa.schema(fields), widened=widened)


def check_columns(expected: Sequence[str], found: Sequence[str]) -> str:
    """Says which names are missing and which are unknown; empty when both are the same."""
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    parts = []
    if missing:
        parts.append("missing " + ", ".join(missing))
    if unknown:
        parts.append("unknown " + ", ".join(unknown))
    return "; ".join(parts)


def _compare(
    schema: Schema, name: str, arrow: pa.DataType, widened: dict[str, PrimitiveType], misfits: list[str]
) -> None:
    has = schema.find_field(name).field_type
    brings = _iceberg(arrow)
    if brings is None or has == brings or _grows(brings, has):
        # Nested types are compared by the conversion itself, row by row.
        return
    if isinstance(brings, PrimitiveType) and isinstance(has, PrimitiveType) and _grows(has, brings):
        widened[name] = brings
        return
    misfits.append(f"{name} is {has} in the table and {brings} in the files")


def _grows(narrow: IcebergType, wide: IcebergType) -> bool:
    """Whether Iceberg widens one to the other: https://iceberg.apache.org/spec/#schema-evolution"""
    if not isinstance(narrow, (IntegerType, LongType, FloatType, DoubleType, DecimalType)):
        return False
    try:
        return promote(narrow, wide) == wide
    except ResolveError:
        return False


def _iceberg(arrow: pa.DataType) -> IcebergType | None:
    if arrow.num_fields:
        return None
    return _pyarrow_to_schema_without_ids(pa.schema([("column", arrow)])).fields[0].field_type
