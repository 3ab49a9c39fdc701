"""``lab load``: files become rows of one table, in one snapshot, or nothing changes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.table import Table, Transaction

from contracts.errors import LabError, UsageError, nearest
from ingestion.columnar import ParquetFile
from ingestion.commits import Commit, commit_files
from ingestion.delimited import DelimitedFile
from ingestion.inference import combine, infer_json, infer_text, override
from ingestion.jsonlines import JsonLinesFile
from ingestion.loading import (
    TABLE_PROPERTIES,
    BadRowsError,
    Column,
    Format,
    InputFile,
    Inspection,
    LoadOptions,
    LoadProgress,
    LoadResult,
    Mode,
    OnProgress,
    Parsed,
    file_error,
    normalised,
)
from ingestion.schemas import Target, check_columns, target_for
from ingestion.sources import recognise
from ingestion.writer import DataFileWriter

RAW = "raw"
_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


def inspect(files: Sequence[Path], options: LoadOptions | None = None) -> Inspection:
    """Recognises the files and infers one schema for all of them from a bounded sample.

    Raises:
        UsageError: a file is missing, empty, damaged or of no known format; the files have different
            columns; a type or column of ``options`` is unknown.
    """
    chosen = options or LoadOptions()
    if not files:
        raise UsageError("no file is given", permitted="one or more files", next_command="lab load --help")
    sources = tuple(recognise(Path(path), chosen) for path in files)
    inspected = [_columns(source, chosen) for source in sources]
    for source, (columns, _) in zip(sources[1:], inspected[1:], strict=True):
        _same_names(sources[0], inspected[0][0], source, columns)
    merged = _merged([column for columns, _ in inspected for column in columns])
    return Inspection(
        files=sources,
        columns=tuple(override(merged, chosen.types)),
        sampled_rows=sum(rows for _, rows in inspected),
    )


def load(
    files: Sequence[Path],
    table: str,
    *,
    catalog: Catalog,
    mode: Mode = Mode.CREATE,
    options: LoadOptions | None = None,
    reject: Path | None = None,
    progress: OnProgress | None = None,
    inspection: Inspection | None = None,
) -> LoadResult:
    """Loads ``files`` into ``table`` (``namespace.table``) as one snapshot.

    Args:
        mode: create refuses a table that exists, append one that does not; replace puts the rows in
            the place of all others (their history stays) or creates the table.
        reject: a file to keep bad rows in, as JSON lines with file, line, column, value, reason and the
            row as it stands; without it one bad row stops the load.
        inspection: what :func:`inspect` said of the same files, to spare the second look.

    Raises:
        UsageError: a file, an option or the table's name is wrong, or the columns don't fit the table.
        BadRowsError: a row can't be loaded and ``reject`` is not given.
        LabError: the table was changed or created by somebody else at the same moment, or the catalog or
            the object store went away.

    Whatever is raised, nothing was committed; CommitUnknownError alone says that this is not known. Data
    files stay behind only where the commit itself got no answer or was interrupted.
    """
    chosen = options or LoadOptions()
    started_s = time.monotonic()
    seen = inspection or inspect(files, chosen)
    existing = _existing(catalog, table, mode)
    target = target_for(table, existing, seen)
    if existing is None:
        transaction = _create(catalog, table, target)
    else:
        transaction = existing.transaction()
        target.widen(transaction)
    replaces = existing is not None and mode is Mode.REPLACE and existing.current_snapshot() is not None
    writer = DataFileWriter(transaction.table_metadata, transaction._table.io)
    try:
        with (
            ExitStack() as stack,
            commit_files(
                transaction,
                writer,
                replaces=replaces,
                snapshot_properties={"lab.loaded-files": str(len(seen.files))},
            ) as commit,
        ):
            aside = None if reject is None else stack.enter_context(reject.open("w", encoding="ascii"))
            rejected = _copy(seen, target, chosen, writer, aside, progress)
    except (TableAlreadyExistsError, CommitFailedException) as error:
        raise LabError(
            f"{table} was changed by somebody else during the load; nothing was committed: {error}",
            next_command="lab load again",
        ) from error
    return LoadResult(
        table=table,
        rows=writer.rows,
        rejected=rejected,
        snapshot_id=_snapshot_id(commit),
        files=commit.files,
        bytes=writer.bytes_written,
        seconds=time.monotonic() - started_s,
        renamed=seen.renamed,
        widened=tuple(target.widened),
    )


def _snapshot_id(commit: Commit) -> int | None:
    snapshot = None if commit.table is None else commit.table.current_snapshot()
    return None if snapshot is None else snapshot.snapshot_id


def _copy(
    seen: Inspection,
    target: Target,
    options: LoadOptions,
    writer: DataFileWriter,
    aside: IO[str] | None,
    progress: OnProgress | None,
) -> int:
    """Parses in this thread and writes in another, one stretch ahead; returns the rows kept aside."""
    total = sum(source.path.stat().st_size for source in seen.files)
    before = rows = rejected = 0
    pending: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="load") as pool:
        for source in seen.files:
            for parsed, position in parsed_rows(source, seen, target.schema, options):
                if parsed.bad:
                    if aside is None:
                        raise BadRowsError(parsed.bad)
                    aside.writelines(row.as_json() + "\n" for row in parsed.bad)
                    rejected += len(parsed.bad)
                if pending is not None:
                    pending.result()
                pending = pool.submit(writer.write, parsed.table)
                rows += parsed.table.num_rows
                if progress is not None:
                    progress(
                        LoadProgress(
                            rows=rows, rejected=rejected, bytes_read=before + position, bytes_total=total
                        )
                    )
            before += source.path.stat().st_size
        if pending is not None:
            pending.result()
    return rejected


def parsed_rows(
    source: InputFile, seen: Inspection, schema: pa.Schema, options: LoadOptions
) -> Iterator[tuple[Parsed, int]]:
    """One file's rows in ``schema``, a stretch at a time, with the position on disk after each."""
    if source.format is Format.PARQUET:
        parquet = ParquetFile(source)
        return parquet.parsed(normalised(parquet.names), schema)
    if source.format is Format.JSONL:
        return JsonLinesFile(source).parsed({c.source: c.name for c in seen.columns}, schema)
    delimited = DelimitedFile(source, options)
    return delimited.parsed(normalised(delimited.names), schema)


