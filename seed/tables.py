"""Brings the sample tables into the catalog, and leaves alone what people did since (DESIGN §8).

What a table's own metadata remembers decides, so that any run from anywhere converges:

- table property ``lab.seed-digest``: the digest of the last load that was *finished*;
- snapshot summary ``lab.seed-digest`` and ``seed.batch`` (``2/5``): which load wrote the snapshot.

A first load creates the table and commits its first snapshot in one request, so there is no table
without rows in between; only ``web.events``, one commit a snapshot, can stop half way and is resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    RESTError,
    TableAlreadyExistsError,
)
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.transforms import IdentityTransform
from requests import RequestException

from contracts.errors import LabError
from ingestion.commits import NotCommittedError, commit_files
from ingestion.loading import TABLE_PROPERTIES
from ingestion.writer import DataFileWriter
from seed.catalogue import ALL, seed_tables_for, select
from seed.connection import Connection, open_catalog
from seed.model import (
    NAMESPACES,
    Batch,
    SeedOptions,
    SeedReport,
    SeedTable,
    Status,
    TableResult,
)

DIGEST_PROPERTY = "lab.seed-digest"
BATCH_PROPERTY = "seed.batch"
PARALLEL_TABLES = 2

Progress = Callable[[str, TableResult], None]


def seed_tables(
    connection: Connection,
    options: SeedOptions,
    what: Sequence[str] = (ALL,),
    reset: Sequence[str] = (),
    progress: Progress | None = None,
) -> SeedReport:
    """Converges the sample tables in the catalog at ``connection``; see :func:`converge`.

    Raises:
        LabError: also when the catalog goes away meanwhile; the next run continues.
    """
    try:
        return converge(lambda: open_catalog(connection), seed_tables_for(options), what, reset, progress)
    except (RequestException, RESTError) as error:
        raise LabError(
            f"the catalog went away while sample tables were loaded: {error}",
            value=connection.catalog_uri,
            permitted="each table is whole or absent; the next run loads what is missing",
            next_command="lab doctor --fix, then lab seed",
        ) from error


def converge(
    open_one: Callable[[], Catalog],
    tables: Sequence[SeedTable],
    what: Sequence[str] = (ALL,),
    reset: Sequence[str] = (),
    progress: Progress | None = None,
) -> SeedReport:
    """Makes the tables named by ``what`` exist with their rows.

    Args:
        open_one: gives a catalog; called once, and once more for each further thread.
        tables: all there are.
        what: ``all``, namespaces or tables to converge.
        reset: those to load anew although people changed them; their history stays.
        progress: called after each table, from any thread.

    Raises:
        UsageError: ``what`` or ``reset`` names nothing known.
        LabError: a count differs from the declared one, or a generator failed.
    """
    started_s = time.monotonic()
    restored = {table.name for table in select(tables, reset)}
    wanted = [table for table in tables if table in select(tables, what) or table.name in restored]
    first = open_one()
    ensure_namespaces(first)
    free = [first]

    def one(table: SeedTable) -> TableResult:
        catalog = free.pop() if free else open_one()  # a catalog's HTTP session serves one thread at a time
        try:
            result = _converge_table(catalog, table, table.name in restored)
        finally:
            free.append(catalog)
        if progress is not None:
            progress(table.name, result)
        return result

    # The largest first, so that the second thread is not left waiting for it at the end.
    order = sorted(wanted, key=lambda table: table.name != "retail.lineitem")
    with ThreadPoolExecutor(PARALLEL_TABLES, thread_name_prefix="seed") as pool:
        done = dict(zip((table.name for table in order), pool.map(one, order), strict=True))
    return SeedReport(
        tables={table.name: done[table.name] for table in wanted}, seconds=time.monotonic() - started_s
    )


def ensure_namespaces(catalog: Catalog, names: Iterable[str] = tuple(NAMESPACES)) -> None:
    """Creates the namespaces that are not there."""
    present = {".".join(name) for name in catalog.list_namespaces()}
    for name in names:
        if name not in present:
            try:
                catalog.create_namespace(name, {"comment": NAMESPACES.get(name, "")})
            except NamespaceAlreadyExistsError:
                continue


def _converge_table(catalog: Catalog, table: SeedTable, reset: bool) -> TableResult:
    try:
        return _attempt(catalog, table, reset)
    except (TableAlreadyExistsError, CommitFailedException, NotCommittedError):
        # Somebody else seeded or wrote at the same moment, or the catalog was away: look again, once.
        return _attempt(catalog, table, reset)


def _attempt(catalog: Catalog, table: SeedTable, reset: bool) -> TableResult:
    digest = table.digest()
    try:
        existing = catalog.load_table(table.name)
    except NoSuchTableError:
        return _load(catalog, table, None, Status.CREATED)
    loaded = existing.properties.get(DIGEST_PROPERTY)
    current = existing.current_snapshot()
    if reset:
        return _load(catalog, table, existing, Status.RESET)
    if current is None:
        return _load(catalog, table, existing, Status.REPAIRED)
    if loaded == digest:
        return _result(existing, Status.UNCHANGED, digest)
    seeded = _seeded_snapshot(existing, current)
    if seeded is None:
        return _result(existing, Status.KEPT_EDITED, loaded or "", _edited_notice(table, loaded))
    if _summary(seeded, DIGEST_PROPERTY) == digest:
        return _load(catalog, table, existing, Status.REPAIRED, resume_after=_batch_number(seeded))
    return _load(catalog, table, existing, Status.UPDATED)


def _edited_notice(table: SeedTable, loaded: str | None) -> str:
    why = "was changed since it was seeded" if loaded else "was not made by the seeds"
    return (
        f"{table.name} {why} and its sample data is another now; it is left as it is. "
        f"To load the new sample data: lab seed --reset {table.name}"
    )


def _seeded_snapshot(table: Table, current: Snapshot) -> Snapshot | None:
    """The seed's snapshot the table still shows, None when people wrote since. Compaction
    (``replace``) moves rows to other files and changes none."""
    snapshot: Snapshot | None = current
    while snapshot is not None:
        if _summary(snapshot, DIGEST_PROPERTY) is not None:
            return snapshot
        if snapshot.summary is None or snapshot.summary.operation != Operation.REPLACE:
            return None
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else table.snapshot_by_id(parent)
    return None


def _load(
    catalog: Catalog, table: SeedTable, existing: Table | None, status: Status, resume_after: int = 0
) -> TableResult:
    batches = table.batches()
    replaces = existing is not None and existing.current_snapshot() is not None and resume_after == 0
    before = 0 if existing is None or replaces else _total_rows(existing) or 0
    for number, batch in enumerate(batches, start=1):
        if number <= resume_after:
            continue
        # The digest is set with the last snapshot; when a table is made, with its first properties,
        # since Nessie takes no second set-properties update in the request.
        finished = {DIGEST_PROPERTY: table.digest()} if number == len(batches) else {}
        creates = existing is None
        transaction = _begin(catalog, table, finished) if existing is None else _alter(existing, table)
        written = _write_batch(
            transaction,
            table,
            batch,
            label=f"{number}/{len(batches)}",
            replaces=replaces and number == 1,
            table_properties={} if creates else {**finished, **(table.properties if finished else {})},
        )
        existing = catalog.load_table(table.name)
        before += written
        _verify(existing, table, before)
    assert existing is not None  # noqa: S101  # every table has at least one batch
    return _result(existing, status, table.digest())


def _begin(catalog: Catalog, table: SeedTable, properties: Mapping[str, str]) -> Transaction:
    return catalog.create_table_transaction(
        table.name,
        schema=table.schema(),
        partition_spec=table.partition_spec(),
        sort_order=table.sort_order(),
        properties={**TABLE_PROPERTIES, **table.properties, "comment": table.comment, **properties},
    )


def _alter(existing: Table, table: SeedTable) -> Transaction:
    """Brings columns, partitioning and sort order to what is declared, with the rows that follow. A column
    that is added to a table with snapshots is never a required one: those have no value for it."""
    transaction = existing.transaction()
    schema = table.schema()
    known = set(existing.schema().column_names)
    if not set(table.columns) <= known:
        optional = [f if f.name in known else f.model_copy(update={"required": False}) for f in schema.fields]
        with transaction.update_schema() as update:
            update.union_by_name(Schema(*optional))
    fields = {f.name: f for f in existing.spec().fields}
    declared = {f.name: f for f in table.partition_spec().fields}
    if set(fields) != set(declared):
        with transaction.update_spec() as spec:
            for name in set(fields) - set(declared):
                spec.remove_field(name)
            for name, added in declared.items():
                if name not in fields:
                    spec.add_field(schema.find_field(added.source_id).name, added.transform, name)
    if _sorted_by(existing) != table.sort:
        with transaction.update_sort_order() as order:
            for column in table.sort:
                order.asc(column, IdentityTransform())
    return transaction


def _sorted_by(table: Table) -> tuple[str | None, ...]:
    return tuple(table.schema().find_column_name(field.source_id) for field in table.sort_order().fields)


def _write_batch(
    transaction: Transaction,
    table: SeedTable,
    batch: Batch,
    *,
    label: str,
    replaces: bool,
    table_properties: Mapping[str, str],
) -> int:
    """Writes and commits one snapshot; returns its rows. Nothing is left behind when it fails."""
    writer = DataFileWriter(transaction.table_metadata, transaction._table.io, is_sorted=True)
    with commit_files(
        transaction,
        writer,
        replaces=replaces,
        snapshot_properties={DIGEST_PROPERTY: table.digest(), BATCH_PROPERTY: label, **batch.properties},
        table_properties=table_properties,
    ):
        for chunk in batch.chunks():
            writer.write(chunk)
        if batch.rows is not None and writer.rows != batch.rows:
            raise LabError(
                f"{table.name}: the generator gave {writer.rows} rows, {batch.rows} are declared; "
                "nothing was committed",
                next_command="lab doctor",
            )
    return writer.rows


def _verify(table: Table, seed: SeedTable, expected: int) -> None:
    total = _total_rows(table)
    if total != expected:
        raise LabError(
            f"{seed.name} holds {total} rows after loading, {expected} were written",
            next_command=f"lab seed --reset {seed.name}",
        )


def _result(table: Table, status: Status, digest: str, notice: str = "") -> TableResult:
    current = table.current_snapshot()
    return TableResult(
        status=status,
        rows=_total_rows(table),
        snapshot_id=None if current is None else current.snapshot_id,
        digest=digest,
        notice=notice,
    )


def _total_rows(table: Table) -> int | None:
    """The current snapshot's rows by its summary (rows deleted by position files still count)."""
    current = table.current_snapshot()
    if current is None:
        return 0
    total = _summary(current, "total-records")
    return None if total is None else int(total)


def _summary(snapshot: Snapshot, key: str) -> str | None:
    return None if snapshot.summary is None else snapshot.summary.additional_properties.get(key)


def _batch_number(snapshot: Snapshot) -> int:
    return int((_summary(snapshot, BATCH_PROPERTY) or "0").partition("/")[0])
