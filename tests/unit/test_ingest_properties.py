"""Any rows written by the csv module are read back the same, whatever the blocks they are cut into."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion import sources
from ingestion.delimited import DelimitedFile
from ingestion.loading import Format, InputFile, LoadOptions

CELLS = st.text(
    st.one_of(
        st.sampled_from('",;\t\n|ab1 é'), st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")
    ),
    min_size=1,
    max_size=12,
)
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=30)
SCHEMA = pa.schema([(name, pa.string()) for name in "abc"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS, block_bytes=st.integers(1, 400), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
)
def test_rows_survive_any_cut(
    folder: Path, rows: list[tuple[str, ...]], block_bytes: int, quoting: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]  # two of its constants
    writer.writerows([("a", "b", "c"), *rows])
    path = folder / "rows.csv"
    path.write_bytes(text.getvalue().encode())
    source = InputFile(path=path, format=Format.CSV, compression=None)
    with patch.object(sources, "BLOCK_BYTES", block_bytes):
        found = [
            parsed for parsed, _ in DelimitedFile(source, LoadOptions(delimiter=",")).parsed("abc", SCHEMA)
        ]
    assert [row for parsed in found for row in parsed.bad] == []
    read = pa.concat_tables(parsed.table for parsed in found).to_pylist()
    assert [tuple(row.values()) for row in read] == rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, block_bytes=st.integers(1, 400), data=st.data())
def test_a_bad_row_is_found_on_its_line_whatever_the_cut(
    folder: Path, rows: list[tuple[str, ...]], block_bytes: int, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(rows)))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("n", "b", "c"), *((str(i), *row[1:]) for i, row in enumerate(rows[:at]))])
    line = text.getvalue().count("\n") + 1
    writer.writerows([("1.5", "x", "y"), *((str(i), *row[1:]) for i, row in enumerate(rows[at:]))])
    path = folder / "bad.csv"
    path.write_bytes(text.getvalue().encode())
    source = InputFile(path=path, format=Format.CSV, compression=None)
    schema = pa.schema([("n", pa.int64()), ("b", pa.string()), ("c", pa.string())])
    with patch.object(sources, "BLOCK_BYTES", block_bytes):
        found = [
            parsed for parsed, _ in DelimitedFile(source, LoadOptions(delimiter=",")).parsed("nbc", schema)
        ]
    bad = [row for parsed in found for row in parsed.bad]
    assert [(row.line, row.column, row.value, row.text) for row in bad] == [(line, "n", "1.5", "1.5,x,y")]
    assert sum(parsed.table.num_rows for parsed in found) == len(rows)