def _merged(columns: list[Column]) -> list[Column]:
    """One column for each name, of a type that takes what every file has."""
    by_name: dict[str, list[Column]] = {}
    for column in columns:
        by_name.setdefault(column.name, []).append(column)
    merged = []
    for name, found in by_name.items():
        kind, note = (
            combine([(c.type, c.note) for c in found]) if len(found) > 1 else (found[0].type, found[0].note)
        )
        merged.append(Column(name=name, source=found[0].source, type=kind, note=note))
    return merged


def _columns(source: InputFile, options: LoadOptions) -> tuple[list[Column], int]:
    """The columns of one file, and how many rows their types rest on."""
    if source.format is Format.PARQUET:
        parquet = ParquetFile(source)
        kinds = [(kind, "") for kind in parquet.types]
        return _named(parquet.names, kinds), parquet.rows
    if source.format is Format.JSONL:
        values, rows = JsonLinesFile(source).sample(options.sample_rows)
        if options.all_text:
            return _named(list(values), [(pa.string(), "")] * len(values)), rows
        return _named(list(values), [infer_json(found) for found in values.values()]), rows
    delimited = DelimitedFile(source, options)
    names = normalised(delimited.names)
    sample = delimited.sample(names, 1 if options.all_text else options.sample_rows)
    if options.all_text:
        return _named(delimited.names, [(pa.string(), "")] * len(names)), sample.num_rows
    return _named(delimited.names, [infer_text(sample.column(name)) for name in names]), sample.num_rows


def _named(sources: list[str], kinds: list[tuple[pa.DataType, str]]) -> list[Column]:
    return [
        Column(name=name, source=source, type=kind, note=note)
        for name, source, (kind, note) in zip(normalised(sources), sources, kinds, strict=True)
    ]


def _same_names(first: InputFile, expected: list[Column], other: InputFile, found: list[Column]) -> None:
    if first.format is not other.format:
        raise file_error(other.path, f"is {other.format}, but {first.path.name} is {first.format}")
    if first.format is Format.JSONL:
        return  # Objects need not have all keys: a missing one is null.
    want, have = [c.name for c in expected], [c.name for c in found]
    problems = check_columns(want, have)
    if problems:
        raise file_error(
            other.path, f"has other columns than {first.path.name}: {problems}", permitted=", ".join(want)
        )


def _existing(catalog: Catalog, table: str, mode: Mode) -> Table | None:
    if not _TABLE_NAME.fullmatch(table):
        raise UsageError(
            "a table is named namespace.table in lower case letters, digits and underscores",
            value=table,
            permitted="for example raw.orders",
        )
    namespace = table.partition(".")[0]
    _ensure_namespace(catalog, namespace)
    try:
        existing = catalog.load_table(table)
    except NoSuchTableError:
        if mode is not Mode.APPEND:
            return None
        known = [".".join(name) for name in catalog.list_tables(namespace)]
        close = nearest(table, known)
        raise UsageError(
            f"there is no table {table} to append to" + (f"; did you mean {close!r}?" if close else ""),
            value=table,
            permitted=", ".join(sorted(known)) or None,
            next_command=f"lab load … --table {table}, without --append",
        ) from None
    if mode is Mode.CREATE:
        raise UsageError(
            f"the table {table} exists",
            value=table,
            next_command="lab load … --append to add rows, --replace to put them in the place of all others",
        )
    return existing


def _ensure_namespace(catalog: Catalog, namespace: str) -> None:
    known = [".".join(name) for name in catalog.list_namespaces()]
    if namespace in known:
        return
    if namespace != RAW:
        close = nearest(namespace, known)
        raise UsageError(
            f"there is no namespace {namespace!r}" + (f"; did you mean {close!r}?" if close else ""),
            value=namespace,
            permitted=", ".join(sorted({*known, RAW})),
        )
    try:
        catalog.create_namespace(RAW)
    except NamespaceAlreadyExistsError:
        return


def _create(catalog: Catalog, table: str, target: Target) -> Transaction:
    return catalog.create_table_transaction(table, schema=target.schema, properties=dict(TABLE_PROPERTIES))
