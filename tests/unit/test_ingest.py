"""Loading files: what is inferred, what is refused and where, and that nothing is half done."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import Transaction

from contracts.errors import LabError, UsageError
from ingestion import sources
from ingestion.ingest import inspect, load
from ingestion.loading import BadRowsError, LoadOptions, LoadProgress, Mode, normalised

Write = Callable[[str, bytes | str], Path]


@pytest.fixture
def catalog(tmp_path: Path) -> Any:
    made = SqlCatalog("t", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    yield made
    made.engine.dispose()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def one(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return one


def rows(catalog: SqlCatalog, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = catalog.load_table(table).scan().to_arrow().to_pylist()
    return found


def data_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "warehouse").rglob("*.parquet"))


CSV = (
    "Order ID,Amount,When,Seen At,Zip,Ok,Note\r\n"
    '1,1.50,2026-01-31,2026-01-31T10:00:00Z,00501,true,"a ""b"", c"\r\n'
    "2,,2026-02-01,2026-02-01T10:00:00+02:00,10115,FALSE,\r\n"
)


def test_types_names_and_values_of_a_csv_file(catalog: SqlCatalog, write: Write) -> None:
    path = write("orders.csv", b"\xef\xbb\xbf" + CSV.encode())
    seen = inspect([path])
    assert [(c.name, str(c.type)) for c in seen.columns] == [
        ("order_id", "int64"),
        ("amount", "double"),
        ("when", "date32[day]"),
        ("seen_at", "timestamp[us, tz=UTC]"),
        ("zip", "string"),
        ("ok", "bool"),
        ("note", "string"),
    ]
    assert seen.renamed["Order ID"] == "order_id"
    result = load([path], "raw.orders", catalog=catalog)
    assert (result.rows, result.rejected, result.files) == (2, 0, 1)
    snapshot = catalog.load_table("raw.orders").current_snapshot()
    assert snapshot is not None
    assert snapshot.snapshot_id == result.snapshot_id
    assert rows(catalog, "raw.orders") == [
        {
            "order_id": 1,
            "amount": 1.5,
            "when": dt.date(2026, 1, 31),
            "seen_at": dt.datetime(2026, 1, 31, 10, tzinfo=dt.UTC),
            "zip": "00501",
            "ok": True,
            "note": 'a "b", c',
        },
        {
            "order_id": 2,
            "amount": None,
            "when": dt.date(2026, 2, 1),
            "seen_at": dt.datetime(2026, 2, 1, 8, tzinfo=dt.UTC),
            "zip": "10115",
            "ok": False,
            "note": None,
        },
    ]


@pytest.mark.parametrize("multi", [False, True], ids=["one-member", "two-members"])
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compression_is_told_by_content(catalog: SqlCatalog, write: Write, kind: str, multi: bool) -> None:
    compress: Callable[[bytes], bytes] = (
        gzip.compress if kind == "gzip" else lambda data: pa.compress(data, "zstd", asbytes=True)
    )
    parts = [b"a\n1\n", b"2\n"] if multi else [b"a\n1\n2\n"]
    path = write("plain-name.csv", b"".join(compress(part) for part in parts))
    assert load([path], "raw.t", catalog=catalog).rows == 2


def test_a_truncated_gzip_file_is_refused(catalog: SqlCatalog, write: Write, tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"{i},{i * 7919 % 1000}\n" for i in range(50_000)).encode())
    path = write("t.csv.gz", whole[: len(whole) // 2])
    with pytest.raises(LabError, match=r"t\.csv\.gz is damaged"):
        load([path], "raw.t", catalog=catalog)
    assert data_files(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "line", "column", "reason"),
    [
        ("a,b\n1,2\nx,4\n", 3, "a", "'x' is not a whole number"),
        ('a,b\n1,"two\nlines"\n1.5,y\n', 4, "a", "'1.5' is not a whole number"),
        ("a,b\r\n1,2\r\n\r\n3\r\n", 4, None, "1 fields, the header 2"),
        ("a,b\n1,2\n3,4,5\n", 3, None, "3 fields, the header 2"),
        ('a,b\n1,2\n3,"open\n4,5\n', 3, None, "not closed"),
        (b"a,b\n1,x\n2,caf\xe9\n", 3, "b", "byte 0xe9 after 3 characters is not UTF-8"),
    ],
)
def test_a_bad_csv_row_is_named_and_nothing_is_committed(
    catalog: SqlCatalog,
    write: Write,
    tmp_path: Path,
    content: str | bytes,
    line: int,
    column: str,
    reason: str,
) -> None:
    path = write("bad.csv", content)
    # The sample sees only the first row, so that inference does not give way to the bad one.
    with pytest.raises(BadRowsError) as caught:
        load([path], "raw.bad", catalog=catalog, options=LoadOptions(sample_rows=1))
    first = caught.value.rows[0]
    assert (first.line, first.column) == (line, column)
    assert reason in first.reason
    assert f"line {line}" in str(caught.value)
    with pytest.raises(NoSuchTableError):
        catalog.load_table("raw.bad")
    assert data_files(tmp_path) == []


def test_rejected_rows_are_kept_verbatim_and_the_rest_commits(
    catalog: SqlCatalog, write: Write, tmp_path: Path
) -> None:
    content = b'a,b\n1,"x\ny"\nno,"q ""z"""\n2,caf\xe9\n3\n4,fine\n'
    aside = tmp_path / "rejected.jsonl"
    result = load(
        [write("mixed.csv", content)],
        "raw.mixed",
        catalog=catalog,
        options=LoadOptions(sample_rows=1),
        reject=aside,
    )
    assert (result.rows, result.rejected) == (2, 3)
    kept = [json.loads(line) for line in aside.read_text().splitlines()]
    assert [(row["line"], row["column"]) for row in kept] == [(4, "a"), (5, "b"), (6, None)]
    assert kept[0]["row"] == 'no,"q ""z"""'
    assert kept[1]["row"].encode("utf-8", "surrogateescape") == b"2,caf\xe9"
    assert rows(catalog, "raw.mixed") == [{"a": 1, "b": "x\ny"}, {"a": 4, "b": "fine"}]


