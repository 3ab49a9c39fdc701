"""Streams Arrow data into the Parquet data files of one Iceberg table.

pyiceberg's own ``append`` leaves data files behind when it fails, takes streams for unpartitioned
tables only and makes files by uncompressed size; this writer rolls files by their real size, fans out
over partitions and can take back what it wrote. Writing and statistics are pyiceberg's.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyiceberg.io import FileIO, OutputFile, OutputStream
from pyiceberg.io.fileformat import FileFormatFactory, FileFormatWriter
from pyiceberg.io.pyarrow import _determine_partitions, schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionKey
from pyiceberg.schema import sanitize_column_names
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record

from contracts.errors import LabError

MIB = 1024 * 1024
TARGET_FILE_BYTES = 128 * MIB
ROW_GROUP_BYTES = 48 * MIB
MAX_OPEN_FILES = 32
TARGET_FILE_SIZE_PROPERTY = "write.target-file-size-bytes"


class StorageError(LabError):
    """The object store did not take a file."""


@contextmanager
def storage_errors() -> Iterator[None]:
    """Says the object store's failures, which come as OSError without a file's name, in words."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"the object store did not take the rows: {error}",
            permitted="an object store that runs and has free space",
            next_command="lab doctor --fix, then the same command again",
        ) from error


class _TrackedOutput(OutputFile):
    """An output file that remembers its stream, so that the bytes written so far are known."""

    def __init__(self, inner: OutputFile) -> None:
        super().__init__(inner.location)
        self._inner = inner
        self.stream: OutputStream | None = None

    def __len__(self) -> int:
        return len(self._inner)

    def exists(self) -> bool:
        return self._inner.exists()

    def to_input_file(self) -> Any:
        return self._inner.to_input_file()

    def create(self, overwrite: bool = False) -> OutputStream:
        self.stream = self._inner.create(overwrite=overwrite)
        return self.stream

    @property
    def written_bytes(self) -> int:
        return 0 if self.stream is None else self.stream.tell()


@dataclass(kw_only=True)
class _OpenFile:
    output: _TrackedOutput
    writer: FileFormatWriter
    partition_key: PartitionKey | None
    pending: list[pa.Table] = field(default_factory=list)
    pending_bytes: int = 0
    used: int = 0


class DataFileWriter:
    """Writes the data files of one commit; nothing is visible until they are committed.

    Args:
        metadata: the table's metadata; schema, partition spec and properties are taken from it.
        io: the table's file access.
        is_sorted: True when each :meth:`write` brings rows in the table's sort order; it then makes
            files of its own, which are marked as sorted.
    """

    def __init__(self, metadata: TableMetadata, io: FileIO, *, is_sorted: bool = False) -> None:
        self._metadata = metadata
        self._io = io
        self._sort_order_id = metadata.default_sort_order_id if is_sorted else None
        self._target_bytes = int(metadata.properties.get(TARGET_FILE_SIZE_PROPERTY, TARGET_FILE_BYTES))
        self._schema = sanitize_column_names(metadata.schema())
        self._arrow_schema = schema_to_pyarrow(self._schema, include_field_ids=True)
        self._plain_names = [field.name for field in metadata.schema().fields]
        self._locations = load_location_provider(metadata.location, metadata.properties)
        self._format = FileFormatFactory.get(FileFormat.PARQUET)
        self._commit_id = uuid.uuid4()
        self._open: dict[Record | None, _OpenFile] = {}
        self._paths: list[str] = []
        self._done: list[DataFile] = []
        self._clock = 0
        self.rows = 0

    @property
    def bytes_written(self) -> int:
        """Size of the finished files."""
        return sum(file.file_size_in_bytes for file in self._done)

    def write(self, table: pa.Table) -> None:
        """Adds rows; columns are matched by name, a missing optional column is null. Raises StorageError."""
        if table.num_rows == 0:
            return
        self.rows += table.num_rows
        spec = self._metadata.spec()
        with storage_errors():
            if spec.is_unpartitioned():
                self._add_run(None, table)
                return
            for part in _determine_partitions(spec, self._metadata.schema(), table):
                self._add_run(part.partition_key, part.arrow_table_partition)

    def _add_run(self, partition_key: PartitionKey | None, table: pa.Table) -> None:
        self._add(partition_key, self._conform(table))
        if self._sort_order_id is not None:
            # The next rows start a sorted run of their own; and memory is free for the next partition.
            self.close_files()

    def close_files(self) -> None:
        """Finishes every open file."""
        for key in list(self._open):
            self._close(key)

    def finish(self) -> list[DataFile]:
        """Finishes and returns all data files, to be committed. Raises StorageError."""
        with storage_errors():
            self.close_files()
        return list(self._done)

    def abort(self) -> list[str]:
        """Removes everything that was written. Returns paths that could not be removed."""
        for opened in self._open.values():
            if opened.output.stream is not None:
                with suppress(OSError):  # it goes with the file
                    opened.output.stream.close()
        self._open.clear()
        left = []
        for path in self._paths:
            try:
                self._io.delete(path)
            except FileNotFoundError:
                continue
            except OSError:
                left.append(path)
        self._paths.clear()
        self._done.clear()
        return left

    def _conform(self, table: pa.Table) -> pa.Table:
        columns = [
            table.column(name) if name in table.column_names else pa.nulls(table.num_rows, item.type)
            for name, item in zip(self._plain_names, self._arrow_schema, strict=True)
        ]
        return pa.table(columns, names=self._arrow_schema.names).cast(self._arrow_schema)

    def _add(self, partition_key: PartitionKey | None, table: pa.Table) -> None:
        key = None if partition_key is None else partition_key.partition
        opened = self._open.get(key)
        if opened is None:
            opened = self._start(key, partition_key)
        self._clock += 1
        opened.used = self._clock
        opened.pending.append(table)
        opened.pending_bytes += table.nbytes
        if opened.pending_bytes >= ROW_GROUP_BYTES // max(1, len(self._open) // 4):
            self._flush(opened)
            if opened.output.written_bytes >= self._target_bytes:
                self._close(key)

    def _start(self, key: Record | None, partition_key: PartitionKey | None) -> _OpenFile:
        if len(self._open) >= MAX_OPEN_FILES:
            self._close(min(self._open, key=lambda other: self._open[other].used))
        name = f"{len(self._paths):05d}-{self._commit_id}.parquet"
        path = self._locations.new_data_location(data_file_name=name, partition_key=partition_key)
        self._paths.append(path)
        output = _TrackedOutput(self._io.new_output(path))
        opened = _OpenFile(
            output=output,
            writer=self._format.create_writer(output, self._schema, self._metadata.properties),
            partition_key=partition_key,
        )
        self._open[key] = opened
        return opened

    @staticmethod
    def _flush(opened: _OpenFile) -> None:
        if opened.pending:
            opened.writer.write(pa.concat_tables(opened.pending))
            opened.pending.clear()
            opened.pending_bytes = 0

    def _close(self, key: Record | None) -> None:
        opened = self._open[key]
        self._flush(opened)
        statistics = opened.writer.close()
        del self._open[key]
        self._done.append(
            DataFile.from_args(
                content=DataFileContent.DATA,
                file_path=opened.output.location,
                file_format=FileFormat.PARQUET,
                partition=opened.partition_key.partition if opened.partition_key else Record(),
                file_size_in_bytes=len(opened.output),
                sort_order_id=self._sort_order_id,
                spec_id=self._metadata.default_spec_id,
                equality_ids=None,
                key_metadata=None,
                **statistics.to_serialized_dict(),
            )
        )
