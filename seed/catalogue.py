"""Which tables the sample data has, and how people name parts of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from contracts.errors import unknown_name
from seed.events import events_table
from seed.model import DATA, SeedOptions, SeedTable
from seed.people import people_tables
from seed.retail import retail_tables

ALL = "all"


def seed_tables_for(options: SeedOptions, folder: Path = DATA) -> tuple[SeedTable, ...]:
    """Every table of the sample data. ``folder`` holds the seed files and expectations.yaml."""
    declared: dict[str, Any] = yaml.safe_load((folder / "expectations.yaml").read_text(encoding="utf-8"))
    return (
        *retail_tables(options, declared["lineitem_by_scale_factor"]),
        *people_tables(declared["tables"], folder),
        events_table(tuple(declared["snapshots"]["web.events"])),
    )


def select(tables: Sequence[SeedTable], names: Iterable[str]) -> tuple[SeedTable, ...]:
    """The tables meant by ``all``, a namespace (``retail``) or a table (``retail.orders``).

    Raises:
        UsageError: a name is none of these; the nearest is suggested.
    """
    known = {ALL, *(table.namespace for table in tables), *(table.name for table in tables)}
    wanted: set[str] = set()
    for name in names:
        if name not in known:
            raise unknown_name("sample data", name, known, next_command="lab seed --help")
        wanted.add(name)
    return tuple(table for table in tables if wanted & {ALL, table.namespace, table.name})