def test_small_blocks_give_the_same_rows_and_lines(
    catalog: SqlCatalog, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f'{i},"text {i}\nsecond, line"' if i % 3 else f"{i},plain" for i in range(500)]
    path = write("t.csv", "n,text\n" + "\n".join(lines) + "\nbad,x\n")
    line = 2 + sum(text.count("\n") + 1 for text in lines)
    for size in (64, 1000, 10**6):
        monkeypatch.setattr(sources, "BLOCK_BYTES", size)
        with pytest.raises(BadRowsError) as caught:
            load([path], f"raw.t{size}", catalog=catalog, options=LoadOptions(sample_rows=100))
        assert caught.value.rows[0].line == line
    monkeypatch.setattr(sources, "BLOCK_BYTES", 100)
    load([write("u.csv", "n,text\n" + "\n".join(lines))], "raw.u", catalog=catalog)
    found = rows(catalog, "raw.u")
    assert [row["n"] for row in found] == list(range(500))
    assert found[1]["text"] == "text 1\nsecond, line"


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        ('{"a": "x", "b": "y"}', "a", "is not a whole number"),
        ('{"a": 1.5, "b": "y"}', "a", "is not a whole number"),
        ('{"a": 1, "b": "y"', None, "not JSON at character"),
        ('{"a": 1, "c": 3}', "c", "not among the 2 seen"),
        ("[1, 2]", None, "not a JSON object"),
        ('{"a": 1, "a": 2}', None, "appears twice"),
        ('{"a": NaN}', None, "NaN is not JSON"),
        ('{"a": 99999999999999999999}', "a", "is not a whole number"),
    ],
)
def test_bad_json_lines_are_named(
    catalog: SqlCatalog, write: Write, tmp_path: Path, line: str, column: str | None, reason: str
) -> None:
    good = '{"a": 1, "b": "y"}\n\n'
    path = write("t.jsonl", good + line + "\n" + good)
    options = LoadOptions(sample_rows=1)
    with pytest.raises(BadRowsError) as caught:
        load([path], "raw.t", catalog=catalog, options=options)
    first = caught.value.rows[0]
    assert (first.line, first.column) == (3, column)
    assert reason in first.reason
    assert data_files(tmp_path) == []
    aside = tmp_path / "aside"
    result = load([path], "raw.t", catalog=catalog, options=options, reject=aside)
    assert (result.rows, result.rejected) == (2, 1)
    assert json.loads(aside.read_text())["row"] == line


