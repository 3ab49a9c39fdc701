"""``web.events``: made-up clicks, one snapshot a month, the same on every machine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import partial
from random import Random

import pyarrow as pa
from pyiceberg.types import LongType, StringType, TimestamptzType

from seed.model import Batch, SeedTable

_PLACES: tuple[tuple[str, str], ...] = (
    ("DE", "EMEA"), ("FR", "EMEA"), ("GB", "EMEA"), ("ZA", "EMEA"), ("AE", "EMEA"),
    ("US", "AMER"), ("BR", "AMER"), ("CA", "AMER"), ("MX", "AMER"),
    ("JP", "APAC"), ("IN", "APAC"), ("AU", "APAC"),
)  # fmt: skip
_TYPES = ("view", "view", "view", "view", "search", "search", "cart", "purchase")
_PAGES = ("/", "/search", "/parts", "/parts/offers", "/cart", "/checkout", "/help")
_CUSTOMERS = 1500
"""Keys 1 to 1500 are customers of retail.customer from scale factor 0.01 on."""

_YEAR = 2026


def events_table(batch_rows: tuple[int, ...]) -> SeedTable:
    """``batch_rows`` declares the rows of each month's snapshot, January first."""
    return SeedTable(
        name="web.events",
        comment="Clicks of customers, one snapshot a month",
        revision=1,
        columns={
            "event_id": LongType(),
            "event_time": TimestamptzType(),
            "customer_key": LongType(),
            "email": StringType(),
            "event_type": StringType(),
            "url": StringType(),
            "country": StringType(),
            "region": StringType(),
            "duration_ms": LongType(),
        },
        keys=("event_id",),
        required=("region",),
        # By region, too: who sees one region's rows opens no file with others'.
        partition={"region": "identity", "event_time": "month"},
        sort=("event_time", "event_id"),
        source={"batches": ",".join(str(rows) for rows in batch_rows)},
        batches=lambda: tuple(
            Batch(rows=rows, chunks=partial(_month, month, rows, sum(batch_rows[: month - 1])))
            for month, rows in enumerate(batch_rows, start=1)
        ),
    )


def _month(month: int, rows: int, first_id: int) -> Iterator[pa.Table]:
    # Only Random.random() is promised to give the same numbers in every version of Python.
    draw = Random(_YEAR * 100 + month).random  # noqa: S311  # sample data, not a secret
    start = dt.datetime(_YEAR, month, 1, tzinfo=dt.UTC)
    end = dt.datetime(_YEAR, month + 1, 1, tzinfo=dt.UTC)
    span_us = int((end - start).total_seconds()) * 1_000_000
    times = sorted(int(draw() * span_us) for _ in range(rows))
    customers = [1 + int(draw() ** 2 * _CUSTOMERS) for _ in range(rows)]
    places = [_PLACES[customer % len(_PLACES)] for customer in customers]
    start_us = int(start.timestamp()) * 1_000_000
    yield pa.table(
        {
            "event_id": pa.array(range(first_id + 1, first_id + rows + 1), pa.int64()),
            "event_time": pa.array([start_us + time for time in times], pa.timestamp("us", "UTC")),
            "customer_key": pa.array(customers, pa.int64()),
            "email": pa.array([f"customer.{customer:06d}@lakehouse.example" for customer in customers]),
            "event_type": pa.array([_TYPES[int(draw() * len(_TYPES))] for _ in range(rows)]),
            "url": pa.array([_PAGES[int(draw() * len(_PAGES))] for _ in range(rows)]),
            "country": pa.array([country for country, _ in places]),
            "region": pa.array([region for _, region in places]),
            "duration_ms": pa.array([40 + int(draw() ** 4 * 60_000) for _ in range(rows)], pa.int64()),
        }
    )