def test_json_lines_with_times_nested_values_and_missing_keys(catalog: SqlCatalog, write: Write) -> None:
    first = write("a.jsonl", '{"At":"2026-01-31T10:00:00Z","tags":["x"],"in":{"n":1},"v":1}\n')
    second = write("b.ndjson", '{"v": 2.5}\n{"v": 3, "at2": "2026-01-01"}')
    load([first, second], "raw.j", catalog=catalog)
    assert rows(catalog, "raw.j") == [
        {
            "at": dt.datetime(2026, 1, 31, 10, tzinfo=dt.UTC),
            "tags": ["x"],
            "in": {"n": 1},
            "v": 1.0,
            "at2": None,
        },
        {"at": None, "tags": None, "in": None, "v": 2.5, "at2": None},
        {"at": None, "tags": None, "in": None, "v": 3.0, "at2": dt.date(2026, 1, 1)},
    ]


def test_mixed_types_are_named(write: Write) -> None:
    seen = inspect([write("m.csv", "a,b\n1,\n2,\nn/a,\n")])
    assert "2 whole numbers and 1 others such as 'n/a'" in seen.columns[0].note
    assert seen.columns[1].note == "no value in the sample"
    seen = inspect([write("m.jsonl", '{"a":1}\n{"a":"x"}\n')])
    assert seen.columns[0].note == "mixed: 1 × whole number, 1 × text"


def test_types_can_be_given(catalog: SqlCatalog, write: Write) -> None:
    path = write("t.csv", "id,amount\n7,1.25\n")
    options = LoadOptions(types={"amount": "decimal(12,2)", "id": "string"})
    load([path], "raw.t", catalog=catalog, options=options)
    assert rows(catalog, "raw.t") == [{"id": "7", "amount": Decimal("1.25")}]
    with pytest.raises(UsageError, match="did you mean 'amount'"):
        inspect([path], LoadOptions(types={"amuont": "long"}))
    with pytest.raises(UsageError, match="no type 'money'"):
        inspect([path], LoadOptions(types={"amount": "money"}))
    assert {str(c.type) for c in inspect([path], LoadOptions(all_text=True)).columns} == {"string"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", b"", "is empty"),
        ("blank.csv", b"\n\n", "only blank lines"),
        ("utf16.csv", "a,b\n".encode("utf-16"), "UTF-16"),
        ("array.json", b'[{"a":1}]', "one JSON array"),
        ("what.bin", b"\x00\x01\x02", "no known format"),
        ("not.parquet", b"a,b\n", "named Parquet but is not"),
        ("broken.parquet", b"PAR1" + b"x" * 100, "is damaged"),
    ],
)
def test_files_that_cannot_be_read_are_named(write: Write, name: str, content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        inspect([write(name, content)])
    assert name in str(caught.value)


def test_header_only_duplicate_and_empty_names(catalog: SqlCatalog, write: Write) -> None:
    assert normalised(["A", "a", "", "2x", "Größe", "a_2"]) == [
        "a",
        "a_2",
        "column_3",
        "_2x",
        "gr_e",
        "a_2_2",
    ]
    result = load([write("h.csv", "A,a,\n")], "raw.h", catalog=catalog)
    assert result.rows == 0
    assert catalog.load_table("raw.h").schema().column_names == ["a", "a_2", "column_3"]


def test_delimiters_and_tsv(catalog: SqlCatalog, write: Write) -> None:
    load([write("semi.csv", 'a;b\n1;"x;y"\n')], "raw.semi", catalog=catalog)
    load([write("tab.tsv", "a\tb\n1\tx,y\n")], "raw.tab", catalog=catalog)
    assert rows(catalog, "raw.semi") == [{"a": 1, "b": "x;y"}]
    assert rows(catalog, "raw.tab") == [{"a": 1, "b": "x,y"}]
    headless = LoadOptions(header=False)
    load([write("n.csv", "1,x\n2,y\n")], "raw.n", catalog=catalog, options=headless)
    assert rows(catalog, "raw.n") == [{"column_1": 1, "column_2": "x"}, {"column_1": 2, "column_2": "y"}]


def test_create_append_and_replace(catalog: SqlCatalog, write: Write) -> None:
    path = write("t.csv", "a,b\n1,x\n")
    with pytest.raises(UsageError, match=r"no table raw\.t to append to"):
        load([path], "raw.t", catalog=catalog, mode=Mode.APPEND)
    first = load([path], "raw.t", catalog=catalog)
    with pytest.raises(UsageError, match=r"the table raw\.t exists"):
        load([path], "raw.t", catalog=catalog)
    load([write("u.csv", "B,A\ny,2\n")], "raw.t", catalog=catalog, mode=Mode.APPEND)
    assert sorted(row["a"] for row in rows(catalog, "raw.t")) == [1, 2]
    load([write("v.csv", "a,b\n3,z\n")], "raw.t", catalog=catalog, mode=Mode.REPLACE)
    assert rows(catalog, "raw.t") == [{"a": 3, "b": "z"}]
    table = catalog.load_table("raw.t")
    assert len(table.metadata.snapshots) == 3
    assert table.scan(snapshot_id=first.snapshot_id).to_arrow().to_pylist() == [{"a": 1, "b": "x"}]
    with pytest.raises(UsageError, match=r"missing b; unknown c"):
        load([write("w.csv", "a,c\n3,z\n")], "raw.t", catalog=catalog, mode=Mode.APPEND)
    with pytest.raises(UsageError, match="did you mean 'raw'"):
        load([path], "row.t", catalog=catalog)
    with pytest.raises(UsageError, match=r"namespace\.table"):
        load([path], "T", catalog=catalog)


def test_appending_text_takes_the_tables_types(catalog: SqlCatalog, write: Write) -> None:
    load([write("t.csv", "a\n1\n")], "raw.t", catalog=catalog)
    with pytest.raises(BadRowsError, match=r"line 3, column 'a': '2\.5' is not a whole number"):
        load([write("u.csv", "a\n2\n2.5\n")], "raw.t", catalog=catalog, mode=Mode.APPEND)
    assert rows(catalog, "raw.t") == [{"a": 1}]


def test_parquet_widens_only_safely(catalog: SqlCatalog, tmp_path: Path) -> None:
    def parquet(name: str, values: Any, kind: pa.DataType) -> Path:
        pq.write_table(pa.table({"A": pa.array(values, kind)}), tmp_path / name)
        return tmp_path / name

    load([parquet("int.parquet", [1], pa.int32())], "raw.t", catalog=catalog)
    result = load([parquet("long.parquet", [2**40], pa.int64())], "raw.t", catalog=catalog, mode=Mode.APPEND)
    assert result.widened == ("a",)
    assert sorted(row["a"] for row in rows(catalog, "raw.t")) == [1, 2**40]
    load([parquet("small.parquet", [3], pa.int16())], "raw.t", catalog=catalog, mode=Mode.APPEND)
    with pytest.raises(UsageError, match="a is long in the table and string in the files"):
        load([parquet("text.parquet", ["x"], pa.string())], "raw.t", catalog=catalog, mode=Mode.APPEND)
    with pytest.raises(UsageError, match="does not have"):
        inspect([parquet("span.parquet", [1], pa.duration("s"))])


def test_parquet_types_arrive_without_loss(catalog: SqlCatalog, tmp_path: Path) -> None:
    source = pa.table(
        {
            "u64": pa.array([2**64 - 1], pa.uint64()),
            "dict": pa.array(["x"]).dictionary_encode(),
            "view": pa.array(["y"], pa.string_view()),
            "ns": pa.array([1_000], pa.timestamp("ns")),
            "list": pa.array([[1, None]], pa.large_list(pa.int8())),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "dec": pa.array([Decimal("1.20")], pa.decimal128(5, 2)),
        }
    )
    pq.write_table(source, tmp_path / "t.parquet")
    load([tmp_path / "t.parquet"], "raw.t", catalog=catalog)
    assert rows(catalog, "raw.t") == [
        {
            "u64": Decimal(2**64 - 1),
            "dict": "x",
            "view": "y",
            "ns": dt.datetime(1970, 1, 1, 0, 0, 0, 1),
            "list": [1, None],
            "map": [("k", 1)],
            "dec": Decimal("1.20"),
        }
    ]
    pq.write_table(pa.table({"ns": pa.array([1_000, 1_001], pa.timestamp("ns"))}), tmp_path / "lossy.parquet")
    with pytest.raises(BadRowsError) as caught:
        load([tmp_path / "lossy.parquet"], "raw.lossy", catalog=catalog)
    assert (caught.value.rows[0].line, caught.value.rows[0].column) == (2, "ns")


def test_a_failed_commit_leaves_no_file(
    catalog: SqlCatalog, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("t.csv", "a\n1\n")
    load([path], "raw.t", catalog=catalog)
    before = data_files(tmp_path)

    def conflict(_: Transaction) -> None:
        raise CommitFailedException("somebody else was faster")

    monkeypatch.setattr(Transaction, "commit_transaction", conflict)
    with pytest.raises(LabError, match="changed by somebody else"):
        load([path], "raw.t", catalog=catalog, mode=Mode.APPEND)
    assert data_files(tmp_path) == before


def test_several_files_make_one_snapshot_or_none(catalog: SqlCatalog, write: Write, tmp_path: Path) -> None:
    good, bad = write("1.csv", "a,b\n1,x\n"), write("2.csv", "b,a\ny,2\nz,oops\n")
    with pytest.raises(BadRowsError, match=r"2\.csv, line 3, column 'a'"):
        load([good, bad], "raw.t", catalog=catalog, options=LoadOptions(sample_rows=1))
    assert data_files(tmp_path) == []
    fine = write("3.csv", "b,a\ny,2\n")
    load([good, fine], "raw.t", catalog=catalog)
    assert len(catalog.load_table("raw.t").metadata.snapshots) == 1
    assert rows(catalog, "raw.t") == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    with pytest.raises(UsageError, match=r"4\.csv has other columns than 1\.csv: missing b"):
        inspect([good, write("4.csv", "a\n1\n")])


def test_files_roll_by_size_and_progress_is_told(
    catalog: SqlCatalog, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.writer.ROW_GROUP_BYTES", 100_000)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 100_000)
    monkeypatch.setattr(
        "ingestion.ingest.TABLE_PROPERTIES", {"format-version": "2", "write.target-file-size-bytes": "200000"}
    )
    path = write("t.csv", "a,b\n" + "".join(f"{i},{i * 7919 % 100003}\n" for i in range(200_000)))
    seen: list[LoadProgress] = []
    result = load([path], "raw.t", catalog=catalog, progress=seen.append)
    assert result.rows == 200_000
    assert result.files > 3
    assert [p.rows for p in seen] == sorted(p.rows for p in seen)
    assert seen[-1].bytes_read == seen[-1].bytes_total == path.stat().st_size
    files = catalog.load_table("raw.t").inspect.files().to_pylist()
    assert sum(file["record_count"] for file in files) == 200_000
    assert sum(file["file_size_in_bytes"] for file in files) == result.bytes
    assert catalog.load_table("raw.t").scan("a == 123456").to_arrow().to_pylist() == [
        {"a": 123456, "b": 123456 * 7919 % 100003}
    ]


def test_appending_to_a_partitioned_table_fans_out(catalog: SqlCatalog, write: Write) -> None:
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.transforms import MonthTransform
    from pyiceberg.types import DateType, LongType, NestedField

    schema = Schema(NestedField(1, "day", DateType(), required=True), NestedField(2, "n", LongType()))
    spec = PartitionSpec(PartitionField(1, 1000, MonthTransform(), "day_month"))
    catalog.create_namespace("raw")
    catalog.create_table("raw.p", schema, partition_spec=spec)
    path = write("t.csv", "day,n\n" + "".join(f"2026-{1 + i % 12:02d}-01,{i}\n" for i in range(240)))
    result = load([path], "raw.p", catalog=catalog, mode=Mode.APPEND)
    assert (result.rows, result.files) == (240, 12)
    assert catalog.load_table("raw.p").scan("day = '2026-03-01'").to_arrow().num_rows == 20
    with pytest.raises(BadRowsError, match="line 3, column 'day': is empty, but the column is required"):
        load([write("u.csv", "day,n\n2026-01-01,1\n,2\n")], "raw.p", catalog=catalog, mode=Mode.APPEND)
